// What a backend folder provides: one class behind this interface, and the functions at the end.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/observation.h"
#include "core/plan.h"
#include "core/stored_weights.h"

namespace residual::core {

struct BackendOptions {
  // CPU
  int threads = 1;     // threads that compute, the caller's included
  bool exact = false;  // compute convolutions only as sums of their products, however slow
  std::string isa;     // the instruction set to use; empty: the best this machine has
  // By op, of those that Backend::algorithms() lists; "" for its first. Empty: that of every op.
  std::vector<std::string> algorithms;

  // CUDA
  int device_index = 0;
  std::string precision = "fp16";  // or bf16, tf32, fp32
  std::vector<int> batch_sizes{
      1};                    // ascending; smaller batches are filled up to the next, larger ones are cut
  bool autotune = false;     // time the candidates for each convolution instead of believing the heuristics
  bool graph = true;         // replay the network as a captured graph
  std::string cache_folder;  // of compiled plans; empty: none
};

// A batch, [N,H,W,C]: either bytes, which `normalize` turns into floats, or floats that are normalised
// already.
struct Input {
  const uint8_t* bytes = nullptr;
  const float* floats = nullptr;
  int batch = 0;
};

// How long each op of a run took, by its index: milliseconds, summed over the parts of the batch. 0 for an op
// that was computed along with another.
using OpMilliseconds = std::vector<double>;

// Where to put each output, by core::Output: [N, elements of its shape] float32; null where it is not wanted.
using OutputBuffers = std::array<float*, kOutputCount>;

// Its functions may be called from several threads at once.
class Backend {
 public:
  virtual ~Backend() = default;

  // Copies the weights of plan.ops[op]; `weights` are of its shape, `bias` is [K]. To be done before the
  // first run. Throws what StoredWeights::fold() throws.
  virtual void load_weights(size_t op, StoredWeights& weights, const float* bias) = 0;

  // Makes ready what a batch of `images` takes, so that its first run does not wait for that; others run
  // meanwhile. All weights are loaded.
  virtual void prepare(int images) {}

  // Runs the plan on one batch of any size >= 1. `times` is filled where it is not null; throws
  // BACKEND_UNAVAILABLE where the backend cannot tell.
  virtual void run(const Input& input, const OutputBuffers& outputs, OpMilliseconds* times) = 0;

  // The same for a batch of bytes, and adds what its operations compute to what `observations()` returns, by
  // op. Throws BACKEND_UNAVAILABLE where the backend cannot, NON_FINITE where a result is not finite.
  virtual void observe(const Input& input, const OutputBuffers& outputs) { cannot_observe(); }
  virtual std::vector<Observation> observations() const { cannot_observe(); }

  // Runs the plan on one batch of bytes. `results` is filled with everything that it computes, by op:
  // [N,H,W,C], float32 whatever it is kept as. Throws BACKEND_UNAVAILABLE where the backend cannot.
  virtual void capture(const Input& input, std::vector<std::vector<float>>& results) { cannot_observe(); }

  // Native memory held at the moment, in bytes: what V8 is told of.
  virtual size_t bytes() const = 0;

  // The instruction set or device that computes, for `session.device` and `residual info`.
  virtual std::string description() const = 0;

  // By op: the ways it could be computed, first the one that is used: unless told otherwise, always the same
  // one for the same numbers. None for an op, or for a backend, that has nothing to choose from by name.
  virtual std::vector<std::vector<std::string>> algorithms() const { return {}; }

 private:
  [[noreturn]] static void cannot_observe() {
    throw Error(ErrorCode::kBackendUnavailable, "Only the CPU backend shows what operations compute.");
  }
};

// Paths of shared libraries to try, best first, by what they are: what a backend cannot do without but is not
// linked with.
using LibraryCandidates = std::map<std::string, std::vector<std::string>>;

struct CompileOptions {
  std::string gpu;  // cuDNN's description of one, JSON
  std::string precision = "fp16";
  int batch = 1;
  int threads = 1;
  std::string cache_folder;  // where the compiled plans go; empty: nowhere
};

// What became of one operation.
struct CompiledOp {
  size_t op = 0;  // its index in the plan
  std::string
      key;  // equal for operations that share one compiled plan; empty for kernels of the backend's own
  std::string json;  // the compiled plan, as cuDNN describes it; empty for kernels of the backend's own
  int64_t workspace_bytes = 0;
  bool cached = false;  // found in the cache folder
  std::string reason;   // why cuDNN does not run it; empty where it does
};

// Makes the backend usable. Once a process; later calls do nothing. Throws BACKEND_UNAVAILABLE.
void open_libraries(const LibraryCandidates& candidates);

std::unique_ptr<Backend> create_backend(Plan plan, const BackendOptions& options);

// Compiles a plan for a GPU that need not be there. Throws BACKEND_UNAVAILABLE, GPU_INVALID,
// PRECISION_UNSUPPORTED.
std::vector<CompiledOp> compile_ahead(const Plan& plan, const CompileOptions& options);

// FLOP/s of multiply-adds in registers, a multiply-add counting as two, on `threads` threads at once with an
// instruction set ("": the best) for about so long. For a precision in which it has none of its own they are
// those of fp32. Throws BACKEND_UNAVAILABLE.
double multiply_add_rate(const std::string& isa, Precision precision, int threads, double milliseconds);

// The instruction sets that a backend's kernels for fewer bits than float32 use; empty: it has none, or they
// gain nothing.
struct ReducedKernels {
  std::string bf16;
  std::string int8;
};

// Of an instruction set that is used with all it includes ("": the best). Throws BACKEND_UNAVAILABLE.
ReducedKernels reduced_kernels(const std::string& isa);

const char* backend_name();                       // "cpu"
std::vector<std::string> backend_capabilities();  // instruction sets or devices of this machine, best first

}  // namespace residual::core
