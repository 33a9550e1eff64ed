// instance_norm_act where the elements of a plane lie side by side (NCHW).
// A plane is read from memory once: the second pass over it finds it in the second-level cache.
#pragma once

#include "instance_norm_act_common.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// Sums over elements of g and g * (x - mean).
struct SumsOfGrad {
  double g, gx;
};
GANKIT_FORMULA_MEMBER SumsOfGrad merge(const SumsOfGrad& a, const SumsOfGrad& b) { return {a.g + b.g, a.gx + b.gx}; }

// Planes are reduced in segments, merged in order, so that a result does not depend on the number of threads.
// Deviations within a segment are taken from the mean of its head, which misses the segment's mean by at most
// sqrt(kSegment / kHead) standard deviations, whatever the data: that bounds what cancellation can cost.
constexpr int64_t kSegment = 16384, kHead = 512;

// Adds `step` over [0, n) into two sums, each in four registers; step.at<V>(i, first, second) adds one V of elements.
template <class T, class Step>
GANKIT_FORMULA_MEMBER void accumulate_row(int64_t n, const Step& step, compute_t<T>& first, compute_t<T>& second) {
  using A = compute_t<T>;
  using V = Vec<A>;
  constexpr int L = kLanes<A>;
  V s[4] = {}, t[4] = {};
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    for (int k = 0; k < 4; ++k) step.template at<V>(i + k * L, s[k], t[k]);
  }
  for (; i + L <= n; i += L) step.template at<V>(i, s[0], t[0]);
  first = sum_lanes<A>((s[0] + s[1]) + (s[2] + s[3]));
  second = sum_lanes<A>((t[0] + t[1]) + (t[2] + t[3]));
  for (; i < n; ++i) step.template at<A>(i, first, second);
}

template <class T>
struct RowSum {
  const T* x;
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V& sum, V&) const {
    sum += get<V>(x + i);
  }
};

template <class T>
struct RowDeviations {
  const T* x;
  compute_t<T> shift;
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V& sum, V& squares) const {
    const V d = get<V>(x + i) - shift;
    sum += d;
    squares += d * d;
  }
};

template <class T>
struct RowGradients {
  const T *dy, *x;
  Plane<compute_t<T>> plane;
  compute_t<T> slope;
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V& sum_g, V& sum_gx) const {
    const V v = get<V>(x + i);
    const V g = leaky_relu_backward<V>(get<V>(dy + i), pre_activation<V>(v, spread<V>(plane)), all<V>(slope));
    sum_g += g;
    sum_gx += g * (v - plane.mean);
  }
};

template <class T>
Moments<double> row_moments(const T* x, int64_t n) {
  using A = compute_t<T>;
  const int64_t head = min64(n, kHead);
  A shift, sum, squares;
  accumulate_row<T>(head, RowSum<T>{x}, shift, sum);
  shift /= static_cast<A>(head);
  accumulate_row<T>(n, RowDeviations<T>{x, shift}, sum, squares);
  return shifted_moments<double>(n, shift, sum, squares);
}

template <class T>
SumsOfGrad row_grads(const T* dy, const T* x, int64_t n, const Plane<compute_t<T>>& plane, compute_t<T> slope) {
  compute_t<T> g, gx;
  accumulate_row<T>(n, RowGradients<T>{dy, x, plane, slope}, g, gx);
  return {g, gx};
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
  const Plane<V> planes = spread<V>(plane);
  const V slopes = all<V>(slope);
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    for (int64_t k = i; k < i + 4 * L; k += L) {
      apply_at<kAct, kResidual, V>(x + k, residual + k, y + k, planes, slopes);
    }
  }
  for (; i + L <= n; i += L) apply_at<kAct, kResidual, V>(x + i, residual + i, y + i, planes, slopes);
  for (; i < n; ++i) apply_at<kAct, kResidual, A>(x + i, residual + i, y + i, plane, slope);
}

template <class V, class T>
GANKIT_FORMULA_MEMBER void input_grad_at(const T* dy, const T* x, T* dx, const Plane<V>& plane,
                                         const PlaneGrad<V>& grad, V slope) {
  const V v = get<V>(x);
  const V g = leaky_relu_backward<V>(get<V>(dy), pre_activation<V>(v, plane), slope);
  put<V>(dx, input_grad<V>(g, v, plane, grad));
}

