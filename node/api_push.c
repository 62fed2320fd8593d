/* Where devices are notified, and notifications to them: sealed by who sends them, to a device of
 * somebody with whom the sender shares a vault, a group or a conversation. */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "crypto/notify.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/pepper.h"
#include "node/push.h"
#include "storage/object_store.h"
#include "storage/push_store.h"

static struct sealed_place push_place(const uint8_t user_id[16], const uint8_t push_id[16])
{
	return (struct sealed_place){.user_id = user_id, .field = "push", .id = push_id};
}

static bool push_speaks(const struct api *api, enum push_kind kind)
{
	return api->config.push != NULL && push_service_speaks(api->config.push, kind);
}

/* --- subscriptions --------------------------------------------------------------------------- */

int push_services_read(struct api_call *call)
{
	const struct api *api = call->api;
	json_t *body = json_object();

	json_put(body, "web",
		push_speaks(api, PUSH_WEB) ? json_make_base64(push_service_vapid(api->config.push))
					   : json_null());
	json_put(body, "fcm", json_boolean(push_speaks(api, PUSH_FCM)));
	json_put(body, "apns", json_boolean(push_speaks(api, PUSH_APNS)));
	call_json(call, 200, body);
	return 0;
}

int push_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct push_row *rows = x_calloc(PUSH_PER_USER_MAX, sizeof *rows);
	json_t *items;
	size_t n = 0;
	int rc = push_store_list(call->view, call->session.user_id, rows, &n, &call->e);

	if (rc != 0) {
		return rc;
	}
	items = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *one = json_object();

		json_put(one, "id", json_make_id(rows[i].push_id));
		json_put(one, "device", json_make_id(rows[i].device_id));
		json_put(one, "kind", json_make_text(push_kind_name(rows[i].kind)));
		json_put(one, "created", json_make_number(rows[i].created_ms));
		(void)json_array_append_new(items, one);
	}
	return call_list_all(call, items);
}

struct push_add {
	struct push_target target;
	uint8_t once_key[HASH_BYTES];
};

int push_add_parse(struct api_call *call)
{
	struct push_add *add = call_extra(call, sizeof *add);
	struct push_target *target = &add->target;
	_cleanup_(buf_release) struct buf kind = BUF_INIT;
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	json_in_string(&reader, "kind", 8, &kind);
	if (reader.rc == 0 && push_kind_parse(buf_bytes(&kind), &target->kind) != 0) {
		target->kind = 0; /* Said below, once all is read. */
	}
	json_in_string(&reader, target->kind == PUSH_WEB ? "endpoint" : "token",
		target->kind == PUSH_WEB ? PUSH_ENDPOINT_BYTES_MAX : PUSH_TOKEN_BYTES_MAX, &text);
	if (target->kind == PUSH_WEB) {
		json_in_binary_exact(
			&reader, "p256dh", target->public_key, sizeof target->public_key);
		json_in_binary_exact(&reader, "auth", target->auth, sizeof target->auth);
	}
	rc = json_in_end(&reader);
	if (rc != 0) {
		return rc;
	}
	memcpy(target->text, buf_str(&text), text.len);
	rc = push_target_check(target, &call->e);
	if (rc == 0 && call->api->config.push == NULL) {
		rc = call_fail(call, KLUIS_ESUITE, "this cluster does not speak to push services");
	}
	return rc != 0 ? rc : push_service_takes(call->api->config.push, target, &call->e);
}

/* The state machine keeps answers for each user, and what is subscribed is a device: of two that
 * use one key each gets its own. */
static struct command_once push_once(const struct api_call *call, struct push_add *add)
{
	struct command_once once = call_once(call);

	HASH_TH(add->once_key, "kluis/v1/push-once", bytes_of(call->session.device_id, 16),
		once.key);
	once.key = bytes_of(add->once_key, sizeof add->once_key);
	return once;
}

int push_add_read(struct api_call *call)
{
	struct push_add *add = call->extra;
	const struct secrets *secrets = call->api->config.secrets;
	_cleanup_(secret_buf_release) struct buf plain = BUF_INIT;
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	struct command command = {.type = COMMAND_PUSH_PUT};
	struct command_push_put *c = &command.push_put;
	struct sealed_place place = push_place(call->session.user_id, c->push_id);

	c->session = call_session(call);
	c->once = push_once(call, add);
	random_fill(call->api->config.random, c->push_id, sizeof c->push_id);
	c->kind = add->target.kind;
	c->pepper_id = secrets->pepper_id;
	push_target_encode(&add->target, &plain);
	sealed_make(secrets, &place, buf_bytes(&plain), call->api->config.random, &sealed);
	c->sealed = buf_bytes(&sealed);
	call_propose(call, &command);
	return 0;
}

