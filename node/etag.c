#include "node/etag.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "node/http_message.h"

void etag_format(uint64_t revision, const uint8_t hash[32], char to[ETAG_CHARS_MAX + 1])
{
	char hex[HEX_LEN(8) + 1];
	int n;

	hex_encode(bytes_of(hash, 8), hex);
	n = snprintf(to, ETAG_CHARS_MAX + 1, "\"%llu-%s\"", (unsigned long long)revision, hex);
	assert(n > 0 && n <= ETAG_CHARS_MAX);
}

/* Takes one tag with its quotes off the list. */
static int tag_next(struct bytes *list, bool *ret_weak, struct bytes *ret_tag)
{
	bool weak = list->len >= 2 && list->data[0] == 'W' && list->data[1] == '/';
	size_t at = weak ? 2 : 0, end = at + 1;

	if (at >= list->len || list->data[at] != '"') {
		return KLUIS_EINVAL;
	}
	while (end < list->len && list->data[end] != '"') {
		if (list->data[end] <= 0x20 || list->data[end] == 0x7f) {
			return KLUIS_EINVAL;
		}
		end++;
	}
	if (end == list->len) {
		return KLUIS_EINVAL;
	}
	*ret_weak = weak;
	*ret_tag = bytes_of(list->data + at, end + 1 - at);
	*list = bytes_trim(bytes_of(list->data + end + 1, list->len - end - 1));
	return 0;
}

int etag_match(struct bytes field, const char *current, bool weak, bool *ret_match)
{
	bool match = false;

	field = bytes_trim(field);
	if (bytes_is(field, "*")) {
		*ret_match = current != NULL;
		return 0;
	}
	do {
		bool tag_weak;
		struct bytes tag;
		int rc = tag_next(&field, &tag_weak, &tag);

		if (rc != 0) {
			return rc;
		}
		if (current != NULL && (weak || !tag_weak) && bytes_is(tag, current)) {
			match = true;
		}
		if (field.len > 0) {
			if (field.data[0] != ',' || field.len == 1) {
				return KLUIS_EINVAL;
			}
			field = bytes_trim(bytes_of(field.data + 1, field.len - 1));
		}
	} while (field.len > 0);
	*ret_match = match;
	return 0;
}

static int range_suffix(struct bytes text, uint64_t size, uint64_t *ret_first, uint64_t *ret_len)
{
	uint64_t n;

	if (u64_parse(text, UINT64_MAX, &n) != 0) {
		return 1;
	}
	if (n == 0 || size == 0) {
		return KLUIS_ERANGE;
	}
	*ret_len = n < size ? n : size;
	*ret_first = size - *ret_len;
	return 0;
}

int range_parse(struct bytes field, uint64_t size, uint64_t *ret_first, uint64_t *ret_len)
{
	static const char unit[] = "bytes=";
	const size_t unit_len = sizeof unit - 1;
	uint64_t first, last = UINT64_MAX;
	const uint8_t *dash;
	struct bytes rest;

	if (field.len <= unit_len || memcmp(field.data, unit, unit_len) != 0) {
		return 1;
	}
	rest = bytes_of(field.data + unit_len, field.len - unit_len);
	dash = memchr(rest.data, '-', rest.len);
	if (dash == NULL) {
		return 1;
	}
	if (dash == rest.data) {
		return range_suffix(bytes_of(dash + 1, rest.len - 1), size, ret_first, ret_len);
	}
	if (u64_parse(bytes_of(rest.data, (size_t)(dash - rest.data)), UINT64_MAX, &first) != 0) {
		return 1;
	}
	rest = bytes_of(dash + 1, rest.len - (size_t)(dash - rest.data) - 1);
	if (rest.len > 0 && (u64_parse(rest, UINT64_MAX, &last) != 0 || last < first)) {
		return 1;
	}
	if (first >= size) {
		return KLUIS_ERANGE;
	}
	*ret_first = first;
	*ret_len = (last < size - 1 ? last : size - 1) - first + 1;
	return 0;
}
