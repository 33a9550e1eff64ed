// Tests of the shim that executes CUDA kernels on the CPU: whether it computes what a device does, and detects errors.
#include "cuda_shim.h"

#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "../../csrc/cuda/common.cuh"
#include "check.h"

using namespace gankit;

namespace {

__global__ void indices(unsigned* out) {
  out[(blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x] =
      blockIdx.y * 10000 + blockIdx.x * 1000 + threadIdx.x;
}

__global__ void shuffles(int* out) {
  const int lane = threadIdx.x;
  out[lane] = __shfl_xor_sync(0xffffffffu, lane, 5);
  out[32 + lane] = __shfl_down_sync(0xffffffffu, lane, 3);
  out[64 + lane] = __shfl_sync(0xffffffffu, lane, 7);
  out[96 + lane] = __shfl_xor_sync(0xffffffffu, lane, 4, 8);
  out[128 + lane] = warp_sum(lane, 8);
}

// Reverses the array through shared memory: wrong without a barrier.
template <bool wait>
__global__ void turn(const float* in, float* out) {
  __shared__ float fixed[256];
  float* dynamic = static_cast<float*>(dynamic_shared());
  const unsigned i = threadIdx.x, last = blockDim.x - 1;
  fixed[i] = in[i];
  if (wait) __syncthreads();
  dynamic[i] = fixed[last - i];
  if (wait) __syncthreads();
  out[i] = dynamic[i];
}

__global__ void sum(const double* in, double* out) {
  double* scratch = static_cast<double*>(dynamic_shared());
  out[threadIdx.x] = block_sum(in[threadIdx.x], scratch) + block_sum(1.0, scratch + 32);
}

// Each block reads a value of every other one.
__global__ void gather(unsigned* out) {
  unsigned* mine = static_cast<unsigned*>(dynamic_shared());
  if (threadIdx.x == 0) *mine = blockIdx.x * 10;
  cluster_arrive();
  cluster_wait();
  if (threadIdx.x < cluster_size()) {
    out[blockIdx.x * cluster_size() + threadIdx.x] = *cluster_map(mine, threadIdx.x);
  }
  cluster_arrive();
  cluster_wait();
}

// Reads the shared memory of blocks that have ended already.
__global__ void gather_and_leave(unsigned* out) {
  unsigned* mine = static_cast<unsigned*>(dynamic_shared());
  cluster_arrive();
  cluster_wait();
  if (threadIdx.x == 0) out[blockIdx.x] = *cluster_map(mine, cluster_size() - 1 - cluster_rank());
}

template <bool wait>
__global__ void copy_through(const float* in, float* out) {
  auto* tile = static_cast<Pack<float, 4>*>(dynamic_shared());
  copy_async(&tile[threadIdx.x], in + 4 * threadIdx.x);
  if (wait) wait_copies();
  store_aligned(out + 4 * threadIdx.x, tile[threadIdx.x]);
  if (!wait) wait_copies();
}
__global__ void copy_and_leave(const float* in) {
  copy_async(static_cast<Pack<float, 4>*>(dynamic_shared()) + threadIdx.x, in + 4 * threadIdx.x);
}

[[maybe_unused]] __global__ void write_at(char* out, int at, char value) {
  if (threadIdx.x == 3) out[at] = value;
}
__global__ void write_shared(int at) {
  if (threadIdx.x == 3) static_cast<char*>(dynamic_shared())[at] = 1;
}
__global__ void leave_early() {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void half_warp() {
  if (threadIdx.x < 16) warp_sum(1);
}
[[maybe_unused]] __global__ void misaligned(float* p) { store_pack<4>(p + 1, 0, 4, load_pack<4>(p, 0, 4)); }

Launch one_block(unsigned threads, size_t shared = 0) { return {1, threads, nullptr, 1, shared}; }

// Whether f ends its process; it runs in a child process.
bool dies(const std::function<void()>& f) {
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    freopen("/dev/null", "w", stderr);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void check_results() {
  std::vector<unsigned> index(6 * 64);
  shim::launch(dim3(3, 2), dim3(64), 0, 1, [&] { indices(index.data()); });
  for (unsigned i = 0; i < index.size(); ++i) CHECK(index[i] == i / 192 * 10000 + i / 64 % 3 * 1000 + i % 64);

  std::vector<int> out(160);
  launch(one_block(32), shuffles, out.data());
  for (int i = 0; i < 32; ++i) {
    CHECK(out[i] == (i ^ 5));
    CHECK(out[32 + i] == (i + 3 < 32 ? i + 3 : i));
    CHECK(out[64 + i] == 7);
    CHECK(out[96 + i] == (i ^ 4));
    CHECK(out[128 + i] == i / 8 * 64 + 28);
  }

  std::vector<float> in(256), turned(256);
  for (int i = 0; i < 256; ++i) in[i] = float(i);
  launch(one_block(256, 1024), turn<true>, in.data(), turned.data());
  for (int i = 0; i < 256; ++i) CHECK(turned[i] == float(255 - i));

  std::vector<double> numbers(96), sums(96);
  for (int i = 0; i < 96; ++i) numbers[i] = i;
  launch(one_block(96, 512), sum, numbers.data(), sums.data());
  for (const double s : sums) CHECK(s == 95 * 48 + 96);

  alignas(16) float source[128], target[128];
  for (int i = 0; i < 128; ++i) source[i] = float(i);
  launch(one_block(32, 512), copy_through<true>, source, target);
  for (int i = 0; i < 128; ++i) CHECK(target[i] == source[i]);
  launch(one_block(32, 512), copy_through<false>, source, target);
  for (int i = 0; i < 128; ++i) CHECK(std::isnan(target[i]));

  std::vector<unsigned> gathered(8 * 4);
  launch({8, 32, nullptr, 4, 16}, gather, gathered.data());
  for (unsigned b = 0; b < 8; ++b) {
    for (unsigned r = 0; r < 4; ++r) CHECK(gathered[b * 4 + r] == (b / 4 * 4 + r) * 10);
  }
}

// Without its barriers the kernel is wrong in at least one order of threads.
void check_that_races_show() {
#if defined(__SANITIZE_THREAD__)  // it reports at the end of the process, by its exit status
  std::vector<char> byte(4);
  const auto twice = [&](int other) {
    launch(one_block(32), write_at, byte.data(), 1, char(1));
    shim::launch(dim3(2), dim3(32), 0, 1, [&] { write_at(byte.data(), blockIdx.x ? other : 1, char(2)); });
    exit(0);
  };
  CHECK(dies([&] { twice(1); }));   // two blocks of a grid write the same byte
  CHECK(!dies([&] { twice(2); }));  // two launches do, one after the other
#else
  std::vector<float> in(256, 1), out(256);
  bool wrong = false;
  for (const bool reverse : {false, true}) {
    shim::reverse = reverse;
    std::fill(in.begin(), in.end(), reverse ? 2.f : 1.f);
    launch(one_block(256, 1024), turn<false>, in.data(), out.data());
    for (const float v : out) wrong |= v != in[0];
  }
  shim::reverse = false;
  CHECK(wrong);
#endif
}

void check_refusals() {
  CHECK(!dies([] { launch(one_block(64, 16), write_shared, 15); }));
  CHECK(dies([] { launch(one_block(64), leave_early); }));
  CHECK(dies([] { launch(one_block(32), half_warp); }));
  CHECK(dies([] { launch(one_block(33), half_warp); }));
  CHECK(dies([] { launch(one_block(32, 300000), write_shared, 0); }));
  CHECK(dies([] { launch({6, 32, nullptr, 4, 16}, write_shared, 0); }));
  std::vector<unsigned> from_each(2);
  CHECK(dies([&] { launch({2, 32, nullptr, 2, 16}, gather_and_leave, from_each.data()); }));
  alignas(16) float numbers[128] = {};
  CHECK(dies([&] { launch(one_block(32, 512), copy_and_leave, static_cast<const float*>(numbers)); }));
#if defined(__SANITIZE_ADDRESS__)
  std::vector<char> exact(100);
  CHECK(!dies([&] { launch(one_block(32), write_at, exact.data(), 99, char(1)); }));
  CHECK(dies([&] { launch(one_block(32), write_at, exact.data(), 100, char(1)); }));
  CHECK(dies([&] { launch(one_block(32), write_at, exact.data(), -1, char(1)); }));
  CHECK(dies([] { launch(one_block(32, 16), write_shared, 16); }));
  alignas(16) float values[8] = {};  // UBSan: a 16-byte access where 4 bytes are all the alignment there is
  CHECK(dies([&] { launch(one_block(32), misaligned, values); }));
#endif
}

void check_elements() {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float h = __half2float({uint16_t(bits)}), b = __bfloat162float({uint16_t(bits)});
    CHECK(h != h || __float2half(h).bits == bits);
    CHECK(b != b || __float2bfloat16(b).bits == bits);
  }
  CHECK(__float2half(2049.f).bits == __float2half(2048.f).bits);  // ties to even
  CHECK(__float2half(2051.f).bits == __float2half(2052.f).bits);
  CHECK(__float2half(65519.f).bits == 0x7bff && __float2half(65520.f).bits == 0x7c00);
  CHECK(__float2half(ldexpf(1.5f, -24)).bits == 2 && __float2half(ldexpf(1, -25)).bits == 0);
  CHECK(__float2half(ldexpf(2047.9f, -25)).bits == 0x400);  // the largest subnormal rounds up to a normal number
  CHECK(__float2bfloat16(257.f).bits == __float2bfloat16(256.f).bits);
  CHECK(__float2bfloat16(259.f).bits == __float2bfloat16(260.f).bits);
  CHECK(std::isnan(__half2float(__float2half(NAN))) && std::isnan(__bfloat162float(__float2bfloat16(NAN))));
}

}  // namespace

int main() {
  check_elements();
  for (const bool reverse : {false, true}) {
    shim::reverse = reverse;
    check_results();
  }
  check_that_races_show();
  check_refusals();
  return 0;
}
