#include "cli/client/conversation.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/chat_store.h"
#include "cli/client/conversation_archive.h"
#include "cli/client/share.h"

enum { FIND_DIGITS_MIN = 6 };

struct profile *conversation_profile(const struct conversation *c)
{
	return people_profile(c->people);
}

struct client *conversation_client(const struct conversation *c)
{
	return people_client(c->people);
}

/* What is to be archived first: with the state the keys of what was read are gone. */
int conversation_save(struct conversation *c, struct err *e)
{
	if (c->backlog_dirty) {
		int rc = chat_store_save_backlog(conversation_profile(c), c->id, &c->backlog, e);

		if (rc != 0) {
			return rc;
		}
		c->backlog_dirty = false;
	}
	return chat_store_save(conversation_profile(c), &c->state, e);
}

int conversation_reload(struct conversation *c, int rc, struct err *e)
{
	struct chat_state stored;
	struct err why = {0};

	if (chat_store_load(conversation_profile(c), c->id, &stored, &why) != 0) {
		return err_wrap(e, rc, "%s", why.text);
	}
	chat_state_release(&c->state);
	c->state = stored;
	return rc;
}

void conversation_close(struct conversation *c)
{
	if (c == NULL) {
		return;
	}
	for (size_t i = 0; i < c->n_keys; i++) {
		chat_epoch_key_release(&c->keys[i].key);
	}
	free(c->keys);
	conversation_archive_close(c->archive);
	chat_segment_release(&c->backlog);
	chat_state_release(&c->state);
	membership_free(c->members);
	free(c);
}

static int conversation_new(struct people *people, const uint8_t id[ID_BYTES],
	struct conversation **ret_conversation, struct err *e)
{
	struct conversation *c = x_calloc(1, sizeof *c);
	int rc;

	c->people = people;
	memcpy(c->id, id, ID_BYTES);
	rc = chat_store_load(people_profile(people), id, &c->state, e);
	if (rc == 0 && people_profile(people)->person != NULL) {
		rc = chat_store_load_backlog(people_profile(people), id, &c->backlog, e);
	}
	if (rc != 0) {
		conversation_close(c);
		return rc;
	}
	*ret_conversation = c;
	return 0;
}

