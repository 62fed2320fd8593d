/* The encoding of struct chat_state (docs/format-profile.md). */
#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/chat_state.h"

enum {
	STATE_VERSION = 3,
	STATE_VERSION_2 = 2, /* Without what put_origins() writes. */
	STATE_VERSION_1 = 1, /* Nor what put_numbers() does. */
	STATE_ARCHIVE = 1,   /* Flags of the state. */
	STATE_DRAFT = 2,
	EPOCH_SPENT = 1,  /* Flags of an epoch. */
	DEVICE_KNOWN = 1, /* Flags of a device. */
	STATE_EMPTY_BYTES = 4096,
	DEVICE_BYTES = 2 * ID_BYTES + 1 + HASH_BYTES + 8,
	ROW_BYTES = 8 + ID_BYTES + HASH_BYTES,
	TAKEN_BYTES = 8 + 2 * 4 + HASH_BYTES,
};

static void put_ratchet(struct buf *to, const struct ratchet *ratchet)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;

	ratchet_encode(ratchet, &encoded);
	buf_put_lp32(to, secret_bytes(&encoded));
}

static void put_epoch(struct buf *to, const struct chat_epoch *epoch)
{
	buf_put_u32(to, epoch->epoch);
	buf_append(to, epoch->members_hash, HASH_BYTES);
	buf_put_u64(to, epoch->made_ms);
	buf_put_u64(to, epoch->closed_ms);
	buf_put_u8(to, epoch->spent ? EPOCH_SPENT : 0);
	if (epoch->has_sender) {
		put_ratchet(to, &epoch->sender);
	} else {
		buf_put_u32(to, 0);
	}
	buf_put_u16(to, (unsigned)epoch->n_chains);
	for (size_t i = 0; i < epoch->n_chains; i++) {
		put_ratchet(to, &epoch->chains[i]);
	}
}

static void put_known(struct buf *to, const struct chat_state *s)
{
	buf_put_u16(to, (unsigned)s->n_devices);
	for (size_t i = 0; i < s->n_devices; i++) {
		const struct chat_device *d = &s->devices[i];

		buf_append(to, d->who.user_id, ID_BYTES);
		buf_append(to, d->who.device_id, ID_BYTES);
		buf_put_u8(to, d->link_known ? DEVICE_KNOWN : 0);
		buf_append(to, d->link, HASH_BYTES);
		buf_put_u64(to, d->seen_seq);
	}
	buf_put_u16(to, (unsigned)s->n_log);
	for (size_t i = 0; i < s->n_log; i++) {
		buf_put_u64(to, s->log[i].seq);
		buf_append(to, s->log[i].user_id, ID_BYTES);
		buf_append(to, s->log[i].link, HASH_BYTES);
	}
}

static void put_numbers(struct buf *to, const struct chat_state *s)
{
	buf_append(to, s->lineage, ID_BYTES);
	buf_put_u16(to, (unsigned)s->n_taken);
	for (size_t i = 0; i < s->n_taken; i++) {
		buf_put_u64(to, s->taken[i].seq);
		buf_put_u32(to, s->taken[i].epoch);
		buf_put_u32(to, s->taken[i].index);
		buf_append(to, s->taken[i].link, HASH_BYTES);
	}
}

/* A bit for each row, the lowest first: it came from the history. */
static void put_origins(struct buf *to, const struct chat_state *s)
{
	for (size_t i = 0; i < s->n_log; i += 8) {
		unsigned bits = 0;

		for (size_t j = 0; j < 8 && i + j < s->n_log; j++) {
			bits |= s->log[i + j].archived ? 1U << j : 0;
		}
		buf_put_u8(to, bits);
	}
}

