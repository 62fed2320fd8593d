#include "cli/client/agent_wire.h"

#include <assert.h>
#include <string.h>

#include "crypto/inbox.h"
#include "crypto/notify.h"
#include "crypto/keypacket.h"
#include "crypto/page.h"

enum {
	ITEM_FIXED_BYTES = 1 + 2,
	PLACE_BYTES = ID_BYTES + 4,
	CHANGE_FIXED_BYTES = 2 + PLACE_BYTES + 2,
	/* All of a frame but its lists, objects and values. */
	FRAME_FIXED_BYTES = 512,
};
static_assert(AGENT_PLACES_MAX * PLACE_BYTES + FRAME_FIXED_BYTES <= AGENT_FRAME_BYTES_MAX,
	"a list of all entries fits a frame");
static_assert(
	KEYRING_BYTES_MAX + FRAME_FIXED_BYTES <= AGENT_FRAME_BYTES_MAX, "a keyring fits a frame");

bool agent_kind_known(unsigned kind)
{
	return (kind >= AGENT_DEVICE_KEY && kind <= AGENT_KRK) || kind == AGENT_TOKEN ||
	       kind == AGENT_SALT_KEY;
}

bool agent_kind_leaves(unsigned kind)
{
	return kind >= AGENT_LEAVING && agent_kind_known(kind);
}

bool agent_entry_leaves(unsigned type)
{
	return type == KEYRING_VAULT_KEY || type == KEYRING_CONTACT_PIN ||
	       type == KEYRING_VAULT_PIN;
}

bool agent_item_next(struct wire *at, struct agent_item *ret_item)
{
	struct agent_item item;

	if (at->left.len == 0) {
		return false;
	}
	item.kind = wire_u8(at);
	item.value = wire_lp16(at, AGENT_VALUE_BYTES_MAX);
	if (!wire_ok(at)) {
		return false;
	}
	*ret_item = item;
	return true;
}

static void place_read(struct wire *w, struct ring_place *place)
{
	wire_copy(w, place->object_id, ID_BYTES);
	place->epoch = wire_u32(w);
}

bool agent_change_next(struct wire *at, struct ring_change *ret_change)
{
	struct ring_change change;

	if (at->left.len == 0) {
		return false;
	}
	change.type = wire_u16(at);
	wire_copy(at, change.object_id, ID_BYTES);
	change.epoch = wire_u32(at);
	change.value = wire_lp16(at, AGENT_VALUE_BYTES_MAX);
	if (!wire_ok(at)) {
		return false;
	}
	*ret_change = change;
	return true;
}

bool agent_packet_next(struct wire *at, struct ring_packet *ret_packet)
{
	struct ring_packet packet;

	if (at->left.len == 0) {
		return false;
	}
	wire_copy(at, packet.kid, KID_BYTES);
	packet.packet = wire_lp32(at, KEYPACKET_BYTES_MAX);
	if (!wire_ok(at)) {
		return false;
	}
	*ret_packet = packet;
	return true;
}

void agent_packet_put(struct buf *list, const struct ring_packet *packet)
{
	buf_append(list, packet->kid, KID_BYTES);
	buf_put_lp32(list, packet->packet);
}

/* What a keyring may be given: keys of vaults, which have epochs, and pins, which have none. */
static bool change_valid(const struct ring_change *change)
{
	switch (change->type) {
	case KEYRING_VAULT_KEY:
		return change->epoch != 0 && change->value.len == PAGE_KEY_BYTES;
	case KEYRING_CONTACT_PIN:
		return change->epoch == 0 && change->value.len == KEYRING_CONTACT_PIN_BYTES;
	case KEYRING_VAULT_PIN:
		return change->epoch == 0 && change->value.len == KEYRING_VAULT_PIN_BYTES;
	default:
		return false;
	}
}

static int items_check(const struct agent_request *request, struct err *e)
{
	struct wire w = wire_of(request->list);
	struct agent_item item;
	size_t n = 0;

	while (agent_item_next(&w, &item)) {
		n++;
		if (!agent_kind_known(item.kind) || item.value.len == 0) {
			return err_set(e, KLUIS_EINVAL, "item %zu is malformed", n);
		}
	}
	return wire_ok(&w) && n == request->n_list
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "other items than announced");
}

