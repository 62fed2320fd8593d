/* Clients that do what a real one does: an account, a device, a session, a vault, then commits,
 * each built on the one before. What got no answer is sent again, byte for byte, through any node;
 * an answer other than success says that an acknowledged write is gone. Two write one vault: which
 * of them was first, the other hears as a refusal, reads, and goes on from there. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { SESSION_PATIENCE_MS = 3000, SESSION_PAGES = 8, SESSION_TTL_MS = 24 * 3600 * 1000 };

enum { SESSION_RIVAL = SIM_SESSIONS - 1, SESSION_RIVALS_OF = SESSION_RIVAL - 1 };

void session_init(struct sim_session *session, unsigned number)
{
	session->number = number;
	session->vault = number < SIM_VAULTS ? number : SIM_VAULTS - 1;
	fixture_client_init(&session->client, session->vault + 1);
	session->stage = STAGE_CLUSTER;
}

void session_release(struct sim_session *session)
{
	buf_release(&session->command);
	buf_release(&session->entries);
	buf_release(&session->staged);
}

/* A page in one of three ways, and the signed head over it. */
static void session_commit(struct sim *sim, struct sim_session *session)
{
	struct fixture_client *c = &session->client;
	uint64_t pages = c->page_count + 1 < SESSION_PAGES ? c->page_count + 1 : SESSION_PAGES;
	uint64_t page = sim_random(sim, pages), revision = c->revision[page] + 1;
	uint64_t salt = sim_random(sim, 4) + 4 * c->writer; /* The same content more than once. */
	bool staged = sim_chance(sim, 250), purge = sim_chance(sim, 100);
	unsigned bucket = page < c->page_count && sim_chance(sim, 100) ? 0 : 12;

	buf_clear(&session->entries);
	fixture_entry(c, page, revision, bucket, salt, staged && bucket != 0, &session->entries);
	fixture_commit(c, buf_bytes(&session->entries),
		page < c->page_count ? c->page_count : page + 1, purge, &session->command);
	history_sent(sim, session->vault, session->number, c->seq + 1, history_head(c->next_hash));
	session->stage = STAGE_COMMIT;
	if (staged && bucket != 0) {
		buf_clear(&session->staged);
		buf_append_bytes(&session->staged, buf_bytes(&session->command));
		fixture_stage(c, page, revision, bucket, salt, &session->command);
		session->stage = STAGE_PAGE;
	}
}

static void session_build(struct sim *sim, struct sim_session *session)
{
	switch (session->stage) {
	case STAGE_CLUSTER:
		fixture_cluster_init(&session->command, SIM_NODES);
		break;
	case STAGE_ACCOUNT:
		fixture_service_create(&session->client, &session->command);
		break;
	case STAGE_ENROL:
		fixture_service_enrol(&session->client, &session->command);
		break;
	case STAGE_SESSION:
		fixture_session_create(&session->client, SESSION_TTL_MS, &session->command);
		break;
	case STAGE_VAULT:
		fixture_vault_create(&session->client, &session->command);
		history_sent(sim, session->vault, session->number, 1,
			history_head(session->client.next_hash));
		break;
	case STAGE_READY:
		session_commit(sim, session);
		break;
	case STAGE_PAGE:
	case STAGE_COMMIT:
		break;
	}
	session->built = true;
}

/* The second writer begins where the first one has a vault. */
static void session_join(struct sim *sim, struct sim_session *session)
{
	const struct sim_session *first = &sim->session[SESSION_RIVALS_OF];

	if (session->number == SESSION_RIVAL && session->stage < STAGE_READY &&
		first->stage >= STAGE_READY) {
		session->client = first->client;
		session->client.writer = 1;
		session->stage = STAGE_READY;
		session->stale = true;
		session->stale_seq = session->client.seq;
	}
}

static bool session_may_run(
	const struct sim *sim, const struct sim_session *session, const struct sim_node *node)
{
	if (session->waiting && sim->now_ms < session->since_ms + SESSION_PATIENCE_MS) {
		return false;
	}
	if (session->stage < STAGE_READY && session->number == SESSION_RIVAL) {
		return false;
	}
	/* Before the clocks are heard cluster time begins at 0: a token would soon be too old. */
	if (session->stage > STAGE_CLUSTER &&
		machine_position(node->machine)->cluster_time_ms < SIM_WALL_MS) {
		return false;
	}
	return !session->stale || session->built;
}

void session_run(struct sim *sim, struct sim_session *session, struct sim_node *node)
{
	session_join(sim, session);
	if (!session_may_run(sim, session, node)) {
		return;
	}
	if (!session->built) {
		session_build(sim, session);
	}
	session->waiting = true;
	session->since_ms = sim->now_ms;
	session->attempt++;
}

static bool session_has_rival(const struct sim_session *session)
{
	return session->number == SESSION_RIVAL || session->number == SESSION_RIVALS_OF;
}

/* The command is done: on to the next. */
static void session_advance(struct sim *sim, struct sim_session *session)
{
	const struct fixture_client *c = &session->client;

	if (session->stage == STAGE_COMMIT || session->stage == STAGE_VAULT) {
		history_accepted(sim, session->vault, session->number, c->seq + 1,
			history_head(c->next_hash));
	}
	session->waiting = session->built = false;
	switch (session->stage) {
	case STAGE_PAGE:
		buf_clear(&session->command);
		buf_append_bytes(&session->command, buf_bytes(&session->staged));
		session->stage = STAGE_COMMIT;
		session->built = true;
		break;
	case STAGE_COMMIT:
		fixture_committed(&session->client, buf_bytes(&session->entries));
		session->commits++;
		session->stage = STAGE_READY;
		session->stale = session_has_rival(session) && sim_chance(sim, 300);
		session->stale_seq = session->client.seq;
		break;
	case STAGE_VAULT: /* Its first head stands in the creation. */
		fixture_committed(&session->client, bytes_of(NULL, 0));
		session->stage = STAGE_READY;
		break;
	case STAGE_READY:
		assert(!"nothing is sent in this stage");
		break;
	default:
		session->stage++;
		break;
	}
}

/* The other writer was first. */
static void session_lost_race(struct sim *sim, struct sim_session *session)
{
	history_denied(sim, session->vault, session->number, session->client.seq + 1);
	session->stage = STAGE_READY;
	session->waiting = session->built = false;
	session->stale = true;
	session->stale_seq = session->client.seq + 1; /* What is there instead of its own. */
}

void session_answer(
	struct sim *sim, struct sim_session *session, uint64_t attempt, uint64_t index, int rc)
{
	if (!session->waiting || session->attempt != attempt) {
		return; /* Of an earlier attempt: the one that counts is under way. */
	}
	if (index == 0) {
		session->waiting = false; /* It is nowhere: again, at once. */
	} else if (rc == KLUIS_EPRECONDITION && session->stage == STAGE_COMMIT &&
		   session_has_rival(session)) {
		session_lost_race(sim, session);
	} else if (rc != 0) {
		sim_violate(sim, CHECK_CLIENT, "client %u: step %d: %s", session->number,
			(int)session->stage, err_text(rc));
	} else {
		session_advance(sim, session);
	}
}

void session_read(struct sim_session *session, const struct fixture_client *seen)
{
	if (session->stale && !session->built && session->stage == STAGE_READY &&
		seen->seq >= session->stale_seq) {
		session->client = *seen;
		session->client.writer = session->number == SESSION_RIVAL;
		session->stale = false;
	}
}
