/* The clients of a chaos run (docs/reliability.md).
 *
 *   chaos_clients PROFILE HISTORY CLIENTS VAULTS PAGES RATE ATTEMPT_MS SEED
 *
 * Makes VAULTS vaults, says `ready`, and goes on with CLIENTS clients that make RATE operations a
 * second together until `stop` comes on standard input or that ends. `rate N` changes the rate.
 * After `stop`: `final` reads everything once more at every end point, which all have to answer.
 * Each command is answered with `ok` or `no: REASON`. */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/client/session.h"
#include "cli/client/vault.h"
#include "crypto/member.h"
#include "crypto/page.h"
#include "tests/chaos/chaos_client.h"

enum { SESSION_GIVE_UP_MS = 4000, FINAL_GIVE_UP_MS = 20000, STEP_SLEEP_MS = 10 };

struct worker {
	struct chaos_client client;
	pthread_t thread;
};

static struct chaos_world world;
static struct worker workers[CHAOS_CLIENTS_MAX];
static unsigned n_workers;
static atomic_uint rate;
static atomic_bool stopping;

static void must(int rc, const struct err *e)
{
	if (rc != 0) {
		(void)fprintf(stderr, "chaos_clients: %s: %s\n", err_name(rc), e->text);
		exit(1);
	}
}

/* --- Setting up ------------------------------------------------------------------------------- */

static void world_open(const char *profile_dir, const char *history)
{
	static const char *const alpn[] = {TLS_ALPN_HTTP1};
	struct err e = {0};

	must(history_open(history, &world.history, &e), &e);
	must(profile_open(profile_dir, &world.profile, &e), &e);
	must(session_client(world.profile, NULL, SESSION_GIVE_UP_MS, &world.session, &e), &e);
	must(tls_ctx_new_client(
		     buf_bytes(&world.profile->ca_pem), alpn, ARRAY_SIZE(alpn), &world.tls, &e),
		&e);
	for (size_t i = 0; i < world.profile->n_endpoints; i++) {
		must(client_endpoint_address(world.profile->endpoints[i], &world.addresses[i], &e),
			&e);
	}
	world.n_addresses = world.profile->n_endpoints;
}

static void vault_make(unsigned number)
{
	struct chaos_vault *vault = &world.vaults[number];
	_cleanup_(buf_release) struct buf create = BUF_INIT;
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	_cleanup_(buf_release) struct buf line = BUF_INIT;
	char key[HEX_LEN(ID_BYTES) + 1];
	struct head head;
	struct err e = {0};

	random_fill(&random_system, vault->id, ID_BYTES);
	secret_random(&vault->key, PAGE_KEY_BYTES, &random_system);
	hex_encode(bytes_of(vault->id, ID_BYTES), key);
	must(members_create(vault->id, MEMBER_OBJECT_VAULT, world.profile->user_id, NULL,
		     world.profile->device, clock_wall_ms(&clock_system), &create, &e),
		&e);
	must(vault_first_head(world.profile, vault->id, buf_bytes(&create), &encoded, &e), &e);
	must(head_parse(buf_bytes(&encoded), &head, &e), &e);
	must(api_vault_create(world.session, buf_bytes(&create), buf_bytes(&encoded),
		     bytes_str("chaos"), key, &e),
		&e);
	buf_printf(&line, "{\"o\":\"vault\",\"v\":%u,\"h\":", number);
	history_hash(&line, head.hash);
	buf_printf(&line, "}");
	history_append(world.history, &line);
}

/* --- Running ---------------------------------------------------------------------------------- */

/* How long a worker waits between two steps: evenly up to twice the mean, of which luck is a part
 * in a thousand. */
static uint64_t worker_pause_ms(uint64_t luck)
{
	return 2 * luck * n_workers / rate;
}

static void *worker_run(void *arg)
{
	struct worker *worker = arg;
	struct random *random = &worker->client.random.random;
	uint64_t last_ms = clock_monotonic_ms(&clock_system), luck = random_below(random, 1001);

	while (!stopping) {
		uint64_t now_ms = clock_monotonic_ms(&clock_system);

		if (now_ms < last_ms + worker_pause_ms(luck)) {
			(void)usleep(STEP_SLEEP_MS * 1000); /* The rate may change meanwhile. */
			continue;
		}
		last_ms = now_ms;
		luck = random_below(random, 1001);
		chaos_client_step(&worker->client);
	}
	return NULL;
}

static void workers_start(unsigned n, uint64_t seed)
{
	n_workers = n;
	for (unsigned i = 0; i < n; i++) {
		int rc;

		chaos_client_init(&workers[i].client, &world, i, seed);
		rc = pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]);
		assert(rc == 0);
	}
}

static void workers_stop(void)
{
	bool before = atomic_exchange(&stopping, true);

	for (unsigned i = 0; i < n_workers && !before; i++) {
		(void)pthread_join(workers[i].thread, NULL);
		chaos_client_release(&workers[i].client);
	}
}

/* --- The last look ---------------------------------------------------------------------------- */

static int final_heads(struct client *client, unsigned vault, struct buf *line, struct err *e)
{
	_cleanup_(buf_release) struct buf heads = BUF_INIT;
	uint64_t since = 0;
	bool done = false;
	int rc = 0;

	while (!done && rc == 0) {
		rc = api_heads(client, world.vaults[vault].id, since, &heads, &done, e);
		since = heads.len / HEAD_BYTES;
	}
	buf_printf(line, ",\"heads\":[");
	for (size_t at = 0; at < heads.len && rc == 0; at += HEAD_BYTES) {
		struct head head;

		rc = head_parse(bytes_of(heads.data + at, HEAD_BYTES), &head, e);
		if (rc == 0 && head.seq != at / HEAD_BYTES + 1) {
			rc = err_set(e, KLUIS_EPROTO, "head %" PRIu64 " stands at place %zu",
				head.seq, at / HEAD_BYTES + 1);
		}
		buf_printf(line, at == 0 ? "" : ",");
		history_hash(line, head.hash);
	}
	buf_printf(line, "]");
	return rc;
}

