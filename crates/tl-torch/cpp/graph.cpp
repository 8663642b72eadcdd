// Modules to files and back, and a module's graph as lines that others can read.
#include "module.h"

#include <fstream>
#include <iomanip>
#include <limits>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/serialization/import.h>

struct TlGraph {
  std::string text;
  std::vector<at::Tensor> tensors;
};

namespace {

template <class List> void join(std::ostream &out, const List &list) {
  const char *gap = "";
  for (const auto &item : list) {
    out << gap << item;
    gap = ",";
  }
}

void constant(TlGraph &graph, std::ostream &out, const torch::jit::Value *value) {
  auto held = torch::jit::toIValue(value);
  TORCH_CHECK(held, "a constant has no value");
  const auto &it = *held;
  auto id = value->unique();
  if (it.isNone()) out << "none\t" << id;
  else if (it.isBool()) out << "bool\t" << id << '\t' << (it.toBool() ? 1 : 0);
  else if (it.isInt()) out << "int\t" << id << '\t' << it.toInt();
  else if (it.isDouble()) out << "float\t" << id << '\t' << it.toDouble();
  else if (it.isString()) out << "text\t" << id << '\t' << it.toStringRef();
  else if (it.isIntList()) { out << "ints\t" << id << '\t'; join(out, it.toIntVector()); }
  else if (it.isDoubleList()) { out << "floats\t" << id << '\t'; join(out, it.toDoubleVector()); }
  else if (it.isTensor()) {
    out << "tensor\t" << id << '\t' << graph.tensors.size();
    graph.tensors.push_back(it.toTensor());
  } else out << "other\t" << id << '\t' << it.tagKind();
  out << '\n';
}

// A value that a node makes: what shape and kind it has, and what it is made of.
void line(std::ostream &out, const torch::jit::Value *value, const std::string &kind, const c10::IValue &made,
          const std::vector<size_t> &inputs) {
  out << "node\t" << value->unique() << '\t' << kind << '\t';
  if (made.isTensor()) join(out, made.toTensor().sizes());
  else out << '?';
  out << '\t';
  if (made.isTensor()) out << c10::toString(made.toTensor().scalar_type());
  else out << '?';
  out << '\t';
  join(out, inputs);
  out << '\n';
}

// Runs a node on the values so far, which are those of an example, and writes down what it is and what shape it makes.
void node(std::ostream &out, torch::jit::Node *node, std::unordered_map<torch::jit::Value *, c10::IValue> &values) {
  const char *kind = node->kind().toQualString();
  TORCH_CHECK(node->blocks().empty(), "`", kind, "` holds a graph of its own");
  if (node->kind() == c10::prim::ListUnpack) {
    // Each element of a list is a value of its own: `prim::ListUnpack/1` is the second.
    auto list = values.at(node->input()).toList();
    TORCH_CHECK(list.size() == node->outputs().size(), "a list has ", list.size(), " elements");
    for (size_t i = 0; i < list.size(); i++) {
      auto *value = node->outputs()[i];
      line(out, value, std::string(kind) + '/' + std::to_string(i), values[value] = list.get(i), {node->input()->unique()});
    }
    return;
  }
  TORCH_CHECK(node->outputs().size() == 1, "`", kind, "` has ", node->outputs().size(), " outputs");
  torch::jit::Stack stack;
  std::vector<size_t> inputs;
  for (auto *input : node->inputs()) {
    inputs.push_back(input->unique());
    stack.push_back(values.at(input));
  }
  if (node->kind() == c10::prim::ListConstruct) {
    c10::impl::GenericList list(node->output()->type()->expect<c10::ListType>()->getElementType());
    for (auto &item : stack) list.push_back(std::move(item));
    stack = {c10::IValue(std::move(list))};
  } else {
    node->getOperation()(stack);
  }
  line(out, node->output(), kind, values[node->output()] = stack.back(), inputs);
}

} // namespace

char *tl_module_save(TlModule *module, const char *path, const char *name, const char *text) {
  return protect([&] {
    torch::jit::ExtraFilesMap files{{name, text}};
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    TORCH_CHECK(out.good(), "the file cannot be opened for writing");
    module->module.save(out, files);
    out.close();
    TORCH_CHECK(out.good(), "the file cannot be written");
  });
}

char *tl_module_load(const char *path, const char *name, TlModule **module, char **found) {
  return protect([&] {
    torch::jit::ExtraFilesMap files{{name, ""}};
    auto loaded = torch::jit::load(path, c10::Device(c10::kCPU), files);
    *found = strdup(files[name].c_str());
    *module = new TlModule{std::move(loaded)};
  });
}

char *tl_graph_of(TlModule *module, const at::Tensor *const *examples, size_t n, TlGraph **result) {
  return protect([&] {
    at::NoGradGuard guard;
    auto graph = module->module.get_method("forward").graph();
    TORCH_CHECK(graph->inputs().size() == n + 1, "the net takes ", graph->inputs().size() - 1, " inputs, not ", n);
    TORCH_CHECK(graph->outputs().size() == 1, "expected one output");
    auto read = std::make_unique<TlGraph>();
    std::ostringstream out;
    out << std::setprecision(std::numeric_limits<double>::max_digits10);
    std::unordered_map<torch::jit::Value *, c10::IValue> values;
    for (size_t i = 0; i < n; i++) {
      auto *input = graph->inputs()[i + 1];
      out << "input\t" << input->unique() << '\t' << c10::toString(examples[i]->scalar_type()) << '\n';
      values[input] = *examples[i];
    }
    for (auto *each : graph->nodes()) {
      if (each->kind() == c10::prim::Constant) {
        constant(*read, out, each->output());
        values[each->output()] = *torch::jit::toIValue(each->output());
      } else {
        node(out, each, values);
      }
    }
    out << "output\t" << graph->outputs()[0]->unique() << '\n';
    read->text = out.str();
    *result = read.release();
  });
}

const char *tl_graph_text(const TlGraph *graph) { return graph->text.c_str(); }

at::Tensor *tl_graph_tensor(const TlGraph *graph, size_t i) {
  return i < graph->tensors.size() ? new at::Tensor(graph->tensors[i]) : nullptr;
}

void tl_graph_free(TlGraph *graph) { delete graph; }
