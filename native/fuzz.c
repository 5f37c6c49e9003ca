/*
 * Feeds the launcher's parsers random and mutated requests. Built by src/sandbox/native.test.ts with the address and
 * undefined-behaviour sanitizers; ends by itself. What a parser accepts is held against what it must mean.
 *
 *     fuzz ROUNDS SEED
 */
#define CALLGATE_LAUNCH_NO_MAIN
#include "launch.c"

static uint64_t state;

static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/* A request that is right, most of the time, before it is damaged. */
static size_t compose(char *bytes, size_t room) {
  size_t variables = next() % 4, arguments = next() % 4, used = 0;
  used += (size_t)snprintf(bytes, room, "%zu", variables) + 1;
  used += (size_t)snprintf(bytes + used, room - used, "%zu", arguments) + 1;
  for (size_t i = 0; i < variables + arguments; i += 1) {
    size_t length = next() % 12;
    for (size_t j = 0; j < length; j += 1) bytes[used++] = (char)(next() % 255 + 1);
    bytes[used++] = '\0';
  }
  return used;
}

static size_t damage(char *bytes, size_t length, size_t room) {
  for (uint64_t blows = next() % 4; blows > 0; blows -= 1) {
    switch (next() % 4) {
      case 0: if (length > 0) bytes[next() % length] = (char)next(); break;
      case 1: if (length > 0) length -= 1; break;
      case 2: if (length < room) bytes[length++] = (char)(next() % 3 == 0 ? 0 : next()); break;
      default: if (length > 1) { memmove(bytes, bytes + 1, length - 1); length -= 1; } break;
    }
  }
  return length;
}

/* What is accepted has as many words as it says, each inside the bytes given, and both lists end. */
static void hold(const char *bytes, size_t length, char **variables, char **arguments) {
  size_t variable_count = 0, argument_count = 0;
  const char *place = bytes + strlen(bytes) + 1;
  place += strlen(place) + 1;
  for (; variables[variable_count] != NULL; variable_count += 1) {
    if (variables[variable_count] != place) abort();
    place += strlen(place) + 1;
  }
  for (; arguments[argument_count] != NULL; argument_count += 1) {
    if (arguments[argument_count] != place) abort();
    place += strlen(place) + 1;
  }
  if (argument_count == 0 || place != bytes + length) abort();
  if (strtoull(bytes, NULL, 10) != variable_count) abort();
}

int main(int count, char **argument) {
  if (count != 3) return 2;
  uint64_t rounds = strtoull(argument[1], NULL, 10), accepted = 0;
  state = strtoull(argument[2], NULL, 10) | 1;
  for (uint64_t round = 0; round < rounds; round += 1) {
    char draft[256];
    size_t length = damage(draft, compose(draft, sizeof draft), sizeof draft);
    /* On the heap and of its exact size, so that one byte too far is seen. */
    char *bytes = malloc(length == 0 ? 1 : length);
    if (bytes == NULL) return 3;
    memcpy(bytes, draft, length);
    char **variables = NULL, **arguments = NULL;
    if (parse_request(bytes, length, &variables, &arguments)) {
      accepted += 1;
      hold(bytes, length, variables, arguments);
      value_of(variables, "PATH");
      free(variables);
    }
    free(bytes);
  }
  printf("%llu of %llu accepted\n", (unsigned long long)accepted, (unsigned long long)rounds);
  return accepted == 0 || accepted == rounds;
}