static int changes_check(const struct agent_request *request, struct err *e)
{
	struct wire w = wire_of(request->list);
	struct ring_change change;
	size_t n = 0;

	while (agent_change_next(&w, &change)) {
		n++;
		if (!change_valid(&change)) {
			return err_set(e, KLUIS_EINVAL, "entry %zu is malformed", n);
		}
	}
	return wire_ok(&w) && n == request->n_list && n > 0 && n <= RING_CHANGES_MAX
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "other entries than announced, or too many");
}

static int packets_check(const struct agent_request *request, struct err *e)
{
	struct wire w = wire_of(request->list);
	struct ring_packet packet;
	size_t n = 0;

	while (agent_packet_next(&w, &packet)) {
		n++;
	}
	return wire_ok(&w) && n == request->n_list && n > 0 && n <= RING_CHANGES_MAX
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "other packets than announced, or too many");
}

static void unlock_read(struct wire *w, struct agent_request *request)
{
	request->idle_ms = wire_u64(w);
	wire_copy(w, request->user_id, ID_BYTES);
	wire_copy(w, request->device_id, ID_BYTES);
	request->account = wire_lp16(w, IDENTITY_NAME_BYTES_MAX);
	request->n_list = wire_u16(w);
	request->list = wire_rest(w);
}

static int unlock_check(const struct agent_request *request, struct err *e)
{
	if (request->idle_ms > AGENT_IDLE_MS_MAX) {
		return err_set(e, KLUIS_EINVAL, "keys are held for %d s at most",
			AGENT_IDLE_MS_MAX / 1000);
	}
	if (!identity_name_valid(request->account) || request->n_list > AGENT_ITEMS_MAX) {
		return err_set(e, KLUIS_EINVAL, "no account's name, or more than %d items",
			AGENT_ITEMS_MAX);
	}
	return items_check(request, e);
}

static void request_read(struct wire *w, struct agent_request *request)
{
	switch (request->op) {
	case AGENT_UNLOCK:
		unlock_read(w, request);
		break;
	case AGENT_SIGN:
		request->kind = wire_u8(w);
		request->message = wire_bytes(w, AGENT_MESSAGE_BYTES);
		break;
	case AGENT_OPEN:
		request->kind = wire_u8(w);
		request->packet = wire_lp32(w, KEYPACKET_BYTES_MAX);
		break;
	case AGENT_INBOX:
		request->packet = wire_lp16(w, INBOX_STUB_BYTES_MAX);
		break;
	case AGENT_NOTIFY:
		request->packet = wire_lp16(w, NOTIFY_BYTES_MAX);
		break;
	case AGENT_PUT:
		request->kind = wire_u8(w);
		request->value = wire_lp16(w, AGENT_VALUE_BYTES_MAX);
		break;
	case AGENT_GET:
	case AGENT_PUBLIC:
		request->kind = wire_u8(w);
		break;
	case AGENT_LOAD:
		request->object = wire_lp32(w, KEYRING_BYTES_MAX);
		break;
	case AGENT_CHANGE:
	case AGENT_TAKE:
		request->unix_ms = wire_u64(w);
		request->object = wire_lp32(w, KEYRING_BYTES_MAX);
		request->n_list = wire_u16(w);
		request->list = wire_rest(w);
		break;
	case AGENT_ENTRY:
		request->type = wire_u16(w);
		place_read(w, &request->place);
		break;
	case AGENT_PLACES:
		request->type = wire_u16(w);
		break;
	case AGENT_GROUP:
		place_read(w, &request->place);
		break;
	case AGENT_GIVE:
		request->type = wire_u16(w);
		place_read(w, &request->place);
		request->role = wire_u16(w);
		wire_copy(w, request->rcpt_id, ID_BYTES);
		request->alg = wire_u16(w);
		request->value = wire_lp16(w, KEY_PUB_BYTES_MAX);
		request->unix_ms = wire_u64(w);
		request->expires_ms = wire_u64(w);
		break;
	default:
		break;
	}
}

