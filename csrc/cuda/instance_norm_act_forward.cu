// The forward of instance_norm_act on CUDA: from arguments to launches. See docs/ops.md for who does what, and why.
#include "instance_norm_act_launch.cuh"

namespace gankit::instance_norm_act {
namespace {

template <class T, int V, bool kEdges>
void launch_rows_forward(const Norm<T>& a, const Plan& plan, cudaStream_t stream, wide_t<T>* partial) {
  constexpr bool kWhole = V > 1 && !kEdges;
  const size_t shared = plan.strategy == Strategy::lanes ? 0 : rows_shared<wide_t<T>>(kForwardFootprint.sums);
  const Launch how{plan.blocks, plan.threads, stream, plan.cluster, shared};
  if (plan.strategy == Strategy::split) {
    const Parts parts{plan.parts, plan.each};
    launch(how, rows_moments<T, V, kEdges>, a, parts, partial);
    launch({ceil_div(a.batch * a.channels, 4), 128, stream}, merge_moments<T>, a, parts, partial);
    launch({plan.blocks, plan.threads, stream}, rows_apply<T, V, (V > 1)>, a, parts);
  } else if (plan.strategy == Strategy::block) {
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

template <class T, int V>
void launch_columns_forward(const Norm<T>& a, const Plan& plan, cudaStream_t stream, wide_t<T>* partial) {
  const Launch how{plan.blocks, plan.threads, stream, plan.cluster, size_t(plan.shared_bytes)};
  if (plan.strategy == Strategy::split) {
    const Parts parts{plan.parts, plan.each};
    launch(how, columns_moments<T, V>, a, parts, plan.width, partial);
    launch({ceil_div(a.batch * a.channels, 4), 128, stream}, merge_moments<T>, a, parts, partial);
    launch({plan.blocks, plan.threads, stream}, columns_apply<T, V>, a, parts, plan.width);
  } else {
    launch(how, columns_forward<T, V>, a, plan.width, plan.held);
  }
}

// Planes without elements: no variance, but nothing undefined either.
template <class T>
__global__ void empty_planes(const Norm<T> a) {
  const int64_t p = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (p >= a.batch * a.channels) return;
  a.mean[p] = 0;
  a.rstd[p] = inverse_deviation(wide_t<T>(0), a.eps);
}

template <class T>
void forward_of(const InstanceNormActForward& args, const Device& device, cudaStream_t stream, const Scratch& scratch) {
  Norm<T> a = typed<T>(args);
  a.in[0] = static_cast<const T*>(args.x);
  a.residual = static_cast<const T*>(args.residual);
  a.out[0] = static_cast<T*>(args.y);
  a.eps = wide_t<T>(args.eps);
  const int64_t planes = a.batch * a.channels;
  if (a.spatial == 0) return launch({ceil_div(planes, 128), 128, stream}, empty_planes<T>, a);
  const Access access = access_of<T>(args.shape, {a.in[0], a.residual, a.out[0]});
  const Plan plan = plan_of(args.shape, access, kForwardFootprint, device);
  const int64_t parts = plan.strategy == Strategy::split ? planes * plan.parts : 0;
  auto* partial = static_cast<wide_t<T>*>(parts ? scratch(2 * parts * sizeof(wide_t<T>)) : nullptr);
  with_access<T>(access, [&](auto vector, auto edges) {
    if (args.shape.channels_last) {
      if constexpr (!edges()) launch_columns_forward<T, vector()>(a, plan, stream, partial);
    } else {
      launch_rows_forward<T, vector(), edges()>(a, plan, stream, partial);
    }
  });
}

}  // namespace

void forward(const InstanceNormActForward& args, const Device& device, cudaStream_t stream, const Scratch& scratch) {
  if (args.shape.batch * args.shape.channels == 0) return;
  with_type(args.shape.dtype, [&](auto* element) {
    forward_of<std::remove_pointer_t<decltype(element)>>(args, device, stream, scratch);
  });
}

}  // namespace gankit::instance_norm_act
