#include "cli/client/agent_wire.h"

#include <assert.h>
#include <string.h>

#include "crypto/keypacket.h"

enum {
	ITEM_FIXED_BYTES = 1 + ID_BYTES + 4 + 2,
	PLACE_BYTES = ID_BYTES + 4,
	/* All of a frame but its items, places or value. */
	FRAME_FIXED_BYTES = 512,
};
static_assert(AGENT_ITEMS_MAX * PLACE_BYTES + FRAME_FIXED_BYTES <= AGENT_FRAME_BYTES_MAX,
	"a list of all items fits a frame");

bool agent_kind_known(unsigned kind)
{
	return (kind >= AGENT_DEVICE_KEY && kind <= AGENT_KRK) ||
	       (kind >= AGENT_TOKEN && kind <= AGENT_LOCAL_KEY);
}

bool agent_kind_leaves(unsigned kind)
{
	return kind >= AGENT_LEAVING && agent_kind_known(kind);
}

/* Where it lies. */
static void item_read_place(struct wire *w, struct agent_item *item)
{
	item->kind = wire_u8(w);
	wire_copy(w, item->object_id, ID_BYTES);
	item->epoch = wire_u32(w);
}

bool agent_item_next(struct wire *at, struct agent_item *ret_item)
{
	struct agent_item item;

	if (at->left.len == 0) {
		return false;
	}
	item_read_place(at, &item);
	item.value = wire_lp16(at, AGENT_VALUE_BYTES_MAX);
	if (!wire_ok(at)) {
		return false;
	}
	*ret_item = item;
	return true;
}

/* Of all vaults' keys each has a place of its own; of everything else there is one. */
static bool item_place_valid(const struct agent_item *item)
{
	static const uint8_t zero[ID_BYTES];

	return agent_kind_known(item->kind) &&
	       (item->kind == AGENT_VAULT_KEY
			       ? item->epoch != 0
			       : item->epoch == 0 && memcmp(item->object_id, zero, ID_BYTES) == 0);
}

static int items_check(struct agent_request *request, struct err *e)
{
	struct wire w = wire_of(request->items);
	struct agent_item item;
	size_t n = 0;

	while (agent_item_next(&w, &item)) {
		n++;
		if (!item_place_valid(&item) || item.value.len == 0) {
			return err_set(e, KLUIS_EINVAL, "item %zu is malformed", n);
		}
	}
	return wire_ok(&w) && n == request->n_items
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "other items than announced");
}

static void unlock_read(struct wire *w, struct agent_request *request)
{
	request->idle_ms = wire_u64(w);
	wire_copy(w, request->user_id, ID_BYTES);
	wire_copy(w, request->device_id, ID_BYTES);
	request->account = wire_lp16(w, IDENTITY_NAME_BYTES_MAX);
	request->n_items = wire_u16(w);
	request->items = wire_rest(w);
}

static int unlock_check(struct agent_request *request, struct err *e)
{
	if (request->idle_ms > AGENT_IDLE_MS_MAX) {
		return err_set(e, KLUIS_EINVAL, "keys are held for %d s at most",
			AGENT_IDLE_MS_MAX / 1000);
	}
	if (!identity_name_valid(request->account) || request->n_items > AGENT_ITEMS_MAX) {
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
	case AGENT_GET:
		item_read_place(w, &request->item);
		break;
	case AGENT_PUT:
		item_read_place(w, &request->item);
		request->item.value = wire_lp16(w, AGENT_VALUE_BYTES_MAX);
		break;
	case AGENT_LIST:
	case AGENT_PUBLIC:
		request->kind = wire_u8(w);
		break;
	default:
		break;
	}
}