static int request_check(const struct agent_request *request, struct err *e)
{
	bool ok = true;

	switch (request->op) {
	case AGENT_UNLOCK:
		return unlock_check(request, e);
	case AGENT_CHANGE:
		return changes_check(request, e);
	case AGENT_TAKE:
		return packets_check(request, e);
	case AGENT_SIGN:
		ok = request->kind == AGENT_DEVICE_KEY || request->kind == AGENT_SIGNING_KEY;
		break;
	case AGENT_OPEN:
		ok = request->kind == AGENT_DEVICE_HPKE_KEY || request->kind == AGENT_TRANSFER_KEY;
		break;
	case AGENT_PUBLIC:
		ok = (request->kind >= AGENT_DEVICE_KEY && request->kind <= AGENT_TRANSFER_KEY) ||
		     request->kind == AGENT_RSA_KEY;
		break;
	case AGENT_GET:
	case AGENT_PUT:
		ok = agent_kind_known(request->kind);
		break;
	case AGENT_GIVE:
		ok = request->type == KEYRING_VAULT_KEY || request->type == KEYRING_GROUP_KEY;
		break;
	case AGENT_STATUS:
	case AGENT_LOCK:
	case AGENT_STOP:
	case AGENT_LOAD:
	case AGENT_ENTRY:
	case AGENT_PLACES:
	case AGENT_GROUP:
	case AGENT_INBOX:
	case AGENT_NOTIFY:
		break;
	default:
		ok = false;
	}
	return ok ? 0 : err_set(e, KLUIS_EINVAL, "no request of an agent");
}

int agent_request_parse(struct bytes frame, struct agent_request *ret_request, struct err *e)
{
	struct agent_request request = {0};
	struct wire w = wire_of(frame);
	unsigned version = wire_u8(&w);
	int rc;

	request.op = wire_u8(&w);
	if (!wire_ok(&w)) {
		return err_set(e, KLUIS_EINVAL, "no request of an agent");
	}
	if (version != AGENT_VERSION) {
		return err_set(e, KLUIS_EVERSION, "agent protocol %u; this program speaks %d",
			version, AGENT_VERSION);
	}
	request_read(&w, &request);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EINVAL, "a request of another length");
	}
	rc = request_check(&request, e);
	if (rc == 0) {
		*ret_request = request;
	}
	return rc;
}

static void place_write(struct buf *to, const uint8_t object_id[ID_BYTES], uint32_t epoch)
{
	buf_append(to, object_id, ID_BYTES);
	buf_put_u32(to, epoch);
}

static void unlock_write(
	struct buf *to, const struct agent_request *request, const struct agent_item *items)
{
	buf_put_u64(to, request->idle_ms);
	buf_append(to, request->user_id, ID_BYTES);
	buf_append(to, request->device_id, ID_BYTES);
	buf_put_lp16(to, request->account);
	buf_put_u16(to, (unsigned)request->n_list);
	for (size_t i = 0; i < request->n_list; i++) {
		buf_put_u8(to, items[i].kind);
		buf_put_lp16(to, items[i].value);
	}
}

static void change_write(
	struct buf *to, const struct agent_request *request, const struct ring_change *changes)
{
	buf_put_u64(to, request->unix_ms);
	buf_put_lp32(to, request->object);
	buf_put_u16(to, (unsigned)request->n_list);
	for (size_t i = 0; i < request->n_list; i++) {
		buf_put_u16(to, changes[i].type);
		place_write(to, changes[i].object_id, changes[i].epoch);
		buf_put_lp16(to, changes[i].value);
	}
}

static void request_write(struct buf *to, const struct agent_request *request,
	const struct agent_item *items, const struct ring_change *changes)
{
	switch (request->op) {
	case AGENT_UNLOCK:
		unlock_write(to, request, items);
		break;
	case AGENT_SIGN:
		buf_put_u8(to, request->kind);
		buf_append_bytes(to, request->message);
		break;
	case AGENT_OPEN:
		buf_put_u8(to, request->kind);
		buf_put_lp32(to, request->packet);
		break;
	case AGENT_INBOX:
	case AGENT_NOTIFY:
		buf_put_lp16(to, request->packet);
		break;
	case AGENT_PUT:
		buf_put_u8(to, request->kind);
		buf_put_lp16(to, request->value);
		break;
	case AGENT_GET:
	case AGENT_PUBLIC:
		buf_put_u8(to, request->kind);
		break;
	case AGENT_LOAD:
		buf_put_lp32(to, request->object);
		break;
	case AGENT_CHANGE:
		change_write(to, request, changes);
		break;
	case AGENT_ENTRY:
		buf_put_u16(to, request->type);
		place_write(to, request->place.object_id, request->place.epoch);
		break;
	case AGENT_PLACES:
		buf_put_u16(to, request->type);
		break;
	case AGENT_TAKE:
		buf_put_u64(to, request->unix_ms);
		buf_put_lp32(to, request->object);
		buf_put_u16(to, (unsigned)request->n_list);
		buf_append_bytes(to, request->list);
		break;
	case AGENT_GROUP:
		place_write(to, request->place.object_id, request->place.epoch);
		break;
	case AGENT_GIVE:
		buf_put_u16(to, request->type);
		place_write(to, request->place.object_id, request->place.epoch);
		buf_put_u16(to, request->role);
		buf_append(to, request->rcpt_id, ID_BYTES);
		buf_put_u16(to, request->alg);
		buf_put_lp16(to, request->value);
		buf_put_u64(to, request->unix_ms);
		buf_put_u64(to, request->expires_ms);
		break;
	default:
		break;
	}
}

