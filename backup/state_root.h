/* The state root: one hash over all live rows' keys, modification indexes and value hashes
 * (docs/format-backup.md section 4). */
#ifndef KLUIS_BACKUP_STATE_ROOT_H
#define KLUIS_BACKUP_STATE_ROOT_H

#include "backup/index.h"

struct state_root;

struct state_root *state_root_new(void);
void state_root_free(struct state_root *root); /* NULL is fine. */
/* Rows ascending by modification index (asserted). */
void state_root_add(struct state_root *root, struct row_index at, struct bytes key,
	const uint8_t value_hash[32]);
void state_root_finish(struct state_root *root, uint8_t ret_root[32]); /* Once. */

#endif