static size_t encoded_most(const struct chat_state *s)
{
	size_t n = STATE_EMPTY_BYTES + s->pending.len + s->draft.len + s->n_devices * DEVICE_BYTES +
		   (s->n_log + s->n_taken) * ROW_BYTES;

	for (size_t i = 0; i < s->n_epochs; i++) {
		n += 256 + RATCHET_FIXED_BYTES;
		for (size_t j = 0; j < s->epochs[i].n_chains; j++) {
			n += RATCHET_FIXED_BYTES + 4 + s->epochs[i].chains[j].skipped.len;
		}
	}
	return n;
}

int chat_state_encode(const struct chat_state *s, struct secret *ret_encoded, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf to = BUF_INIT;

	buf_reserve(&to, encoded_most(s)); /* No growth: no copies of keys are left behind. */
	buf_put_u8(&to, STATE_VERSION);
	buf_put_u8(&to, (s->archive ? STATE_ARCHIVE : 0U) | (s->has_draft ? STATE_DRAFT : 0U));
	buf_append(&to, s->conv_id, ID_BYTES);
	buf_append(&to, s->own.user_id, ID_BYTES);
	buf_append(&to, s->own.device_id, ID_BYTES);
	buf_put_lp16(&to, bytes_str(s->title));
	buf_append(&to, s->vault_id, ID_BYTES);
	buf_put_u64(&to, s->delivered);
	buf_put_u64(&to, s->read);
	buf_put_u64(&to, s->view_from);
	buf_put_u64(&to, s->last_seq);
	buf_put_u64(&to, s->last_ms);
	buf_put_u32(&to, s->closed);
	buf_put_u64(&to, s->members_rev);
	buf_append(&to, s->own_link, HASH_BYTES);
	buf_put_lp32(&to, buf_bytes(&s->pending));
	buf_put_u16(&to, s->draft_type);
	buf_put_lp32(&to, secret_bytes(&s->draft));
	put_known(&to, s);
	buf_put_u8(&to, (unsigned)s->n_epochs);
	for (size_t i = 0; i < s->n_epochs; i++) {
		put_epoch(&to, &s->epochs[i]);
	}
	put_numbers(&to, s);
	put_origins(&to, s);
	if (to.len > CHAT_STATE_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "the conversation has too many devices");
	}
	secret_set(ret_encoded, buf_bytes(&to));
	return 0;
}

/* Of this conversation and epoch; of this device when it sends. */
static bool ratchet_fits(
	const struct ratchet *r, const struct chat_state *s, uint32_t epoch, bool sends)
{
	return r->sends == sends && r->place.epoch == epoch &&
	       memcmp(r->place.conv_id, s->conv_id, ID_BYTES) == 0 &&
	       (!sends || (memcmp(r->place.user_id, s->own.user_id, ID_BYTES) == 0 &&
				  memcmp(r->place.device_id, s->own.device_id, ID_BYTES) == 0));
}

static void take_ratchet(struct wire *w, const struct chat_state *s, uint32_t epoch, bool sends,
	struct bytes encoded, struct ratchet *to)
{
	struct ratchet r;

	if (!wire_ok(w) || ratchet_decode(encoded, &r, NULL) != 0) {
		wire_fail(w);
		return;
	}
	if (!ratchet_fits(&r, s, epoch, sends)) {
		ratchet_release(&r);
		wire_fail(w);
		return;
	}
	*to = r;
}

