#include "instance_norm_act.h"

#include "instance_norm_act_images.h"
#include "instance_norm_act_rows.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// weight or bias as the type computed in; `buffer` holds [channels] where it must be converted.
template <class T>
const compute_t<T>* widened(const InstanceNormActShape& shape, const void* values, compute_t<T>* buffer) {
  if (!values || shape.wide_affine) return static_cast<const compute_t<T>*>(values);
  for (int64_t c = 0; c < shape.channels; ++c) buffer[c] = get_scalar(static_cast<const T*>(values) + c);
  return buffer;
}

// out[c] = sum over the batch of sums[n, c] * factors[n, c] (factors null: 1), in double, in order.
template <class T>
void sum_batch(const InstanceNormActShape& shape, const compute_t<T>* sums, const compute_t<T>* factors, void* out) {
  constexpr int64_t kBlock = 64;
  for (int64_t start = 0; start < shape.channels; start += kBlock) {
    const int64_t count = min64(kBlock, shape.channels - start);
    double total[kBlock] = {};
    for (int64_t n = 0; n < shape.batch; ++n) {
      const int64_t at = n * shape.channels + start;
      for (int64_t c = 0; c < count; ++c) {
        total[c] += static_cast<double>(sums[at + c]) * (factors ? factors[at + c] : 1);
      }
    }
    for (int64_t c = 0; c < count; ++c) {
      const auto value = static_cast<compute_t<T>>(total[c]);
      if (shape.wide_affine) static_cast<compute_t<T>*>(out)[start + c] = value;
      else put_scalar(static_cast<T*>(out) + start + c, value);
    }
  }
}

template <class T>
void forward(const InstanceNormActForward& a, const Parallel& parallel) {
  using A = compute_t<T>;
  const bool convert = !a.shape.wide_affine && (a.weight || a.bias);
  const Buffer<A> buffer(convert ? 2 * a.shape.channels : 0);
  const Forward<T> f{a.shape,
                     static_cast<const T*>(a.x),
                     static_cast<const T*>(a.residual),
                     widened<T>(a.shape, a.weight, buffer.data),
                     widened<T>(a.shape, a.bias, buffer.data + a.shape.channels * convert),
                     static_cast<A>(a.negative_slope),
                     a.eps,
                     static_cast<T*>(a.y),
                     static_cast<A*>(a.mean),
                     static_cast<A*>(a.rstd)};
  if (a.shape.spatial == 0) {  // no variance, but nothing undefined either
    for (int64_t p = 0; p < a.shape.batch * a.shape.channels; ++p) {
      f.mean[p] = 0;
      f.rstd[p] = static_cast<A>(inverse_deviation(0.0, a.eps));
    }
  } else if (a.shape.channels_last) {
    forward_columns(f, parallel);
  } else {
    forward_rows(f, parallel);
  }
}

template <class T>
void backward(const InstanceNormActBackward& a, const Parallel& parallel) {
  using A = compute_t<T>;
  const int64_t planes = a.shape.batch * a.shape.channels;
  const Buffer<A> buffer(2 * (planes + a.shape.channels));
  A* sums = buffer.data + 2 * a.shape.channels;
  const Backward<T> b{a.shape,
                      static_cast<const T*>(a.dy),
                      static_cast<const T*>(a.x),
                      widened<T>(a.shape, a.weight, buffer.data),
                      widened<T>(a.shape, a.bias, buffer.data + a.shape.channels),
                      static_cast<const A*>(a.mean),
                      static_cast<const A*>(a.rstd),
                      static_cast<A>(a.negative_slope),
                      static_cast<T*>(a.dx),
                      sums,
                      sums + planes};
  if (planes == 0 || a.shape.spatial == 0) {
    for (int64_t p = 0; p < 2 * planes; ++p) sums[p] = 0;
  } else if (a.shape.channels_last) {
    backward_columns(b, parallel);
  } else {
    backward_rows(b, parallel);
  }
  if (a.dweight) sum_batch<T>(a.shape, b.sum_gx, b.rstd, a.dweight);
  if (a.dbias) sum_batch<T>(a.shape, b.sum_g, nullptr, a.dbias);
}

}  // namespace

void instance_norm_act_forward(const InstanceNormActForward& args, const Parallel& parallel) {
  if (args.shape.batch * args.shape.channels == 0) return;
  switch (args.shape.dtype) {
    case DType::f32: return forward<float>(args, parallel);
    case DType::f64: return forward<double>(args, parallel);
    case DType::bf16: return forward<BFloat16>(args, parallel);
    case DType::f16: return forward<Float16>(args, parallel);
  }
}

void instance_norm_act_backward(const InstanceNormActBackward& args, const Parallel& parallel) {
  switch (args.shape.dtype) {
    case DType::f32: return backward<float>(args, parallel);
    case DType::f64: return backward<double>(args, parallel);
    case DType::bf16: return backward<BFloat16>(args, parallel);
    case DType::f16: return backward<Float16>(args, parallel);
  }
}

}  // namespace gankit::GANKIT_CPU_CAPABILITY
