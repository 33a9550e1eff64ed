// The engine under cuda_shim.h: threads as fibers, barriers, blocks one after another.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <vector>

#include "cuda_shim_sanitizers.h"
#include "cuda_shim_types.h"

inline dim3 gridDim, blockDim;
inline uint3 blockIdx, threadIdx;

namespace shim {

// Receives every access to the elements of tensors, see cuda_shim_traffic.h.
struct AccessObserver {
  virtual void access(const void* at, size_t bytes, bool writes) = 0;
  virtual void blocks_end() = 0;  // the blocks that were resident together have ended
  virtual ~AccessObserver() = default;
};
inline AccessObserver* observer = nullptr;

inline bool reverse = false;        // the order in which waiting threads are resumed
inline unsigned max_cluster = 16;   // of the launches that follow: 1 is a device without clusters
inline int64_t launches = 0, threads_run = 0, largest_cluster = 0;

[[noreturn]] inline void fail(const char* text) {
  fprintf(stderr, "cuda shim: %s\n", text);
  abort();
}

// A barrier for a fixed number of threads, used again and again.
struct Barrier {
  unsigned expected = 0, arrived = 0, round = 0;
  char order[2];  // addresses of ThreadSanitizer's release and acquire; rounds alternate
};

struct Warp {
  Barrier barrier;
  uint64_t slots[2][32];
  unsigned shuffles[32] = {};
};

struct Block {
  uint3 index;
  unsigned rank = 0, cluster_size = 1, threads_left = 0;
  Barrier barrier;
  std::vector<Warp> warps;
  std::unique_ptr<char[]> memory;  // exactly as long as requested, so that AddressSanitizer sees accesses beyond it
  size_t bytes = 0;
};

constexpr size_t kStack = 256 * 1024;

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Thread {
  ucontext_t context;
  char* stack = nullptr;
  uint3 index;
  unsigned linear = 0, cluster_round = 0;
  unsigned barriers = 0, accesses = 0;  // accesses to watched memory since the last barrier
  Block* block = nullptr;
  Barrier* waits_for = nullptr;
  unsigned round = 0;
  bool done = true;
  std::vector<Copy> copies;  // started, not yet waited for
  void *fake_stack = nullptr, *fiber = nullptr;
};

struct Machine {
  ucontext_t main;
  void *main_fake_stack = nullptr, *main_fiber = nullptr;
  const void* main_stack = nullptr;
  size_t main_stack_size = 0;
  std::vector<std::unique_ptr<Thread>> pool;
  Thread* current = nullptr;
  std::vector<std::unique_ptr<Block>> blocks;  // those that run together
  Barrier cluster;
  const std::function<void()>* body = nullptr;
  uint64_t progress = 0;
  char started, finished;
};
inline Machine machine;

inline void switch_to([[maybe_unused]] Thread* thread) {
  machine.current = thread;
  thread->context.uc_link = nullptr;
  threadIdx = thread->index;
  blockIdx = thread->block->index;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&machine.main_fake_stack, thread->stack, kStack);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(thread->fiber, __tsan_switch_to_fiber_no_sync);
#endif
  swapcontext(&machine.main, &thread->context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(machine.main_fake_stack, nullptr, nullptr);
#endif
}

inline void switch_back(bool ends) {
  Thread* thread = machine.current;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(ends ? nullptr : &thread->fake_stack, machine.main_stack, machine.main_stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(machine.main_fiber, __tsan_switch_to_fiber_no_sync);
#endif
  if (ends) setcontext(&machine.main);
  swapcontext(&thread->context, &machine.main);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(thread->fake_stack, &machine.main_stack, &machine.main_stack_size);
#endif
}

inline unsigned arrive(Barrier& m) {
  const unsigned round = m.round;
  release(&m.order[round & 1]);
  IgnoreRaces section;
  ++machine.progress;
  if (++m.arrived == m.expected) {
    m.arrived = 0;
    ++m.round;
  }
  return round;
}

inline void wait_for(Barrier& m, unsigned round) {
  {
    IgnoreRaces section;
    Thread* self = machine.current;
    self->waits_for = &m;
    self->round = round;
    while (m.round == round) switch_back(false);
    self->waits_for = nullptr;
    ++self->barriers;
    self->accesses = 0;
  }
  acquire(&m.order[round & 1]);
}

inline void arrive_and_wait(Barrier& m) { wait_for(m, arrive(m)); }

inline void entry() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine.main_stack, &machine.main_stack_size);
#endif
  acquire(&machine.started);
  (*machine.body)();
  release(&machine.finished);
  {
    IgnoreRaces section;
    if (!machine.current->copies.empty()) fail("a copy to shared memory that was never waited for");
    Block& block = *machine.current->block;
    if (--block.threads_left == 0) memset(block.memory.get(), 0xff, block.bytes);  // a later block would overwrite it
    machine.current->done = true;
    ++machine.progress;
  }
  switch_back(true);
}

