// The gradient of instance_norm_act's gradient on CUDA.
#include "instance_norm_act_backward.cuh"

namespace gankit::instance_norm_act {

void double_backward(const InstanceNormActBackward& args, const Device& device, cudaStream_t stream,
                     const Scratch& scratch) {
  with_type(args.shape.dtype, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    backward_of<RuntimeRule<DoubleBackward, wide_t<T>>, T>(args, device, stream, scratch);
  });
}

}  // namespace gankit::instance_norm_act
