// The CPU loops of leaky ReLU against a scalar loop over (outer, channels, inner), at lengths around every boundary.
// Buffers are allocated exactly, so that AddressSanitizer sees the first element read or written beyond them.
#include "cpu/leaky_relu.h"

#include <algorithm>
#include <vector>

#include "check.h"

using namespace gankit;

template <typename T>
void check(DType dtype, int64_t outer, int64_t channels, int64_t inner, double slope) {
  const int64_t total = outer * channels * inner, once = channels * inner;
  LeakyReluArgs args{.dtype = dtype};
  args.total = total;
  args.channels = channels;
  args.inner = inner;
  args.slope = slope;
  args.short_planes = channels > 1 && inner < kShortPlane;
  args.period = once >= 64 ? once : once * ((63 + once) / once);
  args.chunk = args.short_planes ? args.period * 3 : 100;
  args.chunks_per_plane = (inner + 99) / 100;
  std::vector<T> x(total), grad(total), y(total), dx(total), bias(channels), spread(args.period);
  for (int64_t i = 0; i < total; ++i) {
    x[i] = T((i * 37 % 101 - 50) / 16.0);
    grad[i] = T((i * 53 % 89 - 44) / 8.0);
  }
  for (int64_t c = 0; c < channels; ++c) bias[c] = T(c % 7 - 3) / T(4);
  for (int64_t p = 0; p < args.period; ++p) spread[p] = bias[p / inner % channels];

  args.x = x.data();
  args.out = y.data();
  args.bias = args.short_planes ? spread.data() : bias.data();
  const int64_t cut = total / 3;  // two ranges, as two threads would take them
  leaky_relu_forward_best()(args, 0, cut);
  leaky_relu_forward_best()(args, cut, total);

  const int64_t chunks = args.short_planes ? (total + args.chunk - 1) / args.chunk : outer * channels * args.chunks_per_plane;
  std::vector<T> partial(chunks * (args.short_planes ? args.period : 1));
  args.y = y.data();
  args.grad = grad.data();
  args.out = dx.data();
  args.partial = partial.data();
  leaky_relu_backward_best()(args, 0, chunks);

  std::vector<double> sums(channels), expected_sums(channels);
  for (int64_t i = 0; i < total; ++i) {
    const int64_t c = i / inner % channels;
    const double v = double(x[i]) + double(bias[c]), d = double(grad[i]) * (v > 0 ? 1.0 : slope);
    CHECK_CLOSE(y[i], v > 0 ? v : v * slope, 1e-6);
    CHECK_CLOSE(dx[i], d, 1e-6);
    expected_sums[c] += d;
  }
  for (size_t k = 0; k < partial.size(); ++k) {
    const int64_t c = args.short_planes ? int64_t(k) % args.period / inner % channels
                                        : int64_t(k) / args.chunks_per_plane % channels;
    sums[c] += double(partial[k]);
  }
  for (int64_t c = 0; c < channels; ++c) CHECK_CLOSE(sums[c], expected_sums[c], 1e-4);

  // Without the input's gradient the sums are the same.
  std::vector<T> again(partial.size());
  args.out = nullptr;
  args.partial = again.data();
  leaky_relu_backward_best()(args, 0, chunks);
  CHECK(std::equal(again.begin(), again.end(), partial.begin()));
}

int main() {
  for (const int64_t inner : {1, 2, 3, 15, 16, 17, 63, 64, 65, 100, 101, 600}) {
    for (const int64_t channels : {1, 2, 3, 16, 33, 130}) {
      for (const int64_t outer : {1, 2, 7}) {
        check<float>(DType::f32, outer, channels, inner, 0.2);
        check<double>(DType::f64, outer, channels, inner, 0.0);
      }
    }
  }
  printf("leaky_relu: %s\n", cpu_capability_name());
}
