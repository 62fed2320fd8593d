#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

static uint32_t crc_table[256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_table_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;

		for (int bit = 0; bit < 8; bit++) {
			value = value & 1 ? value >> 1 ^ 0x82f63b78U : value >> 1;
		}
		crc_table[i] = value;
	}
}

static uint32_t crc_portable(uint32_t crc, const uint8_t *data, size_t len)
{
	(void)pthread_once(&crc_once, crc_table_init); /* Cannot fail with a valid once. */
	for (size_t i = 0; i < len; i++) {
		crc = crc >> 8 ^ crc_table[(crc ^ data[i]) & 0xff];
	}
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(
	uint32_t crc, const uint8_t *data, size_t len)
{
	uint64_t wide = crc;

	for (; len >= 8; data += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, data, sizeof word);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len > 0; data++, len--) {
		crc = __builtin_ia32_crc32qi(crc, *data);
	}
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, struct bytes bytes)
{
	crc = ~crc;
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2")) {
		return ~crc_sse42(crc, bytes.data, bytes.len);
	}
#endif
	return ~crc_portable(crc, bytes.data, bytes.len);
}
