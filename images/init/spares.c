#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

/* Between the end of a link and the end of its process. The kernel needs microseconds. */
#define LINK_GRACE_MS 50
/* A template that has not forked by then hangs. */
#define FORK_MS 5000
#define CLEAN_MS 2000
#define MAX_SPARES 64

void spare_failed(void) {
  if (sandbox.spare_failures < 6) sandbox.spare_failures++;
  sandbox.spare_after = now_ms() + (50 << sandbox.spare_failures);
}

static struct runtime *fork_template(void) {
  static const char frame[] = "\x0f\0\0\0\0\0\0\0{\"type\":\"fork\"}";
  int theirs[3], on = 1;
  struct runtime *t = sandbox.template;
  if (t == NULL || t->dead || t->killed || t->to.head) return NULL;
  struct runtime *r = runtime_add(theirs);
  if (r == NULL) return NULL;
  r->state = LOADING;
  r->forked = true;
  setsockopt(r->link, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  char control[CMSG_SPACE(3 * sizeof(int))] = {0};
  struct iovec part = {(void *)frame, sizeof frame - 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(3 * sizeof(int));
  memcpy(CMSG_DATA(c), theirs, 3 * sizeof(int));
  bool sent = sendmsg(t->link, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)part.iov_len;
  close_three(theirs);
  if (!sent) {
    runtime_kill(t);
    r->dead = true;
  }
  return r;
}

static bool spare(const struct runtime *r) {
  bool usable = r->in_flight == 0 && !r->dead && !r->killed;
  return usable && (r->state == READY || ((r->state == BOOTING || r->state == LOADING) && r->told) || (r->forked && r->state == LOADING));
}

struct runtime *runtime_for_start(void) {
  if (sandbox.isolation != ISOLATION_PROCESS) {
    for (struct runtime *r = sandbox.runtimes; r; r = r->next)
      if (r->state == READY) return r;
    end_sandbox(EXIT_RUNTIME, "the runtime has ended");
  }
  struct runtime *best = NULL;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next)
    if (spare(r) && (best == NULL || r->state > best->state)) best = r;
  if (best == NULL) best = fork_template();
  return best ? best : runtime_start();
}

void runtime_spent(struct runtime *r) {
  r->state = SPENT;
  runtime_kill(r);
  if (sandbox.cleaning) return;
  sandbox.cleaning = true;
  sandbox.clean_started = now_ms();
  sandbox.clean_next = 0;
  sandbox.clean_rounds = 0;
}

static void clean(int64_t now) {
  if (now - sandbox.clean_started > CLEAN_MS) end_sandbox(EXIT_RUNTIME, "left-over processes could not be ended");
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) {
    /* A fork on its way cannot be told from a stranger before its hello. */
    bool forking = r->forked && r->pid == 0 && !r->dead && now - sandbox.clean_started < 500;
    if (forking || ((r->killed || r->state == SPENT) && !r->dead)) {
      sandbox.clean_next = now + 2;
      return;
    }
  }
  bool found = processes_kill_strangers(sandbox.clean_rounds++ > 3) > 0;
  /* The search may have found that a spare is dying. */
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) found = found || (r->killed && !r->dead);
  if (!found) {
    clean_left_overs();
    sandbox.cleaning = false;
    return;
  }
  sandbox.clean_next = now + 1;
}

static void prepare_spares(int64_t now) {
  if (sandbox.isolation != ISOLATION_PROCESS || !sandbox.loaded || sandbox.cleaning || sandbox.invocations) return;
  if (now < sandbox.spare_after) return;
  size_t have = 0, booting = 0, wanted = sandbox.spares < MAX_SPARES ? sandbox.spares : MAX_SPARES;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) {
    if (spare(r)) have++;
    if (!r->forked && !r->dead && (r->state == BOOTING || r->state == LOADING)) booting++;
  }
  if (sandbox.can_fork && sandbox.template) {
    for (; have < wanted; have++)
      if (fork_template() == NULL) return;
  } else if (booting == 0 && (have < wanted || sandbox.can_fork)) {
    /* One at a time: several starts at once only take the CPU from each other. */
    runtime_start();
  }
}

void runtimes_tick(int64_t now) {
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) {
    if (r->dead) continue;
    if (r->link_ended && now - r->link_ended >= LINK_GRACE_MS && !r->killed) runtime_break(r, "it was closed");
    if (r->forked && r->pid == 0 && now - r->started > FORK_MS) {
      if (sandbox.template) runtime_kill(sandbox.template);
      runtime_kill(r);
    }
  }
  if (sandbox.cleaning && now >= sandbox.clean_next) clean(now);
  prepare_spares(now);
}

int64_t runtimes_next(void) {
  int64_t next = sandbox.cleaning ? sandbox.clean_next : INT64_MAX;
  if (sandbox.spare_after > now_ms() && sandbox.spare_after < next) next = sandbox.spare_after;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) {
    if (r->dead) return 0;
    if (r->link_ended && !r->killed && r->link_ended + LINK_GRACE_MS < next) next = r->link_ended + LINK_GRACE_MS;
    if (r->forked && r->pid == 0 && r->started + FORK_MS < next) next = r->started + FORK_MS;
  }
  return next;
}
