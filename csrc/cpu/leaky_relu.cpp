#include "leaky_relu.h"

#include "../leaky_relu.h"
#include "vec.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// A piece of a plane: one bias for all.
template <class T, class A = compute_t<T>>
void forward_plane(const T* x, T* y, int64_t n, A bias, A slope) {
  using V = Vec<A>;
  constexpr int L = kLanes<A>;
  const V biases = broadcast<V>(bias), slopes = broadcast<V>(slope);
  int64_t i = 0;
  for (; i + L <= n; i += L) put<V>(y + i, leaky_relu_value<V>(get<V>(x + i), biases, slopes));
  for (; i < n; ++i) put<A>(y + i, leaky_relu_value<A>(get<A>(x + i), bias, slope));
}

// A piece of a period: a bias for each element.
template <class T, class A = compute_t<T>>
void forward_period(const T* x, T* y, int64_t n, const A* bias, A slope) {
  using V = Vec<A>;
  constexpr int L = kLanes<A>;
  const V slopes = broadcast<V>(slope);
  int64_t i = 0;
  for (; i + L <= n; i += L) put<V>(y + i, leaky_relu_value<V>(get<V>(x + i), get<V>(bias + i), slopes));
  for (; i < n; ++i) put<A>(y + i, leaky_relu_value<A>(get<A>(x + i), bias[i], slope));
}

template <class T>
void forward(const LeakyReluArgs& a, int64_t begin, int64_t end) {
  using A = compute_t<T>;
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.out);
  const A* bias = static_cast<const A*>(a.bias);
  const A slope = static_cast<A>(a.slope);
  const int64_t run = a.short_planes ? a.period : a.inner;
  int64_t offset = begin % run, channel = begin / run % a.channels;
  while (begin < end) {
    const int64_t n = min64(run - offset, end - begin);
    if (a.short_planes) {
      forward_period(x + begin, y + begin, n, bias + offset, slope);
    } else {
      forward_plane(x + begin, y + begin, n, bias[channel], slope);
      channel = channel + 1 == a.channels ? 0 : channel + 1;
    }
    begin += n;
    offset = 0;
  }
}

// The gradient of one V of elements, stored (kOut) where the gradient of the input is wanted.
template <bool kOut, class V, class T>
GANKIT_FORMULA_MEMBER V backward_at(const T* grad, const T* y, T* out, int64_t i, V slope) {
  const V d = leaky_relu_grad<V>(get<V>(grad + i), get<V>(y + i), slope);
  if constexpr (kOut) put<V>(out + i, d);
  return d;
}

// A piece of a plane; returns the sum of its gradients.
template <bool kOut, class T, class A = compute_t<T>>
A backward_plane(const T* grad, const T* y, T* out, int64_t n, A slope) {
  using V = Vec<A>;
  constexpr int L = kLanes<A>;
  const V slopes = broadcast<V>(slope);
  constexpr int64_t kShort = 64 * 4 * L;  // a long sum of equal gradients always rounds to the same side
  V sums[4] = {};
  int64_t i = 0;
  while (i + 4 * L <= n) {
    V part[4] = {};  // so that additions overlap
    for (const int64_t stop = min64(n, i + kShort); i + 4 * L <= stop; i += 4 * L) {
      for (int k = 0; k < 4; ++k) part[k] += backward_at<kOut>(grad, y, out, i + k * L, slopes);
    }
    for (int k = 0; k < 4; ++k) sums[k] += part[k];
  }
  for (; i + L <= n; i += L) sums[0] += backward_at<kOut>(grad, y, out, i, slopes);
  A sum = sum_lanes<A>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < n; ++i) sum += backward_at<kOut>(grad, y, out, i, slope);
  return sum;
}

// `rows` periods, or one piece of a period of n elements, added up element by element: first among themselves, as a
// long sum of equal gradients always rounds to the same side.
template <bool kOut, class T, class A = compute_t<T>>
void backward_periods(const T* grad, const T* y, T* out, int64_t rows, int64_t n, A slope, A* sums) {
  using V = Vec<A>;
  constexpr int L = kLanes<A>;
  const V slopes = broadcast<V>(slope);
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    V sum = {};
    for (int64_t r = 0; r < rows; ++r) sum += backward_at<kOut>(grad, y, out, r * n + i, slopes);
    put<V>(sums + i, get<V>(sums + i) + sum);
  }
  for (; i < n; ++i) {
    A sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += backward_at<kOut>(grad, y, out, r * n + i, slope);
    sums[i] += sum;
  }
}

template <bool kOut, class T>
void backward(const LeakyReluArgs& a, int64_t begin, int64_t end) {
  using A = compute_t<T>;
  constexpr int64_t kRows = 4;  // periods that share one reading of their sums
  const T* grad = static_cast<const T*>(a.grad);
  const T* y = static_cast<const T*>(a.y);
  T* out = static_cast<T*>(a.out);
  A* partial = static_cast<A*>(a.partial);
  const A slope = static_cast<A>(a.slope);
  for (int64_t chunk = begin; chunk < end && a.short_planes; ++chunk) {
    A* sums = partial + chunk * a.period;
    memset(sums, 0, static_cast<size_t>(a.period) * sizeof(A));
    const int64_t stop = min64((chunk + 1) * a.chunk, a.total);
    for (int64_t at = chunk * a.chunk; at < stop;) {
      const int64_t rows = at + kRows * a.period <= stop ? kRows : 1, n = min64(a.period, stop - at);
      backward_periods<kOut>(grad + at, y + at, kOut ? out + at : nullptr, rows, n, slope, sums);
      at += rows * n;
    }
  }
  if (a.short_planes) return;
  int64_t plane = begin / a.chunks_per_plane, start = begin % a.chunks_per_plane * a.chunk;
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const int64_t at = plane * a.inner + start, n = min64(a.chunk, a.inner - start);
    partial[chunk] = backward_plane<kOut>(grad + at, y + at, kOut ? out + at : nullptr, n, slope);
    start += n;
    if (start == a.inner) {
      start = 0;
      ++plane;
    }
  }
}

template <class T>
void backward(const LeakyReluArgs& a, int64_t begin, int64_t end) {
  return a.out ? backward<true, T>(a, begin, end) : backward<false, T>(a, begin, end);
}

}  // namespace

void leaky_relu_forward(const LeakyReluArgs& args, int64_t begin, int64_t end) {
  switch (args.dtype) {
    case DType::f32: return forward<float>(args, begin, end);
    case DType::f64: return forward<double>(args, begin, end);
    case DType::bf16: return forward<BFloat16>(args, begin, end);
    case DType::f16: return forward<Float16>(args, begin, end);
  }
}

void leaky_relu_backward(const LeakyReluArgs& args, int64_t begin, int64_t end) {
  switch (args.dtype) {
    case DType::f32: return backward<float>(args, begin, end);
    case DType::f64: return backward<double>(args, begin, end);
    case DType::bf16: return backward<BFloat16>(args, begin, end);
    case DType::f16: return backward<Float16>(args, begin, end);
  }
}

}  // namespace gankit::GANKIT_CPU_CAPABILITY
