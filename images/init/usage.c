#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "init.h"

/* Files of cgroup v2, then v1, as they appear inside a container. */
static const char *const EVENTS[] = {"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"};
static const char *const PEAK[] = {"/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"};

static const char *const TASKS[] = {"/sys/fs/cgroup/pids.current", "/sys/fs/cgroup/pids/pids.current"};
static const char *const TASKS_LIMIT[] = {"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"};

static int events_fd = -1, peak_fd = -1, tasks_fd = -1;

static int open_first(const char *const paths[2]) {
  int fd = open(paths[0], O_RDONLY | O_CLOEXEC);
  return fd >= 0 ? fd : open(paths[1], O_RDONLY | O_CLOEXEC);
}

void usage_open(void) {
  /* Outside a container these files tell about the whole machine. */
  if (!sandbox.process_one) return;
  events_fd = open_first(EVENTS);
  peak_fd = open_first(PEAK);
  tasks_fd = open_first(TASKS);
}

static bool read_text(int fd, char *text, size_t size) {
  if (fd < 0) return false;
  ssize_t got = pread(fd, text, size - 1, 0);
  if (got <= 0) return false;
  text[got] = 0;
  return true;
}

long long usage_oom_kills(void) {
  char text[512];
  if (!read_text(events_fd, text, sizeof text)) return -1;
  for (char *line = text; line != NULL; line = strchr(line, '\n')) {
    while (*line == '\n') line++;
    if (strncmp(line, "oom_kill ", 9) == 0) return strtoll(line + 9, NULL, 10);
  }
  return -1;
}

static long long read_number(int fd) {
  char text[64];
  return read_text(fd, text, sizeof text) ? strtoll(text, NULL, 10) : -1;
}

long long usage_peak_bytes(void) { return read_number(peak_fd); }

long long usage_tasks(void) { return read_number(tasks_fd); }

long long usage_tasks_limit(void) {
  if (!sandbox.process_one) return -1;
  int fd = open_first(TASKS_LIMIT);
  long long limit = read_number(fd);
  if (fd >= 0) close(fd);
  return limit;
}
