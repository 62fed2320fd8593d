#include "cli/client/conversation_archive.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/client/chat_store.h"
#include "cli/client/conversation_archive_impl.h"
#include "cli/client/share.h"

/* Follows from the conversation, so that every device finds it, and only members know it before. */
static void archive_id(const struct conversation *c, uint8_t ret_id[ID_BYTES])
{
	uint8_t hash[HASH_BYTES];

	HASH_TH(hash, "kluis/v1/chat-vault", bytes_of(c->id, ID_BYTES),
		bytes_of(c->members->steps[0].hash, HASH_BYTES));
	memcpy(ret_id, hash, ID_BYTES);
}

static const uint8_t *archive_founder(const struct conversation *c)
{
	return c->members->steps[0].member_id;
}

static bool archive_is_mine(const struct conversation *c)
{
	return memcmp(archive_founder(c), conversation_profile(c)->user_id, ID_BYTES) == 0;
}

void conversation_archive_close(struct conversation_archive *archive)
{
	if (archive == NULL) {
		return;
	}
	vault_close(archive->vault);
	chat_segment_release(&archive->segment);
	free(archive->index);
	free(archive);
}

/* What comes of it is told at the end, and the messages are shown all the same. */
static void archive_trouble(struct conversation *c, const struct err *why)
{
	if (c->archive_trouble.code == 0) {
		c->archive_trouble = *why;
	}
}

int archive_read_index(struct conversation *c, struct conversation_archive *archive, struct err *e)
{
	bool moved = true;
	int rc = 0;

	for (unsigned turn = 0; rc == 0 && moved && turn < VAULT_FETCH_TRIES; turn++) {
		_cleanup_(secret_buf_release) struct buf content = BUF_INIT;

		if (archive->vault->head.page_count <= CHAT_INDEX_PAGE ||
			!vault_page_written(archive->vault, CHAT_INDEX_PAGE)) {
			return err_set(e, KLUIS_ENOTFOUND, "its vault is empty");
		}
		rc = vault_read_page(archive->vault, CHAT_INDEX_PAGE, true, &content, &moved, e);
		if (rc == 0 && !moved) {
			rc = chat_index_decode(buf_bytes(&content), c->id, archive->index, e);
		}
	}
	return rc != 0 || !moved ? rc : err_set(e, KLUIS_EBUSY, "the history changes all the time");
}

int archive_read_segment(
	struct conversation *c, struct conversation_archive *archive, size_t row, struct err *e)
{
	uint64_t page_no = archive->index->rows[row].page_no;
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	struct vault *vault = archive->vault;
	struct chat_segment segment;
	bool moved = false;
	int rc;

	if (page_no >= vault->head.page_count || !vault_page_written(vault, page_no)) {
		return err_set(e, KLUIS_ECORRUPT, "the index of the history names no page");
	}
	if (archive->revision != 0 && archive->row == row &&
		archive->revision == vault->leaves[page_no].revision) {
		return 0;
	}
	rc = vault_read_page(vault, page_no, true, &content, &moved, e);
	if (rc == 0 && moved) {
		rc = err_set(e, KLUIS_EAGAIN, "the history changed while it was read");
	}
	rc = rc != 0 ? rc : chat_segment_decode(buf_bytes(&content), c->id, &segment, e);
	if (rc == 0) {
		chat_segment_release(&archive->segment);
		archive->segment = segment;
		archive->row = row;
		archive->revision = vault->leaves[page_no].revision;
	}
	return rc;
}

static int archive_check_founder(
	const struct conversation *c, const struct membership *vault, struct err *e)
{
	return memcmp(vault->steps[0].member_id, archive_founder(c), ID_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "its vault was made by somebody who did not begin the "
				 "conversation: it is not read, and nothing goes into it");
}

/* Nobody's key but the founder's is taken. */
static int archive_accept(struct conversation *c, const uint8_t id[ID_BYTES], struct err *e)
{
	_cleanup_(membership_freep) struct membership *vault = NULL;
	int rc = membership_load(c->people, MEMBER_OBJECT_VAULT, id, &vault, e);

	rc = rc != 0 ? rc : archive_check_founder(c, vault, e);
	return rc != 0 ? rc : share_answer(c->people, MEMBER_OBJECT_VAULT, id, true, e);
}

/* Takes the invitation to it, if there is one: who takes that to the conversation means both. */
static int archive_open_vault(
	struct conversation *c, const uint8_t id[ID_BYTES], struct vault **ret_vault, struct err *e)
{
	struct profile *profile = conversation_profile(c);
	struct client *client = conversation_client(c);
	int rc = vault_open_id(profile, client, id, ret_vault, e);

