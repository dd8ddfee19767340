/* Bytes in and out of non-blocking descriptors: frames are read from a reader, written through a queue. */
#ifndef WORKER_FRONT_STREAM_H
#define WORKER_FRONT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_HEADER (1024u * 1024u)
#define MAX_BODY (64u * 1024u * 1024u)
#define PREFIX 8

/* A buffer of received bytes from `start` to `end`; grows for long headers only. */
struct reader {
  unsigned char *data;
  size_t cap, start, end;
};

enum fill { FILL_SOME, FILL_NONE, FILL_END };

/* Receives once. FILL_NONE: nothing there now. `pid`, when not NULL, gets the sender's process id (SO_PASSCRED). */
enum fill reader_fill(struct reader *r, int fd, int *pid);
size_t reader_available(const struct reader *r);
const unsigned char *reader_bytes(const struct reader *r);
void reader_consume(struct reader *r, size_t count);
void reader_free(struct reader *r);
/* 1: a whole prefix and header are there, 0: not yet, -1: too long. The header starts PREFIX bytes into the reader. */
int reader_header(struct reader *r, size_t *header_len, size_t *body_len);

struct chunk;

/* Bytes that wait to be written. */
struct queue {
  struct chunk *head, *tail;
  size_t bytes;
};

/* What is not taken at once is queued as a copy; `own`, when not NULL, is memory to free later in which the body lies. */
bool queue_frame(struct queue *q, int fd, const char *header, size_t header_len, const void *body, size_t body_len,
                 void *own);
bool queue_bytes(struct queue *q, int fd, const void *data, size_t len);
/* Queues a copy without trying to write. */
void queue_hold(struct queue *q, const void *data, size_t len);
/* Puts everything of `from` behind `q`. */
void queue_move(struct queue *q, struct queue *from);
/* Writes as much as goes. False: the other side is gone. */
bool queue_flush(struct queue *q, int fd);
void queue_free(struct queue *q);

/* malloc that never fails: without memory init cannot keep its promises, so it ends. */
void *must_alloc(size_t size);

#endif
