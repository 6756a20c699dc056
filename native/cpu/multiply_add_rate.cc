#include "cpu/multiply_add_rate.h"

#include <atomic>
#include <chrono>

#include "cpu/thread_pool.h"

namespace residual::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kBurst = 20000;  // rounds between two clock readings: about 50 microseconds

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

double multiply_add_rate(const Kernels& kernels, int threads, double milliseconds) {
  ThreadPool pool(threads);
  const ThreadPool::Busy busy(pool);
  std::atomic<size_t> rounds{0};
  std::atomic<float> kept{0};  // so that the compiler cannot drop the sums
  const Clock::time_point begin = Clock::now();
  // As many tasks as threads, none of them short, so each thread gets one.
  pool.run(threads, [&](int, int) {
    size_t own = 0;
    float sum = 0;
    while (seconds_since(begin) * 1000 < milliseconds) {
      sum += kernels.multiply_adds(kBurst);
      own += kBurst;
    }
    rounds += own;
    kept = sum;
  });
  return 2.0 * kPeakChains * kernels.lanes * double(rounds.load()) / seconds_since(begin);
}

}  // namespace residual::cpu
