// A launcher: runs a program to which the kernel refuses the tiles of AMX, as those of some hypervisors and
// containers do.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, skipped) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skipped)

// refusing_amx ERROR PROGRAM [ARGUMENT...]; ERROR is the number that asking for permission fails with.
int main(int count, char** arguments) {
  if (count < 3) return fprintf(stderr, "ERROR and PROGRAM are missing\n"), 2;
  const unsigned request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  struct sock_filter filter[] = {
      LOAD(arch),
      UNLESS(AUDIT_ARCH_X86_64, 5),
      LOAD(nr),
      UNLESS(SYS_arch_prctl, 3),
      LOAD(args[0]),  // its lower half
      UNLESS(request_permission, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)atoi(arguments[1])),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    return perror("no filter of system calls"), 2;
  execvp(arguments[2], arguments + 2);
  return perror(arguments[2]), 2;
}