static bool was_member(const struct membership *m, const uint8_t user_id[ID_BYTES])
{
	for (uint64_t rev = m->members.seq; rev > 0; rev--) {
		if (m->steps[rev - 1].type != MEMBER_ROTATE &&
			memcmp(m->steps[rev - 1].member_id, user_id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* "An invitation": what was never accepted opens nothing. */
static int conversation_is_member(const struct conversation *c, struct err *e)
{
	const struct members *members = &c->members->members;

	if (members->kind != MEMBER_OBJECT_CONVERSATION) {
		return err_set(e, KLUIS_EVERIFY, "that is no conversation");
	}
	if (!was_member(c->members, conversation_profile(c)->user_id)) {
		return err_set(e, KLUIS_EVERIFY,
			"none of the admins of this conversation invited you: the cluster made "
			"that up");
	}
	return members_find(members, conversation_profile(c)->user_id) != NULL
		       ? 0
		       : err_set(e, KLUIS_EFORBIDDEN,
				 "you are not a member of this conversation any more");
}

int conversation_answer(int rc, struct err *e)
{
	return rc != KLUIS_ENOTFOUND
		       ? rc
		       : err_set(e, KLUIS_EFORBIDDEN,
				 "by the cluster's word you are no member of this conversation any "
				 "more");
}

/* It was open to us. */
static bool lineage_is_known(const struct conversation *c)
{
	static const uint8_t unknown[ID_BYTES];

	return memcmp(c->state.lineage, unknown, ID_BYTES) != 0;
}

int conversation_open(struct people *people, const uint8_t id[ID_BYTES],
	struct conversation **ret_conversation, struct err *e)
{
	struct conversation *c;
	int rc = conversation_new(people, id, &c, e);

	if (rc != 0) {
		return rc;
	}
	rc = membership_load_seen(people, MEMBER_OBJECT_CONVERSATION, id, &c->members, e);
	rc = lineage_is_known(c) ? conversation_answer(rc, e) : rc;
	rc = rc != 0 ? rc : conversation_refresh(c, e);
	if (rc != 0) {
		conversation_close(c);
		return rc;
	}
	*ret_conversation = c;
	return 0;
}

/* Numbers never go back, unless an operator restored the cluster and the user accepted it. */
static int refresh_numbers(struct conversation *c, struct err *e)
{
	const uint8_t *lineage = conversation_profile(c)->lineage;
	uint64_t newest = chat_state_newest(&c->state);

	if (!lineage_is_known(c)) {
		memcpy(c->state.lineage, lineage, ID_BYTES);
	} else if (memcmp(c->state.lineage, lineage, ID_BYTES) != 0) {
		chat_state_restored(&c->state, lineage, c->info.last_seq, c->members->members.seq);
		return conversation_save(c, e);
	}
	return c->info.last_seq >= newest
		       ? 0
		       : err_set(e, KLUIS_EPIN,
				 "the cluster shows this conversation up to message %" PRIu64
				 ", but this device has seen it at message %" PRIu64
				 ": it was rolled back. Ask the other members, and the operator "
				 "what was lost, and why",
				 c->info.last_seq, newest);
}

int conversation_refresh(struct conversation *c, struct err *e)
{
	const struct members *members = &c->members->members;
	int rc = conversation_answer(
		api_conversation(conversation_client(c), c->id, &c->info, e), e);

	if (rc == 0 && (c->info.members_rev != members->seq ||
			       memcmp(c->info.members_hash, members->hash, HASH_BYTES) != 0)) {
		rc = membership_refresh(c->members, c->people, e);
	}
	rc = rc != 0 ? rc : refresh_numbers(c, e);
	c->keys_fetched = false;
	return rc != 0 ? rc : conversation_is_member(c, e);
}

int conversation_accept(struct conversation *c, struct err *e)
{
	int rc = api_conversation_answer(conversation_client(c), c->id, true, e);

	c->archive_missed = false; /* The invitation to its vault goes with it. */
	return rc != 0 ? rc : conversation_refresh(c, e);
}

int conversation_leave(struct conversation *c, struct err *e)
{
	struct err why = {0};
	int rc = api_conversation_answer(conversation_client(c), c->id, false, &why);

	if (rc != 0) {
		return share_leave_refused(c->people, MEMBER_OBJECT_CONVERSATION, c->id, &why, e);
	}
	conversation_archive_leave(c);
	return chat_store_forget(conversation_profile(c), c->id, e);
}

/* The statements of a new chain: create, and one for each user. */
static int create_chain(struct conversation *c, const uint8_t (*users)[ID_BYTES], size_t n,
	struct buf *statements, struct err *e)
{
	const struct profile *profile = conversation_profile(c);
	uint64_t now_ms = clock_wall_ms(&clock_system);
	int rc = members_create(c->id, MEMBER_OBJECT_CONVERSATION, profile->user_id, NULL,
		profile->device, now_ms, &statements[0], e);

	for (size_t i = 0; rc == 0; i++) {
		_cleanup_(buf_release) struct buf body = BUF_INIT;

		rc = membership_extend(
			c->members, buf_bytes(&statements[i]), people_source(c->people), false, e);
		if (rc != 0 || i == n) {
			break;
		}
		conversation_body_add(users[i], &body);
		rc = members_make(&c->members->members, MEMBER_ADD, buf_bytes(&body),
			profile->device, now_ms, &statements[i + 1], e);
	}
	return rc;
}

static int create_send(
	struct conversation *c, const uint8_t (*users)[ID_BYTES], size_t n, struct err *e)
{
	struct buf statements[CONVERSATION_MEMBERS_MAX] = {BUF_INIT};
	struct bytes runs[CONVERSATION_MEMBERS_MAX];
	int rc = create_chain(c, users, n, statements, e);

	for (size_t i = 0; i <= n; i++) {
		runs[i] = buf_bytes(&statements[i]);
	}
	rc = rc != 0 ? rc
		     : api_conversation_create(conversation_client(c), runs[0], runs + 1, n, e);
	for (size_t i = 0; i <= n; i++) {
		buf_release(&statements[i]);
	}
	return rc != 0 ? rc : membership_store(c->members, conversation_profile(c), e);
}

static int create_title(struct conversation *c, const char *title, struct err *e)
{
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	uint64_t seq;

	(void)snprintf(c->state.title, sizeof c->state.title, "%s", title);
	chat_content_title(title, &payload);
	return conversation_send(c, CHAT_JSON, buf_bytes(&payload), &seq, e);
}

int conversation_create(struct people *people, const char *title, const uint8_t (*users)[ID_BYTES],
	size_t n, struct conversation **ret_conversation, struct err *e)
{
	struct conversation *c;
	uint8_t id[ID_BYTES];
	int rc;

	if (!chat_title_valid(title)) {
		return err_set(e, KLUIS_EINVAL, "a title is 1 to %d bytes of text in one line",
			CHAT_TITLE_BYTES_MAX);
	}
	if (n == 0 || n >= CONVERSATION_MEMBERS_MAX) {
		return err_set(e, KLUIS_EINVAL, "a conversation has 2 to %d members",
			CONVERSATION_MEMBERS_MAX);
	}
	random_fill(&random_system, id, ID_BYTES);
	rc = conversation_new(people, id, &c, e);
	if (rc != 0) {
		return rc;
	}
	c->members = membership_new();
	rc = create_send(c, users, n, e);
	rc = rc != 0 ? rc : create_title(c, title, e);
	if (rc != 0) {
		conversation_close(c);
		return rc;
	}
	*ret_conversation = c;
	return 0;
}

static int row_of(struct people *people, const struct api_conversation *info,
	struct conversation_row *ret_row, struct err *e)
{
	struct chat_state state;
	int rc = chat_store_load(people_profile(people), info->id, &state, e);

	if (rc != 0) {
		return rc;
	}
	*ret_row = (struct conversation_row){.info = *info, .pending = state.pending.len > 0};
	memcpy(ret_row->title, state.title, sizeof ret_row->title);
	ret_row->unread = info->last_seq > state.last_seq ? info->last_seq - state.last_seq : 0;
	chat_state_release(&state);
	return 0;
}

int conversation_list(
	struct people *people, struct conversation_row **ret_rows, size_t *ret_n, struct err *e)
{
	_cleanup_(x_freep) struct api_conversation *infos = NULL;
	_cleanup_(x_freep) struct conversation_row *rows = NULL;
	size_t n;
	int rc = api_conversations(people_client(people), &infos, &n, e);

	if (rc != 0) {
		return rc;
	}
	rows = x_calloc(n + 1, sizeof *rows);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = row_of(people, &infos[i], &rows[i], e);
	}
	if (rc == 0) {
		*ret_rows = rows;
		*ret_n = n;
		rows = NULL;
	}
	return rc;
}

struct find {
	const char *name;
	uint8_t id[ID_BYTES]; /* Of the last that it could be. */
	size_t n;
};

static void find_take(struct find *f, const uint8_t id[ID_BYTES], const char *title)
{
	char hex[HEX_LEN(ID_BYTES) + 1];
	size_t len = strlen(f->name);

	hex_encode(bytes_of(id, ID_BYTES), hex);
	if (strcmp(title, f->name) == 0 ||
		(len >= FIND_DIGITS_MIN && len < sizeof hex && strncmp(hex, f->name, len) == 0)) {
		memcpy(f->id, id, ID_BYTES);
		f->n++;
	}
}

static int find_listed(struct find *f, struct people *people, struct err *e)
{
	_cleanup_(x_freep) struct conversation_row *rows = NULL;
	size_t n = 0;
	int rc = conversation_list(people, &rows, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		find_take(f, rows[i].info.id, rows[i].title);
	}
	return rc;
}

/* What the cluster does not list any more: who was removed shall be told just that. */
static int find_stored(struct find *f, struct people *people, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n = 0;
	int rc = chat_store_ids(people_profile(people), &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct chat_state state;

		rc = chat_store_load(people_profile(people), ids[i], &state, e);
		if (rc == 0) {
			find_take(f, ids[i], state.title);
			chat_state_release(&state);
		}
	}
	return rc;
}

int conversation_find(
	struct people *people, const char *name, uint8_t ret_id[ID_BYTES], struct err *e)
{
	struct find f = {.name = name};
	int rc;

	if (hex_decode(name, ret_id, ID_BYTES) == 0) {
		return 0;
	}
	rc = find_listed(&f, people, e);
	if (rc == 0 && f.n == 0) {
		rc = find_stored(&f, people, e);
	}
	if (rc != 0) {
		return rc;
	}
	if (f.n > 1) {
		return err_set(e, KLUIS_ECONFLICT,
			"'%s' could be several conversations: 'kluis chat list' shows their ids",
			name);
	}
	if (f.n == 0) {
		return err_set(e, KLUIS_ENOTFOUND,
			"there is no conversation '%s' ('kluis chat list' shows all)", name);
	}
	memcpy(ret_id, f.id, ID_BYTES);
	return 0;
}
