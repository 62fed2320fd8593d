#include "tests/lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "tests/lib/api/node.h"
#include "tests/lib/fixture/person.h"

static struct api_node *node_of(struct api_backend *backend)
{
	return CONTAINER_OF(backend, struct api_node, backend);
}

/* --- the backend ----------------------------------------------------------------------------- */

static int node_read_begin(struct api_backend *backend, struct kv **ret_kv)
{
	*ret_kv = node_of(backend)->machine.kv;
	return 0;
}

static void node_read_end(struct api_backend *backend)
{
	(void)backend;
}

static void read_index_deliver(struct mail *mail)
{
	struct read_index *req = CONTAINER_OF(mail, struct read_index, mail);

	req->cb(req, req->rc);
}

static void node_read_index(struct api_backend *backend, struct read_index *req,
	struct mailbox *home, uint64_t deadline_ms, void (*cb)(struct read_index *req, int rc))
{
	struct api_node *node = node_of(backend);

	(void)deadline_ms;
	(void)pthread_mutex_lock(&node->lock);
	node->read_indexes++;
	req->rc = node->no_leader ? KLUIS_ENOQUORUM : 0;
	req->index = fsm_position(node->machine.fsm)->index;
	(void)pthread_mutex_unlock(&node->lock);
	req->cb = cb;
	req->mail.deliver_cb = read_index_deliver;
	mailbox_send(home, &req->mail);
}

static void applied_wait_deliver(struct mail *mail)
{
	struct applied_wait *req = CONTAINER_OF(mail, struct applied_wait, mail);

	req->cb(req, req->rc);
}

static void node_applied_wait(struct api_backend *backend, struct applied_wait *req,
	struct mailbox *home, uint64_t index, uint64_t deadline_ms,
	void (*cb)(struct applied_wait *req, int rc))
{
	struct api_node *node = node_of(backend);

	(void)deadline_ms;
	(void)pthread_mutex_lock(&node->lock);
	node->wait_for = index;
	req->index = fsm_position(node->machine.fsm)->index;
	req->rc = req->index < index ? KLUIS_EBEHIND : 0;
	(void)pthread_mutex_unlock(&node->lock);
	req->cb = cb;
	req->mail.deliver_cb = applied_wait_deliver;
	mailbox_send(home, &req->mail);
}

static uint64_t node_applied(struct api_backend *backend, uint64_t *ret_heard_ms)
{
	struct api_node *node = node_of(backend);
	uint64_t index;

	(void)pthread_mutex_lock(&node->lock);
	index = fsm_position(node->machine.fsm)->index;
	*ret_heard_ms = clock_monotonic_ms(&clock_system) - node->heard_ago_ms;
	(void)pthread_mutex_unlock(&node->lock);
	return index;
}

static void propose_deliver(struct mail *mail)
{
	struct propose *req = CONTAINER_OF(mail, struct propose, mail);

	req->cb(req, req->rc);
}

static void node_apply(struct api_node *node, struct propose *req, const struct buf *command)
{
	struct fsm_results *results = &node->machine.results;
	struct bytes reply;

	req->rc = fixture_machine_run(&node->machine, buf_bytes(command));
	assert_int_equal(results->n, 1);
	req->index = results->result[0].index;
	reply = fsm_results_reply(results, &results->result[0]);
	assert_true(reply.len <= sizeof req->reply_space);
	if (reply.len > 0) {
		memcpy(req->reply_space, reply.data, reply.len);
	}
	req->reply = bytes_of(req->reply_space, reply.len);
	reply = fsm_results_reason(results, &results->result[0]);
	if (reply.len > 0) {
		memcpy(req->reply_space, reply.data, reply.len);
	}
	req->reason = bytes_of(req->reply_space, reply.len);
	if (node->watch != NULL) {
		node->watch->cb(
			node->watch, results->events.event, results->events.n, req->index, false);
	}
	if (node->lose_outcome) {
		req->rc = KLUIS_EUNKNOWN_OUTCOME;
		req->index = 0;
	}
}

