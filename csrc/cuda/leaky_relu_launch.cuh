// leaky_relu on CUDA: which kernel, in which grid. See leaky_relu.cuh.
#pragma once

#include <algorithm>
#include <numeric>

#include "leaky_relu.cuh"

namespace gankit {

// Of a tensor that is not empty, in the order of memory: (outer, channels, inner), total = outer * channels * inner.
struct ReluShape {
  int64_t total, channels, inner;
};

inline int64_t relu_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Planes too short to give each lane of a warp a full pack are walked by rows.
template <typename T>
bool relu_by_rows(const ReluShape& s) {
  return s.channels > 1 && s.inner < 32 * kVector<T>;
}

template <int V>
ReluPlanes relu_planes_of(const ReluShape& s, int misaligned) {
  // All planes have the same alignment where a plane is a whole number of packs; else the worst case counts.
  const int64_t packs = relu_ceil_div(s.inner + (s.inner % V == 0 ? misaligned % V : V - 1), V);
  return {s.total / s.inner, s.channels, s.inner, relu_ceil_div(packs, 32 * kReluPacks)};
}

template <int V>
ReluRows relu_rows_of(const ReluShape& s, unsigned threads) {
  const int64_t length = std::lcm(s.channels * s.inner, int64_t(V));
  ReluRows p{s.total, s.channels, s.inner, length, relu_ceil_div(s.total, length)};
  p.columns = relu_ceil_div(length < s.total ? length : s.total, V);
  p.column_blocks = unsigned(relu_ceil_div(p.columns, threads));
  p.width = unsigned(relu_ceil_div(p.columns, p.column_blocks));
  // Few rows a thread leave many partial sums; few blocks leave processors idle.
  const int64_t wanted = p.rows / (int64_t(threads / p.width) * kReluPacks), most = kReluBlocks / p.column_blocks;
  p.row_blocks = unsigned(wanted < 1 || most < 1 ? 1 : wanted < most ? wanted : most);
  return p;
}

inline Launch relu_grid(const ReluPlanes& p, unsigned threads, cudaStream_t stream) {
  return {relu_ceil_div(p.planes * p.chunks, threads / 32), threads, stream};
}
inline Launch relu_grid(const ReluRows& p, unsigned threads, cudaStream_t stream) {
  return {int64_t(p.column_blocks) * p.row_blocks, threads, stream};
}

// f with the elements of an access: 16 bytes where the tensors are aligned alike, else one element.
template <typename T, typename F>
void relu_with_packs(const ReluShape& s, std::initializer_list<const T*> tensors, const F& f) {
  const int first = misalignment(*tensors.begin());
  bool packs = !relu_by_rows<T>(s) || first == 0;
  for (const T* t : tensors) packs = packs && misalignment(t) == first;
  if (packs) {
    f(std::integral_constant<int, kVector<T>>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

template <typename T>
void launch_leaky_relu(const ReluShape& s, const T* x, const ReluBias& bias, T* y, wide_t<T> slope,
                       cudaStream_t stream, unsigned threads = kReluThreads) {
  relu_with_packs<T>(s, {x, static_cast<const T*>(y)}, [&](auto pack) {
    constexpr int V = decltype(pack)::value;
    if (relu_by_rows<T>(s)) {
      const ReluRows p = relu_rows_of<V>(s, threads);
      launch(relu_grid(p, threads, stream), relu_rows<V, T>, x, bias, y, p, slope);
    } else {
      const ReluPlanes p = relu_planes_of<V>(s, misalignment(x));
      launch(relu_grid(p, threads, stream), relu_planes<V, T>, x, bias, y, p, slope);
    }
  });
}

// `dx` or `db` may be null. `scratch(bytes)` gives memory of the device; it is not called where none is needed.
template <typename T, typename Scratch>
void launch_leaky_relu_backward(ReluShape s, const T* grad, const T* y, T* dx, wide_t<T>* db, wide_t<T> slope,
                                cudaStream_t stream, const Scratch& scratch, unsigned threads = kReluThreads) {
  using W = wide_t<T>;
  if (!db) s = {s.total, 1, s.total};  // channels do not matter: one plane
  const auto with_partial_sums = [&](int64_t outer, int64_t inner, const auto& sum_up) {
    if (!db || outer * inner == 1) return sum_up(db);
    W* partial = static_cast<W*>(static_cast<void*>(scratch(size_t(outer * s.channels * inner) * sizeof(W))));
    sum_up(partial);
    const int64_t blocks = inner == 1 ? relu_ceil_div(s.channels, 32) : s.channels;
    // As many warps as have kBiasInFlight terms a lane to sum; where inner = 1 a warp takes 32 channels at a time.
    const int64_t warps = relu_ceil_div(outer * inner, kBiasInFlight * (inner == 1 ? 1 : 32));
    const unsigned many = 32 * unsigned(std::min<int64_t>(warps, threads * (kBiasThreads / kReluThreads) / 32));
    launch({blocks, many, stream, 1, many * sizeof(W)}, relu_bias_grad<W>, partial, db, outer, s.channels, inner);
  };
  relu_with_packs<T>(s, {y, grad, dx ? static_cast<const T*>(dx) : y}, [&](auto pack) {
    constexpr int V = decltype(pack)::value;
    if (relu_by_rows<T>(s)) {
      const ReluRows p = relu_rows_of<V>(s, threads);
      const int64_t period = s.channels * s.inner;
      const int64_t outer = p.rows == 1 ? s.total / period : p.row_blocks * (p.length / period);
      Launch how = relu_grid(p, threads, stream);
      how.shared_bytes = size_t(threads) * V * sizeof(W);
      with_partial_sums(outer, s.inner, [&](W* partial) {
        launch(how, relu_rows_backward<V, T>, grad, y, dx, partial, p, slope);
      });
    } else {
      const ReluPlanes p = relu_planes_of<V>(s, misalignment(y));
      with_partial_sums(p.planes / s.channels, p.chunks, [&](W* partial) {
        launch(relu_grid(p, threads, stream), relu_planes_backward<V, T>, grad, y, dx, partial, p, slope);
      });
    }
  });
}

}  // namespace gankit
