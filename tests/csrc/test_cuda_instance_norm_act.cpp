// The CUDA kernels of instance_norm_act, executed on the CPU, against sums in double: every way that a plan can take,
// in both orders of threads, for devices with and without clusters.
#include "cuda_shim.h"

#include "../../csrc/cuda/instance_norm_act_backward.cu"
#include "../../csrc/cuda/instance_norm_act_double_backward.cu"
#include "../../csrc/cuda/instance_norm_act_forward.cu"
#include "check.h"
#include "instance_norm_act_case.h"

using namespace gankit;
using namespace gankit::instance_norm_act;

namespace {

// Small ones, so that small tensors are split and spread; the last has all that a large tensor would want.
const Device kDevices[] = {{4, 16, 20000}, {2, 1, 20000}, {1, 8, 232448}};
const Footprint kKernels[] = {kForwardFootprint, kFootprint<RuntimeRule<Backward, float>>,
                              kFootprint<RuntimeRule<DoubleBackward, float>>};
int64_t cases = 0, by_lanes = 0, by_block = 0, by_cluster = 0, by_split = 0;
int64_t by_16[2][3] = {};  // clusters of 16: [rows, columns][kernel]

void note(const InstanceNormActShape& shape, Access access, int kernel, const Device& device) {
  if (shape.batch * shape.channels * shape.spatial == 0) return;
  const Plan plan = plan_of(shape, access, kKernels[kernel], device);
  by_16[shape.channels_last][kernel] += plan.cluster == 16;
  ++(plan.strategy == Strategy::lanes   ? by_lanes
     : plan.strategy == Strategy::split ? by_split
     : plan.cluster > 1                 ? by_cluster
                                        : by_block);
}

void check(const InstanceNormActShape& shape, const Options& o, const Device& device) {
  std::vector<std::unique_ptr<char[]>> memory;
  const auto scratch = [&](size_t bytes) -> void* {
    memory.emplace_back(new char[bytes]);
    memset(memory.back().get(), 0xff, bytes);
    return memory.back().get();
  };
  const int64_t run = shape.channels_last ? shape.channels : shape.spatial;
  const bool whole = o.offset == 0 && run % int64_t(16 / bytes_of(shape.dtype)) == 0;
  const bool scalar = shape.dtype == DType::f64 || o.offset != o.other_offset || (shape.channels_last && !whole);
  const Access access = scalar ? Access::scalar : whole ? Access::whole : Access::edges;
  for (const bool reverse : {false, true}) {
    shim::reverse = reverse;
    shim::max_cluster = unsigned(device.max_cluster);
    check_case(
        "cuda", shape, o, [&](const InstanceNormActForward& args) { forward(args, device, nullptr, scratch); },
        [&](const InstanceNormActBackward& args) {
          (args.v ? double_backward : backward)(args, device, nullptr, scratch);
        });
    for (int kernel = 0; kernel < 3; ++kernel) note(shape, access, kernel, device);
    ++cases;
  }
}

InstanceNormActShape shape_of(int64_t n, int64_t c, int64_t s, DType dtype, bool last, bool wide_affine = true) {
  return {dtype, n, c, s, last, wide_affine};
}

constexpr DType kDTypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16};
#if defined(__SANITIZE_THREAD__)
constexpr bool kBrief = true;  // it is slow, and learns nothing from the same kernels on other numbers
#else
constexpr bool kBrief = false;
#endif

void check_small(bool last) {
  const int64_t sizes[][3] = {
      {1, 1, 1},                              // one element: the op refuses it, the kernels need not
      {2, 3, 3},  {1, 5, 2},   {2, 130, 16},  // tiny planes, several in a warp, and warps with nothing to do
      {3, 3, 35}, {2, 8, 64},  {1, 5, 900},   // remainders, whole packs, 30 x 30
      {2, 3, 561}, {1, 2, 4096},              // 33 x 17; blocks, and clusters where planes are few
      {0, 3, 16}, {2, 0, 16},  {2, 3, 0},     // nothing at all
  };
  for (const auto& size : sizes) {
    for (const DType dtype : kDTypes) {
      const InstanceNormActShape shape = shape_of(size[0], size[1], size[2], dtype, last);
      if (kBrief) {
        if (dtype == DType::bf16) check(shape, {.offset = size[2] % 2, .from_output = size[1] % 2 == 0}, kDevices[0]);
        continue;
      }
      for (const Device& device : kDevices) check(shape, {}, device);
      check(shape, {.from_output = true}, kDevices[0]);
      check(shape, {.offset = 1, .other_offset = 1}, kDevices[0]);
      check(shape, {.offset = 2, .other_offset = 2, .from_output = true}, kDevices[1]);
      check(shape, {.slope = 1, .residual = false, .bias = false, .offset = 1}, kDevices[0]);
      check(shape, {.slope = 1, .weight = false, .offset = 1, .from_output = true}, kDevices[1]);
      check(shape, {.bias = false, .from_output = true, .nan_at = 0.6}, kDevices[2]);
      check(shape, {.slope = 0, .weight = false, .other_offset = 3}, kDevices[0]);
      check(shape, {.weight = false, .bias = false, .nan_at = 0.4}, kDevices[0]);
      if (bytes_of(dtype) == 2) check(shape_of(size[0], size[1], size[2], dtype, last, false), {}, kDevices[0]);
    }
  }
}

