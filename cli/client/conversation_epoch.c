/* Epochs of a conversation: taken from the KeyPackets that members send, or made. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "cli/client/conversation.h"
#include "cli/client/packets.h"

enum { EPOCH_TRIES_MAX = 5, EPOCH_KEYS_MAX = 4096, EPOCH_AHEAD_MAX = 256 };
/* Longer than any message under it is kept. */
static const uint64_t epoch_packet_ms = 45ULL * 24 * 3600 * 1000;

static void keys_drop(struct conversation *c, size_t i)
{
	assert(i < c->n_keys);
	chat_epoch_key_release(&c->keys[i].key);
	memmove(&c->keys[i], &c->keys[i + 1], (c->n_keys - i - 1) * sizeof *c->keys);
	c->n_keys--;
}

uint64_t conversation_members_rev(const struct conversation *c, const uint8_t hash[HASH_BYTES])
{
	const struct membership *m = c->members;

	for (uint64_t rev = m->members.seq; rev > 0; rev--) {
		if (memcmp(m->steps[rev - 1].hash, hash, HASH_BYTES) == 0) {
			return rev;
		}
	}
	return 0;
}

/* A member makes an epoch, by the members that it is for: she may be out by now. rev: of their
 * statement. */
static int epoch_check_maker(const struct conversation *c, const struct conversation_key *key,
	uint64_t rev, struct err *e)
{
	return membership_role(c->members, key->sender_user, rev) != 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "epoch %" PRIu32 " is by somebody who was no member then",
				 key->key.epoch);
}

static int epoch_take_cb(
	void *arg, const struct keypacket *packet, const struct secret *secret, struct err *e)
{
	struct conversation *c = arg;
	uint64_t now_ms = clock_wall_ms(&clock_system), rev;
	struct conversation_key *key;
	int rc;

	if (c->n_keys == EPOCH_KEYS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "too many epochs wait");
	}
	c->keys = x_realloc(c->keys, (c->n_keys + 1) * sizeof *c->keys);
	key = &c->keys[c->n_keys];
	/* By a clock that is ahead it would be used for longer, and others seem over. */
	*key = (struct conversation_key){
		.made_ms = packet->unix_ms < now_ms ? packet->unix_ms : now_ms};
	memcpy(key->packet_id, packet->packet_id, ID_BYTES);
	memcpy(key->sender_user, packet->sender_user, ID_BYTES);
	rc = chat_epoch_key_decode(secret_bytes(secret), packet->epoch, &key->key, e);
	if (rc != 0) {
		return rc;
	}
	c->n_keys++;
	rev = conversation_members_rev(c, key->key.members_hash);
	/* Of members that are not known here yet epoch_enter() says it. */
	rc = rev == 0 ? 0 : epoch_check_maker(c, key, rev, e);
	if (rc != 0) {
		keys_drop(c, c->n_keys - 1);
	}
	return rc;
}

static int epoch_fetch(struct conversation *c, struct err *e)
{
	struct packets_taken taken;
	int rc;

	while (c->n_keys > 0) {
		keys_drop(c, c->n_keys - 1);
	}
	rc = packets_fetch_chat(c->people, c->members, epoch_take_cb, c, &taken, e);
	c->keys_fetched = rc == 0;
	c->key_refused = rc == 0 ? taken.why : (struct err){0};
	return rc;
}

uint32_t conversation_back(const struct conversation *c)
{
	const struct membership *m = c->members;
	uint64_t came = 0;
	unsigned times = 0;

	for (uint64_t rev = 1; rev <= m->members.seq; rev++) {
		const struct membership_step *step = &m->steps[rev - 1];

		if ((step->type == MEMBER_CREATE || step->type == MEMBER_ADD) &&
			memcmp(step->member_id, c->state.own.user_id, ID_BYTES) == 0) {
			came = rev;
			times++;
		}
	}
	if (times < 2) {
		return 0;
	}
	for (size_t i = 0; i < c->state.n_epochs; i++) {
		if (conversation_members_rev(c, c->state.epochs[i].members_hash) >= came) {
			return c->state.epochs[i].epoch;
		}
	}
	return c->state.members_rev >= came ? 0 : UINT32_MAX;
}

struct writers {
	struct chat_writer *list;
	size_t n;
};

static int writers_add(
	struct conversation *c, const uint8_t user_id[ID_BYTES], struct writers *to, struct err *e)
{
	const struct identity *user;
	int rc = people_get(c->people, user_id, true, &user, e);

