#include "cli/agent/store.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "crypto/inbox.h"
#include "crypto/notify.h"
#include "crypto/keypacket.h"

struct held {
	unsigned kind;
	struct secret value;
};

/* One of the keyring, opened. */
struct entry {
	unsigned type;
	struct ring_place place;
	struct secret value;
};

struct store {
	uint64_t idle_ms;
	uint64_t used_ms;  /* The last use of a secret; while locked: since when. */
	uint64_t asked_ms; /* The last request at all. */
	bool unlocked;
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
	char account[IDENTITY_NAME_BYTES_MAX + 1];
	struct held held[AGENT_ITEMS_MAX];
	size_t n_held;
	unsigned transfer_alg; /* Of the keyring that was loaded; 0: none was. */
	struct buf rsa_public; /* Of that keyring's; empty: it has none. */
	struct entry *entries;
	size_t n_entries;
};

/* One request under way: what the answer points into lives here until it is encoded. */
struct turn {
	struct store *store;
	const struct agent_request *request;
	struct agent_answer answer;
	struct secret value;
	struct buf public_value; /* Of nothing secret: signatures, keyrings. */
	struct ring_place *places;
	struct err err;
};

struct store *store_new(uint64_t idle_ms, uint64_t now_ms)
{
	struct store *store = x_calloc(1, sizeof *store);

	assert(idle_ms > 0 && idle_ms <= AGENT_IDLE_MS_MAX);
	store->idle_ms = idle_ms;
	store->used_ms = store->asked_ms = now_ms;
	return store;
}

static void entries_forget(struct store *store)
{
	for (size_t i = 0; i < store->n_entries; i++) {
		secret_release(&store->entries[i].value);
	}
	free(store->entries);
	store->entries = NULL;
	store->n_entries = 0;
}

static void store_forget(struct store *store)
{
	entries_forget(store);
	for (size_t i = 0; i < store->n_held; i++) {
		secret_release(&store->held[i].value);
	}
	store->n_held = 0;
	store->transfer_alg = 0;
	buf_clear(&store->rsa_public);
	store->unlocked = false;
	memset(store->user_id, 0, ID_BYTES);
	memset(store->device_id, 0, ID_BYTES);
	memset(store->account, 0, sizeof store->account);
}

void store_free(struct store *store)
{
	if (store != NULL) {
		store_forget(store);
		buf_release(&store->rsa_public);
		free(store);
	}
}

bool store_unlocked(const struct store *store)
{
	return store->unlocked;
}

/* A clock that went back is a clock that cannot be believed: nothing is kept longer for it. */
static uint64_t since(uint64_t then_ms, uint64_t now_ms)
{
	return now_ms >= then_ms ? now_ms - then_ms : UINT64_MAX;
}

uint64_t store_tick(struct store *store, uint64_t now_ms, bool *ret_stop)
{
	uint64_t from_ms;

	if (store->unlocked && since(store->used_ms, now_ms) >= store->idle_ms) {
		store_forget(store);
		store->used_ms = now_ms;
	}
	from_ms = store->unlocked || store->used_ms > store->asked_ms ? store->used_ms
								      : store->asked_ms;
	if (!store->unlocked && since(from_ms, now_ms) >= store->idle_ms) {
		*ret_stop = true;
	}
	return from_ms + store->idle_ms;
}

static struct held *store_find(struct store *store, unsigned kind)
{
	for (size_t i = 0; i < store->n_held; i++) {
		if (store->held[i].kind == kind) {
			return &store->held[i];
		}
	}
	return NULL;
}

static void held_drop(struct store *store, struct held *held)
{
	struct held *last = &store->held[store->n_held - 1];

	secret_release(&held->value);
	if (held != last) {
		*held = *last; /* Moved: the one owner is the new place. */
	}
	*last = (struct held){0};
	store->n_held--;
}

/* Takes, replaces, or with an empty value takes away. */
static void held_put(struct store *store, unsigned kind, struct bytes value)
{
	struct held *held = store_find(store, kind);

	if (value.len == 0) {
		if (held != NULL) {
			held_drop(store, held);
		}
		return;
	}
	if (held == NULL) {
		assert(store->n_held < AGENT_ITEMS_MAX); /* There are fewer kinds. */
		held = &store->held[store->n_held++];
		held->kind = kind;
	}
	secret_set(&held->value, value);
}

