// The seam of device.h on a real GPU: the CUDA runtime and cuDNN's execution of plans.
#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>

#include "core/error.h"
#include "cuda/cudart.h"
#include "cuda/device.h"

// The fatbin of kernels.cu, put into the addon by kernels_fatbin.S.
extern "C" const unsigned char residual_kernels_fatbin[];

namespace residual::cuda {
namespace {

DeviceInfo device_info(int index) {
  cudaDeviceProp properties;
  check(cudart().GetDeviceProperties(&properties, index),
        "read the properties of GPU " + std::to_string(index));
  DeviceInfo info;
  info.index = index;
  info.name = properties.name;
  info.compute_capability = properties.major * 10 + properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.total_bytes = properties.totalGlobalMem;
  return info;
}

// residual's kernels on the current device.
class KernelLibrary {
 public:
  KernelLibrary() {
    check(cudart().LibraryLoadData(&library_, residual_kernels_fatbin, nullptr, nullptr, 0, nullptr, nullptr,
                                   0),
          "load residual's kernels");
  }
  ~KernelLibrary() { cudart().LibraryUnload(library_); }
  KernelLibrary(const KernelLibrary&) = delete;

  cudaKernel_t find(const char* name) const {
    cudaKernel_t kernel = nullptr;
    check(cudart().LibraryGetKernel(&kernel, library_, name), std::string("find the kernel ") + name);
    return kernel;
  }

 private:
  cudaLibrary_t library_ = nullptr;
};

// Of cuDNN, for the current device. It takes some MB of the device's memory and tens of milliseconds to make,
// so that all streams share one. Plans are only queued through it, one at a time.
class CudnnHandle {
 public:
  CudnnHandle() { check(cudnn().Create(&handle_), "create a handle"); }
  ~CudnnHandle() { cudnn().Destroy(handle_); }
  CudnnHandle(const CudnnHandle&) = delete;

  cudnnStatus_t execute(cudaStream_t stream, const Descriptor& plan, const Descriptor& pack) {
    const std::lock_guard<std::mutex> lock(mutex_);
    check(cudnn().SetStream(handle_, stream), "bind the handle to a stream");
    return cudnn().BackendExecute(handle_, plan.get(), pack.get());
  }

 private:
  std::mutex mutex_;
  cudnnHandle_t handle_ = nullptr;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : info_(selected(index)) {
    for (int i = 0; i < kKernelCount; i++) kernels_[i] = library_.find(kKernelNames[i]);
    cudnn_.emplace();
  }

  const DeviceInfo& info() const override { return info_; }

  Descriptor describe() const override {
    const int32_t index = info_.index;
    Descriptor result(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    result.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1, &index);
    return std::move(result.finalize("describe the GPU"));
  }

  // Makes it this thread's device: to be called before anything that the runtime does on "the current
  // device".
  void use() const { check(cudart().SetDevice(info_.index), "select GPU " + std::to_string(info_.index)); }

  cudaKernel_t kernel(KernelId id) const { return kernels_[int(id)]; }
  CudnnHandle& cudnn_handle() { return *cudnn_; }

 private:
  // Makes it this thread's device, too.
  static DeviceInfo selected(int index) {
    DeviceInfo info = device_info(index);
    check(cudart().SetDevice(index), "select GPU " + std::to_string(index));
    return info;
  }

  DeviceInfo info_;
  KernelLibrary library_;  // an owner of its own: it is unloaded also where a kernel is missing
  cudaKernel_t kernels_[kKernelCount] = {};
  std::optional<CudnnHandle> cudnn_;
};

CudaDevice& cuda_device(const std::shared_ptr<Device>& device) { return static_cast<CudaDevice&>(*device); }

class CudaEvent final : public Event {
 public:
  CudaEvent(const std::shared_ptr<Device>& device, EventClock clock) : device_(device) {
    cuda_device(device_).use();
    // Without the first flag whoever waits spins, and takes a core for as long as a batch does. Waking takes
    // tens of microseconds more, which is little beside a network.
    const unsigned timing = clock == EventClock::kTimed ? 0u : unsigned(cudaEventDisableTiming);
    check(cudart().EventCreateWithFlags(&event_, cudaEventBlockingSync | timing), "create an event");
  }
  ~CudaEvent() override { cudart().EventDestroy(event_); }

  void synchronize() override { check(cudart().EventSynchronize(event_), "wait for the GPU"); }
  double milliseconds_since(const Event& earlier) const override {
    float result = 0.0f;
    check(cudart().EventElapsedTime(&result, static_cast<const CudaEvent&>(earlier).event_, event_),
          "read the time between two events");
    return result;
  }
  cudaEvent_t get() const { return event_; }

 private:
  std::shared_ptr<Device> device_;
  cudaEvent_t event_ = nullptr;
};

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(cudaGraphExec_t graph) : graph_(graph) {}
  ~CudaGraph() override { cudart().GraphExecDestroy(graph_); }
  cudaGraphExec_t get() const { return graph_; }

 private:
  cudaGraphExec_t graph_;
};

class CudaStream final : public Stream {
 public:
  explicit CudaStream(const std::shared_ptr<Device>& device)
      : device_(device), drained_(device, EventClock::kNone) {
    use();
    check(cudart().StreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "create a stream");
  }
  ~CudaStream() override { cudart().StreamDestroy(stream_); }