static void node_propose(struct api_backend *backend, struct propose *req, struct mailbox *home,
	struct buf *command, uint64_t deadline_ms, void (*cb)(struct propose *req, int rc))
{
	struct api_node *node = node_of(backend);

	(void)deadline_ms;
	(void)pthread_mutex_lock(&node->lock);
	node->proposals++;
	req->reply = req->reason = bytes_of(NULL, 0);
	req->index = 0;
	if (node->no_leader) {
		req->rc = KLUIS_ENOQUORUM;
	} else {
		node->machine.now_ms += 1;
		node_apply(node, req, command);
	}
	node->quarantined = node->quarantined || node->quarantine_at_once;
	(void)pthread_mutex_unlock(&node->lock);
	buf_release(command);
	req->cb = cb;
	req->mail.deliver_cb = propose_deliver;
	mailbox_send(home, &req->mail);
}

static void transfer_deliver(struct mail *mail)
{
	struct replica_transfer *req = CONTAINER_OF(mail, struct replica_transfer, mail);

	req->cb(req, req->rc);
}

static void node_transfer(struct api_backend *backend, struct replica_transfer *req,
	struct mailbox *home, uint64_t to, uint64_t deadline_ms,
	void (*cb)(struct replica_transfer *req, int rc))
{
	(void)deadline_ms;
	req->rc = node_of(backend)->no_leader ? KLUIS_ENOTLEADER : to == 9 ? KLUIS_EINVAL : 0;
	req->cb = cb;
	req->mail.deliver_cb = transfer_deliver;
	mailbox_send(home, &req->mail);
}

static int node_reload(struct api_backend *backend, struct err *e)
{
	return node_of(backend)->bad_link_file
		       ? err_set(e, KLUIS_EVERIFY, "certificate 'link.pem': expired")
		       : 0;
}

static void node_status(struct api_backend *backend, struct replica_status *ret_status)
{
	struct api_node *node = node_of(backend);

	(void)pthread_mutex_lock(&node->lock);
	*ret_status = (struct replica_status){.node_id = 1,
		.role = REPLICA_LEADER,
		.vote = REPLICA_VOTER,
		.term = 1,
		.leader_id = node->no_leader ? 0 : 1,
		.applied_index = fsm_position(node->machine.fsm)->index,
		.cluster_time_ms = fsm_position(node->machine.fsm)->cluster_time_ms,
		.begun = true,
		.ready = !node->no_leader,
		.certificate_not_after_ms =
			clock_wall_ms(&clock_system) + 6ULL * 24 * 3600 * 1000 + 1000,
		.read_only = node->read_only,
		.quarantined = node->quarantined,
		.n_peers = 1};
	(void)snprintf(ret_status->damage, sizeof ret_status->damage, "%s", node->damage);
	ret_status->voters = node->voters;
	ret_status->voters_wanted = node->voters_wanted;
	ret_status->peers[0] = (struct replica_peer_status){.id = 2, .connected = true};
	(void)pthread_mutex_unlock(&node->lock);
}

static void node_doubt(struct api_backend *backend, const char *what)
{
	struct api_node *node = node_of(backend);

	(void)pthread_mutex_lock(&node->lock);
	node->doubts++;
	(void)snprintf(node->damage, sizeof node->damage, "%s", what);
	(void)pthread_mutex_unlock(&node->lock);
}

static bool node_quarantined(struct api_backend *backend)
{
	struct api_node *node = node_of(backend);
	bool quarantined;

	(void)pthread_mutex_lock(&node->lock);
	quarantined = node->quarantined;
	(void)pthread_mutex_unlock(&node->lock);
	return quarantined;
}

static void node_watch(struct api_backend *backend, struct replica_watch *watch)
{
	struct api_node *node = node_of(backend);

	(void)pthread_mutex_lock(&node->lock);
	node->watch = watch;
	(void)pthread_mutex_unlock(&node->lock);
}

static void node_relay(struct api_backend *backend, struct buf *message)
{
	struct api_node *node = node_of(backend);

	(void)pthread_mutex_lock(&node->lock);
	buf_release(&node->relayed);
	node->relayed = *message;
	*message = BUF_INIT;
	(void)pthread_mutex_unlock(&node->lock);
}

