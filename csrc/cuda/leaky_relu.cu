// leaky_relu on CUDA: value, and gradients of input and bias. Compiled, and not yet run on a device.
#include <algorithm>
#include <tuple>

#include "../common.h"
#include "../leaky_relu.h"
#include "border.cuh"
#include "common.cuh"

namespace gankit {
namespace {

constexpr int kThreads = 256;

// Elements in the order of memory: (outer, channels, inner).
template <typename T, typename B>
__global__ void forward_kernel(const T* x, const B* bias, T* y, int64_t total, int64_t channels, int64_t inner,
                               int64_t bias_stride, wide_t<T> slope) {
  using W = wide_t<T>;
  const int64_t stride = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += stride) {
    const int64_t c = (i / inner) % channels;
    y[i] = convert<T>(leaky_relu_value(convert<W>(x[i]), convert<W>(bias[c * bias_stride]), slope));
  }
}

template <typename T>
__global__ void input_grad_kernel(const T* grad, const T* y, T* dx, int64_t total, wide_t<T> slope) {
  using W = wide_t<T>;
  const int64_t stride = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += stride) {
    dx[i] = convert<T>(leaky_relu_grad(convert<W>(grad[i]), convert<W>(y[i]), slope));
  }
}

// One block a channel, summed in a fixed order: the same bits at every run.
template <typename T>
__global__ void bias_grad_kernel(const T* grad, const T* y, wide_t<T>* db, int64_t outer, int64_t channels,
                                 int64_t inner, wide_t<T> slope) {
  using W = wide_t<T>;
  const int64_t c = blockIdx.x, count = outer * inner;
  W sum = W(0);
  for (int64_t k = threadIdx.x; k < count; k += blockDim.x) {
    const int64_t i = (k / inner * channels + c) * inner + k % inner;
    sum += leaky_relu_grad(convert<W>(grad[i]), convert<W>(y[i]), slope);
  }
  __shared__ W sums[kThreads];
  sums[threadIdx.x] = sum;
  for (int width = kThreads / 2; width > 0; width /= 2) {
    __syncthreads();
    if (threadIdx.x < width) sums[threadIdx.x] += sums[threadIdx.x + width];
  }
  if (threadIdx.x == 0) db[c] = sums[0];
}

unsigned blocks_for(int64_t total) { return unsigned(std::min<int64_t>((total + kThreads - 1) / kThreads, 1 << 16)); }

Layout checked_layout(const Tensor& t, const char* name) {
  GANKIT_CHECK(t.dim() >= 2, name, "have at least 2 dimensions (batch, channels, ...)", t.dim());
  return layout_of(t);
}

Tensor leaky_relu_cuda(const Tensor& input, const Tensor& bias, double slope) {
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  const Tensor x = dense(input);
  const Layout layout = checked_layout(x, "x");
  GANKIT_CHECK(bias.is_cuda() && bias.get_device_index() == x.get_device_index(), "bias", "be on x's device",
               "another one");
  GANKIT_CHECK(bias.dim() == 1 && bias.size(0) == layout.channels, "bias", "have one element per channel of x",
               bias.numel(), " elements in ", bias.dim(), " dimensions for ", layout.channels, " channels");
  Tensor y = empty_as(x);
  const int64_t total = x.numel();
  if (total == 0) return y;
  with_type(dtype_of(x, "x"), [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    with_type(dtype_of(bias, "bias"), [&](auto* bias_element) {
      using B = std::remove_pointer_t<decltype(bias_element)>;
      forward_kernel<T, B><<<blocks_for(total), kThreads, 0, stream_of(x)>>>(
          static_cast<const T*>(x.const_data_ptr()), static_cast<const B*>(bias.const_data_ptr()),
          static_cast<T*>(y.mutable_data_ptr()), total, layout.channels, layout.inner, bias.stride(0), wide_t<T>(slope));
    });
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return y;
}

std::tuple<Tensor, Tensor> leaky_relu_backward_cuda(const Tensor& grad_in, const Tensor& y_in, double slope,
                                                    bool input_grad, bool bias_grad) {
  GANKIT_CHECK(grad_in.sizes().equals(y_in.sizes()), "grad", "have the shape of y", "another one");
  const torch::stable::accelerator::DeviceGuard guard(y_in.get_device_index());
  const Tensor y = dense(y_in), grad = laid_out_like(grad_in, y);
  const Layout layout = checked_layout(y, "y");
  GANKIT_CHECK(raw_dtype(grad) == raw_dtype(y), "grad", "have the dtype of y", toString(grad.scalar_type()));
  Tensor dx = input_grad ? empty_as(y) : empty_1d(y, 0, raw_dtype(y));
  const bool f64 = dtype_of(y, "y") == DType::f64;
  Tensor db = empty_1d(y, bias_grad ? layout.channels : 0,
                       f64 ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32());
  const int64_t total = y.numel();
  with_type(dtype_of(y, "y"), [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    const T* g = static_cast<const T*>(grad.const_data_ptr());
    const T* v = static_cast<const T*>(y.const_data_ptr());
    if (input_grad && total > 0) {
      input_grad_kernel<T><<<blocks_for(total), kThreads, 0, stream_of(y)>>>(
          g, v, static_cast<T*>(dx.mutable_data_ptr()), total, wide_t<T>(slope));
    }
    if (bias_grad && layout.channels > 0) {
      bias_grad_kernel<T><<<unsigned(layout.channels), kThreads, 0, stream_of(y)>>>(
          g, v, static_cast<wide_t<T>*>(db.mutable_data_ptr()), layout.outer, layout.channels, layout.inner,
          wide_t<T>(slope));
    }
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