template <class T, class A = compute_t<T>>
void input_grad_row(const T* dy, const T* x, T* dx, int64_t n, const Plane<A>& plane, const PlaneGrad<A>& grad,
                    A slope) {
  using V = Vec<A>;
  constexpr int L = kLanes<A>;
  const Plane<V> planes = spread<V>(plane);
  const PlaneGrad<V> grads = {all<V>(grad.mean_g), all<V>(grad.slope_x)};
  const V slopes = all<V>(slope);
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    for (int64_t k = i; k < i + 2 * L; k += L) input_grad_at<V>(dy + k, x + k, dx + k, planes, grads, slopes);
  }
  for (; i + L <= n; i += L) input_grad_at<V>(dy + i, x + i, dx + i, planes, grads, slopes);
  for (; i < n; ++i) input_grad_at<A>(dy + i, x + i, dx + i, plane, grad, slope);
}

// Where a piece of a plane lies: plane p = (n, c), elements [start, start + count) of it, `at` from the tensor's start.
struct Piece {
  int64_t n, c, p, start, count, at;
};

// Reduces every plane, then maps over it: reduce(piece) gives a Part, finish(piece, part), map(piece).
// A thread takes whole planes; they are cut only where too few of them would leave threads idle.
template <class Part, class Reduce, class Finish, class Map>
void each_plane(const InstanceNormActShape& shape, const Parallel& parallel, const Reduce& reduce,
                const Finish& finish, const Map& map) {
  const int64_t size = shape.spatial, planes = shape.batch * shape.channels;
  const int64_t cuts = (size + kSegment - 1) / kSegment;
  const auto whole = [&](int64_t p) {
    const int64_t n = p / shape.channels;
    return Piece{n, p - n * shape.channels, p, 0, size, p * size};
  };
  const auto cut = [&](Piece piece, int64_t i) {
    piece.start = i * kSegment;
    piece.count = min64(size - piece.start, kSegment);
    piece.at += piece.start;
    return piece;
  };
  if (cuts == 1 || balanced(planes, parallel)) {
    run(parallel, planes, size, [&](int64_t begin, int64_t end) {
      // Small planes go by groups: the long chain of divisions and a root that each waits for then overlaps others.
      constexpr int64_t kGroup = 16, kGroupElements = 4096;
      const int64_t group = max64(1, min64(kGroup, kGroupElements / size));
      Part parts[kGroup];
      for (int64_t first = begin; first < end; first += group) {
        const int64_t count = min64(group, end - first);
        for (int64_t k = 0; k < count; ++k) {
          const Piece plane = whole(first + k);
          parts[k] = reduce(cut(plane, 0));
          for (int64_t i = 1; i < cuts; ++i) parts[k] = merge(parts[k], reduce(cut(plane, i)));
        }
        for (int64_t k = 0; k < count; ++k) finish(whole(first + k), parts[k]);
        for (int64_t k = 0; k < count; ++k) map(whole(first + k));
      }
    });
    return;
  }
  const Buffer<Part> parts(planes * cuts);
  run(parallel, planes * cuts, kSegment, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) parts.data[i] = reduce(cut(whole(i / cuts), i % cuts));
  });
  for (int64_t p = 0; p < planes; ++p) {
    Part part = parts.data[p * cuts];
    for (int64_t i = 1; i < cuts; ++i) part = merge(part, parts.data[p * cuts + i]);
    finish(whole(p), part);
  }
  run(parallel, planes * cuts, kSegment, [&](int64_t begin, int64_t end) {
    for (int64_t i = end; i-- > begin;) map(cut(whole(i / cuts), i % cuts));  // backwards: the last ones are still cached
  });
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

template <class T>
void backward_rows(const Backward<T>& b, const Parallel& parallel) {
  using A = compute_t<T>;
  each_plane<SumsOfGrad>(
      b.shape, parallel,
      [&](const Piece& piece) {
        const auto plane = plane_of(b, piece.n, piece.c);
        return row_grads(b.dy + piece.at, b.x + piece.at, piece.count, plane, b.negative_slope);
      },
      [&](const Piece& piece, const SumsOfGrad& s) {
        b.sum_g[piece.p] = static_cast<A>(s.g);
        b.sum_gx[piece.p] = static_cast<A>(s.gx);
      },
      [&](const Piece& piece) {
        const A size = static_cast<A>(b.shape.spatial);
        const auto grad = plane_grad<A>(b.sum_g[piece.p], b.sum_gx[piece.p], b.rstd[piece.p], size);
        input_grad_row(b.dy + piece.at, b.x + piece.at, b.dx + piece.at, piece.count, plane_of(b, piece.n, piece.c),
                       grad, b.negative_slope);
      });
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
