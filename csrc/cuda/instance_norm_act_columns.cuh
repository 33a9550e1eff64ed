// instance_norm_act where the channels of a pixel are contiguous (channels_last). A thread keeps to one pack of
// channels and goes from pixel to pixel; the `lanes` threads of a row read contiguous memory. Here the pixels of a few
// channels are held in the shared memory of a block, or of the blocks of a cluster: each element is read once.
#pragma once

#include "instance_norm_act_common.cuh"

namespace gankit::instance_norm_act {

constexpr unsigned kColumnThreads = 512;  // the most of a block

// Which channels are a thread's, and which pixels: `count` of them, each as many as there are rows after the last.
template <class T, int V>
struct Column {
  int row, lanes, count;
  int64_t image, channel;
  int64_t start, step;  // elements up to the thread's first pack; from each to the next

  // Of chunk `chunk` of an image (chunks have lanes * V channels) the pixels from part * each on, `each` of them.
  __device__ __forceinline__ Column(const Norm<T>& a, int lanes_, int64_t image_, int64_t chunk, int64_t each,
                                    int64_t part)
      : lanes(lanes_), image(image_) {
    const int bits = log2_of(lanes), rows = int(blockDim.x) >> bits;
    row = int(threadIdx.x) >> bits;
    channel = (chunk * lanes + int(threadIdx.x) % lanes) * V;
    const int64_t first = part * each + row, last = first - row + each < a.spatial ? first - row + each : a.spatial;
    count = channel < a.channels && first < last ? int((last - first + rows - 1) >> log2_of(rows)) : 0;
    start = (image * a.spatial + first) * a.channels + channel;
    step = rows * a.channels;
  }
  // The thread's k-th pack; nothing, that is zeros, beyond the last pixel.
  __device__ __forceinline__ Raw<T, V> load(const T* data, int k) const {
    Raw<T, V> p = {};
    if (k < count) p = load_raw<V>(data + start + k * step);
    return p;
  }
  __device__ __forceinline__ void store(T* data, int k, const Pack<T, V>& p) const {
    if (k < count) store_aligned(data + start + k * step, p);
  }
};

__host__ __device__ __forceinline__ int64_t chunks_of(int64_t channels, int lanes, int vector) {
  return quotient(channels + int64_t(lanes) * vector - 1, int64_t(lanes) * vector);
}

// The pixels of a block of a cluster that holds a chunk of an image.
template <class T, int V>
__device__ __forceinline__ Column<T, V> held_column(const Norm<T>& a, int lanes) {
  const unsigned blocks = cluster_size();
  unsigned block = blockIdx.x;
  hide_from_optimizer(block);  // so that a Column is computed again, not kept in registers
  const int64_t unit = block / blocks, chunks = chunks_of(a.channels, lanes, V), image = quotient(unit, chunks);
  return {a, lanes, image, unit - image * chunks, quotient(a.spatial + blocks - 1, blocks), int64_t(cluster_rank())};
}

// The plane of a thread's i-th channel; beyond the last channel plane 0, which is read but never written.
template <class T, int V>
__device__ __forceinline__ int64_t plane_at(const Norm<T>& a, const Column<T, V>& column, int i) {
  return column.channel < a.channels ? column.image * a.channels + column.channel + i : 0;
}

template <class T, int V>
__device__ __forceinline__ int64_t channel_at(const Norm<T>& a, const Column<T, V>& column, int i) {
  return column.channel < a.channels ? column.channel + i : 0;
}

// The shared memory that a sum of `values` values a thread takes, in elements.
__host__ __device__ constexpr int column_scratch(int values, int lanes, int threads) {
  return (threads / 32 + 2) * lanes * values;
}

// Sums v, M values for each channel, over the threads of the block, or of the cluster, that have the same channels.
// Results are the same bits in all of them. The scratch memory, [warps + 2][V * M][lanes], is this sum's alone: lanes
// side by side, so that a warp's accesses have no bank conflicts.
template <class A, int V, int M>
__device__ __forceinline__ void column_sum(A (&v)[V][M], int lanes, A* scratch) {
#pragma unroll
  for (int i = 0; i < V * M; ++i) {
    for (int o = 16; o >= lanes; o /= 2) v[i / M][i % M] += __shfl_xor_sync(0xffffffffu, v[i / M][i % M], o);
  }
  const int width = lanes * V * M, warps = int(blockDim.x) / 32, lane = int(threadIdx.x) % 32;
  A *total = scratch + warps * width, *result = total + width;
  if (lane < lanes) {
#pragma unroll
    for (int i = 0; i < V * M; ++i) scratch[(int(threadIdx.x) / 32 * V * M + i) * lanes + lane] = v[i / M][i % M];
  }
  __syncthreads();
  const unsigned blocks = cluster_size();
  for (int j = int(threadIdx.x); j < width; j += int(blockDim.x)) {
    A sum = 0;
    for (int w = 0; w < warps; ++w) sum += scratch[w * width + j];
    (blocks > 1 ? total : result)[j] = sum;
  }
  if (blocks > 1) {
    cluster_arrive();
    cluster_wait();
    for (int j = int(threadIdx.x); j < width; j += int(blockDim.x)) {
      A sum = 0;
      for (unsigned b = 0; b < blocks; ++b) sum += *cluster_map(total + j, b);
      result[j] = sum;
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < V * M; ++i) v[i / M][i % M] = result[i * lanes + int(threadIdx.x) % lanes];
}

// A block may not end while others of its cluster still read its memory: after the last sum, and at the end.
__device__ __forceinline__ void done_reading() {
  if (cluster_size() > 1) cluster_arrive();
}
__device__ __forceinline__ void finish() {
  if (cluster_size() > 1) cluster_wait();
}

// A thread's k-th pack in the shared memory for pixels. No other thread reads it.
template <class T, int V>
__device__ __forceinline__ Pack<T, V>& tile_at(Pack<T, V>* tile, int k) {
  return tile[k * int(blockDim.x) + int(threadIdx.x)];
}

template <class T, int V>
__device__ __forceinline__ void fetch(const Column<T, V>& column, const T* data, Pack<T, V>* tile, int slots) {
  int64_t at = column.start;
  for (int k = 0; k < slots; ++k, at += column.step) {
    if (k < column.count) {
      copy_async(&tile_at(tile, k), data + at);
    } else {
      tile_at(tile, k) = Pack<T, V>{};
    }
  }
}

// `slots`: packs that a thread holds, a multiple of kInFlight.
template <class T, int V>
__global__ void __launch_bounds__(kColumnThreads, 1) columns_forward(const Norm<T> a, int lanes, int slots) {
  using A = wide_t<T>;
  const Column<T, V> column = held_column<T, V>(a, lanes);
  Pack<T, V>* tile = static_cast<Pack<T, V>*>(dynamic_shared());
  A* scratch = reinterpret_cast<A*>(tile + int64_t(slots) * blockDim.x);

  fetch(column, a.in[0], tile, slots);
  wait_copies();
  A shift[V][1] = {};
#pragma unroll 4
  for (int k = 0; k < slots; ++k) {
    const Pack<T, V> p = tile_at(tile, k);
#pragma unroll
    for (int i = 0; i < V; ++i) shift[i][0] += widen(p.v[i]);
  }
  column_sum(shift, lanes, scratch);
  const A count = A(a.spatial);
#pragma unroll
  for (int i = 0; i < V; ++i) shift[i][0] /= count;

  A sums[V][2] = {};  // of deviations, and of their squares: about the mean but for rounding
#pragma unroll 4
  for (int k = 0; k < slots; ++k) {
    if (k >= column.count) break;
    const Pack<T, V> p = tile_at(tile, k);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const A d = widen(p.v[i]) - shift[i][0];
      sums[i][0] += d;
      sums[i][1] += d * d;
    }
  }
  column_sum(sums, lanes, scratch + column_scratch(V, lanes, blockDim.x));
  done_reading();

  Plane<A> planes[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const Moments<A> m = shifted_moments(count, shift[i][0], sums[i][0], sums[i][1]);
    const A rstd = inverse_deviation(variance(m), a.eps);
    const int64_t plane = plane_at(a, column, i);
    planes[i] = plane_of(a, channel_at(a, column, i), m.mean, rstd);
    if (column.channel < a.channels && column.row == 0 && cluster_rank() == 0) {
      a.mean[plane] = m.mean;
      a.rstd[plane] = rstd;
    }
  }
  with_residual(a, [&](auto residual) {
    for (int k = 0; k < slots; k += kInFlight) {
      Raw<T, V> r[kInFlight] = {};
      if constexpr (residual()) {
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) r[j] = column.load(a.residual, k + j);
      }
#pragma unroll
      for (int j = 0; j < kInFlight; ++j) {
        column.store(a.out[0], k + j, activated<residual(), V>(a, tile_at(tile, k + j), r[j], planes));
      }
    }
  });
  finish();
}

