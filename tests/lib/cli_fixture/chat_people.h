/* Three members of a conversation with one device each, and a cluster that keeps what they send: no
 * server, no disk. */
#ifndef KLUIS_TESTS_LIB_CHAT_PEOPLE_H
#define KLUIS_TESTS_LIB_CHAT_PEOPLE_H

#include "tests/lib/test.h"

#include "cli/client/chat_state.h"

enum { CHAT_PEOPLE = 3, CHAT_SENT_MAX = 4096 };

/* A member with one device. */
struct chat_person {
	struct chat_writer who;
	struct key *key;
	struct chat_state state;
};

/* What a cluster keeps. */
struct chat_sent {
	struct buf bytes;
	struct chat_message message;
};

struct chat_people {
	struct chat_person people[CHAT_PEOPLE];
	struct chat_sent sent[CHAT_SENT_MAX];
	uint64_t n;
	uint64_t now_ms;
	struct err err;
};

extern struct key *chat_people_key[CHAT_PEOPLE];
extern const uint8_t chat_people_conv[ID_BYTES];
extern const uint64_t chat_people_day_ms;

/* cmocka's: the devices' keys for a group of tests; for each the three, all in epoch 1. */
int chat_people_keys(void **state);
int chat_people_keys_free(void **state);
int chat_people_setup(void **state);
int chat_people_teardown(void **state);

/* The secret of an epoch, and one or all of the three in it. */
void chat_people_secret(uint32_t epoch, struct secret *ret_secret);
int chat_people_enter(
	struct chat_people *f, size_t i, uint32_t epoch, uint8_t members, uint64_t rev);
void chat_people_enter_all(struct chat_people *f, uint32_t epoch);
/* Seals; has the cluster take what is pending, under the number that is returned; both, and it is
 * known to be taken. */
int chat_people_seal(struct chat_people *f, size_t i, const char *text);
uint64_t chat_people_post(struct chat_people *f, size_t i);
uint64_t chat_people_send(struct chat_people *f, size_t i, const char *text);
/* What was sent as number `at` shown as number seq. */
int chat_people_receive(struct chat_people *f, struct chat_state *s, uint64_t at, uint64_t seq,
	struct chat_received *ret);
unsigned chat_people_problems(struct chat_people *f, size_t i, uint64_t at, uint64_t seq);
/* Number seq, which has to open to this text and leave nothing to be said. */
void chat_people_expect(struct chat_people *f, size_t i, uint64_t seq, const char *text);
/* As after a run that ended here: what is on the disk is all there is; a copy of that. */
void chat_people_restart(struct chat_people *f, size_t i);
void chat_people_copy(struct chat_people *f, size_t i, struct chat_state *ret);

#endif
