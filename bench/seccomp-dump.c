/*
 * The seccomp filter that a process has loaded last: seccomp-dump PID writes its instructions (struct sock_filter[]) to
 * standard output. PTRACE_SECCOMP_GET_FILTER, ptrace(2): root, and a kernel with CONFIG_CHECKPOINT_RESTORE.
 */
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

enum { GET_FILTER = 0x420c, INSTRUCTIONS_MAX = 4096 };

int main(int argc, char **argv) {
  static struct sock_filter filter[INSTRUCTIONS_MAX];
  if (argc != 2) return 64;
  pid_t pid = (pid_t)atol(argv[1]);
  if (ptrace(PTRACE_ATTACH, pid, 0, 0) != 0 || waitpid(pid, NULL, __WALL) != pid) return perror("attach"), 1;
  long count = ptrace((enum __ptrace_request)GET_FILTER, pid, (void *)0, filter);
  if (count < 0) return perror("filter"), 1;
  ptrace(PTRACE_DETACH, pid, 0, 0);
  return fwrite(filter, sizeof *filter, (size_t)count, stdout) == (size_t)count ? 0 : 1;
}
