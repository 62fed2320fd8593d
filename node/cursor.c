#include "node/cursor.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"

enum { CURSOR_VERSION = 1, CURSOR_FIXED_BYTES = 2 + LINEAGE_BYTES };

void cursor_format(
	unsigned kind, const uint8_t lineage[LINEAGE_BYTES], struct bytes key, struct buf *to)
{
	struct buf raw = BUF_INIT;

	assert(kind <= UINT8_MAX && key.len <= API_CURSOR_KEY_BYTES_MAX);
	buf_put_u8(&raw, CURSOR_VERSION);
	buf_put_u8(&raw, kind);
	buf_append(&raw, lineage, LINEAGE_BYTES);
	buf_append_bytes(&raw, key);
	base64_append(to, buf_bytes(&raw));
	buf_release(&raw);
}

static int cursor_read(
	struct bytes raw, unsigned kind, const uint8_t lineage[LINEAGE_BYTES], struct buf *key)
{
	struct wire wire = wire_of(raw);
	unsigned version = wire_u8(&wire), got = wire_u8(&wire);
	struct bytes of = wire_bytes(&wire, LINEAGE_BYTES);

	if (!wire_ok(&wire) || version != CURSOR_VERSION || got != kind) {
		return KLUIS_EINVAL;
	}
	if (!bytes_equal(of, bytes_of(lineage, LINEAGE_BYTES))) {
		return KLUIS_ELINEAGE;
	}
	buf_append_bytes(key, wire_rest(&wire));
	return 0;
}

int cursor_parse(
	struct bytes text, unsigned kind, const uint8_t lineage[LINEAGE_BYTES], struct buf *key)
{
	_cleanup_(buf_release) struct buf raw = BUF_INIT;

	if (base64_decode(text, CURSOR_FIXED_BYTES + API_CURSOR_KEY_BYTES_MAX, &raw) != 0) {
		return KLUIS_EINVAL;
	}
	return cursor_read(buf_bytes(&raw), kind, lineage, key);
}

void lineage_index_format(const uint8_t lineage[LINEAGE_BYTES], uint64_t index, struct buf *to)
{
	hex_append(to, bytes_of(lineage, LINEAGE_BYTES));
	buf_printf(to, ":%llu", (unsigned long long)index);
}

/* The text behind "<lineage>:". */
static int lineage_take(
	struct bytes text, const uint8_t lineage[LINEAGE_BYTES], struct bytes *ret_rest)
{
	char hex[HEX_LEN(LINEAGE_BYTES) + 1];
	uint8_t of[LINEAGE_BYTES];

	if (text.len <= sizeof hex || text.data[sizeof hex - 1] != ':') {
		return KLUIS_EINVAL;
	}
	memcpy(hex, text.data, sizeof hex - 1);
	hex[sizeof hex - 1] = '\0';
	if (hex_decode(hex, of, sizeof of) != 0) {
		return KLUIS_EINVAL;
	}
	*ret_rest = bytes_of(text.data + sizeof hex, text.len - sizeof hex);
	return memcmp(of, lineage, sizeof of) == 0 ? 0 : KLUIS_ELINEAGE;
}

int lineage_index_parse(
	struct bytes text, const uint8_t lineage[LINEAGE_BYTES], uint64_t *ret_index)
{
	struct bytes rest;
	int rc = lineage_take(text, lineage, &rest);

	return rc != 0 ? rc : u64_parse(rest, INT64_MAX, ret_index);
}

void since_format(
	const uint8_t lineage[LINEAGE_BYTES], uint64_t seq, uint64_t page_no, struct buf *to)
{
	lineage_index_format(lineage, seq, to);
	if (page_no != UINT64_MAX) {
		buf_printf(to, ".%llu", (unsigned long long)page_no);
	}
}

int since_parse(struct bytes text, const uint8_t lineage[LINEAGE_BYTES], uint64_t *ret_seq,
	uint64_t *ret_page_no)
{
	struct bytes rest;
	const uint8_t *dot;
	uint64_t seq, page_no = UINT64_MAX;
	size_t seq_len;
	int rc = lineage_take(text, lineage, &rest);

	if (rc != 0) {
		return rc;
	}
	dot = memchr(rest.data, '.', rest.len);
	seq_len = dot == NULL ? rest.len : (size_t)(dot - rest.data);
	rc = u64_parse(bytes_of(rest.data, seq_len), INT64_MAX, &seq);
	if (rc == 0 && dot != NULL) {
		rc = u64_parse(bytes_of(dot + 1, rest.len - seq_len - 1), INT64_MAX, &page_no);
	}
	if (rc == 0) {
		*ret_seq = seq;
		*ret_page_no = page_no;
	}
	return rc;
}
