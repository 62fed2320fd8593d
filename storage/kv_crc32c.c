/* RocksDB's CRC-32C by the processor's instruction. Debian builds librocksdb for every x86-64, so
 * without SSE 4.2: its own function is a table walk and takes an eighth of all CPU when pages of 64
 * KiB are stored (docs/performance.md). The library calls it through its symbol table, where a
 * definition of the program comes first (System V ABI, "Shared object dependencies"); should
 * another release call it otherwise, its own is used again and nothing else changes. */
#include "base/crc32c.h"

/* rocksdb::crc32c::Extend(unsigned int, char const*, unsigned long) */
__attribute__((visibility("default"))) uint32_t kv_crc32c_extend(
	uint32_t crc, const char *data, size_t len) __asm__("_ZN7rocksdb6crc32c6ExtendEjPKcm");

uint32_t kv_crc32c_extend(uint32_t crc, const char *data, size_t len)
{
	return crc32c(crc, (struct bytes){(const uint8_t *)data, len});
}
