/* What a cluster does for conversations, in memory and for clients in one process: identities,
 * membership chains, KeyPackets, epochs, messages, receipts, the inbox. It checks what a node
 * checks of an epoch and of a message, and lies on demand. The program is linked with
 * --wrap=client_call and has that call this. */
#ifndef KLUIS_TESTS_LIB_FAKE_CHAT_H
#define KLUIS_TESTS_LIB_FAKE_CHAT_H

#include "tests/lib/test.h"

#include "cli/client/conversation.h"
#include "cli/client/inbox.h"
#include "cli/client/profile.h"

enum { FAKE_CHAT_USERS = 3 };

/* A service account with one device. */
struct fake_user {
	char *dir;
	struct profile *profile;
	struct client *client;
	struct people *people;
	struct buf statement; /* One more of the chain; empty: none. */
};

struct fake_message {
	uint64_t seq, time_ms;
	struct buf bytes;
	struct chat_message parsed;
};

struct fake_packet {
	struct buf bytes;
	struct keypacket parsed;
};

struct fake_document {
	struct buf bytes;
	size_t owner;
};

/* One conversation, and what is around it. */
struct fake_chat {
	char *dir;
	struct fake_user users[FAKE_CHAT_USERS];
	bool made, stale;
	uint8_t id[ID_BYTES];
	struct buf *statements;
	size_t n_statements;
	struct members members;
	char states[FAKE_CHAT_USERS][16]; /* "" none. */
	uint32_t epoch;
	struct fake_message *messages;
	size_t n_messages;
	struct fake_packet *packets;
	size_t n_packets;
	uint64_t delivered[FAKE_CHAT_USERS], read[FAKE_CHAT_USERS];
	uint64_t now_ms;
	struct fake_document *documents;
	size_t n_documents;
	unsigned token_docs; /* That the one token is still good for. */
	/* Lies and failures. */
	const char *lose; /* The next request whose target ends so is done, and the answer lost. */
	const char *fail; /* ... is not done: no site is reached. */
	void (*before)(struct fake_chat *f, const char *target); /* Another was first; once. */
	/* Shows other messages to that user: changes the copy it is given. */
	void (*show)(struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n);
	bool full;	 /* Too many messages wait. */
	uint64_t unseen; /* Messages of others that come first, and are shown to nobody. */
	unsigned posts;	 /* Of messages that arrived. */
	struct err err;
};
extern struct fake_chat *fake_chat;

/* cmocka's: the accounts of a group of tests; for each test fresh copies of their profiles. */
int fake_chat_accounts(void **state);
int fake_chat_accounts_free(void **state);
int fake_chat_setup(void **state);
int fake_chat_teardown(void **state);
/* What client_call() is. */
int fake_chat_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);
/* As another run of the program. */
void fake_chat_reopen(struct fake_chat *f, size_t user);
const uint8_t *fake_chat_user_id(const struct fake_chat *f, size_t user);
/* A conversation of the first n, accepted by all. */
void fake_chat_begin(struct fake_chat *f, size_t n);
struct conversation *fake_chat_open(struct fake_chat *f, size_t user);
/* An operator brings back what was there after so many statements and messages, in that epoch; all
 * accept it. */
void fake_chat_restore(struct fake_chat *f, size_t n_statements, size_t n_messages, uint32_t epoch);
/* In a run of its own each. */
int fake_chat_send(struct fake_chat *f, size_t user, const char *text);
struct fake_seen {
	size_t n, shown;
	unsigned problems;
	struct buf texts; /* Each with a line end behind. */
};
/* What conversation_read() gave; the seen texts are appended, *seen is added to. */
int fake_chat_read(struct fake_chat *f, size_t user, struct fake_seen *seen);
/* Reads all, which has to be just these lines, with nothing to be said about them. */
void fake_chat_expect(struct fake_chat *f, size_t user, const char *lines);

#endif
