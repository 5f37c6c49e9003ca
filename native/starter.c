/*
 * Starts processes for the gateway. Forking the gateway copies the page tables of a large process and stops it for
 * milliseconds; this one is small. It lives as long as its channel, descriptor 3, and what it started is killed or
 * told to end by its own channel when it goes.
 *
 * Requests, NUL-terminated words, an empty one at the end:
 *
 *     ID FD<how>... ! PROGRAM ARGUMENT...      start: each FD is opened, `r` `w` PATH, `s` a Unix socket connected
 *                                              to, `=` a copy of another FD; no other descriptor is inherited
 *     ID kill                                  SIGKILL, while it is not reaped
 *
 * Answers, lines: `S ID PID`, `F ID ERRNO WORD` could not be started, `E ID CODE` ended, 128 and a signal's number for
 * a signal. src/sandbox/starter.ts is the other side.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHANNEL = 3, REQUEST_BYTES_MAX = 1 << 20, WORDS_MAX = 4096, CHILDREN_MAX = 1024, FD_MAX = 64 };
/* Descriptors are opened up here first, so that none lies where another has to go. */
enum { ABOVE = 128 };

struct child {
  pid_t pid;
  char id[40];
};

static struct child children[CHILDREN_MAX];

__attribute__((format(printf, 1, 2))) static void answer(const char *format, ...) {
  char line[8192];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  if (length < 0 || (size_t)length >= sizeof line) length = (int)sizeof line - 1;
  for (int sent = 0; sent < length;) {
    ssize_t one = write(CHANNEL, line + sent, (size_t)(length - sent));
    if (one < 0 && errno == EINTR) continue;
    if (one <= 0) _exit(1);
    sent += (int)one;
  }
}

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) return close(fd), -1;
  return fd;
}

static int blocking(int fd) {
  if (fd >= 0 && fcntl(fd, F_SETFL, 0) != 0) return close(fd), -1;
  return fd;
}

struct opened {
  int fd[FD_MAX];
};

/* One `FD<how>`; errno says why not. */
static bool open_one(struct opened *opened, char *word, const char *id) {
  char *how = NULL;
  unsigned long target = strtoul(word, &how, 10);
  if (how == word || target >= FD_MAX || opened->fd[target] >= 0) return errno = EINVAL, false;
  int fd = -1;
  switch (*how) {
    /* A pipe whose other end is gone must not hold up everybody else's starts. */
    case 'r': fd = blocking(open(how + 1, O_RDONLY | O_CLOEXEC | O_NONBLOCK)); break;
    case 'w': fd = blocking(open(how + 1, O_WRONLY | O_CLOEXEC | O_NONBLOCK)); break;
    case 's': fd = connect_to(how + 1); break;
    case '=': {
      unsigned long source = strtoul(how + 1, NULL, 10);
      if (source < FD_MAX && opened->fd[source] >= 0) fd = fcntl(opened->fd[source], F_DUPFD_CLOEXEC, ABOVE);
      else errno = EINVAL;
      break;
    }
    default: errno = EINVAL;
  }
  if (fd < 0) return false;
  /* Who is calling: the other side has many of these. */
  if (*how == 's' && dprintf(fd, "I %s\n", id) < 0) return close(fd), false;
  opened->fd[target] = fcntl(fd, F_DUPFD_CLOEXEC, ABOVE);
  close(fd);
  return opened->fd[target] >= 0;
}

