/*
 * A network holder: no sandbox, no runtime; keeps a network namespace for the sandbox that joins it. The daemon may ask
 * whether the namespace is as it was before anybody joined: it is then as good as a new one.
 *
 * One connection to the daemon (`hold.sock`): first the holder's name and a newline; then each byte of the daemon's is
 * answered by one: `u` (unused) when nothing was sent in the namespace and no counter differs, `x` otherwise.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#define TEXT (32 * 1024)
/* Holders are as patient as sandboxes: those of the last run live until the next daemon has sorted them. */
#define ORPHAN_MS 30000
#define RETRY_MS 200

/* What the kernel keeps by namespace: what somebody has tried, and sockets, of which one may stay for a minute after its
   end, with its peer's address. Compared with what was there before (the engine's resolver has sockets here, too). */
static const char *const COUNTERS[] = {"snmp", "netstat", "snmp6"};
static const char *const SOCKETS[] = {"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "icmp", "icmp6", "ip6_flowlabel"};
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define FILES (COUNT(COUNTERS) + COUNT(SOCKETS))

/* A digest of each; it need not withstand anybody. */
static uint64_t before[FILES];

/* Length, or -1 when it is not there or too long to be compared. */
static ssize_t read_text(const char *path, char text[TEXT]) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t total = 0, got;
  while ((got = read(fd, text + total, (size_t)(TEXT - 1 - total))) > 0) total += got;
  close(fd);
  if (got < 0 || total == TEXT - 1) return -1;
  text[total] = 0;
  return total;
}

/* The next word of a line, or NULL at its end; `*at` moves behind it. */
static char *next_word(char **at) {
  char *word = *at + strspn(*at, " \t");
  size_t length = strcspn(word, " \t\n");
  if (length == 0) return NULL;
  *at = word + length;
  return word;
}

/* What comes in is everybody's: broadcasts of the bridge. `Ip6InReceives`: words of snmp6 have their protocol before them. */
static bool counts_input(const char *name) {
  static const char *const PROTOCOLS[] = {"Ip6", "Icmp6", "UdpLite6", "Udp6", ""};
  for (size_t i = 0; i < COUNT(PROTOCOLS); i++) {
    size_t length = strlen(PROTOCOLS[i]);
    if (strncmp(name, PROTOCOLS[i], length) == 0) return strncmp(name + length, "In", 2) == 0;
  }
  return false;
}

static uint64_t digest(uint64_t sum, const char *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) sum = (sum ^ (unsigned char)bytes[i]) * 1099511628211u;
  return sum;
}

/* Without input. snmp and netstat: a line of names, then one of numbers; snmp6: name and number in a line. */
static uint64_t digest_counters(char *text, bool in_lines) {
  uint64_t sum = 0;
  for (char *names = text; *names;) {
    char *end = names + strcspn(names, "\n"), *numbers = in_lines ? names : end + (*end != 0), *name;
    while (names < end && (name = next_word(&names))) {
      if (in_lines) numbers = names;
      char *number = next_word(&numbers);
      if (in_lines) names = numbers;
      if (number && !counts_input(name)) sum = digest(sum, number, (size_t)(numbers - number));
    }
    numbers += strcspn(numbers, "\n");
    names = numbers + (*numbers != 0);
  }
  return sum;
}

/* 0 when it is not there (no IPv6), or cannot be read. */
static uint64_t look(size_t file) {
  static char text[TEXT];
  char path[64];
  bool counters = file < COUNT(COUNTERS);
  snprintf(path, sizeof path, "/proc/self/net/%s", counters ? COUNTERS[file] : SOCKETS[file - COUNT(COUNTERS)]);
  ssize_t length = read_text(path, text);
  if (length < 0) return 0;
  return counters ? digest_counters(text, file == 2) : digest(1, text, (size_t)length);
}

/* Packets that were sent, over all interfaces. */
static bool has_sent(void) {
  static char text[TEXT];
  if (read_text("/proc/self/net/dev", text) < 0) return true;
  for (char *line = text; line; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    char *colon = strchr(line, ':'), *end = strchr(line, '\n');
    if (colon == NULL || (end && colon > end)) continue;
    unsigned long long bytes, packets;
    if (sscanf(colon + 1, "%*u %*u %*u %*u %*u %*u %*u %*u %llu %llu", &bytes, &packets) != 2 || packets > 0) return true;
  }
  return false;
}

static bool is_unused(void) {
  for (size_t i = 0; i < FILES; i++)
    if (look(i) != before[i]) return false;
  return !has_sent();
}

static int dial(const char *dir) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/hold.sock", dir);
  if (size < 0 || (size_t)size >= sizeof address.sun_path) _exit(EXIT_USAGE);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

static void serve(int fd, const char *name) {
  char line[ID_MAX + 2], asked;
  int size = snprintf(line, sizeof line, "%s\n", name);
  if (write(fd, line, (size_t)size) != size) return;
  while (read(fd, &asked, 1) == 1)
    if (write(fd, is_unused() ? "u" : "x", 1) != 1) return;
}

static void on_term(int signal_number) {
  (void)signal_number;
  _exit(0);
}

_Noreturn void hold(const char *dir, const char *name) {
  if (strlen(name) > ID_MAX) _exit(EXIT_USAGE);
  prctl(PR_SET_DUMPABLE, 0);
  signal(SIGTERM, on_term);
  signal(SIGPIPE, SIG_IGN);
  for (size_t i = 0; i < FILES; i++) before[i] = look(i);
  int64_t lost_since = now_ms();
  while (now_ms() - lost_since < ORPHAN_MS) {
    int fd = dial(dir);
    if (fd >= 0) {
      serve(fd, name);
      close(fd);
      lost_since = now_ms();
    }
    nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
  }
  _exit(EXIT_ORPHANED);
}
