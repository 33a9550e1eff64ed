// One register of the vector unit a kernel is compiled for, as the compiler's own vector type: a formula written as a
// template takes a scalar or a register alike. `get` and `put` move one of either from and to memory of any element
// type; 16-bit values are widened to float on the way.
#pragma once

#include <stdint.h>

#include "simd.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"                // registers are passed to inlined functions only
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12 warns about its own AVX-512 intrinsics
#endif

namespace gankit::GANKIT_CPU_CAPABILITY {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class A, int kBytes = kVectorBytes>
struct VecOf {
  typedef A type __attribute__((vector_size(kBytes)));
};
template <class A>
using Vec = typename VecOf<A>::type;
using VecF = Vec<float>;
using VecD = Vec<double>;
using VecU = Vec<uint32_t>;

template <class A>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(A));

template <class V> constexpr bool kIsScalar = false;
template <> constexpr bool kIsScalar<float> = true;
template <> constexpr bool kIsScalar<double> = true;

// -- 16 bits to and from the lanes of a register of 32 ----------------------------------------------------------------

#if defined(__AVX512F__)
GANKIT_FORMULA __m256i load_16(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
GANKIT_FORMULA void store_16(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
GANKIT_FORMULA VecF widen_bf16(const void* p) { return (VecF)_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_16(p)), 16); }
GANKIT_FORMULA void store_low_16(void* p, VecU v) { store_16(p, _mm512_cvtepi32_epi16((__m512i)v)); }
GANKIT_FORMULA VecF widen_f16(const void* p) { return _mm512_cvtph_ps(load_16(p)); }
GANKIT_FORMULA void narrow_f16(void* p, VecF v) { store_16(p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
#elif defined(__AVX2__)
GANKIT_FORMULA __m128i load_16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
GANKIT_FORMULA void store_16(void* p, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
GANKIT_FORMULA VecF widen_bf16(const void* p) { return (VecF)_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(p)), 16); }
GANKIT_FORMULA void store_low_16(void* p, VecU v) {
  const __m256i packed = _mm256_packus_epi32((__m256i)v, (__m256i)v);  // within each half of the register
  store_16(p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}
GANKIT_FORMULA VecF widen_f16(const void* p) { return _mm256_cvtph_ps(load_16(p)); }
GANKIT_FORMULA void narrow_f16(void* p, VecF v) { store_16(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
#else
#if defined(__SSE2__)
GANKIT_FORMULA VecF widen_bf16(const void* p) {
  return (VecF)_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64(static_cast<const __m128i*>(p)));
}
GANKIT_FORMULA void store_low_16(void* p, VecU v) {
  const __m128i extended = _mm_srai_epi32(_mm_slli_epi32((__m128i)v, 16), 16);  // so that packing saturates nothing
  _mm_storel_epi64(static_cast<__m128i*>(p), _mm_packs_epi32(extended, extended));
}
#else
typedef uint16_t Vec16 __attribute__((vector_size(kVectorBytes / 2)));
GANKIT_FORMULA VecF widen_bf16(const void* p) {
  Vec16 bits;
  memcpy(&bits, p, sizeof(bits));
  return (VecF)(__builtin_convertvector(bits, VecU) << 16);
}
GANKIT_FORMULA void store_low_16(void* p, VecU v) {
  const Vec16 bits = __builtin_convertvector(v, Vec16);
  memcpy(p, &bits, sizeof(bits));
}
#endif
GANKIT_FORMULA VecF widen_f16(const void* p) {
  VecF v;
  for (int i = 0; i < kLanes<float>; ++i) v[i] = to_float(static_cast<const Float16*>(p)[i]);
  return v;
}
GANKIT_FORMULA void narrow_f16(void* p, VecF v) {
  for (int i = 0; i < kLanes<float>; ++i) from_float(v[i], static_cast<Float16*>(p) + i);
}
#endif

GANKIT_FORMULA void narrow_bf16(void* p, VecF v) {
  const VecU bits = (VecU)v;
  const VecU rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;  // to nearest, ties to even
  const VecU nan = VecU{} + 0x7fc0u;
  store_low_16(p, v == v ? rounded : nan);
}

// -- one V: a register, or the scalar that the end of a loop works with -----------------------------------------------

GANKIT_FORMULA float get_scalar(const float* p) { return *p; }
GANKIT_FORMULA double get_scalar(const double* p) { return *p; }
GANKIT_FORMULA float get_scalar(const BFloat16* p) { return to_float(*p); }
GANKIT_FORMULA float get_scalar(const Float16* p) { return to_float(*p); }
GANKIT_FORMULA void put_scalar(float* p, float v) { *p = v; }
GANKIT_FORMULA void put_scalar(double* p, double v) { *p = v; }
GANKIT_FORMULA void put_scalar(BFloat16* p, float v) { from_float(v, p); }
GANKIT_FORMULA void put_scalar(Float16* p, float v) { from_float(v, p); }

template <class A>
GANKIT_FORMULA Vec<A> get_vector(const A* p) {
  Vec<A> v;
  memcpy(&v, p, sizeof(v));
  return v;
}
GANKIT_FORMULA VecF get_vector(const BFloat16* p) { return widen_bf16(p); }
GANKIT_FORMULA VecF get_vector(const Float16* p) { return widen_f16(p); }
GANKIT_FORMULA void put_vector(float* p, VecF v) { memcpy(p, &v, sizeof(v)); }
GANKIT_FORMULA void put_vector(double* p, VecD v) { memcpy(p, &v, sizeof(v)); }
GANKIT_FORMULA void put_vector(BFloat16* p, VecF v) { narrow_bf16(p, v); }
GANKIT_FORMULA void put_vector(Float16* p, VecF v) { narrow_f16(p, v); }

template <class V, class T>
GANKIT_FORMULA V get(const T* p) {
  if constexpr (kIsScalar<V>) return get_scalar(p);
  else return get_vector(p);
}
template <class V, class T>
GANKIT_FORMULA void put(T* p, V v) {
  if constexpr (kIsScalar<V>) put_scalar(p, v);
  else put_vector(p, v);
}
// The same value in every lane.
template <class V, class A>
GANKIT_FORMULA V broadcast(A value) {
  if constexpr (kIsScalar<V>) return value;
  else return value - V{};
}

// Sum of the lanes, by halves: the order depends on the width only.
template <class A, int kBytes = kVectorBytes>
GANKIT_FORMULA A sum_lanes(typename VecOf<A, kBytes>::type v) {
  if constexpr (kBytes > 16) {
    typename VecOf<A, kBytes / 2>::type half[2];
    memcpy(half, &v, sizeof(v));
    return sum_lanes<A, kBytes / 2>(half[0] + half[1]);
  } else if constexpr (sizeof(A) == 8) {
    return v[0] + v[1];
  } else {
    return (v[0] + v[2]) + (v[1] + v[3]);
  }
}

}  // namespace gankit::GANKIT_CPU_CAPABILITY
