/*
 * The launcher: the first program of ours inside a sandbox. It sets rlimits and Landlock rules, tries the canaries,
 * says that it is ready, waits to be let go, and becomes the tool. `wait` is its other half, outside: a process that
 * waits, already in its cgroup and with its descriptors in place, to become whatever builds the sandbox.
 *
 *     launch [-i|-f] [-p] [-l NUMBER SOFT HARD]... [-c PID] [-t PATH [-s|-r|-w|-d PATH]...]     inside
 *     launch wait                                                                  outside
 *
 * -i  as a namespace's first process: the rest happens in a child, this one reaps, and says how the tool ended
 * -f  the same, but the child is made only when the tool is let in: until then the first process is all there is
 * -p  reports what only the inside knows where another kernel serves it: user, capabilities, kernel, mounts
 * -l  setrlimit(2)
 * -t  Landlock (landlock(7)): PATH, which no rule names, is opened before and after; then the rules: -s list
 *     folders, -r read and execute, -w also write, -d devices and /proc
 * -c  kill(PID, 0), for a pid that the seccomp program answers with an errno of its own
 *
 * Descriptors: 3 a socket, lines up, one byte down; 5 the request, NUL-terminated words, the first two of them counts:
 * variables and arguments. Up: `C<errno>` canary, `K<abi> <before> <after>` Landlock, `R` ready, `L<what>` could not be
 * set up, `X<errno>` the tool could not be started,
 * with -i and -f `Z<status>` the tool's end, with -p `P<name> <value>` and `M<line of /proc/self/mounts>`. src/sandbox/dialogue.ts reads them.
 *
 * Nothing here is best effort: what cannot be done ends the launcher before anything is let in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dialogue.h"
#include "landlock.h"

enum { REQUEST_FD = 5 };
/* Linux bounds all arguments and variables together (execve(2)): 6 MiB, three quarters of the largest stack. */
enum { REQUEST_BYTES_MAX = 8 << 20, WORDS_MAX = 1 << 20 };
enum { DESCRIPTORS_SEEN = 1024 };
/* gVisor takes the numbers as signed. */
#define LAST_FD 0x7fffffffU

/* ---- the request ---- */

struct words {
  char **list;
  size_t count;
};

/* Cuts NUL-terminated words; a last word without its NUL makes the whole unusable. */
static bool cut_words(char *bytes, size_t length, struct words *words) {
  if (length == 0 || bytes[length - 1] != '\0') return false;
  size_t count = 0;
  for (size_t i = 0; i < length; i += 1) count += bytes[i] == '\0';
  if (count > WORDS_MAX) return false;
  words->list = calloc(count + 2, sizeof *words->list);
  if (words->list == NULL) return false;
  words->count = count;
  char *word = bytes;
  for (size_t i = 0; i < count; i += 1) {
    words->list[i] = word;
    word += strlen(word) + 1;
  }
  return true;
}

static bool parse_count(const char *text, size_t *count) {
  size_t value = 0;
  if (*text == '\0') return false;
  for (; *text != '\0'; text += 1) {
    if (*text < '0' || *text > '9' || value > WORDS_MAX) return false;
    value = value * 10 + (size_t)(*text - '0');
  }
  *count = value;
  return true;
}

/* Splits into variables and arguments, each closed by NULL. A request that is not whole starts nothing. */
static bool parse_request(char *bytes, size_t length, char ***variables, char ***arguments) {
  struct words words = {NULL, 0};
  size_t variable_count = 0, argument_count = 0;
  if (!cut_words(bytes, length, &words)) return false;
  if (words.count < 3 || !parse_count(words.list[0], &variable_count) ||
      !parse_count(words.list[1], &argument_count) || argument_count == 0 ||
      words.count != variable_count + argument_count + 2) {
    free(words.list);
    return false;
  }
  /* The two counts leave room for the NULL between the halves. */
  memmove(words.list, words.list + 2, variable_count * sizeof *words.list);
  words.list[variable_count] = NULL;
  *variables = words.list;
  *arguments = words.list + variable_count + 2;
  return true;
}

