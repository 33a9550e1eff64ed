// Formulas of the PatchGAN losses: each term's value and its derivative with respect to one logit.
#pragma once

#include <stdint.h>
#include <string.h>

#include "portable.h"

namespace gankit {

// The order of `KINDS` in gankit/ops/patchgan_loss.py.
enum class PatchGANKind { lsgan, bce, hinge, wgan };

template <typename T>
struct ValueSlope {
  T value, slope;
};

// (x - target)^2
template <typename T>
GANKIT_FORMULA ValueSlope<T> square_term(T x, T target) {
  const T d = x - target;
  return {d * d, T(2) * d};
}

// max(0, 1 + sign * x); NaN stays NaN, and the slope at the corner is 0, both as in torch's relu.
template <typename T>
GANKIT_FORMULA ValueSlope<T> hinge_term(T x, T sign) {
  const T v = T(1) + sign * x;
  return {v <= T(0) ? T(0) : v, v <= T(0) ? T(0) : sign};
}

// sign * x
template <typename T>
GANKIT_FORMULA ValueSlope<T> linear_term(T x, T sign) {
  return {sign * x, sign};
}

// What exp needs to know about a type. Rounding to an integer is done by adding 1.5 * 2^(mantissa bits), which leaves
// the integer in the low bits: it vectorises everywhere, and NaN passes through it without a conversion that C++ leaves
// undefined.
template <typename T> struct ExpTraits;
template <> struct ExpTraits<float> {
  using Bits = uint32_t;
  static constexpr float shift = 12582912.0f, ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f, lowest = -87.0f;
  static constexpr int mantissa = 23, exp_terms = 7, log_terms = 6;
  static constexpr Bits one = 0x3f800000u;
};
template <> struct ExpTraits<double> {
  using Bits = uint64_t;
  static constexpr double shift = 6755399441055744.0, ln2_high = 0.693147180369123816490,
                          ln2_low = 1.90821492927058770002e-10, lowest = -708.0;
  static constexpr int mantissa = 52, exp_terms = 13, log_terms = 17;
  static constexpr Bits one = 0x3ff0000000000000ull;
};

// exp(a) for a <= 0, by a = n ln 2 + r and the Taylor polynomial of exp(r), |r| <= ln(2) / 2; 0 where a result would be
// subnormal.
template <typename T>
GANKIT_FORMULA T exp_of_negative(T a) {
  using Traits = ExpTraits<T>;
  const T clamped = a < Traits::lowest ? Traits::lowest : a;
  const T shifted = clamped * T(1.442695040888963407) + Traits::shift;
  const T n = shifted - Traits::shift;
  const T r = (clamped - n * Traits::ln2_high) - n * Traits::ln2_low;
  T p = T(1);
  GANKIT_UNROLL
  for (int k = Traits::exp_terms; k > 0; --k) p = T(1) + p * r * (T(1) / T(k));
  typename Traits::Bits bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << Traits::mantissa) + Traits::one;
  T power;
  memcpy(&power, &bits, sizeof power);
  return a < Traits::lowest ? T(0) : p * power;
}

// The series of atanh(s) / s in s^2, for s^2 <= 1/9.
template <typename T>
GANKIT_FORMULA T atanh_over_s(T s2) {
  T p = T(0);
  GANKIT_UNROLL
  for (int k = ExpTraits<T>::log_terms; k >= 0; --k) p = p * s2 + T(1) / T(2 * k + 1);
  return p;
}

// softplus(sign * x) = log(1 + exp(sign * x)), exact at both ends: max(v, 0) + log(1 + e) with e = exp(-|v|), where
// log(1 + e) = 2 atanh(e / (2 + e)). That quotient and the slope's, 1 / (1 + e), share one division.
template <typename T>
GANKIT_FORMULA ValueSlope<T> softplus_term(T x, T sign) {
  const T v = sign * x;
  const T e = exp_of_negative(v > T(0) ? -v : v);
  const T inverse = T(1) / ((T(1) + e) * (T(2) + e));
  const T s = e * (T(1) + e) * inverse;
  const T sigmoid = (v > T(0) ? T(1) : e) * (T(2) + e) * inverse;
  return {(v > T(0) ? v : T(0)) + T(2) * s * atanh_over_s(s * s), sign * sigmoid};
}

// The term of one logit. `target_or_sign`: lsgan: the target, 0 or 1; bce, hinge, wgan: the sign, -1 or 1.
template <PatchGANKind kKind, typename T>
GANKIT_FORMULA ValueSlope<T> patchgan_term(T x, T target_or_sign) {
  if constexpr (kKind == PatchGANKind::lsgan) return square_term(x, target_or_sign);
  if constexpr (kKind == PatchGANKind::hinge) return hinge_term(x, target_or_sign);
  if constexpr (kKind == PatchGANKind::wgan) return linear_term(x, target_or_sign);
  return softplus_term(x, target_or_sign);
}

}  // namespace gankit
