#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "storage/cluster_store.h"
#include "storage/journal_store.h"
#include "storage/session_store.h"
#include "tests/sim/backup/fortnight.h"

enum { WORK_MAX = 6, ENTRIES_MAX = 3 };

static int cluster_run(struct fortnight *f, const struct command *command)
{
	f->machine.now_ms = cluster_now(f);
	return fixture_machine_do(&f->machine, command);
}

static int cluster_run_bytes(struct fortnight *f, const struct buf *command)
{
	f->machine.now_ms = cluster_now(f);
	return fixture_machine_run(&f->machine, buf_bytes(command));
}

uint64_t cluster_now(const struct fortnight *f)
{
	return f->true_ms + f->cluster_ahead_ms;
}

static void cluster_must(struct fortnight *f, const struct command *command)
{
	if (cluster_run(f, command) != 0) {
		abort();
	}
}

static void cluster_announce(struct fortnight *f, const struct site *site, uint64_t node)
{
	struct command command = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = node,
			.feature_level = FEATURE_LEVEL,
			.site = bytes_str(site_name(site)),
			.version = bytes_str("1"),
			.api = bytes_str(""),
			.link = bytes_str("127.0.0.1:1"),
			.ssh = bytes_str(""),
			.ssh_host_key = bytes_of(NULL, 0)}};

	cluster_must(f, &command);
}

/* The first members are written down, so that others can come. */
static void cluster_meet(struct fortnight *f)
{
	struct command command = {.type = COMMAND_SERVERS_BEGIN,
		.servers_begin = {.voters = SITES - 1, .n_servers = SITES}};

	for (unsigned i = 0; i < SITES; i++) {
		struct server_first *first = &command.servers_begin.server[i];

		cluster_announce(f, &f->site[i], f->site[i].node);
		first->id = f->site[i].node;
		memset(first->incarnation, (int)first->id, sizeof first->incarnation);
	}
	cluster_must(f, &command);
}

static void cluster_refresh(struct fortnight *f)
{
	struct kv_view *view = kv_view_new(f->machine.kv);
	struct node_row nodes[SITES_MAX];
	size_t n = 0;

	if (snapshot_store_list(view, 0, f->rows, SNAPSHOTS_KEPT + 1, &f->n_rows, NULL) != 0 ||
		journal_store_get(view, &f->journal, NULL) != 0 ||
		node_store_list(view, 0, nodes, SITES_MAX, &n, NULL) != 0) {
		abort();
	}
	kv_view_free(view);
	f->members.n = n;
	for (size_t i = 0; i < n; i++) {
		f->members.nodes[i] = nodes[i].node;
	}
}

void cluster_begin(struct fortnight *f)
{
	struct cluster_row row;
	struct kv_view *view;

	fixture_machine_init(&f->machine, NULL);
	f->true_ms = f->machine.now_ms + CYCLE_MS - f->machine.now_ms % CYCLE_MS;
	f->machine.now_ms = f->true_ms;
	fixture_machine_begin(&f->machine, &f->client[0]);
	for (f->next_client = 2; f->next_client <= CLIENTS; f->next_client++) {
		fixture_machine_join(&f->machine, &f->client[f->next_client - 1], f->next_client);
	}
	cluster_meet(f);
	view = kv_view_new(f->machine.kv);
	if (cluster_store_get(view, &row, NULL) != 0) {
		abort();
	}
	kv_view_free(view);
	memcpy(f->cluster_id, row.cluster_id, ID_BYTES);
	memcpy(f->lineage, row.lineage, ID_BYTES);
	f->rows = x_calloc(SNAPSHOTS_KEPT + 1, sizeof *f->rows);
	cluster_refresh(f);
}

void cluster_end(struct fortnight *f)
{
	fixture_machine_release(&f->machine);
	free(f->rows);
}

/* --- clients --------------------------------------------------------------------------------- */

/* It did what it should, or there was nothing to do it to. */
static void work_expect(struct fortnight *f, const char *what, int rc, int other)
{
	if (rc != 0 && rc != other) {
		fortnight_violate(f, CHECK_STEP, "%s: %s", what, err_name(rc));
	}
}

