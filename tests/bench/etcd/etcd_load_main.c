/* kluisctl bench's twin for etcd: the same engine and the same figures over etcd's gRPC API with a
 * client certificate, so that tests/bench/run compares servers and not their load generators.
 *   etcd_load --ca F --cert F --key F --endpoint HOST:PORT [--endpoint ...] [--op put|get|mixed]
 *             [--clients N] [--value-bytes N] [--seconds N | --requests N] [--pages N] [--reads P]
 *             [--stale] [--attempt-ms N] [--prefix TEXT]
 * Prints one JSON object. Each client has a connection of its own and one call under way; puts are
 * of new keys; gets are of keys that this run put, and compare every byte. */
#include <getopt.h>
#include <inttypes.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "crypto/tls_ctx_ssl.h"
#include "tests/bench/etcd/etcd_rpc.h"
#include "tests/bench/etcd/etcd_wire.h"

enum {
	VALUE_BYTES_MAX = 1 << 20,
	PEM_BYTES_MAX = 1 << 16,
	COUNT_MAX = 1 << 20,
	SECONDS_MAX = 3600,
	ATTEMPT_MS_MAX = 60000,
	VALUE_STAMP_BYTES = 8, /* What makes one value differ from the next. */
	WARM_REQUESTS = 512,
	WARM_BYTES_MAX = 32 << 20,
};

struct etcd_client {
	uint64_t sent, done, get_key, budget;
	struct buf request;
};

struct etcd_load {
	/* Options. */
	const char *ca, *cert, *key, *op, *prefix;
	const char *endpoints[LOAD_ENDPOINTS_MAX];
	size_t n_endpoints;
	uint64_t clients, value_bytes, seconds, requests, pages, reads, attempt_ms;
	bool stale;
	uint64_t run; /* So that keys are of this run alone. */
	struct random_seeded random;
	uint8_t *value;
	struct etcd_client *of;
	struct load *load;
	struct load_result result;
};

static void die(int rc, const struct err *e)
{
	(void)fprintf(stderr, "etcd_load: %s\n", e->text);
	exit(err_exit_code(rc));
}

/* --- What is asked for ------------------------------------------------------------------------ */

static struct bytes load_key(const struct etcd_load *l, unsigned client, uint64_t n, char to[128])
{
	int len =
		snprintf(to, 128, "%.32s/%016" PRIx64 "/%u/%" PRIu64, l->prefix, l->run, client, n);

	return bytes_of(to, (size_t)len);
}

/* The value of a key: equal bytes but for a stamp, so that it can be made again and compared. */
static struct bytes load_value(struct etcd_load *l, unsigned client, uint64_t n)
{
	uint64_t stamp = (uint64_t)client << 40 | n;

	memcpy(l->value, &stamp, VALUE_STAMP_BYTES);
	return bytes_of(l->value, l->value_bytes);
}

static bool fill_next(void *arg, unsigned client, struct load_request *ret_request)
{
	struct etcd_load *l = arg;
	struct etcd_client *c = &l->of[client];
	char key[128];

	if (c->budget == 0) {
		return false;
	}
	c->budget -= c->budget == UINT64_MAX ? 0 : 1;
	buf_clear(&c->request);
	etcd_put(load_key(l, client, c->sent, key), load_value(l, client, c->sent), &c->request);
	c->sent++;
	*ret_request = (struct load_request){
		.kind = LOAD_PUT, .head = buf_bytes(&c->request), .payload_bytes = l->value_bytes};
	return true;
}

static bool mix_next(void *arg, unsigned client, struct load_request *ret_request)
{
	struct etcd_load *l = arg;
	struct etcd_client *c = &l->of[client];
	char key[128];

	if (random_below(&l->random.random, 100) >= l->reads || c->done == 0) {
		return fill_next(arg, client, ret_request);
	}
	if (c->budget == 0) {
		return false;
	}
	c->budget -= c->budget == UINT64_MAX ? 0 : 1;
	c->get_key = random_below(&l->random.random, c->done);
	buf_clear(&c->request);
	etcd_range(load_key(l, client, c->get_key, key), l->stale, &c->request);
	*ret_request = (struct load_request){
		.kind = LOAD_GET, .head = buf_bytes(&c->request), .payload_bytes = l->value_bytes};
	return true;
}

