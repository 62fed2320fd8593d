#include "raft/roles.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

struct roles_options roles_options_default(void)
{
	return (struct roles_options){.gone_ms = MEMBER_GONE_MS,
		.steady_ms = MEMBER_STEADY_MS,
		.lead_ms = LEADER_STEADY_MS};
}

void roles_init(struct roles *roles, const struct roles_options *options, uint64_t id)
{
	assert(id != 0);
	*roles = (struct roles){.options = *options, .id = id};
}

/* --- the decision --- */

static bool seen_may_vote(const struct roles_seen *s)
{
	return s->wish == SERVER_ANY || s->wish == SERVER_VOTER;
}

/* A voter that does its part. */
static bool seen_good(const struct roles_seen *s)
{
	return s->member && s->votes && !s->gone && seen_may_vote(s);
}

static bool seen_can_be_promoted(const struct roles_seen *s)
{
	return s->member && !s->votes && s->steady && s->current && !s->trouble && seen_may_vote(s);
}

static bool seen_can_lead(const struct roles_seen *s)
{
	return !s->self && seen_good(s) && s->steady && s->current && !s->trouble;
}

/* More is better: whom an operator named, whom another one waits for, then weight, then the lower
 * id. */
static bool seen_before(const struct roles_seen *a, const struct roles_seen *b)
{
	if ((a->wish == SERVER_VOTER) != (b->wish == SERVER_VOTER)) {
		return a->wish == SERVER_VOTER;
	}
	if (a->succeeds != b->succeeds) {
		return a->succeeds;
	}
	return a->weight != b->weight ? a->weight > b->weight : a->id < b->id;
}

static unsigned decide_count(
	const struct roles_seen *seen, unsigned n, bool (*test)(const struct roles_seen *s))
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++) {
		count += test(&seen[i]);
	}
	return count;
}

/* Of those that pass the test the first by seen_before(), or the last; NULL: none does. */
static const struct roles_seen *decide_pick(const struct roles_seen *seen, unsigned n,
	bool (*test)(const struct roles_seen *s), bool last)
{
	const struct roles_seen *pick = NULL;

	for (unsigned i = 0; i < n; i++) {
		if (test(&seen[i]) && (pick == NULL || seen_before(&seen[i], pick) != last)) {
			pick = &seen[i];
		}
	}
	return pick;
}

static const struct roles_seen *decide_best(
	const struct roles_seen *seen, unsigned n, bool (*test)(const struct roles_seen *s))
{
	return decide_pick(seen, n, test, false);
}

static const struct roles_seen *decide_worst(
	const struct roles_seen *seen, unsigned n, bool (*test)(const struct roles_seen *s))
{
	return decide_pick(seen, n, test, true);
}

static bool seen_forgettable(const struct roles_seen *s)
{
	return !s->member && s->wish == SERVER_GONE;
}

static bool seen_wanted(const struct roles_seen *s)
{
	return !s->member && s->wish != SERVER_GONE;
}

static bool seen_votes(const struct roles_seen *s)
{
	return s->member && s->votes;
}

static bool seen_dead_voter(const struct roles_seen *s)
{
	return seen_votes(s) && !s->self && s->gone;
}

static bool seen_unwanted_voter(const struct roles_seen *s)
{
	return seen_votes(s) && !s->self && !seen_may_vote(s);
}

static bool seen_leaving(const struct roles_seen *s)
{
	return s->member && !s->votes && s->wish == SERVER_GONE;
}

/* One too many: whom nobody named. */
static bool seen_spare_voter(const struct roles_seen *s)
{
	return seen_good(s) && !s->self && s->wish == SERVER_ANY;
}

static const struct roles_seen *decide_promote(
	const struct roles_seen *seen, unsigned n, unsigned wanted)
{
	const struct roles_seen *best = decide_best(seen, n, seen_can_be_promoted);
	bool room = decide_count(seen, n, seen_good) < wanted;

	if (best == NULL || decide_count(seen, n, seen_votes) >= VOTERS_MAX) {
		return NULL;
	}
	/* One that an operator named comes in, and another goes when that is done. */
	return room || (best->wish == SERVER_VOTER && decide_count(seen, n, seen_spare_voter) > 0)
		       ? best
		       : NULL;
}

