// What the bindings of all ops to torch share: argument checks, dtype, memory layout, allocation, threads.
// Only LibTorch's stable ABI is used, so that one build serves every torch from 2.11 on.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "cpu/capability.h"
#include "dtype.h"

#ifndef STABLE_TORCH_ERROR_CODE_CHECK  // what torch 2.11's headers have in its place
#define STABLE_TORCH_ERROR_CODE_CHECK(call) TORCH_ERROR_CODE_CHECK(call)
#endif

namespace gankit {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Work below this many elements is not worth waking a second thread for.
constexpr int64_t kGrain = 32768;

// `name` is the argument, `requirement` what it must be; the rest is the value that was found.
#define GANKIT_CHECK(condition, name, requirement, ...) \
  STD_TORCH_CHECK(condition, name, " must ", requirement, ", got ", __VA_ARGS__)

inline DType dtype_of(const Tensor& t, const char* name) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return DType::f32;
    case ScalarType::Double: return DType::f64;
    case ScalarType::BFloat16: return DType::bf16;
    case ScalarType::Half: return DType::f16;
    default:
      GANKIT_CHECK(false, name, "be float32, float64, bfloat16 or float16", toString(t.scalar_type()));
  }
}

// A dense tensor as (outer, channels, inner) in the order it lies in memory, whatever permutation that is:
// NCHW has inner = H * W, channels_last has inner = 1.
struct Layout {
  int64_t outer = 1, channels = 1, inner = 1;
};

// True where the elements fill one block of memory without gaps or overlap, in any order of dimensions.
inline bool is_dense(const Tensor& t) {
  if (t.is_contiguous()) return true;
  const auto sizes = t.sizes(), strides = t.strides();
  const int64_t rank = t.dim(), numel = t.numel();
  // Each dimension's stride must be the product of the sizes of those that are faster; ranks are small.
  int64_t expected = 1;
  for (int64_t found = 0; found < rank; ++found) {
    if (expected == numel) return true;  // what is left has size 1
    int64_t next = -1;
    for (int64_t d = 0; d < rank; ++d) {
      if (sizes[d] != 1 && strides[d] == expected) next = d;
    }
    if (next < 0) return false;
    expected *= sizes[next];
  }
  return expected == numel;
}

// The layout of a dense tensor whose channels are dimension 1.
inline Layout layout_of(const Tensor& t) {
  Layout layout;
  layout.channels = t.size(1);
  // A size-1 dimension has no meaningful stride: one channel means that all elements share it.
  layout.inner = layout.channels == 1 ? t.numel() : t.stride(1);
  layout.outer = layout.channels == 0 ? 0 : t.numel() / (layout.channels * (layout.inner ? layout.inner : 1));
  return layout;
}

inline bool same_strides(const Tensor& a, const Tensor& b) {
  const auto sizes = a.sizes(), left = a.strides(), right = b.strides();
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] != 1 && left[d] != right[d]) return false;
  }
  return true;
}

// A new tensor of the given geometry. Straight to empty_strided: no boxing, no dispatch by name.
inline Tensor empty_strided(const Tensor& like, const int64_t* sizes, const int64_t* strides, int64_t rank,
                            int32_t dtype) {
  int32_t device_type = 0, device_index = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(rank, sizes, strides, dtype, device_type, device_index, &handle));
  return Tensor(handle);
}

inline int32_t raw_dtype(const Tensor& t) {
  int32_t dtype = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(t.get(), &dtype));
  return dtype;
}

// An uninitialised tensor with the sizes and strides of `like`, which is dense.
inline Tensor empty_as(const Tensor& like) {
  return empty_strided(like, like.sizes().data(), like.strides().data(), like.dim(), raw_dtype(like));
}

inline Tensor empty_1d(const Tensor& like, int64_t size, int32_t dtype) {
  const int64_t stride = 1;
  return empty_strided(like, &size, &stride, 1, dtype);
}

// The tensor itself where it is dense, else a dense copy in the order torch's element-wise ops would give it.
inline Tensor dense(const Tensor& t) {
  if (is_dense(t)) return t;
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_clone(t.get(), &handle));
  return Tensor(handle);
}

// `t` laid out exactly like `like` (same sizes), copied only if it is not so already.
inline Tensor laid_out_like(const Tensor& t, const Tensor& like) {
  if (same_strides(t, like)) return t;
  Tensor copy = empty_strided(t, like.sizes().data(), like.strides().data(), like.dim(), raw_dtype(t));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_copy_(copy.get(), t.get(), 0));
  return copy;
}

// An array for the length of a call, on the stack where it has no more than kFew elements. Not initialised.
template <typename T, int64_t kFew>
struct Scratch {
  T few[kFew];
  std::unique_ptr<T[]> many;
  T* data;
  explicit Scratch(int64_t n) : many(n > kFew ? new T[n] : nullptr), data(many ? many.get() : few) {}
};

// Runs f(begin, end) over [0, n) on torch's own thread pool (so torch.set_num_threads holds, and no second pool
// competes for the cores); directly where the work is small. `cost` is the number of elements that a unit touches.
template <typename F>
inline void parallel(int64_t n, int64_t cost, const F& f) {
  if (n <= 0) return;
  if (n == 1 || n * cost <= kGrain) return f(int64_t(0), n);
  const int64_t grain = cost >= kGrain ? 1 : kGrain / (cost ? cost : 1);
  torch::stable::parallel_for(0, n, grain, f);
}

}  // namespace gankit
