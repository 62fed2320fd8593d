#include "base/text.h"

#include <assert.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void hex_encode(struct bytes bytes, char *to)
{
	for (size_t i = 0; i < bytes.len; i++) {
		to[2 * i] = hex_digits[bytes.data[i] >> 4];
		to[2 * i + 1] = hex_digits[bytes.data[i] & 15];
	}
	to[2 * bytes.len] = 0;
}

void hex_append(struct buf *b, struct bytes bytes)
{
	buf_reserve(b, HEX_LEN(bytes.len) + 1);
	hex_encode(bytes, (char *)b->data + b->len);
	b->len += HEX_LEN(bytes.len);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int hex_decode_buf(struct bytes text, size_t max, struct buf *to)
{
	size_t before = to->len;

	if (text.len % 2 != 0 || text.len / 2 > max) {
		return KLUIS_EINVAL;
	}
	for (size_t i = 0; i < text.len; i += 2) {
		int high = hex_value((char)text.data[i]), low = hex_value((char)text.data[i + 1]);

		if (high < 0 || low < 0) {
			to->len = before;
			return KLUIS_EINVAL;
		}
		*buf_extend(to, 1) = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* What a growing decoder gave, if it is exactly len bytes. */
static int text_take_exact(struct buf *got, int rc, void *to, size_t len)
{
	if (rc == 0 && got->len != len) {
		rc = KLUIS_EINVAL;
	}
	if (rc == 0 && len > 0) {
		memcpy(to, got->data, len);
	}
	buf_release(got);
	return rc;
}

int hex_decode(const char *text, void *to, size_t len)
{
	struct buf got = BUF_INIT;

	return text_take_exact(&got, hex_decode_buf(bytes_str(text), len, &got), to, len);
}

void base64_encode(struct bytes bytes, char *to)
{
	size_t i = 0;

	for (; i + 3 <= bytes.len; i += 3) {
		uint32_t v = (uint32_t)bytes.data[i] << 16 | (uint32_t)bytes.data[i + 1] << 8 |
			     bytes.data[i + 2];

		for (int k = 18; k >= 0; k -= 6) {
			*to++ = base64_digits[v >> k & 63];
		}
	}
	if (i < bytes.len) {
		uint32_t v = (uint32_t)bytes.data[i] << 16;

		v |= i + 1 < bytes.len ? (uint32_t)bytes.data[i + 1] << 8 : 0;
		*to++ = base64_digits[v >> 18];
		*to++ = base64_digits[v >> 12 & 63];
		if (i + 1 < bytes.len) {
			*to++ = base64_digits[v >> 6 & 63];
		}
	}
	*to = 0;
}

void base64_append(struct buf *b, struct bytes bytes)
{
	buf_reserve(b, BASE64_LEN(bytes.len) + 1);
	base64_encode(bytes, (char *)b->data + b->len);
	b->len += BASE64_LEN(bytes.len);
}

static int base64_value(uint8_t c)
{
	const char *at = c == 0 ? NULL : strchr(base64_digits, c);

	return at == NULL ? -1 : (int)(at - base64_digits);
}

/* Digits of `width` bits to the bytes they make, whose number the caller has found to be possible;
 * *to as it was after a failure. */
static int text_decode(struct bytes text, unsigned width, int (*digit)(uint8_t c), struct buf *to)
{
	size_t before = to->len;
	uint32_t bits = 0;
	unsigned have = 0;

	buf_reserve(to, text.len * width / 8); /* At once: secrets pass here. */
	for (size_t i = 0; i < text.len; i++) {
		int value = digit(text.data[i]);

		if (value < 0) {
			to->len = before;
			return KLUIS_EINVAL;
		}
		bits = bits << width | (uint32_t)value;
		have += width;
		if (have >= 8) {
			have -= 8;
			*buf_extend(to, 1) = (uint8_t)(bits >> have);
			bits &= (1U << have) - 1;
		}
	}
	if (bits != 0) { /* One value, one spelling. */
		to->len = before;
		return KLUIS_EINVAL;
	}
	return 0;
}

void base64_plain_append(struct buf *b, struct bytes bytes)
{
	size_t from = b->len;

	base64_append(b, bytes);
	for (size_t i = from; i < b->len; i++) {
		uint8_t c = b->data[i];

		b->data[i] = c == '-' ? '+' : c == '_' ? '/' : c;
	}
	buf_append(b, "==", (3 - bytes.len % 3) % 3);
}

int base64_decode(struct bytes text, size_t max, struct buf *to)
{
	if (text.len % 4 == 1 ||
		text.len / 4 * 3 + (text.len % 4 == 0 ? 0 : text.len % 4 - 1) > max) {
		return KLUIS_EINVAL;
	}
	return text_decode(text, 6, base64_value, to);
}

int base64_decode_exact(struct bytes text, void *to, size_t len)
{
	struct buf got = BUF_INIT;

	return text_take_exact(&got, base64_decode(text, len, &got), to, len);
}

void base32_append(struct buf *b, struct bytes bytes)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	uint32_t bits = 0;
	unsigned have = 0;

	buf_reserve(b, BASE32_LEN(bytes.len)); /* At once: secrets pass here. */
	for (size_t i = 0; i < bytes.len; i++) {
		bits = bits << 8 | bytes.data[i];
		for (have += 8; have >= 5; have -= 5) {
			*buf_extend(b, 1) = (uint8_t)digits[bits >> (have - 5) & 31];
		}
		bits &= (1U << have) - 1;
	}
	if (have > 0) {
		*buf_extend(b, 1) = (uint8_t)digits[bits << (5 - have) & 31];
	}
}

static int base32_value(uint8_t c)
{
	if (c >= '2' && c <= '7') {
		return c - '2' + 26;
	}
	c &= 0xdf; /* Letters of either case. */
	return c >= 'A' && c <= 'Z' ? c - 'A' : -1;
}

int base32_decode(struct bytes text, size_t max, struct buf *to)
{
	size_t spare = text.len % 8;

	if (spare == 1 || spare == 3 || spare == 6 || text.len / 8 * 5 + spare * 5 / 8 > max) {
		return KLUIS_EINVAL;
	}
	return text_decode(text, 5, base32_value, to);
}

int u64_parse(struct bytes text, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (text.len == 0 || text.len > 20 || (text.len > 1 && text.data[0] == '0')) {
		return KLUIS_EINVAL;
	}
	for (size_t i = 0; i < text.len; i++) {
		unsigned digit = (unsigned)text.data[i] - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10) {
			return KLUIS_EINVAL;
		}
		value = value * 10 + digit;
	}
	if (value > max) {
		return KLUIS_EINVAL;
	}
	*ret_value = value;
	return 0;
}

/* Length of the sequence that starts with `lead`, and the bounds of its second byte (RFC 3629
 * section 4). */
static size_t utf8_sequence(uint8_t lead, uint8_t *low, uint8_t *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (lead >= 0x01 && lead <= 0x7f) {
		return 1;
	}
	if (lead >= 0xc2 && lead <= 0xdf) {
		return 2;
	}
	if (lead >= 0xe0 && lead <= 0xef) {
		*low = lead == 0xe0 ? 0xa0 : 0x80;
		*high = lead == 0xed ? 0x9f : 0xbf;
		return 3;
	}
	if (lead >= 0xf0 && lead <= 0xf4) {
		*low = lead == 0xf0 ? 0x90 : 0x80;
		*high = lead == 0xf4 ? 0x8f : 0xbf;
		return 4;
	}
	return 0;
}

bool utf8_valid(struct bytes text)
{
	size_t i = 0;

	while (i < text.len) {
		uint8_t low, high;
		size_t n = utf8_sequence(text.data[i], &low, &high);

		if (n == 0 || n > text.len - i) {
			return false;
		}
		for (size_t k = 1; k < n; k++) {
			uint8_t c = text.data[i + k];

			if (c < low || c > high) {
				return false;
			}
			low = 0x80;
			high = 0xbf;
		}
		i += n;
	}
	return true;
}

bool text_printable(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i], next = i + 1 < text.len ? text.data[i + 1] : 0;

		if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0)) {
			return false;
		}
	}
	return utf8_valid(text);
}
