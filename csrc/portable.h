// Marks for formulas that are written once and compiled for the CPU (several times) and for CUDA.
#pragma once

// GANKIT_UNROLL stands before a loop of at most 32 rounds.
#if defined(__CUDACC__)
#define GANKIT_FORMULA static __host__ __device__ __forceinline__
#define GANKIT_FORMULA_MEMBER __host__ __device__ __forceinline__
#define GANKIT_UNROLL _Pragma("unroll")
#define GANKIT_SQRT ::sqrt
#else
// Internal linkage and forced inlining: no copy compiled with AVX-512 can be picked by the linker for a caller
// that runs on an older processor. Members (and templates of the anonymous namespace) need no `static`.
#define GANKIT_FORMULA static inline __attribute__((always_inline))
#define GANKIT_FORMULA_MEMBER inline __attribute__((always_inline))
#define GANKIT_UNROLL _Pragma("GCC unroll 32")
#define GANKIT_SQRT __builtin_sqrt
#endif
