#include "base/limits.h"
#include "raft/segment.h"

/* A segment's bytes as a disk may give them: the head, every record, the search for damage. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes bytes = bytes_of(data, size);
	struct segment_head head;
	struct segment_record record;
	size_t at = SEGMENT_HEAD_BYTES;

	if (segment_head_decode(bytes, &head) != 0) {
		/* The records behind a bad head are never read in the node; here they are. */
		head = (struct segment_head){.epoch = 1, .first_index = 1, .salt = 0x4b4c5547};
		at = 0;
	}
	while (at <= size && segment_record_decode(&head, bytes, at, &record) == 0) {
		if (record.data.len > ENTRY_BYTES_MAX || at + record.bytes > size) {
			__builtin_trap();
		}
		at += record.bytes;
	}
	if (at <= size) {
		(void)segment_is_damaged(&head, bytes, at);
	}
	return 0;
}
