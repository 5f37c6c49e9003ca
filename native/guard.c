/*
 * Makes network namespaces for sandboxes. In each there is `lo` and nothing else; a block of addresses is local on it
 * ("AnyIP", ip-route(8), type local), and the gateway listens on some of them: the sockets are made in there and handed
 * to it. What a tool connects to is then an event of the gateway's own loop: no relay, no NAT, no rule of a firewall.
 *
 *     guard      descriptor 0: requests; descriptor 3: a channel of Node's (child_process, `ipc`)
 *
 * Requests, NUL-terminated words, an empty one at the end:
 *
 *     ID UID GID WHAT...      makes one; WHAT is `rADDRESS/BITS` a block that is local, `tADDRESS:PORT` a TCP listener,
 *                             `uADDRESS:PORT` a UDP socket; UID and GID `-`: who this process is
 *     ID end                  ends it: what is not held by a socket or a process in there is gone
 *
 * Answers on the channel, each a line of JSON. A socket comes in the form in which Node hands sockets over
 * (lib/internal/child_process.js, `NODE_HANDLE`), with {id, at}; then {id, pid, net}: PID keeps the namespaces, and net is
 * what the network's is called (namespaces(7)). {id, failed, errno} where it could not be made, {id, ended} when PID is
 * gone. src/egress/guard.ts is the other side.
 *
 * A user namespace of the sandbox's own user owns the network, so that user may join it without being root; a sandbox
 * is in another one below, and has no right here. Keepers die with this process, and it ends with its descriptors.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REQUESTS = 0, CHANNEL = 3, REQUEST_BYTES_MAX = 1 << 18, WORDS_MAX = 8192, KEEPERS_MAX = 1024, BACKLOG = 511 };
enum { ID_CHARS_MAX = 40, WORD_CHARS_MAX = 64 };

struct keeper {
  pid_t pid;
  char id[ID_CHARS_MAX];
};

static struct keeper keepers[KEEPERS_MAX];

/* One line, and with it a descriptor where there is one; 0 is never handed over. */
static void send_line(const char *line, size_t length, int fd) {
  char space[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec part = {.iov_base = (void *)(uintptr_t)line, .iov_len = length};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd > 0) {
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  while (part.iov_len > 0) {
    ssize_t sent = sendmsg(CHANNEL, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    /* Too much is under way to the gateway, who takes it in its own time (unix(7)); poll(2) does not tell. */
    if (sent < 0 && (errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS)) {
      nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
      continue;
    }
    if (sent < 0 && errno == EAGAIN) {
      struct pollfd channel = {.fd = CHANNEL, .events = POLLOUT};
      poll(&channel, 1, -1);
      continue;
    }
    if (sent <= 0) _exit(1);
    part.iov_base = (char *)part.iov_base + sent;
    part.iov_len -= (size_t)sent;
    message.msg_controllen = 0; /* the descriptor went with the first byte */
  }
}

__attribute__((format(printf, 2, 3))) static void answer(int fd, const char *format, ...) {
  char line[512];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  if (length < 0 || (size_t)length >= sizeof line) _exit(1);
  send_line(line, (size_t)length, fd);
}

__attribute__((noreturn)) static void fail(const char *id, const char *what) {
  answer(-1, "{\"id\":\"%s\",\"failed\":\"%s\",\"errno\":%d}\n", id, what, errno);
  _exit(1);
}

/* A whole decimal number of at most `most`; what is none fails as EINVAL. */
static unsigned long number(const char *id, const char *text, unsigned long most) {
  char *end = NULL;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value > most) {
    errno = EINVAL;
    fail(id, "number");
  }
  return value;
}

/* Cuts `ADDRESS<mark>NUMBER` in two. */
static struct in_addr address_of(const char *id, char *text, char mark, unsigned long most, unsigned long *value) {
  struct in_addr address;
  char *cut = strrchr(text, mark);
  if (cut != NULL) *cut = '\0';
  if (cut == NULL || inet_pton(AF_INET, text, &address) != 1) {
    errno = EINVAL;
    fail(id, "address");
  }
  *value = number(id, cut + 1, most);
  return address;
}

static void write_file(const char *id, const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) fail(id, path);
  close(fd);
}

