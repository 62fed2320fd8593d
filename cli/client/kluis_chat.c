/* The public face of conversations and the inbox. */
#include "cli/client/kluis_chat.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/client/conversation_archive.h"
#include "cli/client/delivery.h"
#include "cli/client/inbox.h"
#include "cli/client/kluis_impl.h"
#include "cli/client/notification.h"

static_assert((int)KLUIS_CHAT_TEXT == (int)CHAT_TEXT && (int)KLUIS_CHAT_CALL == (int)CHAT_CALL &&
		      (int)KLUIS_CHAT_BYTES_MAX == (int)CHAT_PAYLOAD_BYTES_MAX,
	"the public numbers are those of the format");

/* One call's conversation, and who is in it. */
struct chatting {
	struct people *people;
	struct conversation *c;
	struct err err;
};

static int chatting_open(struct chatting *t, struct kluis *k, const char *chat)
{
	uint8_t id[ID_BYTES];
	int rc;

	*t = (struct chatting){.people = NULL};
	rc = kluis_refresh(k, &t->err);
	if (rc != 0) {
		return rc;
	}
	t->people = people_new(k->profile, k->client);
	if (chat == NULL) {
		return 0;
	}
	rc = conversation_find(t->people, chat, id, &t->err);
	return rc != 0 ? rc : conversation_open(t->people, id, &t->c, &t->err);
}

static int chatting_close(struct chatting *t, int rc, struct kluis_failure *error)
{
	conversation_close(t->c);
	people_free(t->people);
	return kluis_give(rc, &t->err, error);
}

static int chatting_user(struct chatting *t, const char *name, const struct identity **ret_user)
{
	return people_by_name(t->people, name, ret_user, &t->err);
}

int kluis_chat_new(struct kluis *k, const char *title, const char *const *users, size_t n_users,
	char ret_id[33], struct kluis_failure *error)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	struct chatting t;
	int rc = chatting_open(&t, k, NULL);

	if (rc == 0 && n_users >= CONVERSATION_MEMBERS_MAX) {
		rc = err_set(&t.err, KLUIS_EINVAL, "a conversation has 2 to %d members",
			CONVERSATION_MEMBERS_MAX);
	}
	ids = x_calloc((rc == 0 ? n_users : 0) + 1, sizeof *ids);
	for (size_t i = 0; rc == 0 && i < n_users; i++) {
		const struct identity *user;

		rc = chatting_user(&t, users[i], &user);
		if (rc == 0) {
			memcpy(ids[i], user->user_id, ID_BYTES);
		}
	}
	rc = rc != 0 ? rc
		     : conversation_create(t.people, title, (const uint8_t(*)[ID_BYTES])ids,
			       n_users, &t.c, &t.err);
	if (rc == 0) {
		struct err ignored = {0}; /* Without a history it is a conversation all the same. */

		hex_encode(bytes_of(t.c->id, ID_BYTES), ret_id);
		(void)(k->profile->person != NULL &&
			conversation_archive_switch(t.c, true, &ignored) != 0);
	}
	return chatting_close(&t, rc, error);
}

int kluis_chat_history(struct kluis *k, const char *chat, int on, struct kluis_failure *error)
{
	struct chatting t;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : conversation_archive_switch(t.c, on != 0, &t.err);
	return chatting_close(&t, rc, error);
}

int kluis_chat_attach(struct kluis *k, const char *chat, const char *local_path, uint64_t *ret_seq,
	struct kluis_failure *error)
{
	struct chatting t;
	uint64_t seq;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : conversation_attach(t.c, local_path, &seq, &t.err);
	if (rc == 0) {
		*ret_seq = seq;
	}
	return chatting_close(&t, rc, error);
}

