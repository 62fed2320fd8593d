#include "tests/unit/raft/lib/driver_rig.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static uint64_t rig_now_ms(void *ctx)
{
	struct driver_rig *rig = ctx;

	return rig->now_ms;
}

static void rig_note_mark(struct driver_rig *rig, const struct rig_sent *sent)
{
	struct message message;

	if (sent->peer >= ARRAY_SIZE(rig->mark) ||
		message_decode(buf_bytes(&sent->bytes), &message, NULL) != 0) {
		return; /* Some tests make strange peers, and a driver that has no term. */
	}
	if (message.type == MESSAGE_APPEND || message.type == MESSAGE_APPEND_RESULT) {
		rig->mark[sent->peer] = message.type == MESSAGE_APPEND
						? message.append.marks.sent
						: message.append_result.marks.sent;
		rig->mark_ms[sent->peer] = rig->now_ms;
	}
	message_release(&message);
}

static int rig_send(
	void *ctx, uint64_t peer, struct bytes header, struct entry *const *entries, unsigned n)
{
	struct driver_rig *rig = ctx;
	struct rig_sent *sent;

	if (peer < 32 && (rig->unreachable & BIT(peer)) != 0) {
		return KLUIS_EAGAIN;
	}
	sent = &rig->sent[rig->sent_n++];
	assert(rig->sent_n < RIG_MAX);
	sent->peer = peer;
	buf_append_bytes(&sent->bytes, header);
	for (unsigned i = 0; i < n; i++) {
		buf_append_bytes(&sent->bytes, entry_bytes(entries[i]));
	}
	rig_note_mark(rig, sent);
	return 0;
}

static void rig_proposed(void *ctx, uint64_t peer, const struct message *message)
{
	/* As raft/propose refuses: at once, through the driver. */
	struct driver_rig *rig = ctx;
	struct message refusal = {.type = MESSAGE_PROPOSE_RESULT, .term = message->term};
	int rc;

	if (message->type == MESSAGE_PROPOSE) {
		refusal.propose_result.boot = message->propose.proposals[0].boot;
		refusal.propose_result.first_seq = refusal.propose_result.seq =
			message->propose.proposals[0].seq;
		refusal.propose_result.rc = KLUIS_ENOTLEADER;
		rc = driver_send(rig->driver, peer, &refusal);
		assert(rc == 0);
	}
}

static int rig_store_vote(void *ctx, uint64_t term, uint64_t vote)
{
	struct driver_rig *rig = ctx;

	rig->votes++;
	rig->term = term;
	rig->vote = vote;
	return rig->fail_vote;
}

static int rig_io_append(void *ctx, uint64_t seq, struct entry *const *entries, unsigned n)
{
	struct driver_rig *rig = ctx;

	assert(seq == rig->write_seq + 1 && entries[n - 1]->index < RIG_MAX);
	rig->write_seq = seq;
	rig->appends++;
	for (unsigned i = 0; i < n; i++) {
		entry_unref(rig->log[entries[i]->index]);
		rig->log[entries[i]->index] = entry_ref(entries[i]);
		rig->log_last = entries[i]->index;
	}
	return rig->fail_append;
}

static int rig_read(void *ctx, uint64_t token, uint64_t first, unsigned n)
{
	struct driver_rig *rig = ctx;

	rig->reads++;
	rig->read_token = token;
	rig->read_first = first;
	rig->read_n = n;
	return 0;
}

static int rig_snapshot_record(void *ctx, const struct driver_snapshot *snapshot, uint64_t discard)
{
	struct driver_rig *rig = ctx;

	(void)discard;
	rig->records++;
	rig->recorded = *snapshot;
	return 0;
}

static int rig_apply(void *ctx, struct entry *const *entries, unsigned n)
{
	struct driver_rig *rig = ctx;

	rig->applies++;
	assert(entries[0]->index == rig->applied + 1);
	rig->applied = entries[n - 1]->index;
	return 0;
}

static int rig_manifest(void *ctx, uint64_t peer, uint64_t min_index)
{
	struct driver_rig *rig = ctx;

	rig->manifests++;
	rig->manifest_peer = peer;
	rig->manifest_index = min_index;
	return 0;
}

static int rig_fetch(
	void *ctx, uint64_t peer, const struct driver_snapshot *snapshot, struct bytes manifest)
{
	struct driver_rig *rig = ctx;

	(void)peer;
	(void)manifest;
	rig->fetches++;
	rig->fetched = *snapshot;
	return 0;
}

