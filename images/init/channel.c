#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "init.h"

#define FIRST_DELAY_MS 50
#define LAST_DELAY_MS 1000
/* A connection that lived shorter than this without a word was refused: the time as an orphan goes on. */
#define REFUSED_MS 1000
/* So much may wait for the daemon before output and results are not read any more. */
#define FULL (256u * 1024u)
#define MAX_SPARES 64
/* Forks that wait while calls come quickly: more would save little more. Each takes half a megabyte beside what it shares. */
#define MAX_FORKS 8
/* Of the sandbox's memory, and of its limit of tasks: a fork takes a small part of these. */
#define MEMORY_PER_FORK (8 * 1024 * 1024)
#define TASKS_PER_FORK 8

enum { TYPE, ID, VERSION, ISOLATION, CONCURRENCY, SPARES, RESULT_LIMIT, LOG_LIMIT, GRACE, MEMORY, FIELDS };
static const char *const KEYS[FIELDS] = {"type",        "id",     "version",     "isolation",
                                         "concurrency", "spares", "resultLimit", "logLimit",
                                         "graceMs",     "memoryBytes"};

static int dial(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/channel.sock", sandbox.dir);
  if (size < 0 || (size_t)size >= sizeof address.sun_path) end_sandbox(EXIT_USAGE, "the channel folder's path is too long");
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

static void connected(int fd) {
  sandbox.channel = fd;
  sandbox.dialled = now_ms();
  sandbox.heard = false;
  if (sandbox.greeted) channel_hello();
}

void channel_dial_first(void) {
  int fd = dial();
  if (fd < 0) end_sandbox(EXIT_DIAL, "the channel could not be dialled");
  connected(fd);
}

void channel_redial(void) {
  int64_t now = now_ms();
  if (sandbox.channel >= 0 || now < sandbox.redial_at) return;
  if (now - sandbox.lost_since >= sandbox.orphan_ms) end_sandbox(EXIT_ORPHANED, "no daemon for the time of orphanTimeout");
  int fd = dial();
  if (fd >= 0) return connected(fd);
  sandbox.redial_at = now + sandbox.redial_delay;
  sandbox.redial_delay = sandbox.redial_delay * 2 < LAST_DELAY_MS ? sandbox.redial_delay * 2 : LAST_DELAY_MS;
}

void channel_lost(void) {
  if (sandbox.channel < 0) return;
  close(sandbox.channel);
  sandbox.channel = -1;
  queue_free(&sandbox.to);
  reader_free(&sandbox.in);
  sandbox.body_left = 0;
  if (busy()) end_sandbox(EXIT_ORPHANED, "the channel was lost with work in hand");
  int64_t now = now_ms();
  if (sandbox.heard || now - sandbox.dialled >= REFUSED_MS || sandbox.lost_since == 0) {
    sandbox.lost_since = now;
    sandbox.redial_delay = FIRST_DELAY_MS;
  } else if (sandbox.redial_delay < LAST_DELAY_MS) {
    sandbox.redial_delay *= 2;
  }
  sandbox.redial_at = now + sandbox.redial_delay;
}

void channel_hello(void) {
  char header[2048];
  sandbox.greeted = true;
  sandbox.oom_told = 0;
  int size = snprintf(header, sizeof header,
                      "{\"type\":\"hello\",\"protocol\":%d,\"environment\":%s,\"sandbox\":%s,\"token\":%s,\"version\":%s,"
                      "\"used\":%s}",
                      PROTOCOL, sandbox.environment ? sandbox.environment : "null", sandbox.id, sandbox.token,
                      sandbox.loaded ? sandbox.version : "null", sandbox.used ? "true" : "false");
  if (size < 0 || (size_t)size >= sizeof header) end_sandbox(EXIT_USAGE, "a hello that is too long");
  channel_send(header, (size_t)size, NULL, 0, NULL);
}

void channel_send(const char *header, size_t header_len, const void *body, size_t body_len, void *own) {
  if (sandbox.channel < 0) {
    free(own);
    return;
  }
  /* A failed write is seen as the end of the connection by the next poll. */
  queue_frame(&sandbox.to, sandbox.channel, header, header_len, body, body_len, own);
}

void channel_flush(void) { queue_flush(&sandbox.to, sandbox.channel); }

bool channel_full(void) { return sandbox.to.bytes > FULL; }

static void set_spares(long long spares, long long memory) {
  long long most = MAX_FORKS, tasks = usage_tasks_limit();
  if (most > memory / MEMORY_PER_FORK) most = memory / MEMORY_PER_FORK;
  if (tasks > 0 && most > tasks / TASKS_PER_FORK) most = tasks / TASKS_PER_FORK;
  sandbox.spares = sandbox.ahead = spares < 1 ? 1 : spares > MAX_SPARES ? MAX_SPARES : (size_t)spares;
  sandbox.most_spares = most > (long long)sandbox.spares ? (size_t)most : sandbox.spares;
}

static void on_load(const char *header, size_t header_len, struct slice f[]) {
  struct runtime *r = sandbox.runtimes;
  if (sandbox.load_header || r == NULL || r->state != WAITING) end_sandbox(EXIT_PROTOCOL, "a load that is not possible now");
  if (f[VERSION].kind != '"' || f[VERSION].len > 512) end_sandbox(EXIT_PROTOCOL, "a load without version");
  if (json_equals(f[ISOLATION], "process")) sandbox.isolation = ISOLATION_PROCESS;
  else if (json_equals(f[ISOLATION], "shared")) sandbox.isolation = ISOLATION_SHARED;
  else if (json_equals(f[ISOLATION], "container")) sandbox.isolation = ISOLATION_CONTAINER;
  else end_sandbox(EXIT_PROTOCOL, "a load with an unknown isolation");
  long long concurrency = json_whole(f[CONCURRENCY], 1), spares = json_whole(f[SPARES], 1);
  sandbox.concurrency = sandbox.isolation == ISOLATION_SHARED && concurrency > 1 ? (size_t)concurrency : 1;
  set_spares(spares, json_whole(f[MEMORY], 0));
  long long limit = json_whole(f[RESULT_LIMIT], MAX_BODY);
  sandbox.result_limit = limit < (long long)MAX_BODY ? (size_t)limit : MAX_BODY;
  sandbox.log_limit = (size_t)json_whole(f[LOG_LIMIT], 0);
  sandbox.version = strndup(f[VERSION].at, f[VERSION].len);
  sandbox.load_header = must_alloc(header_len);
  memcpy(sandbox.load_header, header, header_len);
  sandbox.load_header_len = header_len;
  sandbox.load_started = (int64_t)(now_ms_exact() * 1000.0);
  sandbox.load_oom_before = usage_oom_kills();
  sandbox.loading = true;
  r->state = LOADING;
  runtime_tell_load(r);
}

/* Passes on what is here of a start frame: prefix, header and the beginning of the body are one piece of the reader. */
static void pass_start(struct slice id, size_t head, size_t body_len) {
  sandbox.body_to = invocation_start(id);
  size_t here = reader_available(&sandbox.in), whole = head + body_len, passed = here < whole ? here : whole;
  runtime_pass(sandbox.body_to, reader_bytes(&sandbox.in), passed);
  sandbox.body_left = whole - passed;
  reader_consume(&sandbox.in, passed);
}

static void pass_body(void) {
  size_t here = reader_available(&sandbox.in);
  size_t passed = here < sandbox.body_left ? here : sandbox.body_left;
  struct runtime *r = sandbox.body_to;
  /* What a slow runtime does not take waits in its queue, so that a cancel behind the event is still read. */
  if (r && !r->dead) runtime_pass(r, reader_bytes(&sandbox.in), passed);
  sandbox.body_left -= passed;
  reader_consume(&sandbox.in, passed);
}

/* False: the frame has to wait. */
static bool on_frame(size_t header_len, size_t body_len) {
  struct slice f[FIELDS];
  const char *header = (const char *)reader_bytes(&sandbox.in) + PREFIX;
  if (!json_object(header, header_len, KEYS, f, FIELDS)) end_sandbox(EXIT_PROTOCOL, "a header that is not JSON");
  if (json_equals(f[TYPE], "start")) {
    if (sandbox.cleaning) return false;
    sandbox.heard = true;
    pass_start(f[ID], PREFIX + header_len, body_len);
    return true;
  }
  sandbox.heard = true;
  if (body_len > 0) end_sandbox(EXIT_PROTOCOL, "a body where there is none");
  if (json_equals(f[TYPE], "cancel")) invocation_cancel(f[ID], json_whole(f[GRACE], 0));
  else if (json_equals(f[TYPE], "load")) on_load(header, header_len, f);
  else if (json_equals(f[TYPE], "stop")) end_sandbox(0, NULL);
  else end_sandbox(EXIT_PROTOCOL, "a frame of unknown type");
  reader_consume(&sandbox.in, PREFIX + header_len);
  return true;
}

void channel_process(void) {
  size_t header_len, body_len;
  while (sandbox.channel >= 0 && reader_available(&sandbox.in) > 0) {
    if (sandbox.body_left > 0) {
      pass_body();
      continue;
    }
    int got = reader_header(&sandbox.in, &header_len, &body_len);
    if (got < 0) end_sandbox(EXIT_PROTOCOL, "a frame that is too long");
    if (got == 0 || !on_frame(header_len, body_len)) return;
  }
}

void channel_read(void) {
  enum fill filled = reader_fill(&sandbox.in, sandbox.channel, NULL);
  if (filled == FILL_END) return channel_lost();
  if (filled == FILL_SOME) channel_process();
}
