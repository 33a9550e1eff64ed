// What the kernels of instance_norm_act share, whatever the memory layout.
#pragma once

#include "../instance_norm_act.h"
#include "instance_norm_act.h"
#include "vec.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

using namespace gankit::instance_norm_act;

// An array that frees itself; malloc'd, as no C++ library header is included here (see capability.h).
template <class A>
struct Buffer {
  A* data;
  explicit Buffer(int64_t n) : data(static_cast<A*>(__builtin_malloc(n > 0 ? n * sizeof(A) : 1))) {
    if (!data) __builtin_trap();
  }
  ~Buffer() { __builtin_free(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
};

template <class F>
void run(const Parallel& parallel, int64_t n, int64_t cost, const F& f) {
  const auto body = [](const void* context, int64_t begin, int64_t end) {
    (*static_cast<const F*>(context))(begin, end);
  };
  parallel.run(n, cost, body, &f);
}

// Whether `n` equal items keep all threads busy to within an eighth.
bool balanced(int64_t n, const Parallel& parallel) {
  const int64_t rounds = (n + parallel.threads - 1) / parallel.threads;
  return 8 * rounds * parallel.threads <= 9 * n;
}

template <class V, class A>
GANKIT_FORMULA Plane<V> spread(const Plane<A>& p) {
  return {all<V>(p.mean), all<V>(p.scale), all<V>(p.bias)};
}

// The arguments with their types; weight and bias in the type computed in.
template <class T>
struct Forward {
  using A = compute_t<T>;
  InstanceNormActShape shape;
  const T *x, *residual;
  const A *weight, *bias;
  A negative_slope;
  double eps;
  T* y;
  A *mean, *rstd;
};

template <class T>
struct Backward {
  using A = compute_t<T>;
  InstanceNormActShape shape;
  const T *dy, *x;
  const A *weight, *bias, *mean, *rstd;
  A negative_slope;
  T* dx;
  A *sum_g, *sum_gx;  // [batch, channels]: sums over planes of g and of g * (x - mean)
};

// `f` is a Forward or a Backward.
template <class F>
GANKIT_FORMULA Plane<typename F::A> plane_of(const F& f, int64_t n, int64_t c) {
  const int64_t p = n * f.shape.channels + c;
  return {f.mean[p], f.weight ? f.weight[c] * f.rstd[p] : f.rstd[p], f.bias ? f.bias[c] : 0};
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
