// The CUDA kernel of the PatchGAN losses, executed on the CPU, against the losses as they are written down, in float64.
#include "cuda_shim.h"

#include <vector>

#include "../../csrc/cuda/patchgan_loss.cuh"
#include "check.h"

using namespace gankit;

namespace {

constexpr PatchGANKind kKinds[] = {PatchGANKind::lsgan, PatchGANKind::bce, PatchGANKind::hinge, PatchGANKind::wgan};

struct Reference {
  double value, slope;
};

Reference reference(PatchGANKind kind, bool real, bool generator, double x) {
  const bool up = real || generator;  // the loss wants this logit high
  const double s = up ? -1.0 : 1.0;
  switch (kind) {
    case PatchGANKind::lsgan: return {(x - up) * (x - up), 2 * (x - up)};
    case PatchGANKind::bce: return {fmax(s * x, 0.0) + log1p(exp(-fabs(x))), s / (1 + exp(-s * x))};
    case PatchGANKind::hinge:
      if (generator) return {-x, -1.0};
      return {1 + s * x <= 0 ? 0.0 : 1 + s * x, 1 + s * x <= 0 ? 0.0 : s};
    case PatchGANKind::wgan: return {s * x, s};
  }
  return {};
}

// Logits of one dtype, `offset` elements after an aligned address, with NaN before them; the buffer ends with the last.
struct Map {
  DType dtype;
  int64_t n, offset;
  std::vector<double> values;
  std::vector<char> logits, grad;
  size_t size = 0;

  Map(DType dtype_, int64_t n_, int64_t offset_, double scale = 1.0) : dtype(dtype_), n(n_), offset(offset_) {
    with_type(dtype, [&](auto* element) {
      using T = std::remove_pointer_t<decltype(element)>;
      size = sizeof(T);
      logits.resize((n + offset) * size);
      grad.resize((n + offset) * size);
      T* x = reinterpret_cast<T*>(logits.data());
      for (int64_t i = 0; i < offset; ++i) x[i] = convert<T>(NAN);
      for (int64_t i = 0; i < n; ++i) {
        x[offset + i] = convert<T>(scale * double((i * 37 + n) % 101 - 50) / 8.0);
        values.push_back(double(widen(x[offset + i])));
      }
    });
  }
  PatchGANLogits tensor(bool with_grads) {
    return {dtype, logits.data() + offset * size, with_grads ? grad.data() + offset * size : nullptr, n};
  }
  double grad_at(int64_t i) const {
    double result = 0;
    with_type(dtype, [&](auto* element) {
      using T = std::remove_pointer_t<decltype(element)>;
      result = double(widen(reinterpret_cast<const T*>(grad.data())[offset + i]));
    });
    return result;
  }
};

template <typename R>
R run(PatchGANKind kind, bool generator, std::vector<Map>& maps, bool with_grads, unsigned threads) {
  std::vector<PatchGANLogits> tensors;
  for (Map& map : maps) tensors.push_back(map.tensor(with_grads));
  std::vector<char> memory;
  size_t zero = 0;
  const auto scratch = [&](size_t bytes, size_t zeroed) {
    memory.assign(bytes, char(0xff));
    std::fill_n(memory.begin(), zeroed, char(0));
    zero = zeroed;
    return memory.data();
  };
  R loss = 12345;
  patchgan_loss(PatchGANPlan(int64_t(kind), generator, maps.size()), tensors, &loss, sizeof(R) == 8, nullptr, scratch,
                threads);
  for (size_t i = 0; i < zero; ++i) CHECK(memory[i] == 0);  // as it was found, for a replay of a captured graph
  return loss;
}

template <typename R>
void check(PatchGANKind kind, bool generator, std::vector<Map> maps, unsigned threads, int64_t launches = 1) {
  const size_t scales = generator ? maps.size() : maps.size() / 2;
  const double weight = (kind == PatchGANKind::lsgan && !generator ? 0.5 : 1.0) / double(scales);
  const int64_t before = shim::launches;
  const R loss = run<R>(kind, generator, maps, true, threads);
  CHECK(shim::launches - before == launches);
  double expected = 0;
  for (size_t m = 0; m < maps.size(); ++m) {
    const Map& map = maps[m];
    const double tolerance = map.dtype == DType::f64 ? 1e-13 : map.dtype == DType::f32 ? 1e-6 : map.dtype == DType::f16 ? 1e-3 : 8e-3;
    const double scale = map.dtype == DType::f16 ? 0.5 : weight / double(map.n);
    double sum = 0;
    for (int64_t i = 0; i < map.n; ++i) {
      const Reference r = reference(kind, !generator && m < scales, generator, map.values[i]);
      sum += r.value;
      // Relative to what a slope is multiplied with: that may be far below one.
      CHECK_CLOSE(map.grad_at(i) / scale, r.slope, tolerance);
    }
    expected += weight * sum / double(map.n);
  }
  CHECK_CLOSE(loss, expected, sizeof(R) == 8 ? (maps[0].dtype == DType::f64 ? 1e-13 : 1e-6) : 2e-6);

  // The same bits without gradients, and whatever the order in which threads come.
  shim::reverse = !shim::reverse;
  const R again = run<R>(kind, generator, maps, false, threads);
  shim::reverse = !shim::reverse;
  CHECK(memcmp(&loss, &again, sizeof loss) == 0 || (isnan(loss) && isnan(again)));
}

void check_all(unsigned threads, bool generator, const std::vector<int64_t>& sizes, int64_t offset) {
  for (const PatchGANKind kind : kKinds) {
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
      std::vector<Map> maps;
      for (const int64_t n : sizes) maps.emplace_back(dtype, n, offset);
      if (dtype == DType::f64) {
        check<double>(kind, generator, maps, threads);
      } else {
        check<float>(kind, generator, maps, threads);
      }
    }
  }
}

