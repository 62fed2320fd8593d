/* Clients that do what a real one does: an account, a device, a session, a vault, then commits,
 * each built on the one before. What got no answer is sent again, byte for byte, through any node;
 * an answer other than success says that an acknowledged write is gone. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { SESSION_PATIENCE_MS = 3000, SESSION_PAGES = 8, SESSION_TTL_MS = 24 * 3600 * 1000 };

void session_init(struct sim_session *session, unsigned number)
{
	fixture_client_init(&session->client, number);
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
	uint64_t salt = sim_random(sim, 4); /* The same content more than once. */
	bool staged = sim_chance(sim, 250), purge = sim_chance(sim, 100);
	unsigned bucket = page < c->page_count && sim_chance(sim, 100) ? 0 : 12;

	buf_clear(&session->entries);
	fixture_entry(c, page, revision, bucket, salt, staged && bucket != 0, &session->entries);
	fixture_commit(c, buf_bytes(&session->entries),
		page < c->page_count ? c->page_count : page + 1, purge, &session->command);
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

void session_run(struct sim *sim, struct sim_session *session, struct sim_node *node)
{
	if (session->waiting && sim->now_ms < session->since_ms + SESSION_PATIENCE_MS) {
		return;
	}
	if (!session->built) {
		session_build(sim, session);
	}
	session->waiting = true;
	session->since_ms = sim->now_ms;
	session->node = node->id;
	session->boot = node->boot;
	session->seq = client_propose(node, buf_bytes(&session->command));
}

/* The command is done: on to the next. */
static void session_advance(struct sim_session *session)
{
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

void session_answer(struct sim *sim, const struct sim_node *node, uint64_t seq, int rc)
{
	for (unsigned i = 0; i < SIM_SESSIONS; i++) {
		struct sim_session *session = &sim->session[i];

		if (!session->waiting || session->node != node->id || session->boot != node->boot ||
			session->seq != seq) {
			continue;
		}
		if (rc != 0) {
			sim_violate(sim, CHECK_CLIENT, "client %u at node %u: step %d: %s", i,
				node->id, (int)session->stage, err_text(rc));
			return;
		}
		session_advance(session);
	}
}
