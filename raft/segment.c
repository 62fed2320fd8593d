#include "raft/segment.h"

#include <assert.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/wire.h"
#include "raft/entry.h"

enum { SEGMENT_VERSION = 1, SEGMENT_HEAD_CRC_AT = 56 };
static const char segment_magic[] = "KLSG";

void segment_head_encode(struct segment_head *head, uint8_t to[SEGMENT_HEAD_BYTES])
{
	assert(head->epoch > 0 && head->salt != 0);
	memset(to, 0, SEGMENT_HEAD_BYTES);
	memcpy(to, segment_magic, 4);
	to[4] = SEGMENT_VERSION;
	memcpy(to + 8, head->log_id, LOG_ID_BYTES);
	store_u64(to + 24, head->epoch);
	store_u64(to + 32, head->first_index);
	store_u32(to + 40, head->bytes);
	store_u32(to + 44, head->salt);
	store_u32(to + 48, head->prev_end);
	store_u32(to + 52, head->prev_crc);
	head->seed = crc32c(0, bytes_of(to, SEGMENT_HEAD_CRC_AT));
	store_u32(to + SEGMENT_HEAD_CRC_AT, head->seed);
}

int segment_head_decode(struct bytes bytes, struct segment_head *ret_head)
{
	struct wire w = wire_of(bytes_of(
		bytes.data, bytes.len < SEGMENT_HEAD_BYTES ? bytes.len : SEGMENT_HEAD_BYTES));
	struct segment_head head;
	uint8_t version;

	wire_match(&w, segment_magic);
	version = wire_u8(&w);
	wire_zeros(&w, 3);
	wire_copy(&w, head.log_id, LOG_ID_BYTES);
	head.epoch = wire_u64(&w);
	head.first_index = wire_u64(&w);
	head.bytes = wire_u32(&w);
	head.salt = wire_u32(&w);
	head.prev_end = wire_u32(&w);
	head.prev_crc = wire_u32(&w);
	head.seed = wire_u32(&w);
	wire_zeros(&w, SEGMENT_HEAD_BYTES - SEGMENT_HEAD_CRC_AT - 4);
	if (!wire_end(&w) || head.seed != crc32c(0, bytes_of(bytes.data, SEGMENT_HEAD_CRC_AT))) {
		return KLUIS_ECORRUPT;
	}
	if (version != SEGMENT_VERSION) {
		return KLUIS_EVERSION;
	}
	if (head.epoch == 0 || head.first_index == 0 || head.salt == 0 ||
		head.bytes <= SEGMENT_HEAD_BYTES || head.bytes % SEGMENT_ALIGN != 0) {
		return KLUIS_ECORRUPT;
	}
	*ret_head = head;
	return 0;
}

size_t segment_record_bytes(size_t len)
{
	size_t bytes = SEGMENT_RECORD_HEAD_BYTES + len;

	return (bytes + SEGMENT_ALIGN - 1) / SEGMENT_ALIGN * SEGMENT_ALIGN;
}

/* Over the head behind the crc field, data and padding. */
static uint32_t segment_record_crc(
	const struct segment_head *head, const uint8_t *record_head, struct bytes data)
{
	static const uint8_t zeros[SEGMENT_ALIGN];
	size_t pad = segment_record_bytes(data.len) - SEGMENT_RECORD_HEAD_BYTES - data.len;
	uint32_t crc = crc32c(head->seed, bytes_of(record_head + 4, SEGMENT_RECORD_HEAD_BYTES - 4));

	return crc32c(crc32c(crc, data), bytes_of(zeros, pad));
}

uint32_t segment_record_encode(const struct segment_head *head, uint8_t type, uint32_t batch,
	uint64_t index, uint64_t term, struct bytes data, uint8_t to[SEGMENT_RECORD_HEAD_BYTES])
{
	uint32_t crc;

	assert(data.len <= ENTRY_BYTES_MAX && batch % SEGMENT_ALIGN == 0);
	memset(to, 0, SEGMENT_RECORD_HEAD_BYTES);
	store_u32(to + 4, (uint32_t)data.len);
	store_u32(to + 8, head->salt);
	to[12] = type;
	store_u32(to + 16, batch);
	store_u64(to + 24, index);
	store_u64(to + 32, term);
	crc = segment_record_crc(head, to, data);
	store_u32(to, crc);
	return crc;
}

static bool segment_type_valid(unsigned type)
{
	return entry_type_valid(type) || type == SEGMENT_TRUNCATE || type == SEGMENT_MARK;
}

int segment_record_decode(const struct segment_head *head, struct bytes bytes, size_t at,
	struct segment_record *ret_record)
{
	struct segment_record record = {0};
	struct wire w;
	uint32_t len;

	assert(at <= bytes.len);
	w = wire_of(bytes_of(bytes.data + at, bytes.len - at));
	record.crc = wire_u32(&w);
	len = wire_u32(&w);
	if (wire_u32(&w) != head->salt || !wire_ok(&w)) {
		return KLUIS_ENOTFOUND;
	}
	record.type = wire_u8(&w);
	wire_zeros(&w, 3);
	record.batch = wire_u32(&w);
	wire_zeros(&w, 4);
	record.index = wire_u64(&w);
	record.term = wire_u64(&w);
	if (!wire_ok(&w) || len > ENTRY_BYTES_MAX || !segment_type_valid(record.type)) {
		return KLUIS_ECORRUPT;
	}
	record.data = wire_bytes(&w, len);
	record.bytes = segment_record_bytes(len);
	wire_zeros(&w, record.bytes - SEGMENT_RECORD_HEAD_BYTES - len);
	if (!wire_ok(&w) || record.crc != segment_record_crc(head, bytes.data + at, record.data)) {
		return KLUIS_ECORRUPT;
	}
	*ret_record = record;
	return 0;
}

bool segment_is_damaged(const struct segment_head *head, struct bytes segment, size_t at)
{
	/* Cheap at each place but where the salt stands, which nobody outside can put there. */
	for (size_t i = at; i + SEGMENT_RECORD_HEAD_BYTES <= segment.len; i += SEGMENT_ALIGN) {
		struct segment_record record;

		if (segment_record_decode(head, segment, i, &record) == 0 && record.batch > at) {
			return true;
		}
	}
	return false;
}
