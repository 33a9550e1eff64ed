// What the kernels of instance_norm_act are given, on the CPU and on CUDA.
#pragma once

#include <stdint.h>

#include "dtype.h"

namespace gankit {

// [batch, channels, spatial], in memory [batch, spatial, channels] where channels_last.
// x, dy, residual, y, dx, v, grad_dy are of `dtype`; mean and rstd of the type computed in: float, or double for f64;
// weight, bias, their gradients and v_weight, v_bias too where wide_affine, else of `dtype`.
struct InstanceNormActShape {
  DType dtype;
  int64_t batch, channels, spatial;
  bool channels_last, wide_affine;
};

struct InstanceNormActForward {
  InstanceNormActShape shape;
  const void* x;
  const void* weight;    // [channels] or null
  const void* bias;      // [channels] or null
  const void* residual;  // like x, or null
  double negative_slope, eps;
  void* y;
  void* mean;  // [batch, channels]
  void* rstd;  // [batch, channels]
};

// Where v is null, the first derivative. Else the derivative of that one: v, v_weight and v_bias are the gradients of
// its dx, dweight and dbias, while dx, grad_dy and dweight receive those of its x, dy and weight (dbias is null: bias
// has none).
struct InstanceNormActBackward {
  InstanceNormActShape shape;
  const void* known;  // x, or y where from_output: then without residual, and with a slope above 0
  const void* dy;
  const void* weight;
  const void* bias;
  const void* mean;
  const void* rstd;
  double negative_slope;
  bool from_output;
  void* dx;
  void* dweight;  // [channels] or null
  void* dbias;    // [channels] or null
  const void* v = nullptr;
  const void* v_weight = nullptr;  // [channels] or null
  const void* v_bias = nullptr;    // [channels] or null
  void* grad_dy = nullptr;
};

}  // namespace gankit
