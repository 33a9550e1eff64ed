// The PatchGAN losses on CUDA: value and gradient of all tensors of logits, real and fake, of all scales, in one
// launch.
//
// Logits are cut into chunks of a size that depends on nothing, and each chunk's sum is stored; a last block adds them
// up in order, so the same logits give the same bits at every run. Little work (the maps of a discriminator are 30x30)
// is done by one block: it costs little more than a launch, and needs no synchronisation between blocks.
#pragma once

#include <vector>

#include "../patchgan_loss_plan.h"
#include "common.cuh"

#if !defined(__CUDACC__)
#define __grid_constant__
#endif

namespace gankit {

constexpr unsigned kLossThreads = 512;
constexpr int64_t kLossChunk = 4096;     // elements
constexpr int64_t kLossOneBlock = 4;     // chunks that one block takes alone
constexpr int kLossMaps = 32;            // tensors in one launch

// One tensor of logits, in the order of memory.
struct PatchGANMap {
  const void* logits;
  void* grad;                  // slope * grad_scale of each element, or null
  int64_t numel, first_chunk;  // its place among the chunks of the launch
  double target_or_sign, grad_scale;
  double weight;               // of an element's value in the loss
  bool packs;                  // 16 bytes at a time: the addresses are multiples of that
};

// A kernel's parameter as a whole: at most 4 KiB.
struct PatchGANMaps {
  PatchGANMap maps[kLossMaps];
  int count;
  int64_t chunks;
  double* partial;  // [chunks]
};
static_assert(sizeof(PatchGANMaps) <= 3584);

// The sum of all chunks, of this launch and of those before it.
struct PatchGANFinish {
  void* loss = nullptr;  // null: a later launch finishes
  bool f64 = false;
  double start = 0.0;    // NaN where there is a tensor without elements
  const double* partial = nullptr;
  int64_t partials = 0;
  unsigned* counter = nullptr;  // zero before and after; null with a single block
};

// One chunk: the gradients are written, the sum of this thread's values is returned.
template <PatchGANKind kKind, int V, typename T>
__device__ __forceinline__ wide_t<T> patchgan_chunk(const PatchGANMap& map, int64_t begin) {
  using W = wide_t<T>;
  const T* logits = static_cast<const T*>(map.logits) + begin;
  T* grad = map.grad ? static_cast<T*>(map.grad) + begin : nullptr;
  const int n = int(map.numel - begin < kLossChunk ? map.numel - begin : kLossChunk);
  const W target_or_sign = W(map.target_or_sign), scale = W(map.grad_scale);
  W sum = W(0);
#pragma unroll 2
  for (int at = int(threadIdx.x) * V; at < n; at += int(blockDim.x) * V) {
    Pack<T, V> p = load_pack<V>(logits, at, n);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const ValueSlope<W> t = patchgan_term<kKind>(convert<W>(p.v[i]), target_or_sign);
      if (V == 1 || at + i < n) sum += t.value;
      p.v[i] = convert<T>(t.slope * scale);
    }
    if (grad) store_pack<V>(grad, at, n, p);
  }
  return sum;
}

// True in the block that arrives last, which then sees what all others wrote before.
__device__ __forceinline__ bool last_block(unsigned* counter, int* is_last) {
  if (threadIdx.x == 0) {
    __threadfence();
    *is_last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    __threadfence();  // for the block, which the barrier ties to this thread
  }
  __syncthreads();
  return *is_last;
}

struct PatchGANShared {
  double chunk[2][32];  // used alternately, so that one barrier a chunk is enough
  double total[32];
  int last;
};

template <PatchGANKind kKind, typename T>
__global__ void __launch_bounds__(kLossThreads)
    patchgan_loss_kernel(const __grid_constant__ PatchGANMaps all, const PatchGANFinish finish) {
  using W = wide_t<T>;
  PatchGANShared& shared = *static_cast<PatchGANShared*>(dynamic_shared());
  int m = 0, buffer = 0;
  for (int64_t chunk = blockIdx.x; chunk < all.chunks; chunk += gridDim.x, buffer ^= 1) {
    while (m + 1 < all.count && chunk >= all.maps[m + 1].first_chunk) ++m;
    const PatchGANMap& map = all.maps[m];
    const int64_t begin = (chunk - map.first_chunk) * kLossChunk;
    const W mine = map.packs ? patchgan_chunk<kKind, kVector<T>, T>(map, begin) : patchgan_chunk<kKind, 1, T>(map, begin);
    const W sum = block_sum(mine, reinterpret_cast<W*>(shared.chunk[buffer]));
    if (threadIdx.x == 0) all.partial[chunk] = double(sum) * map.weight;
  }
  if (!finish.loss) return;
  if (finish.counter) {
    if (!last_block(finish.counter, &shared.last)) return;
  } else {
    __syncthreads();
  }
  double total = threadIdx.x == 0 ? finish.start : 0.0;
  for (int64_t k = threadIdx.x; k < finish.partials; k += blockDim.x) total += finish.partial[k];
  total = block_sum(total, shared.total);
  if (threadIdx.x == 0) {
    if (finish.f64) {
      *static_cast<double*>(finish.loss) = total;
    } else {
      *static_cast<float*>(finish.loss) = float(total);
    }
  }
}