/* To the end of a file, or of a pipe that the other side closes. */
static char *read_request(size_t *length) {
  size_t room = 1 << 16, used = 0;
  char *bytes = malloc(room);
  while (bytes != NULL) {
    if (used == room) {
      if (room >= REQUEST_BYTES_MAX) { errno = E2BIG; break; }
      char *more = realloc(bytes, room *= 2);
      if (more == NULL) break;
      bytes = more;
    }
    ssize_t got = read(REQUEST_FD, bytes + used, room - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    if (got == 0) { *length = used; return bytes; }
    used += (size_t)got;
  }
  free(bytes);
  return NULL;
}

/* ---- becoming the tool ---- */

static const char *value_of(char **variables, const char *name) {
  size_t length = strlen(name);
  for (; *variables != NULL; variables += 1)
    if (strncmp(*variables, name, length) == 0 && (*variables)[length] == '=') return *variables + length + 1;
  return NULL;
}

/* As execvp(3) does, but in the tool's own PATH, and never through a shell. Returns the errno that tells most. */
static int execute(char **arguments, char **variables) {
  if (strchr(arguments[0], '/') != NULL) {
    execve(arguments[0], arguments, variables);
    return errno;
  }
  if (arguments[0][0] == '\0') return ENOENT;
  const char *path = value_of(variables, "PATH");
  int worst = ENOENT;
  for (const char *folder = path; folder != NULL && *folder != '\0';) {
    const char *end = strchrnul(folder, ':');
    char file[PATH_BYTES_MAX];
    int length = snprintf(file, sizeof file, "%.*s/%s", (int)(end - folder), folder, arguments[0]);
    if (end > folder && length > 0 && (size_t)length < sizeof file) {
      execve(file, arguments, variables);
      if (errno != ENOENT && errno != ENOTDIR) worst = errno;
      if (worst != ENOENT && worst != EACCES) return worst;
    }
    folder = *end == ':' ? end + 1 : end;
  }
  return worst;
}

static void reset_signals(void) {
  sigset_t none;
  for (int signal_number = 1; signal_number < NSIG; signal_number += 1) signal(signal_number, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Waits for the one byte that lets it go; an end of the channel is the gateway's end. */
static void wait_to_go(void) {
  char byte = 0;
  ssize_t got;
  do got = read(CONTROL_FD, &byte, 1);
  while (got < 0 && errno == EINTR);
  if (got != 1 || byte != 'g') _exit(EXIT_NOT_STARTED);
}

__attribute__((noreturn)) static void refuse(int why) {
  report("X%d\n", why);
  _exit(EXIT_NOT_STARTED);
}

__attribute__((noreturn)) static void become_tool(void) {
  size_t length = 0;
  char **variables = NULL, **arguments = NULL;
  char *bytes = read_request(&length);
  if (bytes == NULL) refuse(errno);
  if (!parse_request(bytes, length, &variables, &arguments)) refuse(EBADMSG);
  /* INVARIANT: the tool holds its standard three and nothing else. */
  if (close_range(CONTROL_FD + 1, LAST_FD, 0) != 0) refuse(errno);
  if (fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) != 0) refuse(errno);
  reset_signals();
  refuse(execute(arguments, variables));
}

/* Steps back from root for good, or stays who it is. */
static void step_back(const char *uid, const char *gid) {
  if (strcmp(uid, "-") == 0 && strcmp(gid, "-") == 0) return;
  uid_t user = (uid_t)number(uid);
  gid_t group = (gid_t)number(gid);
  if (user == 0 || group == 0) { errno = EINVAL; fail("identity", "root"); }
  if (setgroups(0, NULL) != 0 || setresgid(group, group, group) != 0 || setresuid(user, user, user) != 0)
    fail("identity", uid);
}

/* Its number is one that nothing else has. */
static void open_as(const char *fd, const char *path) {
  int opened = open(path, O_RDONLY | O_CLOEXEC), wanted = (int)number(fd);
  if (opened < 0) fail("file", path);
  /* Else dup2(2) does nothing, and it would be closed with the next program. */
  if (opened == wanted && fcntl(opened, F_SETFD, 0) == 0) return;
  if (dup2(opened, wanted) < 0) fail("file", path);
  close(opened);
}

static int open_namespace(const char *path) {
  if (strcmp(path, "-") == 0) return -1;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("network", path);
  return fd;
}

/*
 * The user namespace first: whoever owns it has every right in it, and so in the network that is its. None is left
 * after the next execve(2), since it maps no root (capabilities(7)).
 */
static void join(int user, int network) {
  if (user >= 0 && setns(user, CLONE_NEWUSER) != 0) fail("network", "user namespace");
  if (network >= 0 && setns(network, CLONE_NEWNET) != 0) fail("network", "namespace");
}

/*
 * Words: uid, gid, user namespace, network namespace (`-`: its own), how many files, for each a descriptor and a path,
 * program, arguments. All is opened before it steps back. The request of the launcher inside is appended to the same
 * file later, and read from where this one stopped.
 */
__attribute__((noreturn)) static void become_builder(void) {
  size_t length = 0;
  struct words words = {NULL, 0};
  wait_to_go();
  char *bytes = read_request(&length);
  if (bytes == NULL) refuse(errno);
  if (!cut_words(bytes, length, &words) || words.count < 6) refuse(EBADMSG);
  char **list = words.list;
  int user = open_namespace(list[2]), network = open_namespace(list[3]);
  size_t files = number(list[4]);
  if (files > words.count || words.count < 6 + 2 * files) refuse(EBADMSG);
  for (size_t i = 0; i < files; i += 1) open_as(list[5 + 2 * i], list[6 + 2 * i]);
  step_back(list[0], list[1]);
  join(user, network);
  char **command = list + 5 + 2 * files;
  execve(command[0], command, (char *[]){NULL});
  refuse(errno);
}

/*
 * Ends as the tool ended, a signal as 128 and its number, and says so on the channel, which the tool never holds: a
 * runtime that dies in between cannot pass for a tool's end.
 */
__attribute__((noreturn)) static void reap_until(pid_t tool) {
  close_range(0, CONTROL_FD - 1, 0);
  close_range(CONTROL_FD + 1, LAST_FD, 0);
  for (;;) {
    int status = 0;
    pid_t ended = wait(&status);
    if (ended < 0 && errno == EINTR) continue;
    if (ended >= 0 && ended != tool) continue;
    int code = ended < 0 ? EXIT_NOT_STARTED : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    report("Z%d\n", code);
    _exit(code);
  }
}

/*
 * Once the tool runs, this process is not to be read or changed through /proc (PTRACE_ACCESS_MODE in ptrace(2)): the
 * tool has the same user, and could make it speak on the channel.
 */
__attribute__((noreturn)) static void fork_tool(void) {
  /* Before the fork, so that there is no moment in between; execve(2) makes the tool an ordinary process again. */
  if (prctl(PR_SET_DUMPABLE, 0) != 0) refuse(errno);
  pid_t tool = fork();
  if (tool < 0) refuse(errno);
  if (tool == 0) become_tool();
  reap_until(tool);
}

static void become_init(void) {
  pid_t child = fork();
  if (child < 0) fail("fork", "init");
  if (child > 0) {
    /* As in fork_tool: what speaks on the channel is not the tool's to change. */
    if (prctl(PR_SET_DUMPABLE, 0) != 0) fail("dumpable", "init");
    reap_until(child);
  }
}

/* Line by line, each after `mark`; lines that do not begin with `only` are left out. */
static void report_file(const char *path, char mark, const char *only) {
  char line[PATH_BYTES_MAX];
  FILE *file = fopen(path, "re");
  if (file == NULL) fail("read", path);
  while (fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, only, strlen(only)) == 0) report("%c%s\n", mark, line);
  }
  fclose(file);
}

