#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "init.h"

/* A cancelled invocation is answered after this time even when its process cannot die (a hanging disk). */
#define CANCEL_MS 80
/* Beyond the concurrency: invocations that were cancelled while the runtime goes on with them. */
#define MAX_ABANDONED 1024

struct invocation *invocation_find(const char *id, size_t len) {
  for (struct invocation *i = sandbox.invocations; i; i = i->next)
    if (strlen(i->id) == len && memcmp(i->id, id, len) == 0) return i;
  return NULL;
}

bool busy(void) { return sandbox.invocations != NULL || sandbox.loading; }

static bool valid_id(struct slice id) {
  if (id.kind != '"' || id.len < 3 || id.len > ID_MAX + 2) return false;
  for (size_t i = 1; i + 1 < id.len; i++) {
    char c = id.at[i];
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!good) return false;
  }
  return true;
}

/* Kills for memory so far, without those that this runtime is dying of: they are the next invocation's. -1: unknown. */
static long long settled_kills(const struct runtime *r) {
  long long kills = usage_oom_kills();
  if (kills > sandbox.oom_seen && process_dying(r->pid)) return sandbox.oom_seen;
  if (kills >= 0) sandbox.oom_seen = kills;
  return kills;
}

/* The daemon counts by itself when the sandbox is lost: it has to know of kills that no invocation was told of. */
static void begin_counting(struct invocation *i) {
  char header[160];
  i->oom_before = settled_kills(i->runtime);
  if (i->oom_before < 0 || i->oom_before == sandbox.oom_told) return;
  sandbox.oom_told = i->oom_before;
  int size = snprintf(header, sizeof header, "{\"type\":\"begin\",\"id\":\"%s\",\"oomKills\":%lld}", i->id, i->oom_before);
  channel_send(header, (size_t)size, NULL, 0, NULL);
}

struct runtime *invocation_start(struct slice id) {
  size_t alive = 0, all = 0;
  for (struct invocation *i = sandbox.invocations; i; i = i->next) {
    all++;
    if (!i->cancelled) alive++;
  }
  if (!sandbox.loaded || !valid_id(id) || invocation_find(id.at + 1, id.len - 2) || alive >= sandbox.concurrency ||
      all >= sandbox.concurrency + MAX_ABANDONED)
    end_sandbox(EXIT_PROTOCOL, "a start that is not possible now");
  struct runtime *r = runtime_for_start();
  if (r->in_flight == 0 && r->state == READY) {
    /* What was printed between two invocations is no invocation's. */
    output_drain(r);
    output_account(NULL, r);
    r->tail_len = 0;
  }
  struct invocation *i = calloc(1, sizeof *i);
  if (i == NULL) end_sandbox(EXIT_PROTOCOL, "no memory");
  memcpy(i->id, id.at + 1, id.len - 2);
  i->runtime = r;
  i->started = now_ms();
  begin_counting(i);
  i->next = sandbox.invocations;
  sandbox.invocations = i;
  sandbox.used = true;
  r->in_flight++;
  r->idle_sent = 0;
  return r;
}

static void remove_invocation(struct invocation *i) {
  struct invocation **at = &sandbox.invocations;
  while (*at != i) at = &(*at)->next;
  *at = i->next;
  i->runtime->in_flight--;
  settled_kills(i->runtime);
  free(i);
}

/* `,"oomKills":..,"peakBytes":..` */
static int format_usage(char *text, size_t size, long long before) {
  long long kills = usage_oom_kills(), peak = usage_peak_bytes();
  int len = kills < 0 || before < 0 ? snprintf(text, size, ",\"oomKills\":null")
                                    : snprintf(text, size, ",\"oomKills\":%lld", kills - before);
  len += peak < 0 ? snprintf(text + len, size - (size_t)len, ",\"peakBytes\":null")
                  : snprintf(text + len, size - (size_t)len, ",\"peakBytes\":%lld", peak);
  return len;
}

static void finish(struct invocation *i) {
  struct runtime *r = i->runtime;
  remove_invocation(i);
  if (sandbox.isolation == ISOLATION_PROCESS) runtime_spent(r);
}

void invocation_done(struct invocation *i, double duration, void *body, size_t len, void *own) {
  output_drain(i->runtime);
  if (i->cancelled) {
    free(own);
    remove_invocation(i);
    return;
  }
  output_account(i, i->runtime);
  char header[256], usage[96];
  format_usage(usage, sizeof usage, i->oom_before);
  if (!(duration >= 0 && duration < 1e12)) duration = 0;
  int size = snprintf(header, sizeof header, "{\"type\":\"done\",\"id\":\"%s\",\"durationMs\":%.3f%s}", i->id, duration, usage);
  channel_send(header, (size_t)size, body, len, own);
  finish(i);
}

