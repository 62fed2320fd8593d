#include "tests/unit/raft/lib/log_rig.h"

#include <assert.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/wire.h"

static uint8_t rig_byte(uint64_t index, uint64_t term, size_t at)
{
	return (uint8_t)(index * 131 + term * 31 + at * 7 + (at >> 8));
}

struct entry *log_rig_entry(uint64_t index, uint64_t term, size_t len)
{
	struct entry *entry = entry_new(index, term, ENTRY_COMMAND, len);

	for (size_t i = 0; i < len; i++) {
		entry->data[i] = rig_byte(index, term, i);
	}
	return entry;
}

bool log_rig_entry_good(const struct entry *entry, uint64_t index, uint64_t term, size_t len)
{
	bool good = entry->index == index && entry->term == term && entry->len == len &&
		    entry->type == ENTRY_COMMAND;

	for (size_t i = 0; good && i < len; i++) {
		good = entry->data[i] == rig_byte(index, term, i);
	}
	return good;
}

static void rig_persisted_cb(void *user, uint64_t seq)
{
	struct log_rig *rig = user;

	assert(seq > rig->persisted && seq <= rig->seq);
	rig->persisted = seq;
}

static void rig_closed_cb(void *user)
{
	struct log_rig *rig = user;

	rig->closed = true;
}

static void rig_end_loop(struct log_rig *rig)
{
	mailbox_close(&rig->mailbox, NULL);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert(uv_loop_close(&rig->loop) == 0);
}

int log_rig_open(struct log_rig *rig, const char *dir, uint32_t segment_bytes, struct err *e)
{
	return log_rig_open_marking(rig, dir, segment_bytes, UINT_MAX, e);
}

int log_rig_open_marking(struct log_rig *rig, const char *dir, uint32_t segment_bytes,
	unsigned mark_idle_ms, struct err *e)
{
	struct entry_log_config config = {.dir = dir,
		.segment_bytes = segment_bytes,
		.mark_idle_ms = mark_idle_ms,
		.home = &rig->mailbox,
		.random = &rig->random.random,
		.persisted_cb = rig_persisted_cb,
		.user = rig};
	static uint64_t opened;
	int rc;

	memset(rig, 0, sizeof *rig);
	random_seeded_init(&rig->random, (uint64_t)getpid() * 1000 + ++opened); /* Ids differ. */
	rc = uv_loop_init(&rig->loop);
	assert(rc == 0);
	rc = mailbox_init(&rig->mailbox, &rig->loop);
	assert(rc == 0);
	rc = entry_log_open(&config, &rig->log, e);
	if (rc != 0) {
		rig_end_loop(rig);
	}
	return rc;
}

void log_rig_append(struct log_rig *rig, uint64_t first, unsigned n, uint64_t term, size_t len)
{
	struct entry **entries = x_calloc(n, sizeof(struct entry *));

	if (term > entry_log_vote_term(rig->log)) {
		entry_log_set_vote(rig->log, term, 0);
	}
	for (unsigned i = 0; i < n; i++) {
		entries[i] = log_rig_entry(first + i, term, len);
	}
	entry_log_append(rig->log, ++rig->seq, entries, n);
	for (unsigned i = 0; i < n; i++) {
		entry_unref(entries[i]);
	}
	free(entries);
}

void log_rig_wait(struct log_rig *rig)
{
	while (rig->persisted < rig->seq) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
}

struct rig_read {
	struct entry_log_read read;
	bool done;
};

static void rig_read_cb(struct entry_log_read *req)
{
	struct rig_read *read = CONTAINER_OF(req, struct rig_read, read);

	read->done = true;
}

int log_rig_read(struct log_rig *rig, uint64_t first, unsigned n, struct entry ***ret_entries,
	unsigned *ret_n)
{
	struct rig_read read = {.done = false};
	int rc = entry_log_read_start(rig->log, &read.read, first, n, rig_read_cb);

	assert(rc == 0 && !read.done);
	while (!read.done) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
	*ret_entries = read.read.entries;
	*ret_n = read.read.n;
	return read.read.rc;
}

void log_rig_close(struct log_rig *rig)
{
	entry_log_close(rig->log, rig_closed_cb);
	while (!rig->closed) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
	rig_end_loop(rig);
}
