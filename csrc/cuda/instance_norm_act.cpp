// The binding of instance_norm_act's CUDA kernels to torch.
#include "instance_norm_act.h"

#include <array>
#include <mutex>

#include "../instance_norm_act_binding.h"
#include "binding.cuh"

namespace gankit {
namespace {

// Queried once per device.
const instance_norm_act::Device& device_of(const Tensor& t) {
  constexpr int kDevices = 64;
  static std::array<std::once_flag, kDevices> queried;
  static std::array<instance_norm_act::Device, kDevices> devices;
  const int index = t.get_device_index();
  GANKIT_CHECK(index >= 0 && index < kDevices, "x", "be on one of the first 64 devices", index);
  std::call_once(queried[index], [&] { devices[index] = instance_norm_act::query_device(index); });
  return devices[index];
}

void check_device(const std::optional<Tensor>& t, const char* name, const Tensor& x) {
  GANKIT_CHECK(!t || (t->is_cuda() && t->get_device_index() == x.get_device_index()), name, "be on the device of x",
               "one on another");
}

template <class Args>
using Launcher = void (*)(const Args&, const instance_norm_act::Device&, cudaStream_t,
                          const instance_norm_act::Scratch&);

// Scratch memory comes from torch's allocator, which may hand it to the next kernel on the same stream.
template <class Args>
void run(Launcher<Args> launcher, const Args& args, const Tensor& like) {
  std::optional<Tensor> memory;
  launcher(args, device_of(like), stream_of(like), [&](size_t bytes) {
    memory = empty_1d(like, int64_t(bytes + 7) / 8, aoti_torch_dtype_int64());
    return memory->mutable_data_ptr();
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

std::tuple<Tensor, Tensor> instance_norm_act_cuda(const Tensor& x, const std::optional<Tensor>& weight,
                                                  const std::optional<Tensor>& bias,
                                                  const std::optional<Tensor>& residual, double negative_slope,
                                                  double eps) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  check_device(weight, "weight", x);
  check_device(bias, "bias", x);
  check_device(residual, "residual", x);
  return instance_norm_act_on(x, weight, bias, residual, negative_slope, eps,
                              [](const InstanceNormActForward& args, const Tensor& like) {
                                run(&instance_norm_act::forward, args, like);
                              });
}

// The op that the gradient is registered for; `from_output` concerns that gradient alone.
std::tuple<Tensor, Tensor> instance_norm_act_registered_cuda(const Tensor& x, const std::optional<Tensor>& weight,
                                                       const std::optional<Tensor>& bias,
                                                       const std::optional<Tensor>& residual, double negative_slope,
                                                       double eps, bool) {
  return instance_norm_act_cuda(x, weight, bias, residual, negative_slope, eps);
}

std::tuple<Tensor, Tensor, Tensor> instance_norm_act_backward_cuda(const Tensor& grad, const Tensor& known,
                                                                   const std::optional<Tensor>& weight,
                                                                   const std::optional<Tensor>& bias,
                                                                   const Tensor& stats, double negative_slope,
                                                                   bool from_output) {
  const torch::stable::accelerator::DeviceGuard guard(known.get_device_index());
  check_device(weight, "weight", known);
  check_device(bias, "bias", known);
  check_device(grad, "grad", known);
  check_device(stats, "stats", known);
  return instance_norm_act_backward_on(grad, known, weight, bias, stats, negative_slope, from_output,
                                       [](const InstanceNormActBackward& args, const Tensor& like) {
                                         run(&instance_norm_act::backward, args, like);
                                       });
}

std::tuple<Tensor, Tensor, Tensor> instance_norm_act_double_backward_cuda(
    const Tensor& v, const std::optional<Tensor>& v_weight, const std::optional<Tensor>& v_bias, const Tensor& grad,
    const Tensor& known, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, const Tensor& stats,
    double negative_slope, bool from_output) {
  const torch::stable::accelerator::DeviceGuard guard(known.get_device_index());
  check_device(v, "v", known);
  check_device(v_weight, "v_weight", known);
  check_device(v_bias, "v_bias", known);
  check_device(grad, "grad", known);
  check_device(weight, "weight", known);
  check_device(bias, "bias", known);
  check_device(stats, "stats", known);
  return instance_norm_act_double_backward_on(v, v_weight, v_bias, grad, known, weight, bias, stats, negative_slope,
                                              from_output, [](const InstanceNormActBackward& args, const Tensor& like) {
                                                run(&instance_norm_act::double_backward, args, like);
                                              });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gankit, CUDA, m) {
  m.impl("instance_norm_act", TORCH_BOX(&instance_norm_act_registered_cuda));
  m.impl("instance_norm_act_forward", TORCH_BOX(&instance_norm_act_cuda));
  m.impl("instance_norm_act_backward", TORCH_BOX(&instance_norm_act_backward_cuda));
  m.impl("instance_norm_act_double_backward", TORCH_BOX(&instance_norm_act_double_backward_cuda));
}

}  // namespace gankit