static const struct roles_seen *decide_demote(
	const struct roles_seen *seen, unsigned n, unsigned wanted, bool patient)
{
	const struct roles_seen *found;

	if (decide_count(seen, n, seen_votes) <= VOTERS_MIN) {
		return NULL;
	}
	found = decide_worst(seen, n, seen_dead_voter);
	if (!patient && found == NULL) { /* Nothing is urgent: who could come first is not known. */
		return NULL;
	}
	if (found == NULL) {
		found = decide_worst(seen, n, seen_unwanted_voter);
	}
	if (found == NULL && decide_count(seen, n, seen_good) > wanted) {
		found = decide_worst(seen, n, seen_spare_voter);
	}
	return found;
}

static const struct roles_seen *decide_leader(const struct roles_seen *seen, unsigned n,
	const struct roles_seen *self, enum roles_move_kind *ret_kind)
{
	const struct roles_seen *best = NULL;

	if (!seen_may_vote(self)) {
		*ret_kind = ROLES_HAND_OVER;
		return decide_best(seen, n, seen_can_lead);
	}
	*ret_kind = ROLES_PREFER;
	for (unsigned i = 0; i < n; i++) {
		const struct roles_seen *s = &seen[i];

		if (seen_can_lead(s) && s->settled && s->weight > self->weight &&
			(best == NULL || s->weight > best->weight)) {
			best = s;
		}
	}
	return best;
}

struct roles_move roles_decide(const struct roles_seen *seen, unsigned n, unsigned wanted)
{
	const struct roles_seen *found, *self = NULL, *leader = NULL;
	enum roles_move_kind lead = ROLES_NOTHING;

	for (unsigned i = 0; i < n; i++) {
		self = seen[i].self ? &seen[i] : self;
	}
	if (self != NULL) {
		leader = decide_leader(seen, n, self, &lead);
	}
	if (leader != NULL && lead == ROLES_HAND_OVER && self->settled) {
		return (struct roles_move){lead, leader->id};
	}
	/* First what keeps the cluster going. */
	if ((found = decide_promote(seen, n, wanted)) != NULL) {
		return (struct roles_move){ROLES_PROMOTE, found->id};
	}
	if ((found = decide_demote(seen, n, wanted, self != NULL && self->steady)) != NULL) {
		return (struct roles_move){ROLES_DEMOTE, found->id};
	}
	if ((found = decide_best(seen, n, seen_forgettable)) != NULL) {
		return (struct roles_move){ROLES_FORGET, found->id};
	}
	if ((found = decide_best(seen, n, seen_wanted)) != NULL) {
		return (struct roles_move){ROLES_ADD, found->id};
	}
	if ((found = decide_best(seen, n, seen_leaving)) != NULL) {
		return (struct roles_move){ROLES_REMOVE, found->id};
	}
	if (leader != NULL && lead == ROLES_PREFER) {
		return (struct roles_move){lead, leader->id};
	}
	return (struct roles_move){ROLES_NOTHING, 0};
}

/* --- what the leader sees --- */

static struct roles_heard *heard_of(struct roles *roles, uint64_t id)
{
	for (unsigned i = 0; i < roles->n; i++) {
		if (roles->heard[i].id == id) {
			return &roles->heard[i];
		}
	}
	assert(roles->n < SITES_MAX); /* heard_keep() left only members. */
	roles->heard[roles->n] = (struct roles_heard){.id = id};
	return &roles->heard[roles->n++];
}

static void heard_keep(struct roles *roles, const struct configuration *configuration)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < roles->n; i++) {
		if (configuration_member(configuration, roles->heard[i].id) != NULL) {
			roles->heard[kept++] = roles->heard[i];
		}
	}
	roles->n = kept;
}

