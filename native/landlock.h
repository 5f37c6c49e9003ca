/* The launcher's Landlock rules (landlock(7)), and the trial that shows that they bite. */
#pragma once
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "dialogue.h"

/* Rights by the ABI that brought them; the kernel's header here may be older than the kernel. */
#define FS_RIGHTS_ABI_1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0)
#define SCOPE_SIGNAL (UINT64_C(1) << 1)
#define RIGHTS_READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_DEVICE \
  (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | \
   FS_IOCTL_DEV)
/* Everything but making devices; an ioctl on one is for -d. */
#define RIGHTS_WRITE \
  ((FS_RIGHTS_ABI_1 & ~(uint64_t)(LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)) | FS_REFER | \
   FS_TRUNCATE)
/* What a rule on a single file may name (landlock(7), landlock_add_rule(2): EINVAL otherwise). */
#define RIGHTS_OF_FILE \
  (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | \
   FS_IOCTL_DEV)

/* As of ABI 6; `scoped` came with it and is left off before. */
struct ruleset_attr {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};

static uint64_t handled_rights(int abi) {
  uint64_t rights = FS_RIGHTS_ABI_1;
  if (abi >= 2) rights |= FS_REFER;
  if (abi >= 3) rights |= FS_TRUNCATE;
  if (abi >= 5) rights |= FS_IOCTL_DEV;
  return rights;
}

static void add_rule(int ruleset, int fd, uint64_t rights, const char *name) {
  struct stat entry;
  if (fd < 0 || fstat(fd, &entry) != 0) fail("landlock", name);
  if (!S_ISDIR(entry.st_mode)) rights &= RIGHTS_OF_FILE;
  struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) fail("landlock", name);
}

/* 0, or why PATH cannot be read. */
static int errno_of_opening(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

/*
 * A program that reopens /dev/stdout opens the pipe anew, and the pipe lies in a file system outside. A pipe without a
 * name needs no rule and takes none (EBADFD).
 */
static void allow_standard_streams(int ruleset, uint64_t handled) {
  for (int fd = 0; fd <= 2; fd += 1) {
    char path[32];
    struct stat entry;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fstat(fd, &entry) != 0 || !S_ISFIFO(entry.st_mode)) continue;
    int pipe_fd = open(path, O_PATH | O_CLOEXEC);
    if (pipe_fd < 0) fail("landlock", path);
    struct landlock_path_beneath_attr rule = {
        .allowed_access = RIGHTS_OF_FILE & handled & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE, .parent_fd = pipe_fd};
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 && errno != EBADFD)
      fail("landlock", path);
    close(pipe_fd);
  }
}

struct rules {
  /* Unset: no rules were asked for. */
  const char *trial;
  int abi;
  int ruleset;
  uint64_t handled;
};

static void open_rules(struct rules *rules, const char *trial) {
  rules->trial = trial;
  rules->abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  /* Before ABI 2 a rule set forbids every move between folders: tools would break, so there is none. */
  if (rules->abi < 2) return;
  struct ruleset_attr attributes = {.handled_access_fs = handled_rights(rules->abi),
                                    .scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL};
  size_t size = rules->abi >= 6   ? sizeof attributes
                : rules->abi >= 4 ? offsetof(struct ruleset_attr, scoped)
                                  : offsetof(struct ruleset_attr, handled_access_net);
  rules->handled = attributes.handled_access_fs;
  rules->ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
  if (rules->ruleset < 0) fail("landlock", "rule set");
}

static void add_path(const struct rules *rules, char kind, const char *path) {
  if (rules->trial == NULL) {
    errno = EINVAL;
    fail("option before -t", path);
  }
  if (rules->abi < 2) return;
  int fd = open(path, O_PATH | O_CLOEXEC);
  uint64_t rights = kind == 's'   ? LANDLOCK_ACCESS_FS_READ_DIR
                    : kind == 'r' ? RIGHTS_READ
                    : kind == 'w' ? RIGHTS_WRITE
                                  : RIGHTS_DEVICE;
  add_rule(rules->ruleset, fd, rights & rules->handled, path);
  close(fd);
}

/* Enforces the rules, and shows by the trial that they bite. Without a usable Landlock it says ABI 0. */
static void enforce(const struct rules *rules) {
  if (rules->trial == NULL) return;
  if (rules->abi < 2) {
    report("K0 0 0\n");
    return;
  }
  allow_standard_streams(rules->ruleset, rules->handled);
  int before = errno_of_opening(rules->trial);
  if (syscall(SYS_landlock_restrict_self, rules->ruleset, 0) != 0) fail("landlock", "restrict");
  close(rules->ruleset);
  report("K%d %d %d\n", rules->abi, before, errno_of_opening(rules->trial));
}
