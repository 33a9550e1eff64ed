// The derivatives of instance_norm_act in NCHW.
#pragma once

#include "../instance_norm_act_backward.h"
#include "instance_norm_act_rows.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// Pointers to the elements of a derivative, from some element on. Loops take it by value: through a reference the
// compiler would reload the pointers after every store, as it might have changed them.
template <class D>
struct Elements {
  const typename D::Element* in[D::kInputs];
  typename D::Element* out[D::kOutputs];
  Slopes<typename D::A> slopes;

  template <class V>
  GANKIT_FORMULA_MEMBER void load(int64_t i, V (&values)[D::kInputs]) const {
    for (int k = 0; k < D::kInputs; ++k) values[k] = get<V>(in[k] + i);
  }
  template <class V>
  GANKIT_FORMULA_MEMBER void store(int64_t i, const V (&values)[D::kOutputs]) const {
    for (int k = 0; k < D::kOutputs; ++k) put<V>(out[k] + i, values[k]);
  }
};

// The arguments of a derivative with their types; those of a channel in the type computed in. `Rule` is one of
// instance_norm_act_backward.h.
template <template <bool, class> class Rule, bool kOutput, class T>
struct Derivative {
  using Element = T;
  using A = compute_t<T>;
  template <class V>
  using RuleFor = Rule<kOutput, V>;
  static constexpr int kInputs = RuleFor<A>::kInputs, kSums = RuleFor<A>::kSums, kOutputs = RuleFor<A>::kOutputs;
  static constexpr int kCoefficients = RuleFor<A>::kCoefficients;

  InstanceNormActShape shape;
  const T* in[kInputs];
  T* out[kOutputs];
  const A *mean, *rstd, *weight, *bias, *v_weight, *v_bias;
  Slopes<A> slopes;
  A* sums;  // [kSums, batch, channels]

  Elements<Derivative> from(int64_t at) const {
    Elements<Derivative> e;
    for (int k = 0; k < kInputs; ++k) e.in[k] = in[k] + at;
    for (int k = 0; k < kOutputs; ++k) e.out[k] = out[k] + at;
    e.slopes = slopes;
    return e;
  }
  BackwardPlane<A> plane(int64_t n, int64_t c) const {
    const int64_t p = n * shape.channels + c;
    return backward_plane<kOutput, A>(mean[p], rstd[p], weight ? weight[c] : 1, bias ? bias[c] : 0);
  }
  void load_sums(int64_t p, A (&into)[kSums]) const {
    for (int m = 0; m < kSums; ++m) into[m] = sums[m * shape.batch * shape.channels + p];
  }
  // The coefficients of a plane that apply() takes.
  void coefficients(int64_t n, int64_t c, const BackwardPlane<A>& plane, A (&into)[kCoefficients]) const {
    A sum[kSums];
    load_sums(n * shape.channels + c, sum);
    const AffineGrad<A> v{v_weight ? v_weight[c] : 0, v_bias ? v_bias[c] : 0};
    RuleFor<A>::coefficients_of(sum, plane, static_cast<A>(shape.spatial), v, into);
  }
};

// A plane's values in a V: one value, or a register with the same value in every lane.
template <class V, class A>
GANKIT_FORMULA BackwardPlane<V> broadcast_plane(const BackwardPlane<A>& p) {
  return {broadcast<V>(p.centre), V{}, broadcast<V>(p.scale), broadcast<V>(p.bias), V{}};
}
template <class V, class A>
GANKIT_FORMULA Slopes<V> broadcast_slopes(const Slopes<A>& s) {
  return {broadcast<V>(s.slope), broadcast<V>(s.inverse)};
}

template <class D>
struct RowSums {
  Elements<D> elements;
  BackwardPlane<typename D::A> plane;
  template <class V>
  GANKIT_FORMULA_MEMBER void at(int64_t i, V (&sums)[D::kSums]) const {
    V in[D::kInputs];
    elements.template load<V>(i, in);
    D::template RuleFor<V>::add(in, broadcast_plane<V>(plane), broadcast_slopes<V>(elements.slopes), sums);
  }
};

template <class V, class D>
GANKIT_FORMULA_MEMBER void derive_at(const Elements<D>& elements, int64_t i, const BackwardPlane<V>& plane,
                                     const Slopes<V>& slopes, const V (&coefficients)[D::kCoefficients]) {
  V in[D::kInputs], out[D::kOutputs];
  elements.template load<V>(i, in);
  D::template RuleFor<V>::apply(in, plane, slopes, coefficients, out);
  elements.template store<V>(i, out);
}

template <class D, class A = typename D::A>
void derive_row(const Elements<D> elements, int64_t n, const BackwardPlane<A>& plane,
                const A (&coefficients)[D::kCoefficients]) {
  using V = Vec<A>;
  constexpr int L = kLanes<A>;
  const BackwardPlane<V> planes = broadcast_plane<V>(plane);
  const Slopes<V> slopes = broadcast_slopes<V>(elements.slopes);
  V vectors[D::kCoefficients];
  for (int k = 0; k < D::kCoefficients; ++k) vectors[k] = broadcast<V>(coefficients[k]);
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    for (int64_t k = i; k < i + 2 * L; k += L) derive_at<V>(elements, k, planes, slopes, vectors);
  }
  for (; i + L <= n; i += L) derive_at<V>(elements, i, planes, slopes, vectors);
  for (; i < n; ++i) derive_at<A>(elements, i, plane, elements.slopes, coefficients);
}

template <int M>
struct Sums {
  double v[M];
};
template <int M>
Sums<M> merge(Sums<M> a, const Sums<M>& b) {
  for (int m = 0; m < M; ++m) a.v[m] += b.v[m];
  return a;
}

template <class D>
void derive_rows(const D& d, const Parallel& parallel) {
  using A = typename D::A;
  using All = Sums<D::kSums>;
  each_plane<All>(
      d.shape, parallel,
      [&](const Piece& piece) {
        A sums[D::kSums];
        accumulate_row<typename D::Element>(piece.count, RowSums<D>{d.from(piece.at), d.plane(piece.n, piece.c)}, sums);
        All all;
        for (int m = 0; m < D::kSums; ++m) all.v[m] = sums[m];
        return all;
      },
      [&](const Piece& piece, const All& all) {
        const int64_t planes = d.shape.batch * d.shape.channels;
        for (int m = 0; m < D::kSums; ++m) d.sums[m * planes + piece.p] = static_cast<A>(all.v[m]);
      },
      [&](const Piece& piece) {
        const auto plane = d.plane(piece.n, piece.c);
        A coefficients[D::kCoefficients];
        d.coefficients(piece.n, piece.c, plane, coefficients);
        derive_row(d.from(piece.at), piece.count, plane, coefficients);
      });
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
