// The formulas of the PatchGAN losses against libm and difference quotients, and their CPU loop against the formulas.
#include "cpu/patchgan_loss.h"

#include <vector>

#include "check.h"

using namespace gankit;

template <typename T>
void check_formulas(double tolerance) {
  for (double v = -60.0; v <= 60.0; v += 0.0625) {
    for (const double sign : {-1.0, 1.0}) {
      const auto soft = softplus_term(T(v), T(sign));
      const double s = sign * v;
      CHECK_CLOSE(soft.value, (s > 0 ? s : 0.0) + log1p(exp(-fabs(s))), tolerance);
      CHECK_CLOSE(soft.slope, sign / (1.0 + exp(-s)), tolerance);
      const auto hinge = hinge_term(T(v), T(sign));
      CHECK_CLOSE(hinge.value, fmax(0.0, 1.0 + s), tolerance);
      CHECK_CLOSE(hinge.slope, 1.0 + s > 0 ? sign : 0.0, tolerance);
      CHECK_CLOSE(linear_term(T(v), T(sign)).value, s, tolerance);
    }
    CHECK_CLOSE(square_term(T(v), T(1)).value, (v - 1) * (v - 1), tolerance);
    CHECK_CLOSE(square_term(T(v), T(1)).slope, 2 * (v - 1), tolerance);
  }
  const T nan = T(NAN), inf = T(INFINITY);
  CHECK(isnan(softplus_term(nan, T(1)).value) && isnan(softplus_term(nan, T(1)).slope));
  CHECK(isnan(hinge_term(nan, T(1)).value) && isnan(square_term(nan, T(0)).value));
  CHECK(softplus_term(inf, T(1)).value == inf && softplus_term(inf, T(1)).slope == T(1));
  CHECK(softplus_term(-inf, T(1)).value == T(0) && softplus_term(-inf, T(1)).slope == T(0));
}

template <typename T>
void check_loop(DType dtype, PatchGANKind kind, int64_t total, double tolerance) {
  const double target_or_sign = kind == PatchGANKind::lsgan ? 1.0 : -1.0, scale = 0.25;
  const int64_t chunk = 700, chunks = (total + chunk - 1) / chunk;
  std::vector<T> x(total), grad(total);
  std::vector<double> partial(chunks), alone(chunks);
  for (int64_t i = 0; i < total; ++i) x[i] = T((i * 37 % 101 - 50) / 8.0);
  PatchGANLossArgs args{dtype, kind, target_or_sign, x.data(), grad.data(), scale, partial.data(), total, chunk};
  patchgan_loss_best()(args, 0, chunks / 2);
  patchgan_loss_best()(args, chunks / 2, chunks);
  double sum = 0.0, expected = 0.0;
  for (int64_t i = 0; i < total; ++i) {
    const double v = double(x[i]);
    const auto t = kind == PatchGANKind::lsgan   ? square_term(v, target_or_sign)
                   : kind == PatchGANKind::bce   ? softplus_term(v, target_or_sign)
                   : kind == PatchGANKind::hinge ? hinge_term(v, target_or_sign)
                                                 : linear_term(v, target_or_sign);
    expected += t.value;
    CHECK_CLOSE(grad[i], t.slope * scale, tolerance);
  }
  for (const double p : partial) sum += p;
  CHECK_CLOSE(sum, expected, tolerance * 10);
  args.grad = nullptr;
  args.partial = alone.data();
  patchgan_loss_best()(args, 0, chunks);
  for (int64_t k = 0; k < chunks; ++k) CHECK_CLOSE(alone[k], partial[k], tolerance);
}

int main() {
  check_formulas<float>(1e-6);
  check_formulas<double>(1e-14);
  for (const auto kind : {PatchGANKind::lsgan, PatchGANKind::bce, PatchGANKind::hinge, PatchGANKind::wgan}) {
    for (const int64_t total : {1, 2, 15, 16, 63, 64, 65, 511, 512, 513, 700, 701, 3000}) {
      check_loop<float>(DType::f32, kind, total, 1e-6);
      check_loop<double>(DType::f64, kind, total, 1e-13);
    }
  }
  printf("patchgan_loss: %s\n", cpu_capability_name());
}
