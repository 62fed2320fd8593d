/* The state machine on whatever a log may hold: { u8 time step | u16 length | command } until the
 * end; with the length's top bit the bytes are the whole data of an entry. A crash here would end
 * all nodes at once. Nothing but a command of a later version may stop it, and what it wrote must
 * hold together. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

enum { FUZZ_RAW = 0x8000 };

/* A cluster with two clients, some pages and a staged one; shared by all runs, changed by none. */
static struct kv *fuzz_base(void)
{
	static struct fixture_machine m;
	static struct fixture_client c, other;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	int rc;

	if (m.kv != NULL) {
		return m.kv;
	}
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_machine_join(&m, &other, 2);
	fixture_entry(&c, 0, 1, 12, 1, false, &entries);
	fixture_entry(&c, 1, 1, 0, 2, false, &entries);
	fixture_commit(&c, buf_bytes(&entries), 2, false, &command);
	rc = fixture_machine_run(&m, buf_bytes(&command));
	assert(rc == 0);
	fixture_committed(&c, buf_bytes(&entries));
	fixture_stage(&c, 0, 2, 0, 3, &command);
	rc = fixture_machine_run(&m, buf_bytes(&command));
	assert(rc == 0);
	(void)rc;
	return m.kv;
}

static int fuzz_entry(struct fixture_machine *m, unsigned length, struct bytes bytes)
{
	uint64_t index = fsm_position(m->fsm)->index + 1;
	struct entry *entry = (length & FUZZ_RAW) != 0 ? entry_copy(index, 1, ENTRY_COMMAND, bytes)
						       : fixture_machine_entry(m, index, &bytes, 1);
	int rc = fsm_apply(m->fsm, &entry, 1, &m->results, &m->err);

	entry_unref(entry);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Some steps are small, some go over what expires when. */
	static const uint64_t steps_ms[] = {0, 1, 250, 1000, 3600000, 86400000, 86400000ULL * 31};
	struct wire w = wire_of(bytes_of(data, size));
	struct fixture_machine m;
	struct err e = {0};
	int rc = 0;

	fixture_machine_init(&m, kv_memory_clone(fuzz_base()));
	while (rc == 0 && w.left.len > 0) {
		unsigned step = wire_u8(&w), length = wire_u16(&w);
		struct bytes bytes = wire_bytes(&w, length & ~(unsigned)FUZZ_RAW);

		if (!wire_ok(&w)) {
			break;
		}
		m.now_ms += steps_ms[step % ARRAY_SIZE(steps_ms)];
		rc = fuzz_entry(&m, length, bytes);
	}
	if (rc != 0 && rc != KLUIS_EVERSION) {
		(void)fprintf(stderr, "stopped by %d: %s\n", rc, m.err.text);
		abort();
	}
	if (fixture_check_store(m.kv, &e) != 0) {
		(void)fprintf(stderr, "%s\n", e.text);
		abort();
	}
	fixture_machine_release(&m);
	return 0;
}
