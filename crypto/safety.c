#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "crypto/identity.h"

enum { SAFETY_GROUPS = 12, SAFETY_HASH_BYTES = 30 };

/* Bits [20 n, 20 n + 20) of the first 30 bytes, most significant first. */
static uint32_t safety_bits(const uint8_t hash[HASH_BYTES], unsigned group)
{
	const uint8_t *at = hash + group * 5 / 2;
	uint32_t three = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];

	return group % 2 == 0 ? three >> 4 : three & 0xfffff;
}

void identity_safety_number(
	const struct safety_party *a, const struct safety_party *b, char ret_text[SAFETY_CHARS + 1])
{
	struct bytes one = bytes_of(a, sizeof *a), two = bytes_of(b, sizeof *b);
	bool swap = bytes_compare(one, two) > 0;
	uint8_t hash[HASH_BYTES];
	size_t used = 0;

	static_assert(sizeof *a == ID_BYTES + 2 * HASH_BYTES, "as hashed");
	static_assert(SAFETY_GROUPS * 20 == SAFETY_HASH_BYTES * 8, "all bits are shown");
	HASH_TH(hash, "kluis/v1/safety", swap ? two : one, swap ? one : two);
	for (unsigned i = 0; i < SAFETY_GROUPS; i++) {
		(void)snprintf(ret_text + used, SAFETY_CHARS + 1 - used, "%s%05u",
			i == 0 ? "" : " ", (unsigned)(safety_bits(hash, i) % 100000));
		used = strlen(ret_text);
	}
	assert(used == SAFETY_CHARS);
}
