// The forward pass of instance_norm_act in channels_last.
#pragma once

#include "instance_norm_act_columns.h"
#include "instance_norm_act_forward_rows.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// Arrays of g.width: the planes of an image, repeated `fold` times.
template <class A>
struct PlaneColumns {
  static constexpr int kArrays = 3;
  A *mean, *scale, *bias;
  PlaneColumns(A* at, int64_t w) : mean(at), scale(at + w), bias(at + 2 * w) {}
  template <class V>
  GANKIT_FORMULA_MEMBER Plane<V> plane(int64_t w) const {
    return {get<V>(mean + w), get<V>(scale + w), get<V>(bias + w)};
  }
};

// What the reduction of a segment leaves: sums of deviations and of their squares, and the shift they are from.
constexpr int kMomentArrays = 3;

template <class T>
struct ColumnSum {
  const T* x;
  template <class V>
  GANKIT_FORMULA_MEMBER V column(int64_t) const {
    return V{};
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V, V (&sums)[1]) const {
    sums[0] += get<V>(x + i);
  }
};

template <class T>
struct ColumnDeviations {
  const T* x;
  const compute_t<T>* shift;
  template <class V>
  GANKIT_FORMULA_MEMBER V column(int64_t w) const {
    return get<V>(shift + w);
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V shift_w, V (&sums)[2]) const {
    const V d = get<V>(x + i) - shift_w;
    sums[0] += d;
    sums[1] += d * d;
  }
};

// Deviations are taken from the mean of the segment's first rows; see kHead in instance_norm_act_forward_rows.h.
template <class T>
void column_moments(const Grid& g, const T* x, int64_t rows, compute_t<T>* part) {
  const int64_t head = min64(rows, 16);
  compute_t<T>* shift = part + 2 * g.width;
  accumulate_rows<T, 1>(g, head, ColumnSum<T>{x}, shift);
  for (int64_t w = 0; w < g.width; ++w) shift[w] /= static_cast<compute_t<T>>(head);
  accumulate_rows<T, 2>(g, rows, ColumnDeviations<T>{x, shift}, part);
}

// mean and rstd of every channel of an image, from those of its segments and its tail.
template <class T, class A = compute_t<T>>
void image_moments(const Grid& g, const A* parts, const T* tail, double eps, A* mean, A* rstd) {
  const Buffer<double> merged(2 * g.width);
  double *means = merged.data, *m2s = means + g.width, rows = 0;
  for (int64_t s = 0; s < g.segments && g.rows > 0; ++s) {
    const A *sums = parts + s * kMomentArrays * g.width, *squares = sums + g.width, *shift = squares + g.width;
    const double count = static_cast<double>(g.rows_of(s));
    for (int64_t w = 0; w < g.width; ++w) {
      const auto m = shifted_moments<double>(count, shift[w], sums[w], squares[w]);
      const auto all = s == 0 ? m : merge(Moments<double>{rows, means[w], m2s[w]}, m);
      means[w] = all.mean;
      m2s[w] = all.m2;
    }
    rows += count;
  }
  for (int64_t c = 0; c < g.channels; ++c) {
    Moments<double> all{rows, rows > 0 ? means[c] : 0, rows > 0 ? m2s[c] : 0};
    for (int64_t w = c + g.channels; w < g.width && rows > 0; w += g.channels) {
      all = merge(all, Moments<double>{rows, means[w], m2s[w]});
    }
    for (int64_t i = c; i < g.tail * g.channels; i += g.channels) {
      all = merge(all, Moments<double>{1, get_scalar(tail + i), 0});
    }
    mean[c] = static_cast<A>(all.mean);
    rstd[c] = static_cast<A>(inverse_deviation(variance(all), eps));
  }
}

template <bool kAct, bool kResidual, class T>
struct ApplyColumns {
  const T *x, *residual;
  T* y;
  const PlaneColumns<compute_t<T>>& planes;
  compute_t<T> slope;
  template <class V>
  GANKIT_FORMULA_MEMBER Plane<V> column(int64_t w) const {
    return planes.template plane<V>(w);
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, const Plane<V>& plane) const {
    V z = pre_activation<V>(get<V>(x + i), plane);
    if constexpr (kAct) z = leaky_relu<V>(z, broadcast<V>(slope));
    if constexpr (kResidual) z += get<V>(residual + i);
    put<V>(y + i, z);
  }
};

template <bool kAct, bool kResidual, class T, class A = compute_t<T>>
void apply_columns(const Grid& g, const T* x, const T* residual, T* y, int64_t rows, int64_t tail,
                   const PlaneColumns<A>& planes, A slope) {
  map_rows<T, 4>(g, rows, tail, ApplyColumns<kAct, kResidual, T>{x, residual, y, planes, slope});
}

template <class T>
void forward_columns(const Forward<T>& f, const Parallel& parallel) {
  using A = compute_t<T>;
  using Planes = PlaneColumns<A>;
  const Grid g = make_grid<T>(f.shape);
  const int64_t image = f.shape.channels * f.shape.spatial;
  const bool act = f.negative_slope != 1;
  const auto apply = f.residual ? (act ? apply_columns<true, true, T> : apply_columns<false, true, T>)
                                : (act ? apply_columns<true, false, T> : apply_columns<false, false, T>);
  each_image<A, kMomentArrays, Planes::kArrays>(
      g, f.shape, image * static_cast<int64_t>(sizeof(T)), parallel, [](int64_t, A*) {},
      [&](const Stripe& s, const A*, A* part) {
        if (s.rows > 0) column_moments(g, f.x + s.at, s.rows, part);
      },
      [&](int64_t n, A* planes, const A* parts) {
        const T* tail = f.x + n * image + g.rows * g.width;
        image_moments(g, parts, tail, f.eps, f.mean + n * g.channels, f.rstd + n * g.channels);
        const Planes to(planes, g.width);
        each_column(g, [&](int64_t w, int64_t c) {
          const Plane<A> p = plane_of(f, n, c);
          to.mean[w] = p.mean;
          to.scale[w] = p.scale;
          to.bias[w] = p.bias;
        });
      },
      [&](const Stripe& s, A* planes) {
        apply(g, f.x + s.at, f.residual ? f.residual + s.at : nullptr, f.y + s.at, s.rows, s.tail,
              Planes(planes, g.width), f.negative_slope);
      });
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
