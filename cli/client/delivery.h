/* A delivery file: what a program that has no account needs to leave documents in one inbox (an
 * app, a mail gateway; docs/format-chat.md). It can do nothing else, reads nothing, and its owner
 * ends it. Blocking. */
#ifndef KLUIS_CLI_CLIENT_DELIVERY_H
#define KLUIS_CLI_CLIENT_DELIVERY_H

#include "cli/client/api_chat.h"
#include "cli/client/profile.h"
#include "crypto/inbox.h"

enum { DELIVERY_FILE_BYTES_MAX = 256 * 1024, DELIVERY_KEY_BYTES = 32 };

struct delivery {
	char *endpoints[CLIENT_ENDPOINTS_MAX];
	size_t n_endpoints;
	struct buf ca_pem;
	uint8_t owner_id[ID_BYTES], genesis_hash[HASH_BYTES];
	char token[API_INBOX_TOKEN_CHARS_MAX + 1];
	struct secret doc_key; /* Makes a document's id: the same content has the same. */
};
void delivery_release(struct delivery *delivery); /* Clears. */

/* A token at the cluster, and a new file (0600) for whoever delivers. label: what the owner calls
 * it, readable by the node. KLUIS_EEXIST. */
struct delivery_terms {
	const char *label;
	uint64_t expires_ms, docs; /* Until when, and how many. */
};
KLUIS_MUST_CHECK int delivery_create(const struct profile *profile, struct client *client,
	const struct delivery_terms *terms, const char *path, uint8_t ret_token_id[ID_BYTES],
	struct err *e);
/* KLUIS_EINVAL: not such a file. Release it also after a failure. */
KLUIS_MUST_CHECK int delivery_parse(
	struct bytes text, struct delivery *ret_delivery, struct err *e);
KLUIS_MUST_CHECK int delivery_read(const char *path, struct delivery *ret_delivery, struct err *e);
/* Seals it to the owner's key, as their identity chain from the pinned genesis has it, and leaves
 * it. The same content twice is one document while the first lies there. sender_class:
 * INBOX_ANONYMOUS or INBOX_PROVIDER. KLUIS_EUNAUTHENTICATED: the token has ended or is used up.
 * KLUIS_EPIN: the cluster shows another owner. */
KLUIS_MUST_CHECK int delivery_send(const struct delivery *delivery, unsigned sender_class,
	unsigned content_type, struct bytes content, uint64_t give_up_ms, struct err *e);

#endif
