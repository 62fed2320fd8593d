#include "cli/client/chat_state.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

void chat_state_init(struct chat_state *s, const uint8_t conv_id[ID_BYTES],
	const uint8_t user_id[ID_BYTES], const uint8_t device_id[ID_BYTES])
{
	*s = (struct chat_state){.archive = true};
	memcpy(s->conv_id, conv_id, ID_BYTES);
	memcpy(s->own.user_id, user_id, ID_BYTES);
	memcpy(s->own.device_id, device_id, ID_BYTES);
}

void chat_epoch_release(struct chat_epoch *epoch)
{
	for (size_t i = 0; i < epoch->n_chains; i++) {
		ratchet_release(&epoch->chains[i]);
	}
	free(epoch->chains);
	ratchet_release(&epoch->sender);
	*epoch = (struct chat_epoch){.epoch = 0};
}

void chat_state_release(struct chat_state *s)
{
	for (size_t i = 0; i < s->n_epochs; i++) {
		chat_epoch_release(&s->epochs[i]);
	}
	free(s->devices);
	free(s->log);
	free(s->taken);
	buf_release(&s->pending);
	secret_release(&s->draft);
	*s = (struct chat_state){.last_seq = 0};
}

static bool writer_equal(const struct chat_writer *a, const struct chat_writer *b)
{
	return memcmp(a->user_id, b->user_id, ID_BYTES) == 0 &&
	       memcmp(a->device_id, b->device_id, ID_BYTES) == 0;
}

static struct chat_writer writer_of(const struct chat_place *place)
{
	struct chat_writer who;

	memcpy(who.user_id, place->user_id, ID_BYTES);
	memcpy(who.device_id, place->device_id, ID_BYTES);
	return who;
}

static struct chat_epoch *state_epoch(const struct chat_state *s, uint32_t epoch)
{
	for (size_t i = 0; i < s->n_epochs; i++) {
		if (s->epochs[i].epoch == epoch) {
			return (struct chat_epoch *)&s->epochs[i];
		}
	}
	return NULL;
}

bool chat_state_holds(const struct chat_state *s, uint32_t epoch)
{
	return state_epoch(s, epoch) != NULL;
}

bool chat_state_awaits(const struct chat_state *s, uint32_t epoch)
{
	return epoch > s->closed && !chat_state_holds(s, epoch);
}

static struct ratchet *epoch_chain(const struct chat_epoch *epoch, const struct chat_writer *who)
{
	for (size_t i = 0; i < epoch->n_chains; i++) {
		struct chat_writer there = writer_of(&epoch->chains[i].place);

		if (writer_equal(&there, who)) {
			return &epoch->chains[i];
		}
	}
	return NULL;
}

static void state_drop_epoch(struct chat_state *s, size_t i)
{
	assert(i < s->n_epochs);
	chat_epoch_release(&s->epochs[i]);
	memmove(&s->epochs[i], &s->epochs[i + 1], (s->n_epochs - i - 1) * sizeof *s->epochs);
	s->n_epochs--;
	s->epochs[s->n_epochs] = (struct chat_epoch){.epoch = 0};
}

/* Room for another epoch: what is closed only waits for messages that come late, and of an epoch
 * that ended thirty days ago nothing is kept anywhere. */
static void state_make_room(struct chat_state *s, uint64_t now_ms)
{
	while (s->n_epochs > 1 && now_ms > s->epochs[1].made_ms &&
		now_ms - s->epochs[1].made_ms > CHAT_TRANSIT_MS + CHAT_EPOCH_MS) {
		state_drop_epoch(s, 0);
	}
	if (s->n_epochs == CHAT_EPOCHS_MAX && s->epochs[0].closed_ms != 0) {
		state_drop_epoch(s, 0);
	}
}

static size_t state_chains(const struct chat_state *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_epochs; i++) {
		n += s->epochs[i].n_chains;
	}
	return n;
}

