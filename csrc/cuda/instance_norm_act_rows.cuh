// instance_norm_act where a plane is contiguous (NCHW) and is held in registers between statistics and application:
// each element is read once. A plane belongs to a team of threads, by its size: some lanes of a warp, a block, or
// the blocks of a cluster, which then exchange nothing but sums.
#pragma once

#include "instance_norm_act_common.cuh"

namespace gankit::instance_norm_act {

constexpr unsigned kWarpTeams = 128;   // threads of a block whose teams are parts of warps
constexpr unsigned kRowThreads = 512;  // the most of a block that is a team: 128 registers each

// The threads that share a plane. Sums are the same bits in all of them.
template <class A, bool kBlock>
struct Team {
  int64_t plane;
  int member, size;

  __device__ __forceinline__ Team(int width) {
    unsigned block = blockIdx.x;
    hide_from_optimizer(block);  // so that a Team is computed again, not kept in registers
    if constexpr (kBlock) {
      const unsigned blocks = cluster_size();
      plane = block / blocks;
      member = int(cluster_rank() * blockDim.x + threadIdx.x);
      size = int(blocks * blockDim.x);
    } else {
      plane = (int64_t(block) * blockDim.x + threadIdx.x) >> log2_of(width);
      member = int(threadIdx.x) & (width - 1);
      size = width;
    }
  }

  // Sums of M values. `used`: how many the kernel's calls before this one took.
  template <int M>
  __device__ __forceinline__ void sum(A (&v)[M], [[maybe_unused]] int used = 0) const {
    if constexpr (!kBlock) {
#pragma unroll
      for (int m = 0; m < M; ++m) v[m] = warp_sum(v[m], size);
    } else {
      A *scratch = static_cast<A*>(dynamic_shared()) + used * kScratch, *total = scratch + 32 * M;
      block_sums(v, scratch);
      const unsigned blocks = cluster_size(), lane = threadIdx.x % 32;
      if (blocks == 1) return;
      if (threadIdx.x == 0) {
#pragma unroll
        for (int m = 0; m < M; ++m) total[m] = v[m];
      }
      cluster_arrive();
      cluster_wait();
#pragma unroll
      for (int m = 0; m < M; ++m) v[m] = warp_sum(lane < blocks ? *cluster_map(total + m, lane) : A(0));
    }
  }

  // A block may not end while others of its cluster still read its memory: after the last sum, and at the end.
  __device__ __forceinline__ void done_reading() const {
    if (kBlock && cluster_size() > 1) cluster_arrive();
  }
  __device__ __forceinline__ void finish() const {
    if (kBlock && cluster_size() > 1) cluster_wait();
  }

  static constexpr int kScratch = 33;  // values of shared memory that a sum takes
};

// The dynamic shared memory of a kernel of blocks that takes `sums` sums.
template <class A>
constexpr size_t rows_shared(int64_t sums) {
  return sums * Team<A, true>::kScratch * sizeof(A);
}

// Where a thread's packs lie in the plane. kEdges: the plane starts or ends within a pack; else it is whole packs.
template <class T, int V, bool kEdges>
struct Row {
  int n, first, stride;  // elements in the plane; of the thread's first pack; between its packs

