/* Whether a stranger can tell by the clock who has an account: login and recovery, start and
 * finish, with a wrong proof, for users that exist and users that do not, in pairs of random order
 * over the real API in one process.
 *
 * By the wall clock, which is what a stranger has, Welch's t of the two samples stays below 4.5, as
 * it is and without its slowest tenth (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant
 * time?"). Not by luck: what is above has to be there in three rounds of fresh samples, one after
 * the other, in the same direction. Not for noise: of the faster half, by the wall clock and by the
 * CPU time of the process, which neighbours on a busy machine do not stretch, the mean has to be
 * shown equal within a twentieth (99 %), or rounds go on. Where the CPU time never shows it, it
 * fails; where the wall clock alone does not, that part is named as skipped. Argument: pairs a
 * round (2000). */
#include "tests/lib/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "tests/lib/api/account_client.h"

enum { USERS = 2, PAIRS_MAX = 100000, ROUNDS_MAX = 6, ROUNDS_BAD = 3, STEP_MS = 16 * 60 * 1000 };
enum step { LOGIN_START, LOGIN_FINISH, RECOVERY_START, RECOVERY_FINISH, STEPS };
enum measure { WALL, CPU, MEASURES };
static const char *const step_name[STEPS] = {
	"login/start", "login/finish", "recovery/start", "recovery/finish"};
static const char *const measure_name[MEASURES] = {"wall", "CPU"};
static const double t_max = 4.5, equal_within = 0.05, sure = 2.33;
static const double parts[] = {1.0, 0.9}, half = 0.5; /* What is kept: the fastest. */

/* Of unknown users, of known ones. */
struct series {
	double *us[MEASURES][2];
};
/* What the rounds came to, for one step. */
struct verdict {
	unsigned above[ARRAY_SIZE(parts)][2]; /* Rounds with t <= -4.5, with t >= 4.5. */
	bool equal[MEASURES];		      /* Shown in one round. */
};

struct timing {
	struct api_node *node;
	struct http_client http;
	struct random_seeded seeded;
	size_t n;
	struct series series[STEPS];
	struct buf a_public;
	char signature[BASE64_LEN(SIGN_ECDSA_BYTES) + 1];
};

static double clock_us(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* --- statistics ------------------------------------------------------------------------------ */

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
	m.variance = m.n > 1 ? squares / (m.n - 1) : 0;
	return m;
}

/* The known ones against the unknown ones. */
struct comparison {
	double mean, longer, error, t; /* us; of the unknown ones, the difference, its error. */
};

/* Of what is not above the given part of both together. */
static struct comparison compare(double *const values[2], size_t n, double part)
{
	double *all = x_calloc(2 * n, sizeof *all), limit;
	struct comparison c = {0};
	struct moments a, b;

	memcpy(all, values[0], n * sizeof *all);
	memcpy(all + n, values[1], n * sizeof *all);
	qsort(all, 2 * n, sizeof *all, order);
	limit = all[(size_t)(part * (double)(2 * n - 1))];
	free(all);
	a = moments_below(values[0], n, limit);
	b = moments_below(values[1], n, limit);
	if (a.n < 2 || b.n < 2) { /* One of them is slower altogether. */
		c.longer = a.n < 2 ? -INFINITY : INFINITY;
		c.t = c.longer;
		return c;
	}
	c.mean = a.mean;
	c.longer = b.mean - a.mean;
	c.error = sqrt(a.variance / a.n + b.variance / b.n);
	c.t = c.error > 0 ? c.longer / c.error : 0;
	return c;
}

/* --- requests -------------------------------------------------------------------------------- */

/* Guards let go after a quarter of an hour of the cluster's time; a command moves it. */
static void let_time_pass(struct api_node *node)
{
	(void)pthread_mutex_lock(&node->lock);
	node->machine.now_ms += STEP_MS;
	(void)pthread_mutex_unlock(&node->lock);
}

