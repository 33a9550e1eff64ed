// The binding of the PatchGAN losses' CUDA kernel to torch. The kernel is in patchgan_loss.cuh.
#include <tuple>
#include <vector>

#include "../common.h"
#include "binding.cuh"
#include "patchgan_loss.cuh"

namespace gankit {
namespace {

std::tuple<Tensor, std::vector<Tensor>> patchgan_loss_forward_cuda(const std::vector<Tensor>& logits, int64_t kind,
                                                                      bool generator, bool with_grads) {
  GANKIT_CHECK(kind >= 0 && kind <= 3, "kind", "be 0 (lsgan), 1 (bce), 2 (hinge) or 3 (wgan)", kind);
  GANKIT_CHECK(!logits.empty() && (generator || logits.size() % 2 == 0), "logits",
               "hold at least one tensor, for the discriminator as many real as fake ones", logits.size(), " tensors");
  const torch::stable::accelerator::DeviceGuard guard(logits[0].get_device_index());
  std::vector<Tensor> kept, grads;  // kept: dense copies, which live until the kernel is on its stream
  std::vector<PatchGANLogits> tensors;
  bool wide = false;
  for (const Tensor& given : logits) {
    GANKIT_CHECK(given.is_cuda() && given.get_device_index() == logits[0].get_device_index(), "logits",
                 "be on one device", "several");
    kept.push_back(dense(given));
    const Tensor& x = kept.back();
    if (with_grads) grads.push_back(empty_as(x));
    tensors.push_back({dtype_of(x, "logits"), x.const_data_ptr(), with_grads ? grads.back().mutable_data_ptr() : nullptr,
                       x.numel()});
    wide |= tensors.back().dtype == DType::f64;
  }
  const int32_t dtype = wide ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32();
  Tensor result = empty_strided(logits[0], nullptr, nullptr, 0, dtype);
  const cudaStream_t stream = stream_of(logits[0]);
  std::vector<Tensor> memory;
  const auto scratch = [&](size_t bytes, size_t zeroed) {
    memory.push_back(empty_1d(logits[0], int64_t(bytes), aoti_torch_dtype_uint8()));
    void* data = memory.back().mutable_data_ptr();
    if (zeroed) STD_CUDA_CHECK(cudaMemsetAsync(data, 0, zeroed, stream));
    return data;
  };
  patchgan_loss(PatchGANPlan(kind, generator, logits.size()), tensors, result.mutable_data_ptr(), wide, stream, scratch);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return {result, grads};
}

Tensor patchgan_loss_cuda(const std::vector<Tensor>& logits, int64_t kind, bool generator) {
  return std::get<0>(patchgan_loss_forward_cuda(logits, kind, generator, false));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gankit, CUDA, m) {
  m.impl("patchgan_loss", TORCH_BOX(&patchgan_loss_cuda));
  m.impl("patchgan_loss_forward", TORCH_BOX(&patchgan_loss_forward_cuda));
}

}  // namespace gankit
