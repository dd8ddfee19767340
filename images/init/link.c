#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

#define MAX_LOG (1024u * 1024u)
/* Text of a failure that is passed on; the rest of a header is our own. */
#define MAX_FAILURE (MAX_HEADER - 4096u)
#define MAX_TRACE 256

enum { TYPE, ID, KIND, ERROR_TYPE, MESSAGE, TRACE, DURATION, STREAM, ENVIRONMENT, FORK, FIELDS };
static const char *const KEYS[FIELDS] = {"type",  "id",         "kind",   "errorType",   "message",
                                         "trace", "durationMs", "stream", "environment", "fork"};
static const char *const KINDS[] = {"error", "memory", "too_large", "invalid_result", "invalid_event"};

static bool is_text(struct slice s) { return s.kind == '"' || s.kind == 'n' || s.kind == 0; }

static struct invocation *in_flight(struct runtime *r, struct slice id) {
  struct invocation *i = id.kind == '"' ? invocation_find(id.at + 1, id.len - 2) : NULL;
  return i && i->runtime == r && r->state == READY ? i : NULL;
}

static void on_failed(struct runtime *r, struct slice f[]) {
  struct failure failure = {.error_type = f[ERROR_TYPE],
                            .message = f[MESSAGE],
                            .trace = f[TRACE],
                            .exit_code = -1,
                            .duration = json_number(f[DURATION], -1)};
  for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++)
    if (json_equals(f[KIND], KINDS[k])) failure.kind = KINDS[k];
  bool good = failure.kind && is_text(f[ERROR_TYPE]) && is_text(f[MESSAGE]) &&
              (f[TRACE].kind == 0 || f[TRACE].kind == 'n' || json_is_strings(f[TRACE], MAX_TRACE)) &&
              f[ERROR_TYPE].len + f[MESSAGE].len + f[TRACE].len < MAX_FAILURE;
  if (!good) return runtime_break(r, "a failure of a wrong form");
  if (f[ID].kind == 'n' || f[ID].kind == 0) {
    if (r->state != LOADING || r->forked) return runtime_break(r, "a failed load after ready");
    return runtime_load_failed(r, &failure);
  }
  struct invocation *i = in_flight(r, f[ID]);
  if (i == NULL) return runtime_break(r, "the end of an invocation that is not in flight");
  invocation_failed(i, &failure);
}

static void on_log(struct runtime *r, struct slice f[], const unsigned char *body, size_t len) {
  bool out = json_equals(f[STREAM], "stdout");
  if (sandbox.concurrency < 2 || (!out && !json_equals(f[STREAM], "stderr")))
    return runtime_break(r, "a log frame of a wrong form");
  struct invocation *i = NULL;
  if (f[ID].kind == '"') {
    i = in_flight(r, f[ID]);
    if (i == NULL) return runtime_break(r, "output of an invocation that is not in flight");
    if (i->cancelled) return;
  }
  if (len > 0) output_pass(i, r, out ? "stdout" : "stderr", body, len);
}

/* A whole frame. `own`: memory in which the body lies, to be freed or passed on; NULL: it lies in the reader. */
static void on_frame(struct runtime *r, const char *header, size_t header_len, unsigned char *body, size_t len, void *own) {
  struct slice f[FIELDS];
  if (!json_object(header, header_len, KEYS, f, FIELDS)) {
    runtime_break(r, "a header that is not JSON");
  } else if (json_equals(f[TYPE], "done")) {
    struct invocation *i = in_flight(r, f[ID]);
    if (i) return invocation_done(i, json_number(f[DURATION], 0), body, len, own);
    runtime_break(r, "the end of an invocation that is not in flight");
  } else if (json_equals(f[TYPE], "log")) {
    on_log(r, f, body, len);
  } else if (len > 0) {
    runtime_break(r, "a body where there is none");
  } else if (json_equals(f[TYPE], "failed")) {
    on_failed(r, f);
  } else if (json_equals(f[TYPE], "ready")) {
    if (r->state == LOADING && !r->forked) runtime_loaded(r);
    else runtime_break(r, "ready at a wrong time");
  } else if (json_equals(f[TYPE], "hello")) {
    bool expected = r->forked ? r->state == LOADING : r->state == BOOTING;
    if (expected && f[ENVIRONMENT].len < 256) runtime_up(r, f[ENVIRONMENT], f[FORK].kind == 't');
    else runtime_break(r, "hello at a wrong time");
  } else {
    runtime_break(r, "a frame of unknown type");
  }
  free(own);
}

