/*
 * init: process 1 of a sandbox (docs/protocol.md). One thread, one poll loop; everything is in `sandbox`.
 *
 *   main.c        start, signals, the loop
 *   channel.c     the connection to the daemon: dial, hello, its frames
 *   invocation.c  invocations in flight: start, cancel, the end of one
 *   runtime.c     runtime processes: start, load, death
 *   spares.c      process isolation: spares, the template, what comes between two invocations
 *   link.c        frames of a runtime, none of them trusted
 *   output.c      stdout and stderr, tied to invocations and limited
 *   processes.c   starting and killing processes
 *   clean.c       what an invocation leaves behind
 *   usage.c       memory facts from the sandbox's cgroup
 *   hold.c        a network holder, which is no sandbox: keeps a network namespace
 *   stream.c, json.c  bytes and headers
 */
#ifndef WORKER_FRONT_INIT_H
#define WORKER_FRONT_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "json.h"
#include "stream.h"

#define PROTOCOL 1
#define ID_MAX 64
#define TAIL 4096
#define EXIT_USAGE 64
#define EXIT_PROTOCOL 70
#define EXIT_DIAL 71
#define EXIT_ORPHANED 72
#define EXIT_RUNTIME 73

enum isolation { ISOLATION_CONTAINER, ISOLATION_PROCESS, ISOLATION_SHARED };

enum runtime_state {
  BOOTING,  /* started; has not said hello */
  WAITING,  /* said hello, nothing to load yet */
  LOADING,  /* was told to load, or is a fork that has not said hello */
  READY,    /* handler loaded; may have invocations in flight */
  TEMPLATE, /* loaded; only forks */
  SPENT     /* its one invocation has ended; about to be killed */
};

struct runtime {
  struct runtime *next;
  enum runtime_state state;
  pid_t pid; /* 0: a fork whose process id is not known yet */
  bool forked;
  int link, out, err; /* -1: closed */
  struct reader in;
  struct queue to;
  struct queue held; /* an invocation that waits until the handler is loaded */
  size_t in_flight;
  /* The frame whose body is being collected. */
  char *header;
  size_t header_len;
  unsigned char *body;
  size_t body_len, body_have;
  /* How it ends. */
  bool told;   /* `load` is on its way to it */
  bool dead;   /* reaped; `status` holds when known */
  bool status_known;
  int status;
  bool killed;         /* by us */
  const char *broken;  /* what it did to the link */
  int64_t link_ended;  /* when its link ended while it still seemed to live; 0: it did not */
  int64_t started;
  /* Output outside invocations. */
  size_t idle_sent;
  uint64_t idle_dropped;
  char tail[TAIL];
  size_t tail_len;
};

struct invocation {
  struct invocation *next;
  char id[ID_MAX + 1];
  struct runtime *runtime;
  int64_t started;
  long long oom_before;
  size_t log_sent;
  uint64_t log_dropped;
  bool cancelled;        /* the runtime is being killed for it, or (concurrency) it was answered already */
  int64_t kill_at;       /* end of its grace period; 0: it has none */
  int64_t cancel_answer; /* when `failed` is sent at the latest */
};

struct sandbox {
  /* Settings. */
  const char *dir, *function_dir, *tmp;
  char **command;
  bool process_one;
  char *id, *token; /* as JSON, with quotes */
  int64_t orphan_ms;
  /* Channel. */
  int channel;
  struct reader in;
  struct queue to;
  int64_t dialled, lost_since, redial_at, redial_delay;
  bool heard;        /* a frame came on this connection */
  bool greeted;      /* the runtime is up: connections begin with a hello */
  struct runtime *body_to; /* where the rest of the present frame's body goes; NULL: nowhere */
  size_t body_left;
  /* What was loaded. */
  char *environment, *version; /* as JSON, or NULL */
  bool can_fork, loaded, loading, used;
  int64_t load_started;
  long long load_oom_before;
  long long oom_seen; /* kills for memory when an invocation began or ended last */
  long long oom_told; /* kills for memory that the daemon was told of on this connection */
  char *load_header;
  size_t load_header_len;
  enum isolation isolation;
  size_t concurrency, spares, result_limit, log_limit;
  size_t most_spares; /* forks at most, while calls come quickly */
  /* Work. */
  struct runtime *runtimes;
  struct runtime *template;
  struct invocation *invocations;
  bool cleaning;
  int64_t clean_started, clean_next;
  int clean_rounds;
  int spare_failures;
  int64_t spare_after; /* no new spare before this time */
  size_t ahead;        /* forks that are kept now: `spares`, or more while calls come quickly */
  int64_t last_ended;  /* when the last invocation ended */
};

