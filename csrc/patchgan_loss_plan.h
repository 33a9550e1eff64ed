// Which term each tensor of logits gets, and with which weight: what the launchers of all devices agree on.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "patchgan_loss.h"

namespace gankit {

// Discriminator: real logits, then as many fake ones; generator: fake ones alone.
struct PatchGANPlan {
  PatchGANKind kind;
  bool generator;
  size_t scales;
  double weight;  // of the mean over one tensor

  PatchGANPlan(int64_t kind_, bool generator_, size_t tensors)
      : kind(static_cast<PatchGANKind>(kind_)), generator(generator_), scales(generator_ ? tensors : tensors / 2) {
    if (kind == PatchGANKind::hinge && generator) kind = PatchGANKind::wgan;  // the same formula, -mean(f)
    // Of lsgan's discriminator loss each half counts 0.5.
    weight = (kind == PatchGANKind::lsgan && !generator ? 0.5 : 1.0) / double(scales);
  }

  // lsgan: the target; else the sign.
  double target_or_sign(size_t tensor) const {
    const bool towards_real = generator || tensor < scales;
    if (kind == PatchGANKind::lsgan) return towards_real ? 1.0 : 0.0;
    return towards_real ? -1.0 : 1.0;
  }

  // What a slope is stored with. float16 would lose 1 / numel among its subnormals: there half the slope is stored
  // (lsgan's fits then for all logits), and the caller weighs it when the gradient comes.
  double grad_scale(DType dtype, int64_t numel) const {
    return dtype == DType::f16 ? 0.5 : weight / double(numel);
  }
};

}  // namespace gankit
