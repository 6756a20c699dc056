// The order of queued work: any that streams and events allow. Nothing runs before someone waits, and then
// from a stream picked at random.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace residual::twin {

// A wait waits for the last record before it; later records of the same event do not count.
struct EventState {
  uint64_t recorded = 0;
  uint64_t done = 0;
};

struct Task {
  std::string name;
  std::function<void()> run;          // empty for events
  std::shared_ptr<EventState> event;  // to mark as done, or to wait for
  uint64_t generation = 0;
  bool waits = false;
};

class Scheduler {
 public:
  explicit Scheduler(uint64_t seed) : random_(seed) {}

  using Queue = std::deque<Task>;
  std::shared_ptr<Queue> add_queue();

  void push(Queue& queue, Task task);
  void record(Queue& queue, const std::shared_ptr<EventState>& event);
  void wait(Queue& queue, const std::shared_ptr<EventState>& event);

  // Each runs work until the queue is empty or the event done; INTERNAL if that can never happen.
  void finish(const Queue& queue);
  void finish(const EventState& event);

 private:
  void work_until(const std::function<bool()>& done);

  std::recursive_mutex mutex_;
  std::mt19937_64 random_;
  std::vector<std::weak_ptr<Queue>> queues_;
};

}  // namespace residual::twin
