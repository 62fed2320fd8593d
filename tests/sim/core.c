#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

uint64_t sim_random(struct sim *sim, uint64_t bound)
{
	return random_below(&sim->random.random, bound);
}

bool sim_chance(struct sim *sim, unsigned per_thousand)
{
	return per_thousand > 0 && sim_random(sim, 1000) < per_thousand;
}

void sim_mix(struct sim *sim, uint64_t value)
{
	uint64_t mixed = (sim->digest ^ value) * 0x9e3779b97f4a7c15U;

	sim->digest = mixed ^ mixed >> 29;
}

/* FNV-1a over words, then over the rest. */
uint64_t sim_hash(uint64_t seed, struct bytes bytes)
{
	uint64_t hash = seed ^ 0xcbf29ce484222325U ^ bytes.len, word;

	while (bytes.len >= sizeof word) {
		memcpy(&word, bytes.data, sizeof word);
		hash = (hash ^ word) * 0x100000001b3U;
		hash ^= hash >> 31;
		bytes = bytes_of(bytes.data + sizeof word, bytes.len - sizeof word);
	}
	for (size_t i = 0; i < bytes.len; i++) {
		hash = (hash ^ bytes.data[i]) * 0x100000001b3U;
	}
	return hash ^ hash >> 29;
}

void sim_violate(struct sim *sim, enum sim_check check, const char *fmt, ...)
{
	static const bool goes_on[] = {
#define X(sym, name, goes_on) goes_on,
		SIM_CHECKS(X)
#undef X
	};
	bool looked_at = sim->options.only == CHECK_ALL || sim->options.only == check;
	va_list args;

	assert(check > CHECK_ALL && check < SIM_CHECK_MAX);
	if (sim->violated || (!looked_at && goes_on[check])) {
		return;
	}
	sim->violated = true;
	sim->check = check;
	va_start(args, fmt);
	(void)vsnprintf(sim->why, sizeof sim->why, fmt, args);
	va_end(args);
	sim_say(sim, "VIOLATION: %s", sim->why);
}

bool sim_failed(const struct sim *sim)
{
	return sim->violated && (sim->options.only == CHECK_ALL || sim->options.only == sim->check);
}

void sim_say(struct sim *sim, const char *fmt, ...)
{
	va_list args;

	if (!sim->options.verbose) {
		return;
	}
	(void)printf("%8llu ", (unsigned long long)sim->now_ms);
	va_start(args, fmt);
	(void)vprintf(fmt, args);
	va_end(args);
	(void)printf("\n");
}

/* --- the heap --- */

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void heap_put(struct sim_heap *heap, const struct sim_event *event)
{
	size_t i;

	if (heap->n == heap->capacity) {
		heap->capacity = heap->capacity * 2 + 256;
		heap->event = x_realloc(heap->event, heap->capacity * sizeof *heap->event);
	}
	for (i = heap->n++; i > 0 && event_before(event, &heap->event[(i - 1) / 2]);
		i = (i - 1) / 2) {
		heap->event[i] = heap->event[(i - 1) / 2];
	}
	heap->event[i] = *event;
}

void sim_push(struct sim *sim, uint64_t after_ms, enum sim_event_kind kind, struct sim_node *node,
	uint64_t arg, void *ptr)
{
	struct sim_event event = {.at = sim->now_ms + after_ms,
		.seq = ++sim->heap.seq,
		.kind = kind,
		.node = node == NULL ? 0 : node->id,
		.epoch = node == NULL ? 0 : node->epoch,
		.arg = arg,
		.ptr = ptr};

	heap_put(&sim->heap, &event);
}

/* What comes to a node that is stopped waits, in its order. */
static bool sim_hold(struct sim *sim, const struct sim_event *event)
{
	const struct sim_packet *packet = event->ptr;
	unsigned id = event->kind == EVENT_PACKET ? packet->to : event->node;
	struct sim_event held = *event;

	if (id == 0 || !node_paused(sim->node[id])) {
		return false;
	}
	held.at = sim->node[id]->paused_until_ms;
	heap_put(&sim->heap, &held);
	return true;
}

bool sim_pop(struct sim *sim, struct sim_event *ret_event)
{
	struct sim_heap *heap = &sim->heap;
	struct sim_event last;
	size_t i = 0;

	if (heap->n == 0) {
		return false;
	}
	*ret_event = heap->event[0];
	last = heap->event[--heap->n];
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= heap->n) {
			break;
		}
		if (child + 1 < heap->n &&
			event_before(&heap->event[child + 1], &heap->event[child])) {
			child++;
		}
		if (!event_before(&heap->event[child], &last)) {
			break;
		}
		heap->event[i] = heap->event[child];
		i = child;
	}
	heap->event[i] = last;
	return true;
}

static void event_free(const struct sim_event *event)
{
	if (event->kind == EVENT_PACKET) {
		net_packet_free(event->ptr);
	} else if (event->kind == EVENT_READ) {
		free(event->ptr);
	}
}

/* --- one seed --- */

/* Of the seeds whose members nobody moves: operators in some, losses for good in others. */
static void sim_plan(struct sim *sim)
{
	uint64_t dice = random_below(&sim->operator_random.random, 100);

	if (sim->plan == PLAN_FIXED && dice < 55) {
		sim->plan = dice < 40 ? PLAN_OPERATOR : PLAN_DECLINE;
	}
	if (sim->plan == PLAN_DECLINE) {
		sim->voters = 5;
		sim->loss /= 4;
		sim->faults_end_ms = 60000; /* Four losses, and after each what makes up for it. */
	}
}

