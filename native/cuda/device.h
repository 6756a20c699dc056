// The seam: all that the backend asks of a GPU, namely memory, copies, streams, events, captured graphs,
// plans and kernels. device_cuda.cc implements it with the CUDA runtime; nothing else in this folder calls
// the runtime.
//
// Every function throws core::Error: OUT_OF_MEMORY with what was asked for and what was free, DEVICE_LOST
// after a fault from which the CUDA context does not recover, INTERNAL otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "cuda/conv_spec.h"
#include "cuda/descriptor.h"
#include "cuda/engines.h"
#include "cuda/kernels/kernel_list.h"

namespace residual::cuda {

struct DeviceInfo {
  int index = 0;
  std::string name;
  int compute_capability = 0;  // times 10: 90 for 9.0
  int multiprocessors = 0;
  size_t total_bytes = 0;
};

// All GPUs the driver shows. Throws BACKEND_UNAVAILABLE where there is no driver, or one too old for the
// runtime.
std::vector<DeviceInfo> list_devices();

// One GPU with the kernels of this folder on it. Shared by what is made on it.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual Descriptor describe() const = 0;  // for cuDNN
};

std::shared_ptr<Device> open_device(int index);

// What is thrown where `bytes` for `name` cannot be had.
core::Error no_room(const DeviceInfo& device, const std::string& name, size_t bytes, size_t free_bytes);

// Memory of a device. Not to be touched by the host.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // `name` says in errors what the memory was for. Its contents are not set.
  DeviceBuffer(std::shared_ptr<Device> device, size_t bytes, const std::string& name);
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  ~DeviceBuffer();

  std::byte* data() const { return data_; }  // device
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Device> device_;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Memory of the host that a device copies from and to while the host goes on.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(std::shared_ptr<Device> device, size_t bytes, const std::string& name);  // zeros
  PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  ~PinnedBuffer();

  std::byte* data() const { return data_; }  // host
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Device> device_;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// What is read of an event beside its order. A clock costs a little with every record.
enum class EventClock { kNone, kTimed };

// A point in a stream's work that others wait for.
class Event {
 public:
  virtual ~Event() = default;
  virtual void synchronize() = 0;  // the thread sleeps until the work before it is done
  virtual double milliseconds_since(const Event& earlier) const = 0;  // both are kTimed
};

// Device memory by the tensor it stands for.
struct Binding {
  Uid uid;
  void* data;  // device
};

// A captured sequence of work.
class Graph {
 public:
  virtual ~Graph() = default;
};

// Work is queued in order and done in order; streams are independent but for events.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void upload(void* dst, const void* src, size_t bytes) = 0;    // dst device, src pinned
  virtual void download(void* dst, const void* src, size_t bytes) = 0;  // dst pinned, src device
  virtual void zero(void* dst, size_t bytes) = 0;                       // dst device
  // `op` says in errors for which operation.
  virtual void execute(const std::string& op, const EnginePlan& plan, const std::vector<Binding>& bindings,
                       void* workspace) = 0;
  virtual void launch(const std::string& op, const KernelLaunch& launch) = 0;
  virtual void record(Event& event) = 0;
  virtual void wait(Event& event) = 0;
  virtual void synchronize() = 0;  // the thread sleeps until all of it is done; not while it captures

  // Between the two, work is not done but recorded: copies, plans and kernels.
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<Graph> end_capture() = 0;
  virtual void launch(Graph& graph) = 0;
};

std::unique_ptr<Stream> make_stream(const std::shared_ptr<Device>& device);
std::unique_ptr<Event> make_event(const std::shared_ptr<Device>& device, EventClock clock);

}  // namespace residual::cuda
