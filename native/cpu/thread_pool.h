// Who computes? The caller and threads - 1 helpers, which share out the tasks of one job at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace residual::cpu {

class ThreadPool {
 public:
  static constexpr int kMaxTasks = 0xFFFF;

  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Calls task(index, worker) for every index in [0, tasks), tasks <= kMaxTasks; returns when all are done.
  // `worker`, in [0, threads()), is never in two calls at once. Tasks must not throw. One caller at a time.
  template <typename Task>
  void run(int tasks, const Task& task) {
    run(
        tasks,
        [](const void* context, int index, int worker) {
          (*static_cast<const Task*>(context))(index, worker);
        },
        &task);
  }

  // Between two jobs of one run helpers spin for a moment rather than sleep; outside of a run they always
  // sleep.
  class Run {
   public:
    explicit Run(ThreadPool& pool) : pool_(pool) { pool_.busy_ = true; }
    ~Run() { pool_.busy_ = false; }
    Run(const Run&) = delete;

   private:
    ThreadPool& pool_;
  };

 private:
  using Function = void (*)(const void* context, int index, int worker);

  void run(int tasks, Function function, const void* context);
  bool claim_and_run(int worker);
  void help(int worker);

  // The job: {generation:32, tasks:16, next:16}. A task is claimed by raising `next` with compare-and-swap,
  // so whoever claims one knows that this very job is unfinished and function_ and context_ are its own.
  std::atomic<uint64_t> job_{0};
  std::atomic<int> unfinished_{0};
  Function function_ = nullptr;
  const void* context_ = nullptr;

  std::atomic<bool> busy_{false};
  std::atomic<bool> stop_{false};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> helpers_;
};

}  // namespace residual::cpu
