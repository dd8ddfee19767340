#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

/* Between the end of a link and the end of its process. The kernel needs microseconds. */
#define LINK_GRACE_MS 50
/* A template that has not forked by then hangs. */
#define FORK_MS 5000
#define CLEAN_MS 2000
/* Forks in one frame. */
#define MAX_BATCH 16
/* Calls with shorter pauses come quickly: they find more forks. */
#define QUICK_MS 100
/* After this time without a call there are as many spares as `load` says. */
#define CALM_MS 500

void spare_failed(void) {
  if (sandbox.spare_failures < 6) sandbox.spare_failures++;
  sandbox.spare_after = now_ms() + (50 << sandbox.spare_failures);
}

/* Whether it can serve: the invocations before may have killed or stopped it. */
static bool fit(struct runtime *r) {
  if (r->pid == 0) return true;
  if (process_dying(r->pid)) {
    r->killed = true;
    return false;
  }
  kill(r->pid, SIGCONT);
  return true;
}

/* So many new runtimes, forks of the template; fewer, also none, when they cannot be made now. */
static size_t fork_template(size_t count) {
  static const char frame[] = "\x0f\0\0\0\0\0\0\0{\"type\":\"fork\"}";
  int theirs[3 * MAX_BATCH], on = 1;
  struct runtime *t = sandbox.template, *made[MAX_BATCH];
  if (t == NULL || t->dead || t->killed || t->to.head || !fit(t)) return 0;
  size_t got = 0;
  for (; got < count && got < MAX_BATCH; got++) {
    struct runtime *r = made[got] = runtime_add(theirs + 3 * got);
    if (r == NULL) break;
    r->state = LOADING;
    r->forked = true;
    setsockopt(r->link, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  }
  if (got == 0) return 0;
  char control[CMSG_SPACE(sizeof theirs)] = {0};
  size_t size = 3 * got * sizeof(int);
  struct iovec part = {(void *)frame, sizeof frame - 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(size)};
  struct cmsghdr *c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(c), theirs, size);
  bool sent = sendmsg(t->link, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)part.iov_len;
  for (size_t i = 0; i < got; i++) {
    close_three(theirs + 3 * i);
    if (!sent) made[i]->dead = true;
  }
  if (!sent) runtime_kill(t);
  return got;
}

static bool spare(const struct runtime *r) {
  bool usable = r->in_flight == 0 && !r->dead && !r->killed;
  return usable && (r->state == READY || ((r->state == BOOTING || r->state == LOADING) && r->told) || (r->forked && r->state == LOADING));
}

/* The one that is ready first. */
static struct runtime *best_spare(void) {
  struct runtime *best = NULL;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next)
    if (spare(r) && (best == NULL || r->state > best->state)) best = r;
  return best;
}

struct runtime *runtime_for_start(void) {
  if (sandbox.isolation != ISOLATION_PROCESS) {
    for (struct runtime *r = sandbox.runtimes; r; r = r->next)
      if (r->state == READY) return r;
    end_sandbox(EXIT_RUNTIME, "the runtime has ended");
  }
  if (sandbox.can_fork && now_ms() - sandbox.last_ended < QUICK_MS) {
    sandbox.ahead *= 2;
    if (sandbox.ahead > sandbox.most_spares) sandbox.ahead = sandbox.most_spares;
  }
  struct runtime *best;
  while ((best = best_spare()) != NULL && !fit(best)) continue;
  if (best == NULL && fork_template(1) > 0) best = best_spare();
  return best ? best : runtime_start();
}

void runtime_spent(struct runtime *r) {
  r->state = SPENT;
  sandbox.last_ended = now_ms();
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
  bool found = !processes_are_known() && processes_kill_strangers(sandbox.clean_rounds++ > 3) > 0;
  /* The search may have found that a spare is dying. */
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) found = found || (r->killed && !r->dead);
  if (!found) {
    clean_left_overs();
    sandbox.cleaning = false;
    return;
  }
  sandbox.clean_next = now + 1;
}

/* The template forks itself once for each frame and once for each fork: while calls come quickly, several are made at once. */
static void prepare_forks(size_t have) {
  size_t low = sandbox.ahead > sandbox.spares ? (sandbox.ahead + 3) / 4 : sandbox.ahead - 1;
  if (have <= low) fork_template(sandbox.ahead - have);
}

static bool may_calm_down(void) {
  return sandbox.ahead > sandbox.spares && sandbox.invocations == NULL && !sandbox.cleaning;
}

static void calm_down(int64_t now) {
  if (!may_calm_down() || now - sandbox.last_ended < CALM_MS) return;
  size_t kept = 0;
  sandbox.ahead = sandbox.spares;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next)
    if (spare(r) && ++kept > sandbox.spares && r->pid > 0) runtime_kill(r);
}

static void prepare_spares(int64_t now) {
  if (sandbox.isolation != ISOLATION_PROCESS || !sandbox.loaded || sandbox.cleaning || sandbox.invocations) return;
  if (now < sandbox.spare_after) return;
  size_t have = 0, booting = 0;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) {
    if (spare(r)) have++;
    if (!r->forked && !r->dead && (r->state == BOOTING || r->state == LOADING)) booting++;
  }
  if (sandbox.can_fork && sandbox.template) {
    prepare_forks(have);
  } else if (booting == 0 && (have < sandbox.spares || sandbox.can_fork)) {
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
  calm_down(now);
  prepare_spares(now);
}

int64_t runtimes_next(void) {
  int64_t next = sandbox.cleaning ? sandbox.clean_next : INT64_MAX;
  if (sandbox.spare_after > now_ms() && sandbox.spare_after < next) next = sandbox.spare_after;
  if (may_calm_down() && sandbox.last_ended + CALM_MS < next) next = sandbox.last_ended + CALM_MS;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) {
    if (r->dead) return 0;
    if (r->link_ended && !r->killed && r->link_ended + LINK_GRACE_MS < next) next = r->link_ended + LINK_GRACE_MS;
    if (r->forked && r->pid == 0 && r->started + FORK_MS < next) next = r->started + FORK_MS;
  }
  return next;
}
