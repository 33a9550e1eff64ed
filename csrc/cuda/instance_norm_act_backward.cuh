// The derivatives of instance_norm_act on CUDA: from arguments to launches. See docs/ops.md for who does what, and why.
#pragma once

#include "instance_norm_act_launch.cuh"

namespace gankit::instance_norm_act {

template <class D>
constexpr Footprint kFootprint{D::kInputs, D::kSums};

// Planes that consist of whole packs and are held in registers have kernels of their own. All other cases use kernels
// that check for edges and decide at run time whether x or y is given, so that fewer kernels have to be compiled: split
// planes and three inputs are bound by memory, which hides those instructions.
template <class D, class T, int V, bool kEdges>
void launch_rows_backward(const Norm<T>& a, const Plan& plan, cudaStream_t stream, wide_t<T>* partial) {
  using Runtime = typename D::Runtime;
  constexpr bool kMayHaveEdges = V > 1, kWhole = kMayHaveEdges && !kEdges && D::kInputs == 2;
  constexpr int kHeld = D::kInputs > 2 ? 4 : 8;  // see plan_rows()
  using Held = std::conditional_t<kWhole, D, Runtime>;
  const size_t shared = plan.strategy == Strategy::lanes ? 0 : rows_shared<wide_t<T>>(D::kSums);
  const Launch how{plan.blocks, plan.threads, stream, plan.cluster, shared};
  if (plan.strategy == Strategy::split) {
    const Parts parts{plan.parts, plan.each};
    launch(how, rows_gradient<Runtime, T, V, kMayHaveEdges, false>, a, parts, partial);
    launch({ceil_div(a.batch * a.channels, 4), 128, stream}, merge_sums<Runtime, T>, a, parts, partial);
    launch({plan.blocks, plan.threads, stream}, rows_gradient<Runtime, T, V, kMayHaveEdges, true>, a, parts, partial);
  } else if (plan.strategy == Strategy::block) {
    launch(how, rows_backward<Held, T, V, kHeld, kMayHaveEdges && !kWhole, true>, a, 0);
  } else {
    if constexpr (kWhole) {
      if (plan.held == 2) return launch(how, rows_backward<Held, T, V, 2, false, false>, a, plan.width);
    }
    launch(how, rows_backward<Held, T, V, kHeld, kMayHaveEdges && !kWhole, false>, a, plan.width);
  }
}

template <class D, class T, int V>
void launch_columns_backward(const Norm<T>& a, const Plan& plan, cudaStream_t stream, wide_t<T>* partial) {
  using Runtime = typename D::Runtime;
  const Launch how{plan.blocks, plan.threads, stream, plan.cluster, size_t(plan.shared_bytes)};
  if (plan.strategy == Strategy::split) {
    const Parts parts{plan.parts, plan.each};
    launch(how, columns_gradient<Runtime, T, V, false>, a, parts, plan.width, partial);
    launch({ceil_div(a.batch * a.channels, 4), 128, stream}, merge_sums<Runtime, T>, a, parts, partial);
    launch({plan.blocks, plan.threads, stream}, columns_gradient<Runtime, T, V, true>, a, parts, plan.width, partial);
  } else if constexpr (D::kInputs == 2) {  // plan_columns() never holds three
    launch(how, columns_backward<std::conditional_t<V == 1, Runtime, D>, T, V>, a, plan.width, plan.held);
  }
}

template <class D, class T>
void backward_of(const InstanceNormActBackward& args, const Device& device, cudaStream_t stream,
                 const Scratch& scratch) {
  using A = wide_t<T>;
  Norm<T> a = typed<T>(args);
  const void* in[] = {args.known, args.dy, args.v};
  for (int n = 0; n < 3; ++n) a.in[n] = static_cast<const T*>(in[n]);
  a.out[0] = static_cast<T*>(args.dx);
  a.out[1] = static_cast<T*>(args.grad_dy);
  a.slopes.inverse = args.from_output ? A(1 / args.negative_slope) : A(0);
  a.v_weight = args.v_weight;
  a.v_bias = args.v_bias;
  const int64_t planes = a.batch * a.channels;
  const Access access = access_of<T>(args.shape, {a.in[0], a.in[1], a.in[2], a.out[0], a.out[1]});
  if (planes * a.spatial > 0) {
    const Plan plan = plan_of(args.shape, access, kFootprint<D>, device);
    const int64_t parts = plan.strategy == Strategy::split ? planes * plan.parts : 0;
    a.sums = static_cast<A*>(scratch(D::kSums * (planes + parts) * sizeof(A)));
    A* partial = a.sums + D::kSums * planes;
    with_access<T>(access, [&](auto vector, auto edges) {
      if (args.shape.channels_last) {
        if constexpr (!edges()) launch_columns_backward<D, T, vector()>(a, plan, stream, partial);
      } else {
        launch_rows_backward<D, T, vector(), edges()>(a, plan, stream, partial);
      }
    });
  }
  launch_batch_sums<typename D::Runtime>(a, args.dweight, args.dbias, stream);
}

}  // namespace gankit::instance_norm_act