static int final_pages(struct client *client, unsigned vault, struct buf *line, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	uint64_t numbers[CHAOS_PAGES_MAX];
	struct bytes pages[CHAOS_PAGES_MAX];
	int rc;

	for (unsigned i = 0; i < world.n_pages; i++) {
		numbers[i] = i;
	}
	rc = api_pages(client, world.vaults[vault].id, numbers, world.n_pages, &body, pages, e);
	buf_printf(line, ",\"ps\":[");
	for (unsigned i = 0; i < world.n_pages && rc == 0; i++) {
		struct page_header header = {0};
		uint8_t hash[HASH_BYTES] = {0};

		if (pages[i].len > 0) {
			rc = page_parse(pages[i], &header, e);
			hash_sha256(pages[i], hash);
		}
		buf_printf(line, "%s[%u,%" PRIu64 ",", i == 0 ? "" : ",", i, header.place.revision);
		history_hash(line, hash);
		buf_printf(line, "]");
	}
	buf_printf(line, "]");
	return rc;
}

static int final_at(size_t endpoint, struct err *e)
{
	struct client_config config = {
		.endpoints = (const char *const *)&world.profile->endpoints[endpoint],
		.n_endpoints = 1,
		.ca_pem = buf_bytes(&world.profile->ca_pem),
		.give_up_ms = FINAL_GIVE_UP_MS};
	_cleanup_(buf_release) struct buf line = BUF_INIT;
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	struct client *client;
	int rc = client_new(&config, &client, e);

	if (rc != 0) {
		return rc;
	}
	client_token(world.session, token);
	client_set_token(client, token);
	secret_clear(token, sizeof token);
	for (unsigned i = 0; i < world.n_vaults && rc == 0; i++) {
		buf_printf(&line, "{\"o\":\"final\",\"v\":%u,\"e\":%zu", i, endpoint + 1);
		rc = final_heads(client, i, &line, e);
		rc = rc != 0 ? rc : final_pages(client, i, &line, e);
		if (rc == 0) {
			buf_printf(&line, "}");
			history_append(world.history, &line);
		}
	}
	client_free(client);
	return rc == 0 ? 0 : err_wrap(e, rc, "end point %zu", endpoint + 1);
}

static int final_look(struct err *e)
{
	/* Signs in again if the session has ended meanwhile. */
	int rc = api_json(world.session, "GET", "/v1/sessions", NULL, CLIENT_AUTH, NULL, e);

	if (rc == 0 && !stopping) {
		rc = err_set(e, KLUIS_EINVAL, "not before 'stop'");
	}
	for (size_t i = 0; i < world.n_addresses && rc == 0; i++) {
		rc = final_at(i, e);
	}
	return rc;
}

/* --- Commands --------------------------------------------------------------------------------- */

static int command_run(char *line, struct err *e)
{
	uint64_t value;

	line[strcspn(line, "\n")] = 0;
	if (strcmp(line, "stop") == 0) {
		workers_stop();
		return 0;
	}
	if (strcmp(line, "final") == 0) {
		return final_look(e);
	}
	if (strncmp(line, "rate ", 5) == 0 && u64_parse(bytes_str(line + 5), 100000, &value) == 0 &&
		value > 0) {
		rate = (unsigned)value;
		return 0;
	}
	return err_set(e, KLUIS_EINVAL, "'%s' is no command", line);
}

static void commands_run(void)
{
	char line[64];

	while (fgets(line, sizeof line, stdin) != NULL) {
		struct err e = {0};
		int rc = command_run(line, &e);

		(void)printf(rc == 0 ? "ok\n" : "no: %s\n", e.text);
		(void)fflush(stdout);
	}
}

static uint64_t argument(const char *text, uint64_t low, uint64_t high)
{
	uint64_t value;

	if (u64_parse(bytes_str(text), high, &value) != 0 || value < low) {
		(void)fprintf(stderr, "chaos_clients: '%s' is not %" PRIu64 "..%" PRIu64 "\n", text,
			low, high);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	unsigned clients;

	if (argc != 9) {
		(void)fprintf(stderr, "usage: chaos_clients PROFILE HISTORY CLIENTS VAULTS PAGES "
				      "RATE ATTEMPT_MS SEED\n");
		return 2;
	}
	clients = (unsigned)argument(argv[3], 1, CHAOS_CLIENTS_MAX);
	world.n_vaults = (unsigned)argument(argv[4], 1, CHAOS_VAULTS_MAX);
	world.n_pages = (unsigned)argument(argv[5], 1, CHAOS_PAGES_MAX);
	rate = (unsigned)argument(argv[6], 1, 100000);
	world.attempt_ms = argument(argv[7], 1, 60000);
	world_open(argv[1], argv[2]);
	for (unsigned i = 0; i < world.n_vaults; i++) {
		vault_make(i);
	}
	(void)printf("ready\n");
	(void)fflush(stdout);
	workers_start(clients, argument(argv[8], 0, UINT64_MAX / CHAOS_CLIENTS_MAX - 1));
	commands_run();
	workers_stop();
	history_close(world.history);
	client_free(world.session);
	tls_ctx_unref(world.tls);
	profile_close(world.profile);
	return 0;
}
