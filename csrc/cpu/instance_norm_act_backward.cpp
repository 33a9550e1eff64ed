// Backward of instance_norm_act, and the derivative of that.
#include "instance_norm_act_backward_columns.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// out[c] = the gradient of weight (of = 0) or bias (1): the contributions of planes (n, c) summed over the batch, in
// double and in order.
template <class D>
void sum_batch(const D& d, int of, void* out) {
  using T = typename D::Element;
  using A = typename D::A;
  const auto count = static_cast<A>(max64(d.shape.spatial, 1));
  for (int64_t c = 0; c < d.shape.channels && out; ++c) {
    double total = 0;
    for (int64_t n = 0; n < d.shape.batch; ++n) {
      A sums[D::kSums];
      d.load_sums(n * d.shape.channels + c, sums);
      total += D::template RuleFor<A>::affine_grad(of, sums, d.plane(n, c), count);
    }
    const auto value = static_cast<A>(total);
    if (d.shape.wide_affine) static_cast<A*>(out)[c] = value;
    else put_scalar(static_cast<T*>(out) + c, value);
  }
}

template <class D>
void derive(const D& d, const InstanceNormActBackward& a, const Parallel& parallel) {
  const int64_t planes = d.shape.batch * d.shape.channels;
  if (planes == 0 || d.shape.spatial == 0) {
    for (int64_t p = 0; p < D::kSums * planes; ++p) d.sums[p] = 0;
  } else if (d.shape.channels_last) {
    derive_columns(d, parallel);
  } else {
    derive_rows(d, parallel);
  }
  sum_batch(d, 0, a.dweight);
  sum_batch(d, 1, a.dbias);
}

template <bool kOutput, class T>
void backward(const InstanceNormActBackward& a, const Parallel& parallel) {
  using A = compute_t<T>;
  const int64_t channels = a.shape.channels, planes = a.shape.batch * channels;
  const Buffer<A> buffer(4 * channels), sums(DoubleBackward<kOutput, A>::kSums * planes);
  const auto wide = [&](const void* values, int64_t i) {
    return widened<T>(a.shape, values, buffer.data + i * channels);
  };
  const auto *known = static_cast<const T*>(a.known), *dy = static_cast<const T*>(a.dy);
  const auto *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
  const A *weight = wide(a.weight, 0), *bias = wide(a.bias, 1);
  const auto slope = static_cast<A>(a.negative_slope);
  const Slopes<A> slopes{slope, 1 / slope};
  T* dx = static_cast<T*>(a.dx);
  if (!a.v) {
    derive(Derivative<Backward, kOutput, T>{
               a.shape, {known, dy}, {dx}, mean, rstd, weight, bias, nullptr, nullptr, slopes, sums.data},
           a, parallel);
  } else {
    derive(Derivative<DoubleBackward, kOutput, T>{a.shape,
                                                  {known, dy, static_cast<const T*>(a.v)},
                                                  {dx, static_cast<T*>(a.grad_dy)},
                                                  mean,
                                                  rstd,
                                                  weight,
                                                  bias,
                                                  wide(a.v_weight, 2),
                                                  wide(a.v_bias, 3),
                                                  slopes,
                                                  sums.data},
           a, parallel);
  }
}

template <class T>
void backward(const InstanceNormActBackward& args, const Parallel& parallel) {
  (args.from_output ? backward<true, T> : backward<false, T>)(args, parallel);
}

}  // namespace

void instance_norm_act_backward(const InstanceNormActBackward& args, const Parallel& parallel) {
  switch (args.shape.dtype) {
    case DType::f32: return backward<float>(args, parallel);
    case DType::f64: return backward<double>(args, parallel);
    case DType::bf16: return backward<BFloat16>(args, parallel);
    case DType::f16: return backward<Float16>(args, parallel);
  }
}

}  // namespace gankit::GANKIT_CPU_CAPABILITY
