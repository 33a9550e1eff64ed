// instance_norm_act over whole channels_last images: who does which rows, and how their sums come together.
#pragma once

#include "instance_norm_act_columns.h"

namespace gankit::GANKIT_CPU_CAPABILITY {
namespace {

// mean and rstd of every channel of an image, from those of its segments and its tail.
template <class T, class A = compute_t<T>>
void image_moments(const Grid& g, A* parts, const T* tail, double eps, A* mean, A* rstd) {
  const Buffer<double> merged(2 * g.width);
  double *means = merged.data, *m2s = means + g.width, rows = 0;
  for (int64_t s = 0; s < g.segments && g.rows > 0; ++s) {
    const Part<A> part(parts + s * Part<A>::kArrays * g.width, g.width);
    const double count = static_cast<double>(g.rows_of(s));
    for (int64_t w = 0; w < g.width; ++w) {
      const auto m = shifted_moments<double>(count, part.shift[w], part.first[w], part.second[w]);
      const auto all = s == 0 ? m : merge(Moments<double>{rows, means[w], m2s[w]}, m);
      means[w] = all.mean;
      m2s[w] = all.m2;
    }
    rows += count;
  }
  for (int64_t c = 0; c < g.channels; ++c) {
    Moments<double> all{rows, rows > 0 ? means[c] : 0, rows > 0 ? m2s[c] : 0};
    for (int64_t w = c + g.channels; w < g.width && rows > 0; w += g.channels) {
      all = merge(all, Moments<double>{rows, means[w], m2s[w]});
    }
    for (int64_t i = c; i < g.tail * g.channels; i += g.channels) {
      all = merge(all, Moments<double>{1, get_scalar(tail + i), 0});
    }
    mean[c] = static_cast<A>(all.mean);
    rstd[c] = static_cast<A>(inverse_deviation(variance(all), eps));
  }
}

// Sums of g and g * (x - mean) of every channel of an image.
template <class T, class A = compute_t<T>>
void image_grads(const Grid& g, A* parts, const ColumnGradients<T>& tail, A* sum_g, A* sum_gx) {
  const Buffer<double> sums(2 * g.width);
  for (int64_t w = 0; w < 2 * g.width; ++w) sums.data[w] = 0;
  for (int64_t s = 0; s < g.segments && g.rows > 0; ++s) {
    const A* part = parts + s * Part<A>::kArrays * g.width;  // its two sums lie side by side
    for (int64_t w = 0; w < 2 * g.width; ++w) sums.data[w] += part[w];
  }
  for (int64_t c = 0; c < g.channels; ++c) {
    A tail_g = 0, tail_gx = 0;
    for (int64_t i = c; i < g.tail * g.channels; i += g.channels) {
      tail.template at<A>(i, tail.template shared<A>(c), tail_g, tail_gx);
    }
    double all_g = tail_g, all_gx = tail_gx;
    for (int64_t w = c; w < g.width; w += g.channels) {
      all_g += sums.data[w];
      all_gx += sums.data[g.width + w];
    }
    sum_g[c] = static_cast<A>(all_g);
    sum_gx[c] = static_cast<A>(all_gx);
  }
}

template <class F, class A = typename F::A>
void fill_planes(const F& f, const Grid& g, int64_t n, const Planes<A>& planes) {
  for (int64_t w = 0; w < g.width;) {
    for (int64_t c = 0; c < g.channels; ++c, ++w) {
      const Plane<A> p = plane_of(f, n, c);
      planes.mean[w] = p.mean;
      planes.scale[w] = p.scale;
      planes.bias[w] = p.bias;
    }
  }
}

template <class T, class A = compute_t<T>>
void fill_plane_grads(const Backward<T>& b, const Grid& g, int64_t n, const Planes<A>& planes) {
  for (int64_t w = 0; w < g.width;) {
    for (int64_t p = n * g.channels; p < (n + 1) * g.channels; ++p, ++w) {
      const auto d = plane_grad<A>(b.sum_g[p], b.sum_gx[p], b.rstd[p], static_cast<A>(b.shape.spatial));
      planes.mean_g[w] = d.mean_g;
      planes.slope_x[w] = d.slope_x;
    }
  }
}

// Some rows of image n, `at` from the tensor's start; with the tail where they are its last ones.
struct Stripe {
  int64_t n, rows, tail, at;
};

// Reduces every image, then maps over it: prepare(n, planes), reduce(stripe, planes, part), finish(n, planes, parts),
// map(stripe, planes). Small images go to one thread each, which finds them cached the second time; large ones are
// shared out by segments.
template <class T, class Prepare, class Reduce, class Finish, class Map>
void each_image(const Grid& g, const InstanceNormActShape& shape, int64_t image_bytes, const Parallel& parallel,
                const Prepare& prepare, const Reduce& reduce, const Finish& finish, const Map& map) {
  using A = compute_t<T>;
  constexpr int64_t kCachedBytes = 1 << 20;
  const int64_t part_size = Part<A>::kArrays * g.width, parts_size = g.segments * part_size;
  const int64_t planes_size = Planes<A>::kArrays * g.width, image = shape.channels * shape.spatial;
  const auto stripe = [&](int64_t n, int64_t s) {
    return Stripe{n, g.rows_of(s), s + 1 == g.segments ? g.tail : 0, n * image + s * g.segment_rows * g.width};
  };
  if (g.segments == 1 || (image_bytes <= kCachedBytes && balanced(shape.batch, parallel))) {
    run(parallel, shape.batch, image, [&](int64_t begin, int64_t end) {
      const Buffer<A> scratch(parts_size + planes_size);
      const Planes<A> planes(scratch.data + parts_size, g.width);
      for (int64_t n = begin; n < end; ++n) {
        prepare(n, planes);
        for (int64_t s = 0; s < g.segments; ++s) {
          reduce(stripe(n, s), planes, Part<A>(scratch.data + s * part_size, g.width));
        }
        finish(n, planes, scratch.data);
        for (int64_t s = g.segments; s-- > 0;) map(stripe(n, s), planes);
      }
    });
    return;
  }
  const Buffer<A> scratch(shape.batch * (parts_size + planes_size));
  const auto parts_of = [&](int64_t n) { return scratch.data + n * parts_size; };
  const auto planes_of = [&](int64_t n) {
    return Planes<A>(scratch.data + shape.batch * parts_size + n * planes_size, g.width);
  };
  const int64_t pieces = shape.batch * g.segments, cost = g.segment_rows * g.width;
  for (int64_t n = 0; n < shape.batch; ++n) prepare(n, planes_of(n));
  run(parallel, pieces, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / g.segments, s = i % g.segments;
      reduce(stripe(n, s), planes_of(n), Part<A>(parts_of(n) + s * part_size, g.width));
    }
  });
  run(parallel, shape.batch, parts_size, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) finish(n, planes_of(n), parts_of(n));
  });
  run(parallel, pieces, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = end; i-- > begin;) {  // backwards: what was read last is still cached
      map(stripe(i / g.segments, i % g.segments), planes_of(i / g.segments));
    }
  });
}

