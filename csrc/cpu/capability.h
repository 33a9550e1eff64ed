// Which copy of a CPU kernel runs on this machine.
//
// Every csrc/cpu/*.cpp is compiled once per capability (see setup.py and CMakeLists.txt) with
// -DGANKIT_CPU_CAPABILITY=<name> and that capability's -m flags; each copy lives in a namespace of that name, and the
// best one the processor runs is picked at the first call. Against gcc's `target_clones` this also serves templates,
// intrinsics (half conversions) and clang; against -march=native the build runs on every machine.
// Such files include no torch and no C++ standard headers with inline functions: the linker keeps one copy of those,
// and it might keep the AVX-512 one.
#pragma once

#ifndef GANKIT_CPU_CAPABILITY
#define GANKIT_CPU_CAPABILITY baseline
#endif

namespace gankit {

enum class Capability { baseline, avx2, avx512 };

// The best capability that the processor has; the environment variable GANKIT_CPU_CAPABILITY may lower it.
Capability cpu_capability();
const char* cpu_capability_name();

}  // namespace gankit

// Declares `void name(const Args&, int64_t begin, int64_t end)` for each capability, and `name##_best()`.
#if defined(__x86_64__) || defined(_M_X64)
#define GANKIT_DECLARE_KERNEL(name, Args)                          \
  namespace baseline { void name(const Args&, int64_t, int64_t); } \
  namespace avx2 { void name(const Args&, int64_t, int64_t); }     \
  namespace avx512 { void name(const Args&, int64_t, int64_t); }   \
  inline auto name##_best() {                                      \
    static void (*const best)(const Args&, int64_t, int64_t) =     \
        cpu_capability() == Capability::avx512 ? &avx512::name     \
        : cpu_capability() == Capability::avx2 ? &avx2::name       \
                                               : &baseline::name;  \
    return best;                                                   \
  }
#else
#define GANKIT_DECLARE_KERNEL(name, Args)                          \
  namespace baseline { void name(const Args&, int64_t, int64_t); } \
  inline auto name##_best() { return &baseline::name; }
#endif
