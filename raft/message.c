#include "raft/message.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum {
	MESSAGE_VERSION = 2,
	ENTRY_HEADER_BYTES = 8 + 1 + 4,
	PROPOSAL_HEADER_BYTES = 8 + 8 + 4,
};
/* Indexes and terms stay far from wrapping: nothing of ours ever gets there. */
#define INDEX_MAX (UINT64_MAX >> 2)

static const char *const message_names[] = {
	[MESSAGE_APPEND] = "append",
	[MESSAGE_APPEND_RESULT] = "append_result",
	[MESSAGE_VOTE] = "vote",
	[MESSAGE_VOTE_RESULT] = "vote_result",
	[MESSAGE_SNAPSHOT] = "snapshot",
	[MESSAGE_TIMEOUT_NOW] = "timeout_now",
	[MESSAGE_READ_ROUND] = "read_round",
	[MESSAGE_READ_ROUND_RESULT] = "read_round_result",
	[MESSAGE_READ_INDEX] = "read_index",
	[MESSAGE_READ_INDEX_RESULT] = "read_index_result",
	[MESSAGE_PROPOSE] = "propose",
	[MESSAGE_PROPOSE_RESULT] = "propose_result",
	[MESSAGE_SNAPSHOT_WANT] = "snapshot_want",
	[MESSAGE_SNAPSHOT_GIVE] = "snapshot_give",
};

const char *message_type_name(enum message_type type)
{
	assert(type >= MESSAGE_APPEND && type <= MESSAGE_TYPE_MAX);
	return message_names[type];
}

/* Types whose term is not the sender's term. */
static bool message_termless(enum message_type type)
{
	return type == MESSAGE_READ_INDEX || type == MESSAGE_READ_INDEX_RESULT;
}

/* --- encode: one function per type --- */

static void encode_marks(const struct message_marks *marks, struct buf *to)
{
	buf_put_u64(to, marks->sent);
	buf_put_u64(to, marks->echo);
}

static void encode_append(const struct message *message, struct buf *to)
{
	const struct message_append *append = &message->append;

	assert(append->n <= ENTRIES_PER_MESSAGE_MAX);
	buf_put_u64(to, append->prev_index);
	buf_put_u64(to, append->prev_term);
	buf_put_u64(to, append->commit);
	encode_marks(&append->marks, to);
	buf_put_u16(to, append->n);
	for (unsigned i = 0; i < append->n; i++) {
		buf_put_u64(to, append->entries[i]->term);
		buf_put_u8(to, append->entries[i]->type);
		buf_put_u32(to, append->entries[i]->len);
	}
}

static void encode_append_result(const struct message *message, struct buf *to)
{
	buf_put_u64(to, message->append_result.rejected);
	buf_put_u64(to, message->append_result.last_index);
	encode_marks(&message->append_result.marks, to);
}

static void encode_vote(const struct message *message, struct buf *to)
{
	buf_put_u64(to, message->vote.last_index);
	buf_put_u64(to, message->vote.last_term);
	buf_put_u8(to, message->vote.disrupt);
}

static void encode_vote_result(const struct message *message, struct buf *to)
{
	buf_put_u8(to, message->vote_result.granted);
}

static void encode_snapshot(const struct message *message, struct buf *to)
{
	const struct message_snapshot *snapshot = message->snapshot;
	_cleanup_(buf_release) struct buf configuration = BUF_INIT;

	assert(snapshot->manifest.len <= MANIFEST_BYTES_MAX);
	buf_put_u64(to, snapshot->index);
	buf_put_u64(to, snapshot->index_term);
	buf_put_u64(to, snapshot->configuration_index);
	configuration_encode(&snapshot->configuration, &configuration);
	buf_put_lp32(to, buf_bytes(&configuration));
	buf_put_lp32(to, snapshot->manifest);
}

static void encode_timeout_now(const struct message *message, struct buf *to)
{
	buf_put_u64(to, message->timeout_now.last_index);
	buf_put_u64(to, message->timeout_now.last_term);
}

