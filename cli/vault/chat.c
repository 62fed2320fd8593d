/* kluis chat new|list|accept|leave|members|role|transfer|send (read: chat_read.c, follow:
 * chat_follow.c) */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/notification.h"
#include "cli/vault/chat.h"

int chat_with(struct app *k, const char *name, int (*body)(struct chat_app *a), void *arg)
{
	struct chat_app a = {.app = k, .arg = arg};
	uint8_t id[ID_BYTES];
	int rc = app_online(k);

	if (rc != 0) {
		return rc;
	}
	a.people = people_new(k->profile, k->client);
	rc = conversation_find(a.people, name, id, &k->inv->err);
	rc = rc != 0 ? rc : conversation_open(a.people, id, &a.c, &k->inv->err);
	rc = rc != 0 ? rc : body(&a);
	rc = a.c == NULL ? rc : chat_history_end(k->inv, a.c, rc);
	conversation_close(a.c);
	people_free(a.people);
	return rc;
}

/* Told before anything else is read under it. */
static void history_warn(struct invocation *inv, const struct conversation *c)
{
	if (c->history_switched == HISTORY_SWITCHED_ON) {
		output_warning(&inv->out,
			"somebody switched the history of this conversation on: what is read of it "
			"is archived from now on, and not forward secret. Any member can; ask who "
			"did ('kluis chat history --off' is for its admins)");
	} else if (c->history_switched == HISTORY_SWITCHED_OFF) {
		output_warning(&inv->out,
			"somebody switched the history of this conversation off: what is read of "
			"it is not archived any more");
	}
}

int chat_history_end(struct invocation *inv, const struct conversation *c, int rc)
{
	const struct err *trouble = &c->archive_trouble;

	history_warn(inv, c);
	if (trouble->code == 0) {
		return rc;
	}
	if (conversation_archive_verdict(c) == 0) {
		output_note(&inv->out, "%s", trouble->text);
		return rc;
	}
	if (rc == 0) {
		return err_set(&inv->err, trouble->code, "%s", trouble->text);
	}
	output_warning(&inv->out, "%s", trouble->text);
	return rc;
}

static bool trouble_is_same(const struct err *a, const struct err *b)
{
	return a->code == b->code && strcmp(a->text, b->text) == 0;
}

void chat_history_tell(struct invocation *inv, struct conversation *c, struct chat_told *told)
{
	const struct err *trouble = &c->archive_trouble;
	bool *noted = &told->noted[-trouble->code];

	assert(trouble->code <= 0 && -trouble->code < KLUIS_ERROR_MAX);
	if (conversation_archive_verdict(c) != 0) {
		if (!trouble_is_same(&told->verdict, trouble)) {
			output_warning(&inv->out, "%s", trouble->text);
		}
		told->verdict = *trouble;
	} else if (trouble->code != 0 && !*noted) {
		output_note(&inv->out, "%s", trouble->text);
		*noted = true;
	}
	c->archive_trouble = (struct err){0};
}

const char *chat_history_switched(const struct conversation *c)
{
	return c->history_switched == HISTORY_SWITCHED_ON    ? "on"
	       : c->history_switched == HISTORY_SWITCHED_OFF ? "off"
							     : NULL;
}

int chat_accepted(const struct chat_app *a)
{
	return strcmp(a->c->info.state, "invited") != 0
		       ? 0
		       : err_set(&a->app->inv->err, KLUIS_EFORBIDDEN,
				 "you are invited to this conversation: 'kluis chat accept' first, "
				 "or 'kluis chat leave'");
}

static int new_users(struct app *k, struct people *people, uint8_t (*ids)[ID_BYTES])
{
	int rc = 0;

	for (size_t i = 1; rc == 0 && i < k->inv->n_args; i++) {
		const struct identity *user;

		rc = people_by_name(people, k->inv->args[i], &user, &k->inv->err);
		if (rc == 0) {
			memcpy(ids[i - 1], user->user_id, ID_BYTES);
		}
	}
	return rc;
}

