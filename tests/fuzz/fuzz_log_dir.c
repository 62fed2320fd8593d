/* A whole log directory as a disk, a crash or a hand may leave it: { u8 which log | operations },
 * each operation a change of one file. It is refused with a reason, or every entry in it is one
 * that was written there, and it can be appended to and opened again. */
#include <assert.h>
#include <stdio.h>

#include "base/log.h"
#include "tests/fuzz/lib/damage.h"
#include "tests/unit/raft/lib/log_rig.h"

enum {
	SEGMENT = 16 * 1024,
	STATES = 3, /* Of one log: early, as a crash leaves it, after a clean end. */
	ENTRY_BYTES = 700,
};

static struct damage damage;

/* A log with several segments, a front that was cut off, and entries that were written twice. */
static void base_make(void)
{
	/* Free segments mean nothing, and how many there are is a matter of time. */
	static const char *const left_out[] = {"free-", "prepare", NULL};
	struct log_rig rig;
	struct err e;
	int rc;

	log_init("fuzz", LOG_LEVEL_ERR);
	damage_init(&damage, "log");
	rc = log_rig_open(&rig, damage.dir, SEGMENT, &e);
	assert(rc == 0);
	log_rig_append(&rig, 1, 20, 1, ENTRY_BYTES);
	log_rig_wait(&rig);
	damage_keep(&damage, 0, left_out);
	log_rig_append(&rig, 21, 10, 1, ENTRY_BYTES);
	log_rig_append(&rig, 28, 8, 2, ENTRY_BYTES);
	log_rig_wait(&rig);
	entry_log_trim(rig.log, 12, bytes_str("snapshot at 12"));
	log_rig_append(&rig, 36, 2, 3, ENTRY_BYTES);
	log_rig_wait(&rig);
	log_rig_append(&rig, 38, 1, 3, ENTRY_BYTES);
	log_rig_wait(&rig);
	damage_keep(&damage, 1, left_out);
	log_rig_close(&rig);
	damage_keep(&damage, 2, left_out);
}

/* --- what must hold --------------------------------------------------------------------------- */

/* Which terms were ever written at an index. */
static bool term_possible(uint64_t index, uint64_t term)
{
	return (term == 1 && index <= 30) || (term == 2 && index >= 28 && index <= 35) ||
	       (term == 3 && index >= 36 && index <= 38) || (term == 9 && index <= 39);
}

static uint64_t log_check(struct log_rig *rig)
{
	uint64_t first = entry_log_first(rig->log), last = entry_log_last(rig->log), before = 0;

	for (uint64_t i = first; i <= last; i++) {
		uint64_t term = entry_log_term(rig->log, i);
		struct entry *entry = NULL;
		struct err e;
		int rc = entry_log_load(rig->log, i, &entry, &e);

		if (rc != 0 || !term_possible(i, term) || term < before ||
			!log_rig_entry_good(entry, i, term, ENTRY_BYTES)) {
			(void)fprintf(stderr, "entry %llu of term %llu: %d\n",
				(unsigned long long)i, (unsigned long long)term, rc);
			abort();
		}
		before = term;
		entry_unref(entry);
	}
	assert(entry_log_vote_term(rig->log) >= before);
	return last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire w = wire_of(bytes_of(data, size));
	struct log_rig rig;
	struct err e = {0};
	bool changed;
	uint64_t last;
	int rc;

	if (size == 0) {
		return 0;
	}
	if (damage.n[0] == 0) {
		base_make();
	}
	changed = damage_make(&damage, STATES, wire_u8(&w) % STATES, &w);
	rc = log_rig_open(&rig, damage.dir, SEGMENT, &e);
	if (rc != 0) {
		assert(changed &&
			(rc == KLUIS_ECORRUPT || rc == KLUIS_EVERSION || rc == KLUIS_ETOOLARGE) &&
			e.text[0] != '\0');
		return 0;
	}
	last = log_check(&rig);
	if (last < 39) {
		log_rig_append(&rig, last + 1, 1, 9, ENTRY_BYTES);
		log_rig_wait(&rig);
		last++;
	}
	log_rig_close(&rig);
	rc = log_rig_open(&rig, damage.dir, SEGMENT, &e);
	if (rc != 0 || log_check(&rig) != last) {
		(void)fprintf(stderr, "again: %s\n", rc == 0 ? "another log" : e.text);
		abort();
	}
	log_rig_close(&rig);
	return 0;
}
