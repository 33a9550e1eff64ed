// What the kernels of instance_norm_act share, whatever the memory layout.
#pragma once

#include "../instance_norm_act.h"
#include "../instance_norm_act_backward.h"
#include "common.cuh"

namespace gankit::instance_norm_act {

constexpr int kInFlight = 4;  // packs of an array that a thread loads before it uses the first

// The arguments with their types: [batch, channels, spatial], see instance_norm_act_args.h.
template <class T>
struct Norm {
  using A = wide_t<T>;
  const T* in[3];     // x; of a derivative D the inputs that D::add names
  const T* residual;  // of forward, or null
  T* out[2];          // y; the outputs of D::apply
  const void *weight, *bias, *v_weight, *v_bias;  // of A where wide_affine, else of T; or null
  A *mean, *rstd;                                 // [batch, channels]: written by forward, read by derivatives
  A* sums;                                        // [D::kSums][batch * channels]: written by derivatives
  int64_t batch, channels, spatial;
  bool wide_affine;
  Slopes<A> slopes;
  A eps;
};

template <class T>
__device__ __forceinline__ wide_t<T> affine(const Norm<T>& a, const void* values, int64_t c, wide_t<T> none) {
  if (!values) return none;
  if (a.wide_affine) return static_cast<const wide_t<T>*>(values)[c];
  return convert<wide_t<T>>(static_cast<const T*>(values)[c]);
}

template <class T>
__device__ __forceinline__ Plane<wide_t<T>> plane_of(const Norm<T>& a, int64_t c, wide_t<T> mean, wide_t<T> rstd) {
  return {mean, affine(a, a.weight, c, wide_t<T>(1)) * rstd, affine(a, a.bias, c, wide_t<T>(0))};
}

// -- forward ----------------------------------------------------------------------------------------------------------

// Calls f with whether there is a residual, as a type: without, it costs no instruction, which counts in 16 bits.
template <class T, class F>
__device__ __forceinline__ void with_residual(const Norm<T>& a, const F& f) {
  a.residual ? f(std::true_type()) : f(std::false_type());
}

// A pack of y. P planes: one for the whole pack, or one for each of its elements.
template <bool kResidual, int V, class T, int P, class A = wide_t<T>>
__device__ __forceinline__ Pack<T, V> activated(const Norm<T>& a, const Pack<T, V>& x, const Raw<T, V>& residual,
                                                const Plane<A> (&planes)[P]) {
  const Pack<T, V> r = unpack<T, V>(residual);
  Pack<T, V> y;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const A v = leaky_relu(pre_activation<A>(widen(x.v[i]), planes[i % P]), a.slopes.slope);
    y.v[i] = convert<T>(kResidual ? v + widen(r.v[i]) : v);
  }
  return y;
}

// -- derivatives ------------------------------------------------------------------------------------------------------
// The template argument D of a kernel is a StaticRule or a RuntimeRule around one of the rules of
// ../instance_norm_act_backward.h: they differ in when it is decided whether `known` is x or y.

// Decided at run time: an inverse slope of 0 means x. One kernel serves both, which halves the compile time.
template <template <bool, class> class Rule, class A>
struct RuntimeRule : Rule<false, A> {
  using Base = Rule<false, A>;
  using Runtime = RuntimeRule;
  __device__ __forceinline__ static BackwardPlane<A> prepare(const Slopes<A>& s, A mean, A rstd, A weight, A bias) {
    return s.inverse == 0 ? backward_plane<false>(mean, rstd, weight, bias)
                          : backward_plane<true>(mean, rstd, weight, bias);
  }
  __device__ __forceinline__ static Element<A> element(A known, A dy, const BackwardPlane<A>& p, const Slopes<A>& s) {
    const A u = s.inverse == 0 || known > 0 ? known : known * s.inverse, d = u - p.centre;
    const A z = s.inverse == 0 ? d * p.scale + p.bias : u;
    return {z, d, leaky_relu_backward(dy, z, s.slope)};
  }
  __device__ __forceinline__ static void add(const A (&in)[Base::kInputs], const BackwardPlane<A>& p,
                                             const Slopes<A>& s, A (&sums)[Base::kSums]) {
    Base::add(element(in[0], in[1], p, s), in, sums);
  }
  __device__ __forceinline__ static void apply(const A (&in)[Base::kInputs], const BackwardPlane<A>& p,
                                               const Slopes<A>& s, const A (&coefficients)[Base::kCoefficients],
                                               A (&out)[Base::kOutputs]) {
    Base::apply(element(in[0], in[1], p, s), in, p, s, coefficients, out);
  }
};

// Decided at compile time, which saves instructions where a kernel is bound by them.
template <template <bool, class> class Rule, bool kOutput, class A>
struct StaticRule : Rule<kOutput, A> {
  using Runtime = RuntimeRule<Rule, A>;  // the same rule for kernels that are compiled once
  __device__ __forceinline__ static BackwardPlane<A> prepare(const Slopes<A>&, A mean, A rstd, A weight, A bias) {
    return backward_plane<kOutput>(mean, rstd, weight, bias);
  }
};

template <class D, class T>
__device__ __forceinline__ BackwardPlane<wide_t<T>> backward_plane_of(const Norm<T>& a, int64_t plane, int64_t c) {
  return D::prepare(a.slopes, a.mean[plane], a.rstd[plane], affine(a, a.weight, c, wide_t<T>(1)),
                    affine(a, a.bias, c, wide_t<T>(0)));
}

