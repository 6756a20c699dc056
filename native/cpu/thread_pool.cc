#include "cpu/thread_pool.h"

#include <string>
#include <system_error>

#include "core/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace residual::cpu {
namespace {

constexpr int kSpins = 2000;  // about 50 us, before others that want the processor are let through

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

inline void spin(int& spins) {
  if (spins < kSpins) {
    spins++;
    pause();
  } else {
    std::this_thread::yield();
  }
}

constexpr uint64_t next(uint64_t job) { return job & 0xFFFFFFFF; }
constexpr uint64_t tasks(uint64_t job) { return job >> 32; }
constexpr bool claimable(uint64_t job) { return next(job) < tasks(job); }

}  // namespace

ThreadPool::ThreadPool(int threads) {
  try {
    start_helpers(threads);
  } catch (const std::system_error& error) {
    stop_helpers();
    throw core::Error(core::ErrorCode::kOutOfMemory, "Could not start " + std::to_string(threads) +
                                                         " threads: " + error.what() + ". Ask for fewer.");
  }
}

ThreadPool::~ThreadPool() { stop_helpers(); }

void ThreadPool::start_helpers(int threads) {
  helpers_.reserve(threads - 1);
  for (int worker = 1; worker < threads; worker++) helpers_.emplace_back([this, worker] { help(worker); });
}

void ThreadPool::stop_helpers() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::run(int count, Function function, const void* context) {
  function_ = function;
  context_ = context;
  unfinished_ = count;
  job_ = uint64_t(count) << 32;
  if (sleepers_ > 0 && count > 1) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }  // whoever is between its check and its sleep sleeps now
    wake_.notify_all();
  }
  while (claim_and_run(/*worker=*/0)) {
  }
  for (int spins = 0; unfinished_ != 0;) spin(spins);
}

bool ThreadPool::claim_and_run(int worker) {
  uint64_t job = job_;
  while (claimable(job)) {
    if (!job_.compare_exchange_weak(job, job + 1)) continue;
    function_(context_, static_cast<int>(next(job)), worker);
    unfinished_--;
    return true;
  }
  return false;
}

void ThreadPool::help(int worker) {
  while (!stop_) {
    while (claim_and_run(worker)) {
    }
    for (int spins = 0; busy_ && !claimable(job_);) spin(spins);
    if (claimable(job_)) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_++;
    wake_.wait(lock, [this] { return stop_ || claimable(job_); });
    sleepers_--;
  }
}

}  // namespace residual::cpu
