#include "cli/client/chat_archive.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/wire.h"

enum {
	ARCHIVE_VERSION = 1,
	ARCHIVE_INDEX = 1,
	ARCHIVE_SEGMENT = 2,
	ARCHIVE_HISTORY = 1, /* Flag of an index. */
	ARCHIVE_FIXED_BYTES = 4 + 1 + 1 + 2 + ID_BYTES + 4,
	RECORD_FIXED_BYTES = 8 + 8 + 1 + CHAT_KEY_BYTES + 4,
	SEGMENT_RECORDS_MIN = 64,
};

static const char archive_magic[] = "KCA1";
static const uint8_t no_key[CHAT_KEY_BYTES];

static void archive_head(
	unsigned kind, unsigned flags, const uint8_t conv_id[ID_BYTES], size_t n, struct buf *to)
{
	buf_put_str(to, archive_magic);
	buf_put_u8(to, ARCHIVE_VERSION);
	buf_put_u8(to, kind);
	buf_put_u8(to, flags);
	buf_put_u8(to, 0);
	buf_append(to, conv_id, ID_BYTES);
	buf_put_u32(to, n);
}

static int archive_read_head(struct wire *w, unsigned kind, const uint8_t conv_id[ID_BYTES],
	unsigned *ret_flags, uint32_t *ret_n, struct err *e)
{
	uint8_t id[ID_BYTES];
	bool ours = wire_match(w, archive_magic);
	unsigned version = wire_u8(w);

	if (ours && wire_ok(w) && version != ARCHIVE_VERSION) {
		return err_set(e, KLUIS_EVERSION, "history of version %u", version);
	}
	if (wire_u8(w) != kind) {
		wire_fail(w);
	}
	*ret_flags = wire_u8(w);
	wire_zeros(w, 1);
	wire_copy(w, id, ID_BYTES);
	*ret_n = wire_u32(w);
	return wire_ok(w) && memcmp(id, conv_id, ID_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_ECORRUPT, "the history: malformed, or of another one");
}

static void record_release(struct chat_record *record)
{
	secret_clear(record->key, sizeof record->key);
	buf_release(&record->message);
}

void chat_segment_release(struct chat_segment *segment)
{
	for (size_t i = 0; i < segment->n; i++) {
		record_release(&segment->records[i]);
	}
	free(segment->records);
	*segment = (struct chat_segment){.n = 0};
}

static size_t record_bytes(const struct chat_record *record)
{
	return RECORD_FIXED_BYTES + record->message.len;
}

void chat_segment_encode(
	const struct chat_segment *segment, const uint8_t conv_id[ID_BYTES], struct buf *to)
{
	size_t before = to->len;

	assert(segment->n > 0);
	archive_head(ARCHIVE_SEGMENT, 0, conv_id, segment->n, to);
	for (size_t i = 0; i < segment->n; i++) {
		const struct chat_record *r = &segment->records[i];

		buf_put_u64(to, r->seq);
		buf_put_u64(to, r->time_ms);
		buf_put_u8(to, r->opened);
		buf_append(to, r->opened ? r->key : no_key, CHAT_KEY_BYTES);
		buf_put_lp32(to, buf_bytes(&r->message));
	}
	assert(to->len - before == segment->bytes);
}

/* No copies of keys are left behind. */
static void segment_grow(struct chat_segment *segment)
{
	size_t cap = segment->cap == 0 ? SEGMENT_RECORDS_MIN : 2 * segment->cap;
	struct chat_record *records = x_calloc(cap, sizeof *records);

	if (segment->n > 0) {
		memcpy(records, segment->records, segment->n * sizeof *records);
		secret_clear(segment->records, segment->n * sizeof *records);
	}
	free(segment->records);
	segment->records = records;
	segment->cap = cap;
}

/* Room for a record at `at`. */
static struct chat_record *segment_insert(struct chat_segment *segment, size_t at)
{
	if (segment->n == segment->cap) {
		segment_grow(segment);
	}
	memmove(&segment->records[at + 1], &segment->records[at],
		(segment->n - at) * sizeof *segment->records);
	segment->n++;
	return &segment->records[at];
}

static bool record_read(struct wire *w, const uint8_t conv_id[ID_BYTES], uint64_t after,
	struct chat_record *ret, struct bytes *ret_message)
{
	struct chat_message parsed;
	uint8_t opened;

	*ret = (struct chat_record){.seq = wire_u64(w), .message = BUF_INIT};
	ret->time_ms = wire_u64(w);
	opened = wire_u8(w);
	wire_copy(w, ret->key, CHAT_KEY_BYTES);
	*ret_message = wire_lp32(w, CHAT_MESSAGE_BYTES_MAX);
	ret->opened = opened == 1;
	if (!wire_ok(w) || opened > 1 || ret->seq <= after ||
		(!ret->opened && memcmp(ret->key, no_key, CHAT_KEY_BYTES) != 0) ||
		chat_parse(*ret_message, &parsed, NULL) != 0 ||
		memcmp(parsed.place.conv_id, conv_id, ID_BYTES) != 0) {
		return false;
	}
	memcpy(ret->link, parsed.link, HASH_BYTES);
	return true;
}