/* --- life ------------------------------------------------------------------------------------ */

void api_node_prepare(struct api_node *node)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct err e = {0};

	(void)signal(SIGPIPE, SIG_IGN); /* As kluisd does. */
	memset(node, 0, sizeof *node);
	node->backend = (struct api_backend){node_read_begin, node_read_end, node_read_index,
		node_applied_wait, node_applied, node_propose, node_transfer, node_reload,
		node_status, node_quarantined, node_doubt, node_watch, node_relay};
	(void)pthread_mutex_init(&node->lock, NULL);
	fixture_machine_init(&node->machine, NULL);
	fixture_cluster_init(&command, 6);
	assert_int_equal(fixture_machine_run(&node->machine, buf_bytes(&command)), 0);
	fixture_machine_level(&node->machine);
	node->pool = pool_new("db", 2, 256);
	node->dir = scratch_new("api");
	node->cert_path = x_asprintf("%s/cert.pem", node->dir);
	node->key_path = x_asprintf("%s/key.pem", node->dir);
	node->ca_path = x_asprintf("%s/ca.pem", node->dir);
	node->admin_path = x_asprintf("%s/admin.sock", node->dir);
	certs_ca(&node->ca);
	certs_server(&node->ca, &node->server);
	assert_int_equal(pki_write(&node->server, node->cert_path, node->key_path, &e), 0);
	assert_int_equal(file_write(node->ca_path, buf_bytes(&node->ca.cert_pem), 0644, &e), 0);
	secrets_make((const uint8_t *)"0123456789abcde", &random_system, &node->secrets);
	node->config = (struct api_config){.backend = &node->backend,
		.secrets = &node->secrets,
		.pool_db = node->pool,
		.pool_ship = node->pool,
		.node_id = 1,
		.site = "ams",
		.url = "https://127.0.0.1:1",
		.cluster_id = "0123456789abcde",
		.lineage = "fedcba987654321",
		.listen_host = "127.0.0.1",
		.cert_path = node->cert_path,
		.key_path = node->key_path,
		.ca_path = node->ca_path,
		.admin_path = node->admin_path,
		.admin_group = (gid_t)-1,
		.backup_copies = 3,
		.login_rate = 10000};
}

