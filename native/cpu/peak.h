// Multiply-adds of few bits in registers, as fast as an instruction set can do them: what a convolution in
// such a precision is compared with.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/value.h"
#include "cpu/isa.h"

namespace residual::cpu {

struct PeakLoop {
  // `rounds` rounds. Returns a number that depends on all results, so that the compiler cannot drop them.
  // Null: the instruction set has no such multiply-adds.
  int32_t (*run)(size_t rounds);
  double multiply_adds;  // of a round
};

// The loops of one instruction set, which a file of its own compiles with that set's flags.
struct PeakLoops {
  const char* name;  // of the DotKernels that compute with it
  PeakLoop int8;     // integers of 8 bits, summed in 32
  PeakLoop bf16;     // summed in float
};

#if defined(__x86_64__)
extern const PeakLoops kAmxPeaks, kAvx512VnniPeaks, kAvx512Bf16Peaks, kAvxVnniPeaks, kAvx2Peaks;
#elif defined(__aarch64__)
extern const PeakLoops kI8mmPeaks, kBfmmlaPeaks, kSdotPeaks;
#endif
extern const PeakLoops kBaselinePeaks;

// The loop for the kernels that compute in a precision with this instruction set. Null for fp32, and where it
// has no kernels for the precision.
const PeakLoop* find_peak_loop(const Isa& isa, core::Precision precision);

}  // namespace residual::cpu