static void work_expire(struct fortnight *f)
{
	struct command command = {.type = COMMAND_EXPIRE, .expire = {.max_rows = EXPIRE_ROWS_MAX}};

	work_expect(f, "expire", cluster_run(f, &command), 0);
}

static int work_commit_once(
	struct fortnight *f, struct fixture_client *c, const struct buf *command)
{
	_cleanup_(buf_release) struct buf session = BUF_INIT;
	int rc = cluster_run_bytes(f, command);

	if (rc != KLUIS_EUNAUTHENTICATED) {
		return rc;
	}
	work_expire(f); /* The session that ran out goes before another one gets its token. */
	fixture_session_create(c, SESSION_MS_MAX, &session);
	rc = cluster_run_bytes(f, &session);
	return rc != 0 ? rc : cluster_run_bytes(f, command);
}

static void work_commit(struct fortnight *f)
{
	struct fixture_client *c = &f->client[random_below(f->random, CLIENTS)];
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	uint64_t page = random_below(f->random, CLIENT_PAGES), pages = c->page_count;
	uint64_t upto = page + 1 + random_below(f->random, ENTRIES_MAX);
	bool purge = random_below(f->random, 8) == 0;

	for (; page < upto && page < CLIENT_PAGES; page++) {
		unsigned bucket = random_below(f->random, 3) == 0 ? 0 : 12;

		fixture_entry(c, page, c->revision[page] + 1, bucket,
			random_below(f->random, 1 << 30), false, &entries);
		pages = page + 1 > pages ? page + 1 : pages;
	}
	fixture_commit(c, buf_bytes(&entries), pages, purge, &command);
	work_expect(f, "commit", work_commit_once(f, c, &command), 0);
	fixture_committed(c, buf_bytes(&entries));
	f->committed_ms = cluster_now(f);
}

static void work_sign_in(struct fortnight *f)
{
	const struct fixture_client *c = &f->client[random_below(f->random, CLIENTS)];
	struct command command = {.type = COMMAND_SESSION_CREATE,
		.session_create = {.level = SESSION_FULL,
			.ttl_ms = 1000 + (uint32_t)random_below(f->random, 3ULL * DAY_MS)}};
	struct command_reply reply;
	uint8_t *token_hash;

	if (f->n_signed_in == TOKENS_MAX) {
		return;
	}
	token_hash = f->signed_in[f->n_signed_in].token_hash;
	random_fill(f->random, token_hash, 32);
	memcpy(command.session_create.user_id, c->user_id, 16);
	memcpy(command.session_create.device_id, c->device_id, 16);
	memcpy(command.session_create.token_hash, token_hash, 32);
	work_expect(f, "sign in", cluster_run(f, &command), 0);
	reply = fixture_machine_reply(&f->machine);
	memcpy(f->signed_in[f->n_signed_in++].session_id, reply.id, 16);
}

static void work_sign_out(struct fortnight *f)
{
	struct command command = {.type = COMMAND_SESSION_END};
	size_t at;

	if (f->n_signed_in == 0) {
		return;
	}
	at = random_below(f->random, f->n_signed_in);
	memcpy(command.session_end.session.token_hash, f->signed_in[at].token_hash, 32);
	memcpy(command.session_end.session_id, f->signed_in[at].session_id, 16);
	command.session_end.which = SESSION_END_ONE;
	/* It may have run out. */
	work_expect(f, "sign out", cluster_run(f, &command), KLUIS_EUNAUTHENTICATED);
	f->signed_in[at] = f->signed_in[--f->n_signed_in];
}