inline void prepare(Thread& t) {
#if defined(__SANITIZE_THREAD__)  // which would see a race between threads that use a stack one after another
  if (t.stack) munmap(t.stack, kStack);
  t.stack = nullptr;
#endif
  if (!t.stack) {
    void* at = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) fail("no memory for a thread's stack");
    t.stack = static_cast<char*>(at);
  }
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(t.stack, kStack);  // frames of the thread that used it before
#endif
#if defined(__SANITIZE_THREAD__)
  t.fiber = __tsan_create_fiber(0);
#endif
  getcontext(&t.context);
  t.context.uc_stack.ss_sp = t.stack;
  t.context.uc_stack.ss_size = kStack;
  makecontext(&t.context, &entry, 0);
  t.done = false;
  t.waits_for = nullptr;
  t.copies.clear();
  t.cluster_round = t.barriers = t.accesses = 0;
}

// Runs the resident blocks, `threads` each, to their end. A block runs until it waits for another one, then the next.
inline void run_resident(unsigned threads) {
  const size_t blocks = machine.blocks.size();
  size_t left = blocks * threads;
  while (left > 0) {
    const uint64_t before = machine.progress;
    for (size_t b = 0; b < blocks; ++b) {
      const size_t first = (reverse ? blocks - 1 - b : b) * threads;
      for (uint64_t seen = machine.progress + 1; seen != machine.progress;) {
        seen = machine.progress;
        for (unsigned i = 0; i < threads; ++i) {
          Thread& t = *machine.pool[first + (reverse ? threads - 1 - i : i)];
          if (t.done || (t.waits_for && t.waits_for->round == t.round)) continue;
          switch_to(&t);
          if (!t.done) continue;
          --left;
#if defined(__SANITIZE_THREAD__)
          __tsan_destroy_fiber(t.fiber);
#endif
        }
      }
    }
    if (left > 0 && machine.progress == before) fail("threads wait at a barrier that others never reach");
  }
}

inline void launch(dim3 grid, dim3 block, size_t shared_bytes, unsigned cluster, const std::function<void()>& body) {
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > 1024 || threads % 32) fail("a block needs 32 to 1024 threads, in whole warps");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) {
    fail("a grid no device takes");
  }
  if (cluster == 0 || cluster > max_cluster || grid.x % cluster) fail("a cluster no device takes");
  if (shared_bytes > 227 * 1024) fail("more shared memory than a block can have");
  IgnoreRaces section;
  ++launches;
  largest_cluster = cluster > largest_cluster ? cluster : largest_cluster;
  gridDim = grid;
  blockDim = block;
  machine.body = &body;
  release(&machine.started);
#if defined(__SANITIZE_THREAD__)
  machine.main_fiber = __tsan_get_current_fiber();
#endif
  while (machine.pool.size() < size_t(threads) * cluster) machine.pool.push_back(std::make_unique<Thread>());
  machine.cluster = {threads * cluster, 0, 0, {}};
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  for (uint64_t first = 0; first < blocks; first += cluster) {
    machine.blocks.clear();
    for (unsigned rank = 0; rank < cluster; ++rank) {
      auto b = std::make_unique<Block>();
      const uint64_t at = first + rank;
      b->index = {unsigned(at % grid.x), unsigned(at / grid.x % grid.y), unsigned(at / grid.x / grid.y)};
      b->rank = rank;
      b->cluster_size = cluster;
      b->threads_left = threads;
      b->barrier.expected = threads;
      b->warps.resize(threads / 32);
      for (Warp& w : b->warps) w.barrier.expected = 32;
      b->bytes = shared_bytes;
      b->memory.reset(new char[shared_bytes]);
      memset(b->memory.get(), 0xff, shared_bytes);
      for (unsigned i = 0; i < threads; ++i) {
        Thread& t = *machine.pool[rank * threads + i];
        t.index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
        t.linear = i;
        t.block = b.get();
        prepare(t);
      }
      machine.blocks.push_back(std::move(b));
    }
    threads_run += int64_t(threads) * cluster;
    run_resident(threads);
    if (observer) observer->blocks_end();
  }
  machine.blocks.clear();
  acquire(&machine.finished);
}

}  // namespace shim