static const unsigned key_algs[] = {[AGENT_DEVICE_KEY] = KEY_ECDSA_P256,
	[AGENT_DEVICE_HPKE_KEY] = KEY_KEM_P256,
	[AGENT_SIGNING_KEY] = KEY_RSA_PSS,
	[AGENT_TRANSFER_KEY] = KEY_KEM_P256};

/* The key is decoded for one use: between uses only its encoding is here, in locked memory. */
static int turn_key(struct turn *turn, unsigned kind, struct key **ret_key)
{
	struct held *held = store_find(turn->store, kind);
	unsigned alg = kind == AGENT_TRANSFER_KEY ? turn->store->transfer_alg : 0;

	assert(kind < ARRAY_SIZE(key_algs) && key_algs[kind] != 0);
	if (held == NULL) {
		return err_set(&turn->err, KLUIS_EUNAUTHENTICATED,
			"the agent holds no such key: 'kluis login'");
	}
	return key_decode(
		alg != 0 ? alg : key_algs[kind], secret_bytes(&held->value), ret_key, &turn->err);
}

static int turn_status(struct turn *turn, uint64_t now_ms)
{
	const struct store *store = turn->store;
	struct agent_status *status = &turn->answer.status;
	uint64_t idle_ms = since(store->used_ms, now_ms);

	status->unlocked = store->unlocked;
	status->memory_locked = secret_locked();
	status->pid = (uint32_t)getpid();
	status->idle_ms = store->idle_ms;
	status->left_ms =
		store->unlocked && idle_ms < store->idle_ms ? store->idle_ms - idle_ms : 0;
	status->n_items = (uint32_t)(store->n_held + store->n_entries);
	memcpy(status->user_id, store->user_id, ID_BYTES);
	memcpy(status->device_id, store->device_id, ID_BYTES);
	memcpy(status->account, store->account, sizeof store->account);
	return 0;
}

/* Keys must be keys before anything that was held goes. */
static int unlock_check(struct turn *turn)
{
	struct wire w = wire_of(turn->request->list);
	struct agent_item item;

	while (agent_item_next(&w, &item)) {
		struct key *key = NULL;
		int rc = item.kind >= ARRAY_SIZE(key_algs) || key_algs[item.kind] == 0
				 ? 0
				 : key_decode(key_algs[item.kind], item.value, &key, &turn->err);

		key_free(key);
		if (rc == 0 && item.kind == AGENT_KRK && item.value.len != KEYRING_KRK_BYTES) {
			rc = err_set(&turn->err, KLUIS_EINVAL, "no key of a keyring");
		}
		if (rc != 0) {
			return err_wrap(&turn->err, rc, "item of kind %u", item.kind);
		}
	}
	return 0;
}

static int turn_unlock(struct turn *turn)
{
	const struct agent_request *request = turn->request;
	struct store *store = turn->store;
	struct wire w = wire_of(request->list);
	struct agent_item item;
	int rc = unlock_check(turn);

	if (rc != 0) {
		return rc;
	}
	store_forget(store);
	while (agent_item_next(&w, &item)) {
		held_put(store, item.kind, item.value);
	}
	store->idle_ms = request->idle_ms == 0 ? store->idle_ms : request->idle_ms;
	store->unlocked = true;
	memcpy(store->user_id, request->user_id, ID_BYTES);
	memcpy(store->device_id, request->device_id, ID_BYTES);
	memcpy(store->account, request->account.data, request->account.len);
	return 0;
}

static int turn_sign(struct turn *turn)
{
	_cleanup_(key_freep) struct key *key = NULL;
	int rc = turn_key(turn, turn->request->kind, &key);

	rc = rc != 0 ? rc : sign_make(key, turn->request->message, &turn->public_value, &turn->err);
	turn->answer.value = buf_bytes(&turn->public_value);
	return rc;
}

static int public_rsa(struct turn *turn)
{
	turn->answer.value = buf_bytes(&turn->store->rsa_public);
	return turn->answer.value.len > 0
		       ? 0
		       : err_set(&turn->err, KLUIS_ENOTFOUND, "the keyring has no RSA key");
}

