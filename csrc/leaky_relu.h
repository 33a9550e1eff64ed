// Formulas of leaky ReLU with a bias: y = act(x + b), act(v) = v for v > 0, slope * v otherwise. T is a number or, on
// the CPU, a vector register of them.
#pragma once

#include "portable.h"

namespace gankit {

// NaN takes the `otherwise` branch, as in torch.
template <typename T>
GANKIT_FORMULA T leaky_relu_value(T x, T bias, T slope) {
  const T v = x + bias;
  return v > 0 ? v : v * slope;
}

// The sign of y is the sign of x + b as long as slope >= 0, so the input need not be kept for the backward pass.
template <typename T>
GANKIT_FORMULA T leaky_relu_grad(T grad, T y, T slope) {
  return y > 0 ? grad : grad * slope;
}

}  // namespace gankit
