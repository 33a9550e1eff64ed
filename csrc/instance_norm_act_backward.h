// The derivatives of instance_norm_act, each written once for CPU and CUDA; see instance_norm_act.h for its formulas.
// A is the type computed in; of single elements also a vector register of it.
//
// An element is given by `known`, which is x or, with kOutput, y; then there is no residual and the slope is above 0,
// so that z follows from y. With both, xhat = (u - centre) * inverse: u is x itself, about the mean and with rstd, or
// z, about the bias and with 1 / weight. Activations are then kept once a layer, as the next one's input (Rota Bulo,
// Porzi and Kontschieder, "In-Place Activated BatchNorm", arXiv:1712.02616).

#pragma once

#include "instance_norm_act.h"

namespace gankit::instance_norm_act {

// What the elements of one plane share.
template <class A>
struct BackwardPlane {
  A centre, inverse, scale, bias, rstd;  // scale = weight * rstd
};

// A weight of 0, or too small to have an inverse, leaves nothing of x in y: with kOutput its own gradient is then 0, as
// that of x is in any case.
template <bool kOutput, class A>
GANKIT_FORMULA BackwardPlane<A> backward_plane(A mean, A rstd, A weight, A bias) {
  if constexpr (kOutput) {
    const A inverse = weight == 0 ? A(0) : A(1 / weight);
    return {bias, inverse - inverse == 0 ? inverse : A(0), weight * rstd, bias, rstd};
  }
  return {mean, rstd, weight * rstd, bias, rstd};
}

template <class A>
struct Slopes {
  A slope, inverse;  // inverse = 1 / slope
};

// A comparison that a NaN fails takes the sloped side, as torch's leaky_relu does.
template <class A>
GANKIT_FORMULA A leaky_relu_backward(A dy, A z, A slope) {
  return z > 0 ? dy : dy * slope;
}

template <class A>
struct Element {
  A z, d, g;  // d = u - centre, g = dy * leaky_relu'(z)
};

template <bool kOutput, class A>
GANKIT_FORMULA Element<A> element(A known, A dy, const BackwardPlane<A>& p, const Slopes<A>& s) {
  A z, d;
  if constexpr (kOutput) {
    z = known > 0 ? known : known * s.inverse;
    d = z - p.centre;
  } else {
    d = known - p.centre;
    z = d * p.scale + p.bias;
  }
  return {z, d, leaky_relu_backward(dy, z, s.slope)};
}

// The gradients of weight and bias of a channel, where the derivative of a derivative needs those of its results.
template <class A>
struct AffineGrad {
  A weight, bias;
};

// A derivative takes two passes over a plane. The first calls add() for each element, which accumulates kSums sums.
// coefficients_of() turns the sums into the coefficients that are the same for all elements of the plane, and the
// second pass calls apply() for each element, which computes the outputs from them. add() and apply() have overloads
// for an Element that was computed already. affine_grad() is the plane's contribution to the gradients of weight (of =
// 0) and bias (of = 1).

// Inputs: known, dy. Output: dx. With means over the plane
//   dx = weight * rstd * (g - mean(g) - xhat * mean(g * xhat)),  dweight = sum g * xhat,  dbias = sum g.
template <bool kOutput, class A>
struct Backward {
  static constexpr int kInputs = 2, kSums = 2, kOutputs = 1, kAffineGrads = 2, kCoefficients = 2;