  __device__ __forceinline__ Row(const T* plane, int n_, int member, int size)
      : n(n_), first(member * V - (kEdges ? misalignment(plane) : 0)), stride(size * V) {}
  // Called between phases, so that the compiler keeps no offsets in registers from one to the next.
  __device__ __forceinline__ void hide_offsets() {
    unsigned offsets[2] = {unsigned(first), unsigned(stride)};
    hide_from_optimizer(offsets[0]);
    hide_from_optimizer(offsets[1]);
    first = int(offsets[0]);
    stride = int(offsets[1]);
  }
  __device__ __forceinline__ int at(int k) const { return first + k * stride; }
  __device__ __forceinline__ bool has(int k, int i) const {
    return kEdges ? at(k) + i >= 0 && at(k) + i < n : at(k) < n;
  }
  __device__ __forceinline__ Raw<T, V> load(const T* plane, int k) const {
    Raw<T, V> p = {};
    if (!kEdges || (at(k) >= 0 && at(k) + V <= n)) {
      if (at(k) < n) p = load_raw<V>(plane + at(k));
    } else {
      p = raw(load_edge<V>(plane, at(k), n));
    }
    return p;
  }
  __device__ __forceinline__ void store(T* plane, int k, const Pack<T, V>& p) const {
    if constexpr (kEdges) return store_pack<V>(plane, at(k), n, p);
    if (at(k) < n) store_aligned(plane + at(k), p);
  }
};

template <class T, int V, int K, bool kEdges, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kRowThreads : kWarpTeams, !kBlock ? 3 : K == 8 && sizeof(T) == 4 ? 2 : 1)
    rows_forward(const Norm<T> a, int width) {
  using A = wide_t<T>;
  const Team<A, kBlock> team(width);
  const bool active = team.plane < a.batch * a.channels;  // lanes of the last warp may have no plane
  const int64_t plane = active ? team.plane : 0, start = plane * a.spatial;
  Row<T, V, kEdges> row(a.in[0] + start, active ? int(a.spatial) : 0, team.member, team.size);

  Raw<T, V> held[K];
#pragma unroll
  for (int k = 0; k < K; ++k) held[k] = row.load(a.in[0] + start, k);
  const int64_t c = modulo(plane, a.channels);
  const A weight = affine(a, a.weight, c, A(1)), bias = affine(a, a.bias, c, A(0));  // long before they are needed

  A sum[1] = {0};
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const Pack<T, V> p = unpack<T, V>(held[k]);
#pragma unroll
    for (int i = 0; i < V; ++i) sum[0] += widen(p.v[i]);
  }
  team.sum(sum);
  const A count = A(a.spatial), shift = sum[0] / count;

  row.hide_offsets();
  A sums[2] = {0, 0};  // about the mean but for rounding, so that large means cost no digits
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const Pack<T, V> p = unpack<T, V>(held[k]);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const A d = row.has(k, i) ? widen(p.v[i]) - shift : A(0);
      sums[0] += d;
      sums[1] += d * d;
    }
  }
  team.sum(sums, 1);
  team.done_reading();
  const Moments<A> m = shifted_moments(count, shift, sums[0], sums[1]);
  const A mean = m.mean, rstd = inverse_deviation(variance(m), a.eps);
  if (active && team.member == 0) {
    a.mean[plane] = mean;
    a.rstd[plane] = rstd;
  }

  const Plane<A> p[1] = {{mean, weight * rstd, bias}};
  // Packs of the residual in flight at a time: one where a thread has 64 registers.
  constexpr int kBatch = kBlock && K == 8 && sizeof(T) == 4 ? 1 : 2;
  with_residual(a, [&](auto residual) {
#pragma unroll
    for (int first = 0; first < K; first += kBatch) {
      row.hide_offsets();
      Raw<T, V> r[kBatch] = {};
      if constexpr (residual()) {
#pragma unroll
        for (int j = 0; j < kBatch; ++j) r[j] = row.load(a.residual + start, first + j);
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const Pack<T, V> x = unpack<T, V>(held[first + j]);
        row.store(a.out[0] + start, first + j, activated<residual(), V>(a, x, r[j], p));
      }
    }
  });
  team.finish();
}

template <class D, class T, int V, int K, bool kEdges, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kRowThreads : kWarpTeams, kBlock ? 1 : 3)
    rows_backward(const Norm<T> a, int width) {
  using A = wide_t<T>;
  const Team<A, kBlock> team(width);
  const bool active = team.plane < a.batch * a.channels;
  const int64_t plane = active ? team.plane : 0, start = plane * a.spatial;
  Row<T, V, kEdges> row(a.in[0] + start, active ? int(a.spatial) : 0, team.member, team.size);

  Raw<T, V> held[K][D::kInputs];
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int n = 0; n < D::kInputs; ++n) held[k][n] = row.load(a.in[n] + start, k);
  }

  const int64_t c = modulo(plane, a.channels);
  const BackwardPlane<A> p[1] = {backward_plane_of<D>(a, plane, c)};
  A sums[1][D::kSums] = {}, coefficients[1][D::kCoefficients];
#pragma unroll
  for (int k = 0; k < K; ++k) add_packs<D, V>(a, held[k], p, sums);
  team.sum(sums[0]);
  team.done_reading();
  if (active && team.member == 0) store_sums<D>(a, plane, sums[0]);
  coefficients_of<D>(a, c, sums[0], p[0], coefficients[0]);

  row.hide_offsets();
  const int64_t to = Team<A, kBlock>(width).plane * a.spatial;  // where there is no plane, nothing is stored
#pragma unroll
  for (int k = 0; k < K; ++k) {
    Pack<T, V> out[D::kOutputs];
    apply_packs<D, V>(a, held[k], p, coefficients, out);
#pragma unroll
    for (int n = 0; n < D::kOutputs; ++n) row.store(a.out[n] + to, k, out[n]);
  }
  team.finish();
}

}  // namespace gankit::instance_norm_act
