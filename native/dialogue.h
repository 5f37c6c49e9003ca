/* What the launcher says of itself, one line each on its control socket: src/sandbox/dialogue.ts reads them. `number`
 * is here since it ends by saying so. */
#pragma once
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONTROL_FD = 3, PATH_BYTES_MAX = 4096, EXIT_NOT_STARTED = 126 };

static void say(const char *line, size_t length) {
  while (length > 0) {
    ssize_t sent = write(CONTROL_FD, line, length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) _exit(EXIT_NOT_STARTED);
    line += sent;
    length -= (size_t)sent;
  }
}

__attribute__((format(printf, 1, 2))) static void report(const char *format, ...) {
  char line[PATH_BYTES_MAX + 128];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  if (length < 0 || (size_t)length >= sizeof line) _exit(EXIT_NOT_STARTED);
  say(line, (size_t)length);
}

__attribute__((noreturn)) static void fail(const char *what, const char *which) {
  report("L%s %.4000s: %s\n", what, which, strerror(errno));
  _exit(EXIT_NOT_STARTED);
}

/* A whole decimal number, or the end. */
static uint64_t number(const char *text) {
  char *end = NULL;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || *text < '0' || *text > '9') {
    errno = EINVAL;
    fail("number", text);
  }
  return value;
}
