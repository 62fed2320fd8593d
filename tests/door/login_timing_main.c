/* Whether a stranger can tell by the clock who has an account: login/start and login/finish with a
 * wrong password, for users that exist and users that do not, in random order over the real API in
 * one process. Welch's t of the two samples has to stay below 4.5, as it is and without its slowest
 * tenth (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?"). Argument: tries of each
 * kind (2000). */
#include "tests/lib/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "tests/lib/api/account_client.h"

enum { USERS = 2, TRIES_MAX = 100000, STEP_MS = 16 * 60 * 1000 };
static const double t_max = 4.5;

struct samples {
	double *start_us[2], *finish_us[2]; /* Of unknown users, of known ones. */
	size_t n;
};

static double now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct moments {
	double n, mean, variance;
};

static struct moments moments_below(const double *values, size_t n, double limit)
{
	struct moments m = {0};
	double squares = 0;

	for (size_t i = 0; i < n; i++) { /* Welford's method. */
		if (values[i] <= limit) {
			double delta = values[i] - m.mean;

			m.n += 1;
			m.mean += delta / m.n;
			squares += delta * (values[i] - m.mean);
		}
	}
	m.variance = squares / (m.n - 1);
	return m;
}

/* Of what is not above the given part of both together. */
static double welch(double *const values[2], size_t n, double part)
{
	double *all = x_calloc(2 * n, sizeof *all), limit, t;
	struct moments a, b;

	memcpy(all, values[0], n * sizeof *all);
	memcpy(all + n, values[1], n * sizeof *all);
	qsort(all, 2 * n, sizeof *all, order);
	limit = all[(size_t)(part * (double)(2 * n - 1))];
	free(all);
	a = moments_below(values[0], n, limit);
	b = moments_below(values[1], n, limit);
	t = (b.mean - a.mean) / sqrt(a.variance / a.n + b.variance / b.n);
	(void)printf("  %3.0f %%: unknown %.1f us, known %.1f us, t = %.2f\n", part * 100, a.mean,
		b.mean, t);
	return fabs(t);
}

/* Guards let go after a quarter of an hour of the cluster's time; a command moves it. */
static void let_time_pass(struct api_node *node)
{
	(void)pthread_mutex_lock(&node->lock);
	node->machine.now_ms += STEP_MS;
	(void)pthread_mutex_unlock(&node->lock);
}

static void one_try(struct api_node *node, struct http_client *http, const char *name,
	const char *a_public, double *ret_start_us, double *ret_finish_us)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct answer start, finish;
	char m1[BASE64_LEN(SRP_PROOF_BYTES) + 1] = "";
	double began;

	buf_printf(&body, "{\"user\":\"%s\",\"group\":3,\"A\":\"%s\"}", name, a_public);
	began = now_us();
	start = http_client_json(http, "POST", "/v1/login/start", "", buf_str(&body));
	*ret_start_us = now_us() - began;
	assert_int_equal(start.status, 200);
	buf_clear(&body);
	memset(m1, 'A', sizeof m1 - 1);
	buf_printf(&body, "{\"handshake\":\"%s\",\"M1\":\"%s\"}", answer_text(&start, "handshake"),
		m1);
	let_time_pass(node);
	began = now_us();
	finish = http_client_json(http, "POST", "/v1/login/finish", "", buf_str(&body));
	*ret_finish_us = now_us() - began;
	if (finish.status != 401) {
		fail_msg("%d %s", finish.status, buf_str(&finish.body));
	}
	answer_release(&finish);
	answer_release(&start);
}

/* Names alternate, so that no guard holds when one comes again. */
static void measure(struct api_node *node, struct http_client *http, const char *a_public,
	struct samples *samples)
{
	static const char *const names[2][USERS] = {{"bob-0", "bob-1"}, {"ann-0", "ann-1"}};
	struct random_seeded seeded;

	random_seeded_init(&seeded, 1);
	for (size_t i = 0; i < samples->n; i++) {
		unsigned first = (unsigned)random_below(&seeded.random, 2);

		for (unsigned k = 0; k < 2; k++) {
			unsigned known = k == 0 ? first : 1 - first;

			one_try(node, http, names[known][i % USERS], a_public,
				&samples->start_us[known][i], &samples->finish_us[known][i]);
		}
	}
}

static void run(size_t n, struct samples *samples)
{
	struct api_node *node = x_calloc(1, sizeof *node);
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
	_cleanup_(buf_release) struct buf a_public = BUF_INIT;
	struct account_client client;
	struct http_client http;
	struct err e = {0};

	*samples = (struct samples){.n = n};
	for (unsigned known = 0; known < 2; known++) {
		samples->start_us[known] = x_calloc(n, sizeof(double));
		samples->finish_us[known] = x_calloc(n, sizeof(double));
	}
	api_node_prepare(node);
	node->config.registration = REGISTRATION_OPEN;
	node->config.login_rate = 1000000;
	api_node_run(node);
	api_node_connect(node, "http/1.1", &http);
	for (unsigned i = 0; i < USERS; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "ann-%u", i);
		account_client_init(&client, node, name);
		account_client_register(&client, &http);
		account_client_release(&client);
	}
	assert_int_equal(srp_client_new(SRP_GROUP_3072, &random_system, &srp, &e), 0);
	base64_append(&a_public, srp_client_public(srp));
	measure(node, &http, buf_str(&a_public), samples);
	http_client_release(&http);
	api_node_stop(node);
	free(node);
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000;
	struct samples samples;
	double worst = 0;

	if (n < 10 || n > TRIES_MAX) {
		(void)fprintf(stderr, "usage: login_timing [TRIES]\n");
		return 2;
	}
	run(n, &samples);
	for (unsigned step = 0; step < 2; step++) {
		double *const *values = step == 0 ? samples.start_us : samples.finish_us;

		(void)printf("login/%s, 2 x %zu:\n", step == 0 ? "start" : "finish", n);
		worst = fmax(worst, welch(values, n, 1.0));
		worst = fmax(worst, welch(values, n, 0.9));
	}
	for (unsigned known = 0; known < 2; known++) {
		free(samples.start_us[known]);
		free(samples.finish_us[known]);
	}
	(void)printf("%s: |t| up to %.2f, allowed %.1f\n", worst < t_max ? "passed" : "FAILED",
		worst, t_max);
	return worst < t_max ? 0 : 1;
}
