// The memory traffic of the CUDA kernels, counted as they are executed on the CPU: passes over memory, and how much of
// the sectors that warps touch they use. The plans are those of an H200. Prints a table.
#include "cuda_shim.h"

#include <string>
#include <vector>

#include "../../csrc/cuda/instance_norm_act_backward.cu"
#include "../../csrc/cuda/instance_norm_act_double_backward.cu"
#include "../../csrc/cuda/instance_norm_act_forward.cu"
#include "../../csrc/cuda/leaky_relu_launch.cuh"
#include "../../csrc/cuda/patchgan_loss.cuh"
#include "arrays.h"
#include "check.h"
#include "cuda_shim_traffic.h"

using namespace gankit;

namespace {

const instance_norm_act::Device kH200{132, 16, 232448};

// Aligned as torch's allocator does it.
struct Tensor {
  size_t bytes;
  std::unique_ptr<char, decltype(&free)> memory;
  explicit Tensor(size_t bytes_)
      : bytes(bytes_), memory(static_cast<char*>(aligned_alloc(512, (bytes + 511) / 512 * 512)), &free) {
    memset(memory.get(), 0, bytes);
  }
  char* data() const { return memory.get(); }
};

// What a call takes for its sums, zeroed.
struct Memory {
  mutable std::vector<std::unique_ptr<char[]>> pieces;
  void* operator()(size_t bytes, size_t = 0) const {
    pieces.emplace_back(new char[bytes]());
    return pieces.back().get();
  }
};

const char* name_of(DType dtype) {
  return dtype == DType::f64 ? "f64" : dtype == DType::f32 ? "f32" : dtype == DType::bf16 ? "bf16" : "f16";
}

// Runs `kernel` and checks: every byte of `in` is read `times` times, or once where it is one of the first `once`;
// every byte of `out` is written once.
template <class Kernel>
void count(const std::string& what, const std::vector<const Tensor*>& in, const std::vector<const Tensor*>& out,
           size_t once, int times, double least_efficiency, const Kernel& kernel) {
  shim::Traffic traffic;
  for (const Tensor* t : in) traffic.watch(t->data(), t->bytes);
  for (const Tensor* t : out) traffic.watch(t->data(), t->bytes);
  kernel();
  const size_t passes = once + (in.size() - once) * size_t(times);
  for (size_t i = 0; i < in.size(); ++i) {
    CHECK(traffic.reads(in[i]->data()) == (i < once ? 1 : times) && traffic.writes(in[i]->data()) == 0);
  }
  for (const Tensor* t : out) CHECK(traffic.writes(t->data()) == 1 && traffic.reads(t->data()) == 0);
  CHECK(traffic.read.bytes == int64_t(passes * in[0]->bytes));
  CHECK(traffic.written.bytes == int64_t(out.size() * in[0]->bytes));
  const double read = traffic.read.efficiency(), written = traffic.written.efficiency();
  printf("| %s | %zu | %zu | %.1f %% | %.1f %% |\n", what.c_str(), passes, out.size(), 100 * read,
         100 * written);
  CHECK(read >= least_efficiency && written >= least_efficiency);
}

std::string strategy_of(const instance_norm_act::Plan& plan) {
  using instance_norm_act::Strategy;
  if (plan.strategy == Strategy::split) return "split in " + std::to_string(plan.parts);
  if (plan.strategy == Strategy::lanes) return std::to_string(plan.width) + (plan.width > 1 ? " lanes" : " lane");
  return plan.cluster == 1 ? "block" : "cluster of " + std::to_string(plan.cluster);
}

void instance_norm(int64_t channels, int64_t height, int64_t width, DType dtype, bool last, double least,
                   const instance_norm_act::Device& device = kH200) {
  using namespace instance_norm_act;
  const int64_t spatial = height * width;
  const InstanceNormActShape shape{dtype, 1, channels, spatial, last, true};
  const size_t bytes = size_t(channels * spatial) * bytes_of(dtype);
  const Tensor x(bytes), y(bytes), dy(bytes), v(bytes), dx(bytes), grad_dy(bytes);
  const Tensor mean(size_t(channels) * 4), rstd(size_t(channels) * 4), dweight(size_t(channels) * 4);
  Memory memory;
  const Scratch scratch = [&](size_t size) { return memory(size); };
  const bool packs = (last ? channels : spatial) * int64_t(bytes_of(dtype)) % 16 == 0;
  const Access access = packs ? Access::whole : last ? Access::scalar : Access::edges;
  const auto row = [&](const char* op, const Plan& plan) {
    return std::string(op) + " | " + strategy_of(plan) + " | 1x" + std::to_string(channels) + "x" + std::to_string(height) +
           "x" + std::to_string(width) + (last ? " | channels_last | " : " | NCHW | ") + name_of(dtype);
  };
  const auto once = [&](const Plan& plan, size_t arrays) { return plan.strategy == Strategy::split ? 0 : arrays; };

  const InstanceNormActForward f{shape, x.data(), nullptr,  nullptr,     nullptr,
                                 0.2,   1e-5,     y.data(), mean.data(), rstd.data()};
  Plan plan = plan_of(shape, access, kForwardFootprint, device);
  count(row("forward", plan), {&x}, {&y}, once(plan, 1), 2, least, [&] { forward(f, device, nullptr, scratch); });

  InstanceNormActBackward b{shape, x.data(), dy.data(), nullptr, nullptr, mean.data(), rstd.data(), 0.2, false,
                            dx.data(), dweight.data(), nullptr};
  plan = plan_of(shape, access, kFootprint<RuntimeRule<Backward, float>>, device);
  count(row("backward", plan), {&x, &dy}, {&dx}, once(plan, 2), 2, least, [&] { backward(b, device, nullptr, scratch); });
  b.known = y.data();
  b.from_output = true;
  b.v = v.data();
  b.grad_dy = grad_dy.data();
  plan = plan_of(shape, access, kFootprint<RuntimeRule<DoubleBackward, float>>, device);
  count(row("double backward", plan), {&y, &dy, &v}, {&dx, &grad_dy}, once(plan, 3), 2, least,
        [&] { double_backward(b, device, nullptr, scratch); });
}

template <class T>
void relu(int64_t channels, int64_t inner, const std::string& where, double least) {
  const int64_t total = channels * inner;
  const bool last = inner == 1;
  const ReluShape shape{last ? 900 * channels : total, channels, inner};
  const size_t bytes = size_t(shape.total) * sizeof(T);
  const Tensor x(bytes), y(bytes), grad(bytes), dx(bytes), bias(size_t(channels) * 4), db(size_t(channels) * 4);
  Memory memory;
  const auto at = [](const Tensor& t) { return reinterpret_cast<T*>(t.data()); };
  const ReluBias biases{bias.data(), DType::f32, 1};
  count("leaky_relu forward | " + where, {&x}, {&y}, 1, 1, least,
        [&] { launch_leaky_relu<T>(shape, at(x), biases, at(y), 0.2f, nullptr); });
  auto* sums = reinterpret_cast<float*>(db.data());
  count("leaky_relu backward | " + where, {&grad, &y}, {&dx}, 2, 1, least, [&] {
    launch_leaky_relu_backward<T>(shape, at(grad), at(y), at(dx), sums, 0.2f, nullptr, memory);
  });
}

void patchgan(int64_t numel, DType dtype, double least) {
  const size_t bytes = size_t(numel) * bytes_of(dtype);
  const Tensor real(bytes), fake(bytes), of_real(bytes), of_fake(bytes);
  Memory memory;
  float loss = 0;
  const std::vector<PatchGANLogits> logits{{dtype, real.data(), of_real.data(), numel},
                                           {dtype, fake.data(), of_fake.data(), numel}};
  count("patchgan_loss | blocks | 2 of " + std::to_string(numel) + " | - | " + name_of(dtype), {&real, &fake},
        {&of_real, &of_fake}, 2, 1, least,
        [&] { patchgan_loss(PatchGANPlan(0, false, 2), logits, &loss, false, nullptr, memory); });
}

}  // namespace

