// Which kernel of instance_norm_act takes what, from sizes, alignment and device alone. Plain C++: tests call it too.
#pragma once

#include <stdint.h>

#include "../instance_norm_act_args.h"

namespace gankit::instance_norm_act {

struct Device {
  int64_t multiprocessors;
  int64_t max_cluster;   // blocks; 1: no clusters
  int64_t shared_bytes;  // that a block can have
};

// What a kernel holds of a plane: how many arrays of its elements, and how many sums (channels_last: for each channel
// of a pack).
struct Footprint {
  int64_t arrays, sums;
};
constexpr Footprint kForwardFootprint{1, 3};  // one sum for a provisional mean, two about that

// whole: packs of 16 bytes, aligned. edges: such packs, but a plane may start or end within one. scalar: elements.
enum class Access { whole, edges, scalar };

// lanes: a plane is processed by some lanes of a warp. block: a plane, or a few channels of an image, is held by a
// block or a cluster. split: a plane is cut into parts for several blocks, and read twice.
enum class Strategy { lanes, block, split };

struct Plan {
  Access access{};
  Strategy strategy{};
  int64_t blocks = 0;
  unsigned threads = 0, cluster = 1;
  int held = 0;   // packs that a thread holds
  int width = 0;  // rows: lanes of a plane; columns: packs of a pixel that a block takes
  int64_t parts = 1, each = 0;
  int64_t shared_bytes = 0;  // columns
};

// Every device that has clusters supports 8 blocks. Larger clusters are not portable, and can be scheduled in fewer
// places, since a cluster must fit into one group of multiprocessors. They are still better than split, which reads the
// plane twice, so they are used where 8 blocks cannot hold the plane, and only there.
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

// Cuts each of `units` into parts of a multiple of `step` elements, so many that every multiprocessor gets a dozen
// blocks if parts of `least` bytes allow it: two to four run at a time, and with few in all, most would idle while the
// last ones run.
inline void split(Plan& plan, int64_t units, int64_t elements, int64_t bytes, int64_t step, int64_t least,
                  const Device& device) {
  const int64_t wanted = ceil_div(12 * device.multiprocessors, units), most = larger(bytes / least, 1);
  plan.strategy = Strategy::split;
  plan.each = ceil_div(ceil_div(elements, smaller(wanted, most)), step) * step;
  plan.parts = ceil_div(elements, plan.each);
  plan.blocks = units * plan.parts;
}

// NCHW. A thread has registers for 16 packs of one array (with 8, more blocks fit on a multiprocessor), for 8 of two,
// or 4 of three. Two blocks should fit on a multiprocessor, so that one loads while the other computes or stores. With
// 512 threads they do only in float32's forward, which takes 64 registers a thread; the others get blocks of 256.
inline Plan plan_rows(const InstanceNormActShape& shape, Access access, const Footprint& footprint,
                      const Device& device) {
  constexpr int64_t kMaxThreads = 512;  // of a block that holds a plane
  const int64_t size = element_bytes(shape.dtype), planes = shape.batch * shape.channels;
  const int64_t vector = access == Access::scalar ? 1 : 16 / size;
  // an edge before and one behind
  const int64_t packs = (shape.spatial + (access == Access::edges ? 2 * vector - 2 : vector - 1)) / vector;
  const int most_held = footprint.arrays > 2 ? 4 : 8;
  Plan plan{access, Strategy::lanes};
  if (packs <= most_held * 32) {
    plan.held = footprint.arrays <= 2 && access == Access::whole && packs <= 2 * 32 ? 2 : most_held;
    plan.width = int(power_of_two(ceil_div(packs, plan.held)));
    plan.threads = 128;
    plan.blocks = ceil_div(planes * plan.width, plan.threads);
    return plan;
  }
  plan.strategy = Strategy::block;
  plan.held = footprint.arrays > 1 || access == Access::whole ? most_held : 16;
  const bool two_of_512 = footprint.arrays == 1 && plan.held == 8 && size == 4;  // blocks on a multiprocessor
  int64_t cluster = 1, max_threads = two_of_512 ? kMaxThreads : kMaxThreads / 2;
  const auto too_large = [&] { return packs > max_threads * plan.held * cluster; };
  const auto too_few = [&] {
    return planes * cluster < 2 * device.multiprocessors && packs >= 2 * cluster * kMaxThreads;
  };
  while (2 * cluster <= smaller(device.max_cluster, kPortableCluster) && (too_large() || too_few())) cluster *= 2;
  if (too_large() && footprint.arrays == 1) plan.held = 16;
  if (too_large()) max_threads = kMaxThreads;
  while (2 * cluster <= device.max_cluster && too_large()) cluster *= 2;
  if (too_large()) {
    plan.threads = 256;
    split(plan, planes, shape.spatial, shape.spatial * size, 16 / size, kPart, device);
    return plan;
  }
  plan.cluster = unsigned(cluster);
  plan.threads = unsigned(ceil_div(ceil_div(packs, plan.held * cluster), 32) * 32);
  plan.blocks = planes * cluster;
  return plan;
}

// The shared memory of column_sum, see column_scratch().
inline int64_t columns_scratch(const Footprint& footprint, int64_t threads, int64_t channels, DType dtype) {
  return footprint.sums * (threads / 32 + 2) * channels * larger(element_bytes(dtype), 4);
}

// What the runtime takes of a block's shared memory for itself.
constexpr int64_t kReserved = 1024;

// The widest rows of packs that still give every multiprocessor a block, down to sectors of 32 bytes, held by at most
// `max_cluster` blocks a cluster; false where those cannot.
inline bool hold_columns(Plan& plan, const InstanceNormActShape& shape, const Footprint& footprint,
                         const Device& device, int64_t widest, int64_t vector, int64_t max_cluster) {
  const int64_t bytes = vector * element_bytes(shape.dtype);
  for (int64_t lanes = widest; lanes == widest || lanes * bytes >= 32; lanes /= 2) {
    const int64_t units = shape.batch * ceil_div(shape.channels, lanes * vector);
    int64_t cluster = 1, threads = 0, slots = 0, shared = 0;
    // Two blocks should fit on a multiprocessor: one loads while the other computes or stores.
    const auto one_block_only = [&] { return 2 * shared + kReserved > device.shared_bytes; };
    // Sets threads, slots and shared for this cluster size; returns whether a larger cluster would be better.
    const auto wants_larger_cluster = [&] {
      const int64_t pixels = ceil_div(shape.spatial, cluster);
      for (int64_t most_threads = 256; most_threads <= 512; most_threads *= 2) {
        threads = smaller(larger(power_of_two(ceil_div(pixels * lanes, 8)), 64), most_threads);
        slots = ceil_div(ceil_div(pixels, threads / lanes), 4) * 4;
        shared = footprint.arrays * slots * threads * bytes +
                 columns_scratch(footprint, threads, lanes * vector, shape.dtype);
        if (!one_block_only()) break;
      }
      return one_block_only() || (units * cluster < 2 * device.multiprocessors && pixels * lanes * bytes > kPart);
    };
    while (wants_larger_cluster() && 2 * cluster <= max_cluster) cluster *= 2;
    const bool fits = shared <= device.shared_bytes;
    const bool narrower = lanes * bytes >= 64 && lanes > 1;
    if (fits && (units * cluster >= device.multiprocessors || !narrower)) {
      plan.strategy = Strategy::block;
      plan.held = int(slots);
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

// channels_last. Only what is small is held, where one launch in place of three counts for more than that a block reads
// 32 bytes of each pixel. On an H100 split planes take 0.6 to 1.03 of the time of held ones from 8 MiB on.
inline Plan plan_columns(const InstanceNormActShape& shape, Access access, const Footprint& footprint,
                         const Device& device) {
  const int64_t size = element_bytes(shape.dtype), vector = access == Access::whole ? 16 / size : 1;
  const int64_t widest = smaller(power_of_two(ceil_div(shape.channels, vector)), access == Access::whole ? 8 : 32);
  const int64_t bytes = shape.batch * shape.channels * shape.spatial * size;
  Plan plan{access};
  if (footprint.arrays <= 2 && bytes <= kPart * device.multiprocessors) {
    for (int64_t most = smaller(device.max_cluster, kPortableCluster); most <= device.max_cluster; most *= 2) {
      if (hold_columns(plan, shape, footprint, device, widest, vector, most)) return plan;
    }
  }
  plan.width = int(widest);
  plan.threads = 256;
  const int64_t units = shape.batch * ceil_div(shape.channels, widest * vector);
  const int64_t least = larger(kPart, smaller(2 * kPart, bytes / (2 * device.multiprocessors)));
  split(plan, units, shape.spatial, shape.spatial * widest * vector * size, 1, least, device);
  plan.shared_bytes = columns_scratch(footprint, plan.threads, widest * vector, shape.dtype);
  return plan;
}

inline Plan plan_of(const InstanceNormActShape& shape, Access access, const Footprint& footprint, const Device& device) {
  return (shape.channels_last ? plan_columns : plan_rows)(shape, access, footprint, device);
}

}  // namespace gankit::instance_norm_act