	if (vault_denied(rc) && strcmp(c->info.state, "invited") != 0) {
		struct err why = {0};

		int taken = archive_accept(c, id, &why);

		if (taken == 0) {
			*e = (struct err){0};
			rc = vault_open_id(profile, client, id, ret_vault, e);
		} else if (taken == KLUIS_EVERIFY) {
			rc = err_set(e, taken, "%s", why.text);
		}
	}
	return rc != 0 ? rc : vault_sync(*ret_vault, e);
}

/* Who is in it, in the roles that they have in the conversation. */
struct archive_users {
	const struct conversation *c;
	struct share_user list[CONVERSATION_MEMBERS_MAX];
	size_t n;
};

static void users_add_cb(void *arg, const uint8_t id[ID_BYTES], const char *state)
{
	struct archive_users *users = arg;
	const struct member *member = members_find(&users->c->members->members, id);

	if (strcmp(state, "declined") != 0 && users->n < CONVERSATION_MEMBERS_MAX &&
		member != NULL) {
		struct share_user *user = &users->list[users->n++];

		memcpy(user->id, id, ID_BYTES);
		user->role = member->role;
	}
}

static bool users_are(const struct archive_users *users, const struct members *members)
{
	if (members->count != users->n) {
		return false;
	}
	for (size_t i = 0; i < users->n; i++) {
		const struct member *member = members_find(members, users->list[i].id);

		if (member == NULL || member->role != users->list[i].role) {
			return false;
		}
	}
	return true;
}

static bool archive_is_managed(const struct vault *vault)
{
	const struct membership *m = vault->membership;

	return membership_role(m, vault->profile->user_id, m->members.seq) == MEMBER_ADMIN;
}

int archive_follow_members(struct conversation *c, struct vault *vault, struct err *e)
{
	struct archive_users *users;
	int rc;

	if (!archive_is_managed(vault)) {
		return 0;
	}
	users = x_calloc(1, sizeof *users);
	users->c = c;
	rc = api_conversation_members(conversation_client(c), c->id, users_add_cb, users, e);
	if (rc == 0 && !users_are(users, &vault->membership->members)) {
		rc = share_set_users(vault, users->list, users->n, e);
	}
	free(users);
	return rc;
}

/* c->archive is set once it is whole. */
static int archive_load(struct conversation *c, struct vault *vault, struct err *e)
{
	struct conversation_archive *archive = x_calloc(1, sizeof *archive);
	int rc;

	archive->vault = vault;
	archive->index = x_calloc(1, sizeof *archive->index);
	rc = archive_check_founder(c, vault->membership, e);
	rc = rc != 0 ? rc : archive_follow_members(c, vault, e);
	rc = rc != 0 ? rc : archive_read_index(c, archive, e);
	if (rc == KLUIS_ENOTFOUND && archive_is_managed(vault)) {
		*e = (struct err){0}; /* A run that made it was cut. */
		rc = archive_begin(c, archive, c->state.archive, e);
	}
	if (rc != 0) {
		conversation_archive_close(archive);
		return rc;
	}
	c->archive = archive;
	c->state.archive = archive->index->history;
	memcpy(c->state.vault_id, vault->id, ID_BYTES);
	return 0;
}

static bool archive_unreached(int rc)
{
	return rc == KLUIS_ECONNECT || rc == KLUIS_ENOQUORUM || rc == KLUIS_ELINEAGE;
}

int conversation_archive_open(struct conversation *c, struct err *e)
{
	static const uint8_t none[ID_BYTES];
	struct vault *vault = NULL;
	uint8_t id[ID_BYTES];
	struct err why = {0};
	int rc;

	if (c->archive != NULL || conversation_profile(c)->person == NULL) {
		return 0;
	}
	archive_id(c, id);
	rc = archive_open_vault(c, id, &vault, &why);
	if (rc == 0) {
		rc = archive_load(c, vault, &why);
	} else {
		vault_close(vault);
	}
	if (archive_unreached(rc)) {
		return err_set(e, rc, "%s", why.text);
	}
	/* One that was never seen need not be there. */
	if (rc != 0 && !(vault_denied(rc) && memcmp(c->state.vault_id, none, ID_BYTES) == 0)) {
		(void)err_wrap(&why, rc, "history of the conversation");
		archive_trouble(c, &why);
	}
	return 0;
}

void conversation_archive_members(struct conversation *c)
{
	struct err why = {0};
	int rc = 0;

	if (c->archive == NULL) {
		rc = conversation_archive_open(c, &why);
	} else {
		rc = archive_follow_members(c, c->archive->vault, &why);
	}
	if (rc != 0) {
		(void)err_wrap(&why, rc, "history of the conversation");
		archive_trouble(c, &why);
	}
}

