/* One node of six, and what the other five say: operations of { u8 what | fields }, messages whose
 * fields are anything a decoder lets through, between time, disk and state machine that go on. A
 * member that lies may stop a node in order (fatal), it must not crash it; and what was said of the
 * disk is true. */
#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/wire.h"
#include "tests/unit/raft/lib/driver_rig.h"

enum { OPERATIONS_MAX = 300, ENTRIES_MAX = 6, INDEX_MAX = 4000 };

/* Small numbers meet; now and then a huge one. */
static uint64_t number(struct wire *w)
{
	unsigned byte = wire_u8(w);

	return byte < 0xf0 ? byte : byte < 0xf8 ? wire_u16(w) % INDEX_MAX : UINT64_MAX - byte;
}

static void append_make(struct wire *w, struct message *message, struct entry *entries[ENTRIES_MAX])
{
	struct message_append *append = &message->append;
	uint64_t term;

	append->prev_index = number(w) % INDEX_MAX;
	append->prev_term = number(w) & 0xff;
	append->commit = number(w);
	append->n = wire_u8(w) % (ENTRIES_MAX + 1);
	append->entries = entries;
	term = append->prev_term;
	for (unsigned i = 0; i < append->n; i++) {
		unsigned how = wire_u8(w);

		term += how >> 6;
		if (how % 8 == 1) {
			struct configuration c = {0};

			for (unsigned k = 1; k <= 1 + how % 7U; k++) {
				char site[8] = {'s', (char)('0' + k), 0};
				char address[16] = "127.0.0.1:700";
				int rc;

				address[13] = (char)('0' + k);
				rc = configuration_add(&c, k,
					(wire_u8(w) & 3) == 0 ? MEMBER_STANDBY : MEMBER_VOTER, site,
					address);
				assert(rc == 0);
			}
			entries[i] = rig_change(append->prev_index + 1 + i, term, &c);
		} else {
			entries[i] = how % 8 == 2 ? entry_new(append->prev_index + 1 + i, term,
							    ENTRY_BARRIER, 0)
						  : rig_command(append->prev_index + 1 + i, term);
		}
	}
}

static void message_make(struct wire *w, struct message *message, struct message_snapshot *snapshot,
	struct entry *entries[ENTRIES_MAX], const struct configuration *configuration)
{
	message->type = (enum message_type)(1 + wire_u8(w) % MESSAGE_TYPE_MAX);
	message->term = number(w);
	switch (message->type) {
	case MESSAGE_APPEND:
		append_make(w, message, entries);
		break;
	case MESSAGE_APPEND_RESULT:
		message->append_result.rejected = number(w);
		message->append_result.last_index = number(w);
		break;
	case MESSAGE_VOTE:
		message->vote.last_index = number(w);
		message->vote.last_term = number(w);
		message->vote.disrupt = (wire_u8(w) & 1) != 0;
		break;
	case MESSAGE_VOTE_RESULT:
		message->vote_result.granted = (wire_u8(w) & 3) != 0;
		break;
	case MESSAGE_SNAPSHOT:
		snapshot->index = number(w) % INDEX_MAX;
		snapshot->index_term = number(w);
		snapshot->configuration_index = number(w);
		snapshot->configuration = *configuration;
		snapshot->manifest = bytes_str("manifest");
		message->snapshot = snapshot;
		break;
	case MESSAGE_TIMEOUT_NOW:
		message->timeout_now.last_index = number(w);
		message->timeout_now.last_term = number(w);
		break;
	case MESSAGE_READ_ROUND:
	case MESSAGE_READ_INDEX:
		message->read_round.round = number(w);
		message->term = message->type == MESSAGE_READ_INDEX ? 0 : message->term;
		break;
	case MESSAGE_READ_ROUND_RESULT:
		message->read_round_result.round = number(w);
		message->read_round_result.confirmed = (wire_u8(w) & 1) != 0;
		break;
	case MESSAGE_READ_INDEX_RESULT:
		message->term = 0;
		message->read_index_result.request = number(w);
		message->read_index_result.index = number(w);
		break;
	default:
		message->type = MESSAGE_APPEND_RESULT;
	}
}

