// A plan made executable on a GPU for one batch size: a fixed sequence of cuDNN plans and kernels over one
// arena, captured once and replayed.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "core/backend.h"
#include "cuda/device.h"
#include "cuda/steps.h"

namespace residual::cuda {

// Batches go through in three stages, each on a stream of its own: upload, compute, download. There are two
// slots with staging memory, so that the upload of one batch and the download of another overlap with the
// computing of a third. Everything is allocated on first use; later runs allocate nothing.
class Executable {
 public:
  // One batch's way through. `acquire` it, fill input(), submit, collect, read output(); then it goes back by
  // itself.
  class Slot;

  class Lease {
   public:
    Lease() = default;
    Lease(Executable* owner, Slot* slot) : owner_(owner), slot_(slot) {}
    Lease(Lease&& other) noexcept { *this = std::move(other); }
    Lease& operator=(Lease&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(slot_, other.slot_);
      return *this;
    }
    ~Lease();  // waits for what was submitted

    // [batch, H, W, C], pinned: to be filled before submit.
    std::byte* input(InputKind kind);
    // Queues upload, network and download. `mask`: not empty.
    void submit(InputKind kind, OutputMask mask);
    // Waits until the outputs are there.
    void collect();
    const float* output(int output) const;  // [batch, elements], pinned

    explicit operator bool() const { return slot_ != nullptr; }

   private:
    Executable* owner_ = nullptr;
    Slot* slot_ = nullptr;
  };

  // `plans`: by op; null for ops that kernels of our own run. `graph`: false to queue every step anew at each
  // run.
  Executable(const Network& network, int batch, const std::vector<std::shared_ptr<const EnginePlan>>& plans,
             bool graph, std::shared_ptr<Device> device);
  ~Executable();

  int batch() const { return batch_; }
  size_t bytes() const;  // of device and pinned memory

  // A slot nobody uses; waits for one, or, if `wait` is false, may come back empty.
  Lease acquire(bool wait);

 private:
  std::vector<Step> steps(const Slot& slot, InputKind kind, OutputMask mask) const;
  void queue(const std::vector<Step>& steps);
  std::unique_ptr<Graph> capture(const std::vector<Step>& steps);

  void prepare(Slot& slot, InputKind kind, OutputMask mask);
  void submit(Slot& slot, InputKind kind, OutputMask mask);
  void release(Slot& slot);

  const Network& network_;  // outlives this
  const int batch_;
  const bool graph_;
  std::shared_ptr<Device> device_;
  DeviceBuffer arena_;
  DeviceBuffer workspace_;
  StepBuilder builder_;
  std::vector<Step> body_;  // of each op but the first
  std::unique_ptr<Stream> upload_, compute_, download_;

  mutable std::mutex mutex_;  // over the streams and the slots' states
  std::condition_variable free_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace residual::cuda