static int enter_check(const struct chat_state *s, const struct chat_entry *entry, struct err *e)
{
	uint32_t epoch = entry->key->epoch;
	bool own = false;

	for (size_t i = 0; i < entry->n && !own; i++) {
		own = writer_equal(&entry->writers[i], &s->own);
	}
	if (!own) {
		return err_set(e, KLUIS_EVERIFY, "epoch %" PRIu32 " is not for this device", epoch);
	}
	if (!chat_state_awaits(s, epoch)) {
		return err_set(e, KLUIS_EVERIFY, "epoch %" PRIu32 " was here before", epoch);
	}
	/* An older list of members, with an old secret, would let somebody back in. */
	for (size_t i = 0; i < s->n_epochs; i++) {
		if (s->epochs[i].epoch > epoch) {
			return 0; /* One between, to be read alone. */
		}
	}
	return entry->members_rev >= s->members_rev
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "epoch %" PRIu32 " is of older members than the one before",
				 epoch);
}

static void enter_chain(const struct chat_state *s, const struct chat_entry *entry, size_t i,
	struct ratchet *ret_chain)
{
	struct chat_place place = {.epoch = entry->key->epoch};

	memcpy(place.conv_id, s->conv_id, ID_BYTES);
	memcpy(place.user_id, entry->writers[i].user_id, ID_BYTES);
	memcpy(place.device_id, entry->writers[i].device_id, ID_BYTES);
	ratchet_init(ret_chain, false, &place, secret_bytes(&entry->key->secret), NULL);
}

/* Each device once. */
static void enter_chains(
	const struct chat_state *s, const struct chat_entry *entry, struct chat_epoch *epoch)
{
	epoch->chains = x_calloc(entry->n, sizeof *epoch->chains);
	for (size_t i = 0; i < entry->n; i++) {
		if (epoch_chain(epoch, &entry->writers[i]) == NULL) {
			enter_chain(s, entry, i, &epoch->chains[epoch->n_chains++]);
		}
	}
	ratchet_init(&epoch->sender, true, &epoch_chain(epoch, &s->own)->place,
		secret_bytes(&entry->key->secret), s->own_link);
	epoch->has_sender = true;
}

int chat_state_enter(struct chat_state *s, const struct chat_entry *entry, struct err *e)
{
	struct chat_epoch epoch = {.epoch = entry->key->epoch, .made_ms = entry->made_ms};
	size_t at = 0;
	int rc = enter_check(s, entry, e);

	if (rc != 0) {
		return rc;
	}
	state_make_room(s, entry->made_ms);
	if (s->n_epochs == CHAT_EPOCHS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE,
			"more than %d epochs with unread messages: read them first",
			CHAT_EPOCHS_MAX);
	}
	if (entry->n > CHAT_CHAINS_MAX - state_chains(s)) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d devices in a conversation",
			CHAT_CHAINS_MAX);
	}
	memcpy(epoch.members_hash, entry->key->members_hash, HASH_BYTES);
	enter_chains(s, entry, &epoch);
	while (at < s->n_epochs && s->epochs[at].epoch < epoch.epoch) {
		at++;
	}
	memmove(&s->epochs[at + 1], &s->epochs[at], (s->n_epochs - at) * sizeof *s->epochs);
	s->epochs[at] = epoch;
	s->n_epochs++;
	if (entry->members_rev > s->members_rev) {
		s->members_rev = entry->members_rev;
	}
	return 0;
}

const struct chat_epoch *chat_state_current(const struct chat_state *s)
{
	return s->n_epochs == 0 ? NULL : &s->epochs[s->n_epochs - 1];
}

static int state_seal(struct chat_state *s, unsigned sym, unsigned type, struct bytes payload,
	const struct key *device, struct err *e)
{
	struct chat_epoch *epoch = (struct chat_epoch *)chat_state_current(s);
	struct chat_spec spec = {.sym = (uint8_t)sym, .type = (uint16_t)type, .payload = payload};

	assert(s->pending.len == 0 && type <= UINT16_MAX);
	if (epoch == NULL || epoch->spent || !epoch->has_sender) {
		return err_set(e, KLUIS_ECONFLICT, "there is no epoch to write in");
	}
	if (s->n_log > 0) {
		memcpy(spec.seen, s->log[s->n_log - 1].link, HASH_BYTES);
	}
	/* What was sealed and refused is none of its messages. */
	memcpy(epoch->sender.link, s->own_link, HASH_BYTES);
	return ratchet_seal(&epoch->sender, &spec, device, &s->pending, e);
}