template <class T>
void forward_columns(const Forward<T>& f, const Parallel& parallel) {
  using A = compute_t<T>;
  const Grid g = make_grid<T>(f.shape);
  const int64_t image = f.shape.channels * f.shape.spatial;
  const bool act = f.negative_slope != 1;
  const auto apply = f.residual ? (act ? apply_columns<true, true, T> : apply_columns<false, true, T>)
                                : (act ? apply_columns<true, false, T> : apply_columns<false, false, T>);
  each_image<T>(
      g, f.shape, image * static_cast<int64_t>(sizeof(T)), parallel, [](int64_t, const Planes<A>&) {},
      [&](const Stripe& s, const Planes<A>&, const Part<A>& part) {
        if (s.rows > 0) column_moments(g, f.x + s.at, s.rows, part);
      },
      [&](int64_t n, const Planes<A>& planes, A* parts) {
        const T* tail = f.x + n * image + g.rows * g.width;
        image_moments(g, parts, tail, f.eps, f.mean + n * g.channels, f.rstd + n * g.channels);
        fill_planes(f, g, n, planes);
      },
      [&](const Stripe& s, const Planes<A>& planes) {
        apply(g, f.x + s.at, f.residual ? f.residual + s.at : nullptr, f.y + s.at, s.rows, s.tail, planes,
              f.negative_slope);
      });
}

template <class T>
void backward_columns(const Backward<T>& b, const Parallel& parallel) {
  using A = compute_t<T>;
  const Grid g = make_grid<T>(b.shape);
  const int64_t image = b.shape.channels * b.shape.spatial;
  each_image<T>(
      g, b.shape, 2 * image * static_cast<int64_t>(sizeof(T)), parallel,
      [&](int64_t n, const Planes<A>& planes) { fill_planes(b, g, n, planes); },
      [&](const Stripe& s, const Planes<A>& planes, const Part<A>& part) {
        if (s.rows > 0) column_grads(g, b.dy + s.at, b.x + s.at, s.rows, planes, b.negative_slope, part);
      },
      [&](int64_t n, const Planes<A>& planes, A* parts) {
        const int64_t tail = n * image + g.rows * g.width;
        const ColumnGradients<T> tail_grads{b.dy + tail, b.x + tail, planes, b.negative_slope};
        image_grads(g, parts, tail_grads, b.sum_g + n * g.channels, b.sum_gx + n * g.channels);
        fill_plane_grads(b, g, n, planes);
      },
      [&](const Stripe& s, const Planes<A>& planes) {
        input_grad_columns(g, b.dy + s.at, b.x + s.at, b.dx + s.at, s.rows, s.tail, planes, b.negative_slope);
      });
}

}  // namespace
}  // namespace gankit::GANKIT_CPU_CAPABILITY