/* `broken` too: one that has ended already is not killed any more. */
static bool deaf(struct runtime *r) { return r->killed || r->broken || r->state == SPENT || r->state == TEMPLATE; }

static void forget_frame(struct runtime *r) {
  free(r->header);
  free(r->body);
  r->header = NULL;
  r->body = NULL;
  r->body_len = r->body_have = 0;
}

static void collected(struct runtime *r) {
  char *header = r->header;
  unsigned char *body = r->body;
  r->header = NULL;
  r->body = NULL;
  on_frame(r, header, r->header_len, body, r->body_len, body);
  free(header);
}

/* The body is longer than what is in the reader: it is collected in memory of its own, at most `result_limit` bytes. */
static void collect(struct runtime *r, size_t header_len, size_t body_len, size_t here) {
  r->header = must_alloc(header_len);
  r->header_len = header_len;
  memcpy(r->header, reader_bytes(&r->in) + PREFIX, header_len);
  r->body = must_alloc(body_len);
  r->body_len = body_len;
  r->body_have = here;
  memcpy(r->body, reader_bytes(&r->in) + PREFIX + header_len, here);
  reader_consume(&r->in, PREFIX + header_len + here);
}

static void process(struct runtime *r) {
  size_t header_len, body_len;
  size_t limit = sandbox.result_limit > MAX_LOG ? sandbox.result_limit : MAX_LOG;
  for (;;) {
    if (deaf(r)) {
      if (r->state == TEMPLATE && !r->killed && reader_available(&r->in) > 0) runtime_break(r, "a frame of the template");
      reader_consume(&r->in, reader_available(&r->in));
      return;
    }
    int got = reader_header(&r->in, &header_len, &body_len);
    if (got == 0) return;
    if (got < 0 || body_len > limit) {
      runtime_break(r, "a frame that is too long");
      continue;
    }
    size_t here = reader_available(&r->in) - PREFIX - header_len;
    if (here < body_len) return collect(r, header_len, body_len, here);
    unsigned char *bytes = (unsigned char *)reader_bytes(&r->in);
    reader_consume(&r->in, PREFIX + header_len + body_len);
    on_frame(r, (char *)bytes + PREFIX, header_len, bytes + PREFIX + header_len, body_len, NULL);
  }
}

static void ended(struct runtime *r) {
  if (r->link_ended == 0) r->link_ended = now_ms();
}

void link_read(struct runtime *r) {
  while (r->body) {
    if (deaf(r)) return forget_frame(r);
    ssize_t got = recv(r->link, r->body + r->body_have, r->body_len - r->body_have, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return ended(r);
    r->body_have += (size_t)got;
    if (r->body_have == r->body_len) collected(r);
  }
  int pid = 0;
  enum fill filled = reader_fill(&r->in, r->link, r->forked && r->pid == 0 ? &pid : NULL);
  if (pid > 0) runtime_knows_pid(r, pid);
  if (filled == FILL_END) return ended(r);
  if (filled == FILL_SOME) process(r);
}

void link_drain(struct runtime *r) {
  int waiting = 0;
  if (r->link < 0 || ioctl(r->link, FIONREAD, &waiting) != 0) return;
  /* Descendants that hold the link might write on and on: only what is there now, read in steps of a full reader. */
  for (int i = 0; waiting > 0 && i < 1024 && r->link_ended == 0 && !deaf(r); i++) {
    link_read(r);
    if (ioctl(r->link, FIONREAD, &waiting) != 0) return;
  }
}

void link_free(struct runtime *r) {
  forget_frame(r);
  reader_free(&r->in);
  queue_free(&r->to);
  queue_free(&r->held);
  if (r->link >= 0) close(r->link);
  r->link = -1;
}