static int mix_answered(void *arg, unsigned client, const struct load_request *request,
	const struct load_answer *answer, struct err *e)
{
	struct etcd_load *l = arg;
	struct etcd_client *c = &l->of[client];
	struct bytes value;
	int rc;

	if (request->kind == LOAD_PUT) {
		c->done++;
		return 0;
	}
	rc = etcd_range_value(answer->body, &value, e);
	if (rc == 0 && !bytes_equal(value, load_value(l, client, c->get_key))) {
		rc = err_set(e, KLUIS_EVERIFY, "a value came with other bytes than were put");
	}
	return rc;
}

static const struct load_workload fill = {fill_next, mix_answered};
static const struct load_workload mix = {mix_next, mix_answered};

/* --- Set-up ----------------------------------------------------------------------------------- */

static int load_make(struct etcd_load *l, struct err *e)
{
	static const char *const alpn[] = {TLS_ALPN_H2};
	_cleanup_(buf_release) struct buf ca = BUF_INIT;
	struct load_config config = {.protocol = &etcd_wire_protocol,
		.protocol_arg = (void *)l->endpoints[0],
		.endpoints = l->endpoints,
		.n_endpoints = l->n_endpoints,
		.clients = (unsigned)l->clients,
		.request_ms = l->attempt_ms};
	SSL_CTX *ssl;
	int rc = file_read(l->ca, PEM_BYTES_MAX, &ca, e);

	rc = rc != 0 ? rc : tls_ctx_new_client(buf_bytes(&ca), alpn, 1, &config.ctx, e);
	if (rc != 0) {
		return rc;
	}
	ssl = tls_ctx_ssl(config.ctx);
	if (SSL_CTX_use_certificate_chain_file(ssl, l->cert) != 1 ||
		SSL_CTX_use_PrivateKey_file(ssl, l->key, SSL_FILETYPE_PEM) != 1) {
		tls_ctx_unref(config.ctx);
		return err_set(e, KLUIS_EINVAL, "'%s' and '%s' are no certificate and its key",
			l->cert, l->key);
	}
	rc = load_new(&config, &l->load, e);
	tls_ctx_unref(config.ctx);
	return rc != 0 ? rc : load_connect(l->load, e);
}

static void load_budget(struct etcd_load *l, uint64_t each)
{
	for (uint64_t i = 0; i < l->clients; i++) {
		l->of[i].budget = each;
	}
}

/* As kluisctl bench: a fill for the gets, a warm-up, then the measured run. */
static int load_measure(struct etcd_load *l, struct err *e)
{
	uint64_t warm = WARM_REQUESTS / l->clients;
	uint64_t fit = WARM_BYTES_MAX / (l->value_bytes * l->clients);
	int rc = 0;

	if (l->reads > 0) {
		load_budget(l, (l->pages + l->clients - 1) / l->clients);
		rc = load_run(l->load, &fill, l, 0, &l->result, e);
	}
	if (rc == 0 && l->requests == 0) {
		warm = warm > fit ? fit : warm;
		load_budget(l, warm < 1 ? 1 : warm);
		rc = load_run(l->load, &mix, l, 0, &l->result, e);
	}
	if (rc != 0) {
		return rc;
	}
	load_budget(l, l->requests == 0 ? UINT64_MAX : (l->requests + l->clients - 1) / l->clients);
	return load_run(l->load, &mix, l, l->requests == 0 ? l->seconds * 1000 : 0, &l->result, e);
}

static void load_show(const struct etcd_load *l)
{
	json_t *report = load_report(&l->result, (unsigned)l->reads);

	(void)json_object_update_new(
		report, json_pack("{s:s, s:I, s:I, s:s}", "op", l->op, "clients",
				(json_int_t)l->clients, "page_bytes", (json_int_t)l->value_bytes,
				"consistency", l->stale ? "stale" : "linearizable"));
	(void)json_dumpf(report, stdout, JSON_INDENT(2));
	(void)printf("\n");
	json_decref(report);
}

