/* Logins by password, as many as a cluster takes: tests/bench/login runs it.
 *   login_load CA-FILE DIR INVITATION-FILE USERS THREADS ENDPOINT...
 * Registers USERS persons in DIR with one invitation and says "ready". Then for each line
 * "LOGINS FIRST COUNT" on stdin it signs in LOGINS times in all, in turn as each of them, at COUNT
 * end points from the FIRST (0) on, by THREADS threads with a kept-alive connection each, and
 * answers with a line of JSON. PBKDF2 was done before: SRP, the session and the checks of the
 * answer are what is left. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "cli/client/account.h"
#include "cli/client/api_account.h"
#include "cli/client/person.h"

enum { LOAD_USERS_MAX = 64, LOAD_THREADS_MAX = 64, LOAD_PASSWORD_ROUNDS = 600000 };

struct load_user {
	char name[32];
	struct password_keys keys;
};

struct load_thread {
	pthread_t thread;
	struct load *load;
	struct client *client;
	uint64_t done, failed, ms_max, ms_sum;
	struct err err; /* Of the last failure. */
};

struct load {
	const char *const *endpoints;
	size_t n_endpoints, n_users, n_threads;
	struct buf ca;
	uint8_t cluster_id[ID_BYTES];
	struct load_user user[LOAD_USERS_MAX];
	struct load_thread thread[LOAD_THREADS_MAX];
	uint64_t next, logins; /* next: atomic. */
};

static void must(int rc, const struct err *e, const char *what)
{
	if (rc != 0) {
		(void)fprintf(stderr, "login_load: %s: %s: %s\n", what, err_name(rc), e->text);
		exit(1);
	}
}

/* Of one end point alone: none may take over what another was to do. */
static struct client *load_client(const struct load *load, size_t endpoint)
{
	struct client_config config = {.endpoints = load->endpoints + endpoint,
		.n_endpoints = 1,
		.ca_pem = buf_bytes(&load->ca)};
	struct client *client;
	struct err e = {0};

	must(client_new(&config, &client, &e), &e, "client");
	return client;
}

static void load_register(struct load *load, struct load_user *user, const char *dir,
	const char *invitation, size_t i)
{
	static const char password[] = "seven lathes behind the harbour";
	struct account_registration registration = {.password = bytes_str(password),
		.device_name = "bench",
		.invite = invitation,
		.terms = {.login_count = LOAD_PASSWORD_ROUNDS,
			.no_account_key = true,
			.suites = {.rsa_bits = 2048}}};
	_cleanup_(secret_release) struct secret code = SECRET_INIT, prepared = SECRET_INIT;
	struct client *client = load_client(load, i % load->n_endpoints);
	struct api_cluster cluster = {.n_records = 0};
	struct profile *profile;
	char path[512];
	struct kdf kdf;
	struct err e = {0};

	(void)snprintf(user->name, sizeof user->name, "bench-%zu", i);
	(void)snprintf(path, sizeof path, "%s/%s", dir, user->name);
	must(api_well_known(client, &cluster, &e), &e, "well-known");
	memcpy(load->cluster_id, cluster.cluster_id, ID_BYTES);
	must(person_make(
		     path, &cluster, user->name, load->endpoints, load->n_endpoints, &profile, &e),
		&e, "profile");
	must(account_register(profile, client, &registration, &code, &e), &e, "register");
	must(kdf_decode(bytes_of(profile->person->kdf, KDF_BYTES), &kdf, &e), &e, "kdf");
	must(password_prepare(registration.password, &prepared, &e), &e, "password");
	must(password_derive(secret_bytes(&prepared), bytes_str(user->name), &kdf,
		     bytes_of(NULL, 0), &user->keys, &e),
		&e, "derive");
	api_cluster_release(&cluster);
	profile_close(profile);
	client_free(client);
}

/* One login, checked to the end. */
static int load_login(
	struct load *load, const struct load_user *user, struct client *client, struct err *e)
{
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	struct srp_terms terms = {.user = bytes_str(user->name)};
	uint8_t m1[SRP_PROOF_BYTES];
	struct api_srp answer;
	struct api_grant grant;
	int rc = srp_client_new(SRP_GROUP_DEFAULT, &random_system, &srp, e);

	rc = rc != 0 ? rc
		     : api_srp_start(client, user->name, SRP_GROUP_DEFAULT, srp_client_public(srp),
			       &answer, e);
	if (rc != 0 || !answer.begun) {
		return rc != 0 ? rc : err_set(e, KLUIS_EPROTO, "another group");
	}
	terms.group = answer.group;
	memcpy(terms.salt, answer.salt, sizeof terms.salt);
	memcpy(terms.kdf, answer.kdf, sizeof terms.kdf);
	memcpy(terms.cluster_id, load->cluster_id, ID_BYTES);
	rc = srp_client_answer(srp, &terms, secret_bytes(&user->keys.srp),
		bytes_of(answer.b_public, answer.b_len), m1, e);
	rc = rc != 0 ? rc : api_srp_finish(client, &answer, m1, NULL, bytes_of(NULL, 0), &grant, e);
	rc = rc != 0 ? rc
		     : srp_client_finish(srp, bytes_of(grant.m2, sizeof grant.m2), &session, e);
	return rc != 0 ? rc
		       : srp_token_check(secret_bytes(&session), bytes_str(grant.token),
				 bytes_of(grant.token_mac, sizeof grant.token_mac), e);
}

