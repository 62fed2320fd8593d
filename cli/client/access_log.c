#include "cli/client/access_log.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "crypto/hash.h"

enum { LOG_ROW_FORMAT = 1, LOG_OBJECT_BYTES_MAX = 32, LOG_FILE_BYTES_MAX = 1024 };

struct log_row {
	uint64_t seq;
	uint8_t prev_hash[HASH_BYTES], hash[HASH_BYTES];
};

/* A row as the state machine stores and hashes it (docs/format-storage.md, family 35): its JSON has
 * each of the fields. */
static void row_hash(struct json_reader *r, struct log_row *row)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	const char *object = json_reader_string(r, "object");
	uint8_t id[ID_BYTES], bytes[LOG_OBJECT_BYTES_MAX];
	size_t len = strlen(object) / 2;

	buf_put_u8(&value, LOG_ROW_FORMAT);
	buf_put_u64(&value, json_reader_u64(r, "time"));
	buf_put_u64(&value, json_reader_u64(r, "index"));
	buf_put_u8(&value, (unsigned)(json_reader_u64(r, "code") & UINT8_MAX));
	json_reader_hex(r, "actor", id, ID_BYTES);
	buf_append(&value, id, ID_BYTES);
	json_reader_hex(r, "device_id", id, ID_BYTES);
	buf_append(&value, id, ID_BYTES);
	buf_put_lp16(&value, bytes_str(json_reader_string(r, "behalf")));
	if (len > sizeof bytes || hex_decode(object, bytes, len) != 0) {
		r->failed = "object";
		return;
	}
	buf_put_lp16(&value, bytes_of(bytes, len));
	buf_append(&value, row->prev_hash, HASH_BYTES);
	hash_sha256(buf_bytes(&value), row->hash);
}

static int row_read(
	const struct profile *profile, const json_t *item, struct log_row *ret_row, struct err *e)
{
	struct json_reader r = json_reader_of(item);
	struct log_row row = {.seq = json_reader_u64(&r, "seq")};
	uint8_t subject[ID_BYTES];

	json_reader_hex(&r, "subject", subject, ID_BYTES);
	json_reader_hex(&r, "prev_hash", row.prev_hash, HASH_BYTES);
	if (r.failed == NULL) {
		row_hash(&r, &row);
	}
	if (json_reader_end(&r, "access log", e) != 0 ||
		memcmp(subject, profile->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY,
			"the access log: a row is malformed, or of another account");
	}
	*ret_row = row;
	return 0;
}

/* What was seen before: lineage16 | u64 seq | hash32. seq 0: nothing, or under another lineage. */
static int pin_read(const struct profile *profile, struct log_row *ret_pin, struct err *e)
{
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	uint8_t lineage[ID_BYTES];
	struct err why = {0};
	struct wire w;
	int rc = profile_read(profile, "log", PROFILE_LOG, LOG_FILE_BYTES_MAX, &payload, &why);

	*ret_pin = (struct log_row){.seq = 0};
	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	if (rc != 0) {
		return err_set(e, rc, "%s", why.text);
	}
	w = wire_of(buf_bytes(&payload));
	wire_copy(&w, lineage, ID_BYTES);
	ret_pin->seq = wire_u64(&w);
	wire_copy(&w, ret_pin->hash, HASH_BYTES);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_ECORRUPT, "profile file 'log': malformed");
	}
	if (memcmp(lineage, profile->lineage, ID_BYTES) != 0) {
		ret_pin->seq = 0;
	}
	return 0;
}

static int pin_write(const struct profile *profile, const struct log_row *newest, struct err *e)
{
	_cleanup_(buf_release) struct buf payload = BUF_INIT;

	buf_append(&payload, profile->lineage, ID_BYTES);
	buf_put_u64(&payload, newest->seq);
	buf_append(&payload, newest->hash, HASH_BYTES);
	return profile_write(profile, "log", PROFILE_LOG, buf_bytes(&payload), e);
}

/* Of one row behind `last` (seq 0: it is the first that is shown). */
static int row_check(const struct log_row *row, const struct log_row *last,
	const struct log_row *pin, struct err *e)
{
	bool first = last->seq == 0;

	if (row->seq == 0 ||
		(!first && (row->seq != last->seq + 1 ||
				   memcmp(row->prev_hash, last->hash, HASH_BYTES) != 0))) {
		return err_set(e, KLUIS_EVERIFY,
			"the access log: row %" PRIu64 " does not follow the one before", row->seq);
	}
	if ((row->seq == pin->seq && memcmp(row->hash, pin->hash, HASH_BYTES) != 0) ||
		(first && row->seq == pin->seq + 1 && pin->seq > 0 &&
			memcmp(row->prev_hash, pin->hash, HASH_BYTES) != 0)) {
		return err_set(e, KLUIS_EPIN,
			"the access log: row %" PRIu64 " is another than this profile has seen",
			pin->seq);
	}
	return 0;
}

int access_log_check(const struct profile *profile, const json_t *items, struct err *e)
{
	struct log_row pin, last = {.seq = 0};
	const json_t *item;
	size_t i;
	int rc = pin_read(profile, &pin, e);

	json_array_foreach(items, i, item)
	{
		struct log_row row;

		rc = rc != 0 ? rc : row_read(profile, item, &row, e);
		rc = rc != 0 ? rc : row_check(&row, &last, &pin, e);
		if (rc != 0) {
			return rc;
		}
		last = row;
	}
	if (rc == 0 && last.seq < pin.seq) {
		return err_set(e, KLUIS_EPIN,
			"the access log ends at row %" PRIu64
			", this profile has seen row %" PRIu64,
			last.seq, pin.seq);
	}
	return rc != 0 || last.seq == 0 ? rc : pin_write(profile, &last, e);
}
