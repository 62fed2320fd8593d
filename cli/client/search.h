/* Words in the items of a vault: what a loaded tree holds, folded to lower case in one run of
 * memory, which is cleared when it is freed. Passwords are not in it. */
#ifndef KLUIS_CLI_CLIENT_SEARCH_H
#define KLUIS_CLI_CLIENT_SEARCH_H

#include "cli/client/tree.h"

enum { SEARCH_WORDS_MAX = 32, SEARCH_WORD_BYTES_MAX = 1024 };

struct search;

/* Names of all, and the fields of notes and logins but passwords. The tree outlives it and does not
 * change meanwhile. */
struct search *search_new(const struct tree *tree);
void search_free(struct search *search); /* NULL is fine. */
/* The items in which every word occurs, each anywhere in its name or fields, upper and lower case
 * alike, in order of folder and name; a new array of at most `most`. No words: all items.
 * KLUIS_EINVAL: too many or too long words, or one that is not UTF-8. */
KLUIS_MUST_CHECK int search_find(const struct search *search, const char *const *words, size_t n,
	size_t most, const struct tree_item ***ret_items, size_t *ret_n, struct err *e);

#endif
