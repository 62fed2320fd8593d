/* Rows with their values, made by a thread of its own while the caller works on those before them:
 * what is read, decrypted and hashed does not wait for what is written, nor the other way. */
#ifndef KLUIS_BACKUP_FEED_H
#define KLUIS_BACKUP_FEED_H

#include "storage/import.h"

struct feed;

struct feed_source {
	/* On the feed's thread, until *ret_more is false or it fails: the next row, its key valid
	 * until the next call, and its value, appended to `value`. */
	int (*next)(void *data, struct index_row *ret_row, struct buf *value, bool *ret_more,
		struct err *e);
	void *data;
};

struct feed_batch {
	struct import_row *rows;
	size_t n;
	struct buf bytes; /* The rows' keys and values. */
};

/* Starts at once. data is the feed's until feed_free() returns. */
struct feed *feed_new(const struct feed_source *source);
/* The next rows, the caller's until it calls again; NULL: there are no more. What next() returned
 * when it failed comes behind the rows before it. The caller's thread. */
KLUIS_MUST_CHECK int feed_next(
	struct feed *feed, const struct feed_batch **ret_batch, struct err *e);
/* Stops next() behind the row it is at, if it has not ended; NULL is fine. */
void feed_free(struct feed *feed);

#endif
