/* The rows of one snapshot in turn, held to all rules of its index, and their values. Blocking, one
 * thread; memory is two segments. */
#ifndef KLUIS_BACKUP_STREAM_H
#define KLUIS_BACKUP_STREAM_H

#include "backup/index.h"
#include "backup/repository.h"

struct stream;

/* repository, manifest and key outlive the stream. */
struct stream *stream_new(struct repository *repository, const struct backup_manifest *manifest,
	const struct key *key);
void stream_free(struct stream *stream); /* NULL is fine. */
/* *ret_more false: the end, where the counts are the manifest's. The key is valid until the next
 * call. KLUIS_ECORRUPT, KLUIS_EVERIFY, KLUIS_EFORBIDDEN (sealed to another key), KLUIS_ENOTFOUND.
 */
KLUIS_MUST_CHECK int stream_next(
	struct stream *stream, struct index_entry *ret_entry, bool *ret_more, struct err *e);
/* A live entry's value, checked against its hash; appends. Cheap when called in the entries' order.
 */
KLUIS_MUST_CHECK int stream_value(
	struct stream *stream, const struct index_entry *entry, struct buf *to, struct err *e);

#endif