static void encode_read_round(const struct message *message, struct buf *to)
{
	buf_put_u64(to, message->read_round.round);
}

static void encode_read_round_result(const struct message *message, struct buf *to)
{
	buf_put_u64(to, message->read_round_result.round);
	buf_put_u8(to, message->read_round_result.confirmed);
}

static void encode_read_index(const struct message *message, struct buf *to)
{
	buf_put_u64(to, message->read_index.request);
}

static void encode_read_index_result(const struct message *message, struct buf *to)
{
	assert(message->read_index_result.rc <= 0);
	buf_put_u64(to, message->read_index_result.request);
	buf_put_u8(to, (unsigned)-message->read_index_result.rc);
	buf_put_u64(to, message->read_index_result.index);
}

static void encode_propose(const struct message *message, struct buf *to)
{
	assert(message->propose.n > 0 && message->propose.n <= PROPOSALS_PER_MESSAGE_MAX);
	buf_put_u16(to, message->propose.n);
	for (unsigned i = 0; i < message->propose.n; i++) {
		const struct message_proposal *proposal = &message->propose.proposals[i];

		assert(proposal->command.len <= ENTRY_BYTES_MAX);
		buf_put_u64(to, proposal->boot);
		buf_put_u64(to, proposal->seq);
		buf_put_lp32(to, proposal->command);
	}
}

static void encode_propose_result(const struct message *message, struct buf *to)
{
	assert(message->propose_result.rc <= 0);
	buf_put_u64(to, message->propose_result.boot);
	buf_put_u64(to, message->propose_result.first_seq);
	buf_put_u64(to, message->propose_result.seq);
	buf_put_u8(to, (unsigned)-message->propose_result.rc);
}

static void encode_snapshot_want(const struct message *message, struct buf *to)
{
	buf_put_u64(to, message->snapshot_want.min_index);
}

/* --- decode: each returns NULL or the field that is wrong --- */

static uint64_t wire_index(struct wire *w)
{
	uint64_t value = wire_u64(w);

	if (value > INDEX_MAX) {
		wire_fail(w);
	}
	return value;
}

static bool wire_bool(struct wire *w)
{
	unsigned value = wire_u8(w);

	if (value > 1) {
		wire_fail(w);
	}
	return value == 1;
}

static int wire_rc(struct wire *w)
{
	unsigned value = wire_u8(w);

	if (value >= KLUIS_ERROR_MAX) {
		wire_fail(w);
		return KLUIS_EPROTO;
	}
	return -(int)value;
}

static struct message_marks wire_marks(struct wire *w)
{
	struct message_marks marks = {.sent = wire_u64(w)};

	marks.echo = wire_u64(w);
	return marks;
}

/* The headers of n entries at w, their data at data; fills append->entries[], counting in
 * append->n, so that a failure can release them. */
static const char *decode_entries(
	struct wire *w, unsigned n, uint64_t term, struct message_append *append)
{
	struct wire head = wire_of(wire_bytes(w, (size_t)n * ENTRY_HEADER_BYTES));
	uint64_t last_term = append->prev_term;

	append->entries = x_malloc(n * sizeof *append->entries);
	for (unsigned i = 0; i < n; i++) {
		uint64_t entry_term = wire_index(&head);
		unsigned type = wire_u8(&head);
		uint32_t len = wire_u32(&head);

		if (!wire_ok(&head) || entry_term < last_term || entry_term == 0 ||
			entry_term > term) {
			return "entry term";
		}
		if (!entry_type_valid(type) || len > ENTRY_BYTES_MAX) {
			return "entry type or length";
		}
		if (len > w->left.len) {
			return "entry data";
		}
		append->entries[i] = entry_copy(append->prev_index + 1 + i, entry_term,
			(enum entry_type)type, wire_bytes(w, len));
		append->n++;
		last_term = entry_term;
	}
	return NULL;
}

