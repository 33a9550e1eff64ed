#include "leaky_relu.h"

#include "../leaky_relu.h"
#include "simd.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// One bias for the whole run (a piece of a plane), or one an element (a piece of the period).
template <typename T, typename C>
GANKIT_FORMULA void forward_run(const T* x, T* y, int64_t n, C bias, const C* biases, C slope) {
  C in_buffer[kBlock], out_buffer[kBlock];
  const int64_t step = block_length<T>(n);
  for (int64_t at = 0; at < n; at += step) {
    const int64_t length = min64(step, n - at);
    const C* in = load(x + at, in_buffer, length);
    C* out = target(y + at, out_buffer);
    if (biases) {
      const C* b = biases + at;
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) out[i] = leaky_relu_value(in[i], b[i], slope);
    } else {
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) out[i] = leaky_relu_value(in[i], bias, slope);
    }
    store(y + at, out, length);
  }
}

template <typename T>
void forward(const LeakyReluArgs& a, int64_t begin, int64_t end) {
  using C = compute_t<T>;
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.out);
  const C* bias = static_cast<const C*>(a.bias);
  const C slope = C(a.slope);
  const int64_t run = a.short_planes ? a.period : a.inner;
  int64_t unit = begin / run, offset = begin % run, channel = unit % a.channels;
  while (begin < end) {
    const int64_t n = min64(run - offset, end - begin);
    if (a.short_planes) {
      forward_run(x + begin, y + begin, n, C(0), bias + offset, slope);
    } else {
      forward_run(x + begin, y + begin, n, bias[channel], static_cast<const C*>(nullptr), slope);
      channel = channel + 1 == a.channels ? 0 : channel + 1;
    }
    begin += n;
    offset = 0;
  }
}

constexpr int64_t kLanes = 64;  // independent sums, so that additions overlap and errors stay small

// Gradient of one run; with `sums` the gradients are also added up, per element of the run (wide) or over kLanes.
template <typename T, typename C>
GANKIT_FORMULA void backward_run(const T* grad, const T* y, T* out, int64_t n, C slope, C* wide, C* lanes) {
  C grad_buffer[kBlock], y_buffer[kBlock], out_buffer[kBlock];
  // Where no gradient of the input is asked for, its values only pass through a buffer.
  const int64_t step = out ? block_length<T>(n) : min64(n, kBlock);
  for (int64_t at = 0; at < n; at += step) {
    const int64_t length = min64(step, n - at);
    const C* g = load(grad + at, grad_buffer, length);
    const C* v = load(y + at, y_buffer, length);
    C* o = out ? target(out + at, out_buffer) : out_buffer;
    if (wide) {
      C* w = wide + at;
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) {
        const C d = leaky_relu_grad(g[i], v[i], slope);
        o[i] = d;
        w[i] += d;
      }
    } else if (lanes) {
      int64_t i = 0;
      for (; i + kLanes <= length; i += kLanes) {
#pragma omp simd
        for (int64_t j = 0; j < kLanes; ++j) {
          const C d = leaky_relu_grad(g[i + j], v[i + j], slope);
          o[i + j] = d;
          lanes[j] += d;
        }
      }
#pragma omp simd
      for (int64_t j = 0; j < length - i; ++j) {
        const C d = leaky_relu_grad(g[i + j], v[i + j], slope);
        o[i + j] = d;
        lanes[j] += d;
      }
    } else {
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) o[i] = leaky_relu_grad(g[i], v[i], slope);
    }
    if (out) store(out + at, o, length);
  }
}

template <typename T>
void backward(const LeakyReluArgs& a, int64_t begin, int64_t end) {
  using C = compute_t<T>;
  const T* grad = static_cast<const T*>(a.grad);
  const T* y = static_cast<const T*>(a.y);
  T* out = static_cast<T*>(a.out);
  C* partial = static_cast<C*>(a.partial);
  const C slope = C(a.slope);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    if (a.short_planes) {
      C* wide = partial ? partial + chunk * a.period : nullptr;
      if (wide) memset(wide, 0, size_t(a.period) * sizeof(C));
      const int64_t stop = min64((chunk + 1) * a.chunk, a.total);
      for (int64_t at = chunk * a.chunk; at < stop; at += a.period) {
        const int64_t n = min64(a.period, stop - at);
        backward_run(grad + at, y + at, out ? out + at : out, n, slope, wide, static_cast<C*>(nullptr));
      }
    } else {
      const int64_t plane = chunk / a.chunks_per_plane, start = (chunk % a.chunks_per_plane) * a.chunk;
      const int64_t at = plane * a.inner + start, n = min64(a.chunk, a.inner - start);
      C lanes[kLanes] = {};
      backward_run(grad + at, y + at, out ? out + at : out, n, slope, static_cast<C*>(nullptr),
                   partial ? lanes : nullptr);
      if (partial) {
        for (int64_t width = kLanes / 2; width; width /= 2) {
#pragma omp simd
          for (int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
        }
        partial[chunk] = lanes[0];
      }
    }
  }
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
