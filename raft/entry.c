#include "raft/entry.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"

struct entry *entry_new(uint64_t index, uint64_t term, enum entry_type type, size_t len)
{
	struct entry *entry;

	assert(len <= ENTRY_BYTES_MAX);
	assert(entry_type_valid(type));
	entry = x_malloc(sizeof *entry + len);
	atomic_init(&entry->refs, 1);
	entry->len = (uint32_t)len;
	entry->index = index;
	entry->term = term;
	entry->type = (uint8_t)type;
	return entry;
}

struct entry *entry_copy(uint64_t index, uint64_t term, enum entry_type type, struct bytes data)
{
	struct entry *entry = entry_new(index, term, type, data.len);

	if (data.len > 0) {
		memcpy(entry->data, data.data, data.len);
	}
	return entry;
}

struct entry *entry_ref(struct entry *entry)
{
	unsigned before = atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);

	assert(before > 0 && before < UINT32_MAX / 2);
	return entry;
}

void entry_unref(struct entry *entry)
{
	unsigned before;

	if (entry == NULL) {
		return;
	}
	before = atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel);
	assert(before > 0);
	if (before == 1) {
		free(entry);
	}
}

struct bytes entry_bytes(const struct entry *entry)
{
	return bytes_of(entry->data, entry->len);
}

bool entry_type_valid(unsigned type)
{
	return type >= ENTRY_COMMAND && type <= ENTRY_CONFIGURATION;
}
