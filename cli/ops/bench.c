/* kluisctl bench: what a running cluster does under load, measured as its users would feel it. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/client/session.h"
#include "cli/load/http_load.h"
#include "cli/load/load_report.h"
#include "cli/load/page_load.h"
#include "cli/ops/ops.h"
#include "cli/vault/app.h"

enum {
	BENCH_CLIENTS = 16,
	BENCH_SECONDS = 5,
	BENCH_SECONDS_MAX = 3600,
	BENCH_PAGES = 1024,
	BENCH_READ_PERCENT = 90,
	BENCH_WARM_REQUESTS = 512,
	BENCH_WARM_BYTES_MAX = 32 << 20,
	BENCH_SPARE_PUTS = 16,
	BENCH_SETTLE_MS = 20,
	BENCH_SETTLE_TRIES = 250,
	BENCH_ATTEMPT_MS_MAX = 60 * 1000,
};

struct bench {
	struct invocation *inv;
	struct profile *profile;
	struct client *client;
	/* Options. */
	const char *op;
	unsigned read_percent, clients, bucket;
	uint64_t requests, seconds, pages, attempt_ms; /* requests 0: by time. */
	enum page_consistency consistency;
	bool keep;
	/* Where the load goes. */
	char *addresses[LOAD_ENDPOINTS_MAX];
	size_t n_addresses;
	size_t answer_max;
	struct load *load;
	struct page_load *page_load;
	struct load_result warm, measured;
};

/* --- Options ---------------------------------------------------------------------------------- */

static int bench_op(struct bench *b)
{
	uint64_t reads;
	int rc = invocation_number(b->inv, "reads", BENCH_READ_PERCENT, 100, &reads);

	b->op = invocation_value(b->inv, "op");
	b->op = b->op == NULL ? "put" : b->op;
	if (rc != 0) {
		return rc;
	}
	if (strcmp(b->op, "put") == 0 || strcmp(b->op, "stage") == 0) {
		b->read_percent = 0;
	} else if (strcmp(b->op, "get") == 0) {
		b->read_percent = 100;
	} else if (strcmp(b->op, "mixed") == 0) {
		b->read_percent = (unsigned)reads;
	} else {
		return err_set(&b->inv->err, KLUIS_EINVAL,
			"--op: put, stage, get or mixed, not '%s'", b->op);
	}
	return 0;
}

static int bench_bucket(struct bench *b)
{
	const char *text = invocation_value(b->inv, "bucket");

	for (unsigned bucket = PAGE_BUCKET_MIN; bucket <= PAGE_BUCKET_MAX; bucket++) {
		_cleanup_(x_freep) char *name = x_asprintf("%uk", 1U << (bucket - 10));

		if (text == NULL || strcmp(text, name) == 0) {
			b->bucket = bucket;
			return 0;
		}
	}
	return err_set(&b->inv->err, KLUIS_EINVAL,
		"--bucket: 4k, 8k, 16k, 32k, 64k, 128k or 256k, not '%s'", text);
}

static int bench_consistency(struct bench *b)
{
	const char *text = invocation_value(b->inv, "consistency");

	if (text == NULL || strcmp(text, "linearizable") == 0) {
		b->consistency = PAGE_LINEARIZABLE;
	} else if (strcmp(text, "stale") == 0) {
		b->consistency = PAGE_STALE;
	} else {
		return err_set(&b->inv->err, KLUIS_EINVAL,
			"--consistency: linearizable or stale, not '%s'", text);
	}
	return 0;
}