static void *load_run(void *arg)
{
	struct load_thread *t = arg;
	struct load *load = t->load;
	uint64_t i;

	while ((i = __atomic_fetch_add(&load->next, 1, __ATOMIC_RELAXED)) < load->logins) {
		uint64_t began = clock_monotonic_ms(&clock_system), ms;
		struct err e = {0};

		if (load_login(load, &load->user[i % load->n_users], t->client, &e) != 0) {
			t->failed++;
			t->err = e;
			continue;
		}
		ms = clock_monotonic_ms(&clock_system) - began;
		t->done++;
		t->ms_sum += ms;
		t->ms_max = ms > t->ms_max ? ms : t->ms_max;
	}
	return NULL;
}

static void load_start(struct load *load, size_t first, size_t count)
{
	load->next = 0;
	for (size_t i = 0; i < load->n_threads; i++) {
		struct load_thread *t = &load->thread[i];

		*t = (struct load_thread){.load = load};
		t->client = load_client(load, first + i % count);
	}
	for (size_t i = 0; i < load->n_threads; i++) {
		if (pthread_create(&load->thread[i].thread, NULL, load_run, &load->thread[i]) !=
			0) {
			abort();
		}
	}
}

static void load_measure(struct load *load, size_t first, size_t count)
{
	uint64_t done = 0, failed = 0, sum = 0, most = 0, ms;
	uint64_t began = clock_monotonic_ms(&clock_system);

	load_start(load, first, count);
	for (size_t i = 0; i < load->n_threads; i++) {
		struct load_thread *t = &load->thread[i];

		(void)pthread_join(t->thread, NULL); /* Nothing to be done about it. */
		client_free(t->client);
		done += t->done;
		failed += t->failed;
		sum += t->ms_sum;
		most = t->ms_max > most ? t->ms_max : most;
		if (t->failed > 0) {
			(void)fprintf(stderr, "login_load: %llu failed, the last: %s\n",
				(unsigned long long)t->failed, t->err.text);
		}
	}
	ms = clock_monotonic_ms(&clock_system) - began;
	(void)printf("{\"logins\":%llu,\"failed\":%llu,\"ms\":%llu,\"mean_ms\":%.1f,"
		     "\"max_ms\":%llu}\n",
		(unsigned long long)done, (unsigned long long)failed, (unsigned long long)ms,
		done == 0 ? 0.0 : (double)sum / (double)done, (unsigned long long)most);
	(void)fflush(stdout);
}

static void load_serve(struct load *load)
{
	char line[64];

	(void)printf("ready\n");
	(void)fflush(stdout);
	while (fgets(line, sizeof line, stdin) != NULL) {
		unsigned long logins, first, count;

		if (sscanf(line, "%lu %lu %lu", &logins, &first, &count) != 3 || count == 0 ||
			first >= load->n_endpoints || count > load->n_endpoints - first) {
			(void)fprintf(stderr, "login_load: '%s' is no order\n", line);
			exit(2);
		}
		load->logins = logins;
		load_measure(load, first, count);
	}
}

static size_t number(const char *text, size_t max)
{
	unsigned long value = strtoul(text, NULL, 10);

	if (value < 1 || value > max) {
		(void)fprintf(stderr, "login_load: '%s' is not 1 to %zu\n", text, max);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static struct load load;
	_cleanup_(buf_release) struct buf invitation = BUF_INIT;
	struct err e = {0};
	char *token;

	if (argc < 7 || argc - 6 > CLIENT_ENDPOINTS_MAX) {
		(void)fprintf(stderr, "usage: login_load CA-FILE DIR INVITATION-FILE USERS THREADS "
				      "ENDPOINT...\n");
		return 2;
	}
	must(file_read(argv[1], 1 << 20, &load.ca, &e), &e, "CA");
	must(file_read(argv[3], 1024, &invitation, &e), &e, "invitation");
	(void)buf_str(&invitation);
	token = (char *)invitation.data;
	token[strcspn(token, "\r\n")] = '\0';
	load.n_users = number(argv[4], LOAD_USERS_MAX);
	load.n_threads = number(argv[5], LOAD_THREADS_MAX);
	load.endpoints = (const char *const *)argv + 6;
	load.n_endpoints = (size_t)argc - 6;
	for (size_t i = 0; i < load.n_users; i++) {
		password_keys_init(&load.user[i].keys);
		load_register(&load, &load.user[i], argv[2], token, i);
	}
	load_serve(&load);
	for (size_t i = 0; i < load.n_users; i++) {
		password_keys_release(&load.user[i].keys);
	}
	buf_release(&load.ca);
	return 0;
}
