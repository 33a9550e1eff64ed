// patchgan_loss at the border to torch: which term each tensor gets, weights, allocation, threads.
#include "common.h"
#include "cpu/patchgan_loss.h"

#include <vector>

namespace gankit {
namespace {

constexpr int64_t kChunk = 8192;  // elements summed before the next partial sum

// A tensor's part in the loss. Discriminator: real logits, then as many fake ones; generator: fake ones alone.
struct Role {
  bool real, generator;
};

double anchor_of(PatchGANKind kind, Role role) {
  const bool towards_real = role.real || role.generator;
  if (kind == PatchGANKind::lsgan) return towards_real ? 1.0 : 0.0;
  return towards_real ? -1.0 : 1.0;
}

double mean_loss_of(const Tensor& logits, PatchGANKind kind, Role role, double weight, Tensor* grad) {
  PatchGANLossArgs args{.dtype = dtype_of(logits, "logits"), .kind = kind, .anchor = anchor_of(kind, role)};
  args.total = logits.numel();
  args.chunk = kChunk;
  args.logits = logits.const_data_ptr();
  // float16 would lose 1 / numel among its subnormals: there half the slope is stored (lsgan's fits then for all logits),
  // and the caller weighs it when the gradient comes.
  args.grad_scale = args.dtype == DType::f16 ? 0.5 : weight / double(args.total);
  args.grad = grad ? grad->mutable_data_ptr() : nullptr;
  const int64_t chunks = (args.total + kChunk - 1) / kChunk;
  Scratch<double, 16> partial(chunks);
  args.partial = partial.data;
  const auto kernel = patchgan_loss_best();
  parallel(chunks, kChunk, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  double sum = 0.0;
  for (int64_t k = 0; k < chunks; ++k) sum += args.partial[k];
  return weight * sum / double(args.total);  // 0 / 0 for no logits at all: NaN, like torch's mean
}

std::tuple<Tensor, std::vector<Tensor>> patchgan_loss_forward_cpu(const std::vector<Tensor>& logits, int64_t kind,
                                                                     bool generator, bool with_grads) {
  GANKIT_CHECK(kind >= 0 && kind <= 3, "kind", "be 0 (lsgan), 1 (bce), 2 (hinge) or 3 (wgan)", kind);
  GANKIT_CHECK(!logits.empty() && (generator || logits.size() % 2 == 0), "logits",
               "hold at least one tensor, for the discriminator as many real as fake ones", logits.size(), " tensors");
  auto which = static_cast<PatchGANKind>(kind);
  if (which == PatchGANKind::hinge && generator) which = PatchGANKind::wgan;  // the same formula, -mean(f)
  const size_t scales = generator ? logits.size() : logits.size() / 2;
  // Of lsgan's discriminator loss each half counts 0.5.
  const double weight = (which == PatchGANKind::lsgan && !generator ? 0.5 : 1.0) / double(scales);
  double loss = 0.0;
  bool wide = false;
  std::vector<Tensor> grads;
  for (size_t i = 0; i < logits.size(); ++i) {
    const Tensor x = dense(logits[i]);
    if (with_grads) grads.push_back(empty_as(x));
    loss += mean_loss_of(x, which, {!generator && i < scales, generator}, weight, with_grads ? &grads.back() : nullptr);
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