int chat_segment_decode(struct bytes encoded, const uint8_t conv_id[ID_BYTES],
	struct chat_segment *ret, struct err *e)
{
	struct chat_segment segment = {.bytes = encoded.len};
	struct wire w = wire_of(encoded);
	uint64_t seq = 0;
	unsigned flags;
	uint32_t n;
	int rc = archive_read_head(&w, ARCHIVE_SEGMENT, conv_id, &flags, &n, e);

	if (rc != 0) {
		return rc;
	}
	for (uint32_t i = 0; i < n && wire_ok(&w); i++) {
		struct chat_record record;
		struct bytes message;

		if (!record_read(&w, conv_id, seq, &record, &message)) {
			wire_fail(&w);
			break;
		}
		buf_append_bytes(&record.message, message);
		*segment_insert(&segment, segment.n) = record;
		seq = record.seq;
	}
	if (!wire_end(&w) || n == 0 || flags != 0) {
		chat_segment_release(&segment);
		return err_set(e, KLUIS_ECORRUPT, "a segment of the history is malformed");
	}
	*ret = segment;
	return 0;
}

/* Of the first record that is not before seq. */
static size_t segment_place(const struct chat_segment *segment, uint64_t seq)
{
	size_t low = 0, high = segment->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (segment->records[middle].seq < seq) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

const struct chat_record *chat_segment_find(const struct chat_segment *segment, uint64_t seq)
{
	size_t at = segment_place(segment, seq);

	return at < segment->n && segment->records[at].seq == seq ? &segment->records[at] : NULL;
}

enum chat_merge chat_segment_take(
	struct chat_segment *segment, const struct chat_record *record, size_t bytes_max)
{
	size_t at = segment_place(segment, record->seq);
	size_t more = record_bytes(record) + (segment->n == 0 ? ARCHIVE_FIXED_BYTES : 0);
	struct chat_record *place;

	if (at < segment->n && segment->records[at].seq == record->seq) {
		place = &segment->records[at];
		/* The signature of the same message may be another one. */
		if (memcmp(place->link, record->link, HASH_BYTES) != 0) {
			return CHAT_MERGE_OTHER;
		}
		if (place->opened || !record->opened) {
			return CHAT_MERGE_HELD;
		}
		place->opened = true;
		memcpy(place->key, record->key, CHAT_KEY_BYTES);
		return CHAT_MERGE_TAKEN;
	}
	/* One message always fits, however long it is. */
	if (segment->n > 0 && segment->bytes + more > bytes_max) {
		return CHAT_MERGE_FULL;
	}
	place = segment_insert(segment, at);
	*place = *record;
	place->message = BUF_INIT;
	buf_append_bytes(&place->message, buf_bytes(&record->message));
	segment->bytes += more;
	return CHAT_MERGE_TAKEN;
}

void chat_index_encode(
	const struct chat_index *index, const uint8_t conv_id[ID_BYTES], struct buf *to)
{
	archive_head(ARCHIVE_INDEX, index->history ? ARCHIVE_HISTORY : 0, conv_id, index->n, to);
	for (size_t i = 0; i < index->n; i++) {
		buf_put_u64(to, index->rows[i].page_no);
		buf_put_u64(to, index->rows[i].first_seq);
	}
}

int chat_index_decode(struct bytes encoded, const uint8_t conv_id[ID_BYTES], struct chat_index *ret,
	struct err *e)
{
	_cleanup_(x_freep) struct chat_index *index = x_calloc(1, sizeof *index);
	struct chat_index_row last = {.page_no = CHAT_INDEX_PAGE};
	struct wire w = wire_of(encoded);
	unsigned flags;
	uint32_t n;
	int rc = archive_read_head(&w, ARCHIVE_INDEX, conv_id, &flags, &n, e);

	if (rc != 0) {
		return rc;
	}
	if (n > CHAT_SEGMENTS_MAX || flags > ARCHIVE_HISTORY) {
		wire_fail(&w);
	}
	index->history = flags == ARCHIVE_HISTORY;
	for (uint32_t i = 0; i < n && wire_ok(&w); i++) {
		struct chat_index_row row = {.page_no = wire_u64(&w), .first_seq = wire_u64(&w)};

		if (row.page_no <= last.page_no || row.first_seq <= last.first_seq) {
			wire_fail(&w);
		}
		index->rows[index->n++] = row;
		last = row;
	}
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_ECORRUPT, "the index of the history is malformed");
	}
	*ret = *index;
	return 0;
}

size_t chat_index_find(const struct chat_index *index, uint64_t seq)
{
	size_t low = 0, high = index->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (index->rows[middle].first_seq <= seq) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low == 0 ? 0 : low - 1;
}
