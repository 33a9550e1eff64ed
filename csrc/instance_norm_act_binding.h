// What the bindings of instance_norm_act to torch share, whatever the device: checks, memory layout, allocation.
#pragma once

#include <algorithm>
#include <tuple>
#include <vector>

#include "common.h"
#include "instance_norm_act_args.h"

namespace gankit {
namespace {

// True where memory holds [batch, spatial..., channels] without gaps; a dimension of size 1 may have any stride.
bool is_channels_last(const Tensor& t) {
  const auto sizes = t.sizes(), strides = t.strides();
  int64_t expected = 1;
  const auto follows = [&](size_t d) {
    const bool fits = sizes[d] == 1 || strides[d] == expected;
    expected *= sizes[d];
    return fits;
  };
  if (!follows(1)) return false;
  for (size_t d = sizes.size() - 1; d >= 2; --d) {
    if (!follows(d)) return false;
  }
  return follows(0);
}

// The tensor itself where it is contiguous.
Tensor as_contiguous(const Tensor& t) {
  if (t.is_contiguous()) return t;
  std::vector<int64_t> strides(t.dim());
  int64_t stride = 1;
  for (int64_t d = t.dim(); d-- > 0; stride *= std::max<int64_t>(t.size(d), 1)) strides[d] = stride;
  Tensor copy = empty_strided(t, t.sizes().data(), strides.data(), t.dim(), raw_dtype(t));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_copy_(copy.get(), t.get(), 0));
  return copy;
}

// x, weight and bias after the checks and conversions that forward and backward have in common.
struct InstanceNormActInput {
  Tensor x;
  std::optional<Tensor> weight, bias;
  InstanceNormActShape shape;
};

const void* data_or_null(const std::optional<Tensor>& t) { return t ? t->const_data_ptr() : nullptr; }

InstanceNormActInput make_input(const Tensor& x, const std::optional<Tensor>& weight,
                                const std::optional<Tensor>& bias) {
  GANKIT_CHECK(x.dim() >= 3 && x.dim() <= 5, "x", "have 3 to 5 dimensions (batch, channels, 1 to 3 spatial)", x.dim());
  const bool plain = x.is_contiguous(), last = !plain && is_channels_last(x);
  InstanceNormActInput in{plain || last ? x : as_contiguous(x), weight, bias, {}};
  InstanceNormActShape& shape = in.shape;
  shape.dtype = dtype_of(x, "x");
  shape.batch = x.size(0);
  shape.channels = x.size(1);
  shape.spatial = 1;
  for (int64_t d = 2; d < x.dim(); ++d) shape.spatial *= x.size(d);
  GANKIT_CHECK(shape.spatial != 1, "x", "have more than 1 spatial element", "1");
  shape.channels_last = last;
  shape.wide_affine = shape.dtype == DType::f64;
  bool first = true;
  const auto affine = [&](std::optional<Tensor>& t, const char* name) {
    if (!t) return;
    GANKIT_CHECK(t->dim() == 1 && t->size(0) == shape.channels, name, "have one element per channel of x",
                 t->numel(), " elements in ", t->dim(), " dimensions for ", shape.channels, " channels");
    const DType dtype = dtype_of(*t, name);
    const bool half = shape.dtype == DType::bf16 || shape.dtype == DType::f16;
    const bool wide = dtype == (shape.dtype == DType::f64 ? DType::f64 : DType::f32);
    GANKIT_CHECK(wide || (half && dtype == shape.dtype), name, "have the dtype of x, or float32 for a 16-bit x",
                 toString(t->scalar_type()));
    GANKIT_CHECK(first || wide == shape.wide_affine, name, "have the dtype of weight", toString(t->scalar_type()));
    shape.wide_affine = wide;
    first = false;
    *t = as_contiguous(*t);
  };
  affine(in.weight, "weight");
  affine(in.bias, "bias");
  return in;
}

int32_t compute_dtype(const InstanceNormActShape& shape) {
  return shape.dtype == DType::f64 ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32();
}

// stats is [2, batch, channels]: stats[0] is the mean of each plane, stats[1] is 1 / sqrt(var + eps). Returns the
// latter.
char* second_half(const Tensor& stats, const InstanceNormActShape& shape) {
  const int64_t bytes = shape.dtype == DType::f64 ? 8 : 4;
  return static_cast<char*>(stats.mutable_data_ptr()) + shape.batch * shape.channels * bytes;
}

// run(args, x) starts the kernels.
template <typename Run>
std::tuple<Tensor, Tensor> instance_norm_act_on(const Tensor& x, const std::optional<Tensor>& weight,
                                                const std::optional<Tensor>& bias,
                                                const std::optional<Tensor>& residual, double negative_slope,
                                                double eps, const Run& run) {
  const InstanceNormActInput in = make_input(x, weight, bias);
  const int64_t sizes[] = {2, in.shape.batch, in.shape.channels};
  const int64_t strides[] = {in.shape.batch * in.shape.channels, std::max<int64_t>(in.shape.channels, 1), 1};
  Tensor y = empty_as(in.x), stats = empty_strided(in.x, sizes, strides, 3, compute_dtype(in.shape));
  std::optional<Tensor> added;
  if (residual) {
    GANKIT_CHECK(residual->sizes().equals(x.sizes()), "residual", "have the shape of x", "another one");
    GANKIT_CHECK(residual->scalar_type() == x.scalar_type(), "residual", "have the dtype of x",
                 toString(residual->scalar_type()));
    added = laid_out_like(*residual, in.x);
  }
  const InstanceNormActForward args{in.shape,
                                    in.x.const_data_ptr(),
                                    data_or_null(in.weight),
                                    data_or_null(in.bias),
                                    data_or_null(added),
                                    negative_slope,
                                    eps,
                                    y.mutable_data_ptr(),
                                    stats.mutable_data_ptr(),
                                    second_half(stats, in.shape)};
  run(args, in.x);
  return {y, stats};
}

// The checked tensors of backward and double backward, and the results of backward. `known` is x, or y (from_output).
struct InstanceNormActDerivative {
  InstanceNormActInput in;
  Tensor dy, dx, dweight;
  InstanceNormActBackward args;
};

// A gradient of x's shape, in the memory layout that x has.
Tensor gradient_like(const Tensor& gradient, const InstanceNormActInput& in, const char* name) {
  GANKIT_CHECK(gradient.sizes().equals(in.x.sizes()), name, "have the shape of x", "another one");
  GANKIT_CHECK(gradient.scalar_type() == in.x.scalar_type(), name, "have the dtype of x",
               toString(gradient.scalar_type()));
  return laid_out_like(gradient, in.x);
}

InstanceNormActDerivative make_derivative(const Tensor& grad, const Tensor& known, const std::optional<Tensor>& weight,
                                          const std::optional<Tensor>& bias, const Tensor& stats,
                                          double negative_slope, bool from_output) {
  InstanceNormActDerivative d{make_input(known, weight, bias), {}, {}, {}, {}};
  const InstanceNormActInput& in = d.in;
  GANKIT_CHECK(stats.is_contiguous() && stats.numel() == 2 * in.shape.batch * in.shape.channels &&
                   raw_dtype(stats) == compute_dtype(in.shape),
               "stats", "be what instance_norm_act returned for x", stats.numel(), " elements");
  GANKIT_CHECK(!from_output || negative_slope > 0, "negative_slope", "be above 0 to go back from the output",
               negative_slope);
  d.dy = gradient_like(grad, in, "grad");
  d.dx = empty_as(in.x);
  d.dweight = empty_1d(in.x, in.weight ? in.shape.channels : 0, raw_dtype(in.weight ? *in.weight : in.x));
  d.args = {in.shape,
            in.x.const_data_ptr(),
            d.dy.const_data_ptr(),
            data_or_null(in.weight),
            data_or_null(in.bias),
            stats.const_data_ptr(),
            second_half(stats, in.shape),
            negative_slope,
            from_output,
            d.dx.mutable_data_ptr(),
            in.weight ? d.dweight.mutable_data_ptr() : nullptr,
            nullptr};
  return d;
}

template <typename Run>
std::tuple<Tensor, Tensor, Tensor> instance_norm_act_backward_on(const Tensor& grad, const Tensor& known,
                                                                 const std::optional<Tensor>& weight,
                                                                 const std::optional<Tensor>& bias, const Tensor& stats,
                                                                 double negative_slope, bool from_output,
                                                                 const Run& run) {
  InstanceNormActDerivative d = make_derivative(grad, known, weight, bias, stats, negative_slope, from_output);
  const InstanceNormActInput& in = d.in;
  Tensor dbias = empty_1d(in.x, in.bias ? in.shape.channels : 0, raw_dtype(in.bias ? *in.bias : in.x));
  if (in.bias) d.args.dbias = dbias.mutable_data_ptr();
  run(d.args, in.x);
  return {d.dx, d.dweight, dbias};
}

// v, v_weight and v_bias are the gradients of backward's results; returns those of x, grad and weight.
template <typename Run>
std::tuple<Tensor, Tensor, Tensor> instance_norm_act_double_backward_on(
    const Tensor& v, const std::optional<Tensor>& v_weight, const std::optional<Tensor>& v_bias, const Tensor& grad,
    const Tensor& known, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, const Tensor& stats,
    double negative_slope, bool from_output, const Run& run) {
  InstanceNormActDerivative d = make_derivative(grad, known, weight, bias, stats, negative_slope, from_output);
  const InstanceNormActInput& in = d.in;
  const Tensor v_like = gradient_like(v, in, "v");
  Tensor grad_dy = empty_as(in.x);
  const auto of_channels = [&](const std::optional<Tensor>& t, const std::optional<Tensor>& of, const char* name) {
    GANKIT_CHECK(!t || (of && t->sizes().equals(of->sizes()) && t->scalar_type() == of->scalar_type()), name,
                 "be like what it is the gradient of", "another tensor");
    return t ? std::optional<Tensor>(as_contiguous(*t)) : std::nullopt;
  };
  const std::optional<Tensor> vw = of_channels(v_weight, in.weight, "v_weight");
  const std::optional<Tensor> vb = of_channels(v_bias, in.bias, "v_bias");
  d.args.v = v_like.const_data_ptr();
  d.args.v_weight = data_or_null(vw);
  d.args.v_bias = data_or_null(vb);
  d.args.grad_dy = grad_dy.mutable_data_ptr();
  run(d.args, in.x);
  return {d.dx, grad_dy, d.dweight};
}

}  // namespace
}  // namespace gankit
