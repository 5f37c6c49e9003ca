/*
 * What one system call costs here: seccomp-loop COUNT NUMBER [ARGUMENT]... prints nanoseconds per call. Under a filter
 * or without one, which is the caller's business.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  long count = atol(argv[1]), number = atol(argv[2]), given[3] = {0, 0, 0};
  for (int i = 3; i < argc && i < 6; i++) given[i - 3] = strtol(argv[i], NULL, 0);
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (long i = 0; i < count; i++) syscall(number, given[0], given[1], given[2]);
  clock_gettime(CLOCK_MONOTONIC, &to);
  double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
  printf("%.1f\n", ns / (double)count);
  return 0;
}
