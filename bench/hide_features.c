// A library to preload that makes programs run as on a CPU without some of its instructions: AMX; AVX-512
// too; or AVX-VNNI too, as RESIDUAL_HIDE says (amx, avx512, vnni). It asks the kernel to make the CPUID
// instruction fault (arch_prctl(2), ARCH_CPUID_SET); the handler executes it and clears those features from
// the answer. For bench/hide-features.ts. Linux on x86-64, on CPUs that support it (`cpuid_fault` in
// /proc/cpuinfo).
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { kFeatures = 7, kTiles = 0x1d, kTileProducts = 0x1e };  // leaves: Intel SDM, volume 2, CPUID

// Bits of leaf 7, of subleaves 0 and 1.
struct Features {
  uint32_t b, c, d, a1, d1;
};

static const struct Features kAmx = {
    .d = 1u << 22 | 1u << 24 | 1u << 25,  // BF16, TILE, INT8
    .a1 = 1u << 21,                       // FP16
    .d1 = 1u << 8,                        // COMPLEX
};
static const struct Features kAvx512 = {
    // F, DQ, IFMA, PF, ER, CD, BW, VL
    .b = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31,
    .c = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14,  // VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
    .d = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 23,              // 4VNNIW, 4FMAPS, VP2INTERSECT, FP16
    .a1 = 1u << 5,                                            // BF16
    .d1 = 1u << 19,                                           // AVX10
};
static const struct Features kAvxVnni = {
    .a1 = 1u << 4,             // AVX-VNNI
    .d1 = 1u << 4 | 1u << 10,  // AVX-VNNI-INT8, AVX-VNNI-INT16
};

static struct Features hidden;

typedef int Sigaction(int, const struct sigaction*, struct sigaction*);

static Sigaction* real_sigaction;
static struct sigaction others;  // what the program wants done of its own faults

// Sets whether this thread, and those it starts, may execute CPUID.
static int allow_cpuid(int allowed) { return (int)syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed); }

static void answer(greg_t* registers) {
  const uint32_t leaf = (uint32_t)registers[REG_RAX];
  const uint32_t subleaf = (uint32_t)registers[REG_RCX];
  uint32_t a, b, c, d;
  allow_cpuid(1);
  __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(subleaf));
  allow_cpuid(0);
  if (leaf == kFeatures && subleaf == 0) {
    b &= ~hidden.b;
    c &= ~hidden.c;
    d &= ~hidden.d;
  }
  if (leaf == kFeatures && subleaf == 1) {
    a &= ~hidden.a1;
    d &= ~hidden.d1;
  }
  if (leaf == kTiles || leaf == kTileProducts) a = b = c = d = 0;
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

static void restore_default(void) {
  const struct sigaction action = {.sa_handler = SIG_DFL};
  real_sigaction(SIGSEGV, &action, NULL);
}

static void handle(int signal_number, siginfo_t* info, void* context) {
  greg_t* const registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  // A CPUID fault has no address.
  if (info->si_code == SI_KERNEL) {
    const uint8_t* const instruction = (const uint8_t*)registers[REG_RIP];
    if (instruction[0] == 0x0f && instruction[1] == 0xa2) {
      answer(registers);
      return;
    }
  }
  if (others.sa_flags & SA_SIGINFO) {
    others.sa_sigaction(signal_number, info, context);
  } else if (others.sa_handler != SIG_DFL && others.sa_handler != SIG_IGN) {
    others.sa_handler(signal_number);
  } else {
    restore_default();
    raise(signal_number);
  }
}

// Programs that set their own handler (Node resets all of them at startup) must not replace this one.
int sigaction(int signal_number, const struct sigaction* action, struct sigaction* old) {
  if (!real_sigaction) real_sigaction = (Sigaction*)dlsym(RTLD_NEXT, "sigaction");
  if (signal_number != SIGSEGV) return real_sigaction(signal_number, action, old);
  if (old) *old = others;
  if (action) others = *action;
  return 0;
}

static void add(struct Features features) {
  hidden.b |= features.b;
  hidden.c |= features.c;
  hidden.d |= features.d;
  hidden.a1 |= features.a1;
  hidden.d1 |= features.d1;
}

__attribute__((constructor)) static void hide(void) {
  const char* const what = getenv("RESIDUAL_HIDE");
  const int level = !what                     ? 0
                    : !strcmp(what, "amx")    ? 1
                    : !strcmp(what, "avx512") ? 2
                    : !strcmp(what, "vnni")   ? 3
                                              : 0;
  if (level == 0) {
    fputs("hide_features: RESIDUAL_HIDE must be amx, avx512 or vnni\n", stderr);
    _exit(1);
  }
  add(kAmx);
  if (level >= 2) add(kAvx512);
  if (level >= 3) add(kAvxVnni);
  struct sigaction action = {0};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  real_sigaction = (Sigaction*)dlsym(RTLD_NEXT, "sigaction");
  if (real_sigaction(SIGSEGV, &action, &others) != 0 || allow_cpuid(0) != 0) {
    perror("hide_features: this kernel or CPU cannot let CPUID fault");
    _exit(1);
  }
}
