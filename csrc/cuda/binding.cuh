// What the CUDA ops need of torch beside ../common.h.
#pragma once

#include <cuda_runtime.h>

#include "../common.h"

namespace gankit {

inline cudaStream_t stream_of(const Tensor& t) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

}  // namespace gankit