int main() {
  printf("| op | who takes a plane | shape | layout | dtype | passes read | written | sectors used, read | written |\n"
         "|---|---|---|---|---|---|---|---|---|\n");
  for (const DType dtype : {DType::f32, DType::bf16}) {
    instance_norm(4, 16, 16, dtype, false, 1);
    instance_norm(4, 64, 64, dtype, false, 1);
    instance_norm(4, 30, 30, dtype, false, 0.9);
    instance_norm(4, 33, 17, dtype, false, 0.9);
    instance_norm(64, 30, 30, dtype, true, 1);
    instance_norm(64, 64, 64, dtype, true, 1);
#if !defined(__SANITIZE_THREAD__)  // it makes a stack for every thread anew
    instance_norm(4, 256, 256, dtype, false, 1);
    instance_norm(16, 200, 200, dtype, true, 1);  // held by 8 blocks, by 16, and split
#endif
  }
#if !defined(__SANITIZE_THREAD__)
  instance_norm(1, 512, 512, DType::f32, false, 1);  // likewise
  instance_norm(1, 768, 768, DType::f32, false, 1);  // split
  instance_norm(1, 767, 769, DType::f32, false, 0.9);
  instance_norm(8, 352, 352, DType::f32, true, 1);
#endif
  relu<float>(4, 4096, "warps | 1x4x64x64 | NCHW | f32", 1);
  relu<float>(4, 561, "warps | 1x4x33x17 | NCHW | f32", 0.9);
  relu<__nv_bfloat16>(4, 900, "warps | 1x4x30x30 | NCHW | bf16", 0.9);
  relu<__nv_bfloat16>(64, 1, "rows | 1x64x30x30 | channels_last | bf16", 1);
  patchgan(900, DType::f32, 0.9);
  patchgan(20000, DType::bf16, 0.9);
}
