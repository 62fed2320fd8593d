/* What goes to a peer: in order, entries from memory or from the log, bounded. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "raft/driver_impl.h"

/* --- the table --- */

struct driver_peer *peer_find(const struct driver *driver, uint64_t id)
{
	for (unsigned i = 0; i < driver->peers_n; i++) {
		if (driver->peer[i].id == id) {
			return (struct driver_peer *)&driver->peer[i];
		}
	}
	return NULL;
}

/* A full table gives up a peer that is no member; members always fit. */
static struct driver_peer *peer_recycle(struct driver *driver)
{
	for (unsigned i = 0; i < driver->peers_n; i++) {
		bool member = &driver->peer[i] == driver->receiving;

		for (unsigned k = 0; k < driver->raft.configuration.n; k++) {
			member |= driver->raft.configuration.servers[k].id == driver->peer[i].id;
		}
		if (!member) {
			peer_drop_held(&driver->peer[i]);
			return &driver->peer[i];
		}
	}
	assert(0 && "more members than SITES_MAX");
	return NULL;
}

struct driver_peer *peer_get(struct driver *driver, uint64_t id)
{
	struct driver_peer *peer = peer_find(driver, id);

	assert(id != 0 && id != driver->options.id);
	if (peer == NULL) {
		peer = driver->peers_n < DRIVER_PEERS_MAX ? &driver->peer[driver->peers_n++]
							  : peer_recycle(driver);
		*peer = (struct driver_peer){.id = id};
		peer->held_tail = &peer->held;
		(void)snprintf(peer->address, sizeof peer->address, "%llu", (unsigned long long)id);
	}
	return peer;
}

void peer_drop_held(struct driver_peer *peer)
{
	while (peer->held != NULL) {
		struct driver_held *held = peer->held;

		peer->held = held->next;
		buf_release(&held->header);
		free(held);
	}
	peer->held_tail = &peer->held;
	peer->held_n = 0;
	peer->held_bytes = 0;
	peer->read_token = 0;
}

void peers_reset(struct driver *driver)
{
	for (unsigned i = 0; i < driver->peers_n; i++) {
		struct driver_peer *peer = &driver->peer[i];

		peer_drop_held(peer);
		peer->heard_ms = 0;
		peer->manifest_asked_ms = 0;
		peer->pinned = peer->core_snapshot = 0;
		peer->round_confirmed = false;
		peer->told_commit = 0;
		peer->asked_ms = peer->echo = 0;
		peer->newest = peer->due = (struct driver_mark){0};
	}
}

/* --- sending --- */

static int peer_send_now(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	struct entry *const *entries =
		message->type == MESSAGE_APPEND ? message->append.entries : NULL;
	unsigned n = message->type == MESSAGE_APPEND ? message->append.n : 0;

	buf_clear(&driver->scratch);
	message_encode(message, &driver->scratch);
	return driver->io.send(driver->ctx, peer->id, buf_bytes(&driver->scratch), entries, n);
}

/* Behind what is held already. Over the bound it is lost: the network may lose it, too. */
static struct driver_held *peer_hold(struct driver *driver, struct driver_peer *peer)
{
	struct driver_held *held;

	if (peer->held_n >= PEER_HELD_MAX || peer->held_bytes > PEER_HELD_BYTES_MAX) {
		return NULL;
	}
	held = x_calloc(1, sizeof *held);
	*peer->held_tail = held;
	peer->held_tail = &held->next;
	peer->held_n++;
	driver->counters.held++;
	return held;
}

static void peer_unhold(struct driver_peer *peer)
{
	struct driver_held *held = peer->held;

	assert(held != NULL && peer->held_n > 0);
	peer->held = held->next;
	if (peer->held == NULL) {
		peer->held_tail = &peer->held;
	}
	peer->held_n--;
	peer->held_bytes -= held->header.len;
	buf_release(&held->header);
	free(held);
}

