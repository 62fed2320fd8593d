/* Three people with real keys on one node, and what their clients make of vaults, groups and
 * conversations that they share. */
#ifndef KLUIS_TESTS_UNIT_NODE_LIB_SHARE_RIG_H
#define KLUIS_TESTS_UNIT_NODE_LIB_SHARE_RIG_H

#include "crypto/keypacket.h"
#include "crypto/member.h"
#include "tests/lib/api/node.h"

enum { OWNER, BOB, CAROL, PEOPLE };

/* Where a membership chain stands. */
struct share_chain {
	uint8_t id[16];
	uint64_t seq;
	uint8_t hash[32];
	uint32_t epoch;
};

struct share_rig {
	struct api_node node;
	struct person person[PEOPLE];
	struct http_client http[PEOPLE];
	struct share_chain vault;
	unsigned keys, packets; /* Given so far. */
	/* The request being made: members of its JSON. */
	struct buf statements, packet_texts, more;
};

struct share_packet {
	unsigned purpose;
	const struct share_chain *object;
	const uint8_t *rcpt;
	const struct key_pub *key;
	const struct person *sender; /* NULL: the owner. */
	uint64_t expires_ms;	     /* 0: late enough. */
};

/* For cmocka: the persons, once for all tests of a program (their RSA keys take longest), and a
 * node of a test's own on which they are signed in and the owner has a vault; *state is the rig. */
int share_rig_people(void **state);
int share_rig_people_end(void **state);
int share_rig_setup(void **state);
int share_rig_teardown(void **state);

/* What a client makes goes into the request that share_rig_send() sends. */

/* Appends a binary to a JSON list. */
void share_rig_text(struct buf *list, struct bytes item);
/* The next statement of a chain, which moves with it; by this device, the others by the owner's. */
void share_rig_state(struct share_rig *f, struct share_chain *c, unsigned type, struct bytes body,
	const struct key *device);
void share_rig_add(struct share_rig *f, struct share_chain *c, const uint8_t id[16], unsigned kind,
	unsigned role);
void share_rig_remove(struct share_rig *f, struct share_chain *c, const uint8_t id[16]);
/* group_key: NULL of a vault. */
void share_rig_rotate(struct share_rig *f, struct share_chain *c, const struct key *group_key);
/* The create statement of a new object, as the member "create". */
void share_rig_create(
	struct share_rig *f, struct share_chain *c, unsigned kind, const struct key *group_key);
/* The member "group_key". */
void share_rig_group_key(struct buf *to, const struct key *key);
/* A packet; its id is its number. */
void share_rig_pack(struct share_rig *f, const struct share_packet *spec);
void share_rig_pack_for(struct share_rig *f, unsigned purpose, const struct share_chain *object,
	const struct person *p);
/* Statements and packets so far become a section of "also", of this object. */
void share_rig_also(struct share_rig *f, const struct share_chain *c);
/* Sends it, twice: the same again has to be answered alike. Then another one begins. */
struct answer share_rig_send(struct share_rig *f, unsigned who, const char *target);
/* ... to the members of an object; kind: "vaults". */
struct answer share_rig_change(
	struct share_rig *f, unsigned who, const char *kind, const struct share_chain *c);

/* Asking. */

const char *share_rig_path(char to[96], const char *kind, const uint8_t id[16], const char *rest);
struct answer share_rig_ask(struct share_rig *f, unsigned who, const char *verb, const char *kind,
	const uint8_t id[16], const char *rest);
/* Fails the test unless it has this status; releases it. */
void share_rig_expect(struct answer answer, int status);
/* ... and a detail with these words. */
void share_rig_refused(struct answer answer, int status, const char *words);
/* A list, its items, how many there are; a text in one. */
struct answer share_rig_list(struct share_rig *f, unsigned who, const char *target);
json_t *share_rig_item(struct answer *answer, size_t i);
size_t share_rig_count(struct share_rig *f, unsigned who, const char *target);
const char *share_rig_member(const json_t *object, const char *name);
/* What this one sees of herself in the first item of a list. */
void share_rig_listed(
	struct share_rig *f, unsigned who, const char *target, const char *state, const char *role);

#endif
