// instance_norm_act where a plane is too large to be held: its parts go to different blocks. One kernel takes the
// parts' moments or sums, a small one merges them plane by plane in a fixed order, a third reads again and applies. That
// one goes from the end to the start, as what was read last is what the second-level cache still has.
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

// A part of a plane of NCHW, walked by a block, kFlight packs of a thread at a time.
template <class T, int V, bool kEdges>
struct RowPart {
  int64_t plane, part, start;
  int n;

  __device__ __forceinline__ RowPart(const Norm<T>& a, const Parts& parts, int64_t block)
      : plane(block / parts.count),
        part(block % parts.count),
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
  const auto row = part.row(a.x);
  Moments<A> all{0, 0, 0};
  for (int k = 0; row.at(k) < row.n; k += kFlight) {
    Pack<T, V> p[kFlight];
#pragma unroll
    for (int j = 0; j < kFlight; ++j) p[j] = unpack<T, V>(row.load(a.x + part.start, k + j));
    A count = 0, sum = 0, squares = 0;
#pragma unroll
    for (int j = 0; j < kFlight; ++j) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        count += row.has(k + j, i) ? A(1) : A(0);
        sum += widen(p[j].v[i]);
      }
    }
    if (count == 0) continue;  // an edge's pack that lies before the plane's start
    const A mean = sum / count;
#pragma unroll
    for (int j = 0; j < kFlight; ++j) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const A d = row.has(k + j, i) ? widen(p[j].v[i]) - mean : A(0);
        squares += d * d;
      }
    }
    all = merge(all, Moments<A>{count, mean, squares});
  }
  A near[1] = {all.count * all.mean};
  team.sum(near, 0);
  const A count = part.n > 0 ? A(part.n) : A(1);
  near[0] /= count;
  A sums[2] = {all.count * (all.mean - near[0]), squares_about(all, near[0])};
  team.sum(sums, 1);
  if (threadIdx.x == 0) {
    const Moments<A> m = shifted_moments(count, near[0], sums[0], sums[1]);
    partial[2 * blockIdx.x] = m.mean;
    partial[2 * blockIdx.x + 1] = m.m2;
  }
}

template <class T, int V, bool kEdges>
__global__ void __launch_bounds__(kSplitThreads, 1) rows_apply(const Norm<T> a, const Parts parts) {
  using A = wide_t<T>;
  const RowPart<T, V, kEdges> part(a, parts, gridDim.x - 1 - int64_t(blockIdx.x));
  const auto row = part.row(a.x);
  const Plane<A> p = plane_of(a, part.plane % a.channels, a.mean[part.plane], a.rstd[part.plane]);
  for (int k = 0; row.at(k) < row.n; k += kFlight) {
    Raw<T, V> x[kFlight], residual[kFlight] = {};
#pragma unroll
    for (int j = 0; j < kFlight; ++j) x[j] = row.load(a.x + part.start, k + j);
    if (a.residual) {
#pragma unroll
      for (int j = 0; j < kFlight; ++j) residual[j] = row.load(a.residual + part.start, k + j);
    }
#pragma unroll
    for (int j = 0; j < kFlight; ++j) {
      const Pack<T, V> v = unpack<T, V>(x[j]), r = unpack<T, V>(residual[j]);
      Pack<T, V> y;
#pragma unroll
      for (int i = 0; i < V; ++i) {
        y.v[i] = convert<T>(activated<A>(widen(v.v[i]), widen(r.v[i]), p, a.slope));
      }
      row.store(a.out + part.start, k + j, y);
    }
  }
}

// Sums of a part, or (kApply) the gradient of its input from those of the plane.
template <class T, int V, bool kEdges, bool kApply>
__global__ void __launch_bounds__(kSplitThreads, 1)
    rows_gradient(const Norm<T> a, const Parts parts, [[maybe_unused]] wide_t<T>* partial) {
  using A = wide_t<T>;
  const RowPart<T, V, kEdges> part(a, parts, kApply ? gridDim.x - 1 - int64_t(blockIdx.x) : int64_t(blockIdx.x));
  const auto row = part.row(a.x);
  const A rstd = a.rstd[part.plane];
  const Plane<A> p = plane_of(a, part.plane % a.channels, a.mean[part.plane], rstd);
  PlaneGrad<A> d = {};
  if (kApply) d = plane_grad(a.sum_g[part.plane], a.sum_gx[part.plane], rstd, A(a.spatial));
  A sums[2] = {0, 0};
  for (int k = 0; row.at(k) < row.n; k += kFlight) {
    Raw<T, V> x[kFlight], dy[kFlight];
#pragma unroll
    for (int j = 0; j < kFlight; ++j) {
      x[j] = row.load(a.x + part.start, k + j);
      dy[j] = row.load(a.dy + part.start, k + j);
    }
#pragma unroll
    for (int j = 0; j < kFlight; ++j) {
      const Pack<T, V> xs = unpack<T, V>(x[j]), dys = unpack<T, V>(dy[j]);
      Pack<T, V> dx;
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const A v = widen(xs.v[i]), g = gated<A>(widen(dys.v[i]), v, p, a.slope);
        if constexpr (kApply) {
          dx.v[i] = convert<T>(input_grad(g, v, p, d));
        } else {
          sums[0] += g;
          sums[1] += g * (v - p.mean);
        }
      }
      if constexpr (kApply) row.store(a.out + part.start, k + j, dx);
    }
  }
  if constexpr (!kApply) {
    const Team<A, true> team(0);
    team.sum(sums, 0);
    if (threadIdx.x < 2) partial[2 * blockIdx.x + threadIdx.x] = threadIdx.x == 0 ? sums[0] : sums[1];
  }
}

// Merges what the parts of a plane gave; one warp a plane. kForward: moments to statistics, else sums.
template <class T, bool kForward>
__global__ void merge_parts(const Norm<T> a, const Parts parts, const wide_t<T>* partial) {
  using A = wide_t<T>;
  const int64_t plane = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  if (plane >= a.batch * a.channels) return;  // the whole warp
  const int lane = threadIdx.x % 32;
  partial += 2 * plane * parts.count;
  A first = 0, second = 0;
  for (int64_t k = lane; k < parts.count; k += 32) {
    first += kForward ? A(part_size(parts, a.spatial, k)) * partial[2 * k] : partial[2 * k];
    if (!kForward) second += partial[2 * k + 1];
  }
  first = warp_sum(first);
  if constexpr (kForward) {
    const A count = A(a.spatial), near = first / count;
    first = 0;
    for (int64_t k = lane; k < parts.count; k += 32) {
      const Moments<A> m{A(part_size(parts, a.spatial, k)), partial[2 * k], partial[2 * k + 1]};
      if (m.count == 0) continue;
      first += m.count * (m.mean - near);
      second += squares_about(m, near);
    }
    first = warp_sum(first);
    second = warp_sum(second);
    const Moments<A> m = shifted_moments(count, near, first, second);
    if (lane == 0) {
      a.mean[plane] = m.mean;
      a.rstd[plane] = inverse_deviation(variance(m), a.eps);
    }
  } else {
    second = warp_sum(second);
    if (lane == 0) {
      a.sum_g[plane] = first;
      a.sum_gx[plane] = second;
    }
  }
}

}  // namespace gankit::instance_norm_act
