// instance_norm_act on CUDA, at the border to torch. Compiled, and not yet run on a device.
#include <array>
#include <mutex>

#include "../instance_norm_act_border.h"
#include "border.cuh"
#include "instance_norm_act.cuh"

namespace gankit {
namespace {

instance_norm_act::Device query(int index) {
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    cudaDeviceGetAttribute(&value, which, index);
    return value;
  };
  const bool clusters = attribute(cudaDevAttrComputeCapabilityMajor) >= 9 && attribute(cudaDevAttrClusterLaunch);
  return {attribute(cudaDevAttrMultiProcessorCount), clusters ? 8 : 1,
          attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}

// Asked for once a device.
const instance_norm_act::Device& device_of(const Tensor& t) {
  constexpr int kDevices = 64;
  static std::array<std::once_flag, kDevices> asked;
  static std::array<instance_norm_act::Device, kDevices> devices;
  const int index = t.get_device_index();
  GANKIT_CHECK(index >= 0 && index < kDevices, "x", "be on one of the first 64 devices", index);
  std::call_once(asked[index], [&] { devices[index] = query(index); });
  return devices[index];
}

void check_device(const std::optional<Tensor>& t, const char* name, const Tensor& x) {
  GANKIT_CHECK(!t || (t->is_cuda() && t->get_device_index() == x.get_device_index()), name, "be on the device of x",
               "one on another");
}

// Memory for the length of a call, from torch's allocator: kernels on the same stream may have it next.
struct Workspace {
  const Tensor& like;
  mutable std::optional<Tensor> memory;
  void* operator()(int64_t bytes) const {
    memory = empty_1d(like, (bytes + 7) / 8, aoti_torch_dtype_int64());
    return memory->mutable_data_ptr();
  }
};

std::tuple<Tensor, Tensor> instance_norm_act_cuda(const Tensor& x, const std::optional<Tensor>& weight,
                                                  const std::optional<Tensor>& bias,
                                                  const std::optional<Tensor>& residual, double negative_slope,
                                                  double eps) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  check_device(weight, "weight", x);
  check_device(bias, "bias", x);
  check_device(residual, "residual", x);
  return instance_norm_act_on(
      x, weight, bias, residual, negative_slope, eps, [](const InstanceNormActForward& args, const Tensor& like) {
        instance_norm_act::forward(args, device_of(like), stream_of(like), Workspace{like, {}});
        STD_CUDA_KERNEL_LAUNCH_CHECK();
      });
}

std::tuple<Tensor, Tensor, Tensor> instance_norm_act_backward_cuda(const Tensor& grad, const Tensor& x,
                                                                   const std::optional<Tensor>& weight,
                                                                   const std::optional<Tensor>& bias,
                                                                   const Tensor& stats, double negative_slope) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  check_device(weight, "weight", x);
  check_device(bias, "bias", x);
  check_device(grad, "grad", x);
  check_device(stats, "stats", x);
  return instance_norm_act_backward_on(
      grad, x, weight, bias, stats, negative_slope, [](const InstanceNormActBackward& args, const Tensor& like) {
        instance_norm_act::backward(args, device_of(like), stream_of(like), Workspace{like, {}});
        STD_CUDA_KERNEL_LAUNCH_CHECK();
      });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gankit, CUDA, m) {
  m.impl("instance_norm_act", TORCH_BOX(&instance_norm_act_cuda));
  m.impl("instance_norm_act_forward", TORCH_BOX(&instance_norm_act_cuda));
  m.impl("instance_norm_act_backward", TORCH_BOX(&instance_norm_act_backward_cuda));
}

}  // namespace gankit
