#include "patchgan_loss.h"

#include "simd.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

constexpr int64_t kSums = 64;  // independent sums, so that additions overlap and errors stay small

template <PatchGANKind kKind, bool kGrad, typename T>
void run_chunk(const PatchGANLossArgs& a, int64_t chunk) {
  using C = compute_t<T>;
  const C target_or_sign = C(a.target_or_sign), scale = C(a.grad_scale);
  const int64_t begin = chunk * a.chunk, end = min64(begin + a.chunk, a.total);
  C sums[kSums] = {}, in_buffer[kBlock], out_buffer[kBlock];
  for (int64_t at = begin; at < end; at += kBlock) {
    const int64_t n = min64(kBlock, end - at);
    const C* x = load(static_cast<const T*>(a.logits) + at, in_buffer, n);
    T* grad = kGrad ? static_cast<T*>(a.grad) + at : nullptr;
    C* out = target(grad, out_buffer);
    int64_t i = 0;
    for (; i + kSums <= n; i += kSums) {
#pragma omp simd
      for (int64_t j = 0; j < kSums; ++j) {
        const ValueSlope<C> t = patchgan_term<kKind>(x[i + j], target_or_sign);
        sums[j] += t.value;
        if constexpr (kGrad) out[i + j] = t.slope * scale;
      }
    }
#pragma omp simd
    for (int64_t j = 0; j < n - i; ++j) {
      const ValueSlope<C> t = patchgan_term<kKind>(x[i + j], target_or_sign);
      sums[j] += t.value;
      if constexpr (kGrad) out[i + j] = t.slope * scale;
    }
    if constexpr (kGrad) store(grad, out, n);
  }
  double sum = 0.0;
  for (int64_t j = 0; j < kSums; ++j) sum += double(sums[j]);
  a.partial[chunk] = sum;
}

template <PatchGANKind kKind, typename T>
void run_chunks(const PatchGANLossArgs& a, int64_t begin, int64_t end) {
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    if (a.grad) {
      run_chunk<kKind, true, T>(a, chunk);
    } else {
      run_chunk<kKind, false, T>(a, chunk);
    }
  }
}

template <typename T>
void run(const PatchGANLossArgs& a, int64_t begin, int64_t end) {
  switch (a.kind) {
    case PatchGANKind::lsgan: return run_chunks<PatchGANKind::lsgan, T>(a, begin, end);
    case PatchGANKind::bce: return run_chunks<PatchGANKind::bce, T>(a, begin, end);
    case PatchGANKind::hinge: return run_chunks<PatchGANKind::hinge, T>(a, begin, end);
    case PatchGANKind::wgan: return run_chunks<PatchGANKind::wgan, T>(a, begin, end);
  }
}

}  // namespace

void patchgan_loss(const PatchGANLossArgs& args, int64_t begin, int64_t end) {
  switch (args.dtype) {
    case DType::f32: return run<float>(args, begin, end);
    case DType::f64: return run<double>(args, begin, end);
    case DType::bf16: return run<BFloat16>(args, begin, end);
    case DType::f16: return run<Float16>(args, begin, end);
  }
}

}  // namespace gankit::GANKIT_CPU_CAPABILITY
