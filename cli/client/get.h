/* Files out of a vault, every page checked against the signed head and every file against its
 * SHA-256. */
#ifndef KLUIS_CLI_CLIENT_GET_H
#define KLUIS_CLI_CLIENT_GET_H

#include "cli/client/tree.h"

struct get_config {
	/* Takes the file's bytes in order; KLUIS_E* ends the get. NULL: only verified. */
	int (*write)(void *arg, struct bytes bytes, struct err *e);
	/* Called after each chunk with its bytes; may be NULL. */
	void (*progress)(void *arg, uint64_t bytes);
	void *arg;
	bool uncached;	 /* All of it from the cluster. */
	bool owner_only; /* Files get 0600 instead of the stored permission bits. */
};

/* *ret_moved: another writer changed the vault meanwhile (KLUIS_ECONFLICT): load the tree anew and
 * try again, if nothing was written yet. KLUIS_EVERIFY; KLUIS_EPIN; what write() returned. */
KLUIS_MUST_CHECK int get_file(struct tree *tree, const struct tree_item *item,
	const struct get_config *config, bool *ret_moved, struct err *e);
/* The chunks of all files into the cache, those that are not there yet; *fetched counts them.
 * progress as in get_config with bytes done and in all; may be NULL. KLUIS_EVERIFY also when the
 * vault moved meanwhile. */
KLUIS_MUST_CHECK int get_into_cache(struct tree *tree,
	void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg, uint64_t *fetched,
	struct err *e);
/* Into a file, in the place of one that is there: it takes its name once all was verified, with the
 * stored permission bits and time. What is there and is no file (a device, a pipe) is written to as
 * the bytes come, each verified before. named: by the user, who may have named a symbolic link; it
 * is followed. *ret_local: only this place is at fault, others may be gone on with. config->write
 * is ignored. */
KLUIS_MUST_CHECK int get_file_to(struct tree *tree, const struct tree_item *item,
	const char *local_path, bool named, const struct get_config *config, bool *ret_local,
	bool *ret_moved, struct err *e);

/* Likewise for what comes from elsewhere: fill() writes all of it by the config that it is given.
 */
typedef int get_fill_fn(void *arg, const struct get_config *config, struct err *e);
KLUIS_MUST_CHECK int get_fill_to(const char *local_path, bool named,
	const struct get_config *config, get_fill_fn *fill, void *arg, struct err *e);

/* Makes the folder that a fetched one becomes, unless it is there. Only the one that the user named
 * (`named`) may be a symbolic link: behind another the files would land elsewhere. KLUIS_EEXIST:
 * something else has its name. */
KLUIS_MUST_CHECK int get_folder(const char *local_path, bool named, struct err *e);

struct get_report {
	uint64_t files, pages, bytes, orphans; /* orphans: pages that no item names. */
	uint64_t malformed;		       /* Items that have no place in the tree. */
};
/* Every page and every file of the vault. */
KLUIS_MUST_CHECK int get_verify_all(struct tree *tree, const struct get_config *config,
	struct get_report *ret_report, bool *ret_moved, struct err *e);

#endif
