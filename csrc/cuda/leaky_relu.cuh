// leaky_relu on CUDA, 16 bytes at a time: value, and the gradients of input and bias from one reading of grad and y.
//
// Elements lie in memory as (outer, channels, inner). Where a plane is long (inner: NCHW) a warp takes a part of one
// plane, and has one channel. Where it is short (channels_last) memory is cut into rows whose length is a multiple of
// channels * inner and of a pack. A thread takes the same position in several rows, so that its channels never change.
// Sums for the bias stay in registers and go to memory as few partial sums, again (outer, channels, inner), which a
// second small kernel adds up: always in the same order.
#pragma once

#include "../leaky_relu.h"
#include "common.cuh"

namespace gankit {

constexpr unsigned kReluThreads = 256;
constexpr int kReluPacks = 4;           // of a lane, in flight together
constexpr int64_t kReluBlocks = 1024;   // enough for any device; a constant, so that sums are the same on all

struct ReluBias {
  const void* data;
  DType dtype;
  int64_t stride;

  template <typename W>
  __device__ __forceinline__ W at(int64_t channel) const {
    const int64_t i = channel * stride;
    switch (dtype) {
      case DType::f32: return convert<W>(static_cast<const float*>(data)[i]);
      case DType::f64: return convert<W>(static_cast<const double*>(data)[i]);
      case DType::bf16: return convert<W>(static_cast<const __nv_bfloat16*>(data)[i]);
      case DType::f16: return convert<W>(static_cast<const __half*>(data)[i]);
    }
    return W(0);
  }
};

// -- long planes ------------------------------------------------------------------------------------------------------

struct ReluPlanes {
  int64_t planes, channels, inner;
  int64_t chunks;  // parts of a plane, 32 * kReluPacks packs each: a warp's
};

// The part of a plane that a warp takes.
struct ReluPart {
  int64_t unit, plane, pack;
  __device__ __forceinline__ explicit ReluPart(const ReluPlanes& p) {
    unit = int64_t(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
    plane = quotient(unit, p.chunks);
    pack = (unit - plane * p.chunks) * (32 * kReluPacks) + threadIdx.x % 32;
  }
};

template <int V, typename T>
__global__ void __launch_bounds__(kReluThreads)
    relu_planes(const T* __restrict__ x, const ReluBias bias, T* __restrict__ y, const ReluPlanes p, wide_t<T> slope) {
  using W = wide_t<T>;
  const ReluPart part(p);
  if (part.plane >= p.planes) return;  // a whole warp
  const T* run = x + part.plane * p.inner;
  T* out = y + part.plane * p.inner;
  const W b = bias.at<W>(modulo(part.plane, p.channels));
  const int64_t first = part.pack * V - misalignment(run) % V;
  Raw<T, V> packs[kReluPacks];
#pragma unroll
  for (int k = 0; k < kReluPacks; ++k) packs[k] = load_raw<V>(run, first + k * 32 * V, p.inner);
#pragma unroll
  for (int k = 0; k < kReluPacks; ++k) {
    Pack<T, V> q = unpack<T, V>(packs[k]);
#pragma unroll
    for (int i = 0; i < V; ++i) q.v[i] = convert<T>(leaky_relu_value(widen(q.v[i]), b, slope));
    store_pack<V>(out, first + k * 32 * V, p.inner, q);
  }
}

// `dx` or `partial` ([planes, chunks]) may be null.
template <int V, typename T>
__global__ void __launch_bounds__(kReluThreads, 3)
    relu_planes_backward(const T* __restrict__ grad, const T* __restrict__ y, T* __restrict__ dx,
                         wide_t<T>* __restrict__ partial, const ReluPlanes p, wide_t<T> slope) {
  using W = wide_t<T>;
  const ReluPart part(p);
  if (part.plane >= p.planes) return;
  const int64_t offset = part.plane * p.inner;
  const int64_t first = part.pack * V - misalignment(y + offset) % V;
  Raw<T, V> g[kReluPacks], v[kReluPacks];
#pragma unroll
  for (int k = 0; k < kReluPacks; ++k) {
    g[k] = load_raw<V>(grad + offset, first + k * 32 * V, p.inner);
    v[k] = load_raw<V>(y + offset, first + k * 32 * V, p.inner);
  }
  W sum = W(0);  // what lies outside of the plane adds 0
#pragma unroll
  for (int k = 0; k < kReluPacks; ++k) {
    Pack<T, V> d = unpack<T, V>(g[k]);
    const Pack<T, V> out = unpack<T, V>(v[k]);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const W e = leaky_relu_grad(widen(d.v[i]), widen(out.v[i]), slope);
      sum += e;
      d.v[i] = convert<T>(e);
    }
    if (dx) store_pack<V>(dx + offset, first + k * 32 * V, p.inner, d);
  }
  if (!partial) return;
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) partial[part.unit] = sum;
}

