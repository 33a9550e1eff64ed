// instance_norm_act where the channels of a pixel are contiguous (channels_last). A thread keeps to one pack of
// channels and goes from pixel to pixel; the `lanes` threads of a row read contiguous memory. Here the pixels of a few
// channels are held in the shared memory of a block, or of the blocks of a cluster: what is read is read once.
#pragma once

#include "instance_norm_act_common.cuh"

namespace gankit::instance_norm_act {

constexpr unsigned kColumnThreads = 512;  // the most of a block

// Which channels and pixels are a thread's: pixels first, first + rows, ... before `end`.
template <class T, int V>
struct Column {
  int lane, row, rows, lanes;
  int64_t image, channel, first, end;

  // Of chunk `chunk` of an image (chunks have lanes * V channels) the pixels from part * each on, `each` of them.
  __device__ __forceinline__ Column(const Norm<T>& a, int lanes_, int64_t image_, int64_t chunk, int64_t each,
                                    int64_t part)
      : lane(int(threadIdx.x) % lanes_),
        row(int(threadIdx.x) / lanes_),
        rows(int(blockDim.x) / lanes_),
        lanes(lanes_),
        image(image_),
        channel((chunk * lanes_ + lane) * V),
        first(part * each + row) {
    const int64_t last = (part + 1) * each < a.spatial ? (part + 1) * each : a.spatial;
    end = channel < a.channels ? last : 0;
  }
  __device__ __forceinline__ int64_t at(const Norm<T>& a, int64_t pixel) const {
    return (image * a.spatial + pixel) * a.channels + channel;
  }
  // The pixel's pack; nothing, that is zeros, beyond the last pixel.
  __device__ __forceinline__ Raw<T, V> load(const Norm<T>& a, const T* data, int64_t pixel) const {
    Raw<T, V> p = {};
    if (pixel < end) p = load_raw<V>(data + at(a, pixel));
    return p;
  }
  __device__ __forceinline__ void store(const Norm<T>& a, T* data, int64_t pixel, const Pack<T, V>& p) const {
    if (pixel < end) store_aligned(data + at(a, pixel), p);
  }
};

__host__ __device__ __forceinline__ int64_t chunks_of(int64_t channels, int lanes, int vector) {
  return (channels + int64_t(lanes) * vector - 1) / (int64_t(lanes) * vector);
}

// The pixels of a block of a cluster that holds a chunk of an image.
template <class T, int V>
__device__ __forceinline__ Column<T, V> held_column(const Norm<T>& a, int lanes) {
  const unsigned blocks = cluster_size();
  unsigned block = blockIdx.x;
  forget(block);  // a column made again is not one kept in registers
  const int64_t unit = block / blocks, chunks = chunks_of(a.channels, lanes, V);
  return {a, lanes, unit / chunks, unit % chunks, (a.spatial + blocks - 1) / blocks, int64_t(cluster_rank())};
}

// The plane of a thread's i-th channel; the first one, to have one, beyond the last channel.
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
// Results are the same bits in all of them. The scratch memory is this sum's alone.
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
    for (int i = 0; i < V * M; ++i) scratch[(int(threadIdx.x) / 32 * lanes + lane) * V * M + i] = v[i / M][i % M];
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
  for (int i = 0; i < V * M; ++i) v[i / M][i % M] = result[int(threadIdx.x) % lanes * V * M + i];
}

// A block may not end while others of its cluster still read its memory: after the last sum, and at the end.
__device__ __forceinline__ void done_reading() {
  if (cluster_size() > 1) cluster_arrive();
}
__device__ __forceinline__ void finish() {
  if (cluster_size() > 1) cluster_wait();
}

// What a thread has of the shared memory for pixels: its k-th pack. No other thread reads it.
template <class T, int V>
__device__ __forceinline__ Pack<T, V>& tile_at(Pack<T, V>* tile, int k) {
  return tile[k * int(blockDim.x) + int(threadIdx.x)];
}

template <class T, int V>
__device__ __forceinline__ void fetch(const Norm<T>& a, const Column<T, V>& column, const T* data, Pack<T, V>* tile,
                                      int slots) {
  for (int k = 0; k < slots; ++k) {
    const int64_t pixel = column.first + int64_t(k) * column.rows;
    if (pixel < column.end) {
      copy_async(&tile_at(tile, k), data + column.at(a, pixel));
    } else {
      tile_at(tile, k) = Pack<T, V>{};
    }
  }
}