int chat_state_seal(struct chat_state *s, unsigned sym, unsigned type, struct bytes payload,
	const struct key *device, struct err *e)
{
	assert(!s->has_draft);
	return state_seal(s, sym, type, payload, device, e);
}

static bool pending_parse(const struct chat_state *s, struct chat_message *ret_message)
{
	return s->pending.len > 0 && chat_parse(buf_bytes(&s->pending), ret_message, NULL) == 0;
}

static struct chat_taken state_sent(struct chat_state *s, uint64_t seq)
{
	struct chat_taken taken = {.seq = seq};
	struct chat_message message;
	bool parsed = pending_parse(s, &message);

	assert(parsed); /* We made it, and a state that was read was checked. */
	taken.epoch = message.place.epoch;
	taken.index = message.index;
	memcpy(taken.link, message.link, HASH_BYTES);
	memcpy(s->own_link, message.link, HASH_BYTES);
	buf_release(&s->pending);
	return taken;
}

/* The key of an index that the chain has not come to, without moving it. */
static bool chain_peek(const struct ratchet *chain, uint32_t index, uint8_t ret_key[CHAT_KEY_BYTES])
{
	_cleanup_(secret_release) struct secret walk = SECRET_INIT;

	if (index < chain->next || index - chain->next > RATCHET_SKIPPED_MAX) {
		return false;
	}
	secret_set(&walk, secret_bytes(&chain->chain));
	for (uint32_t i = chain->next; i <= index; i++) {
		chat_step(&walk, ret_key);
	}
	return true;
}

int chat_state_unseal(struct chat_state *s, struct err *e)
{
	struct chat_message message;
	bool parsed = pending_parse(s, &message);
	struct chat_epoch *epoch = parsed ? state_epoch(s, message.place.epoch) : NULL;
	const struct ratchet *chain = epoch == NULL ? NULL : epoch_chain(epoch, &s->own);
	uint8_t key[CHAT_KEY_BYTES];
	int rc;

	assert(parsed && !s->has_draft);
	if (chain == NULL || !chain_peek(chain, message.index, key)) {
		return err_set(e, KLUIS_ENOTFOUND, "the keys of the unsent message are gone");
	}
	rc = chat_open(key, &message, &s->draft_type, &s->draft, e);
	secret_clear(key, sizeof key);
	if (rc != 0) {
		return rc;
	}
	s->has_draft = true;
	epoch->spent = true;
	buf_release(&s->pending);
	return 0;
}

void chat_state_drop_pending(struct chat_state *s)
{
	buf_release(&s->pending);
}

int chat_state_seal_draft(
	struct chat_state *s, unsigned sym, const struct key *device, struct err *e)
{
	int rc;

	assert(s->has_draft);
	rc = state_seal(s, sym, s->draft_type, secret_bytes(&s->draft), device, e);
	if (rc == 0) {
		secret_release(&s->draft);
		s->has_draft = false;
		s->draft_type = 0;
	}
	return rc;
}

/* NULL when there are too many. A conversation that was seen from its beginning knows that a device
 * which never wrote has no message before. */
static struct chat_device *state_device(struct chat_state *s, const struct chat_writer *who)
{
	for (size_t i = 0; i < s->n_devices; i++) {
		if (writer_equal(&s->devices[i].who, who)) {
			return &s->devices[i];
		}
	}
	if (s->n_devices == CHAT_WRITERS_MAX) {
		return NULL;
	}
	s->devices = x_realloc(s->devices, (s->n_devices + 1) * sizeof *s->devices);
	s->devices[s->n_devices] =
		(struct chat_device){.who = *who, .link_known = s->view_from == 1};
	return &s->devices[s->n_devices++];
}

/* Nothing that was said since this user came back was opened yet. */
static bool state_is_out(const struct chat_state *s)
{
	return (uint64_t)s->closed + 1 < s->back;
}

/* All that was shown so far is from before this device came: it was not sent to it. */
static bool state_is_before(const struct chat_state *s)
{
	return s->history && s->closed == 0 && !chat_state_holds(s, 1);
}

