#include "json.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 32

struct scan {
  const unsigned char *at, *end;
};

static bool scan_value(struct scan *s, int depth, char *kind);

static void skip_space(struct scan *s) {
  while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) s->at++;
}

static bool take(struct scan *s, char wanted) {
  if (s->at >= s->end || *s->at != (unsigned char)wanted) return false;
  s->at++;
  return true;
}

static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

static bool is_hex(unsigned char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/* One character of several bytes (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
static bool scan_utf8(struct scan *s) {
  unsigned char c = *s->at;
  int more = c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
  if (more == 0 || s->end - s->at <= more) return false;
  unsigned char next = s->at[1];
  if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
      (c == 0xf4 && next > 0x8f))
    return false;
  for (int i = 1; i <= more; i++)
    if ((s->at[i] & 0xc0) != 0x80) return false;
  s->at += more + 1;
  return true;
}

static bool scan_string(struct scan *s) {
  if (!take(s, '"')) return false;
  while (s->at < s->end) {
    unsigned char c = *s->at;
    if (c == '"') {
      s->at++;
      return true;
    }
    if (c < 0x20) return false;
    if (c >= 0x80) {
      if (!scan_utf8(s)) return false;
      continue;
    }
    s->at++;
    if (c != '\\') continue;
    if (s->at >= s->end) return false;
    c = *s->at++;
    if (c == 'u') {
      if (s->end - s->at < 4) return false;
      for (int i = 0; i < 4; i++)
        if (!is_hex(*s->at++)) return false;
    } else if (c == 0 || strchr("\"\\/bfnrt", c) == NULL) {
      return false;
    }
  }
  return false;
}

static bool scan_digits(struct scan *s) {
  const unsigned char *start = s->at;
  while (s->at < s->end && is_digit(*s->at)) s->at++;
  return s->at > start;
}

static bool scan_number(struct scan *s) {
  take(s, '-');
  if (!take(s, '0') && !scan_digits(s)) return false;
  if (take(s, '.') && !scan_digits(s)) return false;
  if (take(s, 'e') || take(s, 'E')) {
    if (!take(s, '+')) take(s, '-');
    return scan_digits(s);
  }
  return true;
}

static bool scan_word(struct scan *s, const char *word) {
  size_t len = strlen(word);
  if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0) return false;
  s->at += len;
  return true;
}

static bool scan_list(struct scan *s, int depth, bool object) {
  char close = object ? '}' : ']', kind;
  s->at++;
  skip_space(s);
  if (take(s, close)) return true;
  for (;;) {
    skip_space(s);
    if (object) {
      if (!scan_string(s)) return false;
      skip_space(s);
      if (!take(s, ':')) return false;
      skip_space(s);
    }
    if (!scan_value(s, depth + 1, &kind)) return false;
    skip_space(s);
    if (take(s, close)) return true;
    if (!take(s, ',')) return false;
  }
}

static bool scan_value(struct scan *s, int depth, char *kind) {
  if (s->at >= s->end || depth > MAX_DEPTH) return false;
  *kind = (char)*s->at;
  switch (*s->at) {
    case '"': return scan_string(s);
    case '{': return scan_list(s, depth, true);
    case '[': return scan_list(s, depth, false);
    case 't': return scan_word(s, "true");
    case 'f': return scan_word(s, "false");
    case 'n': return scan_word(s, "null");
    default: *kind = '0'; return scan_number(s);
  }
}

static void remember(struct slice key, struct slice value, const char *const keys[], struct slice found[], size_t count) {
  for (size_t i = 0; i < count; i++)
    if (json_equals(key, keys[i])) found[i] = value;
}

bool json_object(const char *text, size_t len, const char *const keys[], struct slice found[], size_t count) {
  struct scan s = {(const unsigned char *)text, (const unsigned char *)text + len};
  memset(found, 0, count * sizeof *found);
  skip_space(&s);
  if (!take(&s, '{')) return false;
  skip_space(&s);
  bool more = !take(&s, '}');
  while (more) {
    skip_space(&s);
    struct slice key = {(const char *)s.at, 0, '"'}, value;
    if (!scan_string(&s)) return false;
    key.len = (size_t)((const char *)s.at - key.at);
    skip_space(&s);
    if (!take(&s, ':')) return false;
    skip_space(&s);
    value.at = (const char *)s.at;
    if (!scan_value(&s, 1, &value.kind)) return false;
    value.len = (size_t)((const char *)s.at - value.at);
    remember(key, value, keys, found, count);
    skip_space(&s);
    if (take(&s, '}')) break;
    if (!take(&s, ',')) return false;
  }
  skip_space(&s);
  return s.at == s.end;
}

bool json_equals(struct slice value, const char *plain) {
  size_t len = strlen(plain);
  return value.kind == '"' && value.len == len + 2 && memcmp(value.at + 1, plain, len) == 0;
}

bool json_is_strings(struct slice value, size_t max) {
  if (value.kind != '[') return false;
  struct scan s = {(const unsigned char *)value.at + 1, (const unsigned char *)value.at + value.len};
  skip_space(&s);
  if (take(&s, ']')) return true;
  for (size_t i = 0; i < max; i++) {
    skip_space(&s);
    if (!scan_string(&s)) return false;
    skip_space(&s);
    if (take(&s, ']')) return true;
    if (!take(&s, ',')) return false;
  }
  return false;
}

double json_number(struct slice value, double otherwise) {
  char copy[64];
  if (value.kind != '0' || value.len >= sizeof copy) return otherwise;
  memcpy(copy, value.at, value.len);
  copy[value.len] = 0;
  double number = strtod(copy, NULL);
  return isfinite(number) ? number : otherwise;
}

long long json_whole(struct slice value, long long otherwise) {
  double number = json_number(value, -1);
  if (number < 0 || number >= 9007199254740992.0 || number != floor(number)) return otherwise;
  return (long long)number;
}
