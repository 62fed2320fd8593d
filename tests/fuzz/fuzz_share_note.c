/* A share note as its recipient sees it before the signature is known to be wrong. */
#include <assert.h>

#include "crypto/share_note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct share_note note;
	struct share_note_page page;
	struct bytes run;
	size_t n = 0;

	if (share_note_parse(bytes_of(data, size), &note, NULL) != 0) {
		return 0;
	}
	assert(note.signature.data + note.signature.len == data + size);
	assert(note.n_pages <= SHARE_NOTE_PAGES_MAX && note.expires_ms > note.unix_ms);
	for (run = note.pages; share_note_page_next(&run, &page); n++) {
		assert(page.revision > 0 && page.epoch > 0);
	}
	assert(n == note.n_pages && run.len == 0);
	return 0;
}
