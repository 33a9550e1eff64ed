// The CPU kernels of instance_norm_act against sums in double, for every capability this machine has, layout and
// dtype. Arrays are exactly as long as they must be, so that a sanitizer sees a step beyond them.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cpu/instance_norm_act.h"

using namespace gankit;

namespace {

int failures = 0;

void run_serial(int64_t n, int64_t, Parallel::Body body, const void* context) {
  if (n > 0) body(context, 0, n);
}

void run_threads(int64_t n, int64_t, Parallel::Body body, const void* context) {
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < 3; ++i) {
    threads.emplace_back([=] {
      if (n * i / 3 < n * (i + 1) / 3) body(context, n * i / 3, n * (i + 1) / 3);
    });
  }
  for (auto& thread : threads) thread.join();
}

// -- elements of any dtype, by way of double --------------------------------------------------------------------------

size_t bytes_of(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }

double half_to_double(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double magnitude = exponent == 0    ? std::ldexp(mantissa, -24)
                           : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                            : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

double read(const void* data, int64_t i, DType dtype) {
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
void write(void* data, int64_t i, DType dtype, double value) {
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

struct Array {
  std::unique_ptr<char[]> data;
  DType dtype;
  int64_t size;
  Array(int64_t n, DType d) : data(new char[n * bytes_of(d)]), dtype(d), size(n) {}
  double operator[](int64_t i) const { return read(data.get(), i, dtype); }
  void fill(uint32_t seed, double scale, double shift) {
    uint64_t state = seed * 2654435761u + 1;
    for (int64_t i = 0; i < size; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      write(data.get(), i, dtype, (static_cast<double>(state >> 40) / (1 << 24) - 0.5) * scale + shift);
    }
  }
};

// -- one case ---------------------------------------------------------------------------------------------------------

struct Kernels {
  const char* name;
  void (*forward)(const InstanceNormActForward&, const Parallel&);
  void (*backward)(const InstanceNormActBackward&, const Parallel&);
};

void expect(double actual, double expected, double tolerance, const char* what, const std::string& where) {
  if (std::fabs(actual - expected) <= tolerance * (1 + std::fabs(expected))) return;
  if (++failures <= 20) std::printf("%s, %s: %.9g, expected %.9g\n", where.c_str(), what, actual, expected);
}

void check(const Kernels& kernels, const InstanceNormActShape& shape, double slope, bool residual,
           const Parallel& parallel) {
  const DType wide = shape.dtype == DType::f64 ? DType::f64 : DType::f32;
  const int64_t N = shape.batch, C = shape.channels, S = shape.spatial;
  Array x(N * C * S, shape.dtype), r(N * C * S, shape.dtype), dy(N * C * S, shape.dtype);
  Array y(N * C * S, shape.dtype), dx(N * C * S, shape.dtype), mean(N * C, wide), rstd(N * C, wide);
  const DType affine = shape.wide_affine ? wide : shape.dtype;
  Array weight(C, affine), bias(C, affine), dweight(C, affine), dbias(C, affine);
  x.fill(1, 4, 1);
  r.fill(2, 2, 0);
  dy.fill(3, 2, 0.25);
  weight.fill(4, 1, 1);
  bias.fill(5, 1, 0);
  const double eps = 1e-3;
  kernels.forward({shape, x.data.get(), weight.data.get(), bias.data.get(), residual ? r.data.get() : nullptr, slope,
                   eps, y.data.get(), mean.data.get(), rstd.data.get()},
                  parallel);
  kernels.backward({shape, dy.data.get(), x.data.get(), weight.data.get(), bias.data.get(), mean.data.get(),
                    rstd.data.get(), slope, dx.data.get(), dweight.data.get(), dbias.data.get()},
                   parallel);

  const std::string where = std::string(kernels.name) + " " + std::to_string(N) + "x" + std::to_string(C) + "x" +
                            std::to_string(S) + (shape.channels_last ? " channels_last" : " nchw") + " dtype " +
                            std::to_string(static_cast<int>(shape.dtype));
  const double tolerance = shape.dtype == DType::f64    ? 1e-12
                           : shape.dtype == DType::f32  ? 1e-5
                           : shape.dtype == DType::bf16 ? 1e-2
                                                        : 2e-3;
  const double wide_tolerance = shape.dtype == DType::f64 ? 1e-12 : 1e-5;
  for (int64_t c = 0; c < C; ++c) {
    double all_g = 0, all_gx = 0;
    for (int64_t n = 0; n < N; ++n) {
      const auto at = [&](int64_t s) { return shape.channels_last ? (n * S + s) * C + c : (n * C + c) * S + s; };
      double sum = 0, squares = 0, sum_g = 0, sum_gx = 0;
      for (int64_t s = 0; s < S; ++s) sum += x[at(s)];
      const double mu = S > 0 ? sum / S : 0;
      for (int64_t s = 0; s < S; ++s) squares += (x[at(s)] - mu) * (x[at(s)] - mu);
      const double inverse = 1 / std::sqrt((S > 0 ? squares / S : 0) + eps);
      expect(mean[n * C + c], mu, wide_tolerance, "mean", where);
      expect(rstd[n * C + c], inverse, wide_tolerance, "rstd", where);
      std::vector<double> g(S), hat(S);
      bool near_kink = false;  // where rounding decides which side of the activation an element is on
      for (int64_t s = 0; s < S; ++s) {
        hat[s] = (x[at(s)] - mu) * inverse;
        const double z = hat[s] * weight[c] + bias[c];
        near_kink |= std::fabs(z) < 1e-5 && slope != 1;
        expect(y[at(s)], (z > 0 ? z : z * slope) + (residual ? r[at(s)] : 0), tolerance, "y", where);
        g[s] = dy[at(s)] * (z > 0 ? 1 : slope);
        sum_g += g[s];
        sum_gx += g[s] * hat[s];
      }
      all_g += sum_g;
      all_gx += sum_gx;
      for (int64_t s = 0; s < S && !near_kink; ++s) {
        const double expected = weight[c] * inverse * (g[s] - sum_g / S - hat[s] * sum_gx / S);
        expect(dx[at(s)], expected, 4 * tolerance, "dx", where);
      }
      if (near_kink) all_g = NAN;
    }
    if (std::isnan(all_g)) continue;
    const double gathered = shape.dtype == DType::f64 ? 1e-10 : shape.wide_affine ? 1e-3 : 2e-2;
    expect(dweight[c], all_gx, gathered, "dweight", where);
    expect(dbias[c], all_g, gathered, "dbias", where);
  }
}

}  // namespace

int main() {
  std::vector<Kernels> all = {
      {"baseline", &baseline::instance_norm_act_forward, &baseline::instance_norm_act_backward}};
#if defined(__x86_64__)
  if (cpu_capability() >= Capability::avx2) {
    all.push_back({"avx2", &avx2::instance_norm_act_forward, &avx2::instance_norm_act_backward});
  }
  if (cpu_capability() >= Capability::avx512) {
    all.push_back({"avx512", &avx512::instance_norm_act_forward, &avx512::instance_norm_act_backward});
  }
#endif
  const int64_t sizes[][3] = {
      {1, 1, 2},          // the smallest plane there is
      {2, 3, 35},         // remainders everywhere
      {1, 17, 16},        // channels_last: sixteen pixels to a row
      {3, 64, 16},        // whole registers, tiny planes
      {1, 5, 3},          // channels_last: nothing but a tail
      {2, 16, 1000},      // several rows
      {1, 2, 40000},      // planes cut in segments, the last one short
      {2, 48, 2100},      // channels_last images of several segments and a tail
      {0, 3, 4}, {2, 0, 4}, {2, 3, 0},  // nothing at all
  };
  int64_t cases = 0;
  for (const Kernels& kernels : all) {
    for (const auto& size : sizes) {
      for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
        for (const bool channels_last : {false, true}) {
          for (const bool wide_affine : {true, false}) {
            if (!wide_affine && bytes_of(dtype) != 2) continue;
            const InstanceNormActShape shape{dtype, size[0], size[1], size[2], channels_last, wide_affine};
            check(kernels, shape, 0.2, true, {&run_serial, 1});
            check(kernels, shape, 1.0, false, {&run_threads, 3});
            cases += 2;
          }
        }
      }
    }
  }
  std::printf("%lld cases, %d failures\n", static_cast<long long>(cases), failures);
  return failures == 0 ? 0 : 1;
}