static const char *decode_append(struct wire *w, struct message *message)
{
	struct message_append *append = &message->append;
	unsigned n;

	append->prev_index = wire_index(w);
	append->prev_term = wire_index(w);
	append->commit = wire_index(w);
	append->marks = wire_marks(w);
	n = wire_u16(w);
	if (!wire_ok(w) || (append->prev_index == 0) != (append->prev_term == 0) ||
		append->prev_term > message->term) {
		return "previous entry";
	}
	if (n > ENTRIES_PER_MESSAGE_MAX || (size_t)n * ENTRY_HEADER_BYTES > w->left.len) {
		return "entry count";
	}
	return n == 0 ? NULL : decode_entries(w, n, message->term, append);
}

static const char *decode_append_result(struct wire *w, struct message *message)
{
	message->append_result.rejected = wire_index(w);
	message->append_result.last_index = wire_index(w);
	message->append_result.marks = wire_marks(w);
	return NULL;
}

static const char *decode_vote(struct wire *w, struct message *message)
{
	message->vote.last_index = wire_index(w);
	message->vote.last_term = wire_index(w);
	message->vote.disrupt = wire_bool(w);
	if ((message->vote.last_index == 0) != (message->vote.last_term == 0) ||
		message->vote.last_term > message->term) {
		return "last entry";
	}
	return NULL;
}

static const char *decode_vote_result(struct wire *w, struct message *message)
{
	message->vote_result.granted = wire_bool(w);
	return NULL;
}

static const char *decode_snapshot(struct wire *w, struct message *message)
{
	struct message_snapshot *snapshot = message->snapshot = x_calloc(1, sizeof *snapshot);
	struct bytes configuration;

	snapshot->index = wire_index(w);
	snapshot->index_term = wire_index(w);
	snapshot->configuration_index = wire_index(w);
	configuration = wire_lp32(w, UINT16_MAX);
	snapshot->manifest = wire_lp32(w, MANIFEST_BYTES_MAX);
	if (!wire_ok(w) || snapshot->index == 0 || snapshot->index_term == 0 ||
		snapshot->index_term > message->term || snapshot->configuration_index == 0 ||
		snapshot->configuration_index > snapshot->index) {
		return "snapshot index";
	}
	return configuration_decode(configuration, &snapshot->configuration, NULL) == 0
		       ? NULL
		       : "configuration";
}

static const char *decode_timeout_now(struct wire *w, struct message *message)
{
	message->timeout_now.last_index = wire_index(w);
	message->timeout_now.last_term = wire_index(w);
	return NULL;
}

static const char *decode_read_round(struct wire *w, struct message *message)
{
	message->read_round.round = wire_u64(w);
	return NULL;
}

static const char *decode_read_round_result(struct wire *w, struct message *message)
{
	message->read_round_result.round = wire_u64(w);
	message->read_round_result.confirmed = wire_bool(w);
	return NULL;
}

static const char *decode_read_index(struct wire *w, struct message *message)
{
	message->read_index.request = wire_u64(w);
	return NULL;
}

static const char *decode_read_index_result(struct wire *w, struct message *message)
{
	message->read_index_result.request = wire_u64(w);
	message->read_index_result.rc = wire_rc(w);
	message->read_index_result.index = wire_index(w);
	return NULL;
}

static const char *decode_propose(struct wire *w, struct message *message)
{
	unsigned n = wire_u16(w);

	if (!wire_ok(w) || n == 0 || n > PROPOSALS_PER_MESSAGE_MAX ||
		(size_t)n * PROPOSAL_HEADER_BYTES > w->left.len) {
		return "proposal count";
	}
	message->propose.proposals = x_malloc(n * sizeof *message->propose.proposals);
	for (unsigned i = 0; i < n; i++) {
		struct message_proposal *proposal = &message->propose.proposals[i];

		proposal->boot = wire_u64(w);
		proposal->seq = wire_u64(w);
		proposal->command = wire_lp32(w, ENTRY_BYTES_MAX);
	}
	message->propose.n = n;
	return NULL;
}

static const char *decode_propose_result(struct wire *w, struct message *message)
{
	message->propose_result.boot = wire_u64(w);
	message->propose_result.first_seq = wire_u64(w);
	message->propose_result.seq = wire_u64(w);
	message->propose_result.rc = wire_rc(w);
	return message->propose_result.first_seq <= message->propose_result.seq ? NULL : "sequence";
}

