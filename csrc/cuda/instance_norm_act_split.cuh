// instance_norm_act where a plane is too large to be held: its parts go to different blocks. One kernel takes the
// parts' moments or sums, a small one merges them plane by plane in a fixed order, a third reads again and applies.
// That one goes from the end to the start, as what was read last is what the second-level cache still has.
#pragma once

#include "instance_norm_act_rows.cuh"

namespace gankit::instance_norm_act {

constexpr unsigned kSplitThreads = 256;

// A plane's parts: `count` of them, `each` elements long (the last one shorter, or empty).
struct Parts {
  int64_t count, each;
};

__host__ __device__ __forceinline__ int64_t part_size(const Parts& parts, int64_t n, int64_t part) {
  const int64_t left = n - part * parts.each;
  return left < 0 ? 0 : left < parts.each ? left : parts.each;
}

// A part of a plane of NCHW, walked by a block, kInFlight packs of a thread at a time.
template <class T, int V, bool kEdges>
struct RowPart {
  int64_t plane, part, start;
  int n;

  __device__ __forceinline__ RowPart(const Norm<T>& a, const Parts& parts, int64_t block)
      : plane(quotient(block, parts.count)),
        part(block - plane * parts.count),
        start(plane * a.spatial + part * parts.each),
        n(int(part_size(parts, a.spatial, part))) {}
  __device__ __forceinline__ Row<T, V, kEdges> row(const T* data) const {
    return {data + start, n, int(threadIdx.x), int(blockDim.x)};
  }
};

template <class T, int V, bool kEdges>
__global__ void __launch_bounds__(kSplitThreads, 1)
    rows_moments(const Norm<T> a, const Parts parts, wide_t<T>* partial) {
  using A = wide_t<T>;
  const Team<A, true> team(0);
  const RowPart<T, V, kEdges> part(a, parts, blockIdx.x);
  const auto row = part.row(a.in[0]);
  Moments<A> all{0, 0, 0};
  for (int k = 0; row.at(k) < row.n; k += kInFlight) {
    Pack<T, V> p[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) p[j] = unpack<T, V>(row.load(a.in[0] + part.start, k + j));
    A count = 0, sum = 0, squares = 0;
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        count += row.has(k + j, i) ? A(1) : A(0);
        sum += widen(p[j].v[i]);
      }
    }
    if (count == 0) continue;  // an edge's pack that lies before the plane's start
    const A mean = sum / count;
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const A d = row.has(k + j, i) ? widen(p[j].v[i]) - mean : A(0);
        squares += d * d;
      }
    }
    all = merge(all, Moments<A>{count, mean, squares});
  }
  A shift[1] = {all.count * all.mean};
  team.sum(shift);
  const A count = part.n > 0 ? A(part.n) : A(1);
  shift[0] /= count;
  A sums[2] = {all.count * (all.mean - shift[0]), squares_about(all, shift[0])};
  team.sum(sums, 1);
  if (threadIdx.x == 0) {
    const Moments<A> m = shifted_moments(count, shift[0], sums[0], sums[1]);
    partial[2 * blockIdx.x] = m.mean;
    partial[2 * blockIdx.x + 1] = m.m2;
  }
}

template <class T, int V, bool kEdges>
__global__ void __launch_bounds__(kSplitThreads, 1) rows_apply(const Norm<T> a, const Parts parts) {
  using A = wide_t<T>;
  const RowPart<T, V, kEdges> part(a, parts, gridDim.x - 1 - int64_t(blockIdx.x));
  const auto row = part.row(a.in[0]);
  const Plane<A> p[1] = {
      plane_of(a, modulo(part.plane, a.channels), a.mean[part.plane], a.rstd[part.plane])};
  with_residual(a, [&](auto residual) {
    for (int k = 0; row.at(k) < row.n; k += kInFlight) {
      Raw<T, V> x[kInFlight], r[kInFlight] = {};
#pragma unroll
      for (int j = 0; j < kInFlight; ++j) x[j] = row.load(a.in[0] + part.start, k + j);
      if constexpr (residual()) {
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) r[j] = row.load(a.residual + part.start, k + j);
      }
#pragma unroll
      for (int j = 0; j < kInFlight; ++j) {
        row.store(a.out[0] + part.start, k + j, activated<residual(), V>(a, unpack<T, V>(x[j]), r[j], p));
      }
    }
  });
}

