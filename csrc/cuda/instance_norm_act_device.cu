// The properties of a device that instance_norm_act's plans depend on.
#include "instance_norm_act.h"

namespace gankit::instance_norm_act {
namespace {

__global__ void __launch_bounds__(512) empty_kernel() {}

// How many clusters of `blocks` can be resident at once, with one block per multiprocessor as in the largest launches.
int max_active_clusters(int blocks, int shared_bytes) {
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
      cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes) == cudaSuccess &&
      cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1) == cudaSuccess &&
      cudaOccupancyMaxActiveClusters(&clusters, empty_kernel, &config) == cudaSuccess;
  if (!known) cudaGetLastError();  // clear the error, which is not the caller's
  return known ? clusters : 0;
}

}  // namespace

Device query_device(int index) {
  // The first call may come inside a graph's capture, which forbids loading modules, as asking for occupancy may do.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaThreadExchangeStreamCaptureMode(&mode);
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    cudaDeviceGetAttribute(&value, which, index);
    return value;
  };
  const int shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  // Cluster instructions exist in kernels compiled for sm_90 or later; the device alone does not tell.
  cudaFuncAttributes compiled = {};
  const bool clusters = attribute(cudaDevAttrClusterLaunch) &&
                        cudaFuncGetAttributes(&compiled, empty_kernel) == cudaSuccess && compiled.ptxVersion >= 90;
  const int multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  // Clusters of 16 are worth it where groups of multiprocessors have that many, so that few are left idle.
  int largest = !clusters ? 1 : 4 * 16 * max_active_clusters(16, shared_bytes) >= 3 * multiprocessors ? 16 : 8;
  while (largest > 1 && max_active_clusters(largest, shared_bytes) == 0) largest /= 2;
  cudaThreadExchangeStreamCaptureMode(&mode);  // as it was
  return {multiprocessors, largest, shared_bytes};
}

}  // namespace gankit::instance_norm_act
