/* Where a profile keeps what it has of conversations: chats/<id>/state, sealed under a key of this
 * device alone (docs/format-profile.md). Blocking. */
#ifndef KLUIS_CLI_CLIENT_CHAT_STORE_H
#define KLUIS_CLI_CLIENT_CHAT_STORE_H

#include "cli/client/chat_archive.h"
#include "cli/client/chat_state.h"
#include "cli/client/profile.h"

/* The state, or a new one where there is none. KLUIS_EUNAUTHENTICATED: a person's profile that is
 * locked, or a device that is not enrolled. KLUIS_EVERIFY: sealed by another device or profile, or
 * changed. Release it. */
KLUIS_MUST_CHECK int chat_store_load(const struct profile *profile, const uint8_t conv_id[ID_BYTES],
	struct chat_state *ret_state, struct err *e);
/* Whole and durably: a message may leave, or count as read, when this has returned 0. */
KLUIS_MUST_CHECK int chat_store_save(
	const struct profile *profile, const struct chat_state *state, struct err *e);
/* What is to be archived, n 0 where there is nothing; as chat_store_load(). */
KLUIS_MUST_CHECK int chat_store_load_backlog(const struct profile *profile,
	const uint8_t conv_id[ID_BYTES], struct chat_segment *ret_backlog, struct err *e);
/* As chat_store_save(): a message counts as read after that, for its key is there alone then. */
KLUIS_MUST_CHECK int chat_store_save_backlog(const struct profile *profile,
	const uint8_t conv_id[ID_BYTES], const struct chat_segment *backlog, struct err *e);
/* Removes all of it; nothing there is success. */
KLUIS_MUST_CHECK int chat_store_forget(
	const struct profile *profile, const uint8_t conv_id[ID_BYTES], struct err *e);
/* The ids of the conversations that have a state, in a new array. */
KLUIS_MUST_CHECK int chat_store_ids(
	const struct profile *profile, uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e);

#endif
