// The threads that compute: the caller and threads - 1 helpers, which share the tasks of one job at a time.
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
  // Throws OUT_OF_MEMORY if the system refuses so many threads.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Calls task(index, worker) for every index in [0, tasks); returns when all are done.
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

  // While one lives, helpers spin between two jobs rather than sleep: waking one takes longer than many
  // operations, all the more in a virtual machine, which has to ask for an idle processor. At other times
  // they sleep.
  class Busy {
   public:
    explicit Busy(ThreadPool& pool) : pool_(pool) { pool_.busy_ = true; }
    ~Busy() { pool_.busy_ = false; }
    Busy(const Busy&) = delete;

   private:
    ThreadPool& pool_;
  };

 private:
  using Function = void (*)(const void* context, int index, int worker);

  void start_helpers(int threads);
  void stop_helpers();
  void run(int tasks, Function function, const void* context);
  bool claim_and_run(int worker);
  bool claim_and_run(int worker, int share);
  bool claimable() const;
  void help(int worker);

  // One worker's share of the job's tasks: its end in the upper half, the next unclaimed task in the lower. A
  // task is claimed by incrementing the lower half with compare-and-swap; success means that the job is
  // unfinished and function_ and context_ belong to it.
  //
  // A worker takes its own share first, then the others'. All jobs number their tasks pixel by pixel, so a
  // worker mostly reads what it wrote in the previous job, not what another processor's cache holds.
  struct alignas(64) Share {
    std::atomic<uint64_t> tasks{0};
  };
  std::vector<Share> shares_;  // by worker
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