static int turn_public(struct turn *turn)
{
	_cleanup_(key_freep) struct key *key = NULL;
	int rc;

	if (turn->request->kind == AGENT_RSA_KEY) {
		return public_rsa(turn);
	}
	rc = turn_key(turn, turn->request->kind, &key);
	if (rc == 0) {
		buf_append_bytes(&turn->public_value, key_pub_bytes(key_public(key)));
		turn->answer.value = buf_bytes(&turn->public_value);
	}
	return rc;
}

static int turn_open(struct turn *turn)
{
	const struct agent_request *request = turn->request;
	const struct store *store = turn->store;
	_cleanup_(key_freep) struct key *key = NULL;
	struct keypacket packet;
	int rc = turn_key(turn, request->kind, &key);

	rc = rc != 0 ? rc : keypacket_parse(request->packet, &packet, &turn->err);
	if (rc == 0 && packet.purpose == KEYPACKET_DEVICE) {
		rc = err_set(&turn->err, KLUIS_EFORBIDDEN,
			"what opens the keyring does not leave the agent");
	}
	rc = rc != 0 ? rc
		     : keypacket_open(&packet,
			       request->kind == AGENT_TRANSFER_KEY ? store->user_id
								   : store->device_id,
			       key, &turn->value, &turn->err);
	turn->answer.value = secret_bytes(&turn->value);
	return rc;
}

static int turn_get(struct turn *turn)
{
	struct held *held = store_find(turn->store, turn->request->kind);

	if (!agent_kind_leaves(turn->request->kind)) {
		return err_set(&turn->err, KLUIS_EFORBIDDEN, "this key does not leave the agent");
	}
	if (held == NULL) {
		return err_set(&turn->err, KLUIS_EUNAUTHENTICATED,
			"the agent does not hold that: 'kluis login'");
	}
	turn->answer.value = secret_bytes(&held->value);
	return 0;
}

static int turn_put(struct turn *turn)
{
	if (!agent_kind_leaves(turn->request->kind)) {
		return err_set(&turn->err, KLUIS_EFORBIDDEN, "this key comes by a login alone");
	}
	held_put(turn->store, turn->request->kind, turn->request->value);
	return 0;
}

static int turn_krk(struct turn *turn, struct bytes *ret_krk)
{
	struct held *held = store_find(turn->store, AGENT_KRK);

	if (held == NULL) {
		return err_set(&turn->err, KLUIS_EUNAUTHENTICATED,
			"the agent cannot open the keyring: 'kluis login'");
	}
	*ret_krk = secret_bytes(&held->value);
	return 0;
}

/* Of whichever curve the account is made: UNLOCK takes the usual one alone. Of an RSA key what is
 * public will do: TAKE has the private half from the keyring that it is given. */
static void transfer_take(struct store *store, const struct keyring *keyring)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;

	key_encode(keyring->transfer, &encoded);
	held_put(store, AGENT_TRANSFER_KEY, secret_bytes(&encoded));
	store->transfer_alg = key_pub_alg(key_public(keyring->transfer));
	buf_clear(&store->rsa_public);
	if (keyring->rsa != NULL) {
		buf_append_bytes(&store->rsa_public, key_pub_bytes(key_public(keyring->rsa)));
	}
}

/* Takes what a keyring holds for others; its other private keys are not kept a second time. */
static void entries_take(struct store *store, struct keyring *keyring)
{
	entries_forget(store);
	store->entries = x_calloc(keyring->n_entries + 1, sizeof *store->entries);
	for (size_t i = 0; i < keyring->n_entries; i++) {
		struct keyring_entry *from = &keyring->entries[i];
		struct entry *to = &store->entries[store->n_entries++];

		to->type = from->type;
		memcpy(to->place.object_id, from->object_id, ID_BYTES);
		to->place.epoch = from->epoch;
		secret_move(&to->value, &from->value);
	}
}

static int turn_load(struct turn *turn)
{
	struct store *store = turn->store;
	struct keyring keyring = {0};
	struct bytes krk;
	int rc = turn_krk(turn, &krk);

	rc = rc != 0 ? rc
		     : ring_open(turn->request->object, store->user_id, krk, &keyring, &turn->err);
	if (rc == 0) {
		transfer_take(store, &keyring);
		entries_take(store, &keyring);
	}
	keyring_release(&keyring);
	return rc;
}