	/* Revoked ones, too: what they wrote before may come after. */
	for (size_t i = 0; rc == 0 && i < user->device_count; i++) {
		struct chat_writer *writer;

		to->list = x_realloc(to->list, (to->n + 1) * sizeof *to->list);
		writer = &to->list[to->n++];
		memcpy(writer->user_id, user_id, ID_BYTES);
		memcpy(writer->device_id, user->devices[i].device_id, ID_BYTES);
	}
	return rc;
}

/* The devices of all who were members by that statement. */
static int writers_of(struct conversation *c, uint64_t rev, struct writers *to, struct err *e)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < rev; i++) {
		const struct membership_step *step = &c->members->steps[i];
		bool comes = step->type == MEMBER_CREATE || step->type == MEMBER_ADD;

		/* Who left and came back stands twice: the state takes each device once. */
		if (comes && membership_role(c->members, step->member_id, rev) != 0) {
			rc = writers_add(c, step->member_id, to, e);
		}
	}
	return rc;
}

/* By what is known, and once more by what the cluster has now: they may have changed meanwhile. */
static int epoch_members(struct conversation *c, const struct conversation_key *key,
	uint64_t *ret_rev, struct err *e)
{
	uint64_t rev = conversation_members_rev(c, key->key.members_hash);
	int rc = rev != 0 ? 0 : membership_refresh(c->members, c->people, e);

	if (rc != 0) {
		return rc;
	}
	*ret_rev = rev != 0 ? rev : conversation_members_rev(c, key->key.members_hash);
	return *ret_rev != 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "epoch %" PRIu32
				 " is for members that the cluster does not show: their list is "
				 "withheld, or the conversation never had them",
				 key->key.epoch);
}

static int epoch_enter(struct conversation *c, const struct conversation_key *key, struct err *e)
{
	struct writers writers = {.n = 0};
	struct chat_entry entry = {.key = &key->key, .made_ms = key->made_ms};
	struct err why = {0};
	int rc = epoch_members(c, key, &entry.members_rev, e);

	if (rc != 0) {
		return rc;
	}
	if (epoch_check_maker(c, key, entry.members_rev, &why) != 0) {
		c->key_refused = why; /* As if it had been known when the packet came. */
		return 0;
	}
	rc = writers_of(c, entry.members_rev, &writers, e);
	entry.writers = writers.list;
	entry.n = writers.n;
	rc = rc != 0 ? rc : chat_state_enter(&c->state, &entry, e);
	free(writers.list);
	return rc;
}

/* Stored before the packet goes: it is the only copy. */
static int epoch_done(struct conversation *c, size_t i, struct err *e)
{
	int rc = packets_ack(conversation_client(c), c->keys[i].packet_id, e);

	keys_drop(c, i);
	return rc;
}

/* Packets of epochs that are held, or over, have no use. */
static int epoch_tidy(struct conversation *c, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->n_keys;) {
		if (chat_state_awaits(&c->state, c->keys[i].key.epoch)) {
			i++;
		} else {
			rc = epoch_done(c, i, e);
		}
	}
	return rc;
}

int conversation_take_epoch(struct conversation *c, uint32_t epoch, struct err *e)
{
	int rc = c->keys_fetched ? 0 : epoch_fetch(c, e);

	for (size_t i = 0; rc == 0 && i < c->n_keys; i++) {
		if (c->keys[i].key.epoch == epoch && chat_state_awaits(&c->state, epoch)) {
			rc = epoch_enter(c, &c->keys[i], e);
			rc = rc != 0 ? rc : conversation_save(c, e);
		}
	}
	return rc != 0 ? rc : epoch_tidy(c, e);
}

/* One KeyPacket for each active device of who did not leave. */
struct making {
	struct conversation *c;
	struct chat_epoch_key key;
	struct secret plaintext;
	struct buf *packets;
	size_t n;
	uint64_t now_ms;
	uint8_t (*gone)[ID_BYTES]; /* Who declined. */
	size_t n_gone;
};

static void making_release(struct making *m)
{
	for (size_t i = 0; i < m->n; i++) {
		buf_release(&m->packets[i]);
	}
	free(m->packets);
	free(m->gone);
	chat_epoch_key_release(&m->key);
	secret_release(&m->plaintext);
}

static int making_device(struct making *m, const struct identity_device *device, struct err *e)
{
	struct packets_gift gift = {.purpose = KEYPACKET_CHAT,
		.object_id = m->c->id,
		.rcpt_id = device->device_id,
		.epoch = m->key.epoch,
		.rcpt = device->hpke,
		.secret = secret_bytes(&m->plaintext),
		.expires_ms = m->now_ms + epoch_packet_ms};

	m->packets = x_realloc(m->packets, (m->n + 1) * sizeof *m->packets);
	m->packets[m->n++] = BUF_INIT;
	return packets_seal(conversation_profile(m->c), &gift, &m->packets[m->n - 1], e);
}

