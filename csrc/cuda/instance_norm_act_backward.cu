// The gradient of instance_norm_act on CUDA.
#include "instance_norm_act_backward.cuh"

namespace gankit::instance_norm_act {

void backward(const InstanceNormActBackward& args, const Device& device, cudaStream_t stream, const Scratch& scratch) {
  with_type(args.shape.dtype, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    using A = wide_t<T>;
    if (args.from_output) return backward_of<StaticRule<Backward, true, A>, T>(args, device, stream, scratch);
    backward_of<StaticRule<Backward, false, A>, T>(args, device, stream, scratch);
  });
}

}  // namespace gankit::instance_norm_act