static void see_heard(
	struct roles *roles, const struct driver *driver, uint64_t now_ms, struct roles_seen *s)
{
	struct driver_peer_status status = driver_peer_status(driver, s->id);
	struct roles_heard *heard = heard_of(roles, s->id);
	uint64_t led_ms = now_ms - roles->led_ms;
	uint64_t silent_ms = status.heard_ms < led_ms ? status.heard_ms : led_ms;

	if (status.heard_ms >= driver_election_timeout_ms(driver)) {
		heard->since_ms = 0;
	} else if (heard->since_ms == 0) {
		heard->since_ms = now_ms;
	}
	s->gone = silent_ms >= roles->options.gone_ms;
	s->steady = heard->since_ms != 0 && now_ms - heard->since_ms >= roles->options.steady_ms;
	s->settled = heard->since_ms != 0 && now_ms - heard->since_ms >= roles->options.lead_ms;
	s->current = driver_member_current(driver, s->id);
}

static struct roles_seen see_member(struct roles *roles, const struct driver *driver,
	const struct servers *servers, const struct member *member, uint64_t now_ms)
{
	const struct server *server = servers_find(servers, member->id);
	struct roles_seen s = {.id = member->id,
		.member = true,
		.votes = member->role == MEMBER_VOTER,
		.self = member->id == roles->id,
		.wish = SERVER_ANY};

	if (server != NULL) {
		s.wish = server->row.wish;
		s.weight = server->row.weight;
		s.trouble = server->read_only || server->quarantined;
	}
	if (s.self) {
		s.current = true;
		s.steady = now_ms - roles->led_ms >= 2ULL * roles->options.steady_ms;
		/* While leadership moves nothing is committed: one that does not take it must not
		 * cost the cluster more than a pause now and then. */
		s.settled = roles->moved_ms == 0 ||
			    now_ms - roles->moved_ms >= 2ULL * roles->options.steady_ms;
	} else {
		see_heard(roles, driver, now_ms, &s);
	}
	return s;
}

/* One that waits for its successor stays what it is until that one has all data. */
static void see_successors(struct roles_seen *seen, unsigned n, const struct servers *servers)
{
	for (unsigned i = 0; i < servers->n; i++) {
		const struct server_row *row = &servers->server[i].row;
		struct roles_seen *old = NULL, *next = NULL;

		for (unsigned k = 0; k < n; k++) {
			old = seen[k].id == row->id ? &seen[k] : old;
			next = seen[k].id == row->successor ? &seen[k] : next;
		}
		if (row->wish != SERVER_GONE || old == NULL || next == NULL ||
			next->wish == SERVER_GONE) {
			continue;
		}
		next->succeeds = true;
		if (old->member && !(next->member && next->steady && next->current)) {
			old->wish = SERVER_ANY;
		}
	}
}

static unsigned roles_see(struct roles *roles, const struct driver *driver,
	const struct servers *servers, const struct configuration *configuration, uint64_t now_ms,
	struct roles_seen seen[2 * SITES_MAX])
{
	unsigned n = 0;

	heard_keep(roles, configuration);
	for (unsigned i = 0; i < configuration->n; i++) {
		seen[n++] = see_member(roles, driver, servers, &configuration->member[i], now_ms);
	}
	for (unsigned i = 0; i < servers->n; i++) {
		const struct server_row *row = &servers->server[i].row;

		if (configuration_member(configuration, row->id) == NULL) {
			seen[n++] = (struct roles_seen){
				.id = row->id, .wish = row->wish, .weight = row->weight};
		}
	}
	see_successors(seen, n, servers);
	return n;
}

/* --- the step --- */

static void roles_wait(struct roles *roles, const struct roles_move *move, const char *why)
{
	static const char *const names[] = {[ROLES_NOTHING] = "",
		[ROLES_ADD] = "add",
		[ROLES_PROMOTE] = "promote",
		[ROLES_DEMOTE] = "demote",
		[ROLES_REMOVE] = "remove",
		[ROLES_FORGET] = "forget",
		[ROLES_HAND_OVER] = "hand over to",
		[ROLES_PREFER] = "move leadership to"};

	(void)snprintf(roles->waiting, sizeof roles->waiting, "%s node %" PRIu64 ": %s",
		names[move->kind], move->id, why);
}

