// Which kernel of instance_norm_act takes what, from sizes, alignment and device alone. Plain C++: tests call it too.
#pragma once

#include <stdint.h>

#include "../cpu/instance_norm_act.h"

namespace gankit::instance_norm_act {

struct Device {
  int64_t multiprocessors, max_cluster, shared_bytes;  // clusters of 1: none; shared memory that a block can have
};

// whole: packs of 16 bytes, aligned. edges: such packs, but a plane may start or end within one. scalar: elements.
enum class Access { whole, edges, scalar };

// lanes: part of a warp takes a plane; block: a block or cluster takes a plane, or a few channels of an image, and holds
// it; split: planes in parts, read twice.
enum class Way { lanes, block, split };

struct Plan {
  Access access;
  Way way;
  int64_t blocks = 0;
  unsigned threads = 0, cluster = 1;
  int held = 0;   // packs that a thread holds
  int width = 0;  // rows: lanes of a plane; columns: packs of a pixel that a block takes
  int64_t parts = 1, each = 0;
  int64_t shared_bytes = 0;  // columns
};

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t power_of_two(int64_t at_least) {
  int64_t p = 1;
  while (p < at_least) p *= 2;
  return p;
}

constexpr int64_t kPart = 32 * 1024;  // bytes of a part, at least: enough to be worth a block

// Parts of a multiple of `step` elements, so many that the device has four blocks a multiprocessor, if they can be.
inline void split(Plan& plan, int64_t units, int64_t elements, int64_t bytes, int64_t step, const Device& device) {
  const int64_t wanted = ceil_div(4 * device.multiprocessors, units), most = larger(bytes / kPart, 1);
  plan.way = Way::split;
  plan.each = ceil_div(ceil_div(elements, smaller(wanted, most)), step) * step;
  plan.parts = ceil_div(elements, plan.each);
  plan.blocks = units * plan.parts;
}

// NCHW. Backward holds two arrays, so half as much of each.
inline Plan plan_rows(const InstanceNormActShape& shape, Access access, bool backward, const Device& device) {
  constexpr int64_t kMost = 512;  // threads of a block that takes a plane
  const int64_t size = shape.dtype == DType::f64 ? 8 : shape.dtype == DType::f32 ? 4 : 2;
  const int64_t planes = shape.batch * shape.channels, vector = access == Access::scalar ? 1 : 16 / size;
  // an edge before and one behind
  const int64_t packs = (shape.spatial + (access == Access::edges ? 2 * vector - 2 : vector - 1)) / vector;
  Plan plan{access, Way::lanes};
  if (packs <= 8 * 32) {
    plan.held = access == Access::whole && packs <= 2 * 32 ? 2 : 8;
    plan.width = int(power_of_two(ceil_div(packs, plan.held)));
    plan.threads = 128;
    plan.blocks = ceil_div(planes * plan.width, plan.threads);
    return plan;
  }
  plan.way = Way::block;
  plan.held = backward || access == Access::whole ? 8 : 16;
  int64_t cluster = 1;
  const auto too_large = [&] { return packs > kMost * plan.held * cluster; };
  const auto too_few = [&] { return planes * cluster < 2 * device.multiprocessors && packs >= 2 * cluster * kMost; };
  while (2 * cluster <= device.max_cluster && (too_large() || too_few())) cluster *= 2;
  if (too_large() && !backward) plan.held = 16;
  if (too_large()) {
    plan.threads = 256;
    split(plan, planes, shape.spatial, shape.spatial * size, 16 / size, device);
    return plan;
  }
  plan.cluster = unsigned(cluster);
  plan.threads = unsigned(ceil_div(ceil_div(packs, plan.held * cluster), 32) * 32);
  plan.blocks = planes * cluster;
  return plan;
}

// channels_last. The widest rows of packs that still give every multiprocessor a block, down to sectors of 32 bytes.
inline Plan plan_columns(const InstanceNormActShape& shape, Access access, bool backward, const Device& device) {
  const int64_t size = shape.dtype == DType::f64 ? 8 : shape.dtype == DType::f32 ? 4 : 2, wide = size < 4 ? 4 : size;
  const int64_t vector = access == Access::whole ? 16 / size : 1, bytes = vector * size, arrays = backward ? 2 : 1;
  const int64_t widest = smaller(power_of_two(ceil_div(shape.channels, vector)), access == Access::whole ? 8 : 32);
  Plan plan{access, Way::block};
  for (int64_t lanes = widest; lanes == widest || lanes * bytes >= 32; lanes /= 2) {
    const int64_t units = shape.batch * ceil_div(shape.channels, lanes * vector);
    int64_t cluster = 1, threads = 0, slots = 0, shared = 0;
    const auto spread = [&] {
      const int64_t pixels = ceil_div(shape.spatial, cluster);
      threads = smaller(larger(power_of_two(ceil_div(pixels * lanes, 8)), 64), 512);
      slots = ceil_div(ceil_div(pixels, threads / lanes), 4) * 4;
      // the tile, and both sums' scratch: one of V values and one of 2 V, see column_scratch()
      shared = arrays * slots * threads * bytes + 3 * (threads / 32 + 2) * lanes * vector * wide;
      const bool few = units * cluster < 2 * device.multiprocessors && pixels * lanes * bytes > kPart;
      return 2 * shared > device.shared_bytes || few;  // two blocks a multiprocessor: one loads while the other stores
    };
    while (spread() && 2 * cluster <= device.max_cluster) cluster *= 2;
    const bool fits = shared <= device.shared_bytes;
    const bool narrower = lanes * bytes >= 64 && lanes > 1;
    if (fits && (units * cluster >= device.multiprocessors || !narrower)) {
      plan.held = int(slots);
      plan.width = int(lanes);
      plan.cluster = unsigned(cluster);
      plan.threads = unsigned(threads);
      plan.blocks = units * cluster;
      plan.shared_bytes = shared;
      return plan;
    }
    if (lanes == 1) break;
  }
  plan.width = int(widest);
  plan.threads = 256;
  const int64_t units = shape.batch * ceil_div(shape.channels, widest * vector);
  split(plan, units, shape.spatial, shape.spatial * widest * bytes, 1, device);
  plan.shared_bytes = 3 * (plan.threads / 32 + 2) * widest * vector * wide;
  return plan;
}

inline Plan plan_of(const InstanceNormActShape& shape, Access access, bool backward, const Device& device) {
  return shape.channels_last ? plan_columns(shape, access, backward, device)
                             : plan_rows(shape, access, backward, device);
}

}  // namespace gankit::instance_norm_act
