/* Cluster time: moved by the leader's monotonic clock, set ahead only by what a majority of the
 * nodes' wall clocks agree on, so that no single bad clock can age the store. */
#include "raft/replica_impl.h"

void cluster_clock_lead(struct replica *r)
{
	r->cluster_clock.base_ms = r->position.cluster_time_ms;
	r->cluster_clock.base_monotonic_ms = replica_now(r);
}

uint64_t cluster_clock_now(struct replica *r)
{
	const struct cluster_clock *c = &r->cluster_clock;

	return c->base_ms + (replica_now(r) - c->base_monotonic_ms);
}

void cluster_clock_applied(struct replica *r)
{
	/* A jump, or the stamps of an earlier leader: never behind them. */
	if (r->position.cluster_time_ms > cluster_clock_now(r)) {
		cluster_clock_lead(r);
	}
}

static void clock_add(struct command_time_jump *jump, uint64_t node, uint64_t wall_ms)
{
	unsigned at = jump->n_readings;

	while (at > 0 && jump->reading[at - 1].node > node) {
		jump->reading[at] = jump->reading[at - 1];
		at--;
	}
	jump->reading[at] = (struct time_reading){node, wall_ms};
	jump->n_readings++;
}

static void clock_readings(struct replica *r, struct command_time_jump *jump)
{
	uint64_t wall_ms = clock_wall_ms(r->clock), peers[SITES_MAX];
	size_t n = links_peers(r->links, peers, SITES_MAX - 1);

	jump->n_readings = 0;
	clock_add(jump, r->node_id, wall_ms);
	for (size_t i = 0; i < n; i++) {
		struct link_status status;

		if (links_status(r->links, peers[i], &status) == 0 && status.up &&
			status.wall_known && (int64_t)wall_ms + status.wall_offset_ms > 0) {
			clock_add(jump, peers[i],
				(uint64_t)((int64_t)wall_ms + status.wall_offset_ms));
		}
	}
}

/* How many readings are later than cluster time by enough to matter. */
static unsigned clock_ahead(const struct command_time_jump *jump, uint64_t cluster_ms)
{
	unsigned ahead = 0;

	for (unsigned i = 0; i < jump->n_readings; i++) {
		ahead += jump->reading[i].wall_ms > cluster_ms + TIME_JUMP_MIN_MS;
	}
	return ahead;
}

void cluster_clock_tick(struct replica *r)
{
	struct command command = {.type = COMMAND_TIME_JUMP};
	struct driver_status status = driver_status(r->driver);
	uint64_t now_ms = replica_now(r);
	struct configuration configuration;

	cluster_clock_applied(r); /* From the start on, entries or not. */
	if (status.role != DRIVER_LEADER || !status.ready || r->position.commands == 0 ||
		(r->cluster_clock.last_jump_ms != 0 &&
			now_ms - r->cluster_clock.last_jump_ms < TIME_JUMP_INTERVAL_MS)) {
		return;
	}
	clock_readings(r, &command.time_jump);
	driver_configuration(r->driver, &configuration);
	if (clock_ahead(&command.time_jump, cluster_clock_now(r)) <= configuration.n / 2) {
		return;
	}
	r->cluster_clock.last_jump_ms = now_ms;
	propose_own(r, &command); /* The state machine judges the readings again. */
}
