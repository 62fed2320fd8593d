/* File names of drops and repositories: strict, so that no other name is ever opened
 * (docs/format-backup.md section 6). Pure. */
#ifndef KLUIS_BACKUP_NAMES_H
#define KLUIS_BACKUP_NAMES_H

#include <stdbool.h>

#include "base/buf.h"

enum { DROP_NAME_BYTES = 72, MANIFEST_NAME_BYTES = 115, ATTEMPT_MAX = 9999 };

struct drop_name {
	bool manifest; /* Else an object. */
	uint8_t hash[32];
	unsigned attempt;
};
void drop_name_format(const struct drop_name *name, char to[DROP_NAME_BYTES]);
/* false: no name of ours; *ret_name untouched. */
bool drop_name_parse(const char *text, struct drop_name *ret_name);

struct manifest_name {
	uint8_t lineage[16], hash[32];
	uint64_t index;
};
void manifest_name_format(const struct manifest_name *name, char to[MANIFEST_NAME_BYTES]);
bool manifest_name_parse(const char *text, struct manifest_name *ret_name);

#endif
