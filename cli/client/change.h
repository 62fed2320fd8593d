/* One change of a vault's tree, made on what its writer saw: it can be applied to that state, and
 * again to a newer one when another device was first. Where both changed one item both versions
 * are kept. No I/O of its own. */
#ifndef KLUIS_CLI_CLIENT_CHANGE_H
#define KLUIS_CLI_CLIENT_CHANGE_H

#include "cli/client/put_source.h"
#include "cli/client/tree.h"

enum change_kind { CHANGE_FILE, CHANGE_FOLDER, CHANGE_FIELDS, CHANGE_MOVE, CHANGE_REMOVE };

/* What stood at the path when the change was made. */
struct change_base {
	bool any; /* Something. */
	uint8_t id[ID_BYTES], parent[ID_BYTES];
	uint8_t state[HASH_BYTES];
	char name[ITEM_NAME_BYTES_MAX + 1];
};
/* item NULL: nothing is there. */
struct change_base change_base_of(const struct tree_item *item);

/* Owns what it points to. */
struct change {
	enum change_kind kind;
	char *path, *to; /* to: of a move. */
	struct change_base base;
	struct put_source *source; /* Of a file. */
	unsigned type;		   /* Of fields. */
	struct item_fields fields;
};
void change_release(struct change *change);
/* An upper bound of what it adds to or makes dirty in item pages. */
size_t change_cost(const struct change *change);

/* What became of a change that met another device's. */
enum change_outcome {
	CHANGE_KEPT_BOTH,   /* Both changed it, or both made it: ours is at `path` now. */
	CHANGE_REVIVED,	    /* It was removed there and changed here: ours stands again. */
	CHANGE_NOT_REMOVED, /* It was changed there and removed here: theirs stays. */
	CHANGE_NOT_MOVED,   /* It was removed or moved there: it stays as it is there. */
};
struct change_notice {
	enum change_outcome outcome;
	char *wanted; /* The path that was meant. */
	char *path;   /* Where the result is; NULL: nowhere. */
};
struct change_notices {
	struct change_notice *rows;
	size_t n;
};
void change_notices_release(struct change_notices *notices);
/* One sentence for a person, without full stop. The caller frees it. */
char *change_notice_text(const struct change_notice *notice);

struct change_writer {
	const char *device; /* For names of what is kept beside another version. */
	uint64_t unix_ms;
	bool newer; /* The tree is newer than what some change was made on. */
};
/* Applies it and appends what is to be told. KLUIS_ECONFLICT for what cannot stand in the tree,
 * whoever wrote it: a folder that is not empty is not removed. */
KLUIS_MUST_CHECK int change_apply(struct tree *tree, const struct change *change,
	const struct change_writer *writer, struct change_notices *notices, struct err *e);

#endif