int kluis_chat_save(struct kluis *k, const char *chat, const void *payload, size_t payload_len,
	const char *local_path, struct kluis_failure *error)
{
	struct conversation_file file = {.name = NULL};
	struct chat_content content;
	struct chatting t;
	int rc = chatting_open(&t, k, chat);

	chat_content_parse(CHAT_JSON, bytes_of(payload, payload_len), &content);
	rc = rc != 0 ? rc : conversation_file_of(&content, &file, &t.err);
	rc = rc != 0 ? rc : conversation_fetch(t.c, &file, local_path, &t.err);
	chat_content_release(&content);
	conversation_file_release(&file);
	return chatting_close(&t, rc, error);
}

int kluis_chat_list(struct kluis *k, kluis_chat_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(x_freep) struct conversation_row *rows = NULL;
	struct chatting t;
	size_t n = 0;
	int rc = chatting_open(&t, k, NULL);

	rc = rc != 0 ? rc : conversation_list(t.people, &rows, &n, &t.err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct api_conversation *info = &rows[i].info;
		char id[HEX_LEN(ID_BYTES) + 1];
		const struct kluis_chat chat = {.id = id,
			.title = rows[i].title,
			.state = info->state,
			.role = info->role,
			.unread = rows[i].unread,
			.last = info->last_seq,
			.created_ms = info->created_ms,
			.unsent = rows[i].pending};

		hex_encode(bytes_of(info->id, ID_BYTES), id);
		each(arg, &chat);
	}
	return chatting_close(&t, rc, error);
}

int kluis_chat_accept(struct kluis *k, const char *chat, struct kluis_failure *error)
{
	struct chatting t;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : conversation_accept(t.c, &t.err);
	return chatting_close(&t, rc, error);
}

int kluis_chat_leave(struct kluis *k, const char *chat, struct kluis_failure *error)
{
	struct chatting t;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : conversation_leave(t.c, &t.err);
	return chatting_close(&t, rc, error);
}

static int chat_change(struct kluis *k, const char *chat, const char *name,
	int (*change)(struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e),
	struct kluis_failure *error)
{
	const struct identity *user;
	struct chatting t;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : chatting_user(&t, name, &user);
	rc = rc != 0 ? rc : change(t.c, user->user_id, &t.err);
	return chatting_close(&t, rc, error);
}

int kluis_chat_add(struct kluis *k, const char *chat, const char *user, struct kluis_failure *error)
{
	return chat_change(k, chat, user, conversation_add, error);
}

int kluis_chat_remove(
	struct kluis *k, const char *chat, const char *user, struct kluis_failure *error)
{
	return chat_change(k, chat, user, conversation_remove, error);
}

int kluis_chat_set_role(struct kluis *k, const char *chat, const char *user, enum kluis_role role,
	struct kluis_failure *error)
{
	const struct identity *identity;
	struct chatting t;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : kluis_role_check(role, &t.err);
	rc = rc != 0 ? rc : chatting_user(&t, user, &identity);
	rc = rc != 0 ? rc : conversation_set_role(t.c, identity->user_id, role, &t.err);
	return chatting_close(&t, rc, error);
}

int kluis_chat_transfer(struct kluis *k, const char *chat, const char *user, enum kluis_role keep,
	struct kluis_failure *error)
{
	const struct identity *identity;
	struct chatting t;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : kluis_role_check(keep, &t.err);
	rc = rc != 0 ? rc : chatting_user(&t, user, &identity);
	rc = rc != 0 ? rc : conversation_transfer(t.c, identity->user_id, keep, &t.err);
	return chatting_close(&t, rc, error);
}

static int receipt_give(struct chatting *t, const struct api_receipt *receipt,
	kluis_chat_receipt_fn *each, void *arg)
{
	struct kluis_chat_receipt shown = {.delivered = receipt->delivered, .read = receipt->read};
	const struct identity *user;
	int rc = people_get(t->people, receipt->user_id, false, &user, &t->err);

	if (rc == 0) {
		shown.user = user->name;
		memcpy(shown.user_id, receipt->user_id, ID_BYTES);
		memcpy(shown.device_id, receipt->device_id, ID_BYTES);
		each(arg, &shown);
	}
	return rc;
}

