// The CUDA kernels of leaky ReLU, executed on the CPU, against a loop over (outer, channels, inner) in float64.
#include "cuda_shim.h"

#include <vector>

#include "../../csrc/cuda/leaky_relu_launch.cuh"
#include "check.h"

using namespace gankit;

namespace {

// `n` elements, the first `offset` elements after an aligned address, with NaN before; the buffer ends with the last
// one.
template <typename T>
struct Buffer {
  int64_t n, offset;
  std::vector<char> memory;
  Buffer(int64_t n_, int64_t offset_) : n(n_), offset(offset_), memory((n + offset) * sizeof(T)) {
    for (int64_t i = -offset; i < n; ++i) data()[i] = convert<T>(NAN);
  }
  T* data() { return reinterpret_cast<T*>(memory.data()) + offset; }
  double operator[](int64_t i) { return double(widen(data()[i])); }
};

struct Offsets {
  int64_t x, y, grad, dx;
};

template <typename T>
constexpr double kTolerance = std::is_same_v<T, double> ? 1e-14 : std::is_same_v<T, float> ? 1e-6
                              : std::is_same_v<T, __half> ? 1e-3 : 8e-3;

template <typename T, typename B>
void check(DType bias_dtype, int64_t outer, int64_t channels, int64_t inner, double slope, unsigned threads,
           Offsets at = {}) {
  using W = wide_t<T>;
  const int64_t total = outer * channels * inner, stride = 2;
  const ReluShape shape{total, channels, inner};
  Buffer<T> x(total, at.x), y(total, at.y), grad(total, at.grad), dx(total, at.dx);
  Buffer<B> bias(channels * stride - 1, 0);
  for (int64_t c = 0; c < channels; ++c) bias.data()[c * stride] = convert<B>(double(c % 7 - 3) / 4);
  for (int64_t i = 0; i < total; ++i) {
    x.data()[i] = convert<T>(double(i * 37 % 101 - 50) / 16.0);
    grad.data()[i] = convert<T>(double(i * 53 % 89 - 44) / 8.0);
  }
  launch_leaky_relu<T>(shape, x.data(), {bias.data(), bias_dtype, stride}, y.data(), W(slope), nullptr, threads);

  std::vector<char> memory;
  const auto scratch = [&](size_t bytes) {
    memory.assign(bytes, char(0xff));
    return memory.data();
  };
  std::vector<W> db(channels, W(NAN)), again(channels, W(NAN));
  launch_leaky_relu_backward<T>(shape, grad.data(), y.data(), dx.data(), db.data(), W(slope), nullptr, scratch, threads);
  std::vector<double> sums(channels), scales(channels);
  for (int64_t i = 0; i < total; ++i) {
    const int64_t c = i / inner % channels;
    const double v = x[i] + bias[c * stride], d = grad[i] * (v > 0 ? 1.0 : slope);
    CHECK_CLOSE(y[i], v > 0 ? v : v * slope, kTolerance<T>);
    CHECK_CLOSE(dx[i], d, kTolerance<T>);
    sums[c] += d;
    scales[c] += fabs(d);
  }
  for (int64_t c = 0; c < channels; ++c) {
    CHECK_CLOSE(db[c] / (1 + scales[c]), sums[c] / (1 + scales[c]), sizeof(W) == 8 ? 1e-15 : 3e-7);
  }

  // The same bits in whatever order threads come, and one gradient without the other (sums in another order where it is
  // the other's address that stood against packs).
  const std::vector<char> both = dx.memory;
  for (T* out : {dx.data(), static_cast<T*>(nullptr)}) {
    shim::reverse = !shim::reverse;
    launch_leaky_relu_backward<T>(shape, grad.data(), y.data(), out, again.data(), W(slope), nullptr, scratch, threads);
    shim::reverse = !shim::reverse;
    CHECK(dx.memory == both);
    if (out || at.dx == at.y) CHECK(memcmp(db.data(), again.data(), channels * sizeof(W)) == 0);
  }
  for (int64_t i = 0; i < total; ++i) dx.data()[i] = convert<T>(NAN);
  launch_leaky_relu_backward<T>(shape, grad.data(), y.data(), dx.data(), nullptr, W(slope), nullptr, scratch, threads);
  CHECK(dx.memory == both);
}

void check_shape(int64_t outer, int64_t channels, int64_t inner, unsigned threads = 64) {
  check<float, float>(DType::f32, outer, channels, inner, 0.2, threads);
  check<double, double>(DType::f64, outer, channels, inner, 0.0, threads);
  check<__half, float>(DType::f32, outer, channels, inner, 0.2, threads);
  check<__nv_bfloat16, __nv_bfloat16>(DType::bf16, outer, channels, inner, 0.2, threads);
}

void check_special_values() {
  const float values[] = {NAN, INFINITY, -INFINITY, 0.f, -0.f, 1e-40f, -1e-40f, 3e38f};
  for (const int64_t inner : {1, 400}) {
    Buffer<float> x(800, 0), y(800, 0);
    for (int64_t i = 0; i < 800; ++i) x.data()[i] = values[i % 8];
    const float zero[2] = {};
    launch_leaky_relu<float>({800, 2, inner}, x.data(), {zero, DType::f32, 1}, y.data(), 0.25f, nullptr, 64);
    for (int64_t i = 0; i < 800; ++i) {
      const float v = values[i % 8], expected = v > 0 ? v : v * 0.25f;
      CHECK(isnan(v) ? isnan(y.data()[i]) : y.data()[i] == expected);
    }
  }
}

}  // namespace

