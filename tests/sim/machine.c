#include "tests/sim/machine.h"

#include <assert.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/wire.h"

enum { ENVELOPE_VERSION = 1 };

struct machine {
	uint64_t node, index, term, hash;
	bool impure;
};

struct machine *machine_new(uint64_t node)
{
	struct machine *machine = x_calloc(1, sizeof *machine);

	machine->node = node;
	return machine;
}

void machine_free(struct machine *machine)
{
	free(machine);
}

struct machine *machine_clone(const struct machine *machine, uint64_t node)
{
	struct machine *clone = x_memdup(machine, sizeof *machine);

	clone->node = node;
	return clone;
}

uint64_t machine_index(const struct machine *machine)
{
	return machine->index;
}

uint64_t machine_term(const struct machine *machine)
{
	return machine->term;
}

uint64_t machine_hash(const struct machine *machine)
{
	return machine->hash;
}

static void machine_mix(struct machine *machine, struct bytes bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		machine->hash = (machine->hash ^ bytes.data[i]) * 0x100000001b3U;
	}
	machine->hash ^= machine->hash >> 31;
}

static int machine_apply_one(struct machine *machine, const struct entry *entry, struct buf *done)
{
	struct wire w = wire_of(entry_bytes(entry));
	unsigned n;

	if (entry->index != machine->index + 1) {
		return KLUIS_EINTERNAL;
	}
	machine->index = entry->index;
	machine->term = entry->term;
	if (entry->type != ENTRY_COMMAND) {
		return 0;
	}
	if (wire_u8(&w) != ENVELOPE_VERSION) {
		return KLUIS_EVERSION;
	}
	(void)wire_u64(&w);
	n = wire_u16(&w);
	for (unsigned i = 0; i < n; i++) {
		struct machine_done item = {.index = entry->index};
		struct bytes command;

		item.origin = wire_u64(&w);
		item.boot = wire_u64(&w);
		item.seq = wire_u64(&w);
		command = wire_lp32(&w, ENTRY_BYTES_MAX);
		if (!wire_ok(&w)) {
			return KLUIS_ECORRUPT;
		}
		machine_mix(machine, command);
		if (machine->impure) {
			machine->hash += machine->node;
		}
		buf_append(done, &item, sizeof item);
	}
	return wire_end(&w) ? 0 : KLUIS_ECORRUPT;
}

int machine_apply(
	struct machine *machine, struct entry *const *entries, unsigned n, struct buf *done)
{
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++) {
		rc = machine_apply_one(machine, entries[i], done);
	}
	return rc;
}

void machine_shift(struct machine *machine, int by, uint64_t last)
{
	if (by < 0 && machine->index > 0) {
		machine->index--;
	} else if (by > 0 && machine->index < last) {
		machine->index++;
	}
}

void machine_set_impure(struct machine *machine, bool on)
{
	machine->impure = on;
}

void machine_command(struct random *random, uint64_t id, struct buf *to)
{
	buf_put_u64(to, id);
	buf_put_zeros(to, (size_t)random_below(random, 40));
}

void machine_envelope_begin(struct buf *to, uint64_t cluster_time_ms, unsigned n)
{
	assert(n > 0 && n <= UINT16_MAX);
	buf_put_u8(to, ENVELOPE_VERSION);
	buf_put_u64(to, cluster_time_ms);
	buf_put_u16(to, n);
}

void machine_envelope_add(
	struct buf *to, uint64_t origin, uint64_t boot, uint64_t seq, struct bytes command)
{
	buf_put_u64(to, origin);
	buf_put_u64(to, boot);
	buf_put_u64(to, seq);
	buf_put_lp32(to, command);
}