static void take_epoch(struct wire *w, struct chat_state *s, size_t *chains_left)
{
	struct chat_epoch *epoch = &s->epochs[s->n_epochs];
	struct bytes sender;
	unsigned flags;
	size_t n;

	epoch->epoch = wire_u32(w);
	wire_copy(w, epoch->members_hash, HASH_BYTES);
	epoch->made_ms = wire_u64(w);
	epoch->closed_ms = wire_u64(w);
	flags = wire_u8(w);
	epoch->spent = flags == EPOCH_SPENT;
	sender = wire_lp32(w, RATCHET_BYTES_MAX);
	n = wire_u16(w);
	s->n_epochs++; /* From here on it is released with the state. */
	if (!wire_ok(w) || flags > EPOCH_SPENT || n > *chains_left || epoch->epoch == 0 ||
		(s->n_epochs > 1 && epoch[-1].epoch >= epoch->epoch)) {
		wire_fail(w);
		return;
	}
	*chains_left -= n;
	epoch->chains = x_calloc(n + 1, sizeof *epoch->chains);
	if (sender.len > 0) {
		take_ratchet(w, s, epoch->epoch, true, sender, &epoch->sender);
		epoch->has_sender = wire_ok(w);
	}
	while (wire_ok(w) && epoch->n_chains < n) {
		struct bytes chain = wire_lp32(w, RATCHET_BYTES_MAX);

		take_ratchet(w, s, epoch->epoch, false, chain, &epoch->chains[epoch->n_chains]);
		epoch->n_chains += wire_ok(w);
	}
}

static void take_devices(struct wire *w, struct chat_state *s)
{
	size_t n = wire_u16(w);

	if (n > CHAT_WRITERS_MAX || n > w->left.len / DEVICE_BYTES) {
		wire_fail(w);
		return;
	}
	s->devices = x_calloc(n + 1, sizeof *s->devices);
	for (; s->n_devices < n && wire_ok(w); s->n_devices++) {
		struct chat_device *d = &s->devices[s->n_devices];
		unsigned flags;

		wire_copy(w, d->who.user_id, ID_BYTES);
		wire_copy(w, d->who.device_id, ID_BYTES);
		flags = wire_u8(w);
		d->link_known = flags == DEVICE_KNOWN;
		wire_copy(w, d->link, HASH_BYTES);
		d->seen_seq = wire_u64(w);
		if (flags > DEVICE_KNOWN) {
			wire_fail(w);
		}
	}
}

static void take_log(struct wire *w, struct chat_state *s)
{
	size_t n = wire_u16(w);

	if (n > CHAT_LOG_MAX || n > w->left.len / ROW_BYTES) {
		wire_fail(w);
		return;
	}
	s->log = x_calloc(n + 1, sizeof *s->log);
	for (; s->n_log < n && wire_ok(w); s->n_log++) {
		struct chat_shown *row = &s->log[s->n_log];

		row->seq = wire_u64(w);
		wire_copy(w, row->user_id, ID_BYTES);
		wire_copy(w, row->link, HASH_BYTES);
		if (row->seq == 0 || row->seq > s->last_seq ||
			(s->n_log > 0 && row[-1].seq >= row->seq)) {
			wire_fail(w);
		}
	}
}

static void take_numbers(struct wire *w, struct chat_state *s)
{
	size_t n;

	wire_copy(w, s->lineage, ID_BYTES);
	n = wire_u16(w);
	if (n > CHAT_TAKEN_MAX || n > w->left.len / TAKEN_BYTES) {
		wire_fail(w);
		return;
	}
	s->taken = x_calloc(n + 1, sizeof *s->taken);
	for (; s->n_taken < n && wire_ok(w); s->n_taken++) {
		struct chat_taken *taken = &s->taken[s->n_taken];

		taken->seq = wire_u64(w);
		taken->epoch = wire_u32(w);
		taken->index = wire_u32(w);
		wire_copy(w, taken->link, HASH_BYTES);
		if (taken->seq <= (s->n_taken > 0 ? taken[-1].seq : s->last_seq)) {
			wire_fail(w);
		}
	}
}

static void take_origins(struct wire *w, struct chat_state *s)
{
	for (size_t i = 0; i < s->n_log && wire_ok(w); i += 8) {
		unsigned bits = wire_u8(w);
		size_t n = s->n_log - i < 8 ? s->n_log - i : 8;

		for (size_t j = 0; j < n; j++) {
			s->log[i + j].archived = (bits >> j & 1) != 0;
		}
		if (bits >> n != 0) {
			wire_fail(w);
		}
	}
}

