#include "raft/vote_file.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum { VOTE_PAYLOAD_BYTES = LOG_ID_BYTES + 16 };
static const char vote_magic[] = "KLVT";

static void vote_encode(const uint8_t log_id[LOG_ID_BYTES], uint64_t term, uint64_t vote,
	uint8_t to[VOTE_PAYLOAD_BYTES])
{
	memcpy(to, log_id, LOG_ID_BYTES);
	store_u64(to + LOG_ID_BYTES, term);
	store_u64(to + LOG_ID_BYTES + 8, vote);
}

int vote_file_create(const char *path, const uint8_t log_id[LOG_ID_BYTES], uint64_t term,
	uint64_t vote, struct err *e)
{
	uint8_t payload[VOTE_PAYLOAD_BYTES];

	vote_encode(log_id, term, vote, payload);
	return slot_file_create(path, vote_magic, bytes_of(payload, sizeof payload), e);
}

int vote_file_open(
	struct vote_file *file, const char *path, const uint8_t log_id[LOG_ID_BYTES], struct err *e)
{
	uint8_t payload[VOTE_PAYLOAD_BYTES];
	int rc = slot_file_open(&file->slots, path, vote_magic, payload, sizeof payload, e);

	if (rc != 0) {
		return rc;
	}
	if (memcmp(payload, log_id, LOG_ID_BYTES) != 0) {
		slot_file_close(&file->slots);
		return err_set(
			e, KLUIS_ECORRUPT, "'%s' belongs to another log: it was copied here", path);
	}
	memcpy(file->log_id, log_id, LOG_ID_BYTES);
	file->term = load_u64(payload + LOG_ID_BYTES);
	file->vote = load_u64(payload + LOG_ID_BYTES + 8);
	return 0;
}

void vote_file_set(struct vote_file *file, uint64_t term, uint64_t vote)
{
	uint8_t payload[VOTE_PAYLOAD_BYTES];

	assert(term >= file->term);
	assert(term > file->term || file->vote == 0 || file->vote == vote);
	if (term == file->term && vote == file->vote) {
		return;
	}
	vote_encode(file->log_id, term, vote, payload);
	slot_file_write(&file->slots, payload);
	file->term = term;
	file->vote = vote;
}

void vote_file_close(struct vote_file *file)
{
	slot_file_close(&file->slots);
}
