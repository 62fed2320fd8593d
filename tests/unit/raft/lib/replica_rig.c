#include "tests/unit/raft/lib/replica_rig.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/lib/certs.h"
#include "tests/lib/port.h"
#include "tests/lib/test.h"

char *replica_rig_path(const struct replica_rig *rig, unsigned node, const char *name)
{
	return x_asprintf("%s/%u/%s", rig->dir, node, name);
}

static void rig_write(const char *path, const struct buf *bytes)
{
	assert_int_equal(file_write(path, buf_bytes(bytes), 0600, NULL), 0);
}

static void rig_make_node(struct replica_rig *rig, unsigned node, const struct pki_identity *ca)
{
	_cleanup_(x_freep) char *dir = replica_rig_path(rig, node, "data");
	_cleanup_(x_freep) char *cert = replica_rig_path(rig, node, "cert.pem");
	_cleanup_(x_freep) char *key = replica_rig_path(rig, node, "key.pem");
	struct pki_identity identity = {BUF_INIT, BUF_INIT};
	struct err e = {0};

	assert_int_equal(file_make_dirs(dir, 0700, NULL), 0);
	certs_node(ca, node + 1, 0, &identity);
	rig_write(cert, &identity.cert_pem);
	rig_write(key, &identity.key_pem);
	pki_identity_release(&identity);
	if (node >= rig->founders) {
		assert_int_equal(replica_bootstrap_joining(dir, node + 1, &e), 0);
	} else if (rig->voters > 0 &&
		   replica_bootstrap(dir, node + 1, rig->servers, rig->founders, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

void replica_rig_init(struct replica_rig *rig, unsigned n, unsigned voters)
{
	replica_rig_init_joining(rig, n, voters, 0);
}

void replica_rig_init_joining(
	struct replica_rig *rig, unsigned n, unsigned voters, unsigned joining)
{
	struct pki_identity ca = {BUF_INIT, BUF_INIT};
	_cleanup_(x_freep) char *path = NULL;

	memset(rig, 0, sizeof *rig);
	rig->dir = scratch_new("replica");
	rig->n = n;
	rig->voters = voters;
	rig->founders = n - joining;
	rig->floor_bytes = 1;
	(void)signal(SIGPIPE, SIG_IGN); /* As kluisd does. */
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	assert_int_equal(mailbox_init(&rig->mailbox, &rig->loop), 0);
	assert_int_equal(uv_timer_init(&rig->loop, &rig->timer), 0);
	for (unsigned i = 0; i < n; i++) {
		unsigned port;

		rig->port_fds[i] = port_reserve(&port);
		rig->servers[i].id = i + 1;
		rig->servers[i].vote = i < voters ? REPLICA_VOTER : REPLICA_STANDBY;
		(void)snprintf(rig->servers[i].address, sizeof rig->servers[i].address,
			"127.0.0.1:%u", port);
	}
	certs_ca(&ca);
	for (unsigned i = 0; i < n; i++) {
		rig_make_node(rig, i, &ca);
	}
	path = x_asprintf("%s/ca.pem", rig->dir);
	rig_write(path, &ca.cert_pem);
	pki_identity_release(&ca);
}

void replica_rig_release(struct replica_rig *rig)
{
	for (unsigned i = 0; i < rig->n; i++) {
		replica_rig_stop(rig, i, 0);
		(void)close(rig->port_fds[i]);
	}
	uv_close((uv_handle_t *)&rig->timer, NULL);
	mailbox_close(&rig->mailbox, NULL);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	scratch_free(rig->dir);
}

/* Half of what nodes take: a test waits for dozens of elections, between threads of one machine. */
enum { RIG_ELECTION_MS = 500, RIG_HEARTBEAT_MS = 75 };

int replica_rig_try_start(struct replica_rig *rig, unsigned node, struct err *e)
{
	_cleanup_(x_freep) char *dir = replica_rig_path(rig, node, "data");
	_cleanup_(x_freep) char *cert = replica_rig_path(rig, node, "cert.pem");
	_cleanup_(x_freep) char *key = replica_rig_path(rig, node, "key.pem");
	_cleanup_(x_freep) char *ca = x_asprintf("%s/ca.pem", rig->dir);
	struct replica_config config = {.dir = dir,
		.node_id = node + 1,
		.site = "test",
		.feature_level = FEATURE_LEVEL,
		.listen = rig->servers[node].address,
		.ca_path = ca,
		.cert_path = cert,
		.key_path = key,
		.servers = rig->servers,
		.n_servers = rig->n,
		.floor_bytes = rig->floor_bytes,
		.floor_percent = rig->floor_percent,
		.gone_ms = rig->gone_ms,
		.election_timeout_ms = RIG_ELECTION_MS,
		.heartbeat_ms = RIG_HEARTBEAT_MS,
		.store_cache_bytes = 16 << 20};

	memcpy(config.cluster_id, certs_cluster, sizeof config.cluster_id);
	return replica_start(&config, &rig->node[node], e);
}

void replica_rig_start(struct replica_rig *rig, unsigned node)
{
	struct err e = {0};

	if (replica_rig_try_start(rig, node, &e) != 0) {
		fail_msg("node %u: %s", node, e.text);
	}
}

void replica_rig_start_all(struct replica_rig *rig)
{
	for (unsigned i = 0; i < rig->n; i++) {
		replica_rig_start(rig, i);
	}
}

void replica_rig_stop(struct replica_rig *rig, unsigned node, unsigned hand_over_ms)
{
	replica_stop(rig->node[node], hand_over_ms);
	rig->node[node] = NULL;
}

static void rig_timer_cb(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

void replica_rig_run(struct replica_rig *rig, unsigned ms)
{
	uv_update_time(&rig->loop);
	assert_int_equal(uv_timer_start(&rig->timer, rig_timer_cb, ms, 0), 0);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	(void)uv_timer_stop(&rig->timer);
}

struct replica_status replica_rig_status(struct replica_rig *rig, unsigned node)
{
	struct replica_status status;

	replica_status(rig->node[node], &status);
	return status;
}

void replica_rig_wait_clock(struct replica_rig *rig, unsigned node)
{
	while (replica_rig_status(rig, node).cluster_time_ms < 1000000000000) {
		replica_rig_run(rig, 20);
	}
}

static uint64_t rig_agreed_leader(struct replica_rig *rig)
{
	uint64_t leader = 0;

	for (unsigned i = 0; i < rig->n; i++) {
		struct replica_status status;

		if (rig->node[i] == NULL) {
			continue;
		}
		status = replica_rig_status(rig, i);
		if (status.leader_id == 0 || (leader != 0 && status.leader_id != leader) ||
			rig->node[status.leader_id - 1] == NULL) {
			return 0;
		}
		leader = status.leader_id;
	}
	return leader;
}

unsigned replica_rig_leader(struct replica_rig *rig)
{
	for (unsigned waited = 0; waited < RIG_WAIT_MS; waited += 20) {
		uint64_t leader = rig_agreed_leader(rig);

		if (leader != 0) {
			return (unsigned)leader - 1;
		}
		replica_rig_run(rig, 20);
	}
	fail_msg("no leader");
	return 0;
}

struct rig_propose {
	struct propose propose;
	bool done;
	int rc;
};

static void rig_propose_cb(struct propose *req, int rc)
{
	struct rig_propose *p = CONTAINER_OF(req, struct rig_propose, propose);

	p->done = true;
	p->rc = rc;
	uv_stop(req->home->async.loop);
}

int replica_rig_propose(struct replica_rig *rig, unsigned node, struct buf *command,
	unsigned timeout_ms, uint64_t *ret_index)
{
	struct rig_propose p = {.done = false};

	propose_start(&p.propose, rig->node[node], &rig->mailbox, command,
		clock_monotonic_ms(&clock_system) + timeout_ms, rig_propose_cb);
	assert_false(p.done);
	while (!p.done) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
	if (ret_index != NULL) {
		*ret_index = p.propose.index;
	}
	if (p.rc == 0 && p.propose.index > rig->newest_index) {
		rig->newest_index = p.propose.index;
	}
	return p.rc;
}

struct rig_read {
	struct read_index read;
	bool done;
	int rc;
};

static void rig_read_cb(struct read_index *req, int rc)
{
	struct rig_read *p = CONTAINER_OF(req, struct rig_read, read);

	p->done = true;
	p->rc = rc;
}

int replica_rig_read(
	struct replica_rig *rig, unsigned node, unsigned timeout_ms, uint64_t *ret_index)
{
	struct rig_read p = {.done = false};

	read_index_start(&p.read, rig->node[node], &rig->mailbox,
		clock_monotonic_ms(&clock_system) + timeout_ms, rig_read_cb);
	assert_false(p.done);
	while (!p.done) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
	*ret_index = p.read.index;
	return p.rc;
}

static bool rig_converged(struct replica_rig *rig)
{
	struct replica_status first = {.node_id = 0};

	for (unsigned i = 0; i < rig->n; i++) {
		struct replica_status status;

		if (rig->node[i] == NULL) {
			continue;
		}
		status = replica_rig_status(rig, i);
		if (first.node_id == 0) {
			first = status;
		}
		if (status.state_hash_index != first.state_hash_index ||
			memcmp(status.state_hash, first.state_hash, 32) != 0) {
			return false;
		}
	}
	/* What they publish may be older than what was answered. */
	return first.state_hash_index > 0 && first.state_hash_index >= rig->newest_index;
}

void replica_rig_converge(struct replica_rig *rig)
{
	for (unsigned waited = 0; waited < RIG_WAIT_MS; waited += 20) {
		if (rig_converged(rig)) {
			return;
		}
		replica_rig_run(rig, 20);
	}
	for (unsigned i = 0; i < rig->n; i++) {
		if (rig->node[i] != NULL) {
			struct replica_status s = replica_rig_status(rig, i);

			print_message("node %u: role %d term %" PRIu64 " leader %" PRIu64
				      " commit %" PRIu64 " applied %" PRIu64 " last %" PRIu64 "\n",
				i + 1, (int)s.role, s.term, s.leader_id, s.commit_index,
				s.applied_index, s.last_index);
		}
	}
	fail_msg("not converged");
}
