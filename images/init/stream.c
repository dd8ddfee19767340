#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FIRST_CAP (64u * 1024u)

struct chunk {
  struct chunk *next;
  unsigned char *at;
  size_t len;
  void *own;
};

void *must_alloc(size_t size) {
  void *memory = malloc(size ? size : 1);
  if (memory == NULL) {
    static const char text[] = "worker-front init: out of memory\n";
    if (write(2, text, sizeof text - 1) < 0) _exit(70);
    _exit(70);
  }
  return memory;
}

enum fill reader_fill(struct reader *r, int fd, int *pid) {
  if (r->data == NULL) {
    r->cap = FIRST_CAP;
    r->data = must_alloc(r->cap);
  }
  if (r->start == r->end) r->start = r->end = 0;
  if (r->end == r->cap && r->start > 0) {
    memmove(r->data, r->data + r->start, r->end - r->start);
    r->end -= r->start;
    r->start = 0;
  }
  if (r->end == r->cap) return FILL_NONE;
  char control[CMSG_SPACE(sizeof(struct ucred))];
  struct iovec part = {r->data + r->end, r->cap - r->end};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (pid != NULL) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
  }
  ssize_t got;
  do got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? FILL_NONE : FILL_END;
  if (got == 0) return FILL_END;
  r->end += (size_t)got;
  if (pid != NULL) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS) continue;
      struct ucred sender;
      memcpy(&sender, CMSG_DATA(c), sizeof sender);
      *pid = sender.pid;
    }
  }
  return FILL_SOME;
}

size_t reader_available(const struct reader *r) { return r->end - r->start; }

const unsigned char *reader_bytes(const struct reader *r) { return r->data + r->start; }

void reader_consume(struct reader *r, size_t count) { r->start += count; }

void reader_free(struct reader *r) {
  free(r->data);
  memset(r, 0, sizeof *r);
}

static uint32_t u32le(const unsigned char *b) {
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void put_u32le(unsigned char *b, uint32_t value) {
  for (int i = 0; i < 4; i++) b[i] = (unsigned char)(value >> (8 * i));
}

int reader_header(struct reader *r, size_t *header_len, size_t *body_len) {
  size_t available = reader_available(r);
  if (available < PREFIX) return 0;
  const unsigned char *bytes = reader_bytes(r);
  *header_len = u32le(bytes);
  *body_len = u32le(bytes + 4);
  if (*header_len > MAX_HEADER || *body_len > MAX_BODY) return -1;
  size_t wanted = PREFIX + *header_len;
  if (available >= wanted) return 1;
  if (wanted <= r->cap) return 0;
  /* Grown as the bytes come, not at once by what was announced. */
  if (r->end == r->cap && r->start == 0) {
    size_t cap = r->cap * 2 < wanted ? r->cap * 2 : wanted;
    unsigned char *grown = must_alloc(cap);
    memcpy(grown, r->data, r->end);
    free(r->data);
    r->data = grown;
    r->cap = cap;
  }
  return 0;
}

static void append(struct queue *q, unsigned char *at, size_t len, void *own) {
  struct chunk *c = must_alloc(sizeof *c);
  c->next = NULL;
  c->at = at;
  c->len = len;
  c->own = own;
  if (q->tail) q->tail->next = c;
  else q->head = c;
  q->tail = c;
  q->bytes += len;
}

static void append_copy(struct queue *q, const void *data, size_t len) {
  if (len == 0) return;
  unsigned char *copy = must_alloc(len);
  memcpy(copy, data, len);
  append(q, copy, len, copy);
}

/* Bytes sent, 0 when nothing goes now, -1 when the other side is gone. */
static ssize_t send_parts(int fd, struct iovec *parts, size_t count) {
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
  ssize_t sent;
  do sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return sent;
  return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
}

bool queue_frame(struct queue *q, int fd, const char *header, size_t header_len, const void *body, size_t body_len,
                 void *own) {
  unsigned char prefix[PREFIX];
  put_u32le(prefix, (uint32_t)header_len);
  put_u32le(prefix + 4, (uint32_t)body_len);
  ssize_t sent = 0;
  if (q->head == NULL) {
    struct iovec parts[3] = {{prefix, PREFIX}, {(void *)header, header_len}, {(void *)body, body_len}};
    sent = send_parts(fd, parts, body_len ? 3 : 2);
  }
  size_t done = sent > 0 ? (size_t)sent : 0;
  if (done < PREFIX) append_copy(q, prefix + done, PREFIX - done);
  done = done > PREFIX ? done - PREFIX : 0;
  if (done < header_len) append_copy(q, header + done, header_len - done);
  done = done > header_len ? done - header_len : 0;
  if (done < body_len) {
    if (own) append(q, (unsigned char *)body + done, body_len - done, own);
    else append_copy(q, (const unsigned char *)body + done, body_len - done);
  } else {
    free(own);
  }
  return sent >= 0;
}

bool queue_bytes(struct queue *q, int fd, const void *data, size_t len) {
  ssize_t sent = 0;
  if (q->head == NULL) {
    struct iovec part = {(void *)data, len};
    sent = send_parts(fd, &part, 1);
    if (sent < 0) return false;
  }
  append_copy(q, (const unsigned char *)data + sent, len - (size_t)sent);
  return true;
}

void queue_hold(struct queue *q, const void *data, size_t len) { append_copy(q, data, len); }

void queue_move(struct queue *q, struct queue *from) {
  if (from->head == NULL) return;
  if (q->tail) q->tail->next = from->head;
  else q->head = from->head;
  q->tail = from->tail;
  q->bytes += from->bytes;
  memset(from, 0, sizeof *from);
}

bool queue_flush(struct queue *q, int fd) {
  while (q->head) {
    struct iovec parts[16];
    size_t count = 0;
    for (struct chunk *c = q->head; c && count < 16; c = c->next) parts[count++] = (struct iovec){c->at, c->len};
    ssize_t sent = send_parts(fd, parts, count);
    if (sent < 0) return false;
    if (sent == 0) return true;
    q->bytes -= (size_t)sent;
    while (sent > 0) {
      struct chunk *c = q->head;
      if ((size_t)sent < c->len) {
        c->at += sent;
        c->len -= (size_t)sent;
        break;
      }
      sent -= (ssize_t)c->len;
      q->head = c->next;
      if (q->head == NULL) q->tail = NULL;
      free(c->own);
      free(c);
    }
  }
  return true;
}

void queue_free(struct queue *q) {
  while (q->head) {
    struct chunk *c = q->head;
    q->head = c->next;
    free(c->own);
    free(c);
  }
  q->tail = NULL;
  q->bytes = 0;
}
