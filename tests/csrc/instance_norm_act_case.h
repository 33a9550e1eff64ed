// One case of instance_norm_act, against sums in double: for the kernels of every device.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../../csrc/cpu/instance_norm_act.h"
#include "arrays.h"

inline int failures = 0;

inline void expect(double actual, double expected, double tolerance, const char* what, const std::string& where) {
  if (std::fabs(actual - expected) <= tolerance * (1 + std::fabs(expected))) return;
  if (std::isnan(actual) && std::isnan(expected)) return;
  if (++failures <= 20) std::printf("%s, %s: %.9g, expected %.9g\n", where.c_str(), what, actual, expected);
}

struct Options {
  double slope = 0.2;
  bool residual = true, weight = true, bias = true;
  int64_t offset = 0, other_offset = 0;  // elements by which x, and by which all others, are out of alignment
  bool from_output = false;              // backward is given y; without residual
  double nan_at = -1;                    // share of the array where x has a NaN; below 0: none
};

// One channel of a sample in double, with its gradients by autograd's rules, an operation at a time.
struct ReferencePlane {
  int64_t n;
  double mu = 0, rstd = 0, weight, bias, slope, eps;
  std::vector<double> x, dy, v, hat, z, g, dx, grad_x, grad_dy;
  double sum_g = 0, sum_gx = 0, grad_weight = 0;

  ReferencePlane(int64_t size, double weight_, double bias_, double slope_, double eps_)
      : n(size), weight(weight_), bias(bias_), slope(slope_), eps(eps_), x(size), dy(size), v(size) {}

  double mean(const std::vector<double>& of) const {
    double sum = 0;
    for (const double e : of) sum += e;
    return n > 0 ? sum / static_cast<double>(n) : 0;
  }
  double mean(const std::vector<double>& a, const std::vector<double>& b) const {
    double sum = 0;
    for (int64_t s = 0; s < n; ++s) sum += a[s] * b[s];
    return n > 0 ? sum / static_cast<double>(n) : 0;
  }
  double gate(int64_t s) const { return z[s] > 0 ? 1 : slope; }
  // The Jacobian of hat in x, which is symmetric, times `of`.
  std::vector<double> through_norm(const std::vector<double>& of) const {
    std::vector<double> result(n);
    const double m = mean(of), mx = mean(of, hat);
    for (int64_t s = 0; s < n; ++s) result[s] = rstd * (of[s] - m - hat[s] * mx);
    return result;
  }

  void forward() {
    mu = mean(x);
    double squares = 0;
    for (const double e : x) squares += (e - mu) * (e - mu);
    rstd = 1 / std::sqrt((n > 0 ? squares / static_cast<double>(n) : 0) + eps);
    for (const double e : x) hat.push_back((e - mu) * rstd), z.push_back(hat.back() * weight + bias);
  }
  void backward() {
    for (int64_t s = 0; s < n; ++s) g.push_back(dy[s] * gate(s)), sum_g += g[s], sum_gx += g[s] * hat[s];
    dx = through_norm(g);
    for (double& e : dx) e *= weight;
  }
  // Of the sum over v * dx + v_weight * dweight + v_bias * dbias.
  void double_backward(double v_weight, double v_bias) {
    const std::vector<double> jv = through_norm(v);
    std::vector<double> to_hat(n);
    grad_dy.resize(n);
    const double mgx = mean(g, hat), mvx = mean(v, hat);
    for (int64_t s = 0; s < n; ++s) {
      grad_dy[s] = gate(s) * (weight * jv[s] + v_weight * hat[s] + v_bias);
      to_hat[s] = -weight * rstd * (v[s] * mgx + g[s] * mvx) + v_weight * g[s];
      grad_weight += g[s] * jv[s];
    }
    grad_x = through_norm(to_hat);
    // dx also has rstd as a factor: d rstd / dx = -rstd^2 * hat / n
    for (int64_t s = 0; s < n; ++s) {
      grad_x[s] -= weight * grad_weight / rstd * rstd * rstd * hat[s] / static_cast<double>(n);
    }
  }
};

