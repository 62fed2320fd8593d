/* A cluster of the newest feature level with two persons; what the tests of persons share. */
#ifndef KLUIS_TESTS_UNIT_RAFT_LIB_PERSON_RIG_H
#define KLUIS_TESTS_UNIT_RAFT_LIB_PERSON_RIG_H

#include "tests/lib/fixture/person.h"

enum { TOKEN_P = 1, TOKEN_Q = 2 }; /* Sessions of p's and q's devices. */

struct person_rig {
	struct fixture_machine m;
	struct fixture_client service; /* With account, session and vault. */
	struct fixture_person p, q;
};

int person_rig_setup(void **state);
/* Everything that the rows must agree on holds. */
int person_rig_teardown(void **state);
/* Runs a command and expects rc; a refusal changes nothing. */
void person_expect(struct person_rig *w, const struct command *command, int rc);
struct command_reply person_reply(const struct person_rig *w);
/* The session under that token is worth this level now; 0: nothing. */
void person_level(struct person_rig *w, unsigned token, unsigned level);
/* Time passes and everything due goes, as many commands as that takes. */
void person_expire(struct person_rig *w, uint64_t ms);
/* Adds a factor of that method to the person of the token and proves it with `number`. */
void person_factor(
	struct person_rig *w, unsigned token, unsigned method, uint8_t id, uint64_t number);
/* How many rows of the person's access log say that event. */
unsigned person_events(struct person_rig *w, const struct fixture_person *p, unsigned event);
struct kv_view *person_view(struct person_rig *w); /* kv_view_free() it. */

#endif