int peer_try_send(struct driver *driver, uint64_t id, const struct message *message)
{
	struct driver_peer *peer = peer_get(driver, id);
	struct driver_held *held;

	assert(message->type != MESSAGE_APPEND);
	if (peer->held == NULL) {
		return peer_send_now(driver, peer, message);
	}
	held = peer_hold(driver, peer);
	if (held == NULL) {
		return KLUIS_EBUSY;
	}
	message_encode(message, &held->header);
	peer->held_bytes += held->header.len;
	return 0;
}

void peer_send(struct driver *driver, uint64_t id, const struct message *message)
{
	(void)peer_try_send(driver, id, message); /* Raft sends again. */
}

/* Sends entries[0 .. n-1], which follow append->prev_index, in as many messages as their bytes
 * need: libraft bounds an append by count alone, and counts on all of them being sent. */
static void peer_send_entries(struct driver *driver, struct driver_peer *peer,
	struct driver_held *append, struct entry **entries, unsigned n)
{
	unsigned at = 0;

	do {
		struct message message = {.type = MESSAGE_APPEND, .term = append->term};
		size_t bytes = 0;
		unsigned k = 0;

		while (at + k < n && k < ENTRIES_PER_MESSAGE_MAX &&
			(k == 0 || bytes + entries[at + k]->len <= MESSAGE_BYTES_MAX)) {
			bytes += entries[at + k++]->len;
		}
		message.append = (struct message_append){.prev_index = append->prev_index,
			.prev_term = append->prev_term,
			.commit = append->commit,
			.n = k,
			.entries = entries + at,
			.marks = append->marks};
		(void)peer_send_now(driver, peer, &message); /* As above. */
		if (k > 0) {
			append->prev_index += k;
			append->prev_term = entries[at + k - 1]->term;
			append->n -= k;
		}
		at += k;
	} while (at < n);
}

/* As many of the append's entries as lie in memory from its first on. */
static unsigned peer_gather(
	const struct driver *driver, const struct driver_held *append, struct entry **entries)
{
	unsigned n = 0;

	while (n < append->n && n < LOG_READ_ENTRIES_MAX) {
		struct entry *entry = tail_get(&driver->tail, append->prev_index + 1 + n);

		if (entry == NULL) {
			break;
		}
		entries[n++] = entry;
	}
	return n;
}

/* Sends of the append what lies in memory; true when nothing is left of it. */
static bool peer_try_append(
	struct driver *driver, struct driver_peer *peer, struct driver_held *append)
{
	struct entry *entries[LOG_READ_ENTRIES_MAX];

	do {
		unsigned n = peer_gather(driver, append, entries);

		if (n == 0 && append->n > 0) {
			return false;
		}
		peer_send_entries(driver, peer, append, entries, n);
	} while (append->n > 0);
	return true;
}

static void peer_read(struct driver *driver, struct driver_peer *peer)
{
	const struct driver_held *append = peer->held;
	unsigned n = append->n < LOG_READ_ENTRIES_MAX ? append->n : LOG_READ_ENTRIES_MAX;
	int rc;

	assert(peer->read_token == 0 && append->n > 0);
	peer->read_token = ++driver->token;
	driver->counters.log_reads++;
	rc = driver->io.read(driver->ctx, peer->read_token, append->prev_index + 1, n);
	if (rc != 0) {
		driver_die(driver, rc, "read the log");
	}
}

/* Sends held messages up to the first that needs a log read, and asks for it. */
static void peer_flush(struct driver *driver, struct driver_peer *peer)
{
	while (peer->held != NULL && peer->read_token == 0 && !driver->dead) {
		struct driver_held *held = peer->held;

		if (held->header.len > 0) {
			/* Raft sends again. */
			(void)driver->io.send(
				driver->ctx, peer->id, buf_bytes(&held->header), NULL, 0);
			peer_unhold(peer);
		} else if (peer_try_append(driver, peer, held)) {
			peer_unhold(peer);
		} else {
			peer_read(driver, peer);
		}
	}
}

