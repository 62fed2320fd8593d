/* The state machine of a simulated node, and the commands that its clients send. */
#ifndef KLUIS_TESTS_SIM_MACHINE_H
#define KLUIS_TESTS_SIM_MACHINE_H

#include "base/random.h"
#include "raft/entry.h"
#include "raft/fsm.h"
#include "raft/servers.h"

struct fixture_client;
struct machine;

struct machine *machine_new(uint64_t node);
void machine_free(struct machine *machine); /* NULL is allowed. */
/* A state of its own, equal now; for node. */
struct machine *machine_clone(const struct machine *machine, uint64_t node);
/* Once, before anything is applied to it or machine_servers() is asked. */
void machine_live(struct machine *machine);
/* The members as it knows them. Valid until something is applied. */
const struct servers *machine_servers(const struct machine *machine);
uint64_t machine_index(const struct machine *machine); /* Of the last entry applied. */
uint64_t machine_term(const struct machine *machine);
uint64_t machine_hash(const struct machine *machine);

const struct position *machine_position(const struct machine *machine);

/* Applies n consecutive entries as one batch. < 0: KLUIS_E*. */
KLUIS_MUST_CHECK int machine_apply(
	struct machine *machine, struct entry *const *entries, unsigned n);
/* What that gave; until the next. */
const struct fsm_results *machine_results(const struct machine *machine);

/* As a client reads it: where the client's vault stands, and if asked the revisions of its pages.
 * False: there is none. */
bool machine_vault(const struct machine *machine, struct fixture_client *c, bool pages);

struct person_row;
struct mfa_row;
/* What it has of a person, and of one of her factors (zeroed: none). False: there is no such
 * person. */
bool machine_person(const struct machine *machine, const uint8_t user_id[16], uint8_t factor,
	struct person_row *ret_person, struct mfa_row *ret_factor);

/* Bytes of a new client command; nodes announce that level. True: no other has them. */
bool machine_command(struct random *random, uint64_t id, uint32_t level, struct buf *to);
/* A command that another node would not send. */
void machine_command_of(uint64_t node, uint64_t id, struct buf *to);
/* A majority reported another state than this node's. */
bool machine_quarantined(const struct machine *machine);

/* Planted bug: forgets that it has the last entry (by -1) or believes that it has the next (by 1),
 * within first .. last. */
void machine_shift(struct machine *machine, int by, uint64_t first, uint64_t last);
/* Planted bug: mixes in what differs between nodes. */
void machine_set_impure(struct machine *machine, bool on);

#endif