static void take_title(struct wire *w, struct chat_state *s)
{
	struct bytes title = wire_lp16(w, CHAT_TITLE_BYTES_MAX);

	if (title.len > 0 && !text_printable(title)) {
		wire_fail(w);
		return;
	}
	if (title.len > 0) {
		memcpy(s->title, title.data, title.len);
	}
}

/* Empty, or a message of this device. */
static void take_pending(struct wire *w, struct chat_state *s)
{
	struct bytes pending = wire_lp32(w, CHAT_MESSAGE_BYTES_MAX);
	struct chat_message message;

	if (!wire_ok(w) || pending.len == 0) {
		return;
	}
	if (chat_parse(pending, &message, NULL) != 0 ||
		memcmp(message.place.conv_id, s->conv_id, ID_BYTES) != 0 ||
		memcmp(message.place.user_id, s->own.user_id, ID_BYTES) != 0 ||
		memcmp(message.place.device_id, s->own.device_id, ID_BYTES) != 0) {
		wire_fail(w);
		return;
	}
	buf_append_bytes(&s->pending, pending);
}

/* A message is pending, or waits to be sealed again, or neither. */
static void take_draft(struct wire *w, struct chat_state *s)
{
	struct bytes draft;

	s->draft_type = wire_u16(w);
	draft = wire_lp32(w, CHAT_PAYLOAD_BYTES_MAX);
	if (!wire_ok(w) ||
		(s->has_draft ? s->pending.len > 0 : draft.len > 0 || s->draft_type > 0)) {
		wire_fail(w);
		return;
	}
	secret_set(&s->draft, draft);
}

static void take_fields(struct wire *w, struct chat_state *s)
{
	unsigned flags = wire_u8(w);

	if (flags > (STATE_ARCHIVE | STATE_DRAFT)) {
		wire_fail(w);
	}
	s->archive = (flags & STATE_ARCHIVE) != 0;
	s->has_draft = (flags & STATE_DRAFT) != 0;
	wire_copy(w, s->conv_id, ID_BYTES);
	wire_copy(w, s->own.user_id, ID_BYTES);
	wire_copy(w, s->own.device_id, ID_BYTES);
	take_title(w, s);
	wire_copy(w, s->vault_id, ID_BYTES);
	s->delivered = wire_u64(w);
	s->read = wire_u64(w);
	s->view_from = wire_u64(w);
	s->last_seq = wire_u64(w);
	s->last_ms = wire_u64(w);
	s->closed = wire_u32(w);
	s->members_rev = wire_u64(w);
	wire_copy(w, s->own_link, HASH_BYTES);
	take_pending(w, s);
	take_draft(w, s);
}

int chat_state_decode(struct bytes encoded, struct chat_state *ret, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct chat_state s = {.last_seq = 0};
	size_t chains_left = CHAT_CHAINS_MAX, n_epochs;
	unsigned version = wire_u8(&w);

	if (wire_ok(&w) && (version < STATE_VERSION_1 || version > STATE_VERSION)) {
		return err_set(e, KLUIS_EVERSION, "state of a conversation: version %u", version);
	}
	take_fields(&w, &s);
	if (wire_ok(&w)) {
		take_devices(&w, &s);
	}
	if (wire_ok(&w)) {
		take_log(&w, &s);
	}
	n_epochs = wire_u8(&w);
	if (n_epochs > CHAT_EPOCHS_MAX) {
		wire_fail(&w);
	}
	while (wire_ok(&w) && s.n_epochs < n_epochs) {
		take_epoch(&w, &s, &chains_left);
	}
	if (wire_ok(&w) && version >= STATE_VERSION_2) {
		take_numbers(&w, &s);
	}
	if (wire_ok(&w) && version >= STATE_VERSION) {
		take_origins(&w, &s);
	}
	if (!wire_end(&w)) {
		chat_state_release(&s);
		return err_set(e, KLUIS_ECORRUPT, "state of a conversation: malformed");
	}
	*ret = s;
	return 0;
}
