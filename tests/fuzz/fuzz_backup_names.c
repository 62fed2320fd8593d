/* Names of drops and repositories: one text for one name. */
#include <assert.h>
#include <string.h>

#include "backup/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(x_freep) char *text = x_malloc(size + 1);
	char again[MANIFEST_NAME_BYTES];
	struct manifest_name manifest;
	struct drop_name drop;

	memcpy(text, data, size);
	text[size] = 0;
	if (drop_name_parse(text, &drop)) {
		drop_name_format(&drop, again);
		assert(strcmp(text, again) == 0);
	}
	if (manifest_name_parse(text, &manifest)) {
		manifest_name_format(&manifest, again);
		assert(strcmp(text, again) == 0);
	}
	return 0;
}
