#include "module.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

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

char *tl_trace_begin(const at::Tensor *const *inputs, const char *const *names, size_t n) {
  return protect([&] {
    TORCH_CHECK(!torch::jit::tracer::isTracing(), "a recording is already going on");
    auto state = std::make_shared<torch::jit::tracer::TracingState>();
    torch::jit::Module module("net");
    state->graph->insertInput(0, "self")->setType(module._ivalue()->type());
    std::vector<torch::jit::Value *> values;
    for (size_t i = 0; i < n; i++) {
      values.push_back(names[i] ? state->graph->addInput(names[i]) : state->graph->addInput());
      values.back()->setType(torch::jit::TensorType::get());
    }
    torch::jit::tracer::setTracingState(state);
    for (size_t i = 0; i < n; i++) state->setValue(*inputs[i], values[i]);
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

char *tl_module_run(TlModule *module, const at::Tensor *const *inputs, size_t n, at::Tensor **output) {
  return protect([&] {
    at::NoGradGuard guard;
    std::vector<c10::IValue> values;
    for (size_t i = 0; i < n; i++) values.emplace_back(*inputs[i]);
    *output = new at::Tensor(module->module.forward(std::move(values)).toTensor());
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
    // Unlike other operations these do not count as a write, and what is compiled from weights goes by that count.
    for (const auto *written : {param, mean, square}) written->unsafeGetTensorImpl()->bump_version();
  });
}

void tl_free_text(char *words) { free(words); }
