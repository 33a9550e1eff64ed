// leaky_relu at the border to torch: geometry, allocation, threads. The loops are in cpu/leaky_relu.cpp.
#include "common.h"
#include "cpu/leaky_relu.h"

#include <algorithm>
#include <memory>
#include <tuple>
#include <vector>

namespace gankit {
namespace {

constexpr int64_t kMinPeriod = 256;    // shortest period worth a loop of its own
constexpr int64_t kChunk = 16384;      // elements summed before the next partial sum

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

LeakyReluArgs make_args(const Tensor& t, const char* name, double slope) {
  GANKIT_CHECK(t.dim() >= 2, name, "have at least 2 dimensions (batch, channels, ...)", t.dim());
  const Layout layout = layout_of(t);
  LeakyReluArgs args{.dtype = dtype_of(t, name)};
  args.total = t.numel();
  args.channels = layout.channels;
  args.inner = layout.inner;
  args.slope = slope;
  const int64_t once = layout.channels * layout.inner;
  args.short_planes = layout.channels > 1 && layout.inner < kShortPlane;
  args.period = once >= kMinPeriod || once == 0 ? once : once * ceil_div(kMinPeriod, once);
  if (args.short_planes) {
    args.chunk = args.period * std::max<int64_t>(4, kChunk / args.period);
    args.chunks_per_plane = 0;
  } else {
    args.chunk = kChunk;
    args.chunks_per_plane = ceil_div(layout.inner, kChunk);
  }
  return args;
}

// The bias in the type of the sums; for short planes spread over one period.
template <typename C>
std::vector<C> spread_bias(const Tensor& bias, const LeakyReluArgs& args) {
  const int64_t channels = args.channels;
  std::vector<C> values(channels);
  const int64_t stride = bias.stride(0);
  const void* data = bias.const_data_ptr();
  switch (dtype_of(bias, "bias")) {
    case DType::f32:
      for (int64_t c = 0; c < channels; ++c) values[c] = C(static_cast<const float*>(data)[c * stride]);
      break;
    case DType::f64:
      for (int64_t c = 0; c < channels; ++c) values[c] = C(static_cast<const double*>(data)[c * stride]);
      break;
    case DType::bf16:
      for (int64_t c = 0; c < channels; ++c) {
        values[c] = C(float(static_cast<const torch::headeronly::BFloat16*>(data)[c * stride]));
      }
      break;
    case DType::f16:
      for (int64_t c = 0; c < channels; ++c) {
        values[c] = C(float(static_cast<const torch::headeronly::Half*>(data)[c * stride]));
      }
      break;
  }
  if (!args.short_planes || args.period == channels) return values;
  const int64_t once = std::min(args.period, args.total);
  std::vector<C> spread(once);
  for (int64_t at = 0, c = 0; at < once; ++c, c = c == channels ? 0 : c) {
    for (int64_t i = 0; i < args.inner; ++i) spread[at++] = values[c];
  }
  return spread;
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
  const auto run = [&](const void* values) {
    args.bias = values;
    const auto kernel = leaky_relu_forward_best();
    parallel(args.total, 1, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  };
  if (args.dtype == DType::f64) {
    run(spread_bias<double>(bias, args).data());
  } else {
    run(spread_bias<float>(bias, args).data());
  }
  return y;
}

// Adds the chunks' sums up, in order and in double.
template <typename C>
std::vector<double> sum_chunks(const LeakyReluArgs& args, int64_t chunks) {
  const C* partial = static_cast<const C*>(args.partial);
  std::vector<double> sums(args.channels, 0.0);
  if (args.short_planes) {
    const int64_t used = std::min(args.period, args.total);  // the last elements of a longer period stay zero
    std::vector<double> wide(used, 0.0);
    for (int64_t k = 0; k < chunks; ++k) {
      for (int64_t p = 0; p < used; ++p) wide[p] += double(partial[k * args.period + p]);
    }
    for (int64_t p = 0, c = 0; p < used; ++c, c = c == args.channels ? 0 : c) {
      for (int64_t i = 0; i < args.inner; ++i) sums[c] += wide[p++];
    }
  } else {
    for (int64_t k = 0; k < chunks; ++k) sums[(k / args.chunks_per_plane) % args.channels] += double(partial[k]);
  }
  return sums;
}

void write_sums(const std::vector<double>& sums, Tensor& out) {
  void* data = out.mutable_data_ptr();
  const auto write = [&](auto* to) {
    for (size_t c = 0; c < sums.size(); ++c) to[c] = static_cast<std::remove_pointer_t<decltype(to)>>(sums[c]);
  };
  switch (dtype_of(out, "bias")) {
    case DType::f32: return write(static_cast<float*>(data));
    case DType::f64: return write(static_cast<double*>(data));
    case DType::bf16: return write(static_cast<torch::headeronly::BFloat16*>(data));
    case DType::f16: return write(static_cast<torch::headeronly::Half*>(data));
  }
}

std::tuple<Tensor, Tensor> leaky_relu_backward_cpu(const Tensor& grad_in, const Tensor& y_in, const Tensor& bias,
                                                   double slope, bool input_grad, bool bias_grad) {
  const Tensor y = dense(y_in), grad = laid_out_like(grad_in, y);
  LeakyReluArgs args = make_args(y, "y", slope);
  GANKIT_CHECK(dtype_of(grad, "grad") == args.dtype, "grad", "have the dtype of y", toString(grad.scalar_type()));
  Tensor dx = input_grad ? empty_as(y) : empty_1d(y, 0, raw_dtype(y));
  Tensor db = empty_1d(y, bias_grad ? args.channels : 0, raw_dtype(bias));
  const int64_t chunks = args.total == 0      ? 0
                         : args.short_planes ? ceil_div(args.total, args.chunk)
                                             : args.total / args.inner * args.chunks_per_plane;
  const bool f64 = args.dtype == DType::f64;
  const int64_t sums = bias_grad ? chunks * (args.short_planes ? args.period : 1) : 0;
  std::unique_ptr<char[]> partial(sums ? new char[sums * (f64 ? 8 : 4)] : nullptr);
  args.grad = grad.const_data_ptr();
  args.y = y.const_data_ptr();
  args.out = input_grad ? dx.mutable_data_ptr() : nullptr;
  args.partial = partial.get();
  const auto kernel = leaky_relu_backward_best();
  const int64_t cost = args.short_planes ? args.chunk : std::min(args.chunk, args.inner);
  parallel(chunks, cost, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  if (bias_grad) write_sums(f64 ? sum_chunks<double>(args, chunks) : sum_chunks<float>(args, chunks), db);
  return {dx, db};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gankit, CPU, m) {
  m.impl("leaky_relu", TORCH_BOX(&leaky_relu_cpu));
  m.impl("leaky_relu_forward", TORCH_BOX(&leaky_relu_cpu));
  m.impl("leaky_relu_backward", TORCH_BOX(&leaky_relu_backward_cpu));
}

}  // namespace gankit
