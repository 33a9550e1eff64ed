// instance_norm_act where the channels of a pixel are contiguous (channels_last). A thread keeps to one pack of
// channels and goes from pixel to pixel; the `lanes` threads of a row read contiguous memory. Here the pixels of a few channels
// are held in the shared memory of a block, or of the blocks of a cluster: what is read is read once.
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
    if (pixel < end) *reinterpret_cast<Pack<T, V>*>(data + at(a, pixel)) = p;
  }
};

__host__ __device__ __forceinline__ int64_t chunks_of(int64_t channels, int lanes, int vector) {
  return (channels + int64_t(lanes) * vector - 1) / (int64_t(lanes) * vector);
}

// The pixels of a block of a cluster that holds a chunk of an image.
template <class T, int V>
__device__ __forceinline__ Column<T, V> held_column(const Norm<T>& a, int lanes) {
  const unsigned blocks = cluster_size();
  const int64_t unit = blockIdx.x / blocks, chunks = chunks_of(a.channels, lanes, V);
  return {a, lanes, unit / chunks, unit % chunks, (a.spatial + blocks - 1) / blocks, int64_t(cluster_rank())};
}

template <class A, int M>
__device__ __forceinline__ void clear(A (&v)[M]) {
#pragma unroll
  for (int m = 0; m < M; ++m) v[m] = 0;
}

// The shared memory that a sum of M values a thread takes, in elements.
__host__ __device__ constexpr int column_scratch(int values, int lanes, int threads) {
  return (threads / 32 + 2) * lanes * values;
}

// Sums v over the threads of the block, or of the cluster, that have the same channels. Results are the same bits in
// all of them. The scratch memory is this sum's alone.
template <class A, int M>
__device__ __forceinline__ void column_sum(A (&v)[M], int lanes, A* scratch) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
    for (int o = 16; o >= lanes; o /= 2) v[m] += __shfl_xor_sync(0xffffffffu, v[m], o);
  }
  const int width = lanes * M, warps = int(blockDim.x) / 32, lane = int(threadIdx.x) % 32;
  A *total = scratch + warps * width, *result = total + width;
  if (lane < lanes) {
#pragma unroll
    for (int m = 0; m < M; ++m) scratch[(int(threadIdx.x) / 32 * lanes + lane) * M + m] = v[m];
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
  for (int m = 0; m < M; ++m) v[m] = result[int(threadIdx.x) % lanes * M + m];
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

  fetch(a, column, a.x, tile, slots);
  wait_copies();
  A near[V];
  clear(near);
#pragma unroll 4
  for (int k = 0; k < slots; ++k) {
    const Pack<T, V> p = tile_at(tile, k);
#pragma unroll
    for (int i = 0; i < V; ++i) near[i] += widen(p.v[i]);
  }
  column_sum(near, lanes, scratch);
  const A count = A(a.spatial);
#pragma unroll
  for (int i = 0; i < V; ++i) near[i] /= count;

  A sums[2 * V];  // of deviations, then of their squares: about the mean but for rounding
  clear(sums);
#pragma unroll 4
  for (int k = 0; k < slots; ++k) {
    if (column.first + int64_t(k) * column.rows >= column.end) break;
    const Pack<T, V> p = tile_at(tile, k);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const A d = widen(p.v[i]) - near[i];
      sums[i] += d;
      sums[V + i] += d * d;
    }
  }
  column_sum(sums, lanes, scratch + column_scratch(V, lanes, blockDim.x));
  done_reading();

  const bool is = column.channel < a.channels;
  Plane<A> planes[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const Moments<A> m = shifted_moments(count, near[i], sums[i], sums[V + i]);
    const A rstd = inverse_deviation(variance(m), a.eps);
    planes[i] = plane_of(a, is ? column.channel + i : 0, m.mean, rstd);
    if (is && column.row == 0 && cluster_rank() == 0) {
      a.mean[column.image * a.channels + column.channel + i] = m.mean;
      a.rstd[column.image * a.channels + column.channel + i] = rstd;
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
        y.v[i] = convert<T>(activated<A>(widen(p.v[i]), widen(r.v[i]), planes[i], a.slope));
      }
      column.store(a, a.out, column.first + int64_t(k + j) * column.rows, y);
    }
  }
  finish();
}

// The planes of a thread's channels, from the statistics of forward.
template <class T, int V>
__device__ __forceinline__ void load_planes(const Norm<T>& a, const Column<T, V>& column,
                                            Plane<wide_t<T>> (&planes)[V], wide_t<T> (&rstd)[V]) {
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const bool is = column.channel < a.channels;
    const int64_t p = is ? column.image * a.channels + column.channel + i : 0;
    rstd[i] = a.rstd[p];
    planes[i] = plane_of(a, is ? column.channel + i : 0, a.mean[p], rstd[i]);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kColumnThreads, 1) columns_backward(const Norm<T> a, int lanes, int slots) {
  using A = wide_t<T>;
  const Column<T, V> column = held_column<T, V>(a, lanes);
  Pack<T, V>*xs = static_cast<Pack<T, V>*>(dynamic_shared()), *dys = xs + int64_t(slots) * blockDim.x;
  A* scratch = reinterpret_cast<A*>(dys + int64_t(slots) * blockDim.x);
  Plane<A> planes[V];
  A rstd[V];
  load_planes(a, column, planes, rstd);

  fetch(a, column, a.x, xs, slots);
  fetch(a, column, a.dy, dys, slots);
  wait_copies();
  A sums[2 * V];  // of g, then of g * (x - mean); where there is no pixel, dy is zero
  clear(sums);
#pragma unroll 2
  for (int k = 0; k < slots; ++k) {
    const Pack<T, V> x = tile_at(xs, k), dy = tile_at(dys, k);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const A v = widen(x.v[i]), g = gated<A>(widen(dy.v[i]), v, planes[i], a.slope);
      sums[i] += g;
      sums[V + i] += g * (v - planes[i].mean);
    }
  }
  column_sum(sums, lanes, scratch);
  done_reading();

  PlaneGrad<A> d[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    if (column.channel < a.channels && column.row == 0 && cluster_rank() == 0) {
      a.sum_g[column.image * a.channels + column.channel + i] = sums[i];
      a.sum_gx[column.image * a.channels + column.channel + i] = sums[V + i];
    }
    d[i] = plane_grad(sums[i], sums[V + i], rstd[i], A(a.spatial));
  }
#pragma unroll 2
  for (int k = 0; k < slots; ++k) {
    const int64_t pixel = column.first + int64_t(k) * column.rows;
    const Pack<T, V> x = tile_at(xs, k), dy = tile_at(dys, k);
    Pack<T, V> dx;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const A v = widen(x.v[i]);
      dx.v[i] = convert<T>(input_grad(gated<A>(widen(dy.v[i]), v, planes[i], a.slope), v, planes[i], d[i]));
    }
    column.store(a, a.out, pixel, dx);
  }
  finish();
}

}  // namespace gankit::instance_norm_act
