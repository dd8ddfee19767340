#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"


/* Children that ended before they were known by their process id: a fork may die before its hello is read. */
static struct {
  pid_t pid;
  int status;
} unknown[32];
static size_t unknown_next;

struct runtime *runtime_add(int theirs[3]) {
  int link[2], out[2], err[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) != 0) return NULL;
  if (pipe2(out, O_CLOEXEC) != 0) {
    close(link[0]), close(link[1]);
    return NULL;
  }
  if (pipe2(err, O_CLOEXEC) != 0) {
    close(link[0]), close(link[1]), close(out[0]), close(out[1]);
    return NULL;
  }
  fcntl(out[0], F_SETFL, O_NONBLOCK);
  fcntl(err[0], F_SETFL, O_NONBLOCK);
  struct runtime *r = calloc(1, sizeof *r);
  if (r == NULL) end_sandbox(EXIT_PROTOCOL, "no memory");
  r->link = link[0], r->out = out[0], r->err = err[0];
  theirs[0] = link[1], theirs[1] = out[1], theirs[2] = err[1];
  r->started = now_ms();
  r->next = sandbox.runtimes;
  sandbox.runtimes = r;
  return r;
}

void close_three(int fds[3]) {
  for (int i = 0; i < 3; i++) close(fds[i]);
}

struct runtime *runtime_start(void) {
  int theirs[3];
  struct runtime *r = runtime_add(theirs);
  if (r == NULL) end_sandbox(EXIT_RUNTIME, "no descriptors for a runtime");
  r->state = BOOTING;
  r->pid = process_start(sandbox.command, theirs[0], theirs[1], theirs[2]);
  close_three(theirs);
  if (r->pid < 0) {
    r->pid = 0;
    r->dead = true;
  } else if (sandbox.load_header) {
    runtime_tell_load(r);
  }
  return r;
}

void runtime_tell_load(struct runtime *r) {
  r->told = true;
  queue_frame(&r->to, r->link, sandbox.load_header, sandbox.load_header_len, NULL, 0, NULL);
}

void runtime_up(struct runtime *r, struct slice environment, bool can_fork) {
  if (r->forked) return runtime_loaded(r);
  r->state = r->told ? LOADING : WAITING;
  if (sandbox.greeted) return;
  sandbox.can_fork = can_fork;
  if (environment.kind == '"') sandbox.environment = strndup(environment.at, environment.len);
  channel_hello();
}

void runtime_pass(struct runtime *r, const void *data, size_t len) {
  /* Not before `ready`, so that what loading prints is never taken for the invocation's. A fork has loaded already. */
  bool waits = !r->forked && r->state != READY;
  if (waits) queue_hold(&r->held, data, len);
  else queue_bytes(&r->to, r->link, data, len);
}

void runtime_loaded(struct runtime *r) {
  if (!r->forked) output_drain(r);
  r->tail_len = 0;
  r->state = READY;
  if (r->held.head) {
    output_account(NULL, r);
    queue_move(&r->to, &r->held);
    queue_flush(&r->to, r->link);
  }
  sandbox.spare_failures = 0;
  if (sandbox.isolation == ISOLATION_PROCESS && sandbox.can_fork && !r->forked && r->in_flight == 0) {
    r->state = TEMPLATE;
    sandbox.template = r;
  }
  if (!sandbox.loading) return;
  sandbox.loading = false;
  sandbox.loaded = true;
  output_account(NULL, r);
  r->idle_sent = 0;
  char header[96];
  int size = snprintf(header, sizeof header, "{\"type\":\"ready\",\"initMs\":%.3f}",
                      now_ms_exact() - (double)sandbox.load_started / 1000.0);
  channel_send(header, (size_t)size, NULL, 0, NULL);
}