static void taken_drop_first(struct chat_state *s)
{
	assert(s->n_taken > 0);
	s->n_taken--;
	memmove(s->taken, s->taken + 1, s->n_taken * sizeof *s->taken);
}

/* What was not read back is not opened any more: nor by who takes the state. */
static void taken_erase_key(struct chat_state *s, const struct chat_taken *taken)
{
	struct chat_epoch *epoch = state_epoch(s, taken->epoch);
	struct ratchet *chain = epoch == NULL ? NULL : epoch_chain(epoch, &s->own);
	uint8_t key[CHAT_KEY_BYTES];

	if (chain != NULL && chain->next == taken->index) {
		chat_step(&chain->chain, key);
		secret_clear(key, sizeof key);
		chain->next++;
	}
}

/* The oldest own message that was not read back: it counts as shown when nothing else is missing
 * before it, for then the cluster counts it as had by this device. */
static void taken_settle(struct chat_state *s)
{
	const struct chat_taken taken = s->taken[0];
	struct chat_shown row = {.seq = taken.seq};
	struct chat_device *own;

	taken_drop_first(s);
	if (taken.seq != s->last_seq + 1) {
		return;
	}
	own = state_device(s, &s->own);
	if (own != NULL) {
		memcpy(own->link, taken.link, HASH_BYTES);
		own->link_known = true;
	}
	s->view_from = s->last_seq == 0 ? taken.seq : s->view_from;
	s->last_seq = taken.seq;
	memcpy(row.user_id, s->own.user_id, ID_BYTES);
	memcpy(row.link, taken.link, HASH_BYTES);
	chat_state_log(s, &row);
	taken_erase_key(s, &taken);
}

void chat_state_sent(struct chat_state *s, uint64_t seq)
{
	const struct chat_taken taken = state_sent(s, seq);

	if (seq <= chat_state_newest(s)) {
		return; /* An answer that was lost, and it was read back since; or a lie. */
	}
	if (s->n_taken == CHAT_TAKEN_MAX) {
		taken_settle(s);
	}
	s->taken = x_realloc(s->taken, (s->n_taken + 1) * sizeof *s->taken);
	s->taken[s->n_taken++] = taken;
}

/* What was taken of this device before number seq, and whether the cluster gave that to another
 * message of it. */
static void receive_taken(struct chat_state *s, uint64_t seq, const struct chat_message *message,
	struct chat_received *ret)
{
	while (s->n_taken > 0 && s->taken[0].seq < seq) {
		taken_settle(s);
	}
	if (s->n_taken > 0 && s->taken[0].seq == seq) {
		if (memcmp(s->taken[0].link, message->link, HASH_BYTES) != 0) {
			ret->problems |= CHAT_REPLACED;
		}
		taken_drop_first(s);
	}
}

/* By the time that the node says, unless those that members signed know better: an epoch is written
 * in for seven days. */
static bool gap_is_old(const struct chat_state *s, uint64_t time_ms, uint32_t epoch)
{
	const struct chat_epoch *last = state_epoch(s, s->closed + 1), *now = state_epoch(s, epoch);

	return time_ms >= s->last_ms && time_ms - s->last_ms >= CHAT_TRANSIT_MS &&
	       (last == NULL || now == NULL ||
		       now->made_ms + CHAT_EPOCH_MS >= last->made_ms + CHAT_TRANSIT_MS);
}

/* What was not shown may hold messages of anybody: nothing before it says what follows. */
static void receive_gap(struct chat_state *s, uint64_t seq, uint64_t time_ms, uint32_t epoch,
	struct chat_received *ret)
{
	if (s->last_seq == 0) {
		s->view_from = seq;
		return;
	}
	if (seq == s->last_seq + 1) {
		return;
	}
	ret->missing = seq - s->last_seq - 1;
	if (!state_is_out(s) && !state_is_before(s) && !gap_is_old(s, time_ms, epoch)) {
		ret->problems |= CHAT_GAP;
	}
	s->view_from = seq;
	for (size_t i = 0; i < s->n_devices; i++) {
		s->devices[i].link_known = false;
	}
}

