// Which kernel of instance_norm_act takes what, from sizes, alignment and device alone. Plain C++: tests call it too.
#pragma once

#include <stdint.h>

#include "../cpu/instance_norm_act.h"

namespace gankit::instance_norm_act {

struct Device {
  int64_t multiprocessors;
  int64_t max_cluster;   // blocks; 1: no clusters
  int64_t shared_bytes;  // that a block can have
};

// What a kernel keeps: arrays of elements, and sums (of columns, for each channel in a thread's pack).
struct Kept {
  int64_t arrays, sums;
};
constexpr Kept kForwardKept{1, 3};  // one sum for a first mean, two about that

// whole: packs of 16 bytes, aligned. edges: such packs, but a plane may start or end within one. scalar: elements.
enum class Access { whole, edges, scalar };

// lanes: part of a warp takes a plane; block: a block or cluster takes a plane, or a few channels of an image, and holds
// it; split: planes in parts, read twice.
enum class Way { lanes, block, split };

struct Plan {
  Access access{};
  Way way{};
  int64_t blocks = 0;
  unsigned threads = 0, cluster = 1;
  int held = 0;   // packs that a thread holds
  int width = 0;  // rows: lanes of a plane; columns: packs of a pixel that a block takes
  int64_t arrays = 0;  // columns: how many are held; the rest is read again
  int64_t parts = 1, each = 0;
  int64_t shared_bytes = 0;  // columns
};

// Every device that has clusters takes 8 blocks. More are not portable, and find room in fewer places: the whole
// cluster must fit into one group of multiprocessors. They are still better than to split, which reads the plane twice,
// so they are taken where 8 blocks cannot hold it, and only there.
constexpr int64_t kPortableCluster = 8;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t power_of_two(int64_t at_least) {
  int64_t p = 1;
  while (p < at_least) p *= 2;
  return p;
}

constexpr int64_t kPart = 32 * 1024;  // bytes of a part, at least: enough to be worth a block
constexpr int64_t element_bytes(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }

// Parts of a multiple of `step` elements, so many that the device has a dozen blocks a multiprocessor, if they can be:
// two to four run at a time, and the fewer follow them, the longer the last ones run alone.
inline void split(Plan& plan, int64_t units, int64_t elements, int64_t bytes, int64_t step, const Device& device) {
  const int64_t wanted = ceil_div(12 * device.multiprocessors, units), most = larger(bytes / kPart, 1);
  plan.way = Way::split;
  plan.each = ceil_div(ceil_div(elements, smaller(wanted, most)), step) * step;
  plan.parts = ceil_div(elements, plan.each);
  plan.blocks = units * plan.parts;
}

// NCHW. A thread has registers for 16 packs of one array (8 leave more blocks to a multiprocessor), for 8 of two, or 4
// of three. Two blocks a multiprocessor are wanted, so that one loads while the other computes or stores. At 512 threads
// only float32's forward, which has 64 registers a thread, finds room twice; the others are wanted at 256.
inline Plan plan_rows(const InstanceNormActShape& shape, Access access, const Kept& kept, const Device& device) {
  constexpr int64_t kMost = 512;  // threads of a block that takes a plane
  const int64_t size = element_bytes(shape.dtype), planes = shape.batch * shape.channels;
  const int64_t vector = access == Access::scalar ? 1 : 16 / size;
  // an edge before and one behind
  const int64_t packs = (shape.spatial + (access == Access::edges ? 2 * vector - 2 : vector - 1)) / vector;
  const int few = kept.arrays > 2 ? 4 : 8;
  Plan plan{access, Way::lanes};
  if (packs <= few * 32) {
    plan.held = kept.arrays <= 2 && access == Access::whole && packs <= 2 * 32 ? 2 : few;
    plan.width = int(power_of_two(ceil_div(packs, plan.held)));
    plan.threads = 128;
    plan.blocks = ceil_div(planes * plan.width, plan.threads);
    return plan;
  }
  plan.way = Way::block;
  plan.held = kept.arrays > 1 || access == Access::whole ? few : 16;
  int64_t cluster = 1, most = kept.arrays == 1 && plan.held == 8 && size == 4 ? kMost : kMost / 2;
  const auto too_large = [&] { return packs > most * plan.held * cluster; };
  const auto too_few = [&] { return planes * cluster < 2 * device.multiprocessors && packs >= 2 * cluster * kMost; };
  while (2 * cluster <= smaller(device.max_cluster, kPortableCluster) && (too_large() || too_few())) cluster *= 2;
  if (too_large() && kept.arrays == 1) plan.held = 16;
  if (too_large()) most = kMost;
  while (2 * cluster <= device.max_cluster && too_large()) cluster *= 2;
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

// The shared memory of column_sum, see column_scratch().
inline int64_t columns_scratch(const Kept& kept, int64_t threads, int64_t channels, DType dtype) {
  return kept.sums * (threads / 32 + 2) * channels * larger(element_bytes(dtype), 4);
}

// What the runtime takes of a block's shared memory for itself.
constexpr int64_t kReserved = 1024;

// The widest rows of packs that still give every multiprocessor a block, down to sectors of 32 bytes, held by at most
// `most` blocks a cluster; false where those cannot.
inline bool hold_columns(Plan& plan, const InstanceNormActShape& shape, const Kept& kept, int64_t arrays,
                         const Device& device, int64_t widest, int64_t vector, int64_t most) {
  const int64_t bytes = vector * element_bytes(shape.dtype);
  for (int64_t lanes = widest; lanes == widest || lanes * bytes >= 32; lanes /= 2) {
    const int64_t units = shape.batch * ceil_div(shape.channels, lanes * vector);
    int64_t cluster = 1, threads = 0, slots = 0, shared = 0;
    // Two blocks a multiprocessor are wanted: one loads while the other computes or stores.
    const auto alone = [&] { return 2 * shared + kReserved > device.shared_bytes; };
    const auto spread = [&] {
      const int64_t pixels = ceil_div(shape.spatial, cluster);
      for (int64_t most_threads = 256; most_threads <= 512; most_threads *= 2) {
        threads = smaller(larger(power_of_two(ceil_div(pixels * lanes, 8)), 64), most_threads);
        slots = ceil_div(ceil_div(pixels, threads / lanes), 4) * 4;
        shared = arrays * slots * threads * bytes + columns_scratch(kept, threads, lanes * vector, shape.dtype);
        if (!alone()) break;
      }
      return alone() || (units * cluster < 2 * device.multiprocessors && pixels * lanes * bytes > kPart);
    };
    while (spread() && 2 * cluster <= most) cluster *= 2;
    const bool fits = shared <= device.shared_bytes;
    const bool narrower = lanes * bytes >= 64 && lanes > 1;
    // What is held in part is read again, like what is split: few blocks would be worse than that.
    const bool worse = arrays < kept.arrays && 2 * units * cluster < device.multiprocessors;
    if (fits && (units * cluster >= device.multiprocessors || !(narrower || worse))) {
      plan.way = Way::block;
      plan.held = int(slots);
      plan.arrays = arrays;
      plan.width = int(lanes);
      plan.cluster = unsigned(cluster);
      plan.threads = unsigned(threads);
      plan.blocks = units * cluster;
      plan.shared_bytes = shared;
      return true;
    }
    if (lanes == 1) break;
  }
  return false;
}

// channels_last.
inline Plan plan_columns(const InstanceNormActShape& shape, Access access, const Kept& kept, const Device& device) {
  const int64_t size = element_bytes(shape.dtype), vector = access == Access::whole ? 16 / size : 1;
  const int64_t widest = smaller(power_of_two(ceil_div(shape.channels, vector)), access == Access::whole ? 8 : 32);
  Plan plan{access};
  const int64_t fewest = access == Access::whole && kept.arrays == 2 ? 1 : kept.arrays;  // of three: no registers
  for (int64_t arrays = kept.arrays; arrays >= fewest; --arrays) {
    for (int64_t most = smaller(device.max_cluster, kPortableCluster); most <= device.max_cluster; most *= 2) {
      if (hold_columns(plan, shape, kept, arrays, device, widest, vector, most)) return plan;
    }
  }
  plan.width = int(widest);
  plan.threads = 256;
  const int64_t units = shape.batch * ceil_div(shape.channels, widest * vector);
  split(plan, units, shape.spatial, shape.spatial * widest * vector * size, 1, device);
  plan.shared_bytes = columns_scratch(kept, plan.threads, widest * vector, shape.dtype);
  return plan;
}

inline Plan plan_of(const InstanceNormActShape& shape, Access access, const Kept& kept, const Device& device) {
  return shape.channels_last ? plan_columns(shape, access, kept, device) : plan_rows(shape, access, kept, device);
}

}  // namespace gankit::instance_norm_act