void conversation_archive_leave(struct conversation *c)
{
	struct err ignored = {0}; /* An admin of it takes out who has left. */
	uint8_t id[ID_BYTES];

	if (conversation_profile(c)->person == NULL) {
		return;
	}
	archive_id(c, id);
	if (share_answer(c->people, MEMBER_OBJECT_VAULT, id, false, &ignored) != 0) {
		return;
	}
}

static int archive_make_vault(struct conversation *c, struct err *e)
{
	char id[HEX_LEN(ID_BYTES) + 1], name[32];
	uint8_t vault_id[ID_BYTES];
	struct err why = {0};

	hex_encode(bytes_of(c->id, ID_BYTES), id);
	(void)snprintf(name, sizeof name, "chat-%.8s", id);
	archive_id(c, vault_id);
	if (vault_create_as(
		    conversation_profile(c), conversation_client(c), name, vault_id, &why) != 0) {
		return err_set(e, why.code, "vault of the conversation: %s", why.text);
	}
	memcpy(c->state.vault_id, vault_id, ID_BYTES);
	return 0;
}

/* Who manages the conversation's vault; whose vault it is to be where there is none. */
static int archive_check_switch(struct conversation *c, struct err *e)
{
	int rc = conversation_archive_open(c, e);

	if (rc != 0) {
		return rc;
	}
	return conversation_profile(c)->person != NULL &&
			       (c->archive != NULL ? archive_is_managed(c->archive->vault)
						   : archive_is_mine(c))
		       ? 0
		       : err_set(e, KLUIS_EFORBIDDEN,
				 "an admin of the conversation decides about its history, and who "
				 "began it makes that");
}

int conversation_archive_switch(struct conversation *c, bool on, struct err *e)
{
	int rc = archive_check_switch(c, e);

	if (rc != 0) {
		return rc;
	}
	c->state.archive = on;
	if (c->archive == NULL && c->archive_trouble.code == 0) {
		rc = archive_make_vault(c, e);
		c->state.archive = on;
		rc = rc != 0 ? rc : conversation_archive_open(c, e);
	}
	if (rc == 0 && c->archive == NULL) {
		rc = err_set(e, c->archive_trouble.code, "%s", c->archive_trouble.text);
		c->archive_trouble = (struct err){0};
	}
	rc = rc != 0 ? rc : archive_set_history(c, on, e);
	return rc != 0 ? rc : conversation_save(c, e);
}

int conversation_archive_find(
	struct conversation *c, uint64_t seq, const struct chat_record **ret_record, struct err *e)
{
	struct conversation_archive *archive = c->archive;
	size_t row;
	int rc;

	*ret_record = NULL;
	if (archive == NULL || archive->index->n == 0) {
		return 0;
	}
	row = chat_index_find(archive->index, seq);
	rc = archive_read_segment(c, archive, row, e);
	if (rc == 0) {
		*ret_record = chat_segment_find(&archive->segment, seq);
	}
	return rc;
}

static int show_record(struct conversation *c, const struct conversation_read *reader,
	const struct chat_record *record, struct err *e)
{
	const struct api_message shown = {
		.seq = record->seq, .time_ms = record->time_ms, .message = record->message};

	return conversation_read_one(c, reader, &shown, record, e);
}

int conversation_archive_show(struct conversation *c, const struct conversation_read *reader,
	uint64_t from, uint64_t to, struct err *e)
{
	struct conversation_archive *archive = c->archive;
	int rc = 0;

	if (archive == NULL || archive->index->n == 0) {
		return 0;
	}
	for (size_t row = chat_index_find(archive->index, from);
		rc == 0 && row < archive->index->n && archive->index->rows[row].first_seq < to;
		row++) {
		rc = archive_read_segment(c, archive, row, e);
		for (size_t i = 0; rc == 0 && i < archive->segment.n; i++) {
			const struct chat_record *record = &archive->segment.records[i];

			if (record->seq >= from && record->seq < to) {
				rc = show_record(c, reader, record, e);
			}
		}
		rc = rc != 0 || c->reviewing ? rc : conversation_save(c, e);
	}
	return rc;
}

int conversation_archived(struct conversation *c, struct conversation_archived *ret, struct err *e)
{
	const struct chat_record *record = NULL;
	int rc = conversation_archive_open(c, e);

	*ret = (struct conversation_archived){.there = c->archive != NULL};
	if (rc != 0 || c->archive == NULL) {
		return rc;
	}
	ret->history = c->archive->index->history;
	ret->segments = c->archive->index->n;
	if (ret->segments > 0) {
		rc = conversation_archive_find(c, UINT64_MAX, &record, e);
	}
	if (rc == 0 && ret->segments > 0) {
		ret->first = c->archive->index->rows[0].first_seq;
		ret->last = c->archive->segment.records[c->archive->segment.n - 1].seq;
	}
	return rc;
}
