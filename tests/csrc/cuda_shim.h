// Executes CUDA kernels on the CPU, for tests: g++ compiles csrc/cuda/*.cuh against this file in place of the toolkit.
//
// A thread of a kernel is a fiber (ucontext) on one host thread. Blocks run one after another, the blocks of a cluster
// together, each as far as it gets by itself; one that has ended has no shared memory left. Asynchronous copies happen
// when they are waited for. Threads change turns only where they wait for each other (__syncthreads, __syncwarp, shuffles, cluster
// barriers), in order or in reverse order, so that a missing barrier changes the result of one of the two.
// AddressSanitizer follows the fibers, and memory of every kind is as long as was asked for and no longer. Under
// ThreadSanitizer nothing but those barriers orders the threads: two that touch the same byte without one are a race.
//
// Stricter than a device: shuffles need all 32 lanes, barriers all threads of the block, exited ones too; dynamic shared
// memory starts as NaN. Not modelled: caches, weak ordering of memory between blocks, warps in lock-step.
// A `__shared__` variable is per kernel, not per block: kernels that run as clusters use dynamic shared memory, and so do
// best all others (ThreadSanitizer takes one block's use of the variable and the next one's for a race).
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

// Every lane gives `value` and gets that of lane `source`. One barrier: the slots alternate.
template <typename T>
T exchange(unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) <= 8);
  if (mask != 0xffffffffu) fail("a shuffle of part of a warp");
  if (source >= 32) fail("a shuffle from beyond the warp");
  Warp& w = warp();
  const unsigned lane = machine.current->linear % 32;
  unsigned turn;
  {
    Unwatched section;
    turn = w.shuffles[lane]++ & 1;
    memcpy(&w.slots[turn][lane], &value, sizeof(T));
  }
  meet(w.meeting);
  Unwatched section;
  T result;
  memcpy(&result, &w.slots[turn][source], sizeof(T));
  return result;
}

inline void* dynamic_shared() { return machine.current->block->memory.get(); }

}  // namespace shim

inline void __syncthreads() { shim::meet(shim::machine.current->block->meeting); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  if (mask != 0xffffffffu) shim::fail("a barrier of part of a warp");
  shim::meet(shim::warp().meeting);
}
inline void __threadfence() {}

// What tells the last block of a grid: blocks that run one after another count like those that run at once.
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
  Unwatched section;
  if (watcher) watcher->access(at, bytes, false);
}
inline void global_write(const void* at, size_t bytes) {
  Unwatched section;
  if (watcher) watcher->access(at, bytes, true);
}
inline unsigned cluster_rank() { return machine.current->block->rank; }
inline unsigned cluster_size() { return machine.current->block->cluster_size; }
inline void cluster_arrive() {
  const unsigned round = arrive(machine.cluster);
  Unwatched section;
  machine.current->cluster_round = round;
}
inline void cluster_wait() { leave(machine.cluster, machine.current->cluster_round); }
template <typename T>
T* cluster_map(T* mine, unsigned rank) {
  Block* block = machine.current->block;
  const ptrdiff_t offset = reinterpret_cast<const char*>(mine) - block->memory.get();
  if (offset < 0 || size_t(offset) >= block->bytes) fail("an address outside of dynamic shared memory");
  if (rank >= block->cluster_size) fail("a rank beyond the cluster");
  if (machine.blocks[rank]->threads_left == 0) fail("the shared memory of a block that has ended");
  return reinterpret_cast<T*>(machine.blocks[rank]->memory.get() + offset);
}

// What a copy brings is there once it was waited for, and not before.
inline void copy_async(void* to, const void* from, size_t bytes) {
  global_read(from, bytes);
  memset(to, 0xff, bytes);
  Unwatched section;
  machine.current->copies.push_back({to, from, bytes});
}
inline void wait_copies() {
  for (const Copy& c : machine.current->copies) memcpy(c.to, c.from, c.bytes);
  Unwatched section;
  machine.current->copies.clear();
}
}  // namespace shim
