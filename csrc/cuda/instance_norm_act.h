// The launchers of instance_norm_act, as the binding to torch and the C++ tests call them. The binding is compiled
// once, the kernels once for every architecture.
#pragma once

#include <stddef.h>

#include <functional>

#include "instance_norm_act_plan.h"

#if !defined(GANKIT_CUDA_SHIM)
#include <cuda_runtime.h>
#endif

namespace gankit::instance_norm_act {

// Gives memory of the device that lasts until the work on the stream is done, aligned to 16 bytes.
using Scratch = std::function<void*(size_t bytes)>;

Device query_device(int index);
void forward(const InstanceNormActForward&, const Device&, cudaStream_t, const Scratch&);
void backward(const InstanceNormActBackward&, const Device&, cudaStream_t, const Scratch&);         // v is null
void double_backward(const InstanceNormActBackward&, const Device&, cudaStream_t, const Scratch&);  // v is not

}  // namespace gankit::instance_norm_act