static int turn_change(struct turn *turn)
{
	const struct agent_request *request = turn->request;
	struct ring_change changes[RING_CHANGES_MAX];
	struct wire w = wire_of(request->list);
	struct bytes krk;
	size_t n = 0;
	int rc = turn_krk(turn, &krk);

	while (n < request->n_list && agent_change_next(&w, &changes[n])) {
		n++;
	}
	assert(n == request->n_list);
	rc = rc != 0 ? rc
		     : ring_change_object(turn->store->user_id, krk, request->object, changes, n,
			       request->unix_ms, &turn->public_value, &turn->err);
	turn->answer.object = buf_bytes(&turn->public_value);
	return rc;
}

/* The keys in the packets go from one to the other without leaving. */
static int turn_take(struct turn *turn)
{
	const struct agent_request *request = turn->request;
	struct ring_packet packets[RING_CHANGES_MAX];
	struct wire w = wire_of(request->list);
	struct bytes krk;
	size_t n = 0;
	int rc = turn_krk(turn, &krk);

	while (n < request->n_list && agent_packet_next(&w, &packets[n])) {
		n++;
	}
	assert(n == request->n_list);
	rc = rc != 0 ? rc
		     : ring_take_object(turn->store->user_id, krk, request->object, packets, n,
			       request->unix_ms, &turn->public_value, &turn->err);
	turn->answer.object = buf_bytes(&turn->public_value);
	return rc;
}

static int entry_find(
	struct turn *turn, unsigned type, const struct ring_place *place, struct bytes *ret_value)
{
	const struct store *store = turn->store;

	for (size_t i = 0; i < store->n_entries; i++) {
		const struct entry *entry = &store->entries[i];

		if (entry->type == type && entry->place.epoch == place->epoch &&
			memcmp(entry->place.object_id, place->object_id, ID_BYTES) == 0) {
			*ret_value = secret_bytes(&entry->value);
			return 0;
		}
	}
	return err_set(&turn->err, KLUIS_ENOTFOUND, "the keyring has no such entry");
}

static int turn_entry(struct turn *turn)
{
	const struct agent_request *request = turn->request;

	if (!agent_entry_leaves(request->type)) {
		return err_set(&turn->err, KLUIS_EFORBIDDEN, "this key does not leave the agent");
	}
	return entry_find(turn, request->type, &request->place, &turn->answer.value);
}

/* A key that does not leave in clear, sealed to whom its owner shares it with. */
static int turn_give(struct turn *turn)
{
	const struct agent_request *request = turn->request;
	_cleanup_(key_freep) struct key *signing = NULL;
	_cleanup_(key_pub_freep) struct key_pub *rcpt = NULL;
	struct ring_gift gift = {.type = request->type,
		.place = request->place,
		.role = request->role,
		.rcpt_id = request->rcpt_id,
		.unix_ms = request->unix_ms,
		.expires_ms = request->expires_ms};
	struct bytes value;
	int rc = entry_find(turn, request->type, &request->place, &value);

	rc = rc != 0 ? rc : turn_key(turn, AGENT_SIGNING_KEY, &signing);
	rc = rc != 0 ? rc : key_pub_decode(request->alg, request->value, &rcpt, &turn->err);
	if (rc != 0) {
		return rc;
	}
	gift.rcpt = rcpt;
	rc = ring_gift_seal(
		&gift, turn->store->user_id, value, signing, &turn->public_value, &turn->err);
	turn->answer.value = buf_bytes(&turn->public_value);
	return rc;
}

static int turn_group(struct turn *turn)
{
	const struct ring_place *place = &turn->request->place;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	_cleanup_(secret_release) struct secret name_key = SECRET_INIT;
	_cleanup_(secret_buf_release) struct buf value = BUF_INIT;
	struct bytes held;
	int rc = entry_find(turn, KEYRING_GROUP_KEY, place, &held);

	rc = rc != 0 ? rc : ring_group_key(held, place->object_id, &pub, &name_key, &turn->err);
	if (rc != 0) {
		return rc;
	}
	buf_reserve(&value, 2 + 2 + KEY_PUB_BYTES_MAX + SEAL_KEY_BYTES);
	buf_put_u16(&value, key_pub_alg(pub));
	buf_put_lp16(&value, key_pub_bytes(pub));
	buf_append_bytes(&value, secret_bytes(&name_key));
	secret_set(&turn->value, buf_bytes(&value));
	turn->answer.value = secret_bytes(&turn->value);
	return 0;
}

