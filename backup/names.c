#include "backup/names.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { HASH_CHARS = 64, LINEAGE_CHARS = 32, INDEX_CHARS = 16 };

void drop_name_format(const struct drop_name *name, char to[DROP_NAME_BYTES])
{
	char hash[HASH_CHARS + 1];

	assert(name->attempt <= ATTEMPT_MAX);
	hex_encode(bytes_of(name->hash, sizeof name->hash), hash);
	(void)snprintf(to, DROP_NAME_BYTES, "%c-%s.%u", name->manifest ? 'm' : 'o', hash,
		name->attempt); /* Fits: 2 + 64 + 1 + 4 + 1. */
}

/* Lower-case digits only: one name for one hash. */
static bool names_hex(const char *text, size_t chars, uint8_t *to)
{
	char copy[HASH_CHARS + 1];

	assert(chars <= HASH_CHARS);
	if (strnlen(text, chars) < chars || strspn(text, "0123456789abcdef") < chars) {
		return false;
	}
	memcpy(copy, text, chars);
	copy[chars] = 0;
	return hex_decode(copy, to, chars / 2) == 0;
}

bool drop_name_parse(const char *text, struct drop_name *ret_name)
{
	struct drop_name name = {.manifest = text[0] == 'm'};
	uint64_t attempt = 0;

	if ((text[0] != 'm' && text[0] != 'o') || text[1] != '-' ||
		!names_hex(text + 2, HASH_CHARS, name.hash) || text[2 + HASH_CHARS] != '.' ||
		u64_parse(bytes_str(text + 3 + HASH_CHARS), ATTEMPT_MAX, &attempt) != 0) {
		return false;
	}
	name.attempt = (unsigned)attempt;
	*ret_name = name;
	return true;
}

void manifest_name_format(const struct manifest_name *name, char to[MANIFEST_NAME_BYTES])
{
	char lineage[LINEAGE_CHARS + 1], hash[HASH_CHARS + 1];

	hex_encode(bytes_of(name->lineage, sizeof name->lineage), lineage);
	hex_encode(bytes_of(name->hash, sizeof name->hash), hash);
	(void)snprintf(to, MANIFEST_NAME_BYTES, "%s-%016llx-%s", lineage,
		(unsigned long long)name->index, hash); /* Fits: 32 + 1 + 16 + 1 + 64 + 1. */
}

bool manifest_name_parse(const char *text, struct manifest_name *ret_name)
{
	const char *index = text + LINEAGE_CHARS + 1, *hash = index + INDEX_CHARS + 1;
	struct manifest_name name;
	uint8_t raw[8];

	if (strlen(text) != MANIFEST_NAME_BYTES - 1 ||
		!names_hex(text, LINEAGE_CHARS, name.lineage) || index[-1] != '-' ||
		!names_hex(index, INDEX_CHARS, raw) || hash[-1] != '-' ||
		!names_hex(hash, HASH_CHARS, name.hash)) {
		return false;
	}
	name.index = 0;
	for (size_t i = 0; i < sizeof raw; i++) {
		name.index = name.index << 8 | raw[i];
	}
	*ret_name = name;
	return true;
}