// -- the host's part --------------------------------------------------------------------------------------------------

struct PatchGANLogits {
  DType dtype;
  const void* logits;
  void* grad;  // or null
  int64_t numel;
};

inline int64_t patchgan_chunks(int64_t numel) { return (numel + kLossChunk - 1) / kLossChunk; }

// The launches that a call takes: one for each dtype among the tensors, and for each kLossMaps of them.
inline std::vector<PatchGANMaps> patchgan_launches(const PatchGANPlan& plan, const std::vector<PatchGANLogits>& tensors,
                                                   std::vector<DType>& dtypes) {
  std::vector<PatchGANMaps> launches;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    bool open = false;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const PatchGANLogits& t = tensors[i];
      if (t.dtype != dtype || t.numel == 0) continue;
      if (!open || launches.back().count == kLossMaps) {
        launches.push_back({});
        dtypes.push_back(dtype);
        open = true;
      }
      PatchGANMaps& all = launches.back();
      const bool packs = (reinterpret_cast<uintptr_t>(t.logits) | reinterpret_cast<uintptr_t>(t.grad)) % 16 == 0;
      all.maps[all.count++] = {t.logits, t.grad, t.numel, all.chunks, plan.target_or_sign(i),
                               plan.grad_scale(dtype, t.numel), plan.weight / double(t.numel), packs};
      all.chunks += patchgan_chunks(t.numel);
    }
  }
  if (launches.empty()) {  // nothing but empty tensors: a block that writes NaN
    launches.push_back({});
    dtypes.push_back(DType::f32);
  }
  return launches;
}

template <typename T>
void launch_patchgan_loss(PatchGANKind kind, const Launch& how, const PatchGANMaps& all, const PatchGANFinish& finish) {
  switch (kind) {
    case PatchGANKind::lsgan: return launch(how, patchgan_loss_kernel<PatchGANKind::lsgan, T>, all, finish);
    case PatchGANKind::bce: return launch(how, patchgan_loss_kernel<PatchGANKind::bce, T>, all, finish);
    case PatchGANKind::hinge: return launch(how, patchgan_loss_kernel<PatchGANKind::hinge, T>, all, finish);
    case PatchGANKind::wgan: return launch(how, patchgan_loss_kernel<PatchGANKind::wgan, T>, all, finish);
  }
}

// Value and gradients of a call. `scratch(bytes, zeroed)` gives memory of the device, the first `zeroed` bytes of it
// zero.
template <typename Scratch>
void patchgan_loss(const PatchGANPlan& plan, const std::vector<PatchGANLogits>& tensors, void* loss, bool f64,
                   cudaStream_t stream, const Scratch& scratch, unsigned threads = kLossThreads) {
  std::vector<DType> dtypes;
  std::vector<PatchGANMaps> launches = patchgan_launches(plan, tensors, dtypes);
  PatchGANFinish finish{.loss = loss, .f64 = f64};
  for (const PatchGANMaps& all : launches) finish.partials += all.chunks;
  for (const PatchGANLogits& t : tensors) finish.start += t.numel == 0 ? NAN : 0.0;
  const bool counts = launches.back().chunks > kLossOneBlock;
  char* memory = static_cast<char*>(scratch(16 + size_t(finish.partials) * sizeof(double), counts ? 16 : 0));
  double* partial = reinterpret_cast<double*>(memory + 16);
  finish.partial = partial;
  if (counts) finish.counter = reinterpret_cast<unsigned*>(memory);
  for (size_t i = 0; i < launches.size(); ++i) {
    PatchGANMaps& all = launches[i];
    const bool last = i + 1 == launches.size();
    all.partial = partial;
    partial += all.chunks;
    const int64_t blocks = all.chunks > kLossOneBlock ? all.chunks : 1;
    with_type(dtypes[i], [&](auto* element) {
      using T = std::remove_pointer_t<decltype(element)>;
      const Launch how{blocks, threads, stream, 1, sizeof(PatchGANShared)};
      launch_patchgan_loss<T>(plan.kind, how, all, last ? finish : PatchGANFinish{});
    });
  }
}

}  // namespace gankit