static struct answer timed(
	struct timing *t, enum step step, unsigned known, size_t i, const struct buf *body)
{
	static const char *const target[STEPS] = {
		"/v1/login/start", "/v1/login/finish", "/v1/recovery/start", "/v1/recovery/finish"};
	struct series *series = &t->series[step];
	double cpu = clock_us(CLOCK_PROCESS_CPUTIME_ID), wall = clock_us(CLOCK_MONOTONIC);
	struct answer answer =
		http_client_json(&t->http, "POST", target[step], "", buf_str((struct buf *)body));

	series->us[WALL][known][i] = clock_us(CLOCK_MONOTONIC) - wall;
	series->us[CPU][known][i] = clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (answer.status != (step == LOGIN_START || step == RECOVERY_START ? 200 : 401)) {
		fail_msg("%s: %d %s", step_name[step], answer.status, buf_str(&answer.body));
	}
	return answer;
}

/* start, and finish with a wrong proof. */
static void one_try(struct timing *t, enum step step, const char *name, unsigned known, size_t i)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct answer start, finish;
	char m1[BASE64_LEN(SRP_PROOF_BYTES) + 1] = "";

	memset(m1, 'A', sizeof m1 - 1);
	if (step == LOGIN_START) {
		buf_printf(&body, "{\"user\":\"%s\",\"group\":3,\"A\":\"%s\"}", name,
			buf_str(&t->a_public));
	} else {
		buf_printf(&body, "{\"user\":\"%s\"}", name);
	}
	start = timed(t, step, known, i, &body);
	buf_clear(&body);
	if (step == LOGIN_START) {
		buf_printf(&body, "{\"handshake\":\"%s\",\"M1\":\"%s\"}",
			answer_text(&start, "handshake"), m1);
	} else {
		buf_printf(&body, "{\"recovery\":\"%s\",\"signature\":\"%s\"}",
			answer_text(&start, "recovery"), t->signature);
	}
	let_time_pass(t->node);
	finish = timed(t, step + 1, known, i, &body);
	answer_release(&finish);
	answer_release(&start);
}

/* Names alternate, so that no guard holds when one comes again. */
static void measure_pairs(struct timing *t)
{
	static const char *const names[2][USERS] = {{"bob-0", "bob-1"}, {"ann-0", "ann-1"}};

	for (size_t i = 0; i < t->n; i++) {
		unsigned first = (unsigned)random_below(&t->seeded.random, 2);

		for (unsigned k = 0; k < 2; k++) {
			unsigned known = k == 0 ? first : 1 - first;

			one_try(t, LOGIN_START, names[known][i % USERS], known, i);
		}
		for (unsigned k = 0; k < 2; k++) {
			unsigned known = k == 0 ? first : 1 - first;

			one_try(t, RECOVERY_START, names[known][i % USERS], known, i);
		}
	}
}

/* --- rounds ---------------------------------------------------------------------------------- */

static void judge(const struct timing *t, enum step step, struct verdict *verdict)
{
	(void)printf("  %-15s", step_name[step]);
	for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
		struct comparison c = compare(t->series[step].us[WALL], t->n, parts[p]);

		(void)printf("  t = %5.2f (%3.0f %%)", c.t, parts[p] * 100);
		if (fabs(c.t) >= t_max) {
			verdict->above[p][c.longer > 0]++;
		}
	}
	for (unsigned m = 0; m < MEASURES; m++) {
		struct comparison c = compare(t->series[step].us[m], t->n, half);
		bool equal = fabs(c.longer) + sure * c.error < equal_within * c.mean;

		(void)printf("  %s %.1f us %+.2f +- %.2f%s", measure_name[m], c.mean, c.longer,
			sure * c.error, equal ? "" : " (not shown equal)");
		verdict->equal[m] = verdict->equal[m] || equal;
	}
	(void)printf("\n");
}

