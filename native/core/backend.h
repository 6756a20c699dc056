// What must a backend folder provide? One class behind this interface and the three functions at the end.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/plan.h"

namespace residual::core {

struct BackendOptions {
  int threads = 1;     // CPU: threads that compute, the caller's included
  bool exact = false;  // compute convolutions only as sums of their products, however slow
  std::string isa;     // CPU: the instruction set to use; empty: the best this machine has
};

// A batch, [N,H,W,C]: either bytes, which `normalize` turns into floats, or floats that are normalised
// already.
struct Input {
  const uint8_t* bytes = nullptr;
  const float* floats = nullptr;
  int batch = 0;
};

// Where to put each output, by core::Output: [N, elements of its shape] float32; null where it is not wanted.
using OutputBuffers = std::array<float*, kOutputCount>;

class Backend {
 public:
  virtual ~Backend() = default;

  // Copies the weights of plan.ops[op]: `weight` [K,R,S,C/groups] or [K,C], `bias` [K], sizes checked by the
  // caller.
  virtual void load_weights(size_t op, const float* weight, const float* bias) = 0;

  // Runs the plan on one batch of any size >= 1. Not to be called from two threads at once.
  virtual void run(const Input& input, const OutputBuffers& outputs) = 0;

  // Native memory held at the moment, in bytes: what V8 is told of.
  virtual size_t bytes() const = 0;

  // The instruction set or device that computes, for `session.device` and `residual info`.
  virtual std::string description() const = 0;
};

std::unique_ptr<Backend> create_backend(Plan plan, const BackendOptions& options);

const char* backend_name();                       // "cpu"
std::vector<std::string> backend_capabilities();  // instruction sets this machine can run, best first

}  // namespace residual::core
