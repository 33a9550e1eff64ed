// The derivatives of instance_norm_act in channels_last.
#pragma once

#include "instance_norm_act_backward_rows.h"
#include "instance_norm_act_columns.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// Arrays of g.width: what elements need of the planes of an image, repeated `fold` times.
template <class A, int kCoefficients>
struct BackwardColumns {
  static constexpr int kArrays = 3 + kCoefficients;
  A* at;
  int64_t width;
  template <class V>
  GANKIT_FORMULA_MEMBER BackwardPlane<V> plane(int64_t w) const {
    return {get<V>(at + w), V{}, get<V>(at + width + w), get<V>(at + 2 * width + w), V{}};
  }
  void set_plane(int64_t w, const BackwardPlane<A>& p) const {
    at[w] = p.centre;
    at[width + w] = p.scale;
    at[2 * width + w] = p.bias;
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void coefficients(int64_t w, V (&into)[kCoefficients]) const {
    for (int k = 0; k < kCoefficients; ++k) into[k] = get<V>(at + (3 + k) * width + w);
  }
  void set_coefficients(int64_t w, const A (&values)[kCoefficients]) const {
    for (int k = 0; k < kCoefficients; ++k) at[(3 + k) * width + w] = values[k];
  }
};

template <class D>
struct ColumnSums {
  Elements<D> elements;
  BackwardColumns<typename D::A, D::kCoefficients> planes;
  template <class V>
  GANKIT_FORMULA_MEMBER BackwardPlane<V> column(int64_t w) const {
    return planes.template plane<V>(w);
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, const BackwardPlane<V>& plane, V (&sums)[D::kSums]) const {
    V in[D::kInputs];
    elements.template load<V>(i, in);
    D::template RuleFor<V>::add(in, plane, broadcast_slopes<V>(elements.slopes), sums);
  }
};

template <class V, int kCoefficients>
struct PlaneAndCoefficients {
  BackwardPlane<V> plane;
  V coefficients[kCoefficients];
};

template <class D>
struct DeriveColumns {
  Elements<D> elements;
  BackwardColumns<typename D::A, D::kCoefficients> planes;
  template <class V>
  GANKIT_FORMULA_MEMBER PlaneAndCoefficients<V, D::kCoefficients> column(int64_t w) const {
    PlaneAndCoefficients<V, D::kCoefficients> s;
    s.plane = planes.template plane<V>(w);
    planes.template coefficients<V>(w, s.coefficients);
    return s;
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, const PlaneAndCoefficients<V, D::kCoefficients>& s) const {
    derive_at<V>(elements, i, s.plane, broadcast_slopes<V>(elements.slopes), s.coefficients);
  }
};

// The sums of every channel of an image, from those of its segments and its tail.
template <class D, class A = typename D::A>
void image_sums(const D& d, const Grid& g, int64_t n, const A* parts, const ColumnSums<D>& tail) {
  constexpr int M = D::kSums;
  const Buffer<double> sums(M * g.width);
  for (int64_t w = 0; w < M * g.width; ++w) sums.data[w] = 0;
  for (int64_t s = 0; s < g.segments && g.rows > 0; ++s) {
    const A* part = parts + s * M * g.width;
    for (int64_t w = 0; w < M * g.width; ++w) sums.data[w] += part[w];
  }
  for (int64_t c = 0; c < g.channels; ++c) {
    A tails[M] = {};
    const auto plane = tail.template column<A>(c);
    for (int64_t i = c; i < g.tail * g.channels; i += g.channels) tail.template at<A>(i, plane, tails);
    for (int m = 0; m < M; ++m) {
      double all = tails[m];
      for (int64_t w = c; w < g.width; w += g.channels) all += sums.data[m * g.width + w];
      d.sums[(m * d.shape.batch + n) * g.channels + c] = static_cast<A>(all);
    }
  }
}

template <class D>
void derive_columns(const D& d, const Parallel& parallel) {
  using T = typename D::Element;
  using A = typename D::A;
  using Planes = BackwardColumns<A, D::kCoefficients>;
  const Grid g = make_grid<T>(d.shape);
  const int64_t image = d.shape.channels * d.shape.spatial;
  each_image<A, D::kSums, Planes::kArrays>(
      g, d.shape, D::kInputs * image * static_cast<int64_t>(sizeof(T)), parallel,
      [&](int64_t n, A* planes) {
        each_column(g, [&](int64_t w, int64_t c) { Planes{planes, g.width}.set_plane(w, d.plane(n, c)); });
      },
      [&](const Stripe& s, A* planes, A* part) {
        const ColumnSums<D> step{d.from(s.at), {planes, g.width}};
        if (s.rows > 0) accumulate_rows<T, D::kSums>(g, s.rows, step, part);
      },
      [&](int64_t n, A* planes, const A* parts) {
        image_sums(d, g, n, parts, ColumnSums<D>{d.from(n * image + g.rows * g.width), {planes, g.width}});
        each_column(g, [&](int64_t w, int64_t c) {
          A coefficients[D::kCoefficients];
          d.coefficients(n, c, d.plane(n, c), coefficients);
          Planes{planes, g.width}.set_coefficients(w, coefficients);
        });
      },
      [&](const Stripe& s, A* planes) {
        map_rows<T, 2>(g, s.rows, s.tail, DeriveColumns<D>{d.from(s.at), {planes, g.width}});
      });
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
