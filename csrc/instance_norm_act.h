// The formulas of instance_norm_act, each written once for CPU and CUDA. A is the type computed in: float, double,
// or, on the CPU, a vector register of them.
//
//   xhat = (x - mean) * rstd          rstd = 1 / sqrt(var + eps), var biased, over the plane of one (n, c)
//   z    = xhat * weight + bias
//   y    = leaky_relu(z) + residual
//
// Its derivatives are in instance_norm_act_backward.h.

#pragma once

#include "portable.h"

namespace gankit::instance_norm_act {

// Count, mean and sum of squared deviations of a set of numbers.
template <class A>
struct Moments {
  A count, mean, m2;
};

// Moments of the union of two sets (Chan, Golub and LeVeque, 1979). Either may be empty, not both.
template <class A>
GANKIT_FORMULA Moments<A> merge(const Moments<A>& a, const Moments<A>& b) {
  const A count = a.count + b.count;
  const A fraction = b.count / count;
  const A delta = b.mean - a.mean;
  return {count, a.mean + delta * fraction, a.m2 + b.m2 + delta * delta * (a.count * fraction)};
}

// From the sums of (x - shift) and (x - shift)^2, with a shift near the mean.
template <class A>
GANKIT_FORMULA Moments<A> shifted_moments(A count, A shift, A sum, A squares) {
  const A offset = sum / count;  // of the mean from the shift
  const A m2 = squares - offset * sum;
  return {count, shift + offset, m2 < 0 ? A(0) : m2};  // below zero only by rounding; a NaN stays
}

template <class A>
GANKIT_FORMULA A variance(const Moments<A>& m) {
  return m.m2 / m.count;
}

// Sum of squared deviations from another point than the mean.
template <class A>
GANKIT_FORMULA A squares_about(const Moments<A>& m, A point) {
  return m.m2 + m.count * (m.mean - point) * (m.mean - point);
}

// 1 / sqrt(var + eps); 0 where both are 0, as in torch: a constant plane then comes out as 0, not as NaN.
template <class A>
GANKIT_FORMULA A inverse_deviation(A var, A eps) {
  return var + eps == 0 ? A(0) : A(1 / GANKIT_SQRT(var + eps));
}

// What the elements of one plane share.
template <class A>
struct Plane {
  A mean, scale, bias;  // scale = weight * rstd
};

template <class A>
GANKIT_FORMULA A pre_activation(A x, const Plane<A>& p) {
  return (x - p.mean) * p.scale + p.bias;
}

// A comparison that a NaN fails takes the sloped side, as torch's leaky_relu does.
template <class A>
GANKIT_FORMULA A leaky_relu(A z, A slope) {
  return z > 0 ? z : z * slope;
}

}  // namespace gankit::instance_norm_act
