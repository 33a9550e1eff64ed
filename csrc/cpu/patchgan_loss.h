// The CPU loop of the PatchGAN losses, as the binding to torch and the C++ tests see it.
#pragma once

#include <stdint.h>

#include "../dtype.h"
#include "../patchgan_loss.h"
#include "capability.h"

namespace gankit {

// One tensor of logits, in the order of memory.
struct PatchGANLossArgs {
  DType dtype;
  PatchGANKind kind;
  double target_or_sign;  // lsgan: the target, 0 or 1; bce, hinge: the sign, -1 or 1
  const void* logits = nullptr;
  void* grad = nullptr;           // slope * grad_scale of each element, or null
  double grad_scale = 0.0;
  double* partial = nullptr;      // the sum of each chunk's values
  int64_t total = 0, chunk = 0;
};

// Runs over chunks, which do not depend on the number of threads, so neither does the sum.
GANKIT_DECLARE_KERNEL(patchgan_loss, PatchGANLossArgs)

}  // namespace gankit
