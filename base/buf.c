#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct bytes bytes_str(const char *text)
{
	return bytes_of(text, strlen(text));
}

bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int bytes_compare(struct bytes a, struct bytes b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common == 0 ? 0 : memcmp(a.data, b.data, common);

	if (order != 0) {
		return order;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

void buf_release(struct buf *b)
{
	free(b->data);
	*b = BUF_INIT;
}

void buf_reserve(struct buf *b, size_t more)
{
	size_t need = b->len + more, cap = b->cap == 0 ? 64 : b->cap;

	assert(need >= more);
	if (need <= b->cap) {
		return;
	}
	while (cap < need) {
		assert(cap <= SIZE_MAX / 2);
		cap *= 2;
	}
	b->data = x_realloc(b->data, cap);
	b->cap = cap;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
	if (len > 0) {
		memcpy(buf_extend(b, len), data, len);
	}
}

void buf_append_bytes(struct buf *b, struct bytes bytes)
{
	buf_append(b, bytes.data, bytes.len);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args, again;
	int n;

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	assert(n >= 0);
	buf_reserve(b, (size_t)n + 1);
	(void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
	va_end(again);
	b->len += (size_t)n;
}

uint8_t *buf_extend(struct buf *b, size_t len)
{
	uint8_t *end;

	buf_reserve(b, len == 0 ? 1 : len);
	end = b->data + b->len;
	b->len += len;
	return end;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->len -= len;
	if (b->len > 0) {
		memmove(b->data, b->data + len, b->len);
	}
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

struct bytes buf_bytes(const struct buf *b)
{
	return bytes_of(b->data, b->len);
}

const char *buf_str(struct buf *b)
{
	buf_reserve(b, 1);
	b->data[b->len] = 0;
	return (const char *)b->data;
}