static const char *decode_snapshot_want(struct wire *w, struct message *message)
{
	message->snapshot_want.min_index = wire_index(w);
	return NULL;
}

static const struct message_codec {
	void (*encode)(const struct message *message, struct buf *to);
	const char *(*decode)(struct wire *w, struct message *message);
} message_codecs[] = {
	[MESSAGE_APPEND] = {encode_append, decode_append},
	[MESSAGE_APPEND_RESULT] = {encode_append_result, decode_append_result},
	[MESSAGE_VOTE] = {encode_vote, decode_vote},
	[MESSAGE_VOTE_RESULT] = {encode_vote_result, decode_vote_result},
	[MESSAGE_SNAPSHOT] = {encode_snapshot, decode_snapshot},
	[MESSAGE_TIMEOUT_NOW] = {encode_timeout_now, decode_timeout_now},
	[MESSAGE_READ_ROUND] = {encode_read_round, decode_read_round},
	[MESSAGE_READ_ROUND_RESULT] = {encode_read_round_result, decode_read_round_result},
	[MESSAGE_READ_INDEX] = {encode_read_index, decode_read_index},
	[MESSAGE_READ_INDEX_RESULT] = {encode_read_index_result, decode_read_index_result},
	[MESSAGE_PROPOSE] = {encode_propose, decode_propose},
	[MESSAGE_PROPOSE_RESULT] = {encode_propose_result, decode_propose_result},
	[MESSAGE_SNAPSHOT_WANT] = {encode_snapshot_want, decode_snapshot_want},
	[MESSAGE_SNAPSHOT_GIVE] = {encode_snapshot, decode_snapshot},
};

void message_encode(const struct message *message, struct buf *header)
{
	assert(message->type >= MESSAGE_APPEND && message->type <= MESSAGE_TYPE_MAX);
	assert(message_termless(message->type) == (message->term == 0));
	buf_put_u8(header, MESSAGE_VERSION);
	buf_put_u8(header, (unsigned)message->type);
	buf_put_u64(header, message->term);
	message_codecs[message->type].encode(message, header);
}

int message_decode(struct bytes bytes, struct message *ret_message, struct err *e)
{
	struct wire w = wire_of(bytes);
	unsigned version = wire_u8(&w), type = wire_u8(&w);
	struct message message = {.term = wire_index(&w)};
	const char *wrong;

	if (wire_ok(&w) && version != MESSAGE_VERSION) {
		return err_set(e, KLUIS_EVERSION, "message: version %u", version);
	}
	if (!wire_ok(&w) || type < MESSAGE_APPEND || type > MESSAGE_TYPE_MAX) {
		return err_set(e, KLUIS_EPROTO, "message: type %u, %zu bytes", type, bytes.len);
	}
	message.type = (enum message_type)type;
	if (message_termless(message.type) != (message.term == 0)) {
		return err_set(e, KLUIS_EPROTO, "message '%s': term", message_names[type]);
	}
	wrong = message_codecs[type].decode(&w, &message);
	if (wrong == NULL && !wire_end(&w)) {
		wrong = "length";
	}
	if (wrong != NULL) {
		message_release(&message);
		return err_set(e, KLUIS_EPROTO, "message '%s': %s", message_names[type], wrong);
	}
	*ret_message = message;
	return 0;
}

void message_release(struct message *message)
{
	switch (message->type) {
	case MESSAGE_APPEND:
		for (unsigned i = 0; i < message->append.n; i++) {
			entry_unref(message->append.entries[i]);
		}
		free(message->append.entries);
		message->append.entries = NULL;
		message->append.n = 0;
		break;
	case MESSAGE_SNAPSHOT:
	case MESSAGE_SNAPSHOT_GIVE:
		free(message->snapshot);
		message->snapshot = NULL;
		break;
	case MESSAGE_PROPOSE:
		free(message->propose.proposals);
		message->propose.proposals = NULL;
		break;
	default:
		break;
	}
}