// A pack of every input. P planes: one for the whole pack, or one for each of its elements. Elements beyond an edge
// were loaded as zeros and add nothing, since every sum has dy or v as a factor.
template <class D, int V, class T, int P, class A = wide_t<T>>
__device__ __forceinline__ void add_packs(const Norm<T>& a, const Raw<T, V> (&raws)[D::kInputs],
                                          const BackwardPlane<A> (&planes)[P], A (&sums)[P][D::kSums]) {
  Pack<T, V> packs[D::kInputs];
#pragma unroll
  for (int n = 0; n < D::kInputs; ++n) packs[n] = unpack<T, V>(raws[n]);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    A in[D::kInputs];
#pragma unroll
    for (int n = 0; n < D::kInputs; ++n) in[n] = widen(packs[n].v[i]);
    D::add(in, planes[i % P], a.slopes, sums[i % P]);
  }
}

template <class D, int V, class T, int P, class A = wide_t<T>>
__device__ __forceinline__ void apply_packs(const Norm<T>& a, const Raw<T, V> (&raws)[D::kInputs],
                                            const BackwardPlane<A> (&planes)[P],
                                            const A (&coefficients)[P][D::kCoefficients],
                                            Pack<T, V> (&to)[D::kOutputs]) {
  Pack<T, V> packs[D::kInputs];
#pragma unroll
  for (int n = 0; n < D::kInputs; ++n) packs[n] = unpack<T, V>(raws[n]);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    A in[D::kInputs], out[D::kOutputs];
#pragma unroll
    for (int n = 0; n < D::kInputs; ++n) in[n] = widen(packs[n].v[i]);
    D::apply(in, planes[i % P], a.slopes, coefficients[i % P], out);
#pragma unroll
    for (int n = 0; n < D::kOutputs; ++n) to[n].v[i] = convert<T>(out[n]);
  }
}

template <class D, class T, class A = wide_t<T>>
__device__ __forceinline__ void store_sums(const Norm<T>& a, int64_t plane, const A (&sums)[D::kSums]) {
#pragma unroll
  for (int m = 0; m < D::kSums; ++m) a.sums[m * a.batch * a.channels + plane] = sums[m];
}

template <class D, class T, class A = wide_t<T>>
__device__ __forceinline__ void load_sums(const Norm<T>& a, int64_t plane, A (&sums)[D::kSums]) {
#pragma unroll
  for (int m = 0; m < D::kSums; ++m) sums[m] = a.sums[m * a.batch * a.channels + plane];
}

template <class D, class T, class A = wide_t<T>>
__device__ __forceinline__ void coefficients_of(const Norm<T>& a, int64_t c, const A (&sums)[D::kSums],
                                                const BackwardPlane<A>& p, A (&coefficients)[D::kCoefficients]) {
  D::coefficients_of(sums, p, A(a.spatial), {affine(a, a.v_weight, c, A(0)), affine(a, a.v_bias, c, A(0))},
                     coefficients);
}

// -- gradients of weight and bias: sums over the batch ----------------------------------------------------------------

constexpr unsigned kBatchColumns = 32, kBatchRows = 8;

// The sum of D::affine_grad over the batch, for weight and for bias: in double, in a fixed order.
template <class D, class T>
__global__ void batch_sums(const Norm<T> a, void* dweight, void* dbias) {
  double* scratch = static_cast<double*>(dynamic_shared());  // [kAffineGrads][kBatchRows][kBatchColumns]
  const unsigned column = threadIdx.x % kBatchColumns, row = threadIdx.x / kBatchColumns;
  const int64_t c = int64_t(blockIdx.x) * kBatchColumns + column;
  double mine[D::kAffineGrads] = {};
  if (c < a.channels && a.spatial > 0) {
#pragma unroll 2
    for (int64_t n = row; n < a.batch; n += kBatchRows) {
      const int64_t plane = n * a.channels + c;
      wide_t<T> sums[D::kSums];
      load_sums<D>(a, plane, sums);
      const BackwardPlane<wide_t<T>> p = backward_plane_of<D>(a, plane, c);
#pragma unroll
      for (int k = 0; k < D::kAffineGrads; ++k) mine[k] += D::affine_grad(k, sums, p, wide_t<T>(a.spatial));
    }
  }
#pragma unroll
  for (int k = 0; k < D::kAffineGrads; ++k) scratch[k * kBatchRows * kBatchColumns + threadIdx.x] = mine[k];
  __syncthreads();
  if (row >= D::kAffineGrads || c >= a.channels) return;
  void* out = row == 0 ? dweight : dbias;
  if (!out) return;
  double total = 0;
  for (unsigned r = 0; r < kBatchRows; ++r) total += scratch[(row * kBatchRows + r) * kBatchColumns + column];
  if (a.wide_affine) {
    static_cast<wide_t<T>*>(out)[c] = wide_t<T>(total);
  } else {
    static_cast<T*>(out)[c] = convert<T>(wide_t<T>(total));
  }
}

template <class D, class T>
void launch_batch_sums(const Norm<T>& a, void* dweight, void* dbias, cudaStream_t stream) {
  if (!dweight && !dbias) return;
  launch({(a.channels + kBatchColumns - 1) / kBatchColumns, kBatchColumns * kBatchRows, stream, 1,
          D::kAffineGrads * kBatchColumns * kBatchRows * sizeof(double)},
         batch_sums<D, T>, a, dweight, dbias);
}

}  // namespace gankit::instance_norm_act
