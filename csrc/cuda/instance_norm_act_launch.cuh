// From the arguments of instance_norm_act to its kernels: what forward and the derivatives share.
#pragma once

#include <initializer_list>

#include "instance_norm_act.h"
#include "instance_norm_act_columns_split.cuh"

namespace gankit::instance_norm_act {

template <class T, class Args>
Norm<T> typed(const Args& args) {
  using A = wide_t<T>;
  Norm<T> a = {};
  a.weight = args.weight;
  a.bias = args.bias;
  a.mean = static_cast<A*>(const_cast<void*>(args.mean));
  a.rstd = static_cast<A*>(const_cast<void*>(args.rstd));
  a.batch = args.shape.batch;
  a.channels = args.shape.channels;
  a.spatial = args.shape.spatial;
  a.wide_affine = args.shape.wide_affine;
  a.slopes.slope = A(args.negative_slope);
  return a;
}

// How tensors can be read that are all used together; a null one does not count.
template <class T>
Access access_of(const InstanceNormActShape& shape, std::initializer_list<const T*> tensors) {
  if (sizeof(T) == 8) return Access::scalar;
  const int shift = misalignment(*tensors.begin());
  for (const T* t : tensors) {
    if (t && misalignment(t) != shift) return Access::scalar;
  }
  const int64_t run = shape.channels_last ? shape.channels : shape.spatial;
  if (shift == 0 && run % kVector<T> == 0) return Access::whole;
  return shape.channels_last ? Access::scalar : Access::edges;
}

// Calls f with the width of a pack and whether it may have edges, as types. float64 is for checking: element by element
// does for it, and half of the kernels need not be compiled.
template <class T, class F>
void with_access(Access access, const F& f) {
  using Vector = std::integral_constant<int, kVector<T>>;
  if constexpr (sizeof(T) < 8) {
    if (access == Access::whole) return f(Vector(), std::false_type());
    if (access == Access::edges) return f(Vector(), std::true_type());
  }
  f(std::integral_constant<int, 1>(), std::false_type());
}

}  // namespace gankit::instance_norm_act