int push_add_applied(struct api_call *call)
{
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "id", json_make_id(reply.id));
	json_put(body, "created", json_make_number(reply.number));
	call_json(call, 201, body);
	return 0;
}

int push_delete_parse(struct api_call *call)
{
	return call_param_id(call, 0, call->id);
}

int push_delete_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_PUSH_DELETE};
	struct push_row row;
	int rc = push_store_get(call->view, call->session.user_id, call->id, &row, &call->e);

	if (rc != 0) {
		return rc;
	}
	command.push_delete.session = call_session(call);
	memcpy(command.push_delete.user_id, call->session.user_id, 16);
	memcpy(command.push_delete.push_id, call->id, 16);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

/* --- notifications --------------------------------------------------------------------------- */

struct push_item {
	uint8_t user_id[16], device_id[16];
	struct buf payload;
};
struct push_send {
	uint8_t object_id[16];
	size_t n_items, n_jobs;
	struct push_item items[PUSH_ITEMS_MAX];
	struct push_job *jobs; /* PUSH_JOBS_MAX, from the view on. */
};
enum { PUSH_JOBS_MAX = PUSH_ITEMS_MAX * PUSH_PER_DEVICE_MAX };

static void push_send_release(void *extra)
{
	struct push_send *s = extra;

	for (size_t i = 0; i < s->n_items; i++) {
		buf_release(&s->items[i].payload);
	}
	if (s->jobs != NULL) {
		secret_clear(s->jobs, PUSH_JOBS_MAX * sizeof *s->jobs);
	}
	free(s->jobs);
}

int push_send_parse(struct api_call *call)
{
	struct push_send *s = call_extra(call, sizeof *s);
	struct json_in reader;
	struct notify notify;
	int rc;

	call->extra_release = push_send_release;
	json_in_begin(&reader, call_body(call), &call->e);
	json_in_hex(&reader, "object", s->object_id, sizeof s->object_id);
	s->n_items = json_in_objects(&reader, "items", PUSH_ITEMS_MAX);
	for (size_t i = 0; i < s->n_items; i++) {
		struct push_item *item = &s->items[i];
		struct json_in inner;

		json_in_enter_nth(&reader, "items", i, &inner);
		json_in_hex(&inner, "user", item->user_id, sizeof item->user_id);
		json_in_hex(&inner, "device", item->device_id, sizeof item->device_id);
		json_in_binary(&inner, "payload", NOTIFY_BYTES_MAX, &item->payload);
		json_in_leave(&reader, &inner);
	}
	rc = json_in_end(&reader);
	for (size_t i = 0; rc == 0 && i < s->n_items; i++) {
		rc = notify_parse(buf_bytes(&s->items[i].payload), &notify, &call->e);
	}
	return rc;
}

/* Whether the user is in the object, herself or by a group; who was invited is, too (an invitation
 * is worth a notification), but for who sends. */
