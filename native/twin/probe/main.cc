// The probe: a program that tests use to drive the device directly. It reads a list of steps as JSON from
// standard input, performs them through the seam of cuda/device.h and writes the results as JSON. The
// environment says what the device is (device_twin.cc).
//
//   {steps: [...]} -> {results: [...]} or {step, code, message}
//
// Steps, `do` first; buffers go by their names; numbers travel as the hexadecimal digits of their bytes:
//   device, name, bytes           allocates memory of the device
//   pinned, name, bytes           allocates pinned memory
//   free, name
//   lose, name                    forgets the buffer without freeing it
//   fill, name, data              what the host may do to pinned memory and must not do to other
//   poke, name, at                writes a byte beside what the buffer has, behind the twin's back
//   upload | download, to, from, bytes, stream
//   compile, graph, precision, libraries: {nvrtc: [...], cudnn: [...]}
//                                 -> the plan, as cuDNN reports it; graph as in graphs.h
//   execute, op, plan, precision, bind: [{uid, name}], stream
//   launch, op, to, from, pixels, stream     the kernel that writes outputs, on one channel of float32
//   record, event, stream
//   wait-for, event, stream
//   begin-capture, stream
//   end-capture, graph, stream
//   replay, graph, stream
//   wait, stream                  for all there is to do
//   show, name                    -> the numbers of a pinned buffer
//   in-use                        -> what of the device is in use
#include <cstdio>
#include <iostream>
#include <iterator>
#include <map>

#include "core/backend.h"
#include "cuda/device.h"
#include "twin/json.h"
#include "twin/memory.h"
#include "twin/probe/graphs.h"

namespace residual::twin {
namespace {

std::string to_hex(const std::byte* data, size_t bytes) {
  const char* digits = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < bytes; i++) {
    text += digits[int(data[i]) >> 4];
    text += digits[int(data[i]) & 15];
  }
  return text;
}

void from_hex(const std::string& text, std::byte* to) {
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    to[i / 2] = std::byte(std::stoi(text.substr(i, 2), nullptr, 16));
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result + '"';
}

core::LibraryCandidates libraries(const Json& from) {
  core::LibraryCandidates result;
  for (const auto& [name, paths] : from.object)
    for (const Json& path : paths.array) result[name].push_back(path.text());
  return result;
}

class Probe {
 public:
  // The step's answer as JSON; empty if it has none.
  std::string take(const Json& step) {
    const std::string& what = step.at("do").text();
    if (use_memory(what, step) || queue_work(what, step) || order_work(what, step)) return "";
    if (what == "compile") {
      core::open_libraries(libraries(step.at("libraries")));
      const cuda::Descriptor gpu = device_->describe(), graph = build_graph(step.at("graph"));
      return cuda::build_first_plan(cuda::engine_candidates(graph, gpu, precision(step)), gpu).json;
    }
    if (what == "show") {
      const cuda::PinnedBuffer& buffer = pinned_buffers_.at(step.at("name").text());
      return quoted(to_hex(buffer.data(), buffer.bytes()));
    }
    if (what == "in-use") return quoted(cuda::list_devices().front().name);
    throw core::Error(core::ErrorCode::kInternal, "probe: unknown step '" + what + "'.");
  }

 private:
  // This and the next two return false for steps that are not theirs.
  bool use_memory(const std::string& what, const Json& step) {
    if (!step.has("name") || what == "show") return false;
    const std::string& name = step.at("name").text();
    if (what == "device") {
      device_buffers_[name] = cuda::DeviceBuffer(device_, step.at("bytes").integer(), name);
    } else if (what == "pinned") {
      pinned_buffers_[name] = cuda::PinnedBuffer(device_, step.at("bytes").integer(), name);
    } else if (what == "free") {
      freed_[name] = address(step.at("name"));
      device_buffers_.erase(name);
      pinned_buffers_.erase(name);
    } else if (what == "lose") {
      new cuda::DeviceBuffer(std::move(device_buffers_.at(name)));
    } else if (what == "fill") {
      from_hex(step.at("data").text(), address(step.at("name")));
    } else if (what == "poke") {
      address(step.at("name"))[step.at("at").integer()] = std::byte{1};
    } else {
      return false;
    }
    return true;
  }