static void device_wrote(struct chat_device *device, const struct chat_message *message)
{
	memcpy(device->link, message->link, HASH_BYTES);
	device->link_known = true;
}

static void receive_order(
	struct chat_device *device, const struct chat_message *message, struct chat_received *ret)
{
	if (device->link_known && memcmp(device->link, message->prev_own, HASH_BYTES) != 0) {
		ret->problems |= CHAT_ORDER;
	}
	device_wrote(device, message);
}

static bool link_is_zero(const uint8_t link[HASH_BYTES])
{
	static const uint8_t zero[HASH_BYTES];

	return memcmp(link, zero, HASH_BYTES) == 0;
}

/* What a device has seen only grows, and is among what was shown here as soon as it lies where
 * nothing is missing. */
static void receive_seen(const struct chat_state *s, struct chat_device *device,
	const struct chat_message *message, struct chat_received *ret)
{
	uint64_t least = device->seen_seq == 0 ? 1 : device->seen_seq;
	uint64_t known_from =
		s->n_log > 0 && s->log[0].seq > s->view_from ? s->log[0].seq : s->view_from;
	const struct chat_shown *row = chat_state_find(s, message->seen);

	if (row != NULL && row->seq >= device->seen_seq) {
		device->seen_seq = row->seq;
	} else if (row != NULL ||
		   (link_is_zero(message->seen) ? device->seen_seq > 0 : least >= known_from)) {
		ret->problems |= CHAT_FORK;
	}
}

/* It will never be taken, as what is shown tells. */
static void state_refused(struct chat_state *s)
{
	struct err ignored = {0};

	if (chat_state_unseal(s, &ignored) != 0) {
		return; /* It stays, and the cluster says so when it is sent again. */
	}
}

/* This device's own, read back: what it was not known to be taken it is now. */
static void receive_own(
	struct chat_state *s, const struct chat_message *message, struct chat_received *ret)
{
	struct chat_epoch *epoch = state_epoch(s, message->place.epoch);
	struct chat_message pending;

	if (pending_parse(s, &pending) && memcmp(pending.link, message->link, HASH_BYTES) == 0) {
		(void)state_sent(s, 0); /* It is being read back: nothing to remember. */
		return;
	}
	/* Whoever else sends as this device goes on from the same index. */
	if (epoch != NULL && epoch->has_sender &&
		(message->index >= epoch->sender.next ||
			(s->pending.len > 0 && chat_place_equal(&pending.place, &message->place) &&
				pending.index == message->index))) {
		ret->problems |= CHAT_COPY;
		epoch->spent = true;
		memcpy(s->own_link, message->link, HASH_BYTES);
		if (s->pending.len > 0) {
			state_refused(s);
		}
	}
}

static size_t state_late_keys(const struct chat_state *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_epochs; i++) {
		for (size_t j = 0; j < s->epochs[i].n_chains; j++) {
			n += ratchet_skipped(&s->epochs[i].chains[j]);
		}
	}
	return n;
}

/* Whether a message of that epoch, which does not open, was for this device: not before the first
 * one that it was given, nor while its user was out. */
static bool state_should_open(const struct chat_state *s, uint32_t epoch)
{
	if (state_epoch(s, epoch) != NULL) {
		return true;
	}
	if (epoch > s->closed && epoch < s->back) {
		return false;
	}
	return s->closed > 0 || (s->n_epochs > 0 && epoch > s->epochs[0].epoch);
}

/* With the key that the archive has of it. */
static bool open_archived(
	const struct chat_message *message, const uint8_t *key, struct chat_received *ret)
{
	if (key == NULL || chat_open(key, message, &ret->type, &ret->payload, NULL) != 0) {
		return false;
	}
	memcpy(ret->key, key, CHAT_KEY_BYTES);
	ret->opened = true;
	ret->archived = true;
	return true;
}

