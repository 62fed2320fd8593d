/* Pages in a given order, fetched ahead by several threads in groups. One thread takes them; what
 * they are worth is for it to check. */
#ifndef KLUIS_CLI_CLIENT_DOWNLOAD_H
#define KLUIS_CLI_CLIENT_DOWNLOAD_H

#include "cli/client/vault.h"

enum { DOWNLOAD_THREADS = 3, DOWNLOAD_GROUP = 8, DOWNLOAD_AHEAD = 4 };

struct download;

/* page_nos stays the caller's until download_free(). */
struct download *download_new(const struct vault *vault, const uint64_t *page_nos, size_t n);
/* The next page, unverified; empty when it was never written. It lives until the next call. Call at
 * most n times. */
KLUIS_MUST_CHECK int download_next(
	struct download *download, struct bytes *ret_page, struct err *e);
void download_free(struct download *download); /* NULL is fine. */

#endif