  bool queue_work(const std::string& what, const Json& step) {
    if (what == "upload")
      stream(step).upload(address(step.at("to")), address(step.at("from")), step.at("bytes").integer());
    else if (what == "download")
      stream(step).download(address(step.at("to")), address(step.at("from")), step.at("bytes").integer());
    else if (what == "execute")
      execute(step);
    else if (what == "launch")
      launch(step);
    else if (what == "replay")
      stream(step).launch(*graphs_.at(step.at("graph").text()));
    else
      return false;
    return true;
  }

  bool order_work(const std::string& what, const Json& step) {
    if (what == "record")
      stream(step).record(event(step));
    else if (what == "wait-for")
      stream(step).wait(event(step));
    else if (what == "begin-capture")
      stream(step).begin_capture();
    else if (what == "end-capture")
      graphs_[step.at("graph").text()] = stream(step).end_capture();
    else if (what == "wait")
      stream(step).synchronize();
    else
      return false;
    return true;
  }

  static cuda::Precision precision(const Json& step) {
    return step.at("precision").text() == "tf32" ? cuda::Precision::kTf32 : cuda::Precision::kFp16;
  }

  std::byte* address(const Json& name) const {
    if (const auto found = device_buffers_.find(name.text()); found != device_buffers_.end())
      return found->second.data();
    if (const auto found = pinned_buffers_.find(name.text()); found != pinned_buffers_.end())
      return found->second.data();
    return freed_.at(name.text());
  }

  cuda::Stream& stream(const Json& step) {
    std::unique_ptr<cuda::Stream>& stream = streams_[step.at("stream").text()];
    if (!stream) stream = cuda::make_stream(device_);
    return *stream;
  }

  cuda::Event& event(const Json& step) {
    std::unique_ptr<cuda::Event>& event = events_[step.at("event").text()];
    if (!event) event = cuda::make_event(device_, cuda::EventClock::kNone);
    return *event;
  }

  void launch(const Json& step) {
    const auto at = [&](const char* name) { return reinterpret_cast<float*>(address(step.at(name))); };
    stream(step).launch(step.at("op").text(), cuda::launch_of<cuda::Export<float>>(
                                                  {at("to"), at("from"), step.at("pixels").integer(),
                                                   /*channels=*/1, /*padded=*/1}));
  }

  void execute(const Json& step) {
    cuda::EnginePlan plan;
    plan.json = step.at("plan").text();
    plan.precision = precision(step);
    std::vector<cuda::Binding> bindings;
    for (const Json& binding : step.at("bind").array)
      bindings.push_back({cuda::Uid(binding.at("uid").integer()), address(binding.at("name"))});
    stream(step).execute(step.at("op").text(), plan, bindings, /*workspace=*/nullptr);
  }

  const std::shared_ptr<cuda::Device> device_ = cuda::open_device(0);
  std::map<std::string, cuda::DeviceBuffer> device_buffers_;
  std::map<std::string, cuda::PinnedBuffer> pinned_buffers_;
  std::map<std::string, std::byte*> freed_;  // by name: their former addresses
  std::map<std::string, std::unique_ptr<cuda::Stream>> streams_;
  std::map<std::string, std::unique_ptr<cuda::Event>> events_;
  std::map<std::string, std::unique_ptr<cuda::Graph>> graphs_;
};

void answer(const Json& request) {
  std::string results;
  size_t done = 0;
  try {
    Probe probe;
    for (const Json& step : request.at("steps").array) {
      const std::string result = probe.take(step);
      if (!result.empty()) results += (results.empty() ? "" : ",") + result;
      done++;
    }
    std::cout << "{\"results\":[" << results << "]}\n";
  } catch (const core::Error& error) {
    std::cout << "{\"step\":" << done << ",\"code\":" << quoted(core::error_code_name(error.code()))
              << ",\"message\":" << quoted(error.what()) << "}\n";
  }
}

}  // namespace
}  // namespace residual::twin

int main() {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  residual::twin::answer(residual::twin::Json::parse(text));
  std::cout.flush();
  std::_Exit(0);  // cuDNN's libraries stay loaded, and the order of their exit handlers is undefined
}
