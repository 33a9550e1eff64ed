#include "cpu/capability.h"

#include <cstdlib>
#include <cstring>

namespace gankit {
namespace {

Capability detect() {
  Capability best = Capability::baseline;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    best = Capability::avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
      best = Capability::avx512;
    }
  }
#endif
  if (const char* wish = std::getenv("GANKIT_CPU_CAPABILITY")) {
    if (std::strcmp(wish, "baseline") == 0) return Capability::baseline;
    if (std::strcmp(wish, "avx2") == 0 && best == Capability::avx512) return Capability::avx2;
  }
  return best;
}

}  // namespace

Capability cpu_capability() {
  static const Capability capability = detect();
  return capability;
}

const char* cpu_capability_name() {
  switch (cpu_capability()) {
    case Capability::avx512: return "avx512";
    case Capability::avx2: return "avx2";
    default: break;
  }
#if defined(__aarch64__)
  return "neon";
#else
  return "baseline";
#endif
}

}  // namespace gankit