static void receive_open(struct chat_state *s, const struct chat_message *message,
	const struct key_pub *device, const uint8_t *key, struct chat_received *ret)
{
	struct chat_writer who = writer_of(&message->place);
	struct chat_epoch *epoch = state_epoch(s, message->place.epoch);
	struct ratchet *chain = epoch == NULL ? NULL : epoch_chain(epoch, &who);
	struct ratchet_opened opened;

	if (chain != NULL && message->index > chain->next &&
		state_late_keys(s) + (message->index - chain->next) > CHAT_LATE_KEYS_MAX) {
		chain = NULL;
	}
	if (chain != NULL && ratchet_open(chain, message, device, &opened, NULL) == 0) {
		ret->opened = true;
		ret->type = opened.type;
		ret->payload = opened.payload;
		memcpy(ret->key, opened.key, CHAT_KEY_BYTES);
		secret_clear(opened.key, sizeof opened.key);
	} else if (!open_archived(message, key, ret) &&
		   state_should_open(s, message->place.epoch)) {
		ret->problems |= CHAT_CLOSED;
	}
}

/* Whether a closed epoch's chain has a use: for messages that come late. */
static bool close_keeps(const struct chat_epoch *old, const struct ratchet *chain, uint64_t time_ms)
{
	return ratchet_skipped(chain) > 0 &&
	       (time_ms < old->closed_ms || time_ms - old->closed_ms < CHAT_TRANSIT_MS);
}

static void close_epoch(struct chat_epoch *old, uint64_t time_ms)
{
	size_t kept = 0;

	if (old->closed_ms == 0) {
		old->closed_ms = time_ms == 0 ? 1 : time_ms;
	}
	ratchet_release(&old->sender);
	old->has_sender = false;
	for (size_t i = 0; i < old->n_chains; i++) {
		if (close_keeps(old, &old->chains[i], time_ms)) {
			old->chains[kept++] = old->chains[i];
		} else {
			ratchet_release(&old->chains[i]);
		}
	}
	old->n_chains = kept;
}

/* With the first message of an epoch go the keys of those before. */
static void state_close(struct chat_state *s, uint32_t epoch, uint64_t time_ms)
{
	struct chat_message pending;
	size_t i = 0;

	assert(epoch > 0);
	/* Had it been taken it would have been shown by now. */
	if (pending_parse(s, &pending) && pending.place.epoch < epoch && !s->has_draft) {
		state_refused(s);
	}
	while (i < s->n_epochs && s->epochs[i].epoch < epoch) {
		close_epoch(&s->epochs[i], time_ms);
		if (s->epochs[i].n_chains == 0) {
			state_drop_epoch(s, i);
		} else {
			i++;
		}
	}
	s->closed = epoch - 1 > s->closed ? epoch - 1 : s->closed;
}

/* A number below the last one: only where it is missing. */
static int late_check(const struct chat_state *s, uint64_t seq, struct err *e)
{
	if (seq == 0 || chat_state_row(s, seq) != NULL || s->n_log == 0 || seq < s->log[0].seq) {
		return err_set(e, KLUIS_EVERIFY,
			"the cluster shows a message as number %" PRIu64 " for a second time", seq);
	}
	return 0;
}

static void receive_log(struct chat_state *s, uint64_t seq, const struct chat_message *message)
{
	struct chat_shown row = {.seq = seq, .archived = s->from_history};

	memcpy(row.user_id, message->place.user_id, ID_BYTES);
	memcpy(row.link, message->link, HASH_BYTES);
	chat_state_log(s, &row);
}

static void receive_late(struct chat_state *s, uint64_t seq, const struct chat_message *message,
	const struct key_pub *device, const uint8_t *key, struct chat_received *ret)
{
	ret->late = true;
	receive_open(s, message, device, key, ret);
	receive_log(s, seq, message);
}

/* Who has an epoch's keys has them from its first message on; the first epoch begins with number
 * 1. */
