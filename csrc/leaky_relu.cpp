// The binding of leaky_relu's CPU kernels to torch: geometry, allocation, threads. The loops are in cpu/leaky_relu.cpp.
#include "common.h"
#include "cpu/leaky_relu.h"

#include <algorithm>
#include <tuple>
#include <type_traits>

namespace gankit {
namespace {

constexpr int64_t kMinPeriod = 256;  // shortest period worth a loop of its own
constexpr int64_t kChunk = 16384;    // elements summed before the next partial sum

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

LeakyReluArgs make_args(const Tensor& t, const char* name, double slope) {
  GANKIT_CHECK(t.dim() >= 2, name, "have at least 2 dimensions (batch, channels, ...)", t.dim());
  const Layout layout = layout_of(t);
  LeakyReluArgs args{.dtype = dtype_of(t, name)};
  args.total = t.numel();
  args.channels = layout.channels;
  args.inner = layout.inner;
  args.slope = slope;
  const int64_t shortest = layout.channels * layout.inner;
  args.short_planes = layout.channels > 1 && layout.inner < kShortPlane;
  args.period = shortest >= kMinPeriod || shortest == 0 ? shortest : shortest * ceil_div(kMinPeriod, shortest);
  if (args.short_planes) {
    args.chunk = args.period * std::max<int64_t>(4, kChunk / args.period);
    args.chunks_per_plane = 0;
  } else {
    args.chunk = kChunk;
    args.chunks_per_plane = ceil_div(layout.inner, kChunk);
  }
  return args;
}

// Calls f with a null pointer of the element type that `dtype` names.
template <typename F>
void with_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f32: return f(static_cast<float*>(nullptr));
    case DType::f64: return f(static_cast<double*>(nullptr));
    case DType::bf16: return f(static_cast<torch::headeronly::BFloat16*>(nullptr));
    case DType::f16: return f(static_cast<torch::headeronly::Half*>(nullptr));
  }
}