int kluis_chat_receipts(struct kluis *k, const char *chat, kluis_chat_receipt_fn *each, void *arg,
	struct kluis_failure *error)
{
	_cleanup_(x_freep) struct api_receipt *receipts = NULL;
	struct chatting t;
	size_t n = 0;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : api_receipts(k->client, t.c->id, &receipts, &n, &t.err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		/* Who left has no say in it any more. */
		if (members_find(&t.c->members->members, receipts[i].user_id) != NULL) {
			rc = receipt_give(&t, &receipts[i], each, arg);
		}
	}
	return chatting_close(&t, rc, error);
}

int kluis_chat_members(struct kluis *k, const char *chat, kluis_chat_member_fn *each, void *arg,
	struct kluis_failure *error)
{
	static const char *const roles[] = {"", "read", "write", "admin"};
	struct chatting t;
	int rc = chatting_open(&t, k, chat);

	for (size_t i = 0; rc == 0 && i < t.c->members->members.count; i++) {
		const struct member *m = &t.c->members->members.member[i];
		struct kluis_chat_member member = {
			.role = roles[m->role <= MEMBER_ADMIN ? m->role : 0]};
		const struct identity *user;
		bool verified = false;

		rc = people_get(t.people, m->id, false, &user, &t.err);
		rc = rc != 0 ? rc : people_is_verified(t.people, m->id, &verified, &t.err);
		if (rc == 0) {
			member.user = user->name;
			member.verified = verified;
			memcpy(member.user_id, m->id, ID_BYTES);
			each(arg, &member);
		}
	}
	return chatting_close(&t, rc, error);
}

int kluis_chat_send_data(struct kluis *k, const char *chat, unsigned type, const void *data,
	size_t len, uint64_t *ret_seq, struct kluis_failure *error)
{
	struct chatting t;
	uint64_t seq;
	int rc = chatting_open(&t, k, chat);

	if (rc == 0 && (type == 0 || type > UINT16_MAX)) {
		rc = err_set(&t.err, KLUIS_EINVAL, "%u is no type of a message", type);
	}
	rc = rc != 0 ? rc : conversation_send(t.c, type, bytes_of(data, len), &seq, &t.err);
	if (rc == 0) {
		*ret_seq = seq;
	}
	return chatting_close(&t, rc, error);
}

int kluis_chat_send(struct kluis *k, const char *chat, const char *text, uint64_t *ret_seq,
	struct kluis_failure *error)
{
	struct err e = {0};

	if (!utf8_valid(bytes_str(text))) {
		return kluis_give(
			err_set(&e, KLUIS_EINVAL, "a message is text (UTF-8)"), &e, error);
	}
	return kluis_chat_send_data(k, chat, CHAT_TEXT, text, strlen(text), ret_seq, error);
}

int kluis_chat_notify(struct kluis *k, const char *chat, uint64_t seq, struct kluis_failure *error)
{
	struct chatting t;
	size_t n;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : notification_send(t.c, seq, &n, &t.err);
	return chatting_close(&t, rc, error);
}

/* The message that an edit or a deletion is about. */
static int chatting_own(struct chatting *t, uint64_t seq, const struct chat_shown **ret_row)
{
	const struct chat_shown *row = chat_state_row(&t->c->state, seq);

	if (row == NULL) {
		return err_set(&t->err, KLUIS_ENOTFOUND,
			"this device has not read that message, or long ago");
	}
	if (memcmp(row->user_id, t->c->state.own.user_id, ID_BYTES) != 0) {
		return err_set(&t->err, KLUIS_EFORBIDDEN, "that message is somebody else's");
	}
	*ret_row = row;
	return 0;
}

/* text NULL: a deletion. */
static int chat_amend(struct kluis *k, const char *chat, uint64_t seq, const char *text,
	struct kluis_failure *error)
{
	_cleanup_(secret_buf_release) struct buf payload = BUF_INIT;
	const struct chat_shown *row = NULL;
	struct chatting t;
	uint64_t sent;
	int rc = chatting_open(&t, k, chat);

