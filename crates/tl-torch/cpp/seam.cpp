#include "module.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <unistd.h>

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <torch/csrc/jit/codegen/onednn/interface.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/passes/fixup_trace_scope_blocks.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/passes/normalize_ops.h>
#include <torch/csrc/jit/passes/autocast.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

namespace {

// oneDNN graph knows relu6 as a hardtanh between two floats. In a recording every use of what was changed in place is a
// use of the result, so the operation may as well return a new tensor.
void spell_out_relu6(torch::jit::Block *block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end(); ++it) {
    torch::jit::Node *node = *it;
    for (auto *inner : node->blocks()) spell_out_relu6(inner);
    if (node->kind() != at::Symbol::fromQualString("aten::relu6_") &&
        node->kind() != at::Symbol::fromQualString("aten::relu6"))
      continue;
    torch::jit::WithInsertPoint here(node);
    auto *graph = node->owningGraph();
    auto *low = graph->insertConstant(0.0), *high = graph->insertConstant(6.0);
    auto *other = graph->insert(at::aten::hardtanh, {node->input(0), low, high});
    node->output()->replaceAllUsesWith(other);
    it.destroyCurrent();
  }
}

} // namespace

bool tl_autocast(bool cuda, bool on) {
  auto device = cuda ? at::kCUDA : at::kCPU;
  bool was = at::autocast::is_autocast_enabled(device);
  at::autocast::set_autocast_dtype(device, at::kBFloat16);
  at::autocast::set_autocast_enabled(device, on);
  return was;
}

void tl_autocast_clear(void) { at::autocast::clear_cache(); }

char *tl_trace_begin(const at::Tensor *input) {
  return protect([&] {
    TORCH_CHECK(!torch::jit::tracer::isTracing(), "a recording is already going on");
    auto state = std::make_shared<torch::jit::tracer::TracingState>();
    torch::jit::Module module("net");
    state->graph->insertInput(0, "self")->setType(module._ivalue()->type());
    auto *value = state->graph->addInput();
    value->setType(torch::jit::TensorType::get());
    torch::jit::tracer::setTracingState(state);
    state->setValue(*input, value);
  });
}

char *tl_trace_end(const at::Tensor *output, TlModule **result) {
  char *error = protect([&] {
    auto state = torch::jit::tracer::getTracingState();
    TORCH_CHECK(state, "nothing is being recorded");
    torch::jit::Module module("net");
    module.register_attribute("training", torch::jit::BoolType::get(), false);
    auto graph = state->graph;
    graph->registerOutput(state->getOutput(*output, 0));
    torch::jit::tracer::setTracingState(nullptr);
    graph->inputs()[0]->setType(module._ivalue()->type());
    torch::jit::FixupTraceScopeBlocks(graph, &module);
    torch::jit::NormalizeOps(graph);
    spell_out_relu6(graph->block());
    auto *function = module._ivalue()->compilation_unit()->create_function("forward", graph);
    module.type()->addMethod(function);
    torch::jit::setAutocastMode(false);
    auto frozen = torch::jit::freeze_module(module);
    auto frozen_graph = frozen.get_method("forward").graph();
    torch::jit::OptimizeFrozenGraph(frozen_graph, true);
    *result = new TlModule{std::move(frozen)};
  });
  torch::jit::tracer::setTracingState(nullptr);
  return error;
}

void tl_trace_abandon(void) { torch::jit::tracer::setTracingState(nullptr); }

char *tl_module_run(TlModule *module, const at::Tensor *input, at::Tensor **output) {
  return protect([&] {
    at::NoGradGuard guard;
    std::vector<c10::IValue> inputs{*input};
    *output = new at::Tensor(module->module.forward(std::move(inputs)).toTensor());
  });
}

void tl_module_free(TlModule *module) { delete module; }

char *tl_fuse(bool on) {
  return protect([&] {
    torch::jit::RegisterLlgaFuseGraph::setEnabled(on);
    torch::jit::getProfilingMode() = true;
    torch::jit::getExecutorMode() = true;
  });
}

char *tl_adam(const at::Tensor *param, const at::Tensor *grad, const at::Tensor *mean, const at::Tensor *square,
              double step, double rate, double beta1, double beta2, double weight_decay, double epsilon, bool decoupled) {
  return protect([&] {
    at::NoGradGuard guard;
    for (const auto *other : {grad, mean, square})
      TORCH_CHECK(other->sizes() == param->sizes() && other->strides() == param->strides() &&
                      other->scalar_type() == param->scalar_type(),
                  "gradient and moments have another layout than the parameter");
    TORCH_CHECK(param->is_non_overlapping_and_dense(), "the parameter has gaps");
    at::Tensor params[] = {*param}, grads[] = {*grad}, means[] = {*mean}, squares[] = {*square};
    at::Tensor steps[] = {at::full({}, step, param->options().dtype(at::kFloat))};
    if (decoupled)
      at::_fused_adamw_(params, grads, means, squares, {}, steps, rate, beta1, beta2, weight_decay, epsilon, false, false);
    else
      at::_fused_adam_(params, grads, means, squares, {}, steps, rate, beta1, beta2, weight_decay, epsilon, false, false);
  });
}

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
    *lines = text(all.c_str());
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

void tl_free_text(char *words) { free(words); }
