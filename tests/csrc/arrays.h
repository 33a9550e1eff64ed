// Arrays of any dtype for the kernels' tests, read and written as double.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>

#include "../../csrc/dtype.h"

using gankit::DType;

inline size_t bytes_of(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }

inline double half_to_double(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double magnitude = exponent == 0    ? std::ldexp(mantissa, -24)
                           : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                            : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

inline double read(const void* data, int64_t i, DType dtype) {
  switch (dtype) {
    case DType::f64: return static_cast<const double*>(data)[i];
    case DType::f32: return static_cast<const float*>(data)[i];
    case DType::bf16: {
      const uint32_t bits = uint32_t{static_cast<const uint16_t*>(data)[i]} << 16;
      float value;
      std::memcpy(&value, &bits, 4);
      return value;
    }
    case DType::f16: return half_to_double(static_cast<const uint16_t*>(data)[i]);
  }
  return NAN;
}

// Truncates: the kernels are then given, and compared on, what is stored.
inline void write(void* data, int64_t i, DType dtype, double value) {
  switch (dtype) {
    case DType::f64: static_cast<double*>(data)[i] = value; return;
    case DType::f32: static_cast<float*>(data)[i] = static_cast<float>(value); return;
    case DType::bf16: {
      const float single = static_cast<float>(value);
      uint32_t bits;
      std::memcpy(&bits, &single, 4);
      static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(bits >> 16);
      return;
    }
    case DType::f16: {
      int exponent = 0;
      const double fraction = std::frexp(std::fabs(value), &exponent);  // value = fraction * 2^exponent
      const auto mantissa = static_cast<uint16_t>(static_cast<int>(fraction * 2048) & 1023);
      const uint16_t sign = value < 0 ? 0x8000 : 0;
      static_cast<uint16_t*>(data)[i] =
          value == 0 || exponent < -13 ? sign : static_cast<uint16_t>(sign | ((exponent + 14) << 10) | mantissa);
      return;
    }
  }
}

// Exactly as long as it must be, so that a sanitizer sees a step beyond; `offset` elements from 16 bytes' alignment.
struct Array {
  std::unique_ptr<char[]> memory;
  DType dtype;
  int64_t size;
  size_t skipped;
  Array(int64_t n, DType d, int64_t offset = 0)
      : memory(new char[(n + offset) * bytes_of(d)]), dtype(d), size(n), skipped(offset * bytes_of(d)) {
    std::memset(memory.get(), 0xff, (n + offset) * bytes_of(d));  // NaN: what is not written shows
  }
  char* data() const { return memory.get() + skipped; }
  double operator[](int64_t i) const { return read(data(), i, dtype); }
  void set(int64_t i, double value) { write(data(), i, dtype, value); }
  void fill(uint32_t seed, double scale, double shift) {
    uint64_t state = seed * 2654435761u + 1;
    for (int64_t i = 0; i < size; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      set(i, (static_cast<double>(state >> 40) / (1 << 24) - 0.5) * scale + shift);
    }
  }
};
