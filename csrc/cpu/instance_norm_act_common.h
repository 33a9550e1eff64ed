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

// weight, bias and their like as the type computed in; `buffer` holds [channels] where they must be converted.
template <class T>
const compute_t<T>* widened(const InstanceNormActShape& shape, const void* values, compute_t<T>* buffer) {
  if (!values || shape.wide_affine) return static_cast<const compute_t<T>*>(values);
  for (int64_t c = 0; c < shape.channels; ++c) buffer[c] = get_scalar(static_cast<const T*>(values) + c);
  return buffer;
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
