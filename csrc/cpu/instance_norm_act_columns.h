// instance_norm_act where the channels of a pixel lie side by side (channels_last).
// An image is a matrix of pixels by channels. `fold` pixels make one row of it, so that a row is whole registers
// however odd the number of channels; the pixels that are left over at the end are its tail. Rows are reduced in
// segments, always the same ones, so that a result does not depend on the number of threads.
#pragma once

#include "instance_norm_act_common.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

struct Grid {
  int64_t channels, fold, width, rows, tail, segment_rows, segments;
  int64_t rows_of(int64_t segment) const { return min64(segment_rows, rows - segment * segment_rows); }
};

template <class T>
Grid make_grid(const InstanceNormActShape& shape) {
  // So many rows at most that a sum in the type computed in stays sharp.
  constexpr int64_t kSegmentBytes = 128 * 1024, kLeastRows = 16, kMostRows = 2048;
  Grid g{};
  g.channels = shape.channels;
  g.fold = 1;
  while (g.fold * g.channels % kLanes<compute_t<T>> != 0) g.fold *= 2;  // the lanes are a power of two
  g.width = g.fold * g.channels;
  g.rows = shape.spatial / g.fold;
  g.tail = shape.spatial % g.fold;
  g.segment_rows = min64(kMostRows, max64(kLeastRows, kSegmentBytes / (g.width * static_cast<int64_t>(sizeof(T)))));
  g.segments = max64(1, (g.rows + g.segment_rows - 1) / g.segment_rows);  // one even if all is tail
  return g;
}

// Calls f(w, c) for every column of a row and its channel.
template <class F>
void each_column(const Grid& g, const F& f) {
  for (int64_t w = 0; w < g.width;) {
    for (int64_t c = 0; c < g.channels; ++c, ++w) f(w, c);
  }
}

// Adds `step` over rows [0, rows) into M arrays of g.width sums, some rows at a time. step.column<V>(w) is loaded once
// for the elements of a column (V of them) and handed to step.at<V>(element, column, sums).
template <class T, int M, class Step>
GANKIT_FORMULA_MEMBER void accumulate_rows(const Grid& g, int64_t rows, const Step& step, compute_t<T>* sums) {
  using V = Vec<compute_t<T>>;
  constexpr int L = kLanes<compute_t<T>>;
  for (int64_t w = 0; w < M * g.width; w += L) put<V>(sums + w, V{});
  int64_t r = 0;
  const auto add = [&](int64_t count) __attribute__((always_inline)) {
    for (int64_t w = 0; w < g.width; w += L) {
      const auto column = step.template column<V>(w);
      V s[M] = {};
      for (int64_t k = r; k < r + count; ++k) step.template at<V>(k * g.width + w, column, s);
      for (int m = 0; m < M; ++m) put<V>(sums + m * g.width + w, get<V>(sums + m * g.width + w) + s[m]);
    }
    r += count;
  };
  while (r + 4 <= rows) add(4);
  while (r < rows) add(1);
}

// Calls step.at<V>(element, step.column<V>(its column)) for all of the rows, kRows at a time, and for the tail.
template <class T, int kRows, class Step>
GANKIT_FORMULA_MEMBER void map_rows(const Grid& g, int64_t rows, int64_t tail, const Step& step) {
  using A = compute_t<T>;
  using V = Vec<A>;
  int64_t r = 0;
  const auto map = [&](int64_t count) __attribute__((always_inline)) {
    for (int64_t w = 0; w < g.width; w += kLanes<A>) {
      const auto column = step.template column<V>(w);
      for (int64_t k = r; k < r + count; ++k) step.template at<V>(k * g.width + w, column);
    }
    r += count;
  };
  while (r + kRows <= rows) map(kRows);
  while (r < rows) map(1);
  for (int64_t i = 0; i < tail * g.channels; ++i) {
    step.template at<A>(rows * g.width + i, step.template column<A>(i));
  }
}

// Some rows of image n, `at` from the tensor's start; with the tail where they are its last ones.
struct Stripe {
  int64_t n, rows, tail, at;
};

// Reduces every image, then maps over it: prepare(n, planes), reduce(stripe, planes, part), finish(n, planes, parts),
// map(stripe, planes). A part is kPart arrays of g.width, `planes` kPlanes of them for an image. Small images go to one
// thread each, which finds them cached the second time; large ones are shared out by segments.
template <class A, int kPart, int kPlanes, class Prepare, class Reduce, class Finish, class Map>
void each_image(const Grid& g, const InstanceNormActShape& shape, int64_t image_bytes, const Parallel& parallel,
                const Prepare& prepare, const Reduce& reduce, const Finish& finish, const Map& map) {
  constexpr int64_t kCachedBytes = 1 << 20;
  const int64_t part_size = kPart * g.width, parts_size = g.segments * part_size;
  const int64_t planes_size = kPlanes * g.width, image = shape.channels * shape.spatial;
  const auto stripe = [&](int64_t n, int64_t s) {
    return Stripe{n, g.rows_of(s), s + 1 == g.segments ? g.tail : 0, n * image + s * g.segment_rows * g.width};
  };
  if (g.segments == 1 || (image_bytes <= kCachedBytes && balanced(shape.batch, parallel))) {
    run(parallel, shape.batch, image, [&](int64_t begin, int64_t end) {
      const Buffer<A> scratch(parts_size + planes_size);
      A* planes = scratch.data + parts_size;
      for (int64_t n = begin; n < end; ++n) {
        prepare(n, planes);
        for (int64_t s = 0; s < g.segments; ++s) {
          reduce(stripe(n, s), planes, scratch.data + s * part_size);
        }
        finish(n, planes, scratch.data);
        for (int64_t s = g.segments; s-- > 0;) map(stripe(n, s), planes);
      }
    });
    return;
  }
  const Buffer<A> scratch(shape.batch * (parts_size + planes_size));
  const auto parts_of = [&](int64_t n) { return scratch.data + n * parts_size; };
  const auto planes_of = [&](int64_t n) { return scratch.data + shape.batch * parts_size + n * planes_size; };
  const int64_t pieces = shape.batch * g.segments, cost = g.segment_rows * g.width;
  for (int64_t n = 0; n < shape.batch; ++n) prepare(n, planes_of(n));
  run(parallel, pieces, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / g.segments, s = i % g.segments;
      reduce(stripe(n, s), planes_of(n), parts_of(n) + s * part_size);
    }
  });
  run(parallel, shape.batch, parts_size, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) finish(n, planes_of(n), parts_of(n));
  });
  run(parallel, pieces, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = end; i-- > begin;) {  // backwards: what was read last is still cached
      map(stripe(i / g.segments, i % g.segments), planes_of(i / g.segments));
    }
  });
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