void api_node_run(struct api_node *node)
{
	struct err e = {0};

	if (api_start(&node->config, &node->api, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

void api_node_start(struct api_node *node)
{
	api_node_prepare(node);
	api_node_run(node);
}

void api_node_stop(struct api_node *node)
{
	api_stop(node->api, 1000);
	pool_free(node->pool);
	fixture_machine_release(&node->machine);
	secrets_release(&node->secrets);
	pki_identity_release(&node->ca);
	pki_identity_release(&node->server);
	buf_release(&node->relayed);
	(void)pthread_mutex_destroy(&node->lock);
	free(node->cert_path);
	free(node->key_path);
	free(node->ca_path);
	free(node->admin_path);
	scratch_free(node->dir);
}

int api_node_setup(void **state)
{
	struct api_node *node = x_calloc(1, sizeof *node);

	api_node_start(node);
	*state = node;
	return 0;
}

int api_node_teardown(void **state)
{
	struct api_node *node = *state;

	api_node_stop(node);
	free(node);
	return 0;
}

void api_node_connect(struct api_node *node, const char *alpn, struct http_client *client)
{
	struct tls_ctx *ctx = certs_client_ctx(&node->ca, alpn);
	char address[32];
	struct err e = {0};

	memset(client, 0, sizeof *client);
	(void)snprintf(address, sizeof address, "127.0.0.1:%u", api_port(node->api));
	if (tls_client_connect(address, ctx, clock_monotonic_ms(&clock_system) + 60000,
		    &client->tls, &e) != 0) {
		fail_msg("%s", e.text);
	}
	tls_ctx_unref(ctx);
}

void api_node_admin(struct api_node *node, struct http_client *client)
{
	struct err e = {0};

	memset(client, 0, sizeof *client);
	if (tls_client_connect_unix(node->admin_path, &client->tls, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static void node_token(struct api_node *node, const char *name, char token[64])
{
	struct http_client admin;
	char body[128], key[96];
	struct answer answer;

	api_node_admin(node, &admin);
	(void)snprintf(body, sizeof body, "{\"name\":\"%s\"}", name);
	(void)snprintf(key, sizeof key, "Idempotency-Key: create-%s\r\n", name);
	answer = http_client_json(&admin, "POST", "/v1/sys/services", key, body);
	assert_int_equal(answer.status, 201);
	(void)snprintf(token, 64, "%s", answer_text(&answer, "token"));
	answer_release(&answer);
	http_client_release(&admin);
}

static void node_enrol(struct api_node *node, struct person *person, struct http_client *client)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, proof = BUF_INIT;
	struct answer answer;
	char token[64];

	node_token(node, person->name, token);
	person_prove(person, node->config.cluster_id, token, &proof);
	buf_printf(
		&body, "{\"token\":\"%s\",\"account\":\"%s\",\"identity\":\"", token, person->name);
	base64_append(&body, buf_bytes(&person->genesis));
	buf_printf(&body, "\",\"device\":\"");
	base64_append(&body, buf_bytes(&person->device_statement));
	buf_printf(&body, "\",\"proof\":\"");
	base64_append(&body, buf_bytes(&proof));
	buf_printf(&body, "\"}");
	/* The same again is answered as the first. */
	for (unsigned i = 0; i < 2; i++) {
		answer = http_client_json(client, "POST", "/v1/services/enrol", "", buf_str(&body));
		assert_int_equal(answer.status, 201);
		answer_release(&answer);
	}
}

void api_node_sign_in(struct api_node *node, struct person *person, struct http_client *client)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, signature = BUF_INIT;
	struct answer start, finish;
	uint8_t challenge[32];

	buf_printf(&body, "{\"user_id\":\"");
	hex_append(&body, bytes_of(person->user_id, 16));
	buf_printf(&body, "\",\"device_id\":\"");
	hex_append(&body, bytes_of(person->device_id, 16));
	buf_printf(&body, "\"}");
	start = http_client_json(client, "POST", "/v1/login/device/start", "", buf_str(&body));
	assert_int_equal(start.status, 200);
	assert_int_equal(base64_decode_exact(bytes_str(answer_text(&start, "challenge")), challenge,
				 sizeof challenge),
		0);
	person_login(person, node->config.cluster_id, challenge, &signature);
	buf_clear(&body);
	buf_printf(
		&body, "{\"handshake\":\"%s\",\"signature\":\"", answer_text(&start, "handshake"));
	base64_append(&body, buf_bytes(&signature));
	buf_printf(&body, "\"}");
	finish = http_client_json(client, "POST", "/v1/login/device/finish", "", buf_str(&body));
	assert_int_equal(finish.status, 200);
	(void)snprintf(client->token, sizeof client->token, "%s", answer_text(&finish, "token"));
	answer_release(&finish);
	/* A challenge is worth one answer. */
	finish = http_client_json(client, "POST", "/v1/login/device/finish", "", buf_str(&body));
	assert_int_equal(finish.status, 401);
	answer_release(&finish);
	answer_release(&start);
}

void api_node_join(struct api_node *node, struct person *person, struct http_client *client)
{
	node_enrol(node, person, client);
	api_node_sign_in(node, person, client);
}

void api_node_vault(struct api_node *node, struct person *person, struct http_client *client)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, head = BUF_INIT;
	struct answer answer;

	(void)node;
	person_first_head(person, &head);
	buf_printf(&body, "{\"create\":\"");
	base64_append(&body, buf_bytes(&person->create));
	buf_printf(&body, "\",\"head\":\"");
	base64_append(&body, buf_bytes(&head));
	buf_printf(&body, "\"}");
	answer = http_client_json(
		client, "POST", "/v1/vaults", "Idempotency-Key: v1\r\n", buf_str(&body));
	if (answer.status != 201) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	answer_release(&answer);
	person_committed(person, 0);
}