static int rig_install(void *ctx, uint64_t seq, const struct driver_snapshot *snapshot)
{
	struct driver_rig *rig = ctx;

	rig->installs++;
	rig->write_seq = seq;
	rig->applied = snapshot->index;
	return 0;
}

static int rig_replace(void *ctx, const struct driver_snapshot *snapshot)
{
	struct driver_rig *rig = ctx;

	rig->replaces++;
	rig->applied = snapshot->index;
	return rig->fail_replace;
}

static void rig_read_ready(void *ctx, uint64_t token, int rc, uint64_t index)
{
	struct driver_rig *rig = ctx;

	rig->ready++;
	rig->ready_token = token;
	rig->ready_rc = rc;
	rig->ready_index = index;
}

static void rig_fatal(void *ctx, const struct err *e)
{
	struct driver_rig *rig = ctx;

	(void)e;
	rig->fatal++;
}

static const struct driver_io rig_io = {
	.now_ms = rig_now_ms,
	.send = rig_send,
	.proposed = rig_proposed,
	.store_vote = rig_store_vote,
	.append = rig_io_append,
	.read = rig_read,
	.snapshot_record = rig_snapshot_record,
	.apply = rig_apply,
	.manifest = rig_manifest,
	.fetch = rig_fetch,
	.install = rig_install,
	.replace = rig_replace,
	.read_ready = rig_read_ready,
	.fatal = rig_fatal,
};

static void rig_members(struct configuration *configuration, unsigned voters)
{
	configuration->n = 0;
	for (unsigned i = 1; i <= 6; i++) {
		char site[16], address[32];
		int rc;

		(void)snprintf(site, sizeof site, "s%u", i);
		(void)snprintf(address, sizeof address, "127.0.0.1:%u", 7000 + i);
		rc = configuration_add(configuration, i,
			i <= voters ? MEMBER_VOTER : MEMBER_STANDBY, site, address);
		assert(rc == 0);
	}
}

/* One reference. */
static struct entry *rig_disk_entry(
	const struct driver_rig *rig, const struct rig_disk *disk, uint64_t index)
{
	struct configuration now = rig->configuration;

	if (index == 1) {
		return driver_bootstrap(&now);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(disk->change) && disk->change[i] != 0; i++) {
		configuration_find(&now, 5 - i)->role = MEMBER_STANDBY;
		if (disk->change[i] == index) {
			return rig_change(index, 1, &now);
		}
	}
	return entry_new(index, 1, ENTRY_BARRIER, 0);
}

static void rig_start(struct driver_rig *rig, const struct rig_disk *disk)
{
	struct driver_log_entry entries[RIG_MAX] = {0};
	struct driver_snapshot snapshot = {.index = disk->snapshot,
		.term = 1,
		.configuration_index = 1,
		.configuration = rig->configuration};
	struct driver_start start = {.term = disk->term,
		.first_index = disk->snapshot + 1,
		.n = disk->last - disk->snapshot,
		.entries = entries,
		.snapshot = disk->snapshot == 0 ? NULL : &snapshot,
		.applied = disk->applied,
		.rebuild = disk->rebuild};
	int rc;

	for (size_t i = 0; i < start.n; i++) {
		struct entry *entry = rig_disk_entry(rig, disk, start.first_index + i);

		entries[i] = (struct driver_log_entry){.term = 1,
			.type = entry->type,
			.entry = entry->type == ENTRY_CONFIGURATION ? entry : NULL};
		rig->log[start.first_index + i] = entry;
	}
	rig->log_last = disk->last;
	rig->applied = disk->applied;
	rc = driver_start(rig->driver, &start, NULL);
	assert(rc == 0);
}

struct driver_rig *rig_new(const struct rig_disk *disk, enum driver_guard off, uint32_t more)
{
	struct driver_rig *rig = x_calloc(1, sizeof *rig);
	struct driver_options options = driver_options_default(RIG_ME, RIG_SEED);

	options.guards_off = more | (off == DRIVER_GUARD_MAX ? 0 : BIT(off));
	options.trailing_entries = 2;
	rig->now_ms = 100000;
	rig->connection = 5;
	rig->term = disk->term;
	rig_members(&rig->configuration, disk->voters);
	rig->driver = driver_new(&options, &rig_io, rig);
	rig_start(rig, disk);
	return rig;
}

