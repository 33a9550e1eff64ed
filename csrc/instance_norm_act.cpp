// instance_norm_act on the CPU: the choice of kernels, and threads. The loops are in cpu/.
#include "cpu/instance_norm_act.h"
#include "instance_norm_act_binding.h"

namespace gankit {
namespace {

void run_parallel(int64_t n, int64_t cost, Parallel::Body body, const void* context) {
  parallel(n, cost, [&](int64_t begin, int64_t end) { body(context, begin, end); });
}

Parallel threads() { return {&run_parallel, static_cast<int64_t>(torch::stable::get_num_threads())}; }

template <class Args>
using Kernel = void (*)(const Args&, const Parallel&);

template <class Args>
void dispatch(const Args& args, Kernel<Args> baseline, Kernel<Args> avx2, Kernel<Args> avx512) {
  const Capability best = cpu_capability();
  (best == Capability::avx512 ? avx512 : best == Capability::avx2 ? avx2 : baseline)(args, threads());
}
#if defined(__x86_64__) || defined(_M_X64)
#define GANKIT_DISPATCH(name, args) dispatch(args, &baseline::name, &avx2::name, &avx512::name)
#else
#define GANKIT_DISPATCH(name, args) dispatch(args, &baseline::name, &baseline::name, &baseline::name)
#endif

std::tuple<Tensor, Tensor> instance_norm_act_cpu(const Tensor& x, const std::optional<Tensor>& weight,
                                                 const std::optional<Tensor>& bias,
                                                 const std::optional<Tensor>& residual, double negative_slope,
                                                 double eps) {
  return instance_norm_act_on(
      x, weight, bias, residual, negative_slope, eps,
      [](const InstanceNormActForward& args, const Tensor&) { GANKIT_DISPATCH(instance_norm_act_forward, args); });
}

// The op that the gradient is registered for; `from_output` concerns that gradient alone.
std::tuple<Tensor, Tensor> instance_norm_act_registered_cpu(const Tensor& x, const std::optional<Tensor>& weight,
                                                      const std::optional<Tensor>& bias,
                                                      const std::optional<Tensor>& residual, double negative_slope,
                                                      double eps, bool) {
  return instance_norm_act_cpu(x, weight, bias, residual, negative_slope, eps);
}

std::tuple<Tensor, Tensor, Tensor> instance_norm_act_backward_cpu(const Tensor& grad, const Tensor& known,
                                                                  const std::optional<Tensor>& weight,
                                                                  const std::optional<Tensor>& bias,
                                                                  const Tensor& stats, double negative_slope,
                                                                  bool from_output) {
  return instance_norm_act_backward_on(
      grad, known, weight, bias, stats, negative_slope, from_output,
      [](const InstanceNormActBackward& args, const Tensor&) { GANKIT_DISPATCH(instance_norm_act_backward, args); });
}

std::tuple<Tensor, Tensor, Tensor> instance_norm_act_double_backward_cpu(
    const Tensor& v, const std::optional<Tensor>& v_weight, const std::optional<Tensor>& v_bias, const Tensor& grad,
    const Tensor& known, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, const Tensor& stats,
    double negative_slope, bool from_output) {
  return instance_norm_act_double_backward_on(
      v, v_weight, v_bias, grad, known, weight, bias, stats, negative_slope, from_output,
      [](const InstanceNormActBackward& args, const Tensor&) { GANKIT_DISPATCH(instance_norm_act_backward, args); });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gankit, CPU, m) {
  m.impl("instance_norm_act", TORCH_BOX(&instance_norm_act_registered_cpu));
  m.impl("instance_norm_act_forward", TORCH_BOX(&instance_norm_act_cpu));
  m.impl("instance_norm_act_backward", TORCH_BOX(&instance_norm_act_backward_cpu));
  m.impl("instance_norm_act_double_backward", TORCH_BOX(&instance_norm_act_double_backward_cpu));
}

}  // namespace gankit