/* The conversation is there, whatever becomes of this. */
static void new_history(struct app *k, struct conversation *c)
{
	struct err why = {0};

	if (conversation_archive_switch(c, invocation_value(k->inv, "no-history") == NULL, &why) !=
		0) {
		output_note(&k->inv->out, "it has no history yet: %s", why.text);
	}
}

static int chat_new_body(struct app *k)
{
	static const struct output_column columns[] = {
		{"title", "TITLE", OUTPUT_TEXT}, {"id", "ID", OUTPUT_TEXT}};
	size_t n = k->inv->n_args - 1;
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = x_calloc(n + 1, sizeof *ids);
	struct people *people = people_new(k->profile, k->client);
	struct conversation *c = NULL;
	json_t *record;
	int rc = app_online(k);

	rc = rc != 0 ? rc : new_users(k, people, ids);
	rc = rc != 0 ? rc
		     : conversation_create(people, k->inv->args[0], (const uint8_t(*)[ID_BYTES])ids,
			       n, &c, &k->inv->err);
	if (rc == 0 && k->profile->person != NULL) {
		new_history(k, c);
	}
	if (rc == 0) {
		record = json_pack("{s:s, s:o}", "title", c->state.title, "id",
			json_hex(bytes_of(c->id, ID_BYTES)));
		output_record(&k->inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	conversation_close(c);
	people_free(people);
	return rc;
}

int app_chat_new(struct invocation *inv)
{
	return app_run(inv, chat_new_body);
}

static json_t *list_row(const struct conversation_row *row)
{
	return json_pack("{s:s?, s:o, s:s, s:s, s:I, s:I, s:b, s:I}", "title",
		row->title[0] == 0 ? NULL : row->title, "id",
		json_hex(bytes_of(row->info.id, ID_BYTES)), "state", row->info.state, "role",
		row->info.role, "unread", (json_int_t)row->unread, "last",
		(json_int_t)row->info.last_seq, "unsent", row->pending, "created",
		(json_int_t)row->info.created_ms);
}

static int chat_list_body(struct app *k)
{
	static const struct output_column columns[] = {{"title", "TITLE", OUTPUT_TEXT},
		{"id", "ID", OUTPUT_TEXT}, {"state", "STATE", OUTPUT_TEXT},
		{"role", "ROLE", OUTPUT_TEXT}, {"unread", "UNREAD", OUTPUT_TEXT},
		{"unsent", "UNSENT", OUTPUT_TEXT}, {"created", "CREATED", OUTPUT_TIME}};
	_cleanup_(x_freep) struct conversation_row *rows = NULL;
	struct people *people = people_new(k->profile, k->client);
	json_t *list = json_array();
	size_t n = 0;
	int rc = app_online(k);

	rc = rc != 0 ? rc : conversation_list(people, &rows, &n, &k->inv->err);
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(list, list_row(&rows[i]));
	}
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), list);
	}
	json_decref(list);
	people_free(people);
	return rc;
}

int app_chat_list(struct invocation *inv)
{
	return app_run(inv, chat_list_body);
}

static int accept_body(struct chat_app *a)
{
	return conversation_accept(a->c, &a->app->inv->err);
}

static int chat_accept_body(struct app *k)
{
	return chat_with(k, k->inv->args[0], accept_body, NULL);
}

int app_chat_accept(struct invocation *inv)
{
	return app_run(inv, chat_accept_body);
}