// Planes that are split between blocks, and clusters at their largest.
void check_large_rows() {
  if (kBrief) return check(shape_of(1, 1, 40001, DType::f32, false), {.from_output = true}, kDevices[1]);
  for (const Device& device : {kDevices[0], kDevices[1]}) {
    check(shape_of(1, 2, 40001, DType::f32, false), {}, device);
    check(shape_of(1, 2, 40000, DType::f32, false), {.residual = false}, device);
    check(shape_of(1, 1, 70000, DType::bf16, false), {.offset = 3, .other_offset = 3, .from_output = true}, device);
    check(shape_of(1, 2, 70000, DType::f16, false), {.nan_at = 0.9}, device);
    check(shape_of(2, 1, 20000, DType::f64, false), {.offset = 1}, device);
  }
}

// Where 8 blocks do not suffice: forward, backward and double backward in turn.
void check_clusters_of_16() {
  const Device& device = kDevices[0];
  check(shape_of(1, 1, 66000, DType::f16, false), {.offset = 1}, device);
  check(shape_of(1, 1, 34000, DType::bf16, false), {.offset = 1, .from_output = true}, device);
  check(shape_of(1, 1, 66000, DType::f32, false), {}, device);
  const Device more{8, 16, 20000};  // so that these images are still held
  check(shape_of(1, 8, 6000, DType::f32, true), {}, more);
  check(shape_of(1, 8, 3001, DType::f32, true), {.from_output = true}, more);
}

void check_large_columns() {
  if (kBrief) return check(shape_of(1, 5, 3001, DType::f32, true), {}, kDevices[1]);
  for (const Device& device : {kDevices[0], kDevices[1]}) {
    check(shape_of(2, 8, 3001, DType::f32, true), {}, device);
    check(shape_of(1, 40, 2500, DType::bf16, true), {.from_output = true}, device);
    check(shape_of(1, 3, 9001, DType::f16, true), {.offset = 3, .other_offset = 3}, device);
    check(shape_of(1, 33, 2000, DType::f64, true), {.nan_at = 0.9}, device);
  }
  check(shape_of(1, 8, 9000, DType::f32, true), {}, kDevices[2]);
  check(shape_of(2, 64, 1500, DType::bf16, true), {}, kDevices[2]);
}

// Statistics must not lose digits to a large mean, nor to an outlier where a plane begins.
void check_precision(bool last) {
  for (const int64_t spatial : {900, 40000}) {
    const InstanceNormActShape shape = shape_of(1, 2, spatial, DType::f32, last);
    Array x(2 * spatial, DType::f32), y(2 * spatial, DType::f32), mean(2, DType::f32), rstd(2, DType::f32);
    for (const double offset : {1e3, 1e5}) {
      x.fill(7, 4, offset);
      std::vector<std::unique_ptr<char[]>> memory;
      const InstanceNormActForward args{shape,    x.data(), nullptr,     nullptr,    nullptr,
                                        1.0,      1e-5,     y.data(),    mean.data(), rstd.data()};
      for (const Device& device : kDevices) {
        shim::max_cluster = unsigned(device.max_cluster);
        forward(args, device, nullptr, [&](size_t bytes) -> void* {
          memory.emplace_back(new char[bytes]);
          return memory.back().get();
        });
        for (int c = 0; c < 2; ++c) {
          double sum = 0, squares = 0;
          const auto at = [&](int64_t s) { return last ? s * 2 + c : c * spatial + s; };
          for (int64_t s = 0; s < spatial; ++s) sum += x[at(s)];
          for (int64_t s = 0; s < spatial; ++s) squares += std::pow(x[at(s)] - sum / double(spatial), 2);
          expect(mean[c], sum / double(spatial), 6.1e-8, "mean", "far from zero");
          const double deviation = std::sqrt(squares / double(spatial) + 1e-5);
          expect(rstd[c] * deviation, 1, 1e-6 + 4e-10 * offset, "rstd", "far from zero");
        }
      }
    }
  }
}

}  // namespace

int main() {
  for (const bool last : {false, true}) {
    check_small(last);
    if (!kBrief) check_precision(last);
  }
  check_large_rows();
  check_large_columns();
  if (kBrief) {
    check(shape_of(1, 16, 500, DType::bf16, true), {.from_output = true}, kDevices[1]);
  } else {
    check_clusters_of_16();
  }
  std::printf("%lld cases, %d failures; %lld lanes, %lld block, %lld cluster, %lld split; largest cluster %lld\n",
              (long long)cases, failures, (long long)by_lanes, (long long)by_block, (long long)by_cluster,
              (long long)by_split, (long long)shim::largest_cluster);
  CHECK(by_lanes > 0 && by_block > 0 && by_cluster > 0 && by_split > 0);
  for (const bool columns : {false, true}) {
    for (int kernel = 0; kernel < (columns ? 2 : 3); ++kernel) CHECK(kBrief || by_16[columns][kernel] > 0);
  }

  return failures == 0 ? 0 : 1;
}