// Sums of a part, or (kApply) the derivative's outputs from those of the plane.
template <class D, class T, int V, bool kEdges, bool kApply>
__global__ void __launch_bounds__(kSplitThreads, 1)
    rows_gradient(const Norm<T> a, const Parts parts, [[maybe_unused]] wide_t<T>* partial) {
  using A = wide_t<T>;
  const RowPart<T, V, kEdges> part(a, parts, kApply ? gridDim.x - 1 - int64_t(blockIdx.x) : int64_t(blockIdx.x));
  const auto row = part.row(a.in[0]);
  const int64_t c = modulo(part.plane, a.channels);
  const BackwardPlane<A> p[1] = {backward_plane_of<D>(a, part.plane, c)};
  A sums[1][D::kSums] = {}, coefficients[1][D::kCoefficients];
  if constexpr (kApply) {
    load_sums<D>(a, part.plane, sums[0]);
    coefficients_of<D>(a, c, sums[0], p[0], coefficients[0]);
  }
  for (int k = 0; row.at(k) < row.n; k += kInFlight) {
    Raw<T, V> in[kInFlight][D::kInputs];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
#pragma unroll
      for (int n = 0; n < D::kInputs; ++n) in[j][n] = row.load(a.in[n] + part.start, k + j);
    }
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      if constexpr (kApply) {
        Pack<T, V> out[D::kOutputs];
        apply_packs<D, V>(a, in[j], p, coefficients, out);
#pragma unroll
        for (int n = 0; n < D::kOutputs; ++n) row.store(a.out[n] + part.start, k + j, out[n]);
      } else {
        add_packs<D, V>(a, in[j], p, sums);
      }
    }
  }
  if constexpr (!kApply) {
    const Team<A, true> team(0);
    team.sum(sums[0]);
    if (threadIdx.x > 0) return;
#pragma unroll
    for (int m = 0; m < D::kSums; ++m) partial[int64_t(blockIdx.x) * D::kSums + m] = sums[0][m];
  }
}

// Merges the moments of the parts of a plane to its statistics; one warp a plane.
template <class T>
__global__ void merge_moments(const Norm<T> a, const Parts parts, const wide_t<T>* partial) {
  using A = wide_t<T>;
  const int64_t plane = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  if (plane >= a.batch * a.channels) return;  // the whole warp
  const int lane = threadIdx.x % 32;
  partial += 2 * plane * parts.count;
  A shift = 0, left = 0, squares = 0;
  for (int64_t k = lane; k < parts.count; k += 32) shift += A(part_size(parts, a.spatial, k)) * partial[2 * k];
  const A count = A(a.spatial);
  shift = warp_sum(shift) / count;
  for (int64_t k = lane; k < parts.count; k += 32) {
    const Moments<A> m{A(part_size(parts, a.spatial, k)), partial[2 * k], partial[2 * k + 1]};
    if (m.count == 0) continue;
    left += m.count * (m.mean - shift);
    squares += squares_about(m, shift);
  }
  const Moments<A> m = shifted_moments(count, shift, warp_sum(left), warp_sum(squares));
  if (lane == 0) {
    a.mean[plane] = m.mean;
    a.rstd[plane] = inverse_deviation(variance(m), a.eps);
  }
}

// The same for the sums of a derivative.
template <class D, class T>
__global__ void merge_sums(const Norm<T> a, const Parts parts, const wide_t<T>* partial) {
  using A = wide_t<T>;
  const int64_t plane = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  if (plane >= a.batch * a.channels) return;  // the whole warp
  const int lane = threadIdx.x % 32;
  partial += plane * parts.count * D::kSums;
  A sums[D::kSums] = {};
  for (int64_t k = lane; k < parts.count; k += 32) {
#pragma unroll
    for (int m = 0; m < D::kSums; ++m) sums[m] += partial[k * D::kSums + m];
  }
#pragma unroll
  for (int m = 0; m < D::kSums; ++m) sums[m] = warp_sum(sums[m]);
  if (lane == 0) store_sums<D>(a, plane, sums);
}

}  // namespace gankit::instance_norm_act