/* What begins every frame. The buffer has room for all that follows: growing would leave a copy of
 * a secret behind. */
static void frame_begin(struct buf *frame, size_t bytes)
{
	buf_reserve(frame, bytes + FRAME_FIXED_BYTES);
	buf_put_u32(frame, 0);
	buf_put_u8(frame, AGENT_VERSION);
}

static void frame_end(struct buf *frame, struct secret *ret_frame)
{
	assert(frame->len <= AGENT_LENGTH_BYTES + AGENT_FRAME_BYTES_MAX);
	store_u32(frame->data, (uint32_t)(frame->len - AGENT_LENGTH_BYTES));
	secret_set(ret_frame, buf_bytes(frame));
}

/* The bytes of the list, or more than a frame when one of its values fits none. */
static size_t list_bytes(const struct agent_request *request, const struct agent_item *items,
	const struct ring_change *changes)
{
	size_t bytes = 0;

	if (request->op == AGENT_TAKE) {
		return request->list.len;
	}
	for (size_t i = 0; i < request->n_list; i++) {
		size_t len = items != NULL ? items[i].value.len : changes[i].value.len;

		if (len > AGENT_VALUE_BYTES_MAX) {
			return AGENT_FRAME_BYTES_MAX;
		}
		bytes += (items != NULL ? ITEM_FIXED_BYTES : CHANGE_FIXED_BYTES) + len;
	}
	return bytes;
}

int agent_request_encode(const struct agent_request *request, const struct agent_item *items,
	const struct ring_change *changes, struct secret *ret_frame, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf frame = BUF_INIT;
	size_t most = request->op == AGENT_UNLOCK ? AGENT_ITEMS_MAX : RING_CHANGES_MAX, bytes;

	assert(request->n_list == 0 || request->op == AGENT_TAKE ||
		(items == NULL) != (changes == NULL));
	assert((items == NULL || request->op == AGENT_UNLOCK) &&
		(changes == NULL || request->op == AGENT_CHANGE));
	assert(request->op != AGENT_SIGN || request->message.len == AGENT_MESSAGE_BYTES);
	if (request->n_list > most || request->account.len > IDENTITY_NAME_BYTES_MAX ||
		request->object.len > KEYRING_BYTES_MAX ||
		request->packet.len > KEYPACKET_BYTES_MAX ||
		request->value.len > AGENT_VALUE_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than an agent takes");
	}
	bytes = list_bytes(request, items, changes) + request->object.len + request->packet.len +
		request->value.len;
	if (bytes + FRAME_FIXED_BYTES > AGENT_FRAME_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than an agent takes at once");
	}
	frame_begin(&frame, bytes);
	buf_put_u8(&frame, request->op);
	request_write(&frame, request, items, changes);
	frame_end(&frame, ret_frame);
	return 0;
}

static bool status_read(struct wire *w, struct agent_status *status)
{
	unsigned unlocked = wire_u8(w), locked = wire_u8(w);
	struct bytes account;

	status->unlocked = unlocked == 1;
	status->memory_locked = locked == 1;
	status->pid = wire_u32(w);
	status->idle_ms = wire_u64(w);
	status->left_ms = wire_u64(w);
	wire_copy(w, status->user_id, ID_BYTES);
	wire_copy(w, status->device_id, ID_BYTES);
	account = wire_lp16(w, IDENTITY_NAME_BYTES_MAX);
	status->n_items = wire_u32(w);
	if (!wire_ok(w) || unlocked > 1 || locked > 1 || (account.len > 0) != status->unlocked ||
		(account.len > 0 && !identity_name_valid(account))) {
		return false;
	}
	memcpy(status->account, account.data, account.len);
	return true;
}

static bool places_read(struct wire *w, struct agent_answer *answer)
{
	answer->n_places = wire_u16(w);
	answer->places = wire_rest(w);
	return answer->places.len == answer->n_places * PLACE_BYTES;
}

