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
  double nan_at = -1;                    // share of the array where x has a NaN; below 0: none
};

// forward(InstanceNormActForward) and backward(InstanceNormActBackward) run the kernels.
template <class Forward, class Backward>
void check_case(const char* name, const gankit::InstanceNormActShape& shape, const Options& o, const Forward& forward,
                const Backward& backward) {
  const DType wide = shape.dtype == DType::f64 ? DType::f64 : DType::f32;
  const int64_t N = shape.batch, C = shape.channels, S = shape.spatial, total = N * C * S;
  Array x(total, shape.dtype, o.offset), r(total, shape.dtype, o.other_offset), dy(total, shape.dtype, o.other_offset);
  Array y(total, shape.dtype, o.other_offset), dx(total, shape.dtype, o.other_offset);
  Array mean(N * C, wide), rstd(N * C, wide);
  const DType affine = shape.wide_affine ? wide : shape.dtype;
  Array weight(C, affine), bias(C, affine), dweight(C, affine), dbias(C, affine);
  x.fill(1, 4, 1);
  r.fill(2, 2, 0);
  dy.fill(3, 2, 0.25);
  weight.fill(4, 1, 1);
  bias.fill(5, 1, 0);
  if (o.nan_at >= 0 && total > 0) x.set(static_cast<int64_t>(o.nan_at * static_cast<double>(total - 1)), NAN);
  const double eps = 1e-3;
  const char *w = o.weight ? weight.data() : nullptr, *b = o.bias ? bias.data() : nullptr;
  forward({shape, x.data(), w, b, o.residual ? r.data() : nullptr, o.slope, eps, y.data(), mean.data(), rstd.data()});
  backward({shape, dy.data(), x.data(), w, b, mean.data(), rstd.data(), o.slope, dx.data(),
            o.weight ? dweight.data() : nullptr, o.bias ? dbias.data() : nullptr});

  const std::string where = std::string(name) + " " + std::to_string(N) + "x" + std::to_string(C) + "x" +
                            std::to_string(S) + (shape.channels_last ? " channels_last" : " nchw") + " dtype " +
                            std::to_string(static_cast<int>(shape.dtype)) + " offsets " + std::to_string(o.offset) +
                            "," + std::to_string(o.other_offset) + (o.nan_at >= 0 ? " with a NaN" : "");
  const double tolerance = shape.dtype == DType::f64    ? 1e-12
                           : shape.dtype == DType::f32  ? 1e-5
                           : shape.dtype == DType::bf16 ? 1e-2
                                                        : 2e-3;
  const double wide_tolerance = shape.dtype == DType::f64 ? 1e-12 : 1e-5;
  for (int64_t c = 0; c < C; ++c) {
    double all_g = 0, all_gx = 0;
    bool uncertain = false;
    const double w_c = o.weight ? weight[c] : 1, b_c = o.bias ? bias[c] : 0;
    for (int64_t n = 0; n < N; ++n) {
      const auto at = [&](int64_t s) { return shape.channels_last ? (n * S + s) * C + c : (n * C + c) * S + s; };
      double sum = 0, squares = 0, sum_g = 0, sum_gx = 0;
      for (int64_t s = 0; s < S; ++s) sum += x[at(s)];
      const double mu = S > 0 ? sum / S : 0;
      for (int64_t s = 0; s < S; ++s) squares += (x[at(s)] - mu) * (x[at(s)] - mu);
      const double inverse = 1 / std::sqrt((S > 0 ? squares / S : 0) + eps);
      expect(mean[n * C + c], mu, wide_tolerance, "mean", where);
      expect(rstd[n * C + c], inverse, wide_tolerance, "rstd", where);
      std::vector<double> g(S), hat(S);
      bool near_kink = false;  // where rounding decides which side of the activation an element is on
      for (int64_t s = 0; s < S; ++s) {
        hat[s] = (x[at(s)] - mu) * inverse;
        const double z = hat[s] * w_c + b_c;
        near_kink |= std::fabs(z) < 1e-5 && o.slope != 1;
        expect(y[at(s)], (z > 0 ? z : z * o.slope) + (o.residual ? r[at(s)] : 0), tolerance, "y", where);
        g[s] = dy[at(s)] * (z > 0 ? 1 : o.slope);
        sum_g += g[s];
        sum_gx += g[s] * hat[s];
      }
      all_g += sum_g;
      all_gx += sum_gx;
      for (int64_t s = 0; s < S && !near_kink; ++s) {
        const double expected = w_c * inverse * (g[s] - sum_g / S - hat[s] * sum_gx / S);
        expect(dx[at(s)], expected, 4 * tolerance, "dx", where);
      }
      uncertain |= near_kink;
    }
    if (uncertain) continue;
    const double gathered = shape.dtype == DType::f64 ? 1e-10 : shape.wide_affine ? 1e-3 : 2e-2;
    if (o.weight) expect(dweight[c], all_gx, gathered, "dweight", where);
    if (o.bias) expect(dbias[c], all_g, gathered, "dbias", where);
  }
}