__attribute__((noreturn)) static void become(const struct opened *opened, char **arguments) {
  sigset_t none;
  for (int fd = 0; fd < FD_MAX; fd += 1) {
    close(fd);
    if (opened->fd[fd] >= 0 && dup2(opened->fd[fd], fd) < 0) _exit(126);
  }
  if (close_range(FD_MAX, ~0U, 0) != 0 || chdir("/") != 0) _exit(126);
  for (int number = 1; number < NSIG; number += 1) signal(number, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  execve(arguments[0], arguments, (char *[]){NULL});
  _exit(127);
}

static struct child *find(const char *id) {
  for (size_t i = 0; i < CHILDREN_MAX; i += 1)
    if (children[i].pid != 0 && strcmp(children[i].id, id) == 0) return &children[i];
  return NULL;
}

static struct child *free_place(void) {
  for (size_t i = 0; i < CHILDREN_MAX; i += 1)
    if (children[i].pid == 0) return &children[i];
  return NULL;
}

static void start(char **words) {
  struct opened opened;
  const char *id = words[0];
  struct child *place = free_place();
  bool usable = place != NULL && strlen(id) < sizeof place->id;
  size_t next = 1;
  for (size_t fd = 0; fd < FD_MAX; fd += 1) opened.fd[fd] = -1;
  errno = EAGAIN;
  while (usable && words[next] != NULL && strcmp(words[next], "!") != 0) {
    usable = open_one(&opened, words[next], id);
    if (usable) next += 1;
  }
  if (usable && (words[next] == NULL || words[next + 1] == NULL)) {
    errno = EINVAL;
    usable = false;
  }
  pid_t pid = usable ? fork() : -1;
  if (pid == 0) become(&opened, words + next + 1);
  if (pid < 0) {
    answer("F %s %d %s\n", id, errno, words[next] == NULL ? "" : words[next]);
  } else {
    place->pid = pid;
    strcpy(place->id, id);
    answer("S %s %d\n", id, pid);
  }
  for (size_t fd = 0; fd < FD_MAX; fd += 1)
    if (opened.fd[fd] >= 0) close(opened.fd[fd]);
}

static void handle(char **words, size_t count) {
  if (count < 2) _exit(2);
  if (count == 2 && strcmp(words[1], "kill") == 0) {
    const struct child *child = find(words[0]);
    if (child != NULL) kill(child->pid, SIGKILL);
  } else {
    start(words);
  }
}

/* Handles every whole request in the buffer; returns how much of it is left. */
static size_t handle_all(char *buffer, size_t used) {
  static char *words[WORDS_MAX + 1];
  size_t count = 0, begun = 0;
  for (size_t at = 0; at < used;) {
    char *end = memchr(buffer + at, '\0', used - at);
    if (end == NULL) break;
    if (end == buffer + at) {
      words[count] = NULL;
      handle(words, count);
      count = 0;
      begun = at + 1;
    } else if (count < WORDS_MAX) {
      words[count++] = buffer + at;
    } else {
      _exit(2);
    }
    at = (size_t)(end - buffer) + 1;
  }
  memmove(buffer, buffer + begun, used - begun);
  return used - begun;
}

static void reap(void) {
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    for (size_t i = 0; i < CHILDREN_MAX; i += 1) {
      if (children[i].pid != pid) continue;
      children[i].pid = 0;
      answer("E %s %d\n", children[i].id, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
  }
}

int main(void) {
  static char buffer[REQUEST_BYTES_MAX];
  size_t used = 0;
  sigset_t ended;
  if (close_range(CHANNEL + 1, ~0U, 0) != 0) return 1;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &ended, NULL) != 0) return 1;
  int deaths = signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
  if (deaths < 0 || fcntl(CHANNEL, F_SETFD, FD_CLOEXEC) != 0) return 1;
  for (;;) {
    struct pollfd ready[2] = {{.fd = CHANNEL, .events = POLLIN}, {.fd = deaths, .events = POLLIN}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return 1;
    if (ready[1].revents != 0) {
      struct signalfd_siginfo one;
      while (read(deaths, &one, sizeof one) > 0) continue;
      reap();
    }
    if (ready[0].revents == 0) continue;
    ssize_t got = read(CHANNEL, buffer + used, sizeof buffer - used);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return 0;
    used = handle_all(buffer, used + (size_t)got);
    if (used == sizeof buffer) return 2;
  }
}
