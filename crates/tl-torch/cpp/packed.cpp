#include "module.h"

#include <optional>
#include <string_view>

#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>

// Linear layers as oneDNN has them. libtorch registers them for its own compiler, without a header.

namespace {

using Scalars = c10::List<std::optional<at::Scalar>>;
using Optional = std::optional<at::Tensor>;

template <class Signature> auto operation(const char *name, const char *overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

Optional maybe(const at::Tensor *tensor) { return tensor ? Optional(*tensor) : std::nullopt; }

} // namespace

char *tl_pack_linear(const at::Tensor *weight, int64_t rows, at::Tensor **packed) {
  return protect([&] {
    at::NoGradGuard guard;
    static const auto pack =
        operation<at::Tensor(const at::Tensor &, std::optional<c10::SymInt>)>("mkldnn::_reorder_linear_weight", "");
    *packed = new at::Tensor(pack.call(*weight, c10::SymInt(rows)));
  });
}

char *tl_packed_linear(const at::Tensor *xs, const at::Tensor *packed, const at::Tensor *bias, const char *act,
                       const char *algorithm, at::Tensor **result) {
  return protect([&] {
    at::NoGradGuard guard;
    static const auto linear =
        operation<at::Tensor(const at::Tensor &, const at::Tensor &, const Optional &, std::string_view, Scalars,
                             std::optional<std::string_view>)>("mkldnn::_linear_pointwise", "");
    *result = new at::Tensor(linear.call(*xs, *packed, maybe(bias), act, Scalars(), algorithm));
  });
}

char *tl_packed_linear_add(const at::Tensor *xs, const at::Tensor *packed, const at::Tensor *bias,
                           const at::Tensor *other, at::Tensor **result) {
  return protect([&] {
    at::NoGradGuard guard;
    static const auto linear =
        operation<at::Tensor(const at::Tensor &, const at::Tensor &, const at::Tensor &, const Optional &,
                             std::string_view)>("mkldnn::_linear_pointwise", "binary");
    *result = new at::Tensor(linear.call(*xs, *other, *packed, maybe(bias), "add"));
  });
}