static void receive_passed(const struct chat_state *s, uint64_t seq,
	const struct chat_message *message, struct chat_received *ret)
{
	struct chat_writer who = writer_of(&message->place);
	const struct chat_epoch *epoch = state_epoch(s, message->place.epoch);
	const struct ratchet *chain = epoch == NULL ? NULL : epoch_chain(epoch, &who);
	const struct chat_device *known = NULL;

	for (size_t i = 0; i < s->n_devices && known == NULL; i++) {
		known = writer_equal(&s->devices[i].who, &who) ? &s->devices[i] : NULL;
	}
	if (chain == NULL || writer_equal(&who, &s->own) || state_is_out(s)) {
		return;
	}
	if (s->last_seq == 0 && message->place.epoch == 1) {
		ret->passed = seq - 1;
	} else if ((known == NULL || !known->link_known || state_is_before(s)) &&
		   message->index > chain->next) {
		ret->passed = message->index - chain->next;
	}
	ret->passed_ms = epoch->made_ms;
}

static void receive_count(
	struct chat_state *s, uint64_t seq, uint64_t time_ms, const struct chat_message *message)
{
	receive_log(s, seq, message);
	s->last_seq = seq;
	s->last_ms = time_ms;
}

static void receive_next(struct chat_state *s, uint64_t seq, uint64_t time_ms,
	const struct chat_message *message, const struct key_pub *device, const uint8_t *key,
	struct chat_received *ret)
{
	struct chat_writer who = writer_of(&message->place);
	struct chat_device *known;

	receive_taken(s, seq, message, ret);
	receive_passed(s, seq, message, ret);
	receive_gap(s, seq, time_ms, message->place.epoch, ret);
	known = state_device(s, &who);
	if (known != NULL) {
		receive_order(known, message, ret);
		receive_seen(s, known, message, ret);
	}
	if (writer_equal(&who, &s->own)) {
		receive_own(s, message, ret);
	}
	receive_open(s, message, device, key, ret);
	/* A message that does not open ends nothing: anybody could write one. */
	if (ret->opened && !ret->archived) {
		state_close(s, message->place.epoch, time_ms);
	}
	receive_count(s, seq, time_ms, message);
}

/* Whether the history had it where it is not: nobody signs numbers, so a member who archives puts a
 * message where he likes. What was shown live is not shown once more. */
static bool row_is_misplaced(const struct chat_state *s, const struct chat_shown *row, uint64_t seq)
{
	return row->archived && !s->from_history && seq > s->last_seq;
}

/* Nothing of it but its number, which its writer's next message and those who saw it go on from. */
static void receive_repeated(struct chat_state *s, uint64_t seq, uint64_t time_ms,
	const struct chat_message *message, struct chat_received *ret)
{
	struct chat_writer who = writer_of(&message->place);
	struct chat_device *known;

	ret->problems |= CHAT_REPEATED;
	receive_taken(s, seq, message, ret);
	receive_gap(s, seq, time_ms, message->place.epoch, ret);
	known = state_device(s, &who);
	if (known != NULL) {
		device_wrote(known, message);
	}
	receive_count(s, seq, time_ms, message);
}

int chat_state_receive(struct chat_state *s, uint64_t seq, uint64_t time_ms,
	const struct chat_message *message, const struct key_pub *device,
	const uint8_t key[CHAT_KEY_BYTES], struct chat_received *ret, struct err *e)
{
	const struct chat_shown *row;
	int rc;

	if (memcmp(message->place.conv_id, s->conv_id, ID_BYTES) != 0) {
		return err_set(
			e, KLUIS_EVERIFY, "message %" PRIu64 " is of another conversation", seq);
	}
	rc = chat_verify(message, device, e);
	row = chat_state_find(s, message->link);
	if (rc == 0 && row != NULL && !row_is_misplaced(s, row, seq)) {
		rc = err_set(e, KLUIS_EVERIFY,
			"message %" PRIu64 " was shown under another number before (replay)", seq);
	}
	if (rc == 0 && seq <= s->last_seq) {
		rc = late_check(s, seq, e);
	}
	if (rc != 0) {
		return err_wrap(e, rc, "message %" PRIu64, seq);
	}
	*ret = (struct chat_received){.payload = SECRET_INIT};
	if (row != NULL) {
		ret->repeats = row->seq;
		receive_repeated(s, seq, time_ms, message, ret);
	} else if (seq <= s->last_seq) {
		receive_late(s, seq, message, device, key, ret);
	} else {
		receive_next(s, seq, time_ms, message, device, key, ret);
	}
	return 0;
}