static int making_user(struct making *m, const uint8_t user_id[ID_BYTES], struct err *e)
{
	const struct identity *user;
	int rc = people_get(m->c->people, user_id, true, &user, e);

	for (size_t i = 0; rc == 0 && i < user->device_count; i++) {
		if (!user->devices[i].revoked) {
			rc = making_device(m, &user->devices[i], e);
		}
	}
	return rc;
}

static void making_member_cb(void *arg, const uint8_t id[ID_BYTES], const char *state)
{
	struct making *m = arg;

	if (strcmp(state, "declined") == 0) {
		m->gone = x_realloc(m->gone, (m->n_gone + 1) * sizeof *m->gone);
		memcpy(m->gone[m->n_gone++], id, ID_BYTES);
	}
}

static bool making_is_gone(const struct making *m, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < m->n_gone; i++) {
		if (memcmp(m->gone[i], id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

static int making_packets(struct making *m, struct err *e)
{
	const struct members *members = &m->c->members->members;
	int rc = api_conversation_members(
		conversation_client(m->c), m->c->id, making_member_cb, m, e);

	for (size_t i = 0; rc == 0 && i < members->count; i++) {
		if (!making_is_gone(m, members->member[i].id)) {
			rc = making_user(m, members->member[i].id, e);
		}
	}
	return rc;
}

static int making_send(struct making *m, struct err *e)
{
	_cleanup_(x_freep) struct bytes *packets = x_calloc(m->n + 1, sizeof *packets);
	const struct api_chat_epoch epoch = {.epoch = m->key.epoch,
		.members_hash = m->key.members_hash,
		.packets = packets,
		.n = m->n};

	for (size_t i = 0; i < m->n; i++) {
		packets[i] = buf_bytes(&m->packets[i]);
	}
	return api_chat_epoch(conversation_client(m->c), m->c->id, &epoch, e);
}

/* Above all that the cluster and this device know: after a restore the cluster may know less. */
static int epoch_next(const struct conversation *c, uint32_t *ret_epoch, struct err *e)
{
	const struct chat_epoch *current = chat_state_current(&c->state);
	uint32_t next = c->info.chat_epoch;

	next = c->state.closed > next ? c->state.closed : next;
	next = current != NULL && current->epoch > next ? current->epoch : next;
	if (next - c->info.chat_epoch >= EPOCH_AHEAD_MAX || next == UINT32_MAX) {
		return err_set(e, KLUIS_EPIN,
			"the cluster shows the conversation at epoch %" PRIu32
			", but this device was at epoch %" PRIu32 " already",
			c->info.chat_epoch, next);
	}
	*ret_epoch = next + 1;
	return 0;
}

/* The secret reaches this device as all others, by its KeyPacket: nothing of it stays here. */
static int epoch_make(struct conversation *c, struct err *e)
{
	struct making m = {.c = c, .now_ms = clock_wall_ms(&clock_system)};
	int rc = epoch_next(c, &m.key.epoch, e);

	if (rc != 0) {
		return rc;
	}
	secret_random(&m.key.secret, CHAT_KEY_BYTES, &random_system);
	memcpy(m.key.members_hash, c->members->members.hash, HASH_BYTES);
	chat_epoch_key_encode(&m.key, &m.plaintext);
	rc = making_packets(&m, e);
	rc = rc != 0 ? rc : making_send(&m, e);
	making_release(&m);
	return rc;
}

static bool epoch_usable(const struct conversation *c)
{
	const struct chat_epoch *current = chat_state_current(&c->state);

	return !c->info.chat_stale && current != NULL && current->epoch == c->info.chat_epoch &&
	       !chat_state_due(&c->state, c->members->members.hash, clock_wall_ms(&clock_system));
}

int conversation_need_epoch(struct conversation *c, struct err *e)
{
	int rc = 0;

	for (unsigned turn = 0; turn < EPOCH_TRIES_MAX; turn++) {
		rc = conversation_refresh(c, e);
		if (rc == 0 && c->info.chat_epoch > 0) {
			rc = conversation_take_epoch(c, c->info.chat_epoch, e);
		}
		if (rc != 0 || epoch_usable(c)) {
			return rc;
		}
		rc = epoch_make(c, e);
		/* Another member was first, or somebody came or went, or a device: look again. */
		if (rc != 0 && rc != KLUIS_EPRECONDITION && rc != KLUIS_ECONFLICT) {
			return rc;
		}
		people_ask_again(c->people);
	}
	return rc != 0 ? rc
		       : err_set(e, KLUIS_EBUSY,
				 "the members of the conversation change all the time");
}
