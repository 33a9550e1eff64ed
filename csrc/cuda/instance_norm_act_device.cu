// What instance_norm_act's plans ask of a device.
#include "instance_norm_act.h"

namespace gankit::instance_norm_act {
namespace {

__global__ void __launch_bounds__(512) nothing() {}

// How many clusters of `blocks` run at a time whose blocks have a multiprocessor each, as the largest launched do.
int running(int blocks, int shared_bytes) {
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = unsigned(blocks);
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(unsigned(blocks));
  config.blockDim = dim3(512);
  config.dynamicSmemBytes = size_t(shared_bytes);
  config.attrs = &cluster;
  config.numAttrs = 1;
  int clusters = 0;
  const bool known =
      cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes) == cudaSuccess &&
      cudaFuncSetAttribute(nothing, cudaFuncAttributeNonPortableClusterSizeAllowed, 1) == cudaSuccess &&
      cudaOccupancyMaxActiveClusters(&clusters, nothing, &config) == cudaSuccess;
  if (!known) cudaGetLastError();  // what is no error of the caller's is not left for him to find
  return known ? clusters : 0;
}

}  // namespace

Device query_device(int index) {
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    cudaDeviceGetAttribute(&value, which, index);
    return value;
  };
  const int shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  // Kernels know of clusters where they were compiled for sm_90 or later, be the device what it may.
  cudaFuncAttributes compiled = {};
  const bool clusters = attribute(cudaDevAttrClusterLaunch) &&
                        cudaFuncGetAttributes(&compiled, nothing) == cudaSuccess && compiled.ptxVersion >= 90;
  const int multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  // Clusters of 16 are worth it where groups of multiprocessors have that many, so that few are left idle.
  int largest = !clusters ? 1 : 4 * 16 * running(16, shared_bytes) >= 3 * multiprocessors ? 16 : 8;
  while (largest > 1 && running(largest, shared_bytes) == 0) largest /= 2;
  return {multiprocessors, largest, shared_bytes};
}

}  // namespace gankit::instance_norm_act