	if (rc == 0 && text != NULL && !utf8_valid(bytes_str(text))) {
		rc = err_set(&t.err, KLUIS_EINVAL, "a message is text (UTF-8)");
	}
	rc = rc != 0 ? rc : chatting_own(&t, seq, &row);
	if (rc == 0 && text != NULL) {
		chat_content_edit(row->link, text, &payload);
	} else if (rc == 0) {
		chat_content_delete(row->link, &payload);
	}
	rc = rc != 0 ? rc : conversation_send(t.c, CHAT_JSON, buf_bytes(&payload), &sent, &t.err);
	return chatting_close(&t, rc, error);
}

int kluis_chat_edit(struct kluis *k, const char *chat, uint64_t seq, const char *text,
	struct kluis_failure *error)
{
	assert(text != NULL);
	return chat_amend(k, chat, seq, text, error);
}

int kluis_chat_delete(struct kluis *k, const char *chat, uint64_t seq, struct kluis_failure *error)
{
	return chat_amend(k, chat, seq, NULL, error);
}

int kluis_chat_set_title(
	struct kluis *k, const char *chat, const char *title, struct kluis_failure *error)
{
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct chatting t;
	uint64_t seq;
	int rc = chatting_open(&t, k, chat);

	if (rc == 0 && !chat_title_valid(title)) {
		rc = err_set(&t.err, KLUIS_EINVAL, "a title is 1 to %d bytes in one line",
			CHAT_TITLE_BYTES_MAX);
	}
	if (rc == 0) {
		chat_content_title(title, &payload);
		rc = conversation_send(t.c, CHAT_JSON, buf_bytes(&payload), &seq, &t.err);
	}
	return chatting_close(&t, rc, error);
}

struct reading {
	kluis_chat_message_fn *each;
	void *arg;
};

static int read_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	_cleanup_(x_freep) char *problem = conversation_problem_text(item);
	const struct reading *r = arg;
	const struct kluis_chat_message message = {.seq = item->seq,
		.time_ms = item->time_ms,
		.user = item->user->name,
		.device = item->device->name,
		.kind = item->opened ? chat_kind_name(item->content.kind) : "closed",
		.text = item->content.text,
		.payload = item->content.raw.data,
		.payload_len = item->content.raw.len,
		.type = item->content.type,
		.of_seq = item->of_seq,
		.mine = item->mine,
		.not_theirs = item->not_theirs,
		.device_revoked = item->device->revoked,
		.missing = item->missing,
		.problem_code = conversation_problem_code(item->problems),
		.problem = problem};

	return r->each(r->arg, &message) == 0
		       ? 0
		       : err_set(e, KLUIS_EINTERNAL, "the caller ended the reading");
}

static int chat_read(struct kluis *k, const char *chat, const struct conversation_read *reader,
	struct kluis_failure *error)
{
	struct chatting t;
	size_t n;
	int rc = chatting_open(&t, k, chat);

	rc = rc != 0 ? rc : conversation_read(t.c, reader, &n, &t.err);
	rc = rc != 0 ? rc : conversation_flush(t.c, &t.err);
	if (rc == 0 && conversation_archive_verdict(t.c) != 0) {
		rc = err_set(&t.err, t.c->archive_trouble.code, "%s", t.c->archive_trouble.text);
	}
	return chatting_close(&t, rc, error);
}

int kluis_chat_read(struct kluis *k, const char *chat, int quiet, kluis_chat_message_fn *each,
	void *arg, struct kluis_failure *error)
{
	struct reading reading = {.each = each, .arg = arg};
	const struct conversation_read reader = {
		.each = read_cb, .arg = &reading, .quiet = quiet != 0};

	return chat_read(k, chat, &reader, error);
}

int kluis_chat_read_last(struct kluis *k, const char *chat, uint64_t last,
	kluis_chat_message_fn *each, void *arg, struct kluis_failure *error)
{
	struct reading reading = {.each = each, .arg = arg};
	const struct conversation_read reader = {.each = read_cb, .arg = &reading, .last = last};

	return chat_read(k, chat, &reader, error);
}