static int bench_numbers(struct bench *b)
{
	struct invocation *inv = b->inv;
	uint64_t clients;
	int rc = invocation_number(inv, "clients", BENCH_CLIENTS, LOAD_CLIENTS_MAX, &clients);

	rc = rc != 0 ? rc
		     : invocation_number(
			       inv, "requests", 0, (uint64_t)PAGE_LOAD_PAGES_MAX, &b->requests);
	rc = rc != 0 ? rc
		     : invocation_number(
			       inv, "seconds", BENCH_SECONDS, BENCH_SECONDS_MAX, &b->seconds);
	rc = rc != 0 ? rc
		     : invocation_number(inv, "pages", BENCH_PAGES, PAGE_LOAD_PAGES_MAX, &b->pages);
	rc = rc != 0 ? rc
		     : invocation_number(inv, "attempt-ms", LOAD_REQUEST_MS, BENCH_ATTEMPT_MS_MAX,
			       &b->attempt_ms);
	if (rc != 0) {
		return rc;
	}
	b->clients = (unsigned)clients;
	if (b->clients == 0 || b->pages == 0 || b->attempt_ms == 0 ||
		(b->requests == 0 && b->seconds == 0)) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"--clients, --pages, --attempt-ms and the length of the run must be at "
			"least 1");
	}
	b->keep = invocation_value(inv, "keep") != NULL;
	return 0;
}

static int bench_options(struct bench *b)
{
	int rc = bench_op(b);

	rc = rc != 0 ? rc : bench_bucket(b);
	rc = rc != 0 ? rc : bench_consistency(b);
	return rc != 0 ? rc : bench_numbers(b);
}

/* --- Where ------------------------------------------------------------------------------------ */

static int bench_add(struct bench *b, const char *url)
{
	int rc;

	if (b->n_addresses == LOAD_ENDPOINTS_MAX) {
		return err_set(
			&b->inv->err, KLUIS_EINVAL, "at most %d end points", LOAD_ENDPOINTS_MAX);
	}
	rc = client_endpoint_address(url, &b->addresses[b->n_addresses], &b->inv->err);
	b->n_addresses += rc == 0;
	return rc;
}

/* Adds the first end point of each site that leads, or that does not. */
static int bench_add_role(struct bench *b, bool leader)
{
	_cleanup_(api_cluster_release) struct api_cluster cluster = {0};
	_cleanup_(json_dropp) json_t *ready = NULL;
	size_t before = b->n_addresses;
	const json_t *site;
	json_int_t lead;
	size_t i;
	int rc = api_json(b->client, "GET", "/readyz", NULL, 0, &ready, &b->inv->err);

	rc = rc != 0 ? rc : api_well_known(b->client, &cluster, &b->inv->err);
	if (rc != 0) {
		return rc;
	}
	lead = json_integer_value(json_object_get(ready, "leader"));
	json_array_foreach(cluster.sites, i, site)
	{
		bool leads = json_integer_value(json_object_get(site, "node")) == lead;
		const char *url =
			json_string_value(json_array_get(json_object_get(site, "endpoints"), 0));

		rc = leads == leader && url != NULL ? bench_add(b, url) : 0;
		if (rc != 0) {
			return rc;
		}
	}
	return b->n_addresses > before ? 0
				       : err_set(&b->inv->err, KLUIS_ENOTFOUND,
						 "no site publishes an end point of %s",
						 leader ? "the leader" : "a follower");
}

static int bench_endpoints(struct bench *b)
{
	const char *text;
	int rc = 0;

	for (size_t n = 0; rc == 0; n++) {
		text = invocation_value_at(b->inv, "endpoint", n);
		if (text == NULL) {
			break;
		}
		rc = strcmp(text, "leader") == 0      ? bench_add_role(b, true)
		     : strcmp(text, "followers") == 0 ? bench_add_role(b, false)
						      : bench_add(b, text);
	}
	for (size_t i = 0; rc == 0 && invocation_value(b->inv, "endpoint") == NULL &&
			   i < b->profile->n_endpoints;
		i++) {
		rc = bench_add(b, b->profile->endpoints[i]);
	}
	return rc;
}

/* --- Steps ------------------------------------------------------------------------------------ */