// The bias in the type computed in, C; for short planes spread over one period.
template <typename C>
void forward_cpu(LeakyReluArgs& args, const Tensor& bias) {
  const bool spread = args.short_planes && args.period != args.channels;
  const int64_t stride = bias.stride(0), count = spread ? std::min(args.period, args.total) : args.channels;
  const DType wide = args.dtype == DType::f64 ? DType::f64 : DType::f32;
  const bool ready = !spread && (stride == 1 || args.channels == 1) && dtype_of(bias, "bias") == wide;
  Scratch<C, 512> values(ready ? 0 : count);
  if (!ready) {
    with_type(dtype_of(bias, "bias"), [&](auto* type) {
      const auto* data = static_cast<const std::remove_pointer_t<decltype(type)>*>(bias.const_data_ptr());
      const int64_t repeats = spread ? args.inner : 1;
      for (int64_t at = 0, c = 0; at < count; c = c + 1 == args.channels ? 0 : c + 1) {
        const C value = static_cast<C>(data[c * stride]);
        for (int64_t i = 0; i < repeats; ++i) values.data[at++] = value;
      }
    });
  }
  args.bias = ready ? bias.const_data_ptr() : values.data;
  const auto kernel = leaky_relu_forward_best();
  parallel(args.total, 1, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
}

Tensor leaky_relu_cpu(const Tensor& input, const Tensor& bias, double slope) {
  const Tensor x = dense(input);
  LeakyReluArgs args = make_args(x, "x", slope);
  GANKIT_CHECK(bias.dim() == 1 && bias.size(0) == args.channels, "bias", "have one element per channel of x",
               bias.numel(), " elements in ", bias.dim(), " dimensions for ", args.channels, " channels");
  Tensor y = empty_as(x);
  if (args.total == 0) return y;
  args.x = x.const_data_ptr();
  args.out = y.mutable_data_ptr();
  args.dtype == DType::f64 ? forward_cpu<double>(args, bias) : forward_cpu<float>(args, bias);
  return y;
}

// Adds the chunks' sums up, in order and in double.
template <typename C>
void sum_chunks(const LeakyReluArgs& args, int64_t chunks, double* sums) {
  const C* partial = static_cast<const C*>(args.partial);
  std::fill_n(sums, args.channels, 0.0);
  if (args.short_planes) {
    const int64_t used = std::min(args.period, args.total);  // the last elements of a longer period stay zero
    for (int64_t k = 0; k < chunks; ++k) {
      for (const C *at = partial + k * args.period, *end = at + used; at < end;) {
        for (int64_t c = 0; c < args.channels; ++c, at += args.inner) {
          for (int64_t i = 0; i < args.inner; ++i) sums[c] += at[i];
        }
      }
    }
  } else {
    for (const C *at = partial, *end = at + chunks; at < end;) {
      for (int64_t c = 0; c < args.channels; ++c, at += args.chunks_per_plane) {
        for (int64_t i = 0; i < args.chunks_per_plane; ++i) sums[c] += at[i];
      }
    }
  }
}

// `db`: [channels], or null.
template <typename C>
void backward_cpu(LeakyReluArgs& args, C* db) {
  const int64_t chunks = args.total == 0      ? 0
                         : args.short_planes ? ceil_div(args.total, args.chunk)
                                             : args.total / args.inner * args.chunks_per_plane;
  Scratch<C, 1024> partial(args.short_planes ? chunks * args.period : chunks);
  args.partial = partial.data;
  const auto kernel = leaky_relu_backward_best();
  const int64_t cost = args.short_planes ? args.chunk : std::min(args.chunk, args.inner);
  parallel(chunks, cost, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  if (!db) return;
  const Scratch<double, 512> sums(args.channels);
  sum_chunks<C>(args, chunks, sums.data);
  for (int64_t c = 0; c < args.channels; ++c) db[c] = static_cast<C>(sums.data[c]);
}

// The gradient of the bias comes in the type computed in; autograd rounds it to the bias's.
std::tuple<Tensor, Tensor> leaky_relu_backward_cpu(const Tensor& grad_in, const Tensor& y_in, double slope,
                                                   bool input_grad, bool bias_grad) {
  GANKIT_CHECK(grad_in.sizes().equals(y_in.sizes()), "grad", "have the shape of y", "another one");
  const Tensor y = dense(y_in), grad = laid_out_like(grad_in, y);
  LeakyReluArgs args = make_args(y, "y", slope);
  if (!bias_grad) {  // the channels do not matter: all is one plane
    args.short_planes = false;
    args.channels = 1;
    args.inner = args.total;
    args.chunk = kChunk;
    args.chunks_per_plane = ceil_div(args.total, kChunk);
  }
  GANKIT_CHECK(dtype_of(grad, "grad") == args.dtype, "grad", "have the dtype of y", toString(grad.scalar_type()));
  Tensor dx = input_grad ? empty_as(y) : empty_1d(y, 0, raw_dtype(y));
  const bool f64 = args.dtype == DType::f64;
  Tensor db = empty_1d(y, bias_grad ? args.channels : 0, f64 ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32());
  args.grad = grad.const_data_ptr();
  args.y = y.const_data_ptr();
  args.out = input_grad ? dx.mutable_data_ptr() : nullptr;
  void* sums = bias_grad ? db.mutable_data_ptr() : nullptr;
  f64 ? backward_cpu(args, static_cast<double*>(sums)) : backward_cpu(args, static_cast<float*>(sums));
  return {dx, db};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gankit, CPU, m) {
  m.impl("leaky_relu", TORCH_BOX(&leaky_relu_cpu));
  m.impl("leaky_relu_forward", TORCH_BOX(&leaky_relu_cpu));
  m.impl("leaky_relu_backward", TORCH_BOX(&leaky_relu_backward_cpu));
}

}  // namespace gankit
