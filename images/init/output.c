#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "init.h"

static unsigned char buffer[64 * 1024];

static void send_log(const char *id, const char *stream, uint64_t dropped, const void *data, size_t len) {
  char header[256], tail[48] = "", quoted[ID_MAX + 3] = "null";
  if (id != NULL) snprintf(quoted, sizeof quoted, "\"%s\"", id);
  if (dropped > 0) snprintf(tail, sizeof tail, ",\"dropped\":%llu", (unsigned long long)dropped);
  int size = snprintf(header, sizeof header, "{\"type\":\"log\",\"id\":%s,\"stream\":\"%s\"%s}", quoted, stream, tail);
  channel_send(header, (size_t)size, data, len, NULL);
}

static void keep_tail(struct runtime *r, const unsigned char *data, size_t len) {
  if (len > TAIL) {
    data += len - TAIL;
    len = TAIL;
  }
  if (r->tail_len + len > TAIL) {
    size_t gone = r->tail_len + len - TAIL;
    memmove(r->tail, r->tail + gone, r->tail_len - gone);
    r->tail_len -= gone;
  }
  memcpy(r->tail + r->tail_len, data, len);
  r->tail_len += len;
}

void output_pass(struct invocation *i, struct runtime *r, const char *stream, const unsigned char *data, size_t len) {
  keep_tail(r, data, len);
  size_t *sent = i ? &i->log_sent : &r->idle_sent;
  uint64_t *dropped = i ? &i->log_dropped : &r->idle_dropped;
  /* Before `load` there is no limit from the daemon; the runtime itself prints nothing then. */
  size_t limit = sandbox.version ? sandbox.log_limit : TAIL;
  size_t room = *sent < limit ? limit - *sent : 0, passed = len < room ? len : room;
  *dropped += len - passed;
  *sent += passed;
  if (passed > 0) send_log(i ? i->id : NULL, stream, 0, data, passed);
}

void output_account(struct invocation *i, struct runtime *r) {
  uint64_t *dropped = i ? &i->log_dropped : &r->idle_dropped;
  if (*dropped > 0) send_log(i ? i->id : NULL, "stdout", *dropped, NULL, 0);
  *dropped = 0;
}

/* The invocation to which the pipes' bytes belong, or NULL. */
static struct invocation *owner(struct runtime *r) {
  if (r->in_flight == 0 || sandbox.concurrency > 1 || (r->state != READY && !r->forked)) return NULL;
  for (struct invocation *i = sandbox.invocations; i; i = i->next)
    if (i->runtime == r) return i;
  return NULL;
}

static bool read_once(struct runtime *r, int *fd, const char *stream, size_t most) {
  ssize_t got;
  do got = read(*fd, buffer, most < sizeof buffer ? most : sizeof buffer);
  while (got < 0 && errno == EINTR);
  if (got > 0) {
    output_pass(owner(r), r, stream, buffer, (size_t)got);
    return true;
  }
  if (got == 0 || errno != EAGAIN) {
    close(*fd);
    *fd = -1;
  }
  return false;
}

void output_read(struct runtime *r, int *fd, const char *stream) { read_once(r, fd, stream, sizeof buffer); }

static void drain(struct runtime *r, int *fd, const char *stream) {
  int waiting = 0;
  if (*fd < 0 || ioctl(*fd, FIONREAD, &waiting) != 0) return;
  /* Only what is there now: a process that writes on and on must not hold the result back. */
  for (size_t left = (size_t)(waiting > 0 ? waiting : 0); left > 0 && *fd >= 0;) {
    size_t step = left < sizeof buffer ? left : sizeof buffer;
    if (!read_once(r, fd, stream, step)) return;
    left -= step;
  }
}

void output_drain(struct runtime *r) {
  drain(r, &r->out, "stdout");
  drain(r, &r->err, "stderr");
}

const char *signal_name(int number) {
  static char name[32];
  const char *known = sigabbrev_np(number);
  if (known) snprintf(name, sizeof name, "SIG%s", known);
  else snprintf(name, sizeof name, "SIG%d", number);
  return name;
}
