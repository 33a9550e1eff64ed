// The CPU kernels of instance_norm_act against sums in double, for every capability this machine has, layout and
// dtype. Arrays are exactly as long as they must be, so that a sanitizer sees a step beyond them.
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "instance_norm_act_case.h"

using namespace gankit;

namespace {

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

struct Kernels {
  const char* name;
  void (*forward)(const InstanceNormActForward&, const Parallel&);
  void (*backward)(const InstanceNormActBackward&, const Parallel&);
};

void check(const Kernels& kernels, const InstanceNormActShape& shape, const Options& options,
           const Parallel& parallel) {
  check_case(
      kernels.name, shape, options,
      [&](const InstanceNormActForward& args) { kernels.forward(args, parallel); },
      [&](const InstanceNormActBackward& args) { kernels.backward(args, parallel); });
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
            check(kernels, shape, {}, {&run_serial, 1});
            check(kernels, shape, {.slope = 1, .residual = false}, {&run_threads, 3});
            check(kernels, shape, {.from_output = true}, {&run_threads, 3});
            check(kernels, shape, {.weight = false, .bias = false, .from_output = true}, {&run_serial, 1});
            cases += 4;
          }
        }
      }
    }
  }
  std::printf("%lld cases, %d failures\n", static_cast<long long>(cases), failures);
  return failures == 0 ? 0 : 1;
}