// -- short planes -----------------------------------------------------------------------------------------------------

struct ReluRows {
  int64_t total, channels, inner;
  int64_t length, rows;         // elements of a row; rows, the last of which may be shorter
  int64_t columns = 0;          // packs of a row
  unsigned width = 0;           // columns of a block; the rest of its threads are further rows
  unsigned column_blocks = 0, row_blocks = 0;
};

// A thread's column, and the rows it takes there.
struct ReluColumn {
  unsigned lanes, lane, row_block;
  int64_t column, row;
  __device__ __forceinline__ explicit ReluColumn(const ReluRows& p) {
    lanes = blockDim.x / p.width;
    lane = threadIdx.x / p.width;
    row_block = blockIdx.x / p.column_blocks;
    column = int64_t(blockIdx.x % p.column_blocks) * p.width + threadIdx.x % p.width;
    row = lane < lanes && column < p.columns ? int64_t(row_block) * lanes + lane : p.rows;
  }
};

template <int V, typename T>
__global__ void __launch_bounds__(kReluThreads)
    relu_rows(const T* __restrict__ x, const ReluBias bias, T* __restrict__ y, const ReluRows p, wide_t<T> slope) {
  using W = wide_t<T>;
  const ReluColumn at(p);
  if (at.row >= p.rows) return;
  const int64_t place = at.column * V;
  int64_t c = quotient(place, p.inner), rest = place - c * p.inner;
  c = modulo(c, p.channels);
  W b[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    b[i] = bias.at<W>(c);
    if (++rest == p.inner) {
      rest = 0;
      if (++c == p.channels) c = 0;
    }
  }
  const int64_t step = p.length * p.row_blocks * at.lanes;
  for (int64_t first = at.row * p.length + place; first < p.total; first += kReluPacks * step) {
    Raw<T, V> packs[kReluPacks];
#pragma unroll
    for (int k = 0; k < kReluPacks; ++k) packs[k] = load_raw<V>(x, first + k * step, p.total);
#pragma unroll
    for (int k = 0; k < kReluPacks; ++k) {
      Pack<T, V> q = unpack<T, V>(packs[k]);
#pragma unroll
      for (int i = 0; i < V; ++i) q.v[i] = convert<T>(leaky_relu_value(widen(q.v[i]), b[i], slope));
      store_pack<V>(y, first + k * step, p.total, q);
    }
  }
}