static int request_check(struct agent_request *request, struct err *e)
{
	bool ok = true;

	switch (request->op) {
	case AGENT_UNLOCK:
		return unlock_check(request, e);
	case AGENT_SIGN:
		ok = request->kind == AGENT_DEVICE_KEY || request->kind == AGENT_SIGNING_KEY;
		break;
	case AGENT_OPEN:
		ok = request->kind == AGENT_DEVICE_HPKE_KEY || request->kind == AGENT_TRANSFER_KEY;
		break;
	case AGENT_PUBLIC:
		ok = request->kind >= AGENT_DEVICE_KEY && request->kind <= AGENT_TRANSFER_KEY;
		break;
	case AGENT_GET:
	case AGENT_PUT:
		ok = item_place_valid(&request->item);
		break;
	case AGENT_LIST:
		ok = agent_kind_known(request->kind);
		break;
	case AGENT_STATUS:
	case AGENT_LOCK:
	case AGENT_STOP:
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

static void item_write_place(struct buf *to, const struct agent_item *item)
{
	buf_put_u8(to, item->kind);
	buf_append(to, item->object_id, ID_BYTES);
	buf_put_u32(to, item->epoch);
}

static void unlock_write(struct buf *to, const struct agent_request *request,
	const struct agent_item *items, size_t n_items)
{
	buf_put_u64(to, request->idle_ms);
	buf_append(to, request->user_id, ID_BYTES);
	buf_append(to, request->device_id, ID_BYTES);
	buf_put_lp16(to, request->account);
	buf_put_u16(to, (unsigned)n_items);
	for (size_t i = 0; i < n_items; i++) {
		item_write_place(to, &items[i]);
		buf_put_lp16(to, items[i].value);
	}
}

static void request_write(struct buf *to, const struct agent_request *request,
	const struct agent_item *items, size_t n_items)
{
	switch (request->op) {
	case AGENT_UNLOCK:
		unlock_write(to, request, items, n_items);
		break;
	case AGENT_SIGN:
		buf_put_u8(to, request->kind);
		buf_append_bytes(to, request->message);
		break;
	case AGENT_OPEN:
		buf_put_u8(to, request->kind);
		buf_put_lp32(to, request->packet);
		break;
	case AGENT_GET:
		item_write_place(to, &request->item);
		break;
	case AGENT_PUT:
		item_write_place(to, &request->item);
		buf_put_lp16(to, request->item.value);
		break;
	case AGENT_LIST:
	case AGENT_PUBLIC:
		buf_put_u8(to, request->kind);
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

int agent_request_encode(const struct agent_request *request, const struct agent_item *items,
	size_t n_items, struct secret *ret_frame, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf frame = BUF_INIT;
	size_t bytes = request->packet.len + request->item.value.len;
	bool fits = n_items <= AGENT_ITEMS_MAX && request->account.len <= IDENTITY_NAME_BYTES_MAX &&
		    bytes <= AGENT_FRAME_BYTES_MAX &&
		    request->item.value.len <= AGENT_VALUE_BYTES_MAX;

	assert(n_items == 0 || request->op == AGENT_UNLOCK);
	assert(request->op != AGENT_SIGN || request->message.len == AGENT_MESSAGE_BYTES);
	for (size_t i = 0; fits && i < n_items; i++) {
		fits = items[i].value.len <= AGENT_VALUE_BYTES_MAX;
		bytes += ITEM_FIXED_BYTES + items[i].value.len;
	}
	if (!fits || bytes + FRAME_FIXED_BYTES > AGENT_FRAME_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more keys than an agent holds");
	}
	frame_begin(&frame, bytes);
	buf_put_u8(&frame, request->op);
	request_write(&frame, request, items, n_items);
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
	case AGENT_LIST:
		return places_read(w, answer);
	case AGENT_SIGN:
	case AGENT_OPEN:
	case AGENT_GET:
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

bool agent_place_next(struct wire *at, struct agent_place *ret_place)
{
	if (at->left.len < PLACE_BYTES) {
		return false;
	}
	wire_copy(at, ret_place->object_id, ID_BYTES);
	ret_place->epoch = wire_u32(at);
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
	struct buf *to, const struct agent_answer *answer, const struct agent_place *places)
{
	switch (answer->op) {
	case AGENT_STATUS:
		status_write(to, &answer->status);
		break;
	case AGENT_LIST:
		buf_put_u16(to, (unsigned)answer->n_places);
		for (size_t i = 0; i < answer->n_places; i++) {
			buf_append(to, places[i].object_id, ID_BYTES);
			buf_put_u32(to, places[i].epoch);
		}
		break;
	case AGENT_SIGN:
	case AGENT_OPEN:
	case AGENT_GET:
	case AGENT_PUBLIC:
		buf_put_lp16(to, answer->value);
		break;
	default:
		break;
	}
}

void agent_answer_encode(const struct agent_answer *answer, const struct agent_place *places,
	struct secret *ret_frame)
{
	_cleanup_(secret_buf_release) struct buf frame = BUF_INIT;
	struct bytes text = answer->text;

	assert(answer->rc <= 0 && answer->rc > -(int)KLUIS_ERROR_MAX);
	assert(answer->n_places <= AGENT_ITEMS_MAX && answer->value.len <= AGENT_VALUE_BYTES_MAX);
	text.len = text.len > AGENT_TEXT_BYTES_MAX ? AGENT_TEXT_BYTES_MAX : text.len;
	frame_begin(&frame, answer->n_places * PLACE_BYTES + answer->value.len);
	buf_put_u8(&frame, answer->op);
	buf_put_u16(&frame, (unsigned)-answer->rc);
	if (answer->rc != 0) {
		buf_put_lp16(&frame, text);
	} else {
		answer_write(&frame, answer, places);
	}
	frame_end(&frame, ret_frame);
}