void peer_send_append(struct driver *driver, uint64_t id, const struct raft_append_entries *append)
{
	struct driver_peer *peer = peer_get(driver, id);
	struct driver_held now = {.term = append->term,
		.prev_index = append->prev_log_index,
		.prev_term = append->prev_log_term,
		.commit = append->leader_commit,
		.marks = contact_marks(driver, peer),
		.n = append->n_entries};
	uint64_t end = append->prev_log_index + append->n_entries;
	uint64_t told = append->leader_commit < end ? append->leader_commit : end;
	struct driver_held *held;

	assert(append->n_entries <= ENTRIES_PER_MESSAGE_MAX);
	peer->told_commit = told > peer->told_commit ? told : peer->told_commit;
	if (peer->held == NULL && peer_try_append(driver, peer, &now)) {
		return;
	}
	held = peer_hold(driver, peer);
	if (held != NULL) {
		held->term = now.term;
		held->prev_index = now.prev_index;
		held->prev_term = now.prev_term;
		held->commit = now.commit;
		held->marks = now.marks;
		held->n = now.n;
		peer_flush(driver, peer);
	}
}

/* Whether what was read is what the append of our term means. */
static bool peer_read_valid(const struct driver *driver, const struct driver_held *append,
	struct entry *const *entries, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t index = append->prev_index + 1 + i;

		if (entries[i]->index != index ||
			driver_term_of(driver, index) != entries[i]->term) {
			return false;
		}
	}
	return n > 0 && n <= append->n;
}

void peer_read_done(
	struct driver *driver, struct driver_peer *peer, int rc, struct entry **entries, unsigned n)
{
	struct driver_held *append = peer->held;

	assert(append != NULL && append->n > 0);
	peer->read_token = 0;
	if (rc != 0 || !peer_read_valid(driver, append, entries, n)) {
		/* Discarded meanwhile: the peer's next answer makes libraft offer a snapshot. */
		peer_unhold(peer);
	} else {
		peer_send_entries(driver, peer, append, entries, n);
		if (append->n == 0) {
			peer_unhold(peer);
		}
	}
	peer_flush(driver, peer);
}

int driver_send(struct driver *driver, uint64_t peer, const struct message *message)
{
	int rc = KLUIS_ECLOSED;

	assert(message->type == MESSAGE_PROPOSE || message->type == MESSAGE_PROPOSE_RESULT);
	if (driver_enter(driver)) {
		/* Not behind held appends: it has no order with them. A peer may have asked a node
		 * that has no term yet: it has nothing to say. */
		rc = message->term == 0 ? KLUIS_EAGAIN
					: peer_send_now(driver, peer_get(driver, peer), message);
		driver_leave(driver);
	}
	return rc;
}

void driver_disconnected(struct driver *driver, uint64_t peer)
{
	struct driver_peer *known;

	if (driver_enter(driver)) {
		known = peer_find(driver, peer);
		if (known != NULL) {
			peer_drop_held(known);
		}
		driver_leave(driver);
	}
}

/* --- snapshots for peers --- */

static void manifest_ask(struct driver *driver, struct driver_peer *peer, uint64_t min_index)
{
	int rc;

	/* libraft offers again at each rejected heartbeat. */
	if (peer->manifest_asked_ms != 0 &&
		driver->now_ms - peer->manifest_asked_ms < SNAPSHOT_RESEND_MS) {
		return;
	}
	peer->manifest_asked_ms = driver->now_ms == 0 ? 1 : driver->now_ms;
	rc = driver->io.manifest(driver->ctx, peer->id, min_index);
	if (rc != 0) {
		driver_die(driver, rc, "make a snapshot for a peer");
	}
}

void peer_want_manifest(struct driver *driver, uint64_t id, uint64_t min_index)
{
	struct driver_peer *peer = peer_get(driver, id);

	peer->core_snapshot = min_index;
	if (peer->pinned != 0 && driver_term_of(driver, peer->pinned) != 0) {
		min_index = peer->pinned; /* What it may be fetching is still good. */
	}
	manifest_ask(driver, peer, min_index);
}

