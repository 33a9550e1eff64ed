// What the CPU kernels share: element types, and half <-> float conversion by blocks.
//
// float and double are computed on directly. bfloat16 and float16 go through a block of floats on the stack that stays
// in the first-level cache: the arithmetic is written once, and always runs in float.
#pragma once

#include <stdint.h>
#include <string.h>

#include "../dtype.h"
#include "../portable.h"
#include "capability.h"

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace gankit::GANKIT_CPU_CAPABILITY {

struct BFloat16 { uint16_t bits; };
struct Float16 { uint16_t bits; };

template <typename T> struct Compute { using type = float; };
template <> struct Compute<double> { using type = double; };
template <typename T> using compute_t = typename Compute<T>::type;

constexpr int64_t kBlock = 512;  // elements a staged block holds: 2 KiB of floats

GANKIT_FORMULA float as_float(uint32_t bits) { float f; memcpy(&f, &bits, 4); return f; }
GANKIT_FORMULA uint32_t as_bits(float f) { uint32_t bits; memcpy(&bits, &f, 4); return bits; }

GANKIT_FORMULA float to_float(BFloat16 v) { return as_float(uint32_t(v.bits) << 16); }
GANKIT_FORMULA float to_float(Float16 v) {
  const uint32_t sign = uint32_t(v.bits & 0x8000) << 16, rest = uint32_t(v.bits & 0x7fff) << 13;
  // Rescaling by 2^112 puts the exponent right, for subnormals too; Inf and NaN get the top exponent by hand.
  const float scaled = as_float(rest) * as_float(0x77800000);
  const uint32_t bits = rest >= 0x0f800000 ? (rest | 0x7f800000) : as_bits(scaled);
  return as_float(bits | sign);
}

// Round to nearest, ties to even; NaN stays a (quiet) NaN.
GANKIT_FORMULA void from_float(float f, BFloat16* out) {
  const uint32_t bits = as_bits(f);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  out->bits = uint16_t((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}
GANKIT_FORMULA void from_float(float f, Float16* out) {
  const uint32_t bits = as_bits(f), magnitude = bits & 0x7fffffff, sign = (bits >> 16) & 0x8000;
  // Subnormal halves: adding 0.5 lets the float unit do the rounding at the right bit.
  const uint32_t small = as_bits(as_float(magnitude) + 0.5f) - 0x3f000000;
  const uint32_t normal = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  const uint32_t finite = magnitude < 0x38800000 ? small : normal;
  const uint32_t special = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
  out->bits = uint16_t(sign | (magnitude >= 0x477ff000 ? special : finite));
}

// A block as floats: the tensor itself for float and double, a converted copy in `buffer` for halves.
GANKIT_FORMULA const float* load(const float* src, float*, int64_t) { return src; }
GANKIT_FORMULA const double* load(const double* src, double*, int64_t) { return src; }
GANKIT_FORMULA const float* load(const BFloat16* src, float* buffer, int64_t n) {
  for (int64_t i = 0; i < n; ++i) buffer[i] = to_float(src[i]);
  return buffer;
}
GANKIT_FORMULA const float* load(const Float16* src, float* buffer, int64_t n) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16) {
    _mm512_storeu_ps(buffer + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)(src + i))));
  }
#elif defined(__F16C__)
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(buffer + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(src + i))));
#endif
  for (; i < n; ++i) buffer[i] = to_float(src[i]);
  return buffer;
}

// Where a block's results go before `store`: the tensor itself, or the buffer.
GANKIT_FORMULA float* target(float* dst, float*) { return dst; }
GANKIT_FORMULA double* target(double* dst, double*) { return dst; }
GANKIT_FORMULA float* target(BFloat16*, float* buffer) { return buffer; }
GANKIT_FORMULA float* target(Float16*, float* buffer) { return buffer; }

GANKIT_FORMULA void store(float*, const float*, int64_t) {}
GANKIT_FORMULA void store(double*, const double*, int64_t) {}
GANKIT_FORMULA void store(BFloat16* dst, const float* buffer, int64_t n) {
  for (int64_t i = 0; i < n; ++i) from_float(buffer[i], dst + i);
}
GANKIT_FORMULA void store(Float16* dst, const float* buffer, int64_t n) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16) {
    _mm256_storeu_si256((__m256i*)(dst + i), _mm512_cvtps_ph(_mm512_loadu_ps(buffer + i), _MM_FROUND_TO_NEAREST_INT));
  }
#elif defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128((__m128i*)(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(buffer + i), _MM_FROUND_TO_NEAREST_INT));
  }
#endif
  for (; i < n; ++i) from_float(buffer[i], dst + i);
}

GANKIT_FORMULA int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
GANKIT_FORMULA int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace gankit::GANKIT_CPU_CAPABILITY