// forward(InstanceNormActForward) and backward(InstanceNormActBackward) run the kernels.
template <class Forward, class Backward>
void check_case(const char* name, const gankit::InstanceNormActShape& shape, const Options& o, const Forward& forward,
                const Backward& backward) {
  const DType wide = shape.dtype == DType::f64 ? DType::f64 : DType::f32;
  const DType affine = shape.wide_affine ? wide : shape.dtype;
  const int64_t N = shape.batch, C = shape.channels, S = shape.spatial, total = N * C * S;
  const auto map = [&](int64_t offset) { return Array(total, shape.dtype, offset); };
  const auto channels = [&] { return Array(C, affine); };
  Array x = map(o.offset), r = map(o.other_offset), dy = map(o.other_offset), v = map(o.other_offset);
  Array y = map(o.other_offset), dx = map(o.other_offset), grad_x = map(o.other_offset), grad_dy = map(o.other_offset);
  Array mean(N * C, wide), rstd(N * C, wide), weight = channels(), bias = channels(), dweight = channels();
  Array dbias = channels(), v_weight = channels(), v_bias = channels(), grad_weight = channels();
  x.fill(1, 4, 1);
  r.fill(2, 2, 0);
  dy.fill(3, 2, 0.25);
  weight.fill(4, 1, 1);
  bias.fill(5, 1, 0);
  v.fill(6, 2, 0.25);
  v_weight.fill(7, 1, 0);
  v_bias.fill(8, 1, 0);
  if (o.nan_at >= 0 && total > 0) x.set(static_cast<int64_t>(o.nan_at * static_cast<double>(total - 1)), NAN);
  if (o.from_output) {  // a weight near 0 would leave little of x
    for (int64_t c = 0; c < C; ++c) weight.set(c, weight[c] + (weight[c] < 0 ? -0.5 : 0.5));
  }
  const double eps = 1e-3;
  const bool residual = o.residual && !o.from_output;
  const char *w = o.weight ? weight.data() : nullptr, *b = o.bias ? bias.data() : nullptr;
  forward({shape, x.data(), w, b, residual ? r.data() : nullptr, o.slope, eps, y.data(), mean.data(), rstd.data()});
  gankit::InstanceNormActBackward args{shape, o.from_output ? y.data() : x.data(), dy.data(), w, b, mean.data(),
                                       rstd.data(), o.slope, o.from_output, dx.data(),
                                       o.weight ? dweight.data() : nullptr, o.bias ? dbias.data() : nullptr};
  backward(args);
  args.v = v.data();
  args.v_weight = o.weight ? v_weight.data() : nullptr;
  args.v_bias = o.bias ? v_bias.data() : nullptr;
  args.dx = grad_x.data();
  args.grad_dy = grad_dy.data();
  args.dweight = o.weight ? grad_weight.data() : nullptr;
  args.dbias = nullptr;
  backward(args);

  const std::string where = std::string(name) + " " + std::to_string(N) + "x" + std::to_string(C) + "x" +
                            std::to_string(S) + (shape.channels_last ? " channels_last" : " nchw") + " dtype " +
                            std::to_string(static_cast<int>(shape.dtype)) + " offsets " + std::to_string(o.offset) +
                            "," + std::to_string(o.other_offset) + (o.from_output ? " from the output" : "") +
                            (o.nan_at >= 0 ? " with a NaN" : "");
  const double tolerance = shape.dtype == DType::f64    ? 1e-12
                           : shape.dtype == DType::f32  ? 1e-5
                           : shape.dtype == DType::bf16 ? 1e-2
                                                        : 2e-3;
  const double wide_tolerance = shape.dtype == DType::f64 ? 1e-12 : 1e-5;
  // y has been rounded, so what is made of it has been too
  const double backward_tolerance = (o.from_output ? 16 : 4) * tolerance;
  for (int64_t c = 0; c < C; ++c) {
    double all_g = 0, all_gx = 0, all_weight = 0, largest = 0;
    bool uncertain = false;
    for (int64_t n = 0; n < N; ++n) {
      const auto at = [&](int64_t s) { return shape.channels_last ? (n * S + s) * C + c : (n * C + c) * S + s; };
      ReferencePlane p(S, o.weight ? weight[c] : 1, o.bias ? bias[c] : 0, o.slope, eps);
      for (int64_t s = 0; s < S; ++s) p.x[s] = x[at(s)], p.dy[s] = dy[at(s)], p.v[s] = v[at(s)];
      p.forward();
      p.backward();
      p.double_backward(o.weight ? v_weight[c] : 0, o.bias ? v_bias[c] : 0);
      expect(mean[n * C + c], p.mu, wide_tolerance, "mean", where);
      expect(rstd[n * C + c], p.rstd, wide_tolerance, "rstd", where);
      bool near_kink = false;  // where rounding decides which side of the activation an element is on
      for (int64_t s = 0; s < S; ++s) {
        near_kink |= std::fabs(p.z[s]) < 1e-5 && o.slope != 1;
        expect(y[at(s)], (p.z[s] > 0 ? p.z[s] : p.z[s] * o.slope) + (residual ? r[at(s)] : 0), tolerance, "y", where);
      }
      all_g += p.sum_g;
      all_gx += p.sum_gx;
      all_weight += p.grad_weight;
      // what the gradients are made of is larger than they are, where a plane is short
      const double scale = 1 + std::fabs(p.weight * p.rstd) * (1 + p.rstd) * 8;
      largest = std::fmax(largest, scale);
      for (int64_t s = 0; s < S && !near_kink; ++s) {
        expect(dx[at(s)], p.dx[s], backward_tolerance, "dx", where);
        expect(grad_dy[at(s)], p.grad_dy[s], backward_tolerance * scale, "grad_dy", where);
        expect(grad_x[at(s)], p.grad_x[s], backward_tolerance * scale, "grad_x", where);
      }
      uncertain |= near_kink;
    }
    if (uncertain) continue;
    const double gathered = (shape.dtype == DType::f64 ? 1e-10 : shape.wide_affine ? 1e-3 : 2e-2) *
                            (o.from_output && bytes_of(shape.dtype) == 2 ? 16 : 1);
    if (o.weight) expect(dweight[c], all_gx, gathered, "dweight", where);
    if (o.bias) expect(dbias[c], all_g, gathered, "dbias", where);
    if (o.weight) expect(grad_weight[c], all_weight, gathered * largest, "grad_weight", where);
  }
}
