// Flushes denormal floats to zero for the lifetime of an object. The processor spends hundreds of cycles on
// each of them, and an image made of nothing else took up to 500 times as long. All instruction sets behave
// alike.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace residual::cpu {

// Applies to the thread that creates it; the previous state is restored, since others compute on the thread
// too.
class FlushDenormals {
 public:
  FlushDenormals() : before_(state()) { set_state(before_ | kFlush); }
  ~FlushDenormals() { set_state(before_); }
  FlushDenormals(const FlushDenormals&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint64_t kFlush = 0x8040;  // of MXCSR: results (FTZ) and operands (DAZ)
  static uint64_t state() { return _mm_getcsr(); }
  static void set_state(uint64_t state) { _mm_setcsr(static_cast<unsigned>(state)); }
#elif defined(__aarch64__)
  static constexpr uint64_t kFlush = uint64_t(1) << 24;  // of FPCR: FZ, both
  static uint64_t state() {
    uint64_t state;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(state));
    return state;
  }
  static void set_state(uint64_t state) { __asm__ __volatile__("msr fpcr, %0" : : "r"(state)); }
#else
  static constexpr uint64_t kFlush = 0;
  static uint64_t state() { return 0; }
  static void set_state(uint64_t) {}
#endif

  uint64_t before_;
};

}  // namespace residual::cpu