/* Names of variables and numbers of open descriptors, before anything was opened here. */
static void report_inherited(void) {
  report("Pdescriptors");
  for (int fd = 0; fd < DESCRIPTORS_SEEN; fd += 1)
    if (fcntl(fd, F_GETFD) >= 0) report(" %d", fd);
  report("\nPvariables");
  for (char **variable = environ; *variable != NULL; variable += 1)
    report(" %.*s", (int)strcspn(*variable, "="), *variable);
  report("\n");
}

static void report_inside(void) {
  struct utsname kernel;
  report_inherited();
  if (uname(&kernel) != 0) fail("uname", "kernel");
  report("Pkernel %s %s\n", kernel.release, kernel.version);
  report("Pnnp %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  report("Puid %u %u %u %u\n", getuid(), geteuid(), getgid(), getegid());
  report_file("/proc/self/status", 'P', "Cap");
  report_file("/proc/self/status", 'P', "Seccomp:");
  report_file("/proc/self/mounts", 'M', "");
}

static void set_limit(char **argument) {
  struct rlimit limit = {number(argument[1]), number(argument[2])};
  if (setrlimit((__rlimit_resource_t)number(argument[0]), &limit) != 0) fail("rlimit", argument[0]);
}

static void try_canary(const char *pid) {
  errno = 0;
  kill((pid_t)number(pid), 0);
  report("C%d\n", errno);
}

#ifndef CALLGATE_LAUNCH_NO_MAIN
int main(int count, char **argument) {
  struct rules rules = {.trial = NULL};
  bool forks = false;
  if (count == 2 && strcmp(argument[1], "wait") == 0) become_builder();
  /* Its own file, by which it was started, among others. */
  if (close_range(REQUEST_FD + 1, LAST_FD, 0) != 0) fail("descriptors", "close_range");
  for (int i = 1; i < count;) {
    const char *option = argument[i];
    int values = option[1] == 'l' ? 3 : option[0] == '-' && strchr("fip", option[1]) != NULL ? 0 : 1;
    if (option[0] != '-' || option[1] == '\0' || option[2] != '\0' || i + values >= count) {
      errno = EINVAL;
      fail("option", option);
    }
    switch (option[1]) {
      case 'i': become_init(); break;
      case 'f': forks = true; break;
      case 'p': report_inside(); break;
      case 'l': set_limit(argument + i + 1); break;
      case 't': open_rules(&rules, argument[i + 1]); break;
      case 's':
      case 'r':
      case 'w':
      case 'd': add_path(&rules, option[1], argument[i + 1]); break;
      case 'c': try_canary(argument[i + 1]); break;
      default: errno = EINVAL; fail("option", option);
    }
    i += 1 + values;
  }
  enforce(&rules);
  report("R\n");
  wait_to_go();
  if (forks) fork_tool();
  become_tool();
}
#endif