extern struct sandbox sandbox;

/* main.c */
int64_t now_ms(void);
double now_ms_exact(void);
/* Ends everything: the last frame (unless `bye` is NULL), a line on stderr, all processes, then exit. */
_Noreturn void end_sandbox(int code, const char *bye);

/* hold.c */
/* Lives for the daemon that it dials in `dir`. */
_Noreturn void hold(const char *dir, const char *name);

/* channel.c */
void channel_dial_first(void);
void channel_redial(void);
void channel_lost(void);
void channel_hello(void);
void channel_read(void);
/* Handles the frames that were received and not handled yet. */
void channel_process(void);
void channel_flush(void);
void channel_send(const char *header, size_t header_len, const void *body, size_t body_len, void *own);
bool channel_full(void);

/* invocation.c */
struct failure;
struct invocation *invocation_find(const char *id, size_t len);
/* Finds a process for it; the caller passes the frame on to that one's link. */
struct runtime *invocation_start(struct slice id);
/* With a `grace` (ms) above 0 its process gets SIGTERM first. */
void invocation_cancel(struct slice id, long long grace);
/* The runtime's own answer. `fields` are those of the frame (see link.c). */
void invocation_done(struct invocation *i, double duration, void *body, size_t len, void *own);
struct failure {
  const char *kind;
  struct slice error_type, message, trace;
  const char *plain_message; /* in place of `message`: text without anything to escape */
  int exit_code;             /* -1: none */
  const char *signal;
  double duration; /* below 0: none */
};
void invocation_failed(struct invocation *i, const struct failure *failure);
void load_failed(const struct failure *failure, const char *bye);
/* Reports the death of a runtime for everything that it had in flight. */
void invocations_died(struct runtime *r);
void invocations_tick(int64_t now);
int64_t invocations_next(void);
bool busy(void);

/* runtime.c */
/* Passes on bytes of the frame that starts an invocation. */
void runtime_pass(struct runtime *r, const void *data, size_t len);
struct runtime *runtime_start(void);
void runtime_tell_load(struct runtime *r);
/* A runtime said hello. */
void runtime_up(struct runtime *r, struct slice environment, bool can_fork);
/* A runtime could not load the handler. */
void runtime_load_failed(struct runtime *r, struct failure *failure);
void runtimes_bury(void);
void runtime_loaded(struct runtime *r);
void runtime_reaped(pid_t pid, int status);
void runtime_knows_pid(struct runtime *r, pid_t pid);
void runtime_break(struct runtime *r, const char *what);
void runtime_kill(struct runtime *r);
void runtime_death(const struct runtime *r, struct failure *failure, char message[256]);

/* A new runtime without a process; `theirs` gets its ends of link, stdout and stderr. NULL: no descriptors. */
struct runtime *runtime_add(int theirs[3]);
void close_three(int fds[3]);

/* spares.c */
struct runtime *runtime_for_start(void);
/* Its one invocation has ended: it is killed, and what it left is cleaned up before the next start. */
void runtime_spent(struct runtime *r);
void spare_failed(void);
void runtimes_tick(int64_t now);
int64_t runtimes_next(void);

/* link.c */
void link_read(struct runtime *r);
void link_drain(struct runtime *r);
void link_free(struct runtime *r);

/* output.c */
void output_read(struct runtime *r, int *fd, const char *stream);
/* Takes what is in both pipes at this moment. */
void output_drain(struct runtime *r);
void output_pass(struct invocation *i, struct runtime *r, const char *stream, const unsigned char *data, size_t len);
/* Says how much was dropped since the last frame. */
void output_account(struct invocation *i, struct runtime *r);
const char *signal_name(int number);

/* processes.c */
pid_t process_start(char **command, int link, int out, int err);
_Noreturn void process_exec(char **command);
/* Kills every process of the sandbox but this one, the spares and the template; how many were there. */
size_t processes_kill_strangers(bool stop_first);
void processes_kill_all(void);
/* SIGKILL has reached it, though it may still be there. */
bool process_dying(pid_t pid);
/* True when it is certain that there is no process but this one and those of the runtimes; false says nothing. */
bool processes_are_known(void);
/* Collects every child that has ended. */
void processes_reap(void);

/* clean.c */
void clean_left_overs(void);

/* usage.c */
void usage_open(void);
/* -1: unknown. */
long long usage_oom_kills(void);
long long usage_peak_bytes(void);
/* Processes and threads of the sandbox. */
long long usage_tasks(void);
/* How many there may be; 0: any number, -1: unknown. */
long long usage_tasks_limit(void);

#endif
