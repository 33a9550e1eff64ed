// What the kernels of instance_norm_act share, whatever the memory layout.
#pragma once

#include "../instance_norm_act.h"
#include "common.cuh"

namespace gankit::instance_norm_act {

constexpr int kFlight = 4;  // packs of an array that a thread has on their way at a time

// The arguments with their types, of forward and of backward: [batch, channels, spatial], see cpu/instance_norm_act.h.
template <class T>
struct Norm {
  using A = wide_t<T>;
  const T *x, *dy, *residual;
  T* out;                      // y, or dx
  const void *weight, *bias;   // of A where wide_affine, else of T; or null
  A *mean, *rstd;              // [batch, channels]: written by forward, read by backward
  A *sum_g, *sum_gx;           // [batch, channels]: written by backward, sums of g and of g * (x - mean)
  int64_t batch, channels, spatial;
  bool wide_affine;
  A slope, eps;
};

template <class T>
__device__ __forceinline__ wide_t<T> affine(const Norm<T>& a, const void* values, int64_t c, wide_t<T> none) {
  if (!values) return none;
  if (a.wide_affine) return static_cast<const wide_t<T>*>(values)[c];
  return convert<wide_t<T>>(static_cast<const T*>(values)[c]);
}

template <class T>
__device__ __forceinline__ Plane<wide_t<T>> plane_of(const Norm<T>& a, int64_t c, wide_t<T> mean, wide_t<T> rstd) {
  return {mean, affine(a, a.weight, c, wide_t<T>(1)) * rstd, affine(a, a.bias, c, wide_t<T>(0))};
}

// dy where the activation lets it through.
template <class A>
__device__ __forceinline__ A gated(A dy, A x, const Plane<A>& p, A slope) {
  return leaky_relu_backward(dy, pre_activation(x, p), slope);
}

template <class A>
__device__ __forceinline__ A activated(A x, A residual, const Plane<A>& p, A slope) {
  return leaky_relu(pre_activation(x, p), slope) + residual;
}

// -- the batch's share in the gradients of weight and bias ------------------------------------------------------------

constexpr unsigned kBatchColumns = 32, kBatchRows = 8;

// dweight[c] = sum of sum_gx * rstd over the batch, dbias[c] = sum of sum_g: in double, in a fixed order.
template <class T>
__global__ void batch_sums(const Norm<T> a, void* dweight, void* dbias) {
  double* sums = static_cast<double*>(dynamic_shared());  // [2][kBatchRows][kBatchColumns]
  const unsigned column = threadIdx.x % kBatchColumns, row = threadIdx.x / kBatchColumns;
  const int64_t c = int64_t(blockIdx.x) * kBatchColumns + column;
  double gx = 0, g = 0;
  if (c < a.channels) {
#pragma unroll 4
    for (int64_t n = row; n < a.batch; n += kBatchRows) {
      const int64_t p = n * a.channels + c;
      gx += double(a.sum_gx[p]) * double(a.rstd[p]);
      g += double(a.sum_g[p]);
    }
  }
  sums[threadIdx.x] = gx;
  sums[kBatchRows * kBatchColumns + threadIdx.x] = g;
  __syncthreads();
  if (row >= 2 || c >= a.channels) return;
  void* out = row == 0 ? dweight : dbias;
  if (!out) return;
  double total = 0;
  for (unsigned r = 0; r < kBatchRows; ++r) total += sums[(row * kBatchRows + r) * kBatchColumns + column];
  if (a.wide_affine) {
    static_cast<wide_t<T>*>(out)[c] = wide_t<T>(total);
  } else {
    static_cast<T*>(out)[c] = convert<T>(wide_t<T>(total));
  }
}

template <class T>
void launch_batch_sums(const Norm<T>& a, void* dweight, void* dbias, cudaStream_t stream) {
  if (!dweight && !dbias) return;
  launch({(a.channels + kBatchColumns - 1) / kBatchColumns, kBatchColumns * kBatchRows, stream, 1,
          2 * kBatchColumns * kBatchRows * sizeof(double)},
         batch_sums<T>, a, dweight, dbias);
}

// Planes without elements: no variance, but nothing undefined either.
template <class T>
__global__ void empty_planes(const Norm<T> a) {
  const int64_t p = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (p >= a.batch * a.channels) return;
  if (a.sum_g) {
    a.sum_g[p] = a.sum_gx[p] = 0;
  } else {
    a.mean[p] = 0;
    a.rstd[p] = inverse_deviation(wide_t<T>(0), a.eps);
  }
}

}  // namespace gankit::instance_norm_act
