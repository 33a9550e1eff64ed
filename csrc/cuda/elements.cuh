// Elements of every dtype on CUDA, and the packs of up to 16 bytes in which threads move them. See common.cuh.
#pragma once

#include <stdint.h>
#include <string.h>

#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#elif !defined(GANKIT_CUDA_SHIM)
#error "kernels are compiled by nvcc, or by tests/csrc/cuda_shim.h's rules"
#endif

#include "../dtype.h"
#include "../portable.h"

namespace gankit {

// -- elements ---------------------------------------------------------------------------------------------------------

template <typename T> struct Wide { using type = float; };
template <> struct Wide<double> { using type = double; };
template <typename T> using wide_t = typename Wide<T>::type;

// Spelled out: torch compiles with the half types' implicit conversions switched off.
template <typename T>
__device__ __forceinline__ auto widen(T v) {
  if constexpr (std::is_same_v<T, __half>) {
    return __half2float(v);
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __bfloat162float(v);
  } else {
    return v;
  }
}

template <typename To, typename From>
__device__ __forceinline__ To convert(From from) {
  const auto v = widen(from);
  if constexpr (std::is_same_v<To, __half>) {
    return __float2half(float(v));
  } else if constexpr (std::is_same_v<To, __nv_bfloat16>) {
    return __float2bfloat16(float(v));
  } else {
    return To(v);
  }
}

// Calls f with a null pointer of the element type.
template <typename F>
void with_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f32: return f((float*)nullptr);
    case DType::f64: return f((double*)nullptr);
    case DType::bf16: return f((__nv_bfloat16*)nullptr);
    case DType::f16: return f((__half*)nullptr);
  }
}

// Called at every access to the elements of a tensor: does nothing on a device, is counted in the tests
// (tests/csrc/cuda_shim_traffic.h).
#if defined(__CUDACC__)
__device__ __forceinline__ void global_read(const void*, size_t) {}
__device__ __forceinline__ void global_write(const void*, size_t) {}
#else
using shim::global_read, shim::global_write;
#endif

// -- packs: what a thread moves in one access -------------------------------------------------------------------------

template <typename T>
constexpr int kVector = 16 / sizeof(T);  // elements of a 16-byte access

template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

// Elements of a pack at 16 bytes' alignment before `at`.
template <typename T>
__host__ __device__ __forceinline__ int misalignment(const T* at) {
  return int(reinterpret_cast<uintptr_t>(at) / sizeof(T) % kVector<T>);
}

// Whole packs, in aligned memory.
template <int V, typename T>
__device__ __forceinline__ Pack<T, V> load_aligned(const T* at) {
  global_read(at, sizeof(Pack<T, V>));
  return *reinterpret_cast<const Pack<T, V>*>(at);
}
template <int V, typename T>
__device__ __forceinline__ void store_aligned(T* at, const Pack<T, V>& p) {
  global_write(at, sizeof(Pack<T, V>));
#if defined(__CUDACC__)
  if constexpr (sizeof(Pack<T, V>) == 16) {  // one store; else nvcc merges this branch
    uint4 words;                             // with an element-wise one nearby, and stores single elements
    memcpy(&words, &p, sizeof(words));
    __stwb(reinterpret_cast<uint4*>(at), words);
    return;
  }
#endif
  *reinterpret_cast<Pack<T, V>*>(at) = p;
}

// Those of the elements [at, at + V) that a run of `n` has: [first, last), as places in the pack.
template <int V, typename I>
struct Inside {
  int first, last;
  __device__ __forceinline__ Inside(I at, I n)
      : first(at >= 0 ? 0 : at > -V ? int(-at) : V), last(at + V <= n ? V : at < n ? int(n - at) : 0) {}
  __device__ __forceinline__ bool has(int i) const { return i >= first && i < last; }
  __device__ __forceinline__ int count() const { return last > first ? last - first : 0; }
};

// Elements [at, at + V) of a run of `n`; what lies outside of the run is neither read nor written, and reads as zero.
// run + at is aligned to the pack.
template <int V, typename T, typename I>
__device__ __forceinline__ Pack<T, V> load_edge(const T* run, I at, I n) {
  const Inside<V, I> inside(at, n);
  global_read(run + at + inside.first, inside.count() * sizeof(T));
  Pack<T, V> p;
#pragma unroll
  for (int i = 0; i < V; ++i) p.v[i] = inside.has(i) ? run[at + i] : convert<T>(0.f);
  return p;
}
template <int V, typename T, typename I>
__device__ __forceinline__ Pack<T, V> load_pack(const T* run, I at, I n) {
  return at >= 0 && at + V <= n ? load_aligned<V>(run + at) : load_edge<V>(run, at, n);
}

template <int V, typename T, typename I>
__device__ __forceinline__ void store_pack(T* run, I at, I n, const Pack<T, V>& p) {
  if (at >= 0 && at + V <= n) return store_aligned(run + at, p);
  const Inside<V, I> inside(at, n);
  global_write(run + at + inside.first, inside.count() * sizeof(T));
#pragma unroll
  for (int i = 0; i < V; ++i) {
    if (inside.has(i)) run[at + i] = p.v[i];
  }
}

// An optimisation barrier: the compiler must assume that v has changed. What was computed from v is then computed again
// where it is needed, rather than kept in registers until there.
__device__ __forceinline__ void hide_from_optimizer([[maybe_unused]] unsigned& v) {
#if defined(__CUDACC__)
  asm volatile("" : "+r"(v));
#endif
}

// A pack that is kept in registers, as whole 32-bit words: the compiler would give every 16-bit element a register.
template <typename T, int V>
using Raw = std::conditional_t<sizeof(T) * V % 4 == 0, Pack<unsigned, sizeof(T) * V / 4>, Pack<T, V>>;

template <typename T, int V>
__device__ __forceinline__ Pack<T, V> unpack(Raw<T, V> raw) {
  if constexpr (sizeof(raw) % 4 == 0) {
#pragma unroll
    for (unsigned& word : raw.v) hide_from_optimizer(word);
  }
  Pack<T, V> p;
  memcpy(&p, &raw, sizeof(p));
  return p;
}

template <typename T, int V>
__device__ __forceinline__ Raw<T, V> raw(const Pack<T, V>& p) {
  Raw<T, V> r;
  memcpy(&r, &p, sizeof(r));
  return r;
}

// From aligned memory.
template <int V, typename T>
__device__ __forceinline__ Raw<T, V> load_raw(const T* at) {
#if defined(__CUDACC__)
  return *reinterpret_cast<const Raw<T, V>*>(at);
#else
  return raw(load_aligned<V>(at));
#endif
}

// Of a run of `n`, see load_pack().
template <int V, typename T, typename I>
__device__ __forceinline__ Raw<T, V> load_raw(const T* run, I at, I n) {
  return at >= 0 && at + V <= n ? load_raw<V>(run + at) : raw(load_edge<V>(run, at, n));
}

}  // namespace gankit
