/* Reading and writing the big-endian formats of docs/: no byte is read that the length does not
 * cover. */
#ifndef KLUIS_BASE_WIRE_H
#define KLUIS_BASE_WIRE_H

#include <stdbool.h>

#include "base/buf.h"

/* A cursor over bytes that stay the caller's. After the first read past the end it stays failed,
 * and every further read gives zero or an empty run: check once, at the end, with wire_end() or
 * wire_ok(). */
struct wire {
	struct bytes left;
	bool failed;
};

struct wire wire_of(struct bytes bytes);
bool wire_ok(const struct wire *w);
bool wire_end(const struct wire *w); /* Nothing failed and nothing is left. */
void wire_fail(struct wire *w);
uint8_t wire_u8(struct wire *w);
uint16_t wire_u16(struct wire *w);
uint32_t wire_u32(struct wire *w);
uint64_t wire_u64(struct wire *w);
struct bytes wire_bytes(struct wire *w, size_t len);
void wire_copy(struct wire *w, void *to, size_t len); /* Zeroes `to` on failure. */
bool wire_match(struct wire *w,
	const char *magic); /* Fails unless the next strlen(magic) bytes are these. */
void wire_zeros(struct wire *w, size_t len);	    /* Fails unless the next len bytes are zero. */
struct bytes wire_lp16(struct wire *w, size_t max); /* u16 length, then bytes; fails beyond max. */
struct bytes wire_lp32(struct wire *w, size_t max);
struct bytes wire_rest(struct wire *w);

void buf_put_u8(struct buf *b, unsigned value);
void buf_put_u16(struct buf *b, unsigned value);
void buf_put_u32(struct buf *b, uint64_t value);
void buf_put_u64(struct buf *b, uint64_t value);
void buf_put_zeros(struct buf *b, size_t len);
void buf_put_str(struct buf *b, const char *text); /* Without NUL and without length. */
void buf_put_lp16(struct buf *b, struct bytes bytes);
void buf_put_lp32(struct buf *b, struct bytes bytes);

/* Fixed places, for headers and keys. */
void store_u16(uint8_t *to, unsigned value);
void store_u32(uint8_t *to, uint32_t value);
void store_u64(uint8_t *to, uint64_t value);
uint16_t load_u16(const uint8_t *from);
uint32_t load_u32(const uint8_t *from);
uint64_t load_u64(const uint8_t *from);

#endif
