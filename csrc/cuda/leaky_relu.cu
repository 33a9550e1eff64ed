// The binding of leaky_relu's CUDA kernels to torch. Kernels: leaky_relu.cuh; grids: leaky_relu_launch.cuh.
#include <tuple>
#include <vector>

#include "../common.h"
#include "binding.cuh"
#include "leaky_relu_launch.cuh"

namespace gankit {
namespace {

ReluShape shape_of(const Tensor& t, const char* name) {
  GANKIT_CHECK(t.dim() >= 2, name, "have at least 2 dimensions (batch, channels, ...)", t.dim());
  const Layout layout = layout_of(t);
  return {t.numel(), layout.channels, layout.inner};
}

Tensor leaky_relu_cuda(const Tensor& input, const Tensor& bias, double slope) {
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  const Tensor x = dense(input);
  const ReluShape shape = shape_of(x, "x");
  GANKIT_CHECK(bias.is_cuda() && bias.get_device_index() == x.get_device_index(), "bias", "be on x's device",
               "another one");
  GANKIT_CHECK(bias.dim() == 1 && bias.size(0) == shape.channels, "bias", "have one element per channel of x",
               bias.numel(), " elements in ", bias.dim(), " dimensions for ", shape.channels, " channels");
  Tensor y = empty_as(x);
  if (shape.total == 0) return y;
  const ReluBias values{bias.const_data_ptr(), dtype_of(bias, "bias"), bias.stride(0)};
  with_type(dtype_of(x, "x"), [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch_leaky_relu(shape, static_cast<const T*>(x.const_data_ptr()), values, static_cast<T*>(y.mutable_data_ptr()),
                      wide_t<T>(slope), stream_of(x));
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return y;
}

// The gradient of the bias comes in the type computed in; autograd rounds it to the bias's.
std::tuple<Tensor, Tensor> leaky_relu_backward_cuda(const Tensor& grad_in, const Tensor& y_in, double slope,
                                                    bool input_grad, bool bias_grad) {
  GANKIT_CHECK(grad_in.sizes().equals(y_in.sizes()), "grad", "have the shape of y", "another one");
  GANKIT_CHECK(grad_in.is_cuda() && grad_in.get_device_index() == y_in.get_device_index(), "grad", "be on y's device",
               "another one");
  GANKIT_CHECK(raw_dtype(grad_in) == raw_dtype(y_in), "grad", "have the dtype of y", toString(grad_in.scalar_type()));
  const torch::stable::accelerator::DeviceGuard guard(y_in.get_device_index());
  const Tensor y = dense(y_in), grad = laid_out_like(grad_in, y);
  const ReluShape shape = shape_of(y, "y");
  const DType dtype = dtype_of(y, "y");
  const int32_t wide = dtype == DType::f64 ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32();
  const cudaStream_t stream = stream_of(y);
  Tensor dx = input_grad ? empty_as(y) : empty_1d(y, 0, raw_dtype(y));
  Tensor db = empty_1d(y, bias_grad ? shape.channels : 0, wide);
  if (shape.total == 0) {
    const size_t bytes = size_t(db.numel()) * (dtype == DType::f64 ? 8 : 4);
    if (bytes) STD_CUDA_CHECK(cudaMemsetAsync(db.mutable_data_ptr(), 0, bytes, stream));
    return {dx, db};
  }
  if (!input_grad && !bias_grad) return {dx, db};
  std::vector<Tensor> memory;
  const auto scratch = [&](size_t bytes) {
    memory.push_back(empty_1d(y, int64_t(bytes), aoti_torch_dtype_uint8()));
    return memory.back().mutable_data_ptr();
  };
  with_type(dtype, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch_leaky_relu_backward(shape, static_cast<const T*>(grad.const_data_ptr()),
                               static_cast<const T*>(y.const_data_ptr()),
                               input_grad ? static_cast<T*>(dx.mutable_data_ptr()) : nullptr,
                               bias_grad ? static_cast<wide_t<T>*>(db.mutable_data_ptr()) : nullptr, wide_t<T>(slope),
                               stream, scratch);
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return {dx, db};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gankit, CUDA, m) {
  m.impl("leaky_relu", TORCH_BOX(&leaky_relu_cuda));
  m.impl("leaky_relu_forward", TORCH_BOX(&leaky_relu_cuda));
  m.impl("leaky_relu_backward", TORCH_BOX(&leaky_relu_backward_cuda));
}

}  // namespace gankit
