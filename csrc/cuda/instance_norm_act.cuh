// instance_norm_act on CUDA: from arguments to launches. See docs/ops.md for who does what, and why.
#pragma once

#include "instance_norm_act_columns_split.cuh"
#include "instance_norm_act_plan.h"

namespace gankit::instance_norm_act {

template <class T>
Norm<T> typed(const InstanceNormActForward& args) {
  using A = wide_t<T>;
  Norm<T> a = {};
  a.x = static_cast<const T*>(args.x);
  a.residual = static_cast<const T*>(args.residual);
  a.out = static_cast<T*>(args.y);
  a.weight = args.weight;
  a.bias = args.bias;
  a.mean = static_cast<A*>(args.mean);
  a.rstd = static_cast<A*>(args.rstd);
  a.batch = args.shape.batch;
  a.channels = args.shape.channels;
  a.spatial = args.shape.spatial;
  a.wide_affine = args.shape.wide_affine;
  a.slope = A(args.negative_slope);
  a.eps = A(args.eps);
  return a;
}

template <class T>
Norm<T> typed(const InstanceNormActBackward& args) {
  using A = wide_t<T>;
  Norm<T> a = {};
  a.x = static_cast<const T*>(args.x);
  a.dy = static_cast<const T*>(args.dy);
  a.out = static_cast<T*>(args.dx);
  a.weight = args.weight;
  a.bias = args.bias;
  a.mean = static_cast<A*>(const_cast<void*>(args.mean));
  a.rstd = static_cast<A*>(const_cast<void*>(args.rstd));
  a.batch = args.shape.batch;
  a.channels = args.shape.channels;
  a.spatial = args.shape.spatial;
  a.wide_affine = args.shape.wide_affine;
  a.slope = A(args.negative_slope);
  return a;
}

// How the tensors can be read: `other` is residual or dy, or null.
template <class T>
Access access_of(const InstanceNormActShape& shape, const T* x, const T* other, const T* out) {
  const int shift = misalignment(x);
  if (misalignment(out) != shift || (other && misalignment(other) != shift)) return Access::scalar;
  const int64_t run = shape.channels_last ? shape.channels : shape.spatial;
  if (shift == 0 && run % kVector<T> == 0) return Access::whole;
  return shape.channels_last ? Access::scalar : Access::edges;
}

template <class T>
Access access_of(const Norm<T>& a, const InstanceNormActShape& shape) {
  return access_of<T>(shape, a.x, a.dy ? a.dy : a.residual, a.out);
}

// Calls f with the width of a pack and whether it may have edges, as types.
template <class T, class F>
void with_access(Access access, const F& f) {
  using Vector = std::integral_constant<int, kVector<T>>;
  switch (access) {
    case Access::whole: return f(Vector(), std::false_type());
    case Access::edges: return f(Vector(), std::true_type());
    case Access::scalar: return f(std::integral_constant<int, 1>(), std::false_type());
  }
}

template <class T, int V, bool kEdges>
void launch_rows_forward(const Norm<T>& a, const Plan& plan, cudaStream_t stream, wide_t<T>* partial) {
  constexpr bool kWhole = V > 1 && !kEdges;
  const Launch how{plan.blocks, plan.threads, stream, plan.cluster,
                   plan.way == Way::lanes ? 0 : kRowsShared<wide_t<T>>};
  if (plan.way == Way::split) {
    const Parts parts{plan.parts, plan.each};
    launch(how, rows_moments<T, V, kEdges>, a, parts, partial);
    launch({ceil_div(a.batch * a.channels, 4), 128, stream}, merge_parts<T, true>, a, parts, partial);
    launch({plan.blocks, plan.threads, stream}, rows_apply<T, V, kEdges>, a, parts);
  } else if (plan.way == Way::block) {
    if constexpr (kWhole) {
      if (plan.held == 8) return launch(how, rows_forward<T, V, 8, kEdges, true>, a, 0);
    }
    launch(how, rows_forward<T, V, 16, kEdges, true>, a, 0);
  } else {
    if constexpr (kWhole) {
      if (plan.held == 2) return launch(how, rows_forward<T, V, 2, kEdges, false>, a, plan.width);
    }
    launch(how, rows_forward<T, V, 8, kEdges, false>, a, plan.width);
  }
}

template <class T, int V, bool kEdges>
void launch_rows_backward(const Norm<T>& a, const Plan& plan, cudaStream_t stream, wide_t<T>* partial) {
  const Launch how{plan.blocks, plan.threads, stream, plan.cluster,
                   plan.way == Way::lanes ? 0 : kRowsShared<wide_t<T>>};
  if (plan.way == Way::split) {
    const Parts parts{plan.parts, plan.each};
    launch(how, rows_gradient<T, V, kEdges, false>, a, parts, partial);
    launch({ceil_div(a.batch * a.channels, 4), 128, stream}, merge_parts<T, false>, a, parts, partial);
    launch({plan.blocks, plan.threads, stream}, rows_gradient<T, V, kEdges, true>, a, parts, partial);
  } else if (plan.way == Way::block) {
    launch(how, rows_backward<T, V, 8, kEdges, true>, a, 0);
  } else {
    if constexpr (V > 1 && !kEdges) {
      if (plan.held == 2) return launch(how, rows_backward<T, V, 2, kEdges, false>, a, plan.width);
    }
    launch(how, rows_backward<T, V, 8, kEdges, false>, a, plan.width);
  }
}

template <class T, int V>
void launch_columns_forward(const Norm<T>& a, const Plan& plan, cudaStream_t stream, wide_t<T>* partial) {
  const Launch how{plan.blocks, plan.threads, stream, plan.cluster, size_t(plan.shared_bytes)};
  if (plan.way == Way::split) {
    const Parts parts{plan.parts, plan.each};
    launch(how, columns_moments<T, V>, a, parts, plan.width, partial);
    launch({ceil_div(a.batch * a.channels, 4), 128, stream}, merge_parts<T, true>, a, parts, partial);
    launch({plan.blocks, plan.threads, stream}, columns_apply<T, V>, a, parts, plan.width);
  } else {
    launch(how, columns_forward<T, V>, a, plan.width, plan.held);
  }
}

template <class T, int V>
void launch_columns_backward(const Norm<T>& a, const Plan& plan, cudaStream_t stream, wide_t<T>* partial) {
  const Launch how{plan.blocks, plan.threads, stream, plan.cluster, size_t(plan.shared_bytes)};
  if (plan.way == Way::split) {
    const Parts parts{plan.parts, plan.each};
    launch(how, columns_gradient<T, V, false>, a, parts, plan.width, partial);
    launch({ceil_div(a.batch * a.channels, 4), 128, stream}, merge_parts<T, false>, a, parts, partial);
    launch({plan.blocks, plan.threads, stream}, columns_gradient<T, V, true>, a, parts, plan.width, partial);
  } else {
    launch(how, columns_backward<T, V>, a, plan.width, plan.held);
  }
}

template <class T>
void launch_empty_planes(const Norm<T>& a, cudaStream_t stream) {
  launch({ceil_div(a.batch * a.channels, 128), 128, stream}, empty_planes<T>, a);
}

// Runs on `stream`. `scratch(bytes)` gives memory that lasts until then, aligned to 16 bytes.
template <class T, class Scratch>
void forward(const InstanceNormActForward& args, const Device& device, cudaStream_t stream, const Scratch& scratch) {
  const Norm<T> a = typed<T>(args);
  if (a.spatial == 0) return launch_empty_planes(a, stream);
  const Plan plan = plan_of(args.shape, access_of(a, args.shape), false, device);
  const int64_t parts = plan.way == Way::split ? a.batch * a.channels * plan.parts : 0;
  auto* partial = static_cast<wide_t<T>*>(parts ? scratch(2 * parts * sizeof(wide_t<T>)) : nullptr);
  with_access<T>(plan.access, [&](auto vector, auto edges) {
    if (args.shape.channels_last) {
      if constexpr (!edges()) launch_columns_forward<T, vector()>(a, plan, stream, partial);
    } else {
      launch_rows_forward<T, vector(), edges()>(a, plan, stream, partial);
    }
  });
}

template <class T, class Scratch>
void backward(const InstanceNormActBackward& args, const Device& device, cudaStream_t stream, const Scratch& scratch) {
  Norm<T> a = typed<T>(args);
  const int64_t planes = a.batch * a.channels;
  const Plan plan = plan_of(args.shape, access_of(a, args.shape), true, device);
  const int64_t parts = a.spatial > 0 && plan.way == Way::split ? planes * plan.parts : 0;
  a.sum_g = static_cast<wide_t<T>*>(scratch(2 * (planes + parts) * sizeof(wide_t<T>)));
  a.sum_gx = a.sum_g + planes;
  wide_t<T>* partial = a.sum_gx + planes;
  if (a.spatial == 0) {
    launch_empty_planes(a, stream);
  } else if (planes > 0) {
    with_access<T>(plan.access, [&](auto vector, auto edges) {
      if (args.shape.channels_last) {
        if constexpr (!edges()) launch_columns_backward<T, vector()>(a, plan, stream, partial);
      } else {
        launch_rows_backward<T, vector(), edges()>(a, plan, stream, partial);
      }
    });
  }
  launch_batch_sums(a, args.dweight, args.dbias, stream);
}

template <class Scratch>
void forward(const InstanceNormActForward& args, const Device& device, cudaStream_t stream, const Scratch& scratch) {
  if (args.shape.batch * args.shape.channels == 0) return;
  with_type(args.shape.dtype, [&](auto* element) {
    forward<std::remove_pointer_t<decltype(element)>>(args, device, stream, scratch);
  });
}

template <class Scratch>
void backward(const InstanceNormActBackward& args, const Device& device, cudaStream_t stream, const Scratch& scratch) {
  with_type(args.shape.dtype, [&](auto* element) {
    backward<std::remove_pointer_t<decltype(element)>>(args, device, stream, scratch);
  });
}

}  // namespace gankit::instance_norm_act
