// A library to preload that makes programs run as on a CPU without AVX-512 and AMX. It asks the kernel to
// make the CPUID instruction fault (arch_prctl(2), ARCH_CPUID_SET); the handler executes it and clears those
// features from the answer. For bench/hide-avx512.ts. Linux on x86-64, on CPUs that support it (`cpuid_fault`
// in /proc/cpuinfo).
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { kFeatures = 7 };  // the leaf that tells of them; Intel SDM, volume 2, CPUID

// AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL
static const uint32_t kHiddenB =
    1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31;
// VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
static const uint32_t kHiddenC = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14;
// 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX BF16, TILE, INT8
static const uint32_t kHiddenD = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 23 | 1u << 22 | 1u << 24 | 1u << 25;
// of subleaf 1: AVX512_BF16, AMX_FP16
static const uint32_t kHiddenA1 = 1u << 5 | 1u << 21;

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
    b &= ~kHiddenB;
    c &= ~kHiddenC;
    d &= ~kHiddenD;
  }
  if (leaf == kFeatures && subleaf == 1) a &= ~kHiddenA1;
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

__attribute__((constructor)) static void hide(void) {
  struct sigaction action = {0};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  real_sigaction = (Sigaction*)dlsym(RTLD_NEXT, "sigaction");
  if (real_sigaction(SIGSEGV, &action, &others) != 0 || allow_cpuid(0) != 0) {
    perror("hide_avx512: this kernel or CPU cannot let CPUID fault");
    _exit(1);
  }
}