static void print_slice(FILE *out, const char *key, struct slice value) {
  if (value.len > 0) fprintf(out, ",\"%s\":%.*s", key, (int)value.len, value.at);
  else fprintf(out, ",\"%s\":null", key);
}

static void send_failed(const char *id, const struct failure *f, long long oom_before) {
  char *text = NULL, usage[96];
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  if (out == NULL) end_sandbox(EXIT_PROTOCOL, "no memory");
  fprintf(out, "{\"type\":\"failed\"");
  if (id) fprintf(out, ",\"id\":\"%s\"", id);
  else fprintf(out, ",\"id\":null");
  fprintf(out, ",\"kind\":\"%s\"", f->kind);
  print_slice(out, "errorType", f->error_type);
  if (f->plain_message) fprintf(out, ",\"message\":\"%s\"", f->plain_message);
  else print_slice(out, "message", f->message);
  print_slice(out, "trace", f->trace);
  if (f->exit_code >= 0) fprintf(out, ",\"exitCode\":%d", f->exit_code);
  else fprintf(out, ",\"exitCode\":null");
  if (f->signal) fprintf(out, ",\"signal\":\"%s\"", f->signal);
  else fprintf(out, ",\"signal\":null");
  if (f->duration >= 0 && f->duration < 1e12) fprintf(out, ",\"durationMs\":%.3f", f->duration);
  else fprintf(out, ",\"durationMs\":null");
  format_usage(usage, sizeof usage, oom_before);
  fprintf(out, "%s}", usage);
  fclose(out);
  channel_send(text, len, NULL, 0, NULL);
  free(text);
}

void invocation_failed(struct invocation *i, const struct failure *failure) {
  output_drain(i->runtime);
  if (i->cancelled && sandbox.concurrency > 1) {
    remove_invocation(i);
    return;
  }
  output_account(i, i->runtime);
  send_failed(i->id, failure, i->oom_before);
  finish(i);
}

void load_failed(const struct failure *failure, const char *bye) {
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) {
    output_drain(r);
    output_account(NULL, r);
  }
  send_failed(NULL, failure, sandbox.load_oom_before);
  end_sandbox(EXIT_RUNTIME, bye);
}

static void answer_cancelled(struct invocation *i) {
  struct failure failure = {.kind = "timeout", .exit_code = -1, .duration = (double)(now_ms() - i->started)};
  invocation_failed(i, &failure);
}

void invocations_died(struct runtime *r) {
  char message[256];
  struct failure failure;
  for (struct invocation *i = sandbox.invocations, *next; i; i = next) {
    next = i->next;
    if (i->runtime != r) continue;
    if (i->cancelled) {
      answer_cancelled(i);
      continue;
    }
    runtime_death(r, &failure, message);
    failure.duration = (double)(now_ms() - i->started);
    invocation_failed(i, &failure);
  }
}

/* Ends it now: with a concurrency of 1 it is all that its runtime does. */
static void kill_cancelled(struct invocation *i) {
  i->cancelled = true;
  i->kill_at = 0;
  i->cancel_answer = now_ms() + CANCEL_MS;
  runtime_kill(i->runtime);
  if (sandbox.isolation == ISOLATION_PROCESS) processes_kill_strangers(false);
  else processes_kill_all();
}

void invocation_cancel(struct slice id, long long grace) {
  struct invocation *i = valid_id(id) ? invocation_find(id.at + 1, id.len - 2) : NULL;
  if (i == NULL || i->cancelled) return;
  if (sandbox.concurrency > 1) {
    output_drain(i->runtime);
    output_account(i, i->runtime);
    struct failure failure = {.kind = "timeout", .exit_code = -1, .duration = (double)(now_ms() - i->started)};
    send_failed(i->id, &failure, i->oom_before);
    i->cancelled = true;
    return;
  }
  if (grace <= 0) {
    kill_cancelled(i);
  } else if (i->kill_at == 0) {
    i->kill_at = now_ms() + grace;
    if (i->runtime->pid > 0) kill(i->runtime->pid, SIGTERM);
  }
}

void invocations_tick(int64_t now) {
  for (struct invocation *i = sandbox.invocations, *next; i; i = next) {
    next = i->next;
    if (i->kill_at != 0 && now >= i->kill_at) kill_cancelled(i);
    if (i->cancel_answer == 0 || now < i->cancel_answer) continue;
    answer_cancelled(i);
    /* With process isolation the next start waits until it has died (spares.c). */
    if (sandbox.isolation != ISOLATION_PROCESS) end_sandbox(EXIT_RUNTIME, "a process could not be ended");
  }
}

int64_t invocations_next(void) {
  int64_t next = INT64_MAX;
  for (struct invocation *i = sandbox.invocations; i; i = i->next)
    if (i->cancel_answer != 0 && i->cancel_answer < next) next = i->cancel_answer;
    else if (i->kill_at != 0 && i->kill_at < next) next = i->kill_at;
  return next;
}
