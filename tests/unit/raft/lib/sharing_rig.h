/* A cluster of the newest feature level with three clients, one of whom shares a vault; what the
 * tests of sharing have in common. */
#ifndef KLUIS_TESTS_UNIT_RAFT_LIB_SHARING_RIG_H
#define KLUIS_TESTS_UNIT_RAFT_LIB_SHARING_RIG_H

#include "tests/lib/fixture/sharing.h"

struct sharing_rig {
	struct fixture_machine m;
	struct fixture_client alice, bob, carol; /* Each with a vault of her own. */
	struct fixture_object vault;		 /* Alice's. */
	struct fixture_object group;		 /* Not there yet. */
	struct fixture_section s, t;		 /* Of the next change; t may be none. */
	struct buf space;
};

int sharing_setup(void **state);
/* Everything that the rows must agree on holds. */
int sharing_teardown(void **state);
/* Runs a command and expects rc; a refusal changes nothing. */
void sharing_expect(struct sharing_rig *w, const struct command *command, int rc);
/* The change of s and t by this client ends as rc; both are empty then. */
void sharing_change(struct sharing_rig *w, const struct fixture_client *c, int rc);
void sharing_answer(struct sharing_rig *w, const struct fixture_client *c, const uint8_t *id,
	bool accept, int rc);
/* Alice adds a user to her vault, with its key. */
void sharing_add(
	struct sharing_rig *w, const struct fixture_client *who, unsigned role, bool accept);
/* What a commit of one page to alice's vault by c, who knows it as alice does, comes to. */
int sharing_commit(struct sharing_rig *w, const struct fixture_client *c);
/* Alice learns how her vault's chain stands. */
void sharing_learn(struct sharing_rig *w);
unsigned sharing_packets(struct sharing_rig *w, const uint8_t rcpt[16]);
/* In alice's vault; 0: none that was accepted. */
unsigned sharing_role(struct sharing_rig *w, const struct fixture_client *c);
/* Alice's group with bob in it, who accepts if he is to; a member of her vault. */
void sharing_group(struct sharing_rig *w, bool accept);

#endif