static int push_shares(struct api_call *call, const uint8_t object_id[16],
	const uint8_t user_id[16], bool accepted, bool *ret_shares)
{
	struct vault_access access = {.state = 0};
	int rc = vault_access_get(call->view, object_id, user_id, &access, &call->e);

	*ret_shares = rc == 0 && (access.state == MEMBER_ACCEPTED || !accepted);
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

static int push_may(struct api_call *call, const struct push_send *s)
{
	bool shares = false;
	int rc = push_shares(call, s->object_id, call->session.user_id, true, &shares);

	if (rc == 0 && !shares) {
		return call_fail(call, KLUIS_ENOTFOUND, "no such vault, group or conversation");
	}
	for (size_t i = 0; rc == 0 && i < s->n_items; i++) {
		/* Devices of one user stand side by side. */
		if (i > 0 && memcmp(s->items[i].user_id, s->items[i - 1].user_id, 16) == 0) {
			continue;
		}
		rc = push_shares(call, s->object_id, s->items[i].user_id, false, &shares);
		if (rc == 0 && !shares) {
			return call_fail(call, KLUIS_EFORBIDDEN, "a recipient is not in it");
		}
	}
	return rc;
}

/* The device is the user's and was not revoked. */
static int push_device(struct api_call *call, const struct push_item *item, bool *ret_active)
{
	struct device_row device;
	int rc = device_store_get(call->view, item->user_id, item->device_id, &device, &call->e);

	*ret_active = rc == 0 && !device.revoked;
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

static int push_job_of(struct api_call *call, const struct push_row *row, struct bytes payload,
	struct push_job *ret_job)
{
	struct sealed_place place = push_place(row->user_id, row->push_id);
	_cleanup_(secret_release) struct secret plain = SECRET_INIT;
	int rc = call_unseal(
		call, &place, row->pepper_id, bytes_of(row->sealed, row->sealed_bytes), &plain);

	if (rc == 0 && push_target_decode(secret_bytes(&plain), &ret_job->target, &call->e) != 0) {
		rc = call_fail(call, KLUIS_EINTERNAL, "a stored subscription is malformed");
	}
	memcpy(ret_job->user_id, row->user_id, 16);
	memcpy(ret_job->push_id, row->push_id, 16);
	ret_job->payload = payload;
	return rc;
}

/* rows: n of the item's user. */
static int push_jobs_add(struct api_call *call, struct push_send *s, const struct push_item *item,
	const struct push_row *rows, size_t n)
{
	bool active = false;
	int rc = push_device(call, item, &active);

	for (size_t i = 0; rc == 0 && active && i < n; i++) {
		if (memcmp(rows[i].device_id, item->device_id, 16) == 0 &&
			s->n_jobs < PUSH_JOBS_MAX) {
			rc = push_job_of(
				call, &rows[i], buf_bytes(&item->payload), &s->jobs[s->n_jobs]);
			s->n_jobs++;
		}
	}
	return rc;
}

int push_send_read(struct api_call *call)
{
	_cleanup_(x_freep) struct push_row *rows = x_calloc(PUSH_PER_USER_MAX, sizeof *rows);
	struct push_send *s = call->extra;
	size_t n = 0;
	int rc = push_may(call, s);

	s->n_jobs = 0;
	if (rc == 0 && s->jobs == NULL) {
		s->jobs = x_calloc(PUSH_JOBS_MAX, sizeof *s->jobs);
	}
	for (size_t i = 0; rc == 0 && i < s->n_items; i++) {
		const struct push_item *item = &s->items[i];

		if (i == 0 || memcmp(item->user_id, s->items[i - 1].user_id, 16) != 0) {
			rc = push_store_list(call->view, item->user_id, rows, &n, &call->e);
		}
		rc = rc != 0 ? rc : push_jobs_add(call, s, item, rows, n);
	}
	if (rc == 0) {
		/* Who is subscribed and who is not is nobody's to learn. */
		call_json(call, 202, json_object());
	}
	return rc;
}

void push_send_finish(struct api_call *call)
{
	struct push_send *s = call->extra;

	int rc = 0;

	/* A full queue is counted there; a notification may be lost. */
	for (size_t i = 0; rc == 0 && call->api->push != NULL && i < s->n_jobs; i++) {
		memcpy(s->jobs[i].sender_id, call->session.user_id, 16);
		rc = push_submit(call->api->push, &s->jobs[i]);
	}
}

void api_push_metrics(struct api *api, struct buf *to)
{
	struct push_counts counts;

	if (api->push != NULL) {
		push_counts(api->push, &counts);
		api_metrics_push(&counts, to);
	}
}

/* --- what push services know no more --------------------------------------------------------- */

struct push_gone {
	struct mail mail;
	struct api *api;
	struct propose propose;
	struct buf command;
};

static void push_gone_proposed_cb(struct propose *propose, int rc)
{
	struct push_gone *gone = CONTAINER_OF(propose, struct push_gone, propose);

	/* The next notification finds it gone again. */
	log_debug("op=push state=removed rc=%d", rc);
	assert(gone->api->calls > 0);
	gone->api->calls--;
	buf_release(&gone->command);
	free(gone);
}

static void push_gone_deliver_cb(struct mail *mail)
{
	struct push_gone *gone = CONTAINER_OF(mail, struct push_gone, mail);
	struct api_backend *backend = gone->api->config.backend;

	gone->api->calls++;
	backend->propose(backend, &gone->propose, &gone->api->mailbox, &gone->command,
		api_now(gone->api) + API_PROPOSE_MS, push_gone_proposed_cb);
}

void api_push_gone_cb(void *data, const uint8_t user_id[16], const uint8_t push_id[16])
{
	struct push_gone *gone = x_calloc(1, sizeof *gone);
	struct command command = {.type = COMMAND_PUSH_DELETE, .push_delete.gone = true};

	gone->api = data;
	gone->mail.deliver_cb = push_gone_deliver_cb;
	memcpy(command.push_delete.user_id, user_id, 16);
	memcpy(command.push_delete.push_id, push_id, 16);
	command_encode(&command, &gone->command);
	mailbox_send(&gone->api->mailbox, &gone->mail);
}
