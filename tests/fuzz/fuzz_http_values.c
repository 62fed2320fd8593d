/* Values inside a request that have a grammar of their own: targets, queries, entity tags, ranges,
 * cursors, places in history. */
#include <stdlib.h>
#include <string.h>

#include "node/cursor.h"
#include "node/etag.h"
#include "node/http_message.h"
#include "node/route.h"

static const uint8_t lineage[LINEAGE_BYTES] = {1, 2, 3, 4};

static void try_target(struct bytes text)
{
	struct bytes path, query, name, value;
	struct route_match match;
	struct buf decoded = BUF_INIT;

	if (http_target_split(text, &path, &query) != 0) {
		return;
	}
	for (enum http_verb verb = VERB_OTHER; verb < VERB_MAX; verb++) {
		(void)(route_find(api_routes, api_routes_count, verb, path, true, &match) == 0);
	}
	while (http_query_next(&query, &name, &value)) {
		buf_clear(&decoded);
		if (http_percent_decode(value, 64, &decoded) == 0 && decoded.len > 64) {
			abort();
		}
	}
	buf_release(&decoded);
}

static void try_cursor(struct bytes text)
{
	struct buf key = BUF_INIT, again = BUF_INIT;
	uint64_t seq, page_no, index;

	if (cursor_parse(text, 1, lineage, &key) == 0) {
		cursor_format(1, lineage, buf_bytes(&key), &again);
		if (!bytes_equal(buf_bytes(&again), text)) {
			abort(); /* Two texts for one place. */
		}
	}
	buf_clear(&again);
	if (lineage_index_parse(text, lineage, &index) == 0) {
		lineage_index_format(lineage, index, &again);
		if (!bytes_equal(buf_bytes(&again), text)) {
			abort();
		}
	}
	buf_clear(&again);
	if (since_parse(text, lineage, &seq, &page_no) == 0) {
		since_format(lineage, seq, page_no, &again);
		if (again.len != text.len) {
			abort();
		}
	}
	buf_release(&key);
	buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = bytes_of(data, size);
	uint64_t first, len;
	bool match;

	try_target(text);
	try_cursor(text);
	(void)(etag_match(text, "\"1-aa\"", true, &match) == 0);
	if (range_parse(text, 1000, &first, &len) == 0 &&
		(len == 0 || first >= 1000 || len > 1000 - first)) {
		abort();
	}
	return 0;
}