static void leave_show(const struct chat_app *a)
{
	static const struct output_column columns[] = {{"id", "Id", OUTPUT_TEXT},
		{"state", "State", OUTPUT_TEXT}, {"role", "Role", OUTPUT_TEXT}};
	const struct conversation *c = a->c;
	json_t *record = json_pack("{s:o, s:s, s:s}", "id", json_hex(bytes_of(c->id, ID_BYTES)),
		"state", c->info.state, "role", c->info.role);

	output_record(&a->app->inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
}

static int leave_body(struct chat_app *a)
{
	struct invocation *inv = a->app->inv;

	if (invocation_value(inv, "dry-run") != NULL) {
		leave_show(a);
		return 0;
	}
	return invocation_confirm(inv,
		       "Leave this conversation? What this device has of it goes; only an admin "
		       "of it can ask you back.")
		       ? conversation_leave(a->c, &inv->err)
		       : inv->err.code;
}

static int chat_leave_body(struct app *k)
{
	return chat_with(k, k->inv->args[0], leave_body, NULL);
}

int app_chat_leave(struct invocation *inv)
{
	return app_run(inv, chat_leave_body);
}

/* Members by the verified chain; what they answered and read is the node's word. */
struct members_show {
	struct chat_app *a;
	json_t *rows;
	char invented[HEX_LEN(ID_BYTES) + 1]; /* Whom the cluster lists, and no admin added. */
};

static json_t *members_row(struct members_show *show, const uint8_t id[ID_BYTES])
{
	char hex[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(id, ID_BYTES), hex);
	for (size_t i = 0; i < json_array_size(show->rows); i++) {
		json_t *row = json_array_get(show->rows, i);

		if (strcmp(json_string_value(json_object_get(row, "id")), hex) == 0) {
			return row;
		}
	}
	return NULL;
}

static void members_state_cb(void *arg, const uint8_t id[ID_BYTES], const char *state)
{
	struct members_show *show = arg;
	json_t *row = members_row(show, id);

	if (row != NULL) {
		(void)json_object_set_new(row, "state", json_string(state));
	} else {
		hex_encode(bytes_of(id, ID_BYTES), show->invented);
	}
}

static int members_states(struct members_show *show)
{
	struct err *e = &show->a->app->inv->err;
	int rc = api_conversation_members(
		show->a->app->client, show->a->c->id, members_state_cb, show, e);

	return rc != 0 || show->invented[0] == 0
		       ? rc
		       : err_set(e, KLUIS_EVERIFY,
				 "the cluster lists %s as a member, which no admin signed: it "
				 "added somebody, or keeps on who was removed",
				 show->invented);
}

static int members_rows(struct members_show *show)
{
	static const char *const roles[] = {"", "read", "write", "admin"};
	const struct members *members = &show->a->c->members->members;
	struct err *e = &show->a->app->inv->err;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < members->count; i++) {
		const struct member *m = &members->member[i];
		const struct identity *user;
		bool verified = false;

		rc = people_get(show->a->people, m->id, false, &user, e);
		rc = rc != 0 ? rc : people_is_verified(show->a->people, m->id, &verified, e);
		if (rc == 0) {
			(void)json_array_append_new(show->rows,
				json_pack("{s:s, s:o, s:s, s:b, s:I}", "user", user->name, "id",
					json_hex(bytes_of(m->id, ID_BYTES)), "role",
					roles[m->role <= MEMBER_ADMIN ? m->role : 0], "verified",
					verified, "read", (json_int_t)0));
		}
	}
	return rc;
}

static int members_receipts(struct members_show *show)
{
	_cleanup_(x_freep) struct api_receipt *receipts = NULL;
	size_t n = 0;
	int rc = api_receipts(
		show->a->app->client, show->a->c->id, &receipts, &n, &show->a->app->inv->err);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		json_t *row = members_row(show, receipts[i].user_id);
		json_int_t read = (json_int_t)receipts[i].read;

		if (row != NULL && json_integer_value(json_object_get(row, "read")) < read) {
			(void)json_object_set_new(row, "read", json_integer(read));
		}
	}
	return rc;
}

static int members_change(struct chat_app *a, const char *option,
	int (*change)(struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e))
{
	struct invocation *inv = a->app->inv;
	const char *name;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (name = invocation_value_at(inv, option, i)) != NULL; i++) {
		const struct identity *user;

		rc = people_by_name(a->people, name, &user, &inv->err);
		rc = rc != 0 ? rc : change(a->c, user->user_id, &inv->err);
		if (rc != 0) {
			return err_wrap(&inv->err, rc, "'%s'", name);
		}
	}
	return rc;
}

/* Who comes has not seen the title. */
static int members_title(struct chat_app *a)
{
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	uint64_t seq;

	if (invocation_value(a->app->inv, "add") == NULL || a->c->state.title[0] == 0) {
		return 0;
	}
	chat_content_title(a->c->state.title, &payload);
	return conversation_send(a->c, CHAT_JSON, buf_bytes(&payload), &seq, &a->app->inv->err);
}

