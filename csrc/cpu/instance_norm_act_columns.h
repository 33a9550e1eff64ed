// instance_norm_act where the channels of a pixel lie side by side (channels_last).
// An image is a matrix of pixels by channels. `fold` pixels make one row of it, so that a row is whole registers
// however odd the number of channels; the pixels that are left over at the end are its tail. Rows are reduced in
// segments, always the same ones, so that a result does not depend on the number of threads.
#pragma once

#include "instance_norm_act_common.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

struct Grid {
  int64_t channels, fold, width, rows, tail, segment_rows, segments;
  int64_t rows_of(int64_t segment) const { return min64(segment_rows, rows - segment * segment_rows); }
};

template <class T>
Grid make_grid(const InstanceNormActShape& shape) {
  // So many rows at most that a sum in the type computed in stays sharp.
  constexpr int64_t kSegmentBytes = 128 * 1024, kLeastRows = 16, kMostRows = 2048;
  Grid g{};
  g.channels = shape.channels;
  g.fold = 1;
  while (g.fold * g.channels % kLanes<compute_t<T>> != 0) g.fold *= 2;  // the lanes are a power of two
  g.width = g.fold * g.channels;
  g.rows = shape.spatial / g.fold;
  g.tail = shape.spatial % g.fold;
  g.segment_rows = min64(kMostRows, max64(kLeastRows, kSegmentBytes / (g.width * static_cast<int64_t>(sizeof(T)))));
  g.segments = max64(1, (g.rows + g.segment_rows - 1) / g.segment_rows);  // one even if all is tail
  return g;
}

// Arrays of g.width: what the planes share, repeated `fold` times.
template <class A>
struct Planes {
  static constexpr int64_t kArrays = 5;
  A *mean, *scale, *bias, *mean_g, *slope_x;
  Planes(A* at, int64_t w) : mean(at), scale(at + w), bias(at + 2 * w), mean_g(at + 3 * w), slope_x(at + 4 * w) {}
  template <class V>
  GANKIT_FORMULA_MEMBER Plane<V> plane(int64_t w) const {
    return {get<V>(mean + w), get<V>(scale + w), get<V>(bias + w)};
  }
  template <class V>
  GANKIT_FORMULA_MEMBER PlaneGrad<V> grad(int64_t w) const {
    return {get<V>(mean_g + w), get<V>(slope_x + w)};
  }
};

// Arrays of g.width: what the reduction of one segment leaves, two sums and the shift that the first was taken from.
template <class A>
struct Part {
  static constexpr int64_t kArrays = 3;
  A *first, *second, *shift;
  Part(A* at, int64_t w) : first(at), second(at + w), shift(at + 2 * w) {}
};

// Adds `step` over rows [0, rows) into two arrays of g.width sums, four rows at a time.
template <class T, class Step>
GANKIT_FORMULA_MEMBER void accumulate_rows(const Grid& g, int64_t rows, const Step& step, compute_t<T>* first,
                                   compute_t<T>* second) {
  using V = Vec<compute_t<T>>;
  constexpr int L = kLanes<compute_t<T>>;
  for (int64_t w = 0; w < g.width; w += L) {
    put<V>(first + w, V{});
    put<V>(second + w, V{});
  }
  int64_t r = 0;
  const auto add = [&](int64_t count) __attribute__((always_inline)) {
    for (int64_t w = 0; w < g.width; w += L) {
      const auto shared = step.template shared<V>(w);
      V s = {}, t = {};
      for (int64_t k = r; k < r + count; ++k) step.template at<V>(k * g.width + w, shared, s, t);
      put<V>(first + w, get<V>(first + w) + s);
      put<V>(second + w, get<V>(second + w) + t);
    }
    r += count;
  };
  while (r + 4 <= rows) add(4);
  while (r < rows) add(1);
}

template <class T>
struct ColumnSum {
  const T* x;
  template <class V>
  GANKIT_FORMULA_MEMBER V shared(int64_t) const {
    return V{};
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V, V& sum, V&) const {
    sum += get<V>(x + i);
  }
};

template <class T>
struct ColumnDeviations {
  const T* x;
  const compute_t<T>* shift;
  template <class V>
  GANKIT_FORMULA_MEMBER V shared(int64_t w) const {
    return get<V>(shift + w);
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V shift_w, V& sum, V& squares) const {
    const V d = get<V>(x + i) - shift_w;
    sum += d;
    squares += d * d;
  }
};