static void receive(struct driver_rig *rig, struct wire *w)
{
	struct entry *entries[ENTRIES_MAX] = {0};
	struct message_snapshot snapshot = {0};
	struct message message = {0};
	uint64_t peer = 2 + wire_u8(w) % 6U; /* 7: no member. */
	struct buf bytes = BUF_INIT;

	message_make(w, &message, &snapshot, entries, &rig->configuration);
	/* All but READ_INDEX and its answer have a term. */
	message.term += message.term == 0 && message.type != MESSAGE_READ_INDEX &&
					message.type != MESSAGE_READ_INDEX_RESULT
				? 1
				: 0;
	message_encode(&message, &bytes);
	for (unsigned i = 0; i < ENTRIES_MAX; i++) {
		if (entries[i] != NULL) {
			buf_append_bytes(&bytes, entry_bytes(entries[i]));
			entry_unref(entries[i]);
		}
	}
	/* Whatever it answers: the decoder may refuse it, too. */
	(void)driver_receive(rig->driver, peer, rig->connection, buf_bytes(&bytes));
	buf_release(&bytes);
}

static void give_read(struct driver_rig *rig)
{
	struct entry *entries[LOG_READ_ENTRIES_MAX];
	uint64_t token = rig->read_token;
	unsigned n = 0;

	rig->read_token = 0;
	while (n < rig->read_n && n < LOG_READ_ENTRIES_MAX &&
		rig->log[rig->read_first + n] != NULL) {
		entries[n] = entry_ref(rig->log[rig->read_first + n]);
		n++;
	}
	driver_read_done(rig->driver, token, n == 0 ? KLUIS_ENOTFOUND : 0, entries, n);
}

/* One member by one step, if the guards let it. */
static void change(struct driver_rig *rig, uint64_t id)
{
	struct configuration next;
	struct member *member;

	driver_configuration(rig->driver, &next);
	member = configuration_find(&next, id);
	if (member == NULL) {
		return;
	}
	member->role = member->role == MEMBER_VOTER ? MEMBER_STANDBY : MEMBER_VOTER;
	(void)(driver_change(rig->driver, &next, NULL) == 0);
}

static void request(struct driver_rig *rig, struct wire *w)
{
	switch (wire_u8(w) % 5) {
	case 0:
		(void)rig_submit(rig, 8);
		break;
	case 1:
		(void)(driver_read_index(rig->driver, number(w) + 1) == 0);
		break;
	case 2:
		(void)(driver_transfer(rig->driver, wire_u8(w) % 8U) == 0);
		break;
	case 3:
		change(rig, wire_u8(w) % 8U);
		break;
	default:
		(void)(driver_snapshot_taken(rig->driver, rig->applied) == 0);
	}
}

static void step(struct driver_rig *rig, struct wire *w)
{
	switch (wire_u8(w) % 9) {
	case 0:
		rig_tick(rig, wire_u8(w) * 16UL);
		break;
	case 1:
		rig_persist(rig);
		break;
	case 2:
		driver_applied(rig->driver, rig->applied, 0);
		break;
	case 3:
		if (rig->read_token != 0) {
			give_read(rig);
		}
		break;
	case 4:
		if (rig->fetches > 0) {
			rig->fetches = 0;
			driver_fetched(rig->driver, (wire_u8(w) & 1) != 0 ? 0 : KLUIS_EIO);
		} else if (rig->installs > 0) {
			rig->installs = 0;
			rig_persist(rig);
			driver_installed(rig->driver, 0);
		}
		break;
	case 5:
		request(rig, w);
		break;
	default:
		receive(rig, w);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rig_disk disks[] = {{.voters = 5, .term = 1, .last = 1, .applied = 1},
		{.voters = 5, .term = 5, .last = 10, .applied = 1},
		{.voters = 5, .term = 5, .snapshot = 20, .last = 30, .applied = 20},
		{.voters = 3, .term = 3, .last = 10, .applied = 10}};
	struct wire w = wire_of(bytes_of(data, size));
	struct driver_rig *rig;
	unsigned how = wire_u8(&w);
	uint64_t term = 0;

	if (size == 0) {
		return 0;
	}
	rig = rig_new(&disks[how % ARRAY_SIZE(disks)], DRIVER_GUARD_MAX, 0);
	if ((how & 0x80) != 0) {
		rig_lead(rig);
	}
	for (unsigned n = 0; n < OPERATIONS_MAX && w.left.len > 0 && rig->fatal == 0 &&
			     rig->log_last < INDEX_MAX;
		n++) {
		step(rig, &w);
		assert(rig->term >= term); /* A vote is never taken back. */
		term = rig->term;
		rig_forget(rig);
	}
	rig_free(rig);
	return 0;
}
