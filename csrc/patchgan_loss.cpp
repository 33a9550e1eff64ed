// The binding of the PatchGAN losses' CPU kernel to torch: allocation, threads.
#include "common.h"
#include "cpu/patchgan_loss.h"
#include "patchgan_loss_plan.h"

#include <vector>

namespace gankit {
namespace {

constexpr int64_t kChunk = 8192;  // elements summed before the next partial sum

double mean_loss_of(const Tensor& logits, const PatchGANPlan& plan, size_t index, Tensor* grad) {
  PatchGANLossArgs args{
      .dtype = dtype_of(logits, "logits"), .kind = plan.kind, .target_or_sign = plan.target_or_sign(index)};
  args.total = logits.numel();
  args.chunk = kChunk;
  args.logits = logits.const_data_ptr();
  args.grad_scale = plan.grad_scale(args.dtype, args.total);
  args.grad = grad ? grad->mutable_data_ptr() : nullptr;
  const int64_t chunks = (args.total + kChunk - 1) / kChunk;
  Scratch<double, 16> partial(chunks);
  args.partial = partial.data;
  const auto kernel = patchgan_loss_best();
  parallel(chunks, kChunk, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  double sum = 0.0;
  for (int64_t k = 0; k < chunks; ++k) sum += args.partial[k];
  return plan.weight * sum / double(args.total);  // 0 / 0 for no logits at all: NaN, like torch's mean
}

std::tuple<Tensor, std::vector<Tensor>> patchgan_loss_forward_cpu(const std::vector<Tensor>& logits, int64_t kind,
                                                                     bool generator, bool with_grads) {
  GANKIT_CHECK(kind >= 0 && kind <= 3, "kind", "be 0 (lsgan), 1 (bce), 2 (hinge) or 3 (wgan)", kind);
  GANKIT_CHECK(!logits.empty() && (generator || logits.size() % 2 == 0), "logits",
               "hold at least one tensor, for the discriminator as many real as fake ones", logits.size(), " tensors");
  const PatchGANPlan plan(kind, generator, logits.size());
  double loss = 0.0;
  bool wide = false;
  std::vector<Tensor> grads;
  for (size_t i = 0; i < logits.size(); ++i) {
    const Tensor x = dense(logits[i]);
    if (with_grads) grads.push_back(empty_as(x));
    loss += mean_loss_of(x, plan, i, with_grads ? &grads.back() : nullptr);
    wide |= x.scalar_type() == ScalarType::Double;
  }
  const int32_t dtype = wide ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32();
  Tensor result = empty_strided(logits[0], nullptr, nullptr, 0, dtype);
  if (wide) {
    *static_cast<double*>(result.mutable_data_ptr()) = loss;
  } else {
    *static_cast<float*>(result.mutable_data_ptr()) = float(loss);
  }
  return {result, grads};
}

Tensor patchgan_loss_cpu(const std::vector<Tensor>& logits, int64_t kind, bool generator) {
  return std::get<0>(patchgan_loss_forward_cpu(logits, kind, generator, false));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gankit, CPU, m) {
  m.impl("patchgan_loss", TORCH_BOX(&patchgan_loss_cpu));
  m.impl("patchgan_loss_forward", TORCH_BOX(&patchgan_loss_forward_cpu));
}

}  // namespace gankit
