#include "cpu/x86_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace residual::cpu {

#if defined(__x86_64__)

namespace {

struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Leaf leaf(unsigned number, unsigned subleaf = 0) {
  Leaf leaf;
  if (!__get_cpuid_count(number, subleaf, &leaf.a, &leaf.b, &leaf.c, &leaf.d)) return {};
  return leaf;
}

constexpr unsigned bit(int index) { return 1u << index; }
constexpr bool has(unsigned bits, unsigned all) { return (bits & all) == all; }

// Of XCR0: what the operating system saves.
constexpr unsigned kVectors = bit(1) | bit(2);                          // of 128 and 256 bits
constexpr unsigned kWideVectors = kVectors | bit(5) | bit(6) | bit(7);  // and of 512
constexpr unsigned kTiles = bit(17) | bit(18);                          // configuration and data

unsigned saved_registers() {
  constexpr unsigned kOsxsave = bit(27);
  if (!has(leaf(1).c, kOsxsave)) return 0;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

}  // namespace

X86Features x86_features() {
  constexpr unsigned kFma = bit(12), kAvx = bit(28);                   // leaf 1, ECX
  constexpr unsigned kAvx2 = bit(5);                                   // leaf 7, EBX
  constexpr unsigned kAvx512 = bit(16) | bit(17) | bit(30) | bit(31);  // leaf 7, EBX: F, DQ, BW, VL
  constexpr unsigned kAvx512Vnni = bit(11);                            // leaf 7, ECX
  constexpr unsigned kAmx = bit(22) | bit(24) | bit(25);               // leaf 7, EDX: BF16, TILE, INT8
  constexpr unsigned kAvxVnni = bit(4), kAvx512Bf16 = bit(5);          // leaf 7.1, EAX
  const Leaf first = leaf(1), seventh = leaf(7), more = leaf(7, 1);
  const unsigned saved = saved_registers();
  X86Features features;
  features.avx2 = has(saved, kVectors) && has(first.c, kFma | kAvx) && has(seventh.b, kAvx2);
  features.avx512 = features.avx2 && has(saved, kWideVectors) && has(seventh.b, kAvx512);
  features.avx512vnni = features.avx512 && has(seventh.c, kAvx512Vnni);
  features.avx512bf16 = features.avx512 && has(more.a, kAvx512Bf16);
  features.avxvnni = features.avx2 && has(more.a, kAvxVnni);
  features.amx = features.avx512bf16 && has(saved, kTiles) && has(seventh.d, kAmx);
  return features;
}

#else

X86Features x86_features() { return {}; }

#endif

}  // namespace residual::cpu
