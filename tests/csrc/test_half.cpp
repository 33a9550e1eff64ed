// Conversion of the 16-bit types: every pattern there and back, and rounding, by blocks of every odd length. This test
// is itself compiled for each instruction set, since what it tests is inlined.
#include "cpu/simd.h"

#include <vector>

#include "check.h"

using namespace gankit;
using namespace gankit::GANKIT_CPU_CAPABILITY;

template <typename T>
void check_patterns(uint16_t infinity) {
  std::vector<T> half(65536), back(65536);
  std::vector<float> wide(65536);
  for (int i = 0; i < 65536; ++i) half[i].bits = uint16_t(i);
  load(half.data(), wide.data(), 65536);
  store(back.data(), wide.data(), 65536);
  for (int i = 0; i < 65536; ++i) {
    const bool nan = (i & 0x7fff) > infinity;
    CHECK(nan ? isnan(wide[i]) && (back[i].bits & 0x7fff) > infinity : back[i].bits == i);
  }
  // Halfway between two neighbours goes to the even one, a little beyond to the nearer.
  for (int i = 0; i + 1 < infinity; ++i) {
    const double low = double(to_float(T{uint16_t(i)})), high = double(to_float(T{uint16_t(i + 1)}));
    const float middle = float((low + high) / 2);
    T rounded;
    from_float(middle, &rounded);
    CHECK(rounded.bits == uint16_t(i % 2 == 0 ? i : i + 1));
    from_float(nextafterf(middle, INFINITY), &rounded);
    CHECK(rounded.bits == i + 1);
    from_float(-nextafterf(middle, 0.0f), &rounded);
    CHECK(rounded.bits == (0x8000 | i));
  }
  for (int n = 0; n < 40; ++n) {
    std::vector<T> source(half.begin() + 0x3c00, half.begin() + 0x3c00 + n), target(n);
    std::vector<float> buffer(n);
    load(source.data(), buffer.data(), n);
    store(target.data(), buffer.data(), n);
    for (int i = 0; i < n; ++i) CHECK(target[i].bits == source[i].bits);
  }
}

int main() {
  if (cpu_capability() < Capability::GANKIT_CPU_CAPABILITY) return 77;  // skipped: the processor lacks it
  check_patterns<Float16>(0x7c00);
  check_patterns<BFloat16>(0x7f80);
  Float16 half;
  from_float(65520.0f, &half);  // the first float that rounds to infinity
  CHECK(half.bits == 0x7c00);

}