static int bench_open(struct bench *b)
{
	struct err *e = &b->inv->err;
	_cleanup_(x_freep) char *dir = app_profile_dir(b->inv);
	uint64_t timeout_s;
	int rc;

	if (dir == NULL) {
		return KLUIS_EINVAL;
	}
	rc = invocation_number(b->inv, "timeout", 0, BENCH_SECONDS_MAX, &timeout_s);
	rc = rc != 0 ? rc : profile_open(dir, &b->profile, e);
	if (rc == 0 && !b->profile->enrolled) {
		rc = err_set(e, KLUIS_EUNAUTHENTICATED,
			"the enrolment of '%s' was not finished: run 'kluis enrol' again",
			b->profile->account);
	}
	rc = rc != 0 ? rc : session_client(b->profile, NULL, timeout_s * 1000, &b->client, e);
	rc = rc != 0 ? rc : bench_endpoints(b);
	return rc != 0 || b->keep ? rc : page_load_remove(b->client, e);
}

/* Until this site knows the session, which another one may have begun an instant ago. */
static int bench_settle(struct bench *b, const char *address, const char *token)
{
	_cleanup_(x_freep) char *url = x_asprintf("https://%s", address);
	struct client_config config = {.endpoints = (const char *const *)&url,
		.n_endpoints = 1,
		.ca_pem = buf_bytes(&b->profile->ca_pem)};
	const struct timespec pause = {.tv_nsec = BENCH_SETTLE_MS * 1000000};
	struct client *client;
	int rc = client_new(&config, &client, &b->inv->err);

	if (rc != 0) {
		return rc;
	}
	client_set_token(client, token);
	for (unsigned i = 0; i < BENCH_SETTLE_TRIES; i++) {
		rc = api_json(client, "GET", "/v1/sessions", NULL, CLIENT_AUTH, NULL, &b->inv->err);
		if (rc != KLUIS_EUNAUTHENTICATED) {
			break;
		}
		(void)nanosleep(&pause, NULL); /* Cut short: only an earlier try. */
	}
	client_free(client);
	return rc;
}

/* A session that every site to be asked knows. */
static int bench_session(struct bench *b, char token[CLIENT_TOKEN_BYTES_MAX + 1])
{
	int rc = api_json(b->client, "GET", "/v1/sessions", NULL, CLIENT_AUTH, NULL, &b->inv->err);

	client_token(b->client, token);
	for (size_t i = 0; rc == 0 && i < b->n_addresses; i++) {
		rc = bench_settle(b, b->addresses[i], token);
	}
	return rc;
}

static int bench_make_load(struct bench *b)
{
	static const char *const alpn[] = {TLS_ALPN_HTTP1};
	struct load_config config = {.protocol = &http_load_protocol,
		.protocol_arg = &b->answer_max,
		.endpoints = (const char *const *)b->addresses,
		.n_endpoints = b->n_addresses,
		.clients = b->clients,
		.request_ms = b->attempt_ms};
	int rc = tls_ctx_new_client(
		buf_bytes(&b->profile->ca_pem), alpn, ARRAY_SIZE(alpn), &config.ctx, &b->inv->err);

	b->answer_max = PAGE_BYTES_MAX;
	if (rc != 0) {
		return rc;
	}
	rc = load_new(&config, &b->load, &b->inv->err);
	tls_ctx_unref(config.ctx);
	return rc != 0 ? rc : load_connect(b->load, &b->inv->err);
}

static int bench_make_pages(struct bench *b)
{
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	struct page_load_config config = {.profile = b->profile,
		.host = b->addresses[0],
		.token = token,
		.clients = b->clients,
		.bucket = b->bucket,
		.read_percent = b->read_percent,
		.staged = strcmp(b->op, "stage") == 0,
		.consistency = b->consistency,
		.seed = 1};
	int rc = bench_session(b, token);

	rc = rc != 0 ? rc : page_load_new(&config, &b->page_load, &b->inv->err);
	secret_clear(token, sizeof token);
	return rc != 0 ? rc
		       : load_run(b->load, &page_load_create, b->page_load, 0, &b->warm,
				 &b->inv->err);
}

