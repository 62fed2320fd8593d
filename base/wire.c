#include "base/wire.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

struct wire wire_of(struct bytes bytes)
{
	return (struct wire){bytes, false};
}

bool wire_ok(const struct wire *w)
{
	return !w->failed;
}

bool wire_end(const struct wire *w)
{
	return !w->failed && w->left.len == 0;
}

void wire_fail(struct wire *w)
{
	w->failed = true;
	w->left.len = 0;
}

struct bytes wire_bytes(struct wire *w, size_t len)
{
	struct bytes run = {w->left.data, len};

	if (w->failed || len > w->left.len) {
		wire_fail(w);
		return bytes_of(w->left.data, 0);
	}
	if (len > 0) {
		w->left.data += len;
		w->left.len -= len;
	}
	return run;
}

void wire_copy(struct wire *w, void *to, size_t len)
{
	struct bytes run = wire_bytes(w, len);

	if (run.len == len && len > 0) {
		memcpy(to, run.data, len);
	} else {
		memset(to, 0, len);
	}
}

uint8_t wire_u8(struct wire *w)
{
	struct bytes run = wire_bytes(w, 1);

	return run.len == 1 ? run.data[0] : 0;
}

uint16_t wire_u16(struct wire *w)
{
	struct bytes run = wire_bytes(w, 2);

	return run.len == 2 ? load_u16(run.data) : 0;
}

uint32_t wire_u32(struct wire *w)
{
	struct bytes run = wire_bytes(w, 4);

	return run.len == 4 ? load_u32(run.data) : 0;
}

uint64_t wire_u64(struct wire *w)
{
	struct bytes run = wire_bytes(w, 8);

	return run.len == 8 ? load_u64(run.data) : 0;
}

bool wire_match(struct wire *w, const char *magic)
{
	struct bytes want = bytes_str(magic);

	if (!bytes_equal(wire_bytes(w, want.len), want)) {
		wire_fail(w);
	}
	return !w->failed;
}

void wire_zeros(struct wire *w, size_t len)
{
	struct bytes run = wire_bytes(w, len);

	for (size_t i = 0; i < run.len; i++) {
		if (run.data[i] != 0) {
			wire_fail(w);
			return;
		}
	}
}

static struct bytes wire_bounded(struct wire *w, size_t len, size_t max)
{
	if (len > max) {
		wire_fail(w);
	}
	return wire_bytes(w, w->failed ? 0 : len);
}

struct bytes wire_lp16(struct wire *w, size_t max)
{
	size_t len = wire_u16(w);

	return wire_bounded(w, len, max);
}

struct bytes wire_lp32(struct wire *w, size_t max)
{
	size_t len = wire_u32(w);

	return wire_bounded(w, len, max);
}

struct bytes wire_rest(struct wire *w)
{
	return wire_bytes(w, w->left.len);
}

void buf_put_u8(struct buf *b, unsigned value)
{
	assert(value <= UINT8_MAX);
	*buf_extend(b, 1) = (uint8_t)value;
}

void buf_put_u16(struct buf *b, unsigned value)
{
	store_u16(buf_extend(b, 2), value);
}

void buf_put_u32(struct buf *b, uint64_t value)
{
	assert(value <= UINT32_MAX);
	store_u32(buf_extend(b, 4), (uint32_t)value);
}

void buf_put_u64(struct buf *b, uint64_t value)
{
	store_u64(buf_extend(b, 8), value);
}

void buf_put_zeros(struct buf *b, size_t len)
{
	if (len > 0) {
		memset(buf_extend(b, len), 0, len);
	}
}

void buf_put_str(struct buf *b, const char *text)
{
	buf_append(b, text, strlen(text));
}

void buf_put_lp16(struct buf *b, struct bytes bytes)
{
	assert(bytes.len <= UINT16_MAX);
	buf_put_u16(b, (unsigned)bytes.len);
	buf_append_bytes(b, bytes);
}

void buf_put_lp32(struct buf *b, struct bytes bytes)
{
	buf_put_u32(b, bytes.len);
	buf_append_bytes(b, bytes);
}

void store_u16(uint8_t *to, unsigned value)
{
	assert(value <= UINT16_MAX);
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

void store_u32(uint8_t *to, uint32_t value)
{
	uint32_t big = htobe32(value);

	memcpy(to, &big, sizeof big);
}

void store_u64(uint8_t *to, uint64_t value)
{
	uint64_t big = htobe64(value);

	memcpy(to, &big, sizeof big);
}

uint16_t load_u16(const uint8_t *from)
{
	return (uint16_t)(from[0] << 8 | from[1]);
}

uint32_t load_u32(const uint8_t *from)
{
	uint32_t big;

	memcpy(&big, from, sizeof big);
	return be32toh(big);
}

uint64_t load_u64(const uint8_t *from)
{
	uint64_t big;

	memcpy(&big, from, sizeof big);
	return be64toh(big);
}
