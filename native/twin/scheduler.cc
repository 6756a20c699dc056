#include "twin/scheduler.h"

#include "core/error.h"

namespace residual::twin {

std::shared_ptr<Scheduler::Queue> Scheduler::add_queue() {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  auto queue = std::make_shared<Queue>();
  queues_.push_back(queue);
  return queue;
}

void Scheduler::push(Queue& queue, Task task) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  queue.push_back(std::move(task));
}

void Scheduler::record(Queue& queue, const std::shared_ptr<EventState>& event) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  queue.push_back({"event", nullptr, event, ++event->recorded, /*waits=*/false});
}

void Scheduler::wait(Queue& queue, const std::shared_ptr<EventState>& event) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  queue.push_back({"wait", nullptr, event, event->recorded, /*waits=*/true});
}

void Scheduler::finish(const Queue& queue) {
  work_until([&] { return queue.empty(); });
}

void Scheduler::finish(const EventState& event) {
  const uint64_t generation = event.recorded;
  work_until([&] { return event.done >= generation; });
}

void Scheduler::work_until(const std::function<bool()>& done) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  while (!done()) {
    std::vector<std::shared_ptr<Queue>> ready;
    for (const auto& weak : queues_) {
      const auto queue = weak.lock();
      if (!queue || queue->empty()) continue;
      const Task& next = queue->front();
      if (!next.waits || next.event->done >= next.generation) ready.push_back(queue);
    }
    if (ready.empty())
      throw core::Error(core::ErrorCode::kInternal, "twin: deadlock: the streams wait for each other.");
    Queue& queue = *ready[random_() % ready.size()];
    const Task task = std::move(queue.front());
    queue.pop_front();
    if (task.run) task.run();
    if (task.event && !task.waits) task.event->done = task.generation;
  }
}

}  // namespace residual::twin