template <class T>
struct ColumnGradients {
  const T *dy, *x;
  const Planes<compute_t<T>>& planes;
  compute_t<T> slope;
  template <class V>
  GANKIT_FORMULA_MEMBER Plane<V> shared(int64_t w) const {
    return planes.template plane<V>(w);
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, const Plane<V>& plane, V& sum_g, V& sum_gx) const {
    const V v = get<V>(x + i);
    const V g = leaky_relu_backward<V>(get<V>(dy + i), pre_activation<V>(v, plane), all<V>(slope));
    sum_g += g;
    sum_gx += g * (v - plane.mean);
  }
};

// Deviations are taken from the mean of the segment's first rows; see kHead in instance_norm_act_rows.h.
template <class T>
void column_moments(const Grid& g, const T* x, int64_t rows, const Part<compute_t<T>>& part) {
  const int64_t head = min64(rows, 16);
  accumulate_rows<T>(g, head, ColumnSum<T>{x}, part.shift, part.second);
  for (int64_t w = 0; w < g.width; ++w) part.shift[w] /= static_cast<compute_t<T>>(head);
  accumulate_rows<T>(g, rows, ColumnDeviations<T>{x, part.shift}, part.first, part.second);
}

template <class T, class A = compute_t<T>>
void column_grads(const Grid& g, const T* dy, const T* x, int64_t rows, const Planes<A>& planes, A slope,
                  const Part<A>& part) {
  accumulate_rows<T>(g, rows, ColumnGradients<T>{dy, x, planes, slope}, part.first, part.second);
}

// Calls step.at<V>(element, what its column shares) for all of the rows, kRows at a time, and for the tail.
template <class T, int kRows, class Step>
GANKIT_FORMULA_MEMBER void map_rows(const Grid& g, int64_t rows, int64_t tail, const Step& step) {
  using A = compute_t<T>;
  using V = Vec<A>;
  int64_t r = 0;
  const auto map = [&](int64_t count) __attribute__((always_inline)) {
    for (int64_t w = 0; w < g.width; w += kLanes<A>) {
      const auto shared = step.template shared<V>(w);
      for (int64_t k = r; k < r + count; ++k) step.template at<V>(k * g.width + w, shared);
    }
    r += count;
  };
  while (r + kRows <= rows) map(kRows);
  while (r < rows) map(1);
  for (int64_t i = 0; i < tail * g.channels; ++i) {
    step.template at<A>(rows * g.width + i, step.template shared<A>(i));
  }
}

template <bool kAct, bool kResidual, class T>
struct ApplyColumns {
  const T *x, *residual;
  T* y;
  const Planes<compute_t<T>>& planes;
  compute_t<T> slope;
  template <class V>
  GANKIT_FORMULA_MEMBER Plane<V> shared(int64_t w) const {
    return planes.template plane<V>(w);
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, const Plane<V>& plane) const {
    V z = pre_activation<V>(get<V>(x + i), plane);
    if constexpr (kAct) z = leaky_relu<V>(z, all<V>(slope));
    if constexpr (kResidual) z += get<V>(residual + i);
    put<V>(y + i, z);
  }
};

template <bool kAct, bool kResidual, class T, class A = compute_t<T>>
void apply_columns(const Grid& g, const T* x, const T* residual, T* y, int64_t rows, int64_t tail,
                   const Planes<A>& planes, A slope) {
  map_rows<T, 4>(g, rows, tail, ApplyColumns<kAct, kResidual, T>{x, residual, y, planes, slope});
}

template <class V>
struct PlaneAndGrad {
  Plane<V> plane;
  PlaneGrad<V> grad;
};

template <class T>
struct InputGradColumns {
  const T *dy, *x;
  T* dx;
  const Planes<compute_t<T>>& planes;
  compute_t<T> slope;
  template <class V>
  GANKIT_FORMULA_MEMBER PlaneAndGrad<V> shared(int64_t w) const {
    return {planes.template plane<V>(w), planes.template grad<V>(w)};
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, const PlaneAndGrad<V>& s) const {
    const V v = get<V>(x + i);
    const V g = leaky_relu_backward<V>(get<V>(dy + i), pre_activation<V>(v, s.plane), all<V>(slope));
    put<V>(dx + i, input_grad<V>(g, v, s.plane, s.grad));
  }
};

template <class T, class A = compute_t<T>>
void input_grad_columns(const Grid& g, const T* dy, const T* x, T* dx, int64_t rows, int64_t tail,
                        const Planes<A>& planes, A slope) {
  map_rows<T, 2>(g, rows, tail, InputGradColumns<T>{dy, x, dx, planes, slope});
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
