/* One file, or one page, of a vault given to somebody who is not in it: the keys of its pages as
 * they are now, by KeyPackets; that the cluster shows her those; and a signed note in her inbox
 * that says what it is, of which one's own inbox has a copy. Of a person, unlocked. Blocking. */
#ifndef KLUIS_CLI_CLIENT_SHARE_FILE_H
#define KLUIS_CLI_CLIENT_SHARE_FILE_H

#include "cli/client/get.h"
#include "cli/client/share.h"
#include "crypto/share_note.h"

enum { SHARE_FILE_DAYS_MAX = 30 }; /* An inbox keeps a note no longer. */

/* Gives the file at `path`, as it is now, to a user for so many days. KLUIS_EFORBIDDEN: one is no
 * admin of the vault, or share_require_verified(). KLUIS_ETOOLARGE: more than SHARE_NOTE_PAGES_MAX
 * pages. *ret_moved: see get_file(). */
struct share_file_terms {
	const struct share_with *with;
	unsigned days;
};
KLUIS_MUST_CHECK int share_file_give(struct tree *tree, const char *path,
	const struct share_file_terms *terms, uint8_t ret_id[ID_BYTES], bool *ret_moved,
	struct err *e);
/* Likewise one page by its number, with all that is in it. */
KLUIS_MUST_CHECK int share_page_give(struct vault *vault, uint64_t page_no,
	const struct share_file_terms *terms, uint8_t ret_id[ID_BYTES], bool *ret_moved,
	struct err *e);

/* One note of the inbox. */
struct shared_file {
	uint8_t doc_id[ID_BYTES];
	bool mine;			    /* Given by the profile's owner; else to her. */
	bool left;			    /* ... who left it here, by the node's word. */
	char who[SHARE_NAME_BYTES_MAX + 1]; /* To whom, or by whom: by the verified chain. */
	struct buf bytes;
	struct share_note note; /* Points into bytes. */
	char name[ITEM_NAME_BYTES_MAX + 1];
	uint64_t size; /* Of a file. */
	uint8_t sha256[HASH_BYTES];
	struct err problem; /* Code 0: the note holds, and the fields above count. */
};
void shared_files_free(struct shared_file *files, size_t n); /* NULL is fine. */
/* Given and got, in a new array; what does not hold is in it with its problem. */
KLUIS_MUST_CHECK int shared_files(
	struct people *people, struct shared_file **ret_files, size_t *ret_n, struct err *e);
/* The one whose share id begins so (hex), among those that hold; under the same id what the owner
 * gave, and left here herself, before all others. KLUIS_ENOTFOUND, KLUIS_ECONFLICT: several. */
KLUIS_MUST_CHECK int shared_file_find(const struct shared_file *files, size_t n, const char *prefix,
	const struct shared_file **ret_file, struct err *e);
/* Fetches what somebody gave: each page is the one that the note names, opened by the key that its
 * sender, an admin of the vault by its chain, signed for it; a file's SHA-256 is the note's, a page
 * by itself is items to its end.
 * KLUIS_EVERIFY: anything is another. KLUIS_ENOTFOUND: it is not shared any more, or withheld. */
KLUIS_MUST_CHECK int shared_file_get(struct people *people, const struct shared_file *file,
	const struct get_config *config, struct err *e);
/* The giver ends it: the cluster shows those pages no more, whatever room the recipient's box has
 * and whatever clocks say, unless another of the shares in `files`, which are all that
 * shared_files() gave, gives her the same. What was fetched may have been kept. By the recipient:
 * the note goes, and the keys that wait. */
KLUIS_MUST_CHECK int shared_file_end(struct people *people, const struct shared_file *files,
	size_t n, const struct shared_file *file, struct err *e);

#endif