// `dx` or `partial` ([row_blocks, length]) may be null. Dynamic shared memory: V sums a thread.
template <int V, typename T>
__global__ void __launch_bounds__(kReluThreads, 2)
    relu_rows_backward(const T* __restrict__ grad, const T* __restrict__ y, T* __restrict__ dx,
                       wide_t<T>* __restrict__ partial, const ReluRows p, wide_t<T> slope) {
  using W = wide_t<T>;
  const ReluColumn at(p);
  const int64_t place = at.column * V;
  W sums[V];
#pragma unroll
  for (int i = 0; i < V; ++i) sums[i] = W(0);
  const int64_t step = p.length * p.row_blocks * at.lanes;
  for (int64_t first = at.row * p.length + place; first < p.total; first += kReluPacks * step) {
    Raw<T, V> g[kReluPacks], v[kReluPacks];
#pragma unroll
    for (int k = 0; k < kReluPacks; ++k) {
      g[k] = load_raw<V>(grad, first + k * step, p.total);
      v[k] = load_raw<V>(y, first + k * step, p.total);
    }
#pragma unroll
    for (int k = 0; k < kReluPacks; ++k) {
      Pack<T, V> d = unpack<T, V>(g[k]);
      const Pack<T, V> out = unpack<T, V>(v[k]);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const W e = leaky_relu_grad(widen(d.v[i]), widen(out.v[i]), slope);
        sums[i] += e;
        d.v[i] = convert<T>(e);
      }
      if (dx) store_pack<V>(dx, first + k * step, p.total, d);
    }
  }
  if (!partial) return;
  W* shared = static_cast<W*>(dynamic_shared());
  const int64_t strip = int64_t(p.width) * V, begin = int64_t(blockIdx.x % p.column_blocks) * strip;
  const int64_t end = p.length < p.total ? p.length : p.total;  // a single row may be shorter than it would be
#pragma unroll
  for (int i = 0; i < V; ++i) shared[int64_t(threadIdx.x) * V + i] = sums[i];
  __syncthreads();
  for (int64_t o = threadIdx.x; o < strip && begin + o < end; o += blockDim.x) {
    W sum = W(0);
    for (unsigned lane = 0; lane < at.lanes; ++lane) sum += shared[lane * strip + o];
    partial[int64_t(at.row_block) * p.length + begin + o] = sum;
  }
}

// -- the bias's gradient from partial sums ([outer, channels, inner]) -------------------------------------------------

constexpr unsigned kBiasThreads = 4 * kReluThreads;  // few blocks run, so each needs many loads in flight

constexpr int kBiasInFlight = 8;                     // loads of a thread
// value(first) + value(first + step) + ..., below n, several loads in flight at a time.
template <typename W, typename F>
__device__ __forceinline__ W strided_sum(int64_t first, int64_t step, int64_t n, const F& value) {
  W sums[kBiasInFlight] = {};
  for (int64_t k = first; k < n; k += kBiasInFlight * step) {
#pragma unroll
    for (int j = 0; j < kBiasInFlight; ++j) sums[j] += k + j * step < n ? value(k + j * step) : W(0);
  }
#pragma unroll
  for (int j = 1; j < kBiasInFlight; ++j) sums[0] += sums[j];
  return sums[0];
}

// inner = 1: a block takes 32 channels, which lie side by side; else a channel.
template <typename W>
__global__ void __launch_bounds__(kBiasThreads)
    relu_bias_grad(const W* __restrict__ partial, W* __restrict__ db, int64_t outer, int64_t channels, int64_t inner) {
  W* shared = static_cast<W*>(dynamic_shared());
  if (inner == 1) {
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int64_t c = int64_t(blockIdx.x) * 32 + lane;
    W sum = strided_sum<W>(warp, warps, c < channels ? outer : 0, [&](int64_t o) { return partial[o * channels + c]; });
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (warp != 0 || c >= channels) return;
    for (unsigned w = 1; w < warps; ++w) sum += shared[w * 32 + lane];
    db[c] = sum;
  } else {
    const int64_t c = blockIdx.x;
    W sum = strided_sum<W>(threadIdx.x, blockDim.x, outer * inner, [&](int64_t k) {
      const int64_t o = quotient(k, inner);
      return partial[(o * channels + c) * inner + (k - o * inner)];
    });
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) db[c] = sum;
  }
}

}  // namespace gankit