// `slots`: packs that a thread holds of each input.
template <class D, class T, int V>
__global__ void __launch_bounds__(kColumnThreads, 1) columns_backward(const Norm<T> a, int lanes, int slots) {
  using A = wide_t<T>;
  const Column<T, V> column = held_column<T, V>(a, lanes);
  Pack<T, V>* tiles = static_cast<Pack<T, V>*>(dynamic_shared());
  const int tile = slots * int(blockDim.x);
  constexpr int kStep = 2;  // packs of every input at a time
  A* scratch = reinterpret_cast<A*>(tiles + D::kInputs * tile);

#pragma unroll
  for (int n = 0; n < D::kInputs; ++n) fetch(column, a.in[n], tiles + n * tile, slots);
  const auto inputs = [&](int k, Raw<T, V> (&to)[kStep][D::kInputs]) {
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
#pragma unroll
      for (int n = 0; n < D::kInputs; ++n) to[j][n] = raw(tile_at(tiles + n * tile, k + j));
    }
  };
  BackwardPlane<A> planes[V];
#pragma unroll
  for (int i = 0; i < V; ++i) planes[i] = backward_plane_of<D>(a, plane_at(a, column, i), channel_at(a, column, i));
  wait_copies();
  A sums[V][D::kSums] = {}, coefficients[V][D::kCoefficients];
