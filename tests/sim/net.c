#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

void net_packet_free(struct sim_packet *packet)
{
	buf_release(&packet->bytes);
	free(packet);
}

bool net_cut(const struct sim *sim, unsigned from, unsigned to)
{
	return sim->link[from][to].blocked;
}

static void net_push(struct sim *sim, struct sim_packet *packet)
{
	struct sim_link *link = &sim->link[packet->from][packet->to];
	uint64_t at = sim->now_ms + 1 + sim_random(sim, sim->jitter_ms);

	if (at < link->last_at) {
		at = link->last_at; /* A connection keeps its order; equal times keep theirs, too.
				     */
	}
	link->last_at = at;
	sim_push(sim, at - sim->now_ms, EVENT_PACKET, NULL, 0, packet);
}

void net_send(struct sim *sim, unsigned from, unsigned to, struct bytes header,
	struct entry *const *entries, unsigned n)
{
	struct sim_packet *packet;
	size_t len = header.len;

	sim->stats.packets++;
	if (to == 0 || to > SIM_IDS || net_cut(sim, from, to) || sim_chance(sim, sim->loss)) {
		return;
	}
	packet = x_calloc(1, sizeof *packet);
	packet->from = from;
	packet->to = to;
	packet->connection = sim->link[from][to].connection;
	for (unsigned i = 0; i < n; i++) {
		len += entries[i]->len;
	}
	buf_reserve(&packet->bytes, len);
	buf_append_bytes(&packet->bytes, header);
	for (unsigned i = 0; i < n; i++) {
		buf_append_bytes(&packet->bytes, entry_bytes(entries[i]));
	}
	if (sim->options.bug == BUG_VOTE_FREELY && header.data[1] == MESSAGE_VOTE_RESULT) {
		packet->bytes.data[header.len - 1] = 1; /* `granted` comes last. */
	}
	net_push(sim, packet);
	if (sim_chance(sim, sim->reconnect)) {
		net_reconnect(sim, from, to);
	}
}

static int packet_order(const void *a, const void *b)
{
	const struct sim_event *x = a, *y = b;

	return x->at != y->at ? (x->at < y->at ? -1 : 1) : (x->seq < y->seq ? -1 : 1);
}

/* Copies of what is under way from -> to, in order; the number of them. */
static size_t net_under_way(
	const struct sim *sim, unsigned from, unsigned to, struct sim_event **ret_events)
{
	struct sim_event *events = x_malloc((sim->heap.n + 1) * sizeof *events);
	size_t n = 0;

	for (size_t i = 0; i < sim->heap.n; i++) {
		const struct sim_event *event = &sim->heap.event[i];
		const struct sim_packet *packet = event->ptr;

		if (event->kind == EVENT_PACKET && packet->from == from && packet->to == to) {
			events[n++] = *event;
		}
	}
	qsort(events, n, sizeof *events, packet_order);
	*ret_events = events;
	return n;
}

/* What is under way on the old connection comes late or never, and perhaps again on the new one. */
void net_reconnect(struct sim *sim, unsigned from, unsigned to)
{
	struct sim_link *link = &sim->link[from][to];
	uint64_t old = link->connection++;
	bool lose = sim_chance(sim, 500), again = sim_chance(sim, 300);
	struct sim_event *events;
	size_t n = net_under_way(sim, from, to, &events);

	link->last_at = sim->now_ms;
	for (size_t i = 0; i < n; i++) {
		struct sim_packet *packet = events[i].ptr, *copy;

		if (packet->connection != old) {
			continue;
		}
		/* A link gives nothing twice: proposals rely on it, consensus need not. */
		if (again && packet->bytes.len > 1 && packet->bytes.data[1] != MESSAGE_PROPOSE) {
			copy = x_calloc(1, sizeof *copy);
			*copy = (struct sim_packet){from, to, link->connection, BUF_INIT};
			buf_append_bytes(&copy->bytes, buf_bytes(&packet->bytes));
			net_push(sim, copy);
		}
		if (lose) {
			buf_clear(&packet->bytes);
		}
	}
	free(events);
}

static void net_say(struct sim *sim, const struct sim_packet *packet)
{
	struct message message;
	unsigned long long a = 0, b = 0, c = 0;

	if (!sim->options.verbose ||
		message_decode(buf_bytes(&packet->bytes), &message, NULL) != 0) {
		return;
	}
	if (message.type == MESSAGE_APPEND) {
		a = message.append.prev_index;
		b = message.append.n;
		c = message.append.commit;
	} else if (message.type == MESSAGE_APPEND_RESULT) {
		a = message.append_result.rejected;
		b = message.append_result.last_index;
	} else if (message.type == MESSAGE_VOTE) {
		a = message.vote.last_index;
		b = message.vote.last_term;
	} else if (message.type == MESSAGE_VOTE_RESULT) {
		a = message.vote_result.granted;
	} else if (message.type == MESSAGE_SNAPSHOT || message.type == MESSAGE_SNAPSHOT_GIVE) {
		a = message.snapshot->index;
	}
	sim_say(sim, "%u -> %u %s term %llu: %llu %llu %llu", packet->from, packet->to,
		message_type_name(message.type), (unsigned long long)message.term, a, b, c);
	message_release(&message);
}

void net_deliver(struct sim *sim, struct sim_packet *packet)
{
	struct sim_node *node = sim->node[packet->to];
	struct bytes bytes = buf_bytes(&packet->bytes);
	int rc;

	if (node->up && bytes.len > 0 && !net_cut(sim, packet->from, packet->to) &&
		!operator_refused(sim, node, packet->from)) {
		sim_mix(sim, sim_hash(packet->from * 8 + packet->to,
				     bytes_of(bytes.data, bytes.len < 64 ? bytes.len : 64)));
		net_say(sim, packet);
		if (sim->options.bug == BUG_FLIPPED_BYTE && sim_chance(sim, 1)) {
			packet->bytes.data[sim_random(sim, bytes.len)] ^= 0x10;
		}
		node->inside = true;
		rc = driver_receive(node->driver, packet->from, packet->connection, bytes);
		if (rc == KLUIS_EPROTO) {
			sim_violate(sim, CHECK_MESSAGE,
				"node %u cannot read a message of type %u from %u", packet->to,
				bytes.data[1], packet->from);
		}
		node_after(node);
	}
	net_packet_free(packet);
}
