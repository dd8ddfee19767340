/* A small strict reader of JSON objects: finds the values of known keys, safe on hostile input. */
#ifndef WORKER_FRONT_JSON_H
#define WORKER_FRONT_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* The text of one value inside a larger text. */
struct slice {
  const char *at;
  size_t len;
  char kind; /* 0: absent, '"' string (with its quotes), '0' number, 't', 'f', 'n', '{', '[' */
};

/* Reads exactly one JSON object. Finds the values of `keys` (the last one of a repeated key); false when it is not JSON. */
bool json_object(const char *text, size_t len, const char *const keys[], struct slice found[], size_t count);
bool json_equals(struct slice value, const char *plain);
/* An array of at most `max` strings. */
bool json_is_strings(struct slice value, size_t max);
/* A whole number of 0 or more, below 2^53; `otherwise` when it is anything else. */
long long json_whole(struct slice value, long long otherwise);
/* A finite number; `otherwise` when it is anything else. */
double json_number(struct slice value, double otherwise);

#endif