/* --- Options ---------------------------------------------------------------------------------- */

static void usage(void)
{
	(void)fprintf(stderr, "usage: see the head of tests/bench/etcd/etcd_load_main.c\n");
	exit(2);
}

static uint64_t number(const char *text, uint64_t max)
{
	uint64_t value;

	if (u64_parse(bytes_str(text), max, &value) != 0) {
		usage();
	}
	return value;
}

static void load_option(struct etcd_load *l, int option, const char *value)
{
	switch (option) {
	case 'a':
		l->ca = value;
		break;
	case 'c':
		l->cert = value;
		break;
	case 'k':
		l->key = value;
		break;
	case 'e':
		if (l->n_endpoints == LOAD_ENDPOINTS_MAX) {
			usage();
		}
		l->endpoints[l->n_endpoints++] = value;
		break;
	case 'o':
		l->op = value;
		break;
	case 'C':
		l->clients = number(value, LOAD_CLIENTS_MAX);
		break;
	case 'v':
		l->value_bytes = number(value, VALUE_BYTES_MAX);
		break;
	case 's':
		l->seconds = number(value, SECONDS_MAX);
		break;
	case 'n':
		l->requests = number(value, COUNT_MAX);
		break;
	case 'P':
		l->pages = number(value, COUNT_MAX);
		break;
	case 'r':
		l->reads = number(value, 100);
		break;
	case 'S':
		l->stale = true;
		break;
	case 't':
		l->attempt_ms = number(value, ATTEMPT_MS_MAX);
		break;
	case 'x':
		l->prefix = value;
		break;
	default:
		usage();
	}
}

static void load_options(struct etcd_load *l, int argc, char **argv)
{
	static const struct option options[] = {{"ca", 1, NULL, 'a'}, {"cert", 1, NULL, 'c'},
		{"key", 1, NULL, 'k'}, {"endpoint", 1, NULL, 'e'}, {"op", 1, NULL, 'o'},
		{"clients", 1, NULL, 'C'}, {"value-bytes", 1, NULL, 'v'}, {"seconds", 1, NULL, 's'},
		{"requests", 1, NULL, 'n'}, {"pages", 1, NULL, 'P'}, {"reads", 1, NULL, 'r'},
		{"stale", 0, NULL, 'S'}, {"attempt-ms", 1, NULL, 't'}, {"prefix", 1, NULL, 'x'},
		{NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		load_option(l, option, optarg);
	}
	if (strcmp(l->op, "mixed") != 0) {
		l->reads = strcmp(l->op, "get") == 0 ? 100 : 0;
	}
	if (optind != argc || l->ca == NULL || l->cert == NULL || l->key == NULL ||
		l->n_endpoints == 0 || l->clients == 0 || l->pages == 0 ||
		l->value_bytes < VALUE_STAMP_BYTES || (l->seconds == 0 && l->requests == 0)) {
		usage();
	}
}

int main(int argc, char **argv)
{
	struct etcd_load *l = x_calloc(1, sizeof *l);
	struct err e = {0};
	int rc;

	l->op = "put";
	l->prefix = "bench";
	l->clients = 16;
	l->value_bytes = 4240;
	l->seconds = 5;
	l->pages = 1024;
	l->reads = 90;
	load_options(l, argc, argv);
	(void)signal(SIGPIPE, SIG_IGN);
	random_fill(&random_system, &l->run, sizeof l->run);
	random_seeded_init(&l->random, 1);
	l->value = x_malloc(l->value_bytes);
	random_fill(&random_system, l->value, l->value_bytes);
	l->of = x_calloc(l->clients, sizeof *l->of);
	rc = load_make(l, &e);
	rc = rc != 0 ? rc : load_measure(l, &e);
	if (rc != 0) {
		die(rc, &e);
	}
	load_show(l);
	load_free(l->load);
	for (uint64_t i = 0; i < l->clients; i++) {
		buf_release(&l->of[i].request);
	}
	free(l->of);
	free(l->value);
	free(l);
	return 0;
}
