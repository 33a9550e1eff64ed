// The CPU loops of leaky ReLU, as the binding to torch and the C++ tests see them.
#pragma once

#include <stdint.h>

#include "../dtype.h"
#include "capability.h"

namespace gankit {

// Elements lie in memory as (outer, channels, inner), so channels repeat with the period channels * inner. Long planes
// are walked plane by plane. Those shorter than a register (inner < kShortPlane; channels_last is inner = 1) are walked
// a period at a time, several periods glued together where one is shorter than a few registers.
constexpr int64_t kShortPlane = 16;

struct LeakyReluArgs {
  DType dtype;
  const void* x = nullptr;     // forward: the input
  const void* y = nullptr;     // backward: the forward's result
  const void* grad = nullptr;  // backward: dL/dy
  void* out = nullptr;         // forward: y; backward: dL/dx, or null if not wanted
  const void* bias = nullptr;  // forward: one value a channel, or `period` values for short planes; type of the sums
  void* partial = nullptr;     // backward: sums by chunk, `period` each for short planes, else one
  int64_t total = 0, channels = 0, inner = 0;
  bool short_planes = false;
  int64_t period = 0;            // short planes: a multiple of channels * inner
  int64_t chunk = 0;             // backward: elements a chunk; a multiple of the period, or a piece of one plane
  int64_t chunks_per_plane = 0;  // backward, long planes
  double slope = 0.0;
};

// Forward runs over elements in the order of memory, backward over chunks. Sums are in float (double for f64). Chunks
// do not depend on the number of threads, so neither do the sums.
GANKIT_DECLARE_KERNEL(leaky_relu_forward, LeakyReluArgs)
GANKIT_DECLARE_KERNEL(leaky_relu_backward, LeakyReluArgs)

}  // namespace gankit