static int members_body(struct chat_app *a)
{
	static const struct output_column columns[] = {{"user", "USER", OUTPUT_TEXT},
		{"role", "ROLE", OUTPUT_TEXT}, {"state", "STATE", OUTPUT_TEXT},
		{"verified", "VERIFIED", OUTPUT_TEXT}, {"read", "READ TO", OUTPUT_TEXT}};
	struct members_show show = {.a = a};
	struct invocation *inv = a->app->inv;
	int rc = members_change(a, "remove", conversation_remove);

	rc = rc != 0 ? rc : members_change(a, "add", conversation_add);
	rc = rc != 0 ? rc : members_title(a);
	if (rc != 0) {
		return rc;
	}
	show.rows = json_array();
	rc = members_rows(&show);
	rc = rc != 0 ? rc : members_states(&show);
	rc = rc != 0 ? rc : members_receipts(&show);
	if (rc == 0) {
		output_rows(&inv->out, columns, ARRAY_SIZE(columns), show.rows);
	}
	json_decref(show.rows);
	return rc;
}

static int chat_members_body(struct app *k)
{
	return chat_with(k, k->inv->args[0], members_body, NULL);
}

int app_chat_members(struct invocation *inv)
{
	return app_run(inv, chat_members_body);
}

static int role_user(const struct chat_app *a, const struct identity **ret_user)
{
	return people_by_name(a->people, a->app->inv->args[1], ret_user, &a->app->inv->err);
}

static int role_body(struct chat_app *a)
{
	struct invocation *inv = a->app->inv;
	const struct identity *user;
	unsigned role;
	int rc = app_role_of(inv, inv->args[2], &role);

	rc = rc != 0 ? rc : role_user(a, &user);
	return rc != 0 ? rc : conversation_set_role(a->c, user->user_id, role, &inv->err);
}

static int chat_role_body(struct app *k)
{
	return chat_with(k, k->inv->args[0], role_body, NULL);
}

int app_chat_role(struct invocation *inv)
{
	return app_run(inv, chat_role_body);
}

static int transfer_body(struct chat_app *a)
{
	struct invocation *inv = a->app->inv;
	const struct identity *user;
	unsigned role;
	int rc = app_role_kept(inv, &role);

	rc = rc != 0 ? rc : role_user(a, &user);
	return rc != 0 ? rc : conversation_transfer(a->c, user->user_id, role, &inv->err);
}

static int chat_transfer_body(struct app *k)
{
	return chat_with(k, k->inv->args[0], transfer_body, NULL);
}

int app_chat_transfer(struct invocation *inv)
{
	return app_run(inv, chat_transfer_body);
}

/* It is sent already: a notification may be lost. */
static void send_notify(struct chat_app *a, uint64_t seq)
{
	struct err why = {0};
	size_t n;

	if (invocation_value(a->app->inv, "notify") != NULL &&
		notification_send(a->c, seq, &n, &why) != 0) {
		output_warning(&a->app->inv->out, "nobody is notified of it: %s", why.text);
	}
}

static void send_number(struct invocation *inv, uint64_t seq)
{
	static const struct output_column columns[] = {{"seq", "Number", OUTPUT_TEXT}};
	json_t *record = json_pack("{s:I}", "seq", (json_int_t)seq);

	if (inv->out.format == OUTPUT_JSON) {
		output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	} else {
		output_note(&inv->out, "sent as number %llu", (unsigned long long)seq);
	}
	json_decref(record);
}

static int send_shown(struct chat_app *a, unsigned type, struct bytes payload)
{
	struct invocation *inv = a->app->inv;
	uint64_t seq;
	int rc = conversation_send(a->c, type, payload, &seq, &inv->err);

	if (rc == 0) {
		send_notify(a, seq);
		send_number(inv, seq);
	}
	return rc;
}

static int send_files(struct chat_app *a)
{
	struct invocation *inv = a->app->inv;
	int rc = 0;

	for (size_t i = 0; rc == 0; i++) {
		const char *file = invocation_value_at(inv, "attach", i);
		uint64_t seq;

		if (file == NULL) {
			break;
		}
		rc = conversation_attach(a->c, file, &seq, &inv->err);
		if (rc == 0) {
			send_notify(a, seq);
			send_number(inv, seq);
		}
	}
	return rc;
}

