// Counts the traffic of kernels that cuda_shim.h executes: how often each byte of a tensor is read and written, and how
// many sectors of 32 bytes, which is what a device's memory moves, each access of a warp touches. An access of a warp
// is its lanes' i-th since their last barrier; an edge's elements count as one access. What is no tensor (statistics,
// sums) is not counted.
#pragma once

#include <algorithm>
#include <tuple>
#include <vector>

#include "cuda_shim_fibers.h"

namespace shim {

struct Counts {
  int64_t bytes = 0, sectors = 0;
  double efficiency() const { return double(bytes) / double(32 * sectors); }
};

class Traffic : public AccessObserver {
 public:
  Counts read, written;

  Traffic() { observer = this; }
  ~Traffic() override { observer = nullptr; }
  Traffic(const Traffic&) = delete;

  // A tensor. Whatever else is accessed is an error.
  void watch(const void* at, size_t bytes) {
    const auto first = reinterpret_cast<uintptr_t>(at);
    tensors.push_back({first, std::vector<uint8_t>(bytes), std::vector<uint8_t>(bytes)});
  }

  // How often every byte of a tensor was read, or written; -1 where some were more often than others.
  int reads(const void* at) const { return times(tensors[tensor_at(reinterpret_cast<uintptr_t>(at), 1)].reads); }
  int writes(const void* at) const { return times(tensors[tensor_at(reinterpret_cast<uintptr_t>(at), 1)].writes); }

  void access(const void* at, size_t bytes, bool writes) override {
    Thread& thread = *machine.current;
    const unsigned index = thread.accesses++;
    if (bytes == 0) return;  // a pack outside of the run; counted above, so that lanes keep the same index
    const auto first = reinterpret_cast<uintptr_t>(at);
    Tensor& tensor = tensors[tensor_at(first, bytes)];
    uint8_t* times = (writes ? tensor.writes : tensor.reads).data() + (first - tensor.first);
    for (size_t i = 0; i < bytes; ++i) ++times[i];
    (writes ? written : read).bytes += int64_t(bytes);
    const unsigned warp = thread.block->rank * 32 + thread.linear / 32;
    for (uintptr_t sector = first / 32; sector <= (first + bytes - 1) / 32; ++sector) {
      touched.push_back({writes, warp, thread.barriers, index, sector});
    }
  }

  void blocks_end() override {
    std::sort(touched.begin(), touched.end());
    const auto end = std::unique(touched.begin(), touched.end());
    for (auto t = touched.begin(); t != end; ++t) ++(std::get<0>(*t) ? written : read).sectors;
    touched.clear();
  }

 private:
  struct Tensor {
    uintptr_t first;
    std::vector<uint8_t> reads, writes;  // of each byte
  };
  std::vector<Tensor> tensors;
  std::vector<std::tuple<bool, unsigned, unsigned, unsigned, uintptr_t>> touched;  // warp, barrier, index, sector

  size_t tensor_at(uintptr_t at, size_t bytes) const {
    for (size_t i = 0; i < tensors.size(); ++i) {
      const Tensor& t = tensors[i];
      if (at >= t.first && at + bytes <= t.first + t.reads.size()) return i;
    }
    fail("an access to memory that is no tensor's");
  }
  static int times(const std::vector<uint8_t>& counts) {
    const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
    return *least == *most ? *least : -1;
  }
};

}  // namespace shim
