// The CPU kernels of instance_norm_act, seen from the binding to torch and from the C++ tests.
#pragma once

#include <stdint.h>

#include "../instance_norm_act_args.h"
#include "capability.h"

namespace gankit {

// Runs body(context, begin, end) over ranges that cover [0, n), on as many threads as have `cost` elements an item
// to do. Handed in, so that the kernels depend on no thread library.
struct Parallel {
  using Body = void (*)(const void* context, int64_t begin, int64_t end);
  void (*run)(int64_t n, int64_t cost, Body body, const void* context);
  int64_t threads;
};

#define GANKIT_DECLARE_INSTANCE_NORM_ACT(capability)                                        \
  namespace capability {                                                                    \
  void instance_norm_act_forward(const InstanceNormActForward& args, const Parallel&);      \
  void instance_norm_act_backward(const InstanceNormActBackward& args, const Parallel&);    \
  }
GANKIT_DECLARE_INSTANCE_NORM_ACT(baseline)
#if defined(__x86_64__) || defined(_M_X64)
GANKIT_DECLARE_INSTANCE_NORM_ACT(avx2)
GANKIT_DECLARE_INSTANCE_NORM_ACT(avx512)
#endif
#undef GANKIT_DECLARE_INSTANCE_NORM_ACT

}  // namespace gankit