void runtime_load_failed(struct runtime *r, struct failure *failure) {
  if (sandbox.loading) load_failed(failure, "the handler does not load");
  runtime_kill(r);
  spare_failed();
  for (struct invocation *i = sandbox.invocations, *next; i; i = next) {
    next = i->next;
    if (i->runtime == r) invocation_failed(i, failure);
  }
}

void runtime_reaped(pid_t pid, int status) {
  sandbox.clean_next = 0;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) {
    if (r->pid != pid || r->dead) continue;
    r->dead = r->status_known = true;
    r->status = status;
    return;
  }
  unknown[unknown_next].pid = pid;
  unknown[unknown_next].status = status;
  unknown_next = (unknown_next + 1) % (sizeof unknown / sizeof *unknown);
}

void runtime_knows_pid(struct runtime *r, pid_t pid) {
  r->pid = pid;
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
    if (unknown[i].pid != pid) continue;
    r->dead = r->status_known = true;
    r->status = unknown[i].status;
    unknown[i].pid = 0;
  }
}

void runtime_kill(struct runtime *r) {
  if (r->dead) return;
  r->killed = true;
  if (r->pid > 0) kill(r->pid, SIGKILL);
  else r->dead = true;
}

void runtime_break(struct runtime *r, const char *what) {
  if (r->broken == NULL) r->broken = what;
  runtime_kill(r);
}

static bool heap_exhausted(const struct runtime *r) {
  static const char *const signs[] = {"JavaScript heap out of memory", "java.lang.OutOfMemoryError"};
  for (size_t i = 0; i < 2; i++)
    if (memmem(r->tail, r->tail_len, signs[i], strlen(signs[i]))) return true;
  return false;
}

void runtime_death(const struct runtime *r, struct failure *f, char message[256]) {
  *f = (struct failure){.kind = "exit", .exit_code = -1, .duration = -1, .plain_message = message};
  if (r->status_known && WIFEXITED(r->status)) {
    f->exit_code = WEXITSTATUS(r->status);
    snprintf(message, 256, "the process exited with code %d", f->exit_code);
  } else if (r->status_known && WIFSIGNALED(r->status)) {
    f->signal = signal_name(WTERMSIG(r->status));
    snprintf(message, 256, "the process was ended by %s", f->signal);
  } else {
    snprintf(message, 256, "the process ended");
  }
  if (r->broken) {
    snprintf(message, 256, "the process was ended because it broke the link to its supervisor: %s", r->broken);
  } else if ((f->signal || f->exit_code > 0) && heap_exhausted(r)) {
    f->kind = "memory";
    snprintf(message, 256, "the heap of the language is exhausted");
  }
}

static void bury(struct runtime *r) {
  char message[256];
  struct failure failure;
  link_drain(r);
  bool first = !sandbox.greeted || sandbox.loading || !sandbox.loaded;
  bool failed_early = r->state == BOOTING || (r->state == LOADING && !r->killed) || r->state == TEMPLATE;
  if (first) {
    runtime_death(r, &failure, message);
    if (!sandbox.greeted) channel_hello();
    load_failed(&failure, "the runtime ended before the handler was loaded");
  }
  invocations_died(r);
  output_drain(r);
  output_account(NULL, r);
  if (sandbox.isolation != ISOLATION_PROCESS)
    end_sandbox(EXIT_RUNTIME, r->broken ? "the runtime broke its link" : "the runtime has ended");
  if (failed_early) spare_failed();
  struct runtime **at = &sandbox.runtimes;
  while (*at != r) at = &(*at)->next;
  *at = r->next;
  if (sandbox.template == r) sandbox.template = NULL;
  if (sandbox.body_to == r) sandbox.body_to = NULL;
  link_free(r);
  if (r->out >= 0) close(r->out);
  if (r->err >= 0) close(r->err);
  free(r);
}

void runtimes_bury(void) {
  for (struct runtime *r = sandbox.runtimes, *next; r; r = next) {
    next = r->next;
    if (r->dead) bury(r);
  }
}