// `slots`: packs that a thread holds, a multiple of kFlight.
template <class T, int V>
__global__ void __launch_bounds__(kColumnThreads, 1) columns_forward(const Norm<T> a, int lanes, int slots) {
  using A = wide_t<T>;
  const Column<T, V> column = held_column<T, V>(a, lanes);
  Pack<T, V>* tile = static_cast<Pack<T, V>*>(dynamic_shared());
  A* scratch = reinterpret_cast<A*>(tile + int64_t(slots) * blockDim.x);

  fetch(a, column, a.in[0], tile, slots);
  wait_copies();
  A near[V][1] = {};
#pragma unroll 4
  for (int k = 0; k < slots; ++k) {
    const Pack<T, V> p = tile_at(tile, k);
#pragma unroll
    for (int i = 0; i < V; ++i) near[i][0] += widen(p.v[i]);
  }
  column_sum(near, lanes, scratch);
  const A count = A(a.spatial);
#pragma unroll
  for (int i = 0; i < V; ++i) near[i][0] /= count;

  A sums[V][2] = {};  // of deviations, and of their squares: about the mean but for rounding
#pragma unroll 4
  for (int k = 0; k < slots; ++k) {
    if (column.first + int64_t(k) * column.rows >= column.end) break;
    const Pack<T, V> p = tile_at(tile, k);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const A d = widen(p.v[i]) - near[i][0];
      sums[i][0] += d;
      sums[i][1] += d * d;
    }
  }
  column_sum(sums, lanes, scratch + column_scratch(V, lanes, blockDim.x));
  done_reading();

  Plane<A> planes[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const Moments<A> m = shifted_moments(count, near[i][0], sums[i][0], sums[i][1]);
    const A rstd = inverse_deviation(variance(m), a.eps);
    const int64_t plane = plane_at(a, column, i);
    planes[i] = plane_of(a, channel_at(a, column, i), m.mean, rstd);
    if (column.channel < a.channels && column.row == 0 && cluster_rank() == 0) {
      a.mean[plane] = m.mean;
      a.rstd[plane] = rstd;
    }
  }
  for (int k = 0; k < slots; k += kFlight) {
    Raw<T, V> residual[kFlight] = {};
    if (a.residual) {
#pragma unroll
      for (int j = 0; j < kFlight; ++j) {
        residual[j] = column.load(a, a.residual, column.first + int64_t(k + j) * column.rows);
      }
    }
#pragma unroll
    for (int j = 0; j < kFlight; ++j) {
      const Pack<T, V> p = tile_at(tile, k + j), r = unpack<T, V>(residual[j]);
      Pack<T, V> y;
#pragma unroll
      for (int i = 0; i < V; ++i) {
        y.v[i] = convert<T>(activated<A>(widen(p.v[i]), widen(r.v[i]), planes[i], a.slopes.slope));
      }
      column.store(a, a.out[0], column.first + int64_t(k + j) * column.rows, y);
    }
  }
  finish();
}

// `slots`: packs of each input that a thread holds.
template <class D, class T, int V>
__global__ void __launch_bounds__(kColumnThreads, 1) columns_backward(const Norm<T> a, int lanes, int slots) {
  using A = wide_t<T>;
  const Column<T, V> column = held_column<T, V>(a, lanes);
  Pack<T, V>* tiles = static_cast<Pack<T, V>*>(dynamic_shared());
  const int tile = slots * int(blockDim.x);
  [[maybe_unused]] constexpr int kUnrolled = D::kInputs > 2 ? 1 : 2;
  A* scratch = reinterpret_cast<A*>(tiles + D::kInputs * tile);

#pragma unroll
  for (int n = 0; n < D::kInputs; ++n) fetch(a, column, a.in[n], tiles + n * tile, slots);
  const auto held = [&](int k, Raw<T, V> (&to)[D::kInputs]) {
#pragma unroll
    for (int n = 0; n < D::kInputs; ++n) to[n] = raw(tile_at(tiles + n * tile, k));
  };
  BackwardPlane<A> planes[V];
#pragma unroll
  for (int i = 0; i < V; ++i) planes[i] = backward_plane_of<D>(a, plane_at(a, column, i), channel_at(a, column, i));
  wait_copies();
  A sums[V][D::kSums] = {}, shared[V][D::kShared];
#pragma unroll kUnrolled
  for (int k = 0; k < slots; ++k) {
    Raw<T, V> in[D::kInputs];
    held(k, in);
    add_packs<D, V>(a, in, planes, sums);
  }
  column_sum(sums, lanes, scratch);
  done_reading();

#pragma unroll
  for (int i = 0; i < V; ++i) {
    const int64_t plane = plane_at(a, column, i);
    if (column.channel < a.channels && column.row == 0 && cluster_rank() == 0) store_sums<D>(a, plane, sums[i]);
    // again: what add() does without was not kept
    planes[i] = backward_plane_of<D>(a, plane, channel_at(a, column, i));
    share_of<D>(a, channel_at(a, column, i), sums[i], planes[i], shared[i]);
  }
  const Column<T, V> to = held_column<T, V>(a, lanes);
#pragma unroll kUnrolled
  for (int k = 0; k < slots; ++k) {
    Raw<T, V> in[D::kInputs];
    held(k, in);
    Pack<T, V> out[D::kOutputs];
    apply_packs<D, V>(a, in, planes, shared, out);
#pragma unroll
    for (int n = 0; n < D::kOutputs; ++n) to.store(a, a.out[n], to.first + int64_t(k) * to.rows, out[n]);
  }
  finish();
}

}  // namespace gankit::instance_norm_act