void rig_free(struct driver_rig *rig)
{
	driver_free(rig->driver);
	rig_forget(rig);
	for (unsigned i = 0; i < RIG_MAX; i++) {
		entry_unref(rig->log[i]);
	}
	free(rig);
}

int rig_receive(struct driver_rig *rig, uint64_t peer, const struct message *message)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	message_encode(message, &bytes);
	for (unsigned i = 0; message->type == MESSAGE_APPEND && i < message->append.n; i++) {
		buf_append_bytes(&bytes, entry_bytes(message->append.entries[i]));
	}
	return driver_receive(rig->driver, peer, rig->connection, buf_bytes(&bytes));
}

void rig_append(struct driver_rig *rig, uint64_t peer, uint64_t term, uint64_t prev,
	uint64_t prev_term, uint64_t commit, struct entry **entries, unsigned n)
{
	struct message message = {.type = MESSAGE_APPEND, .term = term};
	int rc;

	message.append = (struct message_append){
		prev, prev_term, commit, n, entries, {rig->now_ms + 1, rig->mark[peer]}};
	rc = rig_receive(rig, peer, &message);
	assert(rc == 0);
}

void rig_result(struct driver_rig *rig, uint64_t peer, uint64_t rejected, uint64_t last)
{
	struct message message = {.type = MESSAGE_APPEND_RESULT, .term = rig->term};
	int rc;

	message.append_result.rejected = rejected;
	message.append_result.last_index = last;
	message.append_result.marks = (struct message_marks){rig->now_ms + 1, rig->mark[peer]};
	rc = rig_receive(rig, peer, &message);
	assert(rc == 0);
}

void rig_persist(struct driver_rig *rig)
{
	driver_persisted(rig->driver, rig->write_seq, 0);
}

void rig_tick(struct driver_rig *rig, uint64_t ms)
{
	rig->now_ms += ms;
	driver_tick(rig->driver);
}

void rig_forget(struct driver_rig *rig)
{
	for (unsigned i = 0; i < rig->sent_n; i++) {
		buf_release(&rig->sent[i].bytes);
	}
	rig->sent_n = 0;
}

void rig_elect(struct driver_rig *rig)
{
	struct message message = {.type = MESSAGE_VOTE_RESULT};

	rig_tick(rig, 2 * ELECTION_TIMEOUT_MS);
	assert(rig_count(rig, 2, MESSAGE_VOTE) == 1);
	message.term = rig->term;
	message.vote_result.granted = true;
	for (uint64_t peer = 2; peer <= 3; peer++) {
		int rc = rig_receive(rig, peer, &message);

		assert(rc == 0);
	}
}

void rig_lead(struct driver_rig *rig)
{
	rig_elect(rig);
	rig_persist(rig);
	for (uint64_t peer = 2; peer <= 6; peer++) {
		rig_result(rig, peer, 0, rig->log_last);
	}
	driver_applied(rig->driver, rig->applied, 0);
}

int rig_submit(struct driver_rig *rig, size_t bytes)
{
	struct entry *entry = entry_new(0, 0, ENTRY_COMMAND, bytes);
	uint64_t index;

	memset(entry->data, 0x5a, bytes);
	return driver_submit(rig->driver, entry, &index);
}

bool rig_last(
	struct driver_rig *rig, uint64_t peer, enum message_type type, struct message *ret_message)
{
	for (unsigned i = rig->sent_n; i > 0; i--) {
		const struct rig_sent *sent = &rig->sent[i - 1];
		struct message message;
		int rc;

		if (peer != 0 && sent->peer != peer) {
			continue;
		}
		rc = message_decode(buf_bytes(&sent->bytes), &message, NULL);
		assert(rc == 0);
		if (message.type == type) {
			*ret_message = message;
			return true;
		}
		message_release(&message);
	}
	return false;
}

unsigned rig_count(struct driver_rig *rig, uint64_t peer, enum message_type type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rig->sent_n; i++) {
		n += (peer == 0 || rig->sent[i].peer == peer) &&
		     rig->sent[i].bytes.data[1] == (uint8_t)type;
	}
	return n;
}

struct entry *rig_command(uint64_t index, uint64_t term)
{
	return entry_copy(index, term, ENTRY_COMMAND, bytes_str("command"));
}

struct entry *rig_change(uint64_t index, uint64_t term, const struct configuration *configuration)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	configuration_encode(configuration, &bytes);
	return entry_copy(index, term, ENTRY_CONFIGURATION, buf_bytes(&bytes));
}
