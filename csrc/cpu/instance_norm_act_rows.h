// instance_norm_act where the elements of a plane lie side by side (NCHW).
// A plane is read from memory once: the second pass over it finds it in the second-level cache.
#pragma once

#include "instance_norm_act_common.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// Planes are reduced in segments, merged in order, so that a result does not depend on the number of threads.
constexpr int64_t kSegment = 16384;

// Adds `step` over [0, n) into M sums, each in several registers; step.at<V>(i, sums) adds one V of elements.
template <class T, int M, class Step>
GANKIT_FORMULA_MEMBER void accumulate_row(int64_t n, const Step& step, compute_t<T> (&sums)[M]) {
  using A = compute_t<T>;
  using V = Vec<A>;
  constexpr int L = kLanes<A>, U = M <= 2 ? 4 : 2;  // as many as there are registers for
  constexpr int64_t kShort = 64 * U * L;            // long float sums of equal terms always round to the same side
  V s[U][M] = {};
  int64_t i = 0;
  while (i + U * L <= n) {
    V part[U][M] = {};
    for (const int64_t stop = min64(n, i + kShort); i + U * L <= stop; i += U * L) {
      for (int k = 0; k < U; ++k) step.template at<V>(i + k * L, part[k]);
    }
GANKIT_UNROLL
    for (int k = 0; k < U; ++k) {
GANKIT_UNROLL
      for (int m = 0; m < M; ++m) s[k][m] += part[k][m];
    }
  }
  for (; i + L <= n; i += L) step.template at<V>(i, s[0]);
GANKIT_UNROLL
  for (int m = 0; m < M; ++m) {
    if constexpr (U == 4) s[0][m] = (s[0][m] + s[1][m]) + (s[2][m] + s[3][m]);
    else s[0][m] += s[1][m];
    sums[m] = sum_lanes<A>(s[0][m]);
  }
  for (; i < n; ++i) step.template at<A>(i, sums);
}

// Where a piece of a plane lies: plane p = (n, c), elements [start, start + count) of it, `at` from the tensor's start.
struct Piece {
  int64_t n, c, p, start, count, at;
};

// Reduces every plane, then maps over it: reduce(piece) gives a Part, finish(piece, part), map(piece).
// A thread takes whole planes; they are cut only where too few of them would leave threads idle.
template <class Part, class Reduce, class Finish, class Map>
void each_plane(const InstanceNormActShape& shape, const Parallel& parallel, const Reduce& reduce,
                const Finish& finish, const Map& map) {
  const int64_t size = shape.spatial, planes = shape.batch * shape.channels;
  const int64_t cuts = (size + kSegment - 1) / kSegment;
  const auto whole = [&](int64_t p) {
    const int64_t n = p / shape.channels;
    return Piece{n, p - n * shape.channels, p, 0, size, p * size};
  };
  const auto cut = [&](Piece piece, int64_t i) {
    piece.start = i * kSegment;
    piece.count = min64(size - piece.start, kSegment);
    piece.at += piece.start;
    return piece;
  };
  if (cuts == 1 || balanced(planes, parallel)) {
    run(parallel, planes, size, [&](int64_t begin, int64_t end) {
      // Small planes are processed in groups, so that the latencies of their divisions and square roots overlap.
      constexpr int64_t kGroup = 16, kGroupElements = 4096;
      const int64_t group = max64(1, min64(kGroup, kGroupElements / size));
      Part parts[kGroup];
      for (int64_t first = begin; first < end; first += group) {
        const int64_t count = min64(group, end - first);
        for (int64_t k = 0; k < count; ++k) {
          const Piece plane = whole(first + k);
          parts[k] = reduce(cut(plane, 0));
          for (int64_t i = 1; i < cuts; ++i) parts[k] = merge(parts[k], reduce(cut(plane, i)));
        }
        for (int64_t k = 0; k < count; ++k) finish(whole(first + k), parts[k]);
        for (int64_t k = 0; k < count; ++k) map(whole(first + k));
      }
    });
    return;
  }
  const Buffer<Part> parts(planes * cuts);
  run(parallel, planes * cuts, kSegment, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) parts.data[i] = reduce(cut(whole(i / cuts), i % cuts));
  });
  for (int64_t p = 0; p < planes; ++p) {
    Part part = parts.data[p * cuts];
    for (int64_t i = 1; i < cuts; ++i) part = merge(part, parts.data[p * cuts + i]);
    finish(whole(p), part);
  }
  run(parallel, planes * cuts, kSegment, [&](int64_t begin, int64_t end) {
    for (int64_t i = end; i-- > begin;) map(cut(whole(i / cuts), i % cuts));  // backwards: the last ones are cached
  });
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
