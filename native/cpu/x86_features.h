// What an x86-64 processor and its operating system can do, by CPUID and XGETBV (Intel SDM, volume 2 and
// volume 1, chapter 13). Compilers' own builtins differ in what they know.
#pragma once

namespace residual::cpu {

// Each is true only if the operating system saves the registers it takes.
struct X86Features {
  bool avx2 = false;    // with FMA
  bool avx512 = false;  // F, BW, DQ and VL
  bool avx512vnni = false, avx512bf16 = false, avxvnni = false;
  bool amx = false;  // tiles, with int8 and bf16; Linux wants to be asked first (amx.h)
};

// All false on other processors.
X86Features x86_features();

}  // namespace residual::cpu
