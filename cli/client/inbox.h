/* The inbox: what others left sealed for the profile's owner, and leaving something for others. Who
 * left a document is known of a session alone, by the node's word. Blocking. */
#ifndef KLUIS_CLI_CLIENT_INBOX_H
#define KLUIS_CLI_CLIENT_INBOX_H

#include "cli/client/api_chat.h"
#include "cli/client/people.h"
#include "cli/client/put.h"
#include "crypto/inbox.h"

struct inbox_opened {
	unsigned sender_class, content_type;
	uint64_t unix_ms; /* By the sender's word. */
	struct secret content;
};
/* Fetches and opens one, in this process or by the agent. KLUIS_EVERIFY: it is not what was asked
 * for, or is not sealed to the owner. The caller releases content. */
KLUIS_MUST_CHECK int inbox_read(const struct profile *profile, struct client *client,
	const uint8_t doc_id[ID_BYTES], struct inbox_opened *ret_opened, struct err *e);
/* Opens a document and stores it as a file at `path`, by the commit with which it leaves the inbox:
 * it is in one of the two at any time. vault: the one that `put` writes to. After a run that was
 * cut in between the same call ends it. */
KLUIS_MUST_CHECK int inbox_take(struct vault *vault, struct put *put,
	const uint8_t doc_id[ID_BYTES], const char *path, struct err *e);
/* Leaves something for another user, by the own session. */
KLUIS_MUST_CHECK int inbox_leave(struct people *people, const struct identity *owner,
	unsigned content_type, struct bytes content, uint8_t ret_doc[ID_BYTES], struct err *e);
/* The document for this owner, appended: of class sender_class, doc_id as given. */
KLUIS_MUST_CHECK int inbox_make(const struct identity *owner, unsigned sender_class,
	unsigned content_type, const uint8_t doc_id[ID_BYTES], struct bytes content,
	struct buf *ret_document, struct err *e);

#endif
