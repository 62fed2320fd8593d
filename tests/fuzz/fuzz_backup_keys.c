/* Key lines: what is taken is written again as it was. */
#include <assert.h>
#include <string.h>

#include "backup/keys.h"

static void one_key(struct bytes line, enum backup_key_use use)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;

	if (backup_key_parse(line, use, &key, NULL) == 0) {
		backup_key_format(key, use, &again);
	} else if (backup_key_parse_public(line, use, &pub, NULL) == 0) {
		backup_key_format_public(pub, use, &again);
	} else {
		return;
	}
	/* Hex digits may have come in upper case. */
	assert(again.len == line.len &&
		strncasecmp((const char *)again.data, (const char *)line.data, again.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	one_key(bytes_of(data, size), BACKUP_KEY_SEAL);
	one_key(bytes_of(data, size), BACKUP_KEY_NODE);
	return 0;
}
