/* Bodies of requests: whatever bytes come, a reader takes them or says what is wrong, and what it
 * took keeps the limits. */
#include <stdlib.h>
#include <string.h>

#include "node/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_in reader, inner;
	struct buf text = BUF_INIT, binary = BUF_INIT;
	uint64_t pages[64];
	uint8_t id[16];
	struct err e = {0};
	size_t n;
	int rc;

	json_in_begin(&reader, bytes_of(data, size), &e);
	json_in_string(&reader, "name", 64, &text);
	json_in_binary(&reader, "identity", 1024, &binary);
	json_in_hex(&reader, "user_id", id, sizeof id);
	if (json_in_has(&reader, "level")) {
		uint64_t level = json_in_u64(&reader, "level", 1, 2);

		if (level < 1 || level > 2) {
			abort();
		}
	}
	(void)json_in_bool(&reader, "on");
	n = json_in_u64s(&reader, "pages", pages, 64);
	if (json_in_has(&reader, "srp")) {
		json_in_enter(&reader, "srp", &inner);
		json_in_hex(&inner, "user_id", id, sizeof id);
		json_in_leave(&reader, &inner);
	}
	if (json_in_has(&reader, "shares")) {
		size_t shares = json_in_objects(&reader, "shares", 4);

		for (size_t i = 0; i < shares; i++) {
			json_in_enter_nth(&reader, "shares", i, &inner);
			json_in_binary(&inner, "share", 32, &binary);
			json_in_leave(&reader, &inner);
		}
	}
	rc = json_in_end(&reader);
	if (text.len > 64 || binary.len > 1024 + 4 * 32 || n > 64 || (rc != 0) != (e.code != 0)) {
		abort();
	}
	buf_release(&text);
	buf_release(&binary);
	return 0;
}
