/* Commands of conversations and inboxes: bodies as they stand in struct command
 * (docs/format-commands.md section 6). Feature level 5. Signatures of messages and KeyPackets are
 * checked where a request enters; all that depends on the state is checked again in apply. Included
 * by raft/command.h, which declares struct command_commit before. */
#ifndef KLUIS_RAFT_COMMAND_CHAT_H
#define KLUIS_RAFT_COMMAND_CHAT_H

#include "raft/command_person.h"
#include "storage/chat_store.h"
#include "storage/inbox_store.h"

enum {
	INBOX_BY_SESSION = 1,
	INBOX_BY_TOKEN = 2,
};

/* A new epoch of a conversation's keys, by any member's device that is in it or is not yet: one
 * KeyPacket of purpose KEYPACKET_CHAT for each active device of each member, none for others.
 * KLUIS_EPRECONDITION: the epoch is taken or too far ahead (CHAT_EPOCHS_SKIPPED_MAX: numbers that a
 * restore took back are not used again), the members moved, or the set of devices is another one
 * (chat_epoch_check() says how). KLUIS_EQUOTA: more devices than CHAT_DEVICES_MAX. The same command
 * again is success. Reply: id conversation, number epoch. */
struct command_chat_epoch {
	struct command_session session;
	uint8_t conv_id[16];
	uint32_t epoch; /* From 1. */
	uint8_t members_hash[32];
	struct bytes packets; /* lp16 each, at most CHAT_DEVICES_MAX: members_item_next(). */
};

/* The next message (crypto/chat.h, parsed again), by the session's device, whose signature was
 * checked on entry. KLUIS_ECONFLICT: its epoch is not the current one, or members or devices have
 * changed since that was made: another one is needed first. KLUIS_EPRECONDITION: epoch and index
 * are not above those of the device's newest message. KLUIS_EFORBIDDEN: the role is below
 * MEMBER_WRITE. KLUIS_EQUOTA: CHAT_MESSAGES_MAX, CHAT_BYTES_MAX wait for somebody. A message that
 * was taken is answered as it was, while it is among the device's newest CHAT_RETRY_MAX that are
 * kept. Reply: number seq, and command_reply_message_ms(). */
struct command_message_send {
	struct command_session session;
	uint8_t conv_id[16];
	struct bytes message; /* 1 .. CHAT_MESSAGE_BYTES_MAX */
};
/* The session's device has all messages up to `delivered`, and its user has seen those up to
 * `read`. What is less than was said before changes nothing. KLUIS_EINVAL: there is no such message
 * yet. KLUIS_ECONFLICT: the device is not in the current epoch. */
struct command_receipt {
	struct command_session session;
	uint8_t conv_id[16];
	uint64_t delivered, read; /* read <= delivered */
};

/* Leaves a document (crypto/inbox.h, parsed again) in the owner's inbox. By a person's session its
 * class is user, by a service's user or provider, by a token provider or anonymous (KLUIS_EINVAL).
 * KLUIS_EUNAUTHENTICATED (no such session; a token that has expired or is another inbox's),
 * KLUIS_ENOTFOUND (no such owner, or a disabled one), KLUIS_EQUOTA (the inbox's, or what the token
 * may still leave), KLUIS_EEXIST (the id with other bytes). The same document again is success.
 * Reply: id = the document's, number = when it expires. */
struct command_inbox_put {
	uint8_t by;	    /* INBOX_BY_SESSION, INBOX_BY_TOKEN */
	uint8_t secret[32]; /* SHA-256 of the bearer token, or of the inbox token. */
	uint8_t owner[16];
	struct bytes document; /* 1 .. INBOX_DOCUMENT_BYTES_MAX */
};
/* From a device's session, of its user's own inbox. KLUIS_ENOTFOUND when one is not there: then
 * none goes. */
struct command_inbox_delete {
	struct command_session session;
	struct bytes docs; /* 1 .. INBOX_DOCS_PER_COMMAND_MAX ids of 16 bytes, ascending. */
};
/* From a device's session. KLUIS_EQUOTA beyond INBOX_TOKENS_MAX, KLUIS_EINVAL (it has expired, or
 * lasts longer than INBOX_TOKEN_MS_MAX), KLUIS_EEXIST. Its answer carries a token: not kept for an
 * idempotency key. Reply: id = the token's, number = when it expires. */
struct command_inbox_token_create {
	struct command_session session;
	struct command_once once;
	uint8_t token_hash[32];
	uint64_t expires_ms;
	uint32_t docs; /* 1 .. INBOX_TOKEN_DOCS_MAX */
	struct bytes label;
};
/* From any full session of its owner. KLUIS_ENOTFOUND. */
struct command_inbox_token_end {
	struct command_session session;
	uint8_t token_id[16];
};

#endif
