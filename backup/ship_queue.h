/* Objects of a snapshot that is still being made, handed from its taker to those who ship them.
 * Any thread. */
#ifndef KLUIS_BACKUP_SHIP_QUEUE_H
#define KLUIS_BACKUP_SHIP_QUEUE_H

#include <stdatomic.h>

#include "backup/manifest.h"

struct ship_queue;

/* One reference is the caller's. */
struct ship_queue *ship_queue_new(void);
struct ship_queue *ship_queue_ref(struct ship_queue *queue);
void ship_queue_unref(struct ship_queue *queue); /* NULL is fine. */
/* One more object, which is in the repository under its name. */
void ship_queue_add(struct ship_queue *queue, const struct manifest_object *object);
/* No more will come. manifest_hash: of the snapshot that they make, once the log knows it; NULL:
 * there is none. The first call counts. */
void ship_queue_end(struct ship_queue *queue, const uint8_t *manifest_hash);
/* Whether it ended with a manifest. */
bool ship_queue_manifest(struct ship_queue *queue, uint8_t ret_hash[HASH_BYTES]);
/* Whether there is something to do for who has done nothing yet. */
bool ship_queue_waits(struct ship_queue *queue);
/* Object `at`, counted from 0 in the order in which they were added; waits for it. false: none will
 * come, or `cancel` (may be NULL) was set. Blocking. */
bool ship_queue_get(struct ship_queue *queue, uint32_t at, const atomic_bool *cancel,
	struct manifest_object *ret_object);

#endif