void check_special() {
  const auto value = [](PatchGANKind kind, double x) {
    std::vector<Map> maps;
    maps.emplace_back(DType::f32, 5, 0);
    float* logits = reinterpret_cast<float*>(maps[0].logits.data());
    logits[3] = float(x);
    return run<float>(kind, true, maps, true, 32);
  };
  for (const PatchGANKind kind : kKinds) {
    CHECK(isnan(value(kind, NAN)));
    CHECK(value(kind, -INFINITY) == INFINITY);
    // An empty scale: torch's mean of nothing is NaN. The other's gradients are written all the same.
    for (const bool all_empty : {false, true}) {
      std::vector<Map> maps;
      maps.emplace_back(DType::f32, all_empty ? 0 : 900, 0);
      maps.emplace_back(DType::f32, 0, 0);
      CHECK(isnan(run<float>(kind, true, maps, true, 64)));
      for (int64_t i = 0; i < maps[0].n; ++i) {
        CHECK_CLOSE(maps[0].grad_at(i) * 1800, reference(kind, false, true, maps[0].values[i]).slope, 1e-6);
      }
    }
  }
}

}  // namespace

int main() {
#if defined(__SANITIZE_THREAD__)  // a thread costs it much: one block, and several of which the last one finishes
  for (const int64_t n : {900, 30011}) {
    std::vector<Map> maps;
    for (int i = 0; i < 2; ++i) maps.emplace_back(DType::f32, n, i);
    check<float>(PatchGANKind::bce, false, maps, 64);
  }
  return 0;
#endif
  check_all(512, false, {900, 900}, 0);    // 30x30 maps
  check_all(512, true, {30011}, 0);        // several blocks and a rest
  check_all(64, false, {1, 1}, 0);
  check_all(64, false, {900, 63, 17, 899, 64, 2}, 0);  // three scales
  check_all(64, true, {4096, 4095, 4097, 1, 8191}, 0);
  for (const int64_t offset : {1, 2, 3, 5}) check_all(64, false, {77, 5003}, offset);
  check_all(128, false, {8193, 12289}, 1);  // several blocks, without 16-byte accesses
  check_special();

  // More tensors than a launch takes, and several dtypes: a launch for each, one sum.
  std::vector<Map> many, mixed;
  for (int64_t i = 0; i < 70; ++i) many.emplace_back(DType::f32, 1 + i * 29 % 300, i % 3);
  check<float>(PatchGANKind::bce, false, many, 64, 3);
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) mixed.emplace_back(dtype, 20001, 0);
  check<double>(PatchGANKind::lsgan, false, mixed, 64, 4);
  printf("patchgan_loss on CUDA: %lld launches, %lld threads\n", (long long)shim::launches, (long long)shim::threads_run);
}