/* Rounds with the same t above the bound. */
static unsigned worst(const struct verdict verdict[STEPS])
{
	unsigned rounds = 0;

	for (unsigned s = 0; s < STEPS; s++) {
		for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
			for (unsigned way = 0; way < 2; way++) {
				unsigned n = verdict[s].above[p][way];

				rounds = n > rounds ? n : rounds;
			}
		}
	}
	return rounds;
}

static bool all_equal(const struct verdict verdict[STEPS], enum measure measure)
{
	bool all = true;

	for (unsigned s = 0; s < STEPS; s++) {
		all = all && verdict[s].equal[measure];
	}
	return all;
}

static bool passes(struct timing *t)
{
	struct verdict verdict[STEPS] = {0};
	unsigned round = 0;

	do {
		measure_pairs(t);
		(void)printf("round %u, 2 x %zu\n", ++round, t->n);
		for (unsigned s = 0; s < STEPS; s++) {
			judge(t, s, &verdict[s]);
		}
		(void)fflush(stdout);
	} while (
		round < ROUNDS_MAX && worst(verdict) < ROUNDS_BAD &&
		(!all_equal(verdict, WALL) || !all_equal(verdict, CPU) || worst(verdict) >= round));
	if (worst(verdict) >= ROUNDS_BAD) {
		(void)printf("FAILED: |t| of %.1f and more in %u of %u rounds\n", t_max,
			worst(verdict), round);
		return false;
	}
	if (!all_equal(verdict, CPU)) {
		(void)printf("FAILED: they were not shown to be equal\n");
		return false;
	}
	if (!all_equal(verdict, WALL)) {
		(void)printf(
			"SKIPPED in part: too much else runs here for the wall clock to tell\n");
	}
	(void)printf("passed\n");
	return true;
}

/* --- the node -------------------------------------------------------------------------------- */

static void timing_users(struct timing *t)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	struct account_client client;
	struct err e = {0};

	for (unsigned i = 0; i < USERS; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "ann-%u", i);
		account_client_init(&client, t->node, name);
		account_client_register(&client, &t->http);
		if (i == 0) { /* A good signature, of nothing that was asked for. */
			assert_int_equal(sign_make(client.person.device, bytes_str("another"),
						 &signature, &e),
				0);
			base64_encode(buf_bytes(&signature), t->signature);
		}
		account_client_release(&client);
	}
}

static void timing_init(struct timing *t, size_t n)
{
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
	struct err e = {0};

	*t = (struct timing){.n = n, .node = x_calloc(1, sizeof *t->node)};
	random_seeded_init(&t->seeded, 1);
	for (unsigned i = 0; i < STEPS * MEASURES * 2; i++) {
		t->series[i / 4].us[i / 2 % 2][i % 2] = x_calloc(n, sizeof(double));
	}
	api_node_prepare(t->node);
	t->node->config.registration = REGISTRATION_OPEN;
	t->node->config.login_rate = 1000000;
	api_node_run(t->node);
	api_node_connect(t->node, "http/1.1", &t->http);
	timing_users(t);
	assert_int_equal(srp_client_new(SRP_GROUP_3072, &random_system, &srp, &e), 0);
	base64_append(&t->a_public, srp_client_public(srp));
}

static void timing_release(struct timing *t)
{
	http_client_release(&t->http);
	api_node_stop(t->node);
	free(t->node);
	buf_release(&t->a_public);
	for (unsigned i = 0; i < STEPS * MEASURES * 2; i++) {
		free(t->series[i / 4].us[i / 2 % 2][i % 2]);
	}
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000;
	struct timing t;
	bool passed;

	if (n < 10 || n > PAIRS_MAX) {
		(void)fprintf(stderr, "usage: login_timing [PAIRS]\n");
		return 2;
	}
	timing_init(&t, n);
	passed = passes(&t);
	timing_release(&t);
	return passed ? 0 : 1;
}
