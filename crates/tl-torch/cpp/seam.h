// What libtorch has and tch does not pass on, behind a C interface. Every function that can fail returns an error text
// that the caller frees with tl_free_text, or null. No exception leaves this file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace at {
class Tensor;
}

extern "C" {
struct TlModule;
struct TlGraph;

// Lets autocast to bf16 (on) or not (off) on the CPU or on GPUs for this thread; returns what it was.
bool tl_autocast(bool cuda, bool on);
// Forgets the copies of weights that autocast has made.
void tl_autocast_clear(void);

// From here on, operations on `inputs` in this thread are recorded; a name is that of an argument, or null.
char *tl_trace_begin(const at::Tensor *const *inputs, const char *const *names, size_t n);
// Ends the recording; `module` gets a function from the inputs to `output`, with everything else as constants.
char *tl_trace_end(const at::Tensor *output, TlModule **module);
// Ends a recording that went wrong. Does nothing if there is none.
void tl_trace_abandon(void);
char *tl_module_run(TlModule *module, const at::Tensor *const *inputs, size_t n, at::Tensor **output);
void tl_module_free(TlModule *module);
// Writes the module to `path`, in libtorch's own format, with a text beside it under `name`.
char *tl_module_save(TlModule *module, const char *path, const char *name, const char *text);
// Reads it back; `found` becomes the text under `name`, which is freed with tl_free_text.
char *tl_module_load(const char *path, const char *name, TlModule **module, char **found);

// What a module does, for reading: a text of one line a value or node, with the shapes that the examples make, and the
// tensors that it names by number.
char *tl_graph_of(TlModule *module, const at::Tensor *const *examples, size_t n, TlGraph **graph);
const char *tl_graph_text(const TlGraph *graph);
at::Tensor *tl_graph_tensor(const TlGraph *graph, size_t i);
void tl_graph_free(TlGraph *graph);

// Whether modules that run for the first time are fused by oneDNN graph.
char *tl_fuse(bool on);

// One step of Adam (or AdamW: `decoupled`) in one pass over memory. The four tensors have one shape and one layout.
char *tl_adam(const at::Tensor *param, const at::Tensor *grad, const at::Tensor *mean, const at::Tensor *square,
              double step, double rate, double beta1, double beta2, double weight_decay, double epsilon, bool decoupled);

// A weight [outputs, inputs] as oneDNN wants it for about so many rows, and what it makes of `xs`, [..., inputs]; a bias may
// be null. Activations go by oneDNN's names: none, relu, gelu (algorithm none or tanh), swish, tanh, hardswish.
char *tl_pack_linear(const at::Tensor *weight, int64_t rows, at::Tensor **packed);
char *tl_packed_linear(const at::Tensor *xs, const at::Tensor *packed, const at::Tensor *bias, const char *act,
                       const char *algorithm, at::Tensor **result);
// The same without an activation, and `other` added, [..., outputs].
char *tl_packed_linear_add(const at::Tensor *xs, const at::Tensor *packed, const at::Tensor *bias,
                           const at::Tensor *other, at::Tensor **result);

// The GPUs that the driver knows, a line each: name, bytes, major and minor compute capability, with tabs between them.
char *tl_gpus(char **lines);
// Loads libtorch's part for GPUs into the process, and makes cuDNN choose what is reproducible.
char *tl_cuda_load(void);
// `copy` becomes `xs` on that GPU, by way of locked memory, and may be under way still; what is done with it waits for it.
char *tl_upload(const at::Tensor *xs, int gpu, at::Tensor **copy);

// Calls `call(context, i)` for each i below n, in at most `tl_threads` threads of libtorch's own at once, where operations
// then take one thread. `call` throws nothing.
void tl_each(size_t n, void (*call)(void *context, size_t i), void *context);
// Calls `call(context)` in the calling thread, where operations then take one thread. `call` throws nothing.
void tl_alone(void (*call)(void *context), void *context);
// Threads that can compute side by side.
size_t tl_threads(void);
// Adds the gradient of `from` to that of `to`, and takes it from there. `from` may have none.
char *tl_add_gradient(const at::Tensor *to, const at::Tensor *from);

void tl_free_text(char *text);
}
