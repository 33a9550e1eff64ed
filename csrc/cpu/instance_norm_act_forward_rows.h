// The forward pass of instance_norm_act in NCHW.
#pragma once

#include "instance_norm_act_rows.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// The arguments with their types; weight and bias in the type computed in.
template <class T>
struct Forward {
  using A = compute_t<T>;
  InstanceNormActShape shape;
  const T *x, *residual;
  const A *weight, *bias;
  A negative_slope;
  double eps;
  T* y;
  A *mean, *rstd;
};

template <class T, class A = compute_t<T>>
Plane<A> plane_of(const Forward<T>& f, int64_t n, int64_t c) {
  const int64_t p = n * f.shape.channels + c;
  return {f.mean[p], f.weight ? f.weight[c] * f.rstd[p] : f.rstd[p], f.bias ? f.bias[c] : 0};
}

// Deviations within a segment are taken from the mean of its head, which misses the segment's mean by at most
// sqrt(kSegment / kHead) standard deviations, whatever the data: that bounds what cancellation can cost.
constexpr int64_t kHead = 512;

template <class T>
struct RowSum {
  const T* x;
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V (&sums)[1]) const {
    sums[0] += get<V>(x + i);
  }
};

template <class T>
struct RowDeviations {
  const T* x;
  compute_t<T> shift;
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V (&sums)[2]) const {
    const V d = get<V>(x + i) - shift;
    sums[0] += d;
    sums[1] += d * d;
  }
};

template <class T>
Moments<double> row_moments(const T* x, int64_t n) {
  using A = compute_t<T>;
  const int64_t head = min64(n, kHead);
  A shift[1], sums[2];
  accumulate_row<T>(head, RowSum<T>{x}, shift);
  shift[0] /= static_cast<A>(head);
  accumulate_row<T>(n, RowDeviations<T>{x, shift[0]}, sums);
  return shifted_moments<double>(n, shift[0], sums[0], sums[1]);
}

template <bool kAct, bool kResidual, class V, class T>
GANKIT_FORMULA_MEMBER void apply_at(const T* x, const T* residual, T* y, const Plane<V>& plane, V slope) {
  V z = pre_activation<V>(get<V>(x), plane);
  if constexpr (kAct) z = leaky_relu<V>(z, slope);
  if constexpr (kResidual) z += get<V>(residual);
  put<V>(y, z);
}

template <bool kAct, bool kResidual, class T>
void apply_row(const T* x, const T* residual, T* y, int64_t n, const Plane<compute_t<T>>& plane, compute_t<T> slope) {
  using A = compute_t<T>;
  using V = Vec<A>;
  constexpr int L = kLanes<A>;
  const Plane<V> planes = {broadcast<V>(plane.mean), broadcast<V>(plane.scale), broadcast<V>(plane.bias)};
  const V slopes = broadcast<V>(slope);
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    for (int64_t k = i; k < i + 4 * L; k += L) {
      apply_at<kAct, kResidual, V>(x + k, residual + k, y + k, planes, slopes);
    }
  }
  for (; i + L <= n; i += L) apply_at<kAct, kResidual, V>(x + i, residual + i, y + i, planes, slopes);
  for (; i < n; ++i) apply_at<kAct, kResidual, A>(x + i, residual + i, y + i, plane, slope);
}

template <class T>
void forward_rows(const Forward<T>& f, const Parallel& parallel) {
  using A = compute_t<T>;
  const bool act = f.negative_slope != 1;
  const auto apply = f.residual ? (act ? apply_row<true, true, T> : apply_row<false, true, T>)
                                : (act ? apply_row<true, false, T> : apply_row<false, false, T>);
  each_plane<Moments<double>>(
      f.shape, parallel, [&](const Piece& piece) { return row_moments(f.x + piece.at, piece.count); },
      [&](const Piece& piece, const Moments<double>& m) {
        f.mean[piece.p] = static_cast<A>(m.mean);
        f.rstd[piece.p] = static_cast<A>(inverse_deviation(variance(m), f.eps));
      },
      [&](const Piece& piece) {
        const int64_t at = piece.at;
        apply(f.x + at, f.residual ? f.residual + at : nullptr, f.y + at, piece.count, plane_of(f, piece.n, piece.c),
              f.negative_slope);
      });
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