static void roles_change(struct roles *roles, struct driver *driver,
	const struct configuration *next, const struct roles_move *move, const char *what)
{
	struct err e = {0};

	if (driver_change(driver, next, &e) == 0) {
		log_info("op=roles state=%s peer=%" PRIu64, what, move->id);
	} else {
		roles_wait(roles, move, e.text);
	}
}

static void roles_add(struct roles *roles, struct driver *driver, const struct servers *servers,
	struct configuration *next, const struct roles_move *move)
{
	const struct server_row *row = &servers_find(servers, move->id)->row;
	int rc = configuration_add(next, row->id, MEMBER_STANDBY, row->site, row->address);

	if (rc == 0) {
		roles_change(roles, driver, next, move, "added");
	} else {
		roles_wait(roles, move, err_text(rc));
	}
}

static void roles_transfer(
	struct roles *roles, struct driver *driver, const struct roles_move *move, uint64_t now_ms)
{
	int rc;

	if (move->kind == ROLES_PREFER && roles->moved_ms != 0 &&
		now_ms - roles->moved_ms < roles->options.lead_ms) {
		roles_wait(roles, move, "it did not take it a moment ago");
		return;
	}
	roles->moved_ms = now_ms;
	rc = driver_transfer(driver, move->id);
	if (rc == 0) {
		log_info("op=roles state=hand_over peer=%" PRIu64 " reason=%s", move->id,
			move->kind == ROLES_PREFER ? "weight" : "not_to_lead");
	} else {
		roles_wait(roles, move, err_text(rc));
	}
}

/* True: a command is to be proposed. */
static bool roles_do(struct roles *roles, struct driver *driver, const struct servers *servers,
	struct configuration *next, const struct roles_move *move, uint64_t now_ms,
	struct command *ret_command)
{
	switch (move->kind) {
	case ROLES_NOTHING:
		break;
	case ROLES_ADD:
		roles_add(roles, driver, servers, next, move);
		break;
	case ROLES_PROMOTE:
		configuration_find(next, move->id)->role = MEMBER_VOTER;
		roles_change(roles, driver, next, move, "promoted");
		break;
	case ROLES_DEMOTE:
		configuration_find(next, move->id)->role = MEMBER_STANDBY;
		roles_change(roles, driver, next, move, "demoted");
		break;
	case ROLES_REMOVE:
		(void)configuration_remove(next, move->id);
		roles_change(roles, driver, next, move, "removed");
		break;
	case ROLES_FORGET:
		*ret_command = (struct command){
			.type = COMMAND_SERVER_FORGET, .server_forget = {.id = move->id}};
		return true;
	case ROLES_HAND_OVER:
	case ROLES_PREFER:
		roles_transfer(roles, driver, move, now_ms);
		break;
	}
	return false;
}

bool roles_step(struct roles *roles, struct driver *driver, const struct servers *servers,
	uint64_t now_ms, struct command *ret_command)
{
	struct driver_status status = driver_status(driver);
	struct roles_seen seen[2 * SITES_MAX];
	struct configuration configuration;
	struct roles_move move;
	unsigned n;

	roles->waiting[0] = 0;
	if (!status.ready) {
		roles->term = 0;
		return false;
	}
	if (roles->term != status.term) {
		roles->term = status.term;
		roles->led_ms = now_ms;
		roles->moved_ms = 0;
		roles->n = 0;
	}
	driver_configuration(driver, &configuration);
	n = roles_see(roles, driver, servers, &configuration, now_ms, seen);
	/* The members are not written down yet; a step is under way; what the rows say is older
	 * than the configuration. */
	if (servers->voters == 0 || status.configuration_open != 0 || status.transferee != 0 ||
		status.applied < status.configuration_index) {
		return false;
	}
	move = roles_decide(seen, n, servers->voters);
	return roles_do(roles, driver, servers, &configuration, &move, now_ms, ret_command);
}
