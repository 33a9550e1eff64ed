// What the CUDA kernels share: elements and packs, sums in a fixed order, clusters, launches. No torch, so
// that the tests can execute kernels on the CPU: there, tests/csrc/cuda_shim.h stands in for the toolkit.
#pragma once

#include <stdint.h>

#if defined(__CUDACC__)
#include <cooperative_groups.h>
#include <cuda_pipeline.h>
#include <cuda_runtime.h>
#endif

#include "elements.cuh"

namespace gankit {

// -- integers ---------------------------------------------------------------------------------------------------------

// Quotient and remainder of numbers that are not negative: with 32 bits where that is enough, several times faster.
__host__ __device__ __forceinline__ int64_t quotient(int64_t a, int64_t b) {
  return ((a | b) >> 32) == 0 ? int64_t(uint32_t(a) / uint32_t(b)) : a / b;
}
__host__ __device__ __forceinline__ int64_t modulo(int64_t a, int64_t b) { return a - quotient(a, b) * b; }

// The logarithm of a power of two.
__device__ __forceinline__ int log2_of(int power) {
#if defined(__CUDACC__)
  return 31 - __clz(power);
#else
  return __builtin_ctz(unsigned(power));
#endif
}

// -- sums: every thread gets the result, the same bits at every run ---------------------------------------------------

// Over groups of `width` lanes, a power of two.
template <typename A>
__device__ __forceinline__ A warp_sum(A v, int width = 32) {
  for (int o = width / 2; o > 0; o /= 2) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}

// Sums of M values at one barrier. `scratch` holds 32 * M values in shared memory, none of which another sum may use
// before a further barrier.
template <typename A, int M>
__device__ __forceinline__ void block_sums(A (&v)[M], A* scratch) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
#pragma unroll
  for (int m = 0; m < M; ++m) {
    v[m] = warp_sum(v[m]);
    if (lane == 0) scratch[32 * m + threadIdx.x / 32] = v[m];
  }
  __syncthreads();
#pragma unroll
  for (int m = 0; m < M; ++m) v[m] = warp_sum(lane < warps ? scratch[32 * m + lane] : A(0));
}
template <typename A>
__device__ __forceinline__ A block_sum(A v, A* scratch) {
  A sum[1] = {v};
  block_sums(sum, scratch);
  return sum[0];
}

// -- clusters (sm_90 and later): blocks that run together and read each other's dynamic shared memory -----------------

#if !defined(__CUDACC__)
using shim::cluster_arrive, shim::cluster_map, shim::cluster_rank, shim::cluster_size, shim::cluster_wait;
#else
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define GANKIT_CLUSTERS 1
#endif
__device__ __forceinline__ unsigned cluster_rank() {
#ifdef GANKIT_CLUSTERS
  return cooperative_groups::this_cluster().block_rank();
#else
  return 0;
#endif
}
__device__ __forceinline__ unsigned cluster_size() {
#ifdef GANKIT_CLUSTERS
  return cooperative_groups::this_cluster().num_blocks();
#else
  return 1;
#endif
}
// A split barrier: what a block wrote before arriving is seen by all after waiting; between the two it may go on.
__device__ __forceinline__ void cluster_arrive() {
#ifdef GANKIT_CLUSTERS
  cooperative_groups::this_cluster().barrier_arrive();
#endif
}
__device__ __forceinline__ void cluster_wait() {
#ifdef GANKIT_CLUSTERS
  cooperative_groups::this_cluster().barrier_wait();
#endif
}
// The same place in the dynamic shared memory of another block of the cluster.
template <typename T>
__device__ __forceinline__ T* cluster_map(T* mine, [[maybe_unused]] unsigned rank) {
#ifdef GANKIT_CLUSTERS
  return cooperative_groups::this_cluster().map_shared_rank(mine, rank);
#else
  return mine;
#endif
}
#endif

// The block's dynamic shared memory, aligned to 16 bytes.
__device__ __forceinline__ void* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char gankit_dynamic_shared[];
  return gankit_dynamic_shared;
#else
  return shim::dynamic_shared();
#endif
}

// Starts an asynchronous copy of an aligned pack to shared memory; wait_copies() waits for those of this thread.
template <typename T, int V>
__device__ __forceinline__ void copy_async(Pack<T, V>* to, const T* from) {
  if constexpr (sizeof(Pack<T, V>) < 4) {  // less than such a copy takes
    *to = load_aligned<V>(from);
  } else {
#if defined(__CUDACC__)
    __pipeline_memcpy_async(to, from, sizeof(Pack<T, V>));
#else
    shim::copy_async(to, from, sizeof(Pack<T, V>));
#endif
  }
}
__device__ __forceinline__ void wait_copies() {
#if defined(__CUDACC__)
  __pipeline_commit();
  __pipeline_wait_prior(0);
#else
  shim::wait_copies();
#endif
}

// -- launches ---------------------------------------------------------------------------------------------------------

struct Launch {
  int64_t blocks;
  unsigned threads;
  cudaStream_t stream;
  unsigned cluster = 1;     // blocks that run together; divides `blocks`
  size_t shared_bytes = 0;  // dynamic
};

#if defined(__CUDACC__)
// The most dynamic shared memory that a block of the current device may ask for.
inline int most_shared_bytes() {
  int device = 0, bytes = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  return bytes;
}
#endif

// The launch's error, if any, is left for cudaGetLastError.
template <typename... P, typename... Q>
void launch(const Launch& how, void (*kernel)(P...), Q... args) {
  if (how.blocks == 0) return;
#if defined(__CUDACC__)
  if (how.shared_bytes > 48 * 1024) {  // the device's maximum: another host thread may be launching with more than this
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most_shared_bytes());
  }
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = how.cluster;
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  // a grid that no device takes is left for the launch to refuse, not cut to 32 bits
  config.gridDim = dim3(unsigned(how.blocks > 2147483647 ? 4294967295 : how.blocks));
  config.blockDim = dim3(how.threads);
  config.dynamicSmemBytes = how.shared_bytes;
  config.stream = how.stream;
  config.attrs = &cluster;
  config.numAttrs = how.cluster > 1;
  if (how.cluster > 8) {  // sizes that not all devices support must be enabled; the caller has checked this device
    cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  }
  cudaLaunchKernelEx(&config, kernel, P(args)...);
#else
  if (how.blocks > 2147483647) shim::fail("a grid no device takes");
  shim::launch(dim3(unsigned(how.blocks)), dim3(how.threads), how.shared_bytes, how.cluster,
               [&] { kernel(P(args)...); });
#endif
}

}  // namespace gankit
