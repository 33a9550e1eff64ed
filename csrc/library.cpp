// All op schemas on one screen, and the module `gankit._C`, which says how it was built.
#include <Python.h>
#include <pybind11/pybind11.h>

#include "common.h"

STABLE_TORCH_LIBRARY(gankit, m) {
  // `<op>` has its gradient registered in Python; `<op>_forward` is the same without one: the eager fast path calls it
  // from an autograd.Function, at a third of the overhead (see gankit/ops/leaky_relu.py).
  m.def("leaky_relu(Tensor x, Tensor bias, float negative_slope) -> Tensor");
  m.def("leaky_relu_forward(Tensor x, Tensor bias, float negative_slope) -> Tensor");
  m.def(
      "leaky_relu_backward(Tensor grad, Tensor y, float negative_slope, bool input_grad, bool bias_grad) "
      "-> (Tensor, Tensor)");
  m.def("patchgan_loss(Tensor[] logits, int kind, bool generator) -> Tensor");
  m.def("patchgan_loss_forward(Tensor[] logits, int kind, bool generator, bool with_grads) -> (Tensor, Tensor[])");
  m.def(
      "instance_norm_act(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, float negative_slope, float eps, "
      "bool from_output) -> (Tensor, Tensor)");
  m.def(
      "instance_norm_act_forward(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, float negative_slope, "
      "float eps) -> (Tensor, Tensor)");
  // `known` is x or, from_output, y: then without a residual, and with a slope above 0.
  m.def(
      "instance_norm_act_backward(Tensor grad, Tensor known, Tensor? weight, Tensor? bias, Tensor stats, "
      "float negative_slope, bool from_output) -> (Tensor, Tensor, Tensor)");
  m.def(
      "instance_norm_act_double_backward(Tensor v, Tensor? v_weight, Tensor? v_bias, Tensor grad, Tensor known, "
      "Tensor? weight, Tensor? bias, Tensor stats, float negative_slope, bool from_output) "
      "-> (Tensor, Tensor, Tensor)");
}

namespace {

std::string version_text(uint64_t packed) {
  return std::to_string(packed >> 56) + "." + std::to_string((packed >> 48) & 0xff);
}

pybind11::dict build_info() {
  pybind11::dict info;
  info["torch_built_with"] = GANKIT_TORCH_VERSION;
  info["torch_target"] = version_text(TORCH_TARGET_VERSION);
#if defined(__clang__)
  info["compiler"] = "clang " __clang_version__;
#elif defined(__GNUC__)
  info["compiler"] = "gcc " __VERSION__;
#else
  info["compiler"] = "unknown";
#endif
  info["cpp_standard"] = int(__cplusplus / 100 % 100);
  pybind11::list capabilities;
#if defined(__x86_64__)
  for (const char* name : {"baseline", "avx2", "avx512"}) capabilities.append(name);
#elif defined(__aarch64__)
  capabilities.append("neon");
#else
  capabilities.append("baseline");
#endif
  info["cpu_capabilities"] = capabilities;
  info["cpu_capability"] = gankit::cpu_capability_name();
  // No OpenMP of our own: loops run on torch's pool through the stable ABI (torch_parallel_for).
#if defined(_OPENMP)
  info["openmp"] = true;
#else
  info["openmp"] = false;
#endif
  info["threads"] = "torch";
  info["cuda"] = pybind11::none();
  info["cuda_archs"] = pybind11::list();
  info["without_cuda"] = "";  // why gankit._C_cuda was not built beside this library
#if defined(GANKIT_CUDA_VERSION)
  info["cuda"] = GANKIT_CUDA_VERSION;
  info["cuda_archs"] = pybind11::str(GANKIT_CUDA_ARCHS).attr("split")(";");
#elif defined(GANKIT_WITHOUT_CUDA)
  info["without_cuda"] = GANKIT_WITHOUT_CUDA;
#endif
  return info;
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "gankit's native ops; importing it registers them with torch's dispatcher.";
  module.def("build_info", &build_info, "How this library was built, and which CPU capability runs here.");
}