/* Each seed is another cluster, network and load. */
static void sim_shape(struct sim *sim)
{
	static const unsigned gaps_ms[] = {500, 30, 8}; /* 2/s, 33/s, 125/s */
	static const unsigned elections_ms[] = {300, 300, 1000};

	sim->election_ms = elections_ms[sim_random(sim, 3)];
	sim->heartbeat_ms = sim->election_ms / 6;
	sim->client_gap_ms = gaps_ms[sim_random(sim, 3)];
	sim->voters = sim_chance(sim, 800) ? 5 : 3 + (unsigned)sim_random(sim, 4);
	sim->plan = sim_chance(sim, 300) ? PLAN_MOVES : PLAN_FIXED;
	sim->clocks = sim_chance(sim, 300);
	sim->snapshot_every = 20 + (unsigned)sim_random(sim, 60);
	sim->trailing = 5 + (unsigned)sim_random(sim, 20);
	sim->cache_bytes = sim_chance(sim, 500) ? 2048 : 1 << 20;
	sim->big_percent = sim_chance(sim, 300) ? 5 : 0;
	sim->loss = sim_chance(sim, 500) ? 0 : (unsigned)sim_random(sim, 100);
	sim->jitter_ms = 2 + (unsigned)sim_random(sim, 20);
	sim->reconnect = (unsigned)sim_random(sim, 20);
	sim->faults_end_ms = 20000;
	sim_plan(sim);
	sim->end_ms = sim->faults_end_ms + SIM_LIVENESS_MS;
}

static void sim_build(struct sim *sim)
{
	struct configuration configuration = {.n = 0};

	for (unsigned i = 1; i <= sim->ids; i++) {
		char site[16], address[32];
		int rc;

		(void)snprintf(site, sizeof site, "s%u", i);
		(void)snprintf(address, sizeof address, "127.0.0.1:%u", 7000 + i);
		rc = configuration_add(&configuration, i,
			i <= sim->voters ? MEMBER_VOTER : MEMBER_STANDBY, site, address);
		assert(rc == 0);
	}
	for (unsigned i = 0; i < SIM_SESSIONS; i++) {
		session_init(&sim->session[i], i);
	}
	if (sim->options.seed % SIM_PERSON_SEEDS == 0) {
		sim->person = person_new(sim->options.seed);
	}
	for (unsigned i = 1; i <= SIM_IDS; i++) {
		sim->node[i] = node_new(sim, i);
		if (i <= sim->voters) { /* Others join with an empty log. */
			node_bootstrap(sim->node[i], &configuration);
		}
		for (unsigned k = 1; k <= SIM_IDS; k++) {
			sim->link[i][k].connection = 1;
		}
	}
}

static void sim_dispatch(struct sim *sim, const struct sim_event *event)
{
	switch (event->kind) {
	case EVENT_PACKET:
		net_deliver(sim, event->ptr);
		break;
	case EVENT_CLIENT:
		client_event(sim);
		break;
	case EVENT_FAULT:
		fault_event(sim);
		break;
	case EVENT_OPERATOR:
		operator_event(sim);
		break;
	default:
		node_event(sim->node[event->node], event);
		break;
	}
}

/* The calm ends when a write went through and everybody has everything, or at the limit. */
static bool sim_done(struct sim *sim)
{
	return sim->violated || sim->now_ms >= sim->end_ms ||
	       (sim->progressed && sim->now_ms > sim->progressed_ms + SIM_LOAD_AFTER_MS &&
		       oracle_converged(sim) &&
		       (!operator_keeps_roles(sim) || operator_settled(sim, NULL, 0)));
}

struct sim *sim_run(const struct sim_options *options)
{
	struct sim *sim = x_calloc(1, sizeof *sim);
	struct sim_event event;

	sim->options = *options;
	sim->now_ms = 1000;
	random_seeded_init(&sim->random, options->seed);
	random_seeded_init(&sim->operator_random, ~options->seed);
	sim->ids = SIM_NODES;
	sim_shape(sim);
	sim->faults_end_ms += sim->now_ms;
	sim->end_ms += sim->now_ms;
	sim_build(sim);
	for (unsigned i = 1; i <= sim->ids; i++) {
		node_start(sim->node[i]);
	}
	sim_push(sim, 5, EVENT_CLIENT, NULL, 0, NULL);
	sim_push(sim, 2000, EVENT_FAULT, NULL, 0, NULL);
	if (operator_keeps_roles(sim)) {
		sim_push(sim, 3000, EVENT_OPERATOR, NULL, 0, NULL);
	}
	while (!sim_done(sim) && sim_pop(sim, &event)) {
		assert(event.at >= sim->now_ms);
		sim->now_ms = event.at;
		sim->stats.events++;
		sim_mix(sim, (uint64_t)event.kind << 8 | event.node | event.at << 16);
		if (!sim->healed && sim->now_ms >= sim->faults_end_ms) {
			fault_heal(sim);
		}
		if (!sim_hold(sim, &event)) {
			sim_dispatch(sim, &event);
		}
	}
	if (!sim->violated) {
		oracle_end(sim);
	}
	return sim;
}

void sim_free(struct sim *sim)
{
	struct sim_event event;

	for (unsigned i = 1; i <= SIM_IDS; i++) {
		node_free(sim->node[i]);
	}
	while (sim_pop(sim, &event)) {
		event_free(&event);
	}
	for (unsigned i = 0; i < SIM_SESSIONS; i++) {
		session_release(&sim->session[i]);
	}
	free(sim->heap.event);
	buf_release(&sim->operator_command);
	oracle_release(&sim->oracle);
	history_release(sim);
	person_free(sim->person);
	free(sim);
}
