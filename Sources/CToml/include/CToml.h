/* toml++ behind a small C visitor: nesting, kind, value, line and column of every key and value. */
#ifndef SLUICE_CTOML_H
#define SLUICE_CTOML_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ctoml_kind {
  ctoml_table,
  ctoml_array,
  ctoml_string,
  ctoml_integer,
  ctoml_float,
  ctoml_boolean,
  ctoml_date /* any of the date and time kinds; its value is not passed on */
};

/* One key with its value, one array element, or the root table. Lines and columns are 1-based; a column counts
   Unicode code points. Pointers are good during the call only, and not terminated by a zero byte. */
struct ctoml_value {
  int32_t kind;            /* enum ctoml_kind */
  uint32_t line, column;   /* where the value begins; for a table with a header, where the header begins */
  const char *key;         /* NULL for array elements and the root */
  size_t key_length;
  uint32_t key_line, key_column;
  const char *text;        /* strings only */
  size_t text_length;
  int64_t integer;         /* integers; booleans as 0 and 1 */
  double real;             /* floats */
};

struct ctoml_error {
  uint32_t line, column;
  char text[512];          /* UTF-8, terminated by a zero byte */
};

/* Called with each value in turn. A table or an array is followed by what it holds and then by a call with NULL. */
typedef void (*ctoml_visitor)(void *context, const struct ctoml_value *value);

/* Parses `length` bytes and, if all of them are good TOML, visits the whole tree. Returns 1; or 0 with `error` filled in
   and no visit made. No C++ exception leaves it. */
int ctoml_parse(const char *bytes, size_t length, ctoml_visitor visitor, void *context, struct ctoml_error *error);

#ifdef __cplusplus
}
#endif

#endif
