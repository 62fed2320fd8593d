/* Staging of pages ahead of their commit, several at once on connections of their own. One thread
 * feeds it. */
#ifndef KLUIS_CLI_CLIENT_UPLOAD_H
#define KLUIS_CLI_CLIENT_UPLOAD_H

#include "cli/client/vault.h"

enum { UPLOAD_THREADS = 4, UPLOAD_QUEUE_MAX = 8 };

struct upload;

/* ask: with HEAD whether a page is there already, before sending it (an upload that goes on after
 * an interruption). The vault must not change id or client meanwhile. */
struct upload *upload_new(const struct vault *vault, bool ask);
/* Takes the page's bytes (page is empty after). Waits while the queue is full. What an earlier
 * page failed with is returned as soon as it is known; the page is then dropped. */
KLUIS_MUST_CHECK int upload_put(
	struct upload *upload, struct buf *page, const uint8_t sha256[HASH_BYTES], struct err *e);
/* Waits until all pages are there. */
KLUIS_MUST_CHECK int upload_wait(struct upload *upload, struct err *e);
/* Pages that were found there instead of being sent. */
uint64_t upload_found(struct upload *upload);
/* Drops what is queued, waits for what is running; NULL is fine. */
void upload_free(struct upload *upload);

#endif
