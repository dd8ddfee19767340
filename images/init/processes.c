#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

#define MAX_PROCESSES 65536
#define PF_EXITING 0x4u

struct process {
  pid_t pid, parent;
  char state;
  bool dying; /* SIGKILL has reached it, though it is still there */
  bool kept, ours, judged;
};

pid_t process_start(char **command, int link, int out, int err) {
  size_t count = 0;
  while (command[count]) count++;
  char **arguments = must_alloc((count + 3) * sizeof *arguments);
  arguments[0] = "init";
  arguments[1] = "--exec";
  memcpy(arguments + 2, command, (count + 1) * sizeof *arguments);
  pid_t pid = fork();
  if (pid != 0) {
    free(arguments);
    return pid;
  }
  setsid();
  /* First out of the way of 0 to 3, then there: no order of the descriptors can overwrite one. */
  int fds[4] = {open("/dev/null", O_RDONLY | O_CLOEXEC), out, err, link};
  for (int i = 0; i < 4; i++) fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
  for (int i = 0; i < 4; i++)
    if (dup2(fds[i], i) != i) _exit(126);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  /* Not the runtime itself: this process is not dumpable, so it may not write its own oom_score_adj before an exec. */
  execv("/proc/self/exe", arguments);
  dprintf(2, "worker-front: cannot run init again: %s\n", strerror(errno));
  _exit(127);
}

void process_exec(char **command) {
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "1000", 4) != 4) dprintf(2, "worker-front: oom_score_adj stays as it is\n");
  if (fd >= 0) close(fd);
  /* For languages that cannot change their working directory. The folder may be missing: then loading says so. */
  const char *folder = getenv("WORKER_FRONT_FUNCTION_DIR");
  char code[4096];
  snprintf(code, sizeof code, "%s/code", folder ? folder : "/function");
  if (chdir(code) != 0 && chdir("/") != 0) _exit(126);
  execvp(command[0], command);
  dprintf(2, "worker-front: cannot run %s: %s\n", command[0], strerror(errno));
  _exit(127);
}

static bool read_process(pid_t pid, struct process *p) {
  char path[32], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0) return false;
  text[got] = 0;
  /* The name may hold anything, also ") R 1": what follows its last bracket counts. */
  char *after = strrchr(text, ')');
  int parent;
  unsigned int flags = 0;
  unsigned long long pending = 0;
  if (after == NULL) return false;
  /* proc(5): state, ppid, then flags (9) and pending signals (31). */
  int got_fields = sscanf(after, ") %c %d %*s %*s %*s %*s %u %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                          "%*s %*s %*s %*s %*s %llu", &p->state, &parent, &flags, &pending);
  if (got_fields < 2) return false;
  p->dying = p->state == 'Z' || p->state == 'X' || (flags & PF_EXITING) || (pending & (1ull << (SIGKILL - 1)));
  p->pid = pid;
  p->parent = parent;
  p->kept = p->ours = p->judged = false;
  return true;
}

bool process_dying(pid_t pid) {
  struct process p;
  return pid > 0 && (!read_process(pid, &p) || p.dying);
}

static size_t list_processes(struct process **list) {
  static struct process *processes;
  static size_t cap;
  size_t count = 0;
  DIR *folder = opendir("/proc");
  if (folder == NULL) return 0;
  struct dirent *entry;
  while ((entry = readdir(folder)) != NULL && count < MAX_PROCESSES) {
    int pid = atoi(entry->d_name);
    if (pid <= 1 || pid == getpid()) continue;
    if (count == cap) {
      cap = cap ? cap * 2 : 256;
      processes = realloc(processes, cap * sizeof *processes);
      if (processes == NULL) end_sandbox(EXIT_PROTOCOL, "no memory to list processes");
    }
    if (read_process(pid, &processes[count])) count++;
  }
  closedir(folder);
  *list = processes;
  return count;
}

static bool is_kept_root(pid_t pid) {
  for (struct runtime *r = sandbox.runtimes; r; r = r->next)
    if (r->pid == pid && !r->dead && !r->killed && r->state != SPENT) return true;
  return false;
}

/* A spare that an invocation has killed must not get the next one. */
static void mark_dying(pid_t pid) {
  for (struct runtime *r = sandbox.runtimes; r; r = r->next)
    if (r->pid == pid && !r->dead) r->killed = true;
}

static struct process *find_process(struct process *list, size_t count, pid_t pid) {
  for (size_t i = 0; i < count; i++)
    if (list[i].pid == pid) return &list[i];
  return NULL;
}

/* Whether it descends from this process (`ours`) and from a process to keep. Bounded: parents that change meanwhile could form a circle. */
static void judge(struct process *list, size_t count, struct process *p, size_t depth) {
  if (p->judged) return;
  p->judged = true;
  p->kept = is_kept_root(p->pid);
  p->ours = p->parent == getpid();
  if (p->ours || depth > 1000) return;
  struct process *parent = find_process(list, count, p->parent);
  if (parent == NULL) return;
  judge(list, count, parent, depth + 1);
  p->kept = p->kept || parent->kept;
  p->ours = parent->ours;
}

/*
 * The kernel's own count of the sandbox: each runtime that was not reaped is at least one task of it, so when there are just as many tasks there is
 * nobody else. Not believed before it has agreed with a search; where runtimes have several threads it never does.
 */
static bool count_is_believed;

static bool count_agrees(void) {
  long long expected = 1;
  for (struct runtime *r = sandbox.runtimes; r; r = r->next)
    if (r->pid > 0 && !r->dead) expected++;
  return usage_tasks() == expected;
}

bool processes_are_known(void) { return count_is_believed && count_agrees(); }

size_t processes_kill_strangers(bool stop_first) {
  struct process *list;
  size_t found = 0;
  /* Stopped processes cannot fork: with all of them stopped none can slip through the list. */
  for (int round = stop_first ? 0 : 63; round < 64; round++) {
    int number = round < 63 ? SIGSTOP : SIGKILL;
    size_t running = 0, count = list_processes(&list);
    found = 0;
    for (size_t i = 0; i < count; i++) {
      struct process *p = &list[i];
      judge(list, count, p, 0);
      if (p->dying) mark_dying(p->pid);
      /* What an invocation has stopped would keep the next one waiting until its deadline. */
      if (p->kept && p->state == 'T') kill(p->pid, SIGCONT);
      if (p->kept || p->state == 'Z' || p->state == 'X') continue;
      if (!sandbox.process_one && !p->ours) continue;
      found++;
      if (p->state != 'T') running++;
      kill(p->pid, number);
    }
    if (running == 0 && round < 63) round = 62;
  }
  if (found == 0 && !count_is_believed) count_is_believed = sandbox.process_one && count_agrees();
  return found;
}

void processes_kill_all(void) {
  for (struct runtime *r = sandbox.runtimes; r; r = r->next) runtime_kill(r);
  if (sandbox.process_one) {
    kill(-1, SIGKILL);
    return;
  }
  /* A plain process in tests: only descendants, and those that come to light when their parents are gone. */
  for (int i = 0; i < 100; i++) {
    if (processes_kill_strangers(i > 3) == 0) return;
    processes_reap();
    usleep(1000);
  }
}

void processes_reap(void) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) runtime_reaped(pid, status);
}
