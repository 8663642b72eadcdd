#include "module.h"

#include <algorithm>
#include <atomic>

#include <ATen/Parallel.h>

#if defined(__linux__)
#include <dlfcn.h>
#endif

namespace {

// The OpenMP that libtorch was built with, by name at run time: the seam needs none of its own, which might be another.
struct OpenMp {
  // Begins a parallel region: calls `work(data)` in each of so many threads.
  void (*region)(void (*work)(void *), void *data, unsigned threads, unsigned flags) = nullptr;
  void (*set_num_threads)(int threads) = nullptr;
  int (*thread_num)() = nullptr;

  OpenMp() {
#if defined(__linux__)
    region = reinterpret_cast<decltype(region)>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    set_num_threads = reinterpret_cast<decltype(set_num_threads)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    thread_num = reinterpret_cast<decltype(thread_num)>(dlsym(RTLD_DEFAULT, "omp_get_thread_num"));
#endif
  }

  bool found() const { return region && set_num_threads && thread_num; }
};

const OpenMp &openmp() {
  static const OpenMp found;
  return found;
}

struct Work {
  std::atomic<size_t> next{0};
  // Whether the region has more threads than one.
  bool alone;
  size_t n;
  void (*call)(void *context, size_t i);
  void *context;
};

// Within a region.
void compute_alone() {
  // libtorch sets the number itself when a thread asks for the first time.
  at::get_num_threads();
  // oneDNN plans an operation for this number, though within a region it gets one thread, and then some wait for the
  // others for ever. It holds for this thread until the region ends.
  openmp().set_num_threads(1);
}

void take(void *data) {
  auto *work = static_cast<Work *>(data);
  if (work->alone) compute_alone();
  for (size_t i; (i = work->next++) < work->n;) work->call(work->context, i);
}

} // namespace

size_t tl_threads(void) {
  return openmp().found() && !at::in_parallel_region() ? static_cast<size_t>(std::max(at::get_num_threads(), 1)) : 1;
}

void tl_each(size_t n, void (*call)(void *context, size_t i), void *context) {
  Work work;
  work.n = n, work.call = call, work.context = context;
  size_t threads = std::min(n, tl_threads());
  work.alone = threads > 1;
  if (work.alone)
    openmp().region(take, &work, static_cast<unsigned>(threads), 0);
  else
    take(&work);
}

void tl_alone(void (*call)(void *context), void *context) {
  if (tl_threads() < 2) return call(context);
  struct Call {
    void (*call)(void *context);
    void *context;
  } data{call, context};
  // The first thread of a region is the one that began it; the other has nothing to do.
  auto first = [](void *data) {
    if (openmp().thread_num() != 0) return;
    compute_alone();
    auto *work = static_cast<Call *>(data);
    work->call(work->context);
  };
  openmp().region(first, &data, 2, 0);
}

char *tl_add_gradient(const at::Tensor *to, const at::Tensor *from) {
  return protect([&] {
    at::Tensor &more = from->mutable_grad();
    if (!more.defined()) return;
    at::Tensor &sum = to->mutable_grad();
    if (sum.defined()) {
      at::NoGradGuard guard;
      sum.add_(more);
    } else {
      sum = more;
    }
    more.reset();
  });
}