#pragma unroll 1
  for (int k = 0; k < slots; k += kStep) {
    Raw<T, V> in[kStep][D::kInputs];
    inputs(k, in);
#pragma unroll
    for (int j = 0; j < kStep; ++j) add_packs<D, V>(a, in[j], planes, sums);
  }
  column_sum(sums, lanes, scratch);
  done_reading();

#pragma unroll
  for (int i = 0; i < V; ++i) {
    const int64_t plane = plane_at(a, column, i);
    if (column.channel < a.channels && column.row == 0 && cluster_rank() == 0) store_sums<D>(a, plane, sums[i]);
    // computed again: what only apply() needs was not kept in registers
    planes[i] = backward_plane_of<D>(a, plane, channel_at(a, column, i));
    coefficients_of<D>(a, channel_at(a, column, i), sums[i], planes[i], coefficients[i]);
  }
  const Column<T, V> to = held_column<T, V>(a, lanes);
#pragma unroll 1
  for (int k = 0; k < slots; k += kStep) {
    Raw<T, V> in[kStep][D::kInputs];
    inputs(k, in);
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
      Pack<T, V> out[D::kOutputs];
      apply_packs<D, V>(a, in[j], planes, coefficients, out);
#pragma unroll
      for (int n = 0; n < D::kOutputs; ++n) to.store(a.out[n], k + j, out[n]);
    }
  }
  finish();
}

}  // namespace gankit::instance_norm_act