  void upload(void* dst, const void* src, size_t bytes) override {
    use();
    check(cudart().MemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, stream_), "copy to the GPU");
  }
  void download(void* dst, const void* src, size_t bytes) override {
    use();
    check(cudart().MemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, stream_), "copy from the GPU");
  }
  void zero(void* dst, size_t bytes) override {
    use();
    check(cudart().MemsetAsync(dst, 0, bytes, stream_), "clear memory of the GPU");
  }

  void execute(const std::string& op, const EnginePlan& plan, const std::vector<Binding>& bindings,
               void* workspace) override {
    use();
    std::vector<int64_t> uids;
    std::vector<void*> pointers;
    for (const Binding& binding : bindings) {
      uids.push_back(binding.uid);
      pointers.push_back(binding.data);
    }
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, uids)
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers.size(), pointers.data())
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace)
        .finalize("bind memory to a plan");
    const cudnnStatus_t status = cuda_device(device_).cudnn_handle().execute(stream_, plan.plan, pack);
    if (status == CUDNN_STATUS_SUCCESS) return;
    check(cudart().GetLastError(),
          "execute '" + op + "'");  // a fault of the GPU says more than cuDNN about it
    check(status, ("execute '" + op + "'").c_str());
  }

  void launch(const std::string& op, const KernelLaunch& launch) override {
    if (launch.blocks == 0) return;
    if (launch.blocks > INT32_MAX)
      throw core::Error(core::ErrorCode::kOutOfMemory,
                        "A batch is too large for one kernel. Use smaller batches.");
    use();
    void* args[] = {const_cast<unsigned char*>(launch.args)};
    check(cudart().LaunchKernel(reinterpret_cast<const void*>(cuda_device(device_).kernel(launch.kernel)),
                                dim3(static_cast<unsigned>(launch.blocks)), dim3(launch.threads), args, 0,
                                stream_),
          "launch " + std::string(kKernelNames[int(launch.kernel)]) + " for '" + op + "'");
  }

  void record(Event& event) override {
    use();
    check(cudart().EventRecord(static_cast<CudaEvent&>(event).get(), stream_), "record an event");
  }
  void wait(Event& event) override {
    use();
    check(cudart().StreamWaitEvent(stream_, static_cast<CudaEvent&>(event).get(), 0), "wait for an event");
  }
  // Through an event: cudaStreamSynchronize would spin.
  void synchronize() override {
    record(drained_);
    drained_.synchronize();
  }

  void begin_capture() override {
    use();
    check(cudart().StreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "begin to capture a graph");
  }
  std::unique_ptr<Graph> end_capture() override {
    use();
    cudaGraph_t graph = nullptr;
    check(cudart().StreamEndCapture(stream_, &graph), "capture a graph");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudart().GraphInstantiate(&executable, graph, 0);
    cudart().GraphDestroy(graph);
    check(status, "make a graph executable");
    return std::make_unique<CudaGraph>(executable);
  }
  void launch(Graph& graph) override {
    use();
    check(cudart().GraphLaunch(static_cast<CudaGraph&>(graph).get(), stream_), "launch a graph");
  }

 private:
  // The threads that come here are libuv's, each with a current device of its own.
  void use() const { cuda_device(device_).use(); }

  std::shared_ptr<Device> device_;
  CudaEvent drained_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace

std::vector<DeviceInfo> list_devices() {
  int count = 0;
  const cudaError_t status = cudart().GetDeviceCount(&count);
  if (status != cudaErrorNoDevice) check(status, "count the GPUs");
  std::vector<DeviceInfo> devices;
  for (int i = 0; i < count; i++) devices.push_back(device_info(i));
  return devices;
}

std::shared_ptr<Device> open_device(int index) { return std::make_shared<CudaDevice>(index); }

DeviceBuffer::DeviceBuffer(std::shared_ptr<Device> device, size_t bytes, const std::string& name)
    : device_(std::move(device)), bytes_(bytes) {
  if (bytes == 0) return;
  cuda_device(device_).use();
  void* data = nullptr;
  const cudaError_t status = cudart().Malloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudart().GetLastError();
    size_t free = 0, total = 0;
    cudart().MemGetInfo(&free, &total);
    throw no_room(device_->info(), name, bytes, free);
  }
  check(status, "allocate " + name);
  data_ = static_cast<std::byte*>(data);
}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  if (data_) cudart().Free(data_);
}

PinnedBuffer::PinnedBuffer(std::shared_ptr<Device> device, size_t bytes, const std::string& name)
    : device_(std::move(device)), bytes_(bytes) {
  if (bytes == 0) return;
  cuda_device(device_).use();
  void* data = nullptr;
  check(cudart().HostAlloc(&data, bytes, cudaHostAllocDefault),
        "allocate " + std::to_string(bytes) + " bytes of pinned memory for " + name);
  data_ = static_cast<std::byte*>(data);
  std::fill_n(data_, bytes, std::byte{0});
}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedBuffer::~PinnedBuffer() {
  if (data_) cudart().FreeHost(data_);
}

std::unique_ptr<Stream> make_stream(const std::shared_ptr<Device>& device) {
  return std::make_unique<CudaStream>(device);
}

std::unique_ptr<Event> make_event(const std::shared_ptr<Device>& device, EventClock clock) {
  return std::make_unique<CudaEvent>(device, clock);
}

}  // namespace residual::cuda
