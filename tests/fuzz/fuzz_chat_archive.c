/* Pages of a conversation's history, as a member may have written them: what decodes encodes to the
 * same bytes, and can be merged with itself. The first byte chooses index or segment. */
#include <stdlib.h>
#include <string.h>

#include "cli/client/chat_archive.h"

static const uint8_t conv_id[ID_BYTES] = {0xc0, 1};

static void check_same(const struct buf *encoded, struct bytes given)
{
	if (!bytes_equal(buf_bytes(encoded), given)) {
		abort();
	}
}

static void check_index(struct bytes given)
{
	_cleanup_(x_freep) struct chat_index *index = x_calloc(1, sizeof *index);
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	if (chat_index_decode(given, conv_id, index, NULL) != 0) {
		return;
	}
	chat_index_encode(index, conv_id, &encoded);
	check_same(&encoded, given);
	for (size_t i = 0; i < index->n; i++) {
		if (chat_index_find(index, index->rows[i].first_seq) != i) {
			abort();
		}
	}
}

static void check_segment(struct bytes given)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT, again = BUF_INIT;
	struct chat_segment segment, copy = {.n = 0};

	if (chat_segment_decode(given, conv_id, &segment, NULL) != 0) {
		return;
	}
	chat_segment_encode(&segment, conv_id, &encoded);
	check_same(&encoded, given);
	for (size_t i = segment.n; i > 0; i--) {
		const struct chat_record *record = &segment.records[i - 1];

		if (chat_segment_take(&segment, record, SIZE_MAX) != CHAT_MERGE_HELD ||
			chat_segment_take(&copy, record, SIZE_MAX) != CHAT_MERGE_TAKEN) {
			abort();
		}
	}
	chat_segment_encode(&copy, conv_id, &again);
	check_same(&again, given);
	chat_segment_release(&segment);
	chat_segment_release(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] == 0) {
		check_index(bytes_of(data + 1, size - 1));
	} else if (size > 0) {
		check_segment(bytes_of(data + 1, size - 1));
	}
	return 0;
}