int main() {
#if defined(__SANITIZE_THREAD__)  // a thread costs it much: one shape of every kind
  check<float, float>(DType::f32, 2, 3, 515, 0.2, 64);
  check<double, double>(DType::f64, 100, 3, 1, 0.2, 64);
  check<float, float>(DType::f32, 70, 64, 1, 0.2, 128);
  check<float, float>(DType::f32, 5, 7, 31, 0.2, 64);
  return 0;
#endif
  // Long planes: odd, a whole number of packs, a part more than a warp's, several channels and samples.
  for (const int64_t inner : {900, 1024, 513, 2051, 515}) check_shape(2, 3, inner);
  check_shape(1, 1, 1);          // one channel is one plane, whatever its length
  check_shape(1, 1, 5003, 256);
  check_shape(3, 5, 257);
  // Short planes: channels_last with few, odd, and many channels; a few elements a plane; fewer rows than a pack has.
  check_shape(1000, 3, 1);
  check_shape(777, 64, 1, 256);
  check_shape(70, 130, 1);
  check_shape(3, 5, 1);
  check_shape(1, 1001, 1);
  check_shape(8, 100, 16);
  check_shape(5, 7, 31);
  check_shape(2, 33, 100);
  check_shape(1, 37, 49, 256);
  check_shape(6, 2, 127);
  // More partial sums than the few threads that add them up take at a time.
  check<float, float>(DType::f32, 70000, 8, 1, 0.2, 32);
  check<float, float>(DType::f32, 13, 2, 40100, 0.2, 32);
  // Tensors that begin an element, or several, into a pack, alike and not.
  for (const int64_t inner : {1, 6, 300, 513}) {
    for (const Offsets& at : {Offsets{1, 1, 1, 1}, {3, 0, 0, 0}, {0, 1, 2, 0}, {1, 1, 1, 0}, {2, 2, 2, 2}}) {
      check<float, double>(DType::f64, 4, 9, inner, 0.2, 64, at);
      check<__nv_bfloat16, __half>(DType::f16, 4, 9, inner, 0.2, 64, at);
    }
  }
  check_special_values();
  printf("leaky_relu on CUDA: %lld launches, %lld threads\n", (long long)shim::launches, (long long)shim::threads_run);
}
