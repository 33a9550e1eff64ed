// Forward of instance_norm_act.
#include "instance_norm_act_forward_columns.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

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

}  // namespace gankit::GANKIT_CPU_CAPABILITY
