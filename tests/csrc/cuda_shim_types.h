// The toolkit's types that kernels use, as plain structs: vectors, half and bfloat16 with rounding to nearest even.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __half {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 v) {
  const uint32_t bits = uint32_t{v.bits} << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

inline __nv_bfloat16 __float2bfloat16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (value != value) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

inline float __half2float(__half v) {
  const int exponent = (v.bits >> 10) & 31, mantissa = v.bits & 1023;
  const float magnitude = exponent == 0    ? ldexpf(float(mantissa), -24)
                          : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                           : ldexpf(float(1024 + mantissa), exponent - 25);
  return v.bits & 0x8000 ? -magnitude : magnitude;
}

inline __half __float2half(float value) {
  const uint16_t sign = signbit(value) ? 0x8000 : 0;
  const float a = fabsf(value);
  if (value != value) return {0x7fff};
  if (a >= 65520.f) return {static_cast<uint16_t>(sign | 0x7c00)};
  if (a < ldexpf(1, -14)) return {static_cast<uint16_t>(sign | int(nearbyintf(ldexpf(a, 24))))};  // subnormal
  int exponent;
  const float fraction = frexpf(a, &exponent);  // a = fraction * 2^exponent, fraction in [0.5, 1)
  const int rounded = int(nearbyintf(ldexpf(fraction, 11)));  // 1024 to 2048: a carry goes into the exponent
  return {static_cast<uint16_t>(sign | (((exponent + 14) << 10) + rounded - 1024))};
}