void peer_wants_snapshot(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	uint64_t min_index = message->snapshot_want.min_index;

	if (!driver->rebuilding && min_index <= driver->raft.commit_index) {
		peer->wants_data = true;
		peer->data_index = min_index;
		manifest_ask(driver, peer, min_index);
	}
}

void peer_connected(struct driver *driver, struct driver_peer *peer)
{
	if (peer->wants_data && !driver->rebuilding) {
		manifest_ask(driver, peer, peer->data_index);
	}
}

static void manifest_send(struct driver *driver, struct driver_peer *peer,
	const struct driver_snapshot *snapshot, struct bytes manifest)
{
	struct message_snapshot offer = {.index = snapshot->index,
		.index_term = snapshot->term,
		.configuration_index = snapshot->configuration_index,
		.configuration = snapshot->configuration,
		.manifest = manifest};
	struct message message = {.type = MESSAGE_SNAPSHOT_GIVE, .term = driver->raft.current_term};

	message.snapshot = &offer;
	if (peer->wants_data) {
		/* One that has just started hears us only when our link to it is up, too. */
		peer->wants_data = peer_try_send(driver, peer->id, &message) != 0;
	}
	/* What follows it must still be in our log, or the peer could not go on from it. */
	if (driver_is_leader(driver) && peer->core_snapshot != 0 &&
		driver_term_of(driver, snapshot->index) == snapshot->term) {
		message.type = MESSAGE_SNAPSHOT;
		peer->pinned = snapshot->index;
		peer_send(driver, peer->id, &message);
	}
}

void driver_manifest(struct driver *driver, uint64_t peer, int rc,
	const struct driver_snapshot *snapshot, struct bytes manifest)
{
	struct driver_peer *known;

	if (!driver_enter(driver)) {
		return;
	}
	known = peer_find(driver, peer);
	if (known != NULL && rc == 0) {
		known->manifest_asked_ms = 0;
		assert(manifest.len <= MANIFEST_BYTES_MAX);
		manifest_send(driver, known, snapshot, manifest);
	}
	driver_leave(driver);
}

/* Whether what peer may be fetching is still to be kept: not for one that is silent, nor for ever.
 */
static bool peer_pins(const struct driver *driver, const struct driver_peer *peer)
{
	raft_index match = 0;

	return peer->pinned != 0 && peer->heard_ms != 0 &&
	       driver->now_ms - peer->heard_ms < SNAPSHOT_PIN_SILENT_MS &&
	       driver_last_index(driver) - peer->pinned < SNAPSHOT_PINNED_ENTRIES_MAX &&
	       driver_term_of(driver, peer->pinned) != 0 &&
	       raft_match_index(&driver->raft, peer->id, &match) == 0 && match < peer->pinned;
}

uint64_t peers_pinned(const struct driver *driver)
{
	uint64_t pinned = UINT64_MAX;

	for (unsigned i = 0; driver_is_leader(driver) && i < driver->peers_n; i++) {
		const struct driver_peer *peer = &driver->peer[i];

		if (peer_pins(driver, peer) && peer->pinned < pinned) {
			pinned = peer->pinned;
		}
	}
	return pinned;
}

struct driver_peer_status driver_peer_status(const struct driver *driver, uint64_t peer)
{
	const struct driver_peer *known = peer_find(driver, peer);
	struct driver_peer_status status = {.heard_ms = UINT64_MAX};
	raft_index match = 0;

	if (driver_is_leader(driver) && raft_match_index(&driver->raft, peer, &match) == 0) {
		status.match = match;
	}
	if (known != NULL) {
		uint64_t now = driver->io.now_ms(driver->ctx);

		status.held = known->held_n;
		status.snapshot = known->pinned != 0 && status.match < known->pinned;
		if (known->heard_ms != 0) {
			status.heard_ms = now - known->heard_ms;
		}
	}
	return status;
}