/* Becomes that user, in new namespaces that are his. */
static void enter_namespaces(const char *id, const char *uid, const char *gid) {
  uid_t user = geteuid();
  gid_t group = getegid();
  char line[64];
  if (strcmp(uid, "-") != 0) {
    user = (uid_t)number(id, uid, UINT32_MAX - 1);
    group = (gid_t)number(id, gid, UINT32_MAX - 1);
    if (setgroups(0, NULL) != 0 || setresgid(group, group, group) != 0 || setresuid(user, user, user) != 0)
      fail(id, "identity");
    /* Else its own maps would be root's to write (proc(5)). */
    if (prctl(PR_SET_DUMPABLE, 1) != 0) fail(id, "dumpable");
  }
  if (user == 0 || group == 0) {
    errno = EPERM;
    fail(id, "root");
  }
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) fail(id, "namespaces");
  write_file(id, "/proc/self/setgroups", "deny");
  snprintf(line, sizeof line, "%u %u 1", user, user);
  write_file(id, "/proc/self/uid_map", line);
  snprintf(line, sizeof line, "%u %u 1", group, group);
  write_file(id, "/proc/self/gid_map", line);
}

static void bring_up_loopback(const char *id) {
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) != 0) fail(id, "loopback");
  request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
  if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) fail(id, "loopback");
  close(fd);
}

/* rtnetlink(7): `ip route add local ADDRESS/BITS dev lo`. */
static void add_local(const char *id, struct in_addr address, unsigned long bits) {
  struct {
    struct nlmsghdr header;
    struct rtmsg route;
    struct rtattr to_header;
    struct in_addr to;
    struct rtattr by_header;
    uint32_t by;
  } request = {
    .header = {.nlmsg_len = sizeof request,
               .nlmsg_type = RTM_NEWROUTE,
               .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
    .route = {.rtm_family = AF_INET,
              .rtm_dst_len = (unsigned char)bits,
              .rtm_table = RT_TABLE_LOCAL,
              .rtm_protocol = RTPROT_STATIC,
              .rtm_scope = RT_SCOPE_HOST,
              .rtm_type = RTN_LOCAL},
    .to_header = {.rta_len = RTA_LENGTH(sizeof address), .rta_type = RTA_DST},
    .to = address,
    .by_header = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = RTA_OIF},
    .by = if_nametoindex("lo"),
  };
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
  } reply;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0 || send(fd, &request, sizeof request, 0) != (ssize_t)sizeof request) fail(id, "route");
  if (recv(fd, &reply, sizeof reply, 0) < (ssize_t)sizeof reply || reply.header.nlmsg_type != NLMSG_ERROR) {
    errno = EPROTO;
    fail(id, "route");
  }
  errno = -reply.error.error;
  if (errno != 0 && errno != EEXIST) fail(id, "route");
  close(fd);
}

/* On exactly that address: on the wildcard one the tool could not use the port on its own loopback. */
static void hand_over(const char *id, char *where, bool stream) {
  char at[WORD_CHARS_MAX];
  unsigned long port = 0;
  snprintf(at, sizeof at, "%s", where);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr = address_of(id, where, ':', UINT16_MAX, &port);
  address.sin_port = htons((uint16_t)port);
  int fd = socket(AF_INET, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) fail(id, at);
  if (stream && listen(fd, BACKLOG) != 0) fail(id, at);
  answer(fd, "{\"cmd\":\"NODE_HANDLE\",\"type\":\"%s\",\"dgramType\":\"udp4\",\"msg\":{\"id\":\"%s\",\"at\":\"%s\"}}\n",
         stream ? "net.Native" : "dgram.Socket", id, at);
  close(fd);
}

