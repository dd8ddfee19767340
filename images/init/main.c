#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

/* Signal, channel, and three for each runtime. */
#define MAX_POLLED 512

struct sandbox sandbox = {.dir = "/run/worker-front", .channel = -1, .concurrency = 1};

double now_ms_exact(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int64_t now_ms(void) { return (int64_t)now_ms_exact(); }

static void flush_for(int64_t ms) {
  int64_t until = now_ms() + ms;
  while (sandbox.to.head && now_ms() < until) {
    struct pollfd p = {sandbox.channel, POLLOUT, 0};
    if (poll(&p, 1, 100) < 0 && errno != EINTR) return;
    if (!queue_flush(&sandbox.to, sandbox.channel)) return;
  }
}

static void print_tails(void) {
  for (struct runtime *r = sandbox.runtimes; r; r = r->next)
    if (r->tail_len > 0) dprintf(2, "%.*s\n", (int)r->tail_len, r->tail);
}

void end_sandbox(int code, const char *bye) {
  static bool ending;
  if (ending) _exit(code);
  ending = true;
  if (bye) {
    char header[256];
    dprintf(2, "worker-front init: %s\n", bye);
    if (!sandbox.loaded) print_tails();
    int size = snprintf(header, sizeof header, "{\"type\":\"bye\",\"reason\":\"%s\"}", bye);
    if (sandbox.greeted) channel_send(header, (size_t)size, NULL, 0, NULL);
  }
  processes_kill_all();
  if (sandbox.channel >= 0) flush_for(2000);
  _exit(code);
}

static char *read_file(const char *path) {
  static char text[64 * 1024];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  if (fd >= 0) close(fd);
  if (got < 0) return NULL;
  text[got] = 0;
  return text;
}

static void read_settings(void) {
  static const char *const keys[] = {"protocol", "sandbox", "token", "orphanTimeout"};
  struct slice f[4];
  char path[4096];
  snprintf(path, sizeof path, "%s/sandbox.json", sandbox.dir);
  char *text = read_file(path);
  if (text == NULL || !json_object(text, strlen(text), keys, f, 4) || json_whole(f[0], 0) != PROTOCOL ||
      f[1].kind != '"' || f[1].len > 256 || f[2].kind != '"' || f[2].len > 512)
    end_sandbox(EXIT_USAGE, "sandbox.json is missing or wrong");
  sandbox.id = strndup(f[1].at, f[1].len);
  sandbox.token = strndup(f[2].at, f[2].len);
  sandbox.orphan_ms = (int64_t)(json_number(f[3], 30) * 1000);
}

static void read_arguments(char **arguments) {
  sandbox.process_one = getpid() == 1;
  if (sandbox.process_one) sandbox.tmp = "/tmp";
  for (; *arguments && strncmp(*arguments, "--", 2) == 0; arguments += 2) {
    const char **option = strcmp(*arguments, "--dir") == 0        ? &sandbox.dir
                          : strcmp(*arguments, "--function") == 0 ? &sandbox.function_dir
                          : strcmp(*arguments, "--tmp") == 0      ? &sandbox.tmp
                                                                  : NULL;
    if (option == NULL || arguments[1] == NULL || arguments[1][0] != '/')
      end_sandbox(EXIT_USAGE, "usage: init [--dir <folder>] [--function <folder>] [--tmp <folder>] <command> ...");
    *option = arguments[1];
  }
  if (*arguments == NULL) end_sandbox(EXIT_USAGE, "no runtime command");
  sandbox.command = arguments;
  if (sandbox.function_dir) setenv("WORKER_FRONT_FUNCTION_DIR", sandbox.function_dir, 1);
}

static int watch_signals(void) {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGINT);
  sigprocmask(SIG_SETMASK, &watched, NULL);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void on_signals(int fd) {
  struct signalfd_siginfo infos[4];
  ssize_t got;
  do {
    got = read(fd, infos, sizeof infos);
    for (ssize_t i = 0; i < got / (ssize_t)sizeof *infos; i++) {
      struct signalfd_siginfo info = infos[i];
      if (info.ssi_signo == SIGCHLD) continue;
      /* Only a sender outside the sandbox has no process id in here; the handler cannot stop its sandbox (or anything else) by a signal. */
      bool outside = info.ssi_code == SI_USER && info.ssi_pid == 0;
      if (outside || !sandbox.process_one) end_sandbox(0, NULL);
    }
  } while (got == (ssize_t)sizeof infos);
  processes_reap();
}

static int timeout(void) {
  int64_t now = now_ms(), next = runtimes_next(), other = invocations_next();
  if (other < next) next = other;
  if (sandbox.channel < 0 && sandbox.redial_at < next) next = sandbox.redial_at;
  if (next == INT64_MAX) return -1;
  return next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
}

static void one_turn(int signals) {
  static struct pollfd polled[MAX_POLLED];
  struct runtime *owners[MAX_POLLED];
  size_t count = 2;
  bool room = !channel_full();
  polled[0] = (struct pollfd){signals, POLLIN, 0};
  /* While left-overs are cleaned up the next start waits in the socket. */
  polled[1] = (struct pollfd){sandbox.cleaning ? -1 : sandbox.channel, (short)(POLLIN | (sandbox.to.head ? POLLOUT : 0)), 0};
  for (struct runtime *r = sandbox.runtimes; r && count + 3 <= MAX_POLLED; r = r->next) {
    owners[count] = owners[count + 1] = owners[count + 2] = r;
    /* A fork that waits runs no code of the function yet: its output is looked at when it gets an invocation. */
    bool silent = !room || (r->forked && r->in_flight == 0 && r->state != SPENT);
    polled[count++] = (struct pollfd){silent ? -1 : r->out, POLLIN, 0};
    polled[count++] = (struct pollfd){silent ? -1 : r->err, POLLIN, 0};
    short events = (short)((room ? POLLIN : 0) | (r->to.head ? POLLOUT : 0));
    polled[count++] = (struct pollfd){events && !r->link_ended && !r->dead ? r->link : -1, events, 0};
  }
  if (poll(polled, count, timeout()) < 0 && errno != EINTR) end_sandbox(EXIT_PROTOCOL, "poll failed");
  if (polled[0].revents) on_signals(signals);
  /* Nothing in this turn frees a runtime before runtimes_bury. */
  for (size_t i = 2; i < count; i += 3) {
    struct runtime *r = owners[i];
    if (polled[i].revents && r->out >= 0) output_read(r, &r->out, "stdout");
    if (polled[i + 1].revents && r->err >= 0) output_read(r, &r->err, "stderr");
    if (polled[i + 2].revents & POLLOUT) queue_flush(&r->to, r->link);
    if (polled[i + 2].revents & (POLLIN | POLLHUP | POLLERR) && room) link_read(r);
  }
  runtimes_bury();
  if (polled[1].revents & POLLOUT) channel_flush();
  if (polled[1].revents & (POLLIN | POLLHUP | POLLERR) && !sandbox.cleaning) channel_read();
  int64_t now = now_ms();
  invocations_tick(now);
  runtimes_tick(now);
  if (!sandbox.cleaning) channel_process();
  channel_redial();
}

int main(int argc, char **argv) {
  (void)argc;
  if (argv[1] && strcmp(argv[1], "--exec") == 0 && argv[2]) process_exec(argv + 2);
  if (argv[1] && strcmp(argv[1], "--hold") == 0 && argv[2]) hold(sandbox.dir, argv[2]);
  read_arguments(argv + 1);
  prctl(PR_SET_DUMPABLE, 0);
  /* Buffers come and go with each process: their memory is not given back to the kernel in between. */
  mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int signals = watch_signals();
  read_settings();
  usage_open();
  runtime_start();
  channel_dial_first();
  for (;;) one_turn(signals);
}