/* A vault goes with all its pages, and another one comes. */
static void work_vault(struct fortnight *f)
{
	unsigned at = (unsigned)random_below(f->random, CLIENTS);
	struct fixture_client *c = &f->client[at];
	struct command command = {.type = COMMAND_VAULT_DELETE, .vault_delete = {.revision = 1}};
	int rc;

	memcpy(command.vault_delete.session.token_hash, c->token_hash, 32);
	memcpy(command.vault_delete.vault_id, c->vault_id, 16);
	rc = cluster_run(f, &command);
	work_expect(f, "delete a vault", rc, KLUIS_EUNAUTHENTICATED);
	if (rc == 0) {
		f->machine.now_ms = cluster_now(f);
		fixture_machine_join(&f->machine, c, f->next_client++);
	}
}

static bool cluster_has_quorum(const struct fortnight *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SITES; i++) {
		n += site_reached(&f->site[i]);
	}
	return n >= QUORUM;
}

void cluster_work(struct fortnight *f)
{
	unsigned n = (unsigned)random_below(f->random, WORK_MAX + 1);

	if (!cluster_has_quorum(f)) {
		return;
	}
	n = f->true_ms < f->quiet_until ? 0 : n;
	for (unsigned i = 0; i < n; i++) {
		switch (random_below(f->random, 8)) {
		case 0:
		case 1:
			work_sign_in(f);
			break;
		case 2:
			work_sign_out(f);
			break;
		case 3:
			if (random_below(f->random, 40) == 0) {
				work_vault(f);
			}
			break;
		default:
			work_commit(f);
			break;
		}
	}
	work_expire(f);
}

/* --- snapshots ------------------------------------------------------------------------------- */

bool cluster_reached(const struct fortnight *f, const struct site *site)
{
	return site_reached(site) && cluster_has_quorum(f);
}

int cluster_replace(struct fortnight *f, const struct site *site, uint64_t node)
{
	_cleanup_(x_freep) char *address = x_asprintf("127.0.0.1:%u", 2 + site->number);
	struct command add = {.type = COMMAND_SERVER_ADD,
		.server_add = {.id = node,
			.weight = SERVER_WEIGHT_DEFAULT,
			.replaces = site->node,
			.site = bytes_str(site_name(site)),
			.address = bytes_str(address),
			.actor = bytes_str("operator")}};
	struct command forget = {
		.type = COMMAND_SERVER_FORGET, .server_forget = {.id = site->node}};

	if (!cluster_has_quorum(f)) {
		return KLUIS_ENOQUORUM;
	}
	memset(add.server_add.incarnation, (int)node, sizeof add.server_add.incarnation);
	cluster_must(f, &add);
	cluster_announce(f, site, node);
	cluster_must(f, &forget);
	cluster_refresh(f);
	return 0;
}

int cluster_propose(struct fortnight *f, struct site *site, const struct command *command)
{
	int rc;

	if (!cluster_reached(f, site)) {
		return KLUIS_ENOQUORUM;
	}
	rc = cluster_run(f, command);
	cluster_refresh(f);
	check_records(f);
	if (rc == 0 && fortnight_due(f, FAULT_UNHEARD, 40)) {
		fortnight_fault(f, FAULT_UNHEARD);
		rc = KLUIS_EUNKNOWN_OUTCOME;
	}
	return rc;
}

void cluster_jump(struct fortnight *f, uint64_t ms)
{
	struct command command = {.type = COMMAND_TIME_JUMP, .time_jump.n_readings = SITES};

	for (unsigned i = 0; i < SITES; i++) {
		command.time_jump.reading[i].node = f->members.nodes[i];
		command.time_jump.reading[i].wall_ms = cluster_now(f) + ms;
	}
	work_expect(f, "time jump", cluster_run(f, &command), 0);
	f->cluster_ahead_ms += ms;
}

void cluster_state(const struct fortnight *f, struct snapshot_state_row *ret_state)
{
	struct kv_view *view = kv_view_new(f->machine.kv);

	if (snapshot_store_state(view, ret_state, NULL) != 0) {
		abort();
	}
	kv_view_free(view);
}

const struct snapshot_row *cluster_record(const struct fortnight *f, uint64_t id)
{
	for (size_t i = 0; i < f->n_rows; i++) {
		if (f->rows[i].id == id) {
			return &f->rows[i];
		}
	}
	return NULL;
}