/* What the gets will read. */
static int bench_fill(struct bench *b)
{
	unsigned each = (unsigned)((b->pages + b->clients - 1) / b->clients);
	int rc = page_load_prepare(b->page_load, each, &b->inv->err);

	return rc != 0 ? rc
		       : load_run(
				 b->load, &page_load_fill, b->page_load, 0, &b->warm, &b->inv->err);
}

/* Puts among n requests, with room for chance. */
static unsigned bench_puts(const struct bench *b, uint64_t n)
{
	uint64_t puts = n * (100 - b->read_percent) / 100;

	if (b->read_percent == 0) {
		return (unsigned)n;
	}
	return b->read_percent == 100 ? 0 : (unsigned)(puts + puts / 2 + BENCH_SPARE_PUTS);
}

/* Each client makes n requests. */
static int bench_run_requests(struct bench *b, uint64_t n, struct load_result *ret_result)
{
	int rc = page_load_prepare(b->page_load, bench_puts(b, n), &b->inv->err);

	page_load_set_budget(b->page_load, n);
	return rc != 0 ? rc
		       : load_run(b->load, &page_load_mix, b->page_load, 0, ret_result,
				 &b->inv->err);
}

/* Warms connections and caches up, and finds out how many requests the run can use. */
static int bench_warm_up(struct bench *b, uint64_t *ret_per_client)
{
	uint64_t each = BENCH_WARM_REQUESTS / b->clients;
	uint64_t fit = BENCH_WARM_BYTES_MAX / (page_load_page_bytes(b->page_load) * b->clients);
	double rate;
	int rc;

	each = each > fit ? fit : each;
	each = each < 1 ? 1 : each;
	rc = bench_run_requests(b, each, &b->warm);
	if (rc != 0) {
		return rc;
	}
	rate = (double)(b->warm.latency[LOAD_GET].n + b->warm.latency[LOAD_PUT].n) * 1e9 /
	       (double)b->warm.elapsed_ns;
	/* Twice that: the first requests are the slowest. */
	*ret_per_client = (uint64_t)(2 * rate * (double)b->seconds / b->clients) + BENCH_SPARE_PUTS;
	return 0;
}

static int bench_measure(struct bench *b)
{
	uint64_t each;
	int rc;

	if (b->requests > 0) {
		return bench_run_requests(
			b, (b->requests + b->clients - 1) / b->clients, &b->measured);
	}
	rc = bench_warm_up(b, &each);
	if (rc == 0) {
		unsigned puts = bench_puts(b, each), room = page_load_room(b->page_load);

		rc = page_load_prepare(b->page_load, puts > room ? room : puts, &b->inv->err);
	}
	page_load_set_budget(b->page_load, UINT64_MAX);
	return rc != 0 ? rc
		       : load_run(b->load, &page_load_mix, b->page_load, b->seconds * 1000,
				 &b->measured, &b->inv->err);
}

/* --- What came of it -------------------------------------------------------------------------- */

static json_t *bench_cost(const struct page_load_cost *cost)
{
	uint64_t n = cost->requests == 0 ? 1 : cost->requests;

	return json_pack("{s:I, s:f, s:f}", "puts", (json_int_t)cost->requests, "seal_us",
		(double)cost->seal_ns / 1e3 / (double)n, "sign_us",
		(double)cost->sign_ns / 1e3 / (double)n);
}

static json_t *bench_report(const struct bench *b)
{
	json_t *report = load_report(&b->measured, b->read_percent), *endpoints = json_array();

	for (size_t i = 0; i < b->n_addresses; i++) {
		(void)json_array_append_new(endpoints, json_string(b->addresses[i]));
	}
	(void)json_object_update_new(report,
		json_pack("{s:s, s:i, s:I, s:s, s:o, s:b, s:o}", "op", b->op, "clients",
			(int)b->clients, "page_bytes",
			(json_int_t)page_load_page_bytes(b->page_load), "consistency",
			b->consistency == PAGE_LINEARIZABLE ? "linearizable" : "stale", "endpoints",
			endpoints, "ran_dry", b->requests == 0 && b->measured.ran_dry, "prepare",
			bench_cost(page_load_cost(b->page_load))));
	return report;
}