static int send_input(struct invocation *inv, struct buf *to)
{
	const char *file = invocation_value(inv, "text-file");
	bool console = file == NULL || strcmp(file, "-") == 0;
	int rc = file_read(console ? NULL : file, CHAT_PAYLOAD_BYTES_MAX, to, &inv->err);

	if (rc == 0 && to->len > 0 && to->data[to->len - 1] == '\n') {
		to->len--; /* What ends a line at a terminal is not meant. */
	}
	if (rc == 0 && !utf8_valid(buf_bytes(to))) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "a message is text (UTF-8)");
	}
	return rc;
}

/* Each line of stdin is a message; sent as it comes. */
static int send_lines(struct chat_app *a)
{
	_cleanup_(x_freep) char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int rc = 0;

	while (rc == 0 && (len = getline(&line, &room, stdin)) >= 0) {
		size_t n = len > 0 && line[len - 1] == '\n' ? (size_t)len - 1 : (size_t)len;

		if (!utf8_valid(bytes_of(line, n))) {
			return err_set(
				&a->app->inv->err, KLUIS_EINVAL, "a message is text (UTF-8)");
		}
		rc = send_shown(a, CHAT_TEXT, bytes_of(line, n));
	}
	return rc;
}

/* The message that --edit or --delete names. */
static int send_target(struct chat_app *a, const char *option, const struct chat_shown **ret_row)
{
	struct invocation *inv = a->app->inv;
	uint64_t seq;
	int rc = invocation_number(inv, option, 0, UINT64_MAX, &seq);
	const struct chat_shown *row = rc == 0 ? chat_state_row(&a->c->state, seq) : NULL;

	if (rc == 0 && row == NULL) {
		rc = err_set(&inv->err, KLUIS_ENOTFOUND,
			"this device has not read a message %llu, or long ago",
			(unsigned long long)seq);
	}
	if (rc == 0 && memcmp(row->user_id, a->c->state.own.user_id, ID_BYTES) != 0) {
		rc = err_set(&inv->err, KLUIS_EFORBIDDEN, "message %llu is somebody else's",
			(unsigned long long)seq);
	}
	*ret_row = row;
	return rc;
}

static int send_json(struct chat_app *a)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT, payload = BUF_INIT;
	struct invocation *inv = a->app->inv;
	const char *title = invocation_value(inv, "title");
	const struct chat_shown *row;
	int rc;

	if (title != NULL) {
		if (!chat_title_valid(title)) {
			return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no title", title);
		}
		chat_content_title(title, &payload);
	} else if (invocation_value(inv, "delete") != NULL) {
		rc = send_target(a, "delete", &row);
		if (rc != 0) {
			return rc;
		}
		chat_content_delete(row->link, &payload);
	} else {
		rc = send_target(a, "edit", &row);
		rc = rc != 0 ? rc : send_input(inv, &text);
		if (rc != 0) {
			return rc;
		}
		chat_content_edit(row->link, buf_str(&text), &payload);
	}
	return send_shown(a, CHAT_JSON, buf_bytes(&payload));
}

static int send_body(struct chat_app *a)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	struct invocation *inv = a->app->inv;
	int rc = chat_accepted(a);

	if (rc != 0) {
		return rc;
	}
	if (invocation_value(inv, "edit") != NULL || invocation_value(inv, "delete") != NULL ||
		invocation_value(inv, "title") != NULL) {
		return send_json(a);
	}
	if (invocation_value(inv, "attach") != NULL) {
		return send_files(a);
	}
	if (invocation_value(inv, "lines") != NULL) {
		return send_lines(a);
	}
	rc = send_input(inv, &text);
	return rc != 0 ? rc : send_shown(a, CHAT_TEXT, buf_bytes(&text));
}

static int chat_send_body(struct app *k)
{
	return chat_with(k, k->inv->args[0], send_body, NULL);
}

int app_chat_send(struct invocation *inv)
{
	return app_run(inv, chat_send_body);
}
