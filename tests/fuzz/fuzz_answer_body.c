/* JSON bodies of a node's answers, as every client reads them: whatever a node says, a reader gives
 * what is there in its bounds, or one error. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cli/client/api.h"
#include "cli/client/json_reader.h"

static void read_all(const json_t *object)
{
	_cleanup_(buf_release) struct buf label = BUF_INIT;
	struct json_reader r = json_reader_of(object), inner;
	uint8_t id[16], hash[32];
	const json_t *items;
	int rc;

	memset(id, 0x5a, sizeof id);
	json_reader_hex(&r, "id", id, sizeof id);
	json_reader_base64_exact(&r, "spki", hash, sizeof hash);
	json_reader_base64(&r, "label", 64, &label);
	items = json_reader_array(&r, "items");
	(void)json_reader_bool(&r, "done");
	inner = json_reader_of(json_reader_object(&r, "restore"));
	if (json_reader_u64(&r, "seq") > INT64_MAX || label.len > 64 ||
		json_reader_string_or(&r, "next", "none") == NULL ||
		json_reader_string(&inner, "key") == NULL ||
		(r.failed == NULL && !json_is_array(items))) {
		abort();
	}
	rc = json_reader_end(&r, "answer", NULL);
	if ((rc != 0) != (r.failed != NULL) || (rc != 0 && rc != KLUIS_EPROTO)) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct api_vault vault;
	json_t *object;
	int rc = json_object_parse(bytes_of(data, size), &object, NULL);

	if (rc != 0) {
		if (rc != KLUIS_EPROTO) {
			abort();
		}
		return 0;
	}
	read_all(object);
	if (api_vault_parse(object, &vault, NULL) == 0) {
		if (vault.label.len > API_LABEL_BYTES_MAX ||
			memchr(vault.role, '\0', sizeof vault.role) == NULL) {
			abort();
		}
		api_vault_release(&vault);
	}
	json_decref(object);
	return 0;
}
