// Executes CUDA kernels on the CPU, for tests: g++ compiles csrc/cuda/*.cuh against this file in place of the toolkit.
//
// A thread of a kernel is a fiber (ucontext) on one host thread. Blocks run one after another; the blocks of a cluster
// run together, and the shared memory of one that has ended is filled with NaN. Asynchronous copies happen when they
// are waited for. A fiber yields only where its thread waits for others (__syncthreads, __syncwarp, shuffles, cluster
// barriers). Fibers run in order or in reverse order, so that a missing barrier changes the result of one of the two.
// AddressSanitizer follows the fibers, and all memory is exactly as long as requested. For ThreadSanitizer those
// barriers alone order the threads: two that touch the same byte without a barrier between them are a race.
//
// Stricter than a device: shuffles need all 32 lanes, barriers all threads of the block, exited ones too; dynamic
// shared memory starts as NaN. Not modelled: caches, weak ordering of memory between blocks, warps in lock-step. A
// `__shared__` variable is per kernel, not per block: kernels that run as clusters must use dynamic shared memory, and
// all others should (ThreadSanitizer reports the use of the variable by two blocks, one after the other, as a race).
#pragma once
#define GANKIT_CUDA_SHIM 1

#include "cuda_shim_fibers.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

using cudaStream_t = void*;

namespace shim {

inline Warp& warp() { return machine.current->block->warps[machine.current->linear / 32]; }

// Every lane passes `value` and receives that of lane `source`. Two sets of slots alternate, so that one barrier is
// enough.
template <typename T>
T exchange(unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) <= 8);
  if (mask != 0xffffffffu) fail("a shuffle of part of a warp");
  if (source >= 32) fail("a shuffle from beyond the warp");
  Warp& w = warp();
  const unsigned lane = machine.current->linear % 32;
  unsigned slot;
  {
    IgnoreRaces section;
    slot = w.shuffles[lane]++ & 1;
    memcpy(&w.slots[slot][lane], &value, sizeof(T));
  }
  arrive_and_wait(w.barrier);
  IgnoreRaces section;
  T result;
  memcpy(&result, &w.slots[slot][source], sizeof(T));
  return result;
}

inline void* dynamic_shared() { return machine.current->block->memory.get(); }

}  // namespace shim

inline void __syncthreads() { shim::arrive_and_wait(shim::machine.current->block->barrier); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  if (mask != 0xffffffffu) shim::fail("a barrier of part of a warp");
  shim::arrive_and_wait(shim::warp().barrier);
}
inline void __threadfence() {}

// With it a kernel finds the last block of a grid to finish.
inline unsigned atomicInc(unsigned* at, unsigned limit) {
  const unsigned old = __atomic_load_n(at, __ATOMIC_ACQUIRE);
  __atomic_store_n(at, old >= limit ? 0 : old + 1, __ATOMIC_RELEASE);
  return old;
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32) {
  const unsigned lane = shim::machine.current->linear % 32, source = lane ^ unsigned(lanes);
  return shim::exchange(mask, v, source / width > lane / width ? lane : source);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32) {
  const unsigned lane = shim::machine.current->linear % 32, source = lane + delta;
  return shim::exchange(mask, v, source / width == lane / width ? source : lane);
}
template <typename T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32) {
  const unsigned lane = shim::machine.current->linear % 32;
  return shim::exchange(mask, v, lane / width * width + unsigned(source) % width);
}

// Clusters and accesses to tensors, as csrc/cuda/common.cuh names them.
namespace shim {
inline void global_read(const void* at, size_t bytes) {
  IgnoreRaces section;
  if (observer) observer->access(at, bytes, false);
}
inline void global_write(const void* at, size_t bytes) {
  IgnoreRaces section;
  if (observer) observer->access(at, bytes, true);
}
inline unsigned cluster_rank() { return machine.current->block->rank; }
inline unsigned cluster_size() { return machine.current->block->cluster_size; }
inline void cluster_arrive() {
  const unsigned round = arrive(machine.cluster);
  IgnoreRaces section;
  machine.current->cluster_round = round;
}
inline void cluster_wait() { wait_for(machine.cluster, machine.current->cluster_round); }
template <typename T>
T* cluster_map(T* mine, unsigned rank) {
  Block* block = machine.current->block;
  const ptrdiff_t offset = reinterpret_cast<const char*>(mine) - block->memory.get();
  if (offset < 0 || size_t(offset) >= block->bytes) fail("an address outside of dynamic shared memory");
  if (rank >= block->cluster_size) fail("a rank beyond the cluster");
  if (machine.blocks[rank]->threads_left == 0) fail("the shared memory of a block that has ended");
  return reinterpret_cast<T*>(machine.blocks[rank]->memory.get() + offset);
}

// The data arrive when the copy is waited for, and not before; until then `to` holds NaN.
inline void copy_async(void* to, const void* from, size_t bytes) {
  global_read(from, bytes);
  memset(to, 0xff, bytes);
  IgnoreRaces section;
  machine.current->copies.push_back({to, from, bytes});
}
inline void wait_copies() {
  for (const Copy& c : machine.current->copies) memcpy(c.to, c.from, c.bytes);
  IgnoreRaces section;
  machine.current->copies.clear();
}
}  // namespace shim