__attribute__((noreturn)) static void keep(char **words, pid_t maker) {
  const char *id = words[0];
  enter_namespaces(id, words[1], words[2]);
  /* After the last change of who this is, which would take it back (prctl(2)). */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != maker) _exit(1);
  bring_up_loopback(id);
  for (char **word = words + 3; *word != NULL; word += 1) {
    unsigned long bits = 0;
    if (strlen(*word) >= WORD_CHARS_MAX) errno = EINVAL, fail(id, "word");
    switch (**word) {
      case 'r': {
        struct in_addr block = address_of(id, *word + 1, '/', 32, &bits);
        add_local(id, block, bits);
        break;
      }
      case 't': hand_over(id, *word + 1, true); break;
      case 'u': hand_over(id, *word + 1, false); break;
      default: errno = EINVAL; fail(id, "word");
    }
  }
  char net[WORD_CHARS_MAX] = "";
  if (readlink("/proc/self/ns/net", net, sizeof net - 1) < 0) fail(id, "/proc/self/ns/net");
  answer(-1, "{\"id\":\"%s\",\"pid\":%d,\"net\":\"%s\"}\n", id, getpid(), net);
  close_range(0, ~0U, 0);
  for (;;) pause();
}

static struct keeper *find(const char *id) {
  for (size_t i = 0; i < KEEPERS_MAX; i += 1)
    if (keepers[i].pid != 0 && strcmp(keepers[i].id, id) == 0) return &keepers[i];
  return NULL;
}

static struct keeper *free_place(void) {
  for (size_t i = 0; i < KEEPERS_MAX; i += 1)
    if (keepers[i].pid == 0) return &keepers[i];
  return NULL;
}

static bool is_plain(const char *id) {
  return *id != '\0' && strlen(id) < ID_CHARS_MAX && strspn(id, "0123456789abcdef-") == strlen(id);
}

static void handle(char **words, size_t count) {
  if (count < 2 || !is_plain(words[0])) _exit(2);
  struct keeper *known = find(words[0]);
  if (count == 2 && strcmp(words[1], "end") == 0) {
    if (known != NULL) kill(known->pid, SIGKILL);
    return;
  }
  struct keeper *place = free_place();
  if (count < 3 || known != NULL) _exit(2);
  pid_t maker = getpid();
  errno = EAGAIN;
  pid_t pid = place == NULL ? -1 : fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    keep(words, maker);
  }
  if (pid < 0) {
    answer(-1, "{\"id\":\"%s\",\"failed\":\"fork\",\"errno\":%d}\n", words[0], errno);
    return;
  }
  place->pid = pid;
  strcpy(place->id, words[0]);
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
  for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;) {
    for (size_t i = 0; i < KEEPERS_MAX; i += 1) {
      if (keepers[i].pid != pid) continue;
      keepers[i].pid = 0;
      answer(-1, "{\"id\":\"%s\",\"ended\":true}\n", keepers[i].id);
    }
  }
}

int main(void) {
  static char buffer[REQUEST_BYTES_MAX];
  char ignored[4096];
  size_t used = 0;
  sigset_t ended;
  if (close_range(CHANNEL + 1, ~0U, 0) != 0) return 1;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &ended, NULL) != 0) return 1;
  int deaths = signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
  if (deaths < 0) return 1;
  for (;;) {
    struct pollfd ready[3] = {
      {.fd = REQUESTS, .events = POLLIN}, {.fd = CHANNEL, .events = POLLIN}, {.fd = deaths, .events = POLLIN}};
    if (poll(ready, 3, -1) < 0 && errno != EINTR) return 1;
    if (ready[2].revents != 0) {
      struct signalfd_siginfo one;
      while (read(deaths, &one, sizeof one) > 0) continue;
      reap();
    }
    /* Node thanks for every socket. */
    if (ready[1].revents != 0) {
      ssize_t thanks = read(CHANNEL, ignored, sizeof ignored);
      if (thanks == 0 || (thanks < 0 && errno != EAGAIN && errno != EINTR)) return 0;
    }
    if (ready[0].revents == 0) continue;
    ssize_t got = read(REQUESTS, buffer + used, sizeof buffer - used);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return 0;
    used = handle_all(buffer, used + (size_t)got);
    if (used == sizeof buffer) return 2;
  }
}