static bool answer_read(struct wire *w, struct agent_answer *answer)
{
	switch (answer->op) {
	case AGENT_STATUS:
		return status_read(w, &answer->status);
	case AGENT_PLACES:
		return places_read(w, answer);
	case AGENT_CHANGE:
	case AGENT_TAKE:
		answer->object = wire_lp32(w, KEYRING_BYTES_MAX);
		return answer->object.len > 0;
	case AGENT_SIGN:
	case AGENT_OPEN:
	case AGENT_INBOX:
	case AGENT_NOTIFY:
	case AGENT_GET:
	case AGENT_ENTRY:
	case AGENT_GROUP:
	case AGENT_GIVE:
	case AGENT_PUBLIC:
		answer->value = wire_lp16(w, AGENT_VALUE_BYTES_MAX);
		return answer->value.len > 0;
	default:
		return true;
	}
}

int agent_answer_parse(
	struct bytes frame, unsigned op, struct agent_answer *ret_answer, struct err *e)
{
	struct agent_answer answer = {.op = op};
	struct wire w = wire_of(frame);
	unsigned version = wire_u8(&w), of = wire_u8(&w), code = wire_u16(&w);

	if (wire_ok(&w) && version != AGENT_VERSION) {
		return err_set(e, KLUIS_EVERSION, "agent protocol %u; this program speaks %d",
			version, AGENT_VERSION);
	}
	if (!wire_ok(&w) || of != op || code >= KLUIS_ERROR_MAX) {
		return err_set(e, KLUIS_EPROTO, "no answer of an agent");
	}
	answer.rc = -(int)code;
	if (code != 0) {
		answer.text = wire_lp16(&w, AGENT_TEXT_BYTES_MAX);
	} else if (!answer_read(&w, &answer)) {
		wire_fail(&w);
	}
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EPROTO, "a malformed answer of the agent");
	}
	*ret_answer = answer;
	return 0;
}

bool agent_place_next(struct wire *at, struct ring_place *ret_place)
{
	if (at->left.len < PLACE_BYTES) {
		return false;
	}
	place_read(at, ret_place);
	return true;
}

static void status_write(struct buf *to, const struct agent_status *status)
{
	buf_put_u8(to, status->unlocked);
	buf_put_u8(to, status->memory_locked);
	buf_put_u32(to, status->pid);
	buf_put_u64(to, status->idle_ms);
	buf_put_u64(to, status->left_ms);
	buf_append(to, status->user_id, ID_BYTES);
	buf_append(to, status->device_id, ID_BYTES);
	buf_put_lp16(to, bytes_str(status->account));
	buf_put_u32(to, status->n_items);
}

static void answer_write(
	struct buf *to, const struct agent_answer *answer, const struct ring_place *places)
{
	switch (answer->op) {
	case AGENT_STATUS:
		status_write(to, &answer->status);
		break;
	case AGENT_PLACES:
		buf_put_u16(to, (unsigned)answer->n_places);
		for (size_t i = 0; i < answer->n_places; i++) {
			place_write(to, places[i].object_id, places[i].epoch);
		}
		break;
	case AGENT_CHANGE:
	case AGENT_TAKE:
		buf_put_lp32(to, answer->object);
		break;
	case AGENT_SIGN:
	case AGENT_OPEN:
	case AGENT_INBOX:
	case AGENT_NOTIFY:
	case AGENT_GET:
	case AGENT_ENTRY:
	case AGENT_GROUP:
	case AGENT_GIVE:
	case AGENT_PUBLIC:
		buf_put_lp16(to, answer->value);
		break;
	default:
		break;
	}
}

void agent_answer_encode(const struct agent_answer *answer, const struct ring_place *places,
	struct secret *ret_frame)
{
	_cleanup_(secret_buf_release) struct buf frame = BUF_INIT;
	struct bytes text = answer->text;

	assert(answer->rc <= 0 && answer->rc > -(int)KLUIS_ERROR_MAX);
	assert(answer->n_places <= AGENT_PLACES_MAX && answer->value.len <= AGENT_VALUE_BYTES_MAX);
	assert(answer->object.len <= KEYRING_BYTES_MAX);
	text.len = text.len > AGENT_TEXT_BYTES_MAX ? AGENT_TEXT_BYTES_MAX : text.len;
	frame_begin(
		&frame, answer->n_places * PLACE_BYTES + answer->value.len + answer->object.len);
	buf_put_u8(&frame, answer->op);
	buf_put_u16(&frame, (unsigned)-answer->rc);
	if (answer->rc != 0) {
		buf_put_lp16(&frame, text);
	} else {
		answer_write(&frame, answer, places);
	}
	frame_end(&frame, ret_frame);
}
