// instance_norm_act in channels_last where an image is too large to be held: see instance_norm_act_split.cuh.
#pragma once

#include "instance_norm_act_columns.cuh"
#include "instance_norm_act_split.cuh"

namespace gankit::instance_norm_act {

constexpr int kMomentsInFlight = 8;  // pixels a thread merges into its moments at a time

// Block by block: the chunks of the pixels of a part, then the next part, then the next image.
template <class T, int V>
__device__ __forceinline__ Column<T, V> split_column(const Norm<T>& a, const Parts& parts, int lanes, int64_t block,
                                                     int64_t& part) {
  const int64_t chunks = chunks_of(a.channels, lanes, V), strip = quotient(block, chunks);
  const int64_t image = quotient(strip, parts.count);
  part = strip - image * parts.count;
  return {a, lanes, image, block - strip * chunks, parts.each, part};
}

template <class T, int V, int M>
__device__ __forceinline__ void store_partial(const Norm<T>& a, const Parts& parts, const Column<T, V>& column,
                                              int64_t part, int i, wide_t<T>* partial, const wide_t<T> (&values)[M]) {
  if (column.row > 0 || column.channel >= a.channels) return;
  partial += M * (plane_at(a, column, i) * parts.count + part);
#pragma unroll
  for (int m = 0; m < M; ++m) partial[m] = values[m];
}

template <class T, int V>
__global__ void __launch_bounds__(kSplitThreads, 2)
    columns_moments(const Norm<T> a, const Parts parts, int lanes, wide_t<T>* partial) {
  using A = wide_t<T>;
  A* scratch = static_cast<A*>(dynamic_shared());
  int64_t part;
  const Column<T, V> column = split_column<T, V>(a, parts, lanes, blockIdx.x, part);
  A mean[V] = {}, m2[V] = {}, seen = 0;
  for (int k = 0; k < column.count; k += kMomentsInFlight) {
    Pack<T, V> p[kMomentsInFlight];
#pragma unroll
    for (int j = 0; j < kMomentsInFlight; ++j) p[j] = unpack<T, V>(column.load(a.in[0], k + j));
    const int count = column.count - k < kMomentsInFlight ? column.count - k : kMomentsInFlight;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      A sum = 0, squares = 0;
#pragma unroll
      for (int j = 0; j < kMomentsInFlight; ++j) sum += widen(p[j].v[i]);
      const A shift = sum / A(count);
#pragma unroll
      for (int j = 0; j < kMomentsInFlight; ++j) {
        const A d = j < count ? widen(p[j].v[i]) - shift : A(0);
        squares += d * d;
      }
      const Moments<A> all = merge(Moments<A>{seen, mean[i], m2[i]}, Moments<A>{A(count), shift, squares});
      mean[i] = all.mean;
      m2[i] = all.m2;
    }
    seen += A(count);
  }
  const int64_t size = part_size(parts, a.spatial, part);
  const A count = size > 0 ? A(size) : A(1);
  A shift[V][1], sums[V][2];
#pragma unroll
  for (int i = 0; i < V; ++i) shift[i][0] = seen * mean[i];
  column_sum(shift, lanes, scratch);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    shift[i][0] /= count;
    sums[i][0] = seen * (mean[i] - shift[i][0]);
    sums[i][1] = squares_about(Moments<A>{seen, mean[i], m2[i]}, shift[i][0]);
  }
  column_sum(sums, lanes, scratch + column_scratch(V, lanes, blockDim.x));
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const Moments<A> m = shifted_moments(count, shift[i][0], sums[i][0], sums[i][1]);
    store_partial(a, parts, column, part, i, partial, {m.mean, m.m2});
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kSplitThreads, 1) columns_apply(const Norm<T> a, const Parts parts, int lanes) {
  using A = wide_t<T>;
  int64_t part;
  const Column<T, V> column = split_column<T, V>(a, parts, lanes, gridDim.x - 1 - int64_t(blockIdx.x), part);
  Plane<A> planes[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const int64_t plane = plane_at(a, column, i);
    planes[i] = plane_of(a, channel_at(a, column, i), a.mean[plane], a.rstd[plane]);
  }
  with_residual(a, [&](auto residual) {
    for (int k = 0; k < column.count; k += kInFlight) {
      Raw<T, V> x[kInFlight], r[kInFlight] = {};
#pragma unroll
      for (int j = 0; j < kInFlight; ++j) x[j] = column.load(a.in[0], k + j);
      if constexpr (residual()) {
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) r[j] = column.load(a.residual, k + j);
      }
#pragma unroll
      for (int j = 0; j < kInFlight; ++j) {
        column.store(a.out[0], k + j, activated<residual(), V>(a, unpack<T, V>(x[j]), r[j], planes));
      }
    }
  });
}

// Sums of a part, or (kApply) the derivative's outputs from those of the plane.
template <class D, class T, int V, bool kApply>
__global__ void __launch_bounds__(kSplitThreads, 1)
    columns_gradient(const Norm<T> a, const Parts parts, int lanes, [[maybe_unused]] wide_t<T>* partial) {
  using A = wide_t<T>;
  int64_t part;
  const Column<T, V> column =
      split_column<T, V>(a, parts, lanes, kApply ? gridDim.x - 1 - int64_t(blockIdx.x) : int64_t(blockIdx.x), part);
  BackwardPlane<A> planes[V];
  A sums[V][D::kSums] = {}, coefficients[V][D::kCoefficients];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const int64_t plane = plane_at(a, column, i);
    planes[i] = backward_plane_of<D>(a, plane, channel_at(a, column, i));
    if constexpr (kApply) {
      load_sums<D>(a, plane, sums[i]);
      coefficients_of<D>(a, channel_at(a, column, i), sums[i], planes[i], coefficients[i]);
    }
  }
  for (int k = 0; k < column.count; k += kInFlight) {
    Raw<T, V> in[kInFlight][D::kInputs];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
#pragma unroll
      for (int n = 0; n < D::kInputs; ++n) in[j][n] = column.load(a.in[n], k + j);
    }
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      if constexpr (kApply) {
        Pack<T, V> out[D::kOutputs];
        apply_packs<D, V>(a, in[j], planes, coefficients, out);
#pragma unroll
        for (int n = 0; n < D::kOutputs; ++n) column.store(a.out[n], k + j, out[n]);
      } else {
        add_packs<D, V>(a, in[j], planes, sums);
      }
    }
  }
  if constexpr (!kApply) {
    column_sum(sums, lanes, static_cast<A*>(dynamic_shared()));
#pragma unroll
    for (int i = 0; i < V; ++i) store_partial(a, parts, column, part, i, partial, sums[i]);
  }
}

}  // namespace gankit::instance_norm_act
