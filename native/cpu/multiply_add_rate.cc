#include "cpu/multiply_add_rate.h"

#include <atomic>
#include <chrono>

#include "cpu/peak.h"
#include "cpu/thread_pool.h"

namespace residual::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kBurstMultiplyAdds = 2e6;  // between two clock readings: some 10 to 50 microseconds

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Calls `burst`, which does so many multiply-adds, on all threads. Per second.
template <typename Burst>
double rate_of(const Burst& burst, double multiply_adds, int threads, double milliseconds) {
  ThreadPool pool(threads);
  const ThreadPool::Busy busy(pool);
  std::atomic<size_t> bursts{0};
  std::atomic<double> kept{0};  // so that the compiler cannot drop the results
  const Clock::time_point begin = Clock::now();
  // As many tasks as threads, none of them short, so each thread gets one.
  pool.run(threads, [&](int, int) {
    size_t own = 0;
    double sum = 0;
    for (; seconds_since(begin) * 1000 < milliseconds; own++) sum += burst();
    bursts += own;
    kept = sum;
  });
  return 2 * multiply_adds * double(bursts.load()) / seconds_since(begin);
}

}  // namespace

double multiply_add_rate(const Isa& isa, core::Precision precision, int threads, double milliseconds) {
  if (const PeakLoop* const loop = find_peak_loop(isa, precision)) {
    const auto rounds = static_cast<size_t>(kBurstMultiplyAdds / loop->multiply_adds) + 1;
    return rate_of([&] { return loop->run(rounds); }, loop->multiply_adds * rounds, threads, milliseconds);
  }
  const Kernels& kernels = *isa.fp32;
  const double of_round = double(kPeakChains) * kernels.lanes;
  const auto rounds = static_cast<size_t>(kBurstMultiplyAdds / of_round) + 1;
  return rate_of([&] { return kernels.multiply_adds(rounds); }, of_round * rounds, threads, milliseconds);
}

}  // namespace residual::cpu