  GANKIT_FORMULA_MEMBER static void add(const A (&in)[kInputs], const BackwardPlane<A>& p, const Slopes<A>& s,
                                        A (&sums)[kSums]) {
    add(element<kOutput>(in[0], in[1], p, s), in, sums);
  }
  GANKIT_FORMULA_MEMBER static void add(const Element<A>& e, const A (&)[kInputs], A (&sums)[kSums]) {
    sums[0] += e.g;
    sums[1] += e.g * e.d;
  }
  GANKIT_FORMULA_MEMBER static void coefficients_of(const A (&sums)[kSums], const BackwardPlane<A>& p, A count,
                                          const AffineGrad<A>&, A (&coefficients)[kCoefficients]) {
    coefficients[0] = -p.scale * (sums[0] / count);
    coefficients[1] = -p.scale * (sums[1] * p.inverse * p.inverse / count);
  }
  GANKIT_FORMULA_MEMBER static void apply(const A (&in)[kInputs], const BackwardPlane<A>& p, const Slopes<A>& s,
                                          const A (&coefficients)[kCoefficients], A (&out)[kOutputs]) {
    apply(element<kOutput>(in[0], in[1], p, s), in, p, s, coefficients, out);
  }
  GANKIT_FORMULA_MEMBER static void apply(const Element<A>& e, const A (&)[kInputs], const BackwardPlane<A>& p,
                                          const Slopes<A>&, const A (&coefficients)[kCoefficients],
                                          A (&out)[kOutputs]) {
    out[0] = p.scale * e.g + coefficients[0] + e.d * coefficients[1];
  }
  GANKIT_FORMULA_MEMBER static double affine_grad(int of, const A (&sums)[kSums], const BackwardPlane<A>& p, A) {
    return of == 0 ? double(sums[1]) * double(p.inverse) : double(sums[0]);
  }
};

// The derivative of that. Inputs: known, dy, v; v and the AffineGrad are the gradients of dx, dweight and dbias.
// Outputs: the gradients of x and of dy; affine_grad() is that of weight. With a = weight * rstd and
//   q = -a * (v * mean(g * xhat) + g * mean(v * xhat)) + v_weight * g,
//   c = mean(v * g) - mean(v) * mean(g) - mean(v * xhat) * mean(g * xhat):
//   grad_x  = rstd * (q - mean(q) - xhat * (mean(q * xhat) + a * c)),  grad_weight = rstd * sum c
//   grad_dy = leaky_relu'(z) * (a * (v - mean(v) - xhat * mean(v * xhat)) + v_weight * xhat + v_bias).
template <bool kOutput, class A>
struct DoubleBackward {
  static constexpr int kInputs = 3, kSums = 5, kOutputs = 2, kAffineGrads = 1, kCoefficients = 6;

  GANKIT_FORMULA_MEMBER static void add(const A (&in)[kInputs], const BackwardPlane<A>& p, const Slopes<A>& s,
                                        A (&sums)[kSums]) {
    add(element<kOutput>(in[0], in[1], p, s), in, sums);
  }
  GANKIT_FORMULA_MEMBER static void add(const Element<A>& e, const A (&in)[kInputs], A (&sums)[kSums]) {
    sums[0] += in[2];
    sums[1] += e.g;
    sums[2] += in[2] * e.d;
    sums[3] += e.g * e.d;
    sums[4] += in[2] * e.g;
  }
  GANKIT_FORMULA_MEMBER static A covariance(const A (&sums)[kSums], const BackwardPlane<A>& p, A count) {
    return (sums[4] - sums[0] / count * sums[1] - sums[2] * p.inverse / count * (sums[3] * p.inverse)) / count;
  }
  GANKIT_FORMULA_MEMBER static void coefficients_of(const A (&sums)[kSums], const BackwardPlane<A>& p, A count,
                                          const AffineGrad<A>& v, A (&coefficients)[kCoefficients]) {
    const A mean_v = sums[0] / count, mean_g = sums[1] / count;
    const A mean_vx = sums[2] * p.inverse / count, mean_gx = sums[3] * p.inverse / count;
    const A of_v = -p.scale * mean_gx, of_g = v.weight - p.scale * mean_vx;  // q = of_v * v + of_g * g
    const A mean_q = of_v * mean_v + of_g * mean_g, mean_qx = of_v * mean_vx + of_g * mean_gx;
    coefficients[0] = p.rstd * of_v;
    coefficients[1] = p.rstd * of_g;
    coefficients[2] = -p.rstd * mean_q;
    coefficients[3] = -p.rstd * p.inverse * (mean_qx + p.scale * covariance(sums, p, count));
    coefficients[4] = v.bias - p.scale * mean_v;
    coefficients[5] = p.inverse * of_g;
  }
  GANKIT_FORMULA_MEMBER static void apply(const A (&in)[kInputs], const BackwardPlane<A>& p, const Slopes<A>& s,
                                          const A (&coefficients)[kCoefficients], A (&out)[kOutputs]) {
    apply(element<kOutput>(in[0], in[1], p, s), in, p, s, coefficients, out);
  }
  GANKIT_FORMULA_MEMBER static void apply(const Element<A>& e, const A (&in)[kInputs], const BackwardPlane<A>& p,
                                          const Slopes<A>& s, const A (&coefficients)[kCoefficients],
                                          A (&out)[kOutputs]) {
    out[0] = coefficients[0] * in[2] + coefficients[1] * e.g + coefficients[2] + e.d * coefficients[3];
    out[1] = leaky_relu_backward(p.scale * in[2] + coefficients[4] + e.d * coefficients[5], e.z, s.slope);
  }
  GANKIT_FORMULA_MEMBER static double affine_grad(int, const A (&sums)[kSums], const BackwardPlane<A>& p, A count) {
    return double(p.rstd) * double(count) * double(covariance(sums, p, count));
  }
};

}  // namespace gankit::instance_norm_act
