/* A growable run of bytes. */
#ifndef KLUIS_BASE_BUF_H
#define KLUIS_BASE_BUF_H

#include <stdbool.h>

#include "base/mem.h"

/* Bytes that somebody else owns. */
struct bytes {
	const uint8_t *data;
	size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
	return (struct bytes){data, len};
}
struct bytes bytes_str(const char *text);
bool bytes_equal(struct bytes a,
	struct bytes b); /* Not constant time: never on secrets (crypto/secret.h). */
int bytes_compare(struct bytes a, struct bytes b); /* As memcmp; a prefix sorts first. */

/* Zero it or BUF_INIT before use. data may move at every append. */
struct buf {
	uint8_t *data;
	size_t len, cap;
};
#define BUF_INIT ((struct buf){NULL, 0, 0})

void buf_release(struct buf *b); /* Frees; b is empty and usable again. For _cleanup_. */
void buf_reserve(struct buf *b, size_t more);
void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_bytes(struct buf *b, struct bytes bytes);
void buf_printf(struct buf *b, const char *fmt, ...) KLUIS_PRINTF(2, 3);
/* Grows by len and returns where to write them. */
uint8_t *buf_extend(struct buf *b, size_t len);
void buf_consume(struct buf *b, size_t len); /* Drops len bytes at the front. */
void buf_clear(struct buf *b);		     /* Keeps the memory. */
struct bytes buf_bytes(const struct buf *b);
/* NUL-terminated without counting the NUL; valid until the next change. */
const char *buf_str(struct buf *b);

#endif
