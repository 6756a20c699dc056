#include "cpu/thread_pool.h"

#include <exception>
#include <string>

#include "core/error.h"
#include "cpu/denormals.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace residual::cpu {
namespace {

constexpr int kSpins = 2000;  // about 50 us, before yielding the processor to others

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

constexpr uint64_t next(uint64_t tasks) { return tasks & 0xFFFFFFFF; }
constexpr uint64_t end(uint64_t tasks) { return tasks >> 32; }
constexpr bool some_left(uint64_t tasks) { return next(tasks) < end(tasks); }

}  // namespace

ThreadPool::ThreadPool(int threads) : shares_(threads) {
  try {
    start_helpers(threads);
  } catch (const std::exception& error) {  // no more threads, or no memory for another
    stop_helpers();
    throw core::Error(
        core::ErrorCode::kOutOfMemory,
        "Could not start " + std::to_string(threads) + " threads: " + error.what() + ". Use fewer threads.");
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
  // With fewer tasks than workers, the caller gets one.
  const uint64_t workers = shares_.size();
  const auto begin = [&](uint64_t worker) { return (count * worker + workers - 1) / workers; };
  for (uint64_t worker = 0; worker < workers; worker++)
    shares_[worker].tasks = begin(worker + 1) << 32 | begin(worker);
  if (sleepers_ > 0 && count > 1) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }  // a helper between its check and its sleep is asleep by now
    wake_.notify_all();
  }
  while (claim_and_run(/*worker=*/0)) {
  }
  for (int spins = 0; unfinished_ != 0;) spin(spins);
}

bool ThreadPool::claim_and_run(int worker) {
  const int shares = static_cast<int>(shares_.size());
  for (int i = 0; i < shares; i++)
    if (claim_and_run(worker, (worker + i) % shares)) return true;
  return false;
}

bool ThreadPool::claim_and_run(int worker, int share) {
  std::atomic<uint64_t>& mine = shares_[share].tasks;
  uint64_t tasks = mine;
  while (some_left(tasks)) {
    if (!mine.compare_exchange_weak(tasks, tasks + 1)) continue;
    function_(context_, static_cast<int>(next(tasks)), worker);
    unfinished_--;
    return true;
  }
  return false;
}

bool ThreadPool::claimable() const {
  for (const Share& share : shares_)
    if (some_left(share.tasks)) return true;
  return false;
}

void ThreadPool::help(int worker) {
  const FlushDenormals flush;
  while (!stop_) {
    while (claim_and_run(worker)) {
    }
    for (int spins = 0; busy_ && !claimable();) spin(spins);
    if (claimable()) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_++;
    wake_.wait(lock, [this] { return stop_ || claimable(); });
    sleepers_--;
  }
}

}  // namespace residual::cpu