static void bench_show(const struct bench *b)
{
	static const struct output_column columns[] = {{"op", "OP", OUTPUT_TEXT},
		{"requests", "REQUESTS", OUTPUT_TEXT},
		{"requests_per_second", "PER-SECOND", OUTPUT_TEXT},
		{"mb_per_second", "MB/S", OUTPUT_TEXT}, {"p50_us", "P50-US", OUTPUT_TEXT},
		{"p90_us", "P90-US", OUTPUT_TEXT}, {"p99_us", "P99-US", OUTPUT_TEXT},
		{"max_us", "MAX-US", OUTPUT_TEXT}};
	const struct load_result *m = &b->measured;
	const struct page_load_cost *cost = page_load_cost(b->page_load);
	const struct output *out = &b->inv->out;
	_cleanup_(json_dropp) json_t *report = bench_report(b);
	const char *key;
	json_t *n;

	assert(report != NULL);
	if (out->format == OUTPUT_JSON) {
		output_record(out, NULL, 0, report);
		return;
	}
	output_rows(out, columns, ARRAY_SIZE(columns), json_object_get(report, "items"));
	json_object_foreach(json_object_get(report, "errors"), key, n)
	{
		output_note(out,
			"%" JSON_INTEGER_FORMAT " attempts ended in %s and were made again",
			json_integer_value(n), key);
	}
	if (m->first_error.code != 0) {
		output_note(out, "the first error: %s", m->first_error.text);
	}
	if (b->requests == 0 && m->ran_dry) {
		output_note(out, "ended early: a client had sent all puts made for it");
	}
	output_note(out,
		"%.1f s; longest time without any answer %.0f ms; this program used %.0f %% of a "
		"core",
		(double)m->elapsed_ns / 1e9, (double)m->gap_ns / 1e6,
		m->elapsed_ns == 0 ? 0.0 : 100.0 * (double)m->cpu_ns / (double)m->elapsed_ns);
	if (cost->requests > 0) {
		output_note(out,
			"made before the clock ran: %" PRIu64
			" puts, each %.0f us to seal and %.0f us to sign its head",
			cost->requests, (double)cost->seal_ns / 1e3 / (double)cost->requests,
			(double)cost->sign_ns / 1e3 / (double)cost->requests);
	}
}

static int bench_run(struct bench *b)
{
	int rc = bench_options(b);

	rc = rc != 0 ? rc : bench_open(b);
	rc = rc != 0 ? rc : bench_make_load(b);
	rc = rc != 0 ? rc : bench_make_pages(b);
	if (rc == 0 && b->read_percent > 0) {
		rc = bench_fill(b);
	}
	return rc != 0 ? rc : bench_measure(b);
}

static void bench_free(struct bench *b)
{
	load_free(b->load);
	page_load_free(b->page_load);
	client_free(b->client);
	profile_close(b->profile);
	for (size_t i = 0; i < b->n_addresses; i++) {
		free(b->addresses[i]);
	}
	free(b);
}

int ops_bench(struct invocation *inv)
{
	struct bench *b = x_calloc(1, sizeof *b);
	struct err why = {0};
	int rc, removed = 0;

	b->inv = inv;
	rc = bench_run(b);
	if (rc == 0) {
		bench_show(b);
	}
	if (b->page_load != NULL && !b->keep) {
		removed = page_load_remove(b->client, &why);
	}
	if (rc == 0 && removed != 0) {
		inv->err = why;
		rc = removed;
	}
	bench_free(b);
	return rc;
}
