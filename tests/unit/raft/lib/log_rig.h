/* A log on a loop of its own, driven step by step. */
#ifndef KLUIS_TESTS_UNIT_RAFT_LIB_LOG_RIG_H
#define KLUIS_TESTS_UNIT_RAFT_LIB_LOG_RIG_H

#include "base/err.h"
#include "raft/entry_log.h"

struct log_rig {
	uv_loop_t loop;
	struct mailbox mailbox;
	struct entry_log *log;
	struct random_seeded random;
	uint64_t seq, persisted;
	bool closed;
};

/* Test data of an entry: a function of (index, term), so that what is read back can be checked. */
struct entry *log_rig_entry(uint64_t index, uint64_t term, size_t len);
bool log_rig_entry_good(const struct entry *entry, uint64_t index, uint64_t term, size_t len);

/* Returns what entry_log_open() does; on failure nothing is left. No mark is written but at a clean
 * end, however long a loaded machine takes between two appends. */
int log_rig_open(struct log_rig *rig, const char *dir, uint32_t segment_bytes, struct err *e);
/* The same with a mark after so long without a write. */
int log_rig_open_marking(struct log_rig *rig, const char *dir, uint32_t segment_bytes,
	unsigned mark_idle_ms, struct err *e);
/* Queues entries first .. first + n - 1 and returns at once; term is raised in the vote file. */
void log_rig_append(struct log_rig *rig, uint64_t first, unsigned n, uint64_t term, size_t len);
void log_rig_wait(struct log_rig *rig); /* Until all appended is persisted. */
/* Entries [first, first + n) by entry_log_read_start(); returns req->rc. */
int log_rig_read(struct log_rig *rig, uint64_t first, unsigned n, struct entry ***ret_entries,
	unsigned *ret_n);
void log_rig_close(struct log_rig *rig);

#endif
