/* A conversation of three persons in a cluster of the newest feature level; what the tests of chat
 * share. */
#ifndef KLUIS_TESTS_UNIT_RAFT_LIB_CHAT_RIG_H
#define KLUIS_TESTS_UNIT_RAFT_LIB_CHAT_RIG_H

#include "storage/chat_store.h"
#include "tests/lib/fixture/sharing.h"
#include "tests/unit/raft/lib/person_rig.h"

enum { TOKEN_R = TOKEN_Q + 1, TOKEN_S };
extern uint8_t chat_conv[16];	 /* Of p (admin), q (writes), r (reads). */
extern uint8_t chat_invited[16]; /* Of p, and r is invited. */

struct chat_rig {
	struct person_rig base;	    /* p and q */
	struct fixture_person r, s; /* s is no member. */
	struct fixture_object conv, invited;
	const uint8_t *in; /* What is made is for this conversation: chat_conv. */
	uint32_t epoch;	   /* Of the messages that are made. */
	/* Runs of the commands that were made last. */
	struct buf packets, message;
	size_t packet_bytes; /* Of one of them, with its length. */
};

int chat_rig_setup(void **state);
int chat_rig_setup_first(void **state); /* Of the first level that has conversations. */
/* Everything that the rows must agree on holds. */
int chat_rig_teardown(void **state);
int chat_rig_teardown_unchecked(void **state);
/* Runs a command and expects rc; a refusal changes nothing. */
void chat_expect(struct chat_rig *w, const struct command *command, int rc);
/* When the message was taken that the last answer is of. */
uint64_t chat_reply_ms(const struct chat_rig *w);

/* The epoch command of that person's device, with packets for the devices of p, q and r. */
struct command chat_epoch(struct chat_rig *w, const struct fixture_person *by, uint32_t epoch);
/* One packet more behind those that were made last. */
void chat_packet(struct chat_rig *w, const struct fixture_person *by, uint32_t epoch,
	const uint8_t device_id[16]);
/* Message `index` of that person's device in w->epoch. */
struct command chat_message(struct chat_rig *w, const struct fixture_person *by, uint32_t index);
struct command chat_receipt(const struct fixture_person *by, uint64_t delivered, uint64_t read);
/* Takes a change of members by that person's device, which must succeed; releases it. */
void chat_change(struct chat_rig *w, const struct fixture_person *by, struct fixture_section *s);
struct fixture_client chat_client(const struct fixture_person *p); /* For fixture_answer(). */
/* Epoch 1 is made. */
void chat_begin(struct chat_rig *w);
/* The first devices of all three have all messages up to seq. */
void chat_all_have(struct chat_rig *w, uint64_t seq);
/* Time passes and everything due goes. */
void chat_expire(struct chat_rig *w, uint64_t ms);
void chat_add_device(
	struct chat_rig *w, struct fixture_person *p, unsigned token, const uint8_t device_id[16]);
void chat_revoke_device(
	struct chat_rig *w, struct fixture_person *p, unsigned token, const uint8_t device_id[16]);
/* The store says that so many messages of so many bytes are kept: of which there are none. */
void chat_pretend(struct chat_rig *w, uint64_t kept, uint64_t bytes);

struct chat_row chat_state(struct chat_rig *w);
struct chat_device_row chat_device_of(
	struct chat_rig *w, const uint8_t user_id[16], const uint8_t device_id[16]);
struct chat_device_row chat_device(struct chat_rig *w, const struct fixture_person *p);

#endif
