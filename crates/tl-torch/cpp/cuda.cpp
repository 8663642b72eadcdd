// GPUs: the driver's list of them, and libtorch's part for them.
#include "module.h"

#include <string>

#include <dlfcn.h>
#include <unistd.h>

#include <ATen/Context.h>

namespace {

// A function of the driver, whose header is not among libtorch's.
template <class... Args> auto driver(void *library, const char *name) {
  auto *function = reinterpret_cast<int (*)(Args...)>(dlsym(library, name));
  TORCH_CHECK(function, "the NVIDIA driver has no ", name);
  return function;
}

void *open_driver() {
  void *library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  TORCH_CHECK(library, "there is no NVIDIA driver (libcuda.so.1)");
  return library;
}

} // namespace

char *tl_gpus(char **lines) {
  return protect([&] {
    void *library = open_driver();
    int code = driver<unsigned>(library, "cuInit")(0), count = 0;
    TORCH_CHECK(code == 0, "the NVIDIA driver refuses to start (error ", code, ")");
    TORCH_CHECK(driver<int *>(library, "cuDeviceGetCount")(&count) == 0, "the NVIDIA driver does not count its GPUs");
    std::string all;
    for (int i = 0; i < count; i++) {
      constexpr int capability_major = 75, capability_minor = 76;
      int device = 0, major = 0, minor = 0;
      size_t bytes = 0;
      char name[256] = "";
      code = driver<int *, int>(library, "cuDeviceGet")(&device, i);
      code |= driver<char *, int, int>(library, "cuDeviceGetName")(name, sizeof name - 1, device);
      code |= driver<size_t *, int>(library, "cuDeviceTotalMem_v2")(&bytes, device);
      auto attribute = driver<int *, int, int>(library, "cuDeviceGetAttribute");
      code |= attribute(&major, capability_major, device) | attribute(&minor, capability_minor, device);
      TORCH_CHECK(code == 0, "the NVIDIA driver says nothing of GPU ", i);
      all += std::string(name) + "\t" + std::to_string(bytes) + "\t" + std::to_string(major) + "\t" +
             std::to_string(minor) + "\n";
    }
    *lines = strdup(all.c_str());
  });
}

char *tl_cuda_load(void) {
  return protect([&] {
    // Without a driver there is nothing to load gigabytes for.
    open_driver();
    Dl_info here{};
    bool found = dladdr(reinterpret_cast<void *>(&at::globalContext), &here) && here.dli_fname;
    TORCH_CHECK(found, "libtorch does not say where it lies");
    std::string folder(here.dli_fname), failure;
    auto slash = folder.find_last_of('/');
    folder = slash == std::string::npos ? "." : folder.substr(0, slash);
    // Beside the part for the CPU, or where the linker does not see it.
    for (const std::string &path : {folder + "/libtorch_cuda.so", folder + "/../../cuda/lib/libtorch_cuda.so"}) {
      if (access(path.c_str(), R_OK) != 0) continue;
      if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) {
        at::globalContext().setDeterministicCuDNN(true);
        at::globalContext().setBenchmarkCuDNN(false);
        TORCH_CHECK(at::globalContext().hasCUDA(), "libtorch finds no GPU that it can use");
        return;
      }
      const char *words = dlerror();
      failure = words ? words : "for an unknown reason";
    }
    TORCH_CHECK(!failure.empty(), "libtorch is here for the CPU only");
    TORCH_CHECK(false, "libtorch_cuda.so does not load: ", failure);
  });
}

char *tl_upload(const at::Tensor *xs, int gpu, at::Tensor **copy) {
  return protect([&] {
    constexpr bool at_once = true, anew = false;
    // libtorch keeps the locked memory until the copy is done.
    auto locked = xs->pin_memory();
    *copy = new at::Tensor(locked.to(at::Device(at::kCUDA, at::DeviceIndex(gpu)), locked.scalar_type(), at_once, anew));
  });
}
