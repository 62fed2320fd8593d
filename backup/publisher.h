/* Objects of a repository made durable by a thread of its own, while the next one is written. */
#ifndef KLUIS_BACKUP_PUBLISHER_H
#define KLUIS_BACKUP_PUBLISHER_H

#include "backup/manifest.h"
#include "backup/repository.h"

struct publisher;

/* published: NULL, or called on the publisher's thread for each that is durable. */
struct publisher *publisher_new(
	void (*published)(void *data, const struct manifest_object *object), void *data);
/* Takes file, whatever it returns. What it returns may be of an earlier object: there is no order
 * but that all that were given are durable when publisher_finish() says 0. Waits while some are
 * under way. */
KLUIS_MUST_CHECK int publisher_add(struct publisher *publisher, struct repository_file *file,
	const struct manifest_object *object, struct err *e);
KLUIS_MUST_CHECK int publisher_finish(struct publisher *publisher, struct err *e);
/* What is under way is waited for, what is not is discarded; NULL is fine. */
void publisher_free(struct publisher *publisher);

#endif