/* What opens that one document, and nothing else that the key opens. */
static int turn_inbox(struct turn *turn)
{
	const uint8_t *owner = turn->store->user_id;
	_cleanup_(key_freep) struct key *key = NULL;
	struct inbox_document document;
	int rc = turn_key(turn, AGENT_TRANSFER_KEY, &key);

	rc = rc != 0 ? rc : inbox_parse(turn->request->packet, &document, &turn->err);
	rc = rc != 0 ? rc : inbox_open_key(&document, owner, owner, key, &turn->value, &turn->err);
	turn->answer.value = secret_bytes(&turn->value);
	return rc;
}

static int turn_places(struct turn *turn)
{
	const struct store *store = turn->store;
	struct ring_place *places = x_calloc(store->n_entries + 1, sizeof *places);
	size_t n = 0;

	for (size_t i = 0; i < store->n_entries; i++) {
		if (store->entries[i].type == turn->request->type) {
			places[n++] = store->entries[i].place;
		}
	}
	qsort(places, n, sizeof *places, ring_place_compare);
	turn->places = places;
	turn->answer.n_places = n;
	return 0;
}

static int turn_notify(struct turn *turn)
{
	_cleanup_(key_freep) struct key *key = NULL;
	struct notify notify;
	int rc = turn_key(turn, AGENT_DEVICE_HPKE_KEY, &key);

	rc = rc != 0 ? rc : notify_parse(turn->request->packet, &notify, &turn->err);
	rc = rc != 0 ? rc
		     : notify_open(&notify, turn->store->device_id, key, &turn->value, &turn->err);
	turn->answer.value = secret_bytes(&turn->value);
	return rc;
}

static int turn_secret(struct turn *turn)
{
	switch (turn->request->op) {
	case AGENT_SIGN:
		return turn_sign(turn);
	case AGENT_OPEN:
		return turn_open(turn);
	case AGENT_INBOX:
		return turn_inbox(turn);
	case AGENT_NOTIFY:
		return turn_notify(turn);
	case AGENT_GET:
		return turn_get(turn);
	case AGENT_PUT:
		return turn_put(turn);
	case AGENT_LOAD:
		return turn_load(turn);
	case AGENT_CHANGE:
		return turn_change(turn);
	case AGENT_ENTRY:
		return turn_entry(turn);
	case AGENT_PLACES:
		return turn_places(turn);
	case AGENT_TAKE:
		return turn_take(turn);
	case AGENT_GROUP:
		return turn_group(turn);
	case AGENT_GIVE:
		return turn_give(turn);
	case AGENT_PUBLIC:
	default:
		return turn_public(turn);
	}
}

static int turn_run(struct turn *turn, uint64_t now_ms, bool *ret_stop)
{
	struct store *store = turn->store;
	int rc;

	switch (turn->request->op) {
	case AGENT_STATUS:
		return turn_status(turn, now_ms);
	case AGENT_STOP:
		*ret_stop = true;
		store_forget(store);
		return 0;
	case AGENT_LOCK:
		store_forget(store);
		store->used_ms = now_ms;
		return 0;
	case AGENT_UNLOCK:
		rc = turn_unlock(turn);
		break;
	default:
		rc = store->unlocked ? turn_secret(turn)
				     : err_set(&turn->err, KLUIS_EUNAUTHENTICATED,
					       "the agent is locked: 'kluis login'");
	}
	if (rc == 0) {
		store->used_ms = now_ms;
	}
	return rc;
}

void store_answer(struct store *store, uint64_t now_ms, struct bytes frame,
	struct secret *ret_answer, bool *ret_stop)
{
	struct agent_request request = {0};
	struct turn turn = {.store = store, .request = &request};
	bool late = false;
	int rc;

	/* A machine that slept has not ticked: too late is too late. */
	(void)store_tick(store, now_ms, &late);
	store->asked_ms = now_ms;
	rc = agent_request_parse(frame, &request, &turn.err);
	rc = rc != 0 ? rc : turn_run(&turn, now_ms, ret_stop);
	turn.answer.op = frame.len >= 2 ? frame.data[1] : 0; /* Also of one not understood. */
	turn.answer.rc = rc;
	if (rc != 0) {
		turn.answer.text = bytes_str(turn.err.text);
	}
	agent_answer_encode(&turn.answer, turn.places, ret_answer);
	secret_release(&turn.value);
	buf_release(&turn.public_value);
	free(turn.places);
}
