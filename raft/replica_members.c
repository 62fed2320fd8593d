/* The members' rows at work: the table that the state machine keeps, who may come by it, and as
 * leader what is to be done about it (docs/architecture.md, "Members"). */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "raft/fail_stop.h"
#include "raft/replica_impl.h"

enum { MEMBERS_PROPOSE_MS = 2000 };

static_assert((int)INCARNATION_BYTES == (int)SERVER_INCARNATION_BYTES, "one and the same");

/* What the rows say of this node itself. */
static void members_self(struct replica *r)
{
	const struct server *self = servers_find(&r->servers, r->node_id);

	if (servers_removed(&r->servers, r->node_id)) {
		fail_stop_refused("node %" PRIu64 " was removed from the cluster: it takes no part "
				  "any more; a new member needs a new id, see 'Lose a site' in "
				  "operations",
			r->node_id);
	}
	if (self == NULL) {
		return; /* Not written down, or not added yet. */
	}
	if (memcmp(self->row.incarnation, r->pins.incarnation, INCARNATION_BYTES) != 0) {
		fail_stop_refused("node %" PRIu64 " was initialised anew: the cluster knows it by "
				  "another log. A wiped node must come back under a new id; see "
				  "'Lose a site' in operations",
			r->node_id);
	}
	if (replica_joining(r)) {
		peer_pins_joined(&r->pins);
		r->begun = true;
		log_info("op=begin state=joined msg=\"the cluster has let this node in: it takes "
			 "part\"");
	}
}

static void members_pins(struct replica *r)
{
	for (unsigned i = 0; i < r->servers.n; i++) {
		const struct server_row *row = &r->servers.server[i].row;

		if (row->id != r->node_id) {
			peer_pins_adopt(&r->pins, row->id, row->incarnation);
		}
	}
	for (unsigned i = r->pins.n; i > 0; i--) {
		uint64_t id = r->pins.pin[i - 1].id;

		if (servers_removed(&r->servers, id)) {
			peer_pins_forget(&r->pins, id);
		}
	}
}

void replica_members_set(struct replica *r, const struct servers *servers)
{
	r->servers = *servers;
	members_self(r);
	members_pins(r);
}

int replica_members_judge(
	struct replica *r, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES])
{
	const struct server *server = servers_find(&r->servers, peer);

	if (server != NULL) {
		return memcmp(server->row.incarnation, incarnation, INCARNATION_BYTES) == 0
			       ? 0
			       : KLUIS_ECONFLICT;
	}
	/* The first ones are known by their pins. One that joins must believe whom it meets until
	 * it has the rows; it votes for nobody till then. A newcomer of whom the log already speaks
	 * waits until its row is applied here. */
	return peer_pins_find(&r->pins, peer) != NULL || replica_joining(r) ? 0 : KLUIS_EAGAIN;
}

bool replica_removed_cb(void *data, uint64_t node)
{
	const struct replica *r = data;

	return servers_removed(&r->servers, node);
}

/* --- as leader --- */

/* All that it has pinned of the members, in one command; false while it does not know all. */
static bool members_begin(struct replica *r, struct command *ret_command)
{
	struct command_servers_begin *begin = &ret_command->servers_begin;
	struct configuration now;
	unsigned voters;

	driver_configuration(r->driver, &now);
	voters = configuration_voters(&now);
	*ret_command = (struct command){.type = COMMAND_SERVERS_BEGIN};
	if (voters < VOTERS_MIN) {
		return false; /* No step is possible with so few. */
	}
	begin->voters = (uint8_t)voters;
	for (unsigned i = 0; i < now.n; i++) {
		struct server_first *first = &begin->server[begin->n_servers++];
		const struct peer_pin *pin = peer_pins_find(&r->pins, now.member[i].id);
		bool self = now.member[i].id == r->node_id;

		if (!self && (pin == NULL || !pin->known)) {
			return false;
		}
		first->id = now.member[i].id;
		memcpy(first->incarnation, self ? r->pins.incarnation : pin->incarnation,
			sizeof first->incarnation);
	}
	return true;
}

void replica_members_tick(struct replica *r)
{
	struct driver_status status = driver_status(r->driver);
	uint64_t now_ms = replica_now(r);
	struct command command;
	bool due;

	if (!status.ready || r->servers.feature_level < FEATURE_LEVEL_MEMBERS) {
		return;
	}
	due = r->servers.voters == 0
		      ? members_begin(r, &command)
		      : roles_step(&r->roles, r->driver, &r->servers, now_ms, &command);
	if (due && (r->members_proposed_ms == 0 ||
			   now_ms - r->members_proposed_ms >= MEMBERS_PROPOSE_MS)) {
		r->members_proposed_ms = now_ms;
		propose_own(r, &command);
	}
}
