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

/* What weighs more is told in place of what weighs less: what nobody did who keeps to the rules,
 * before what another program may read, before what will pass. */
enum trouble_weight { TROUBLE_NONE, TROUBLE_NOTE, TROUBLE_UNKNOWN, TROUBLE_LIE };

static enum trouble_weight trouble_weight(int code)
{
	switch (code) {
	case 0:
		return TROUBLE_NONE;
	case KLUIS_ECORRUPT:
	case KLUIS_EVERIFY:
	case KLUIS_EPIN:
		return TROUBLE_LIE;
	case KLUIS_EVERSION:
	case KLUIS_ESUITE:
		return TROUBLE_UNKNOWN;
	default:
		return TROUBLE_NOTE;
	}
}

/* What comes of it is told at the end, and the messages are shown all the same. */
void archive_trouble(struct conversation *c, const struct err *why)
{
	if (trouble_weight(why->code) > trouble_weight(c->archive_trouble.code)) {
		c->archive_trouble = *why;
		(void)err_wrap(&c->archive_trouble, why->code, "history of the conversation");
	}
}

/* Whether it says of what was archived that it cannot be read, now or later. */
static bool archive_is_bad(int rc)
{
	return trouble_weight(rc) > TROUBLE_NOTE || rc == KLUIS_EFORBIDDEN ||
	       rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE;
}

int conversation_archive_verdict(const struct conversation *c)
{
	int code = c->archive_trouble.code;

	return trouble_weight(code) > TROUBLE_NOTE ? code : 0;
}

/* Trouble for 0, where it says of the history that it is bad; what is missing begins at seq. */
static int archive_pass(struct conversation *c, int rc, uint64_t seq, struct err *e)
{
	if (!archive_is_bad(rc)) {
		return rc;
	}
	archive_trouble(c, e);
	*e = (struct err){0};
	c->hole_from = c->hole_from == 0 ? seq : c->hole_from;
	return 0;
}

int conversation_archive_doubt(struct conversation *c, int rc, uint64_t seq, struct err *e)
{
	char number[24];

	/* Most sentences say it themselves. */
	(void)snprintf(number, sizeof number, "message %" PRIu64, seq);
	return archive_pass(
		c, strstr(e->text, number) == NULL ? err_wrap(e, rc, "%s", number) : rc, seq, e);
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

static int segment_read(struct conversation *c, struct vault *vault, uint64_t page_no,
	struct chat_segment *ret_segment, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	bool moved = false;
	int rc;

	if (page_no >= vault->head.page_count || !vault_page_written(vault, page_no)) {
		return err_set(e, KLUIS_ECORRUPT, "the index names no page");
	}
	rc = vault_read_page(vault, page_no, true, &content, &moved, e);
	if (rc == 0 && moved) {
		rc = err_set(e, KLUIS_EAGAIN, "the history changed while it was read");
	}
	return rc != 0 ? rc : chat_segment_decode(buf_bytes(&content), c->id, ret_segment, e);
}

static uint64_t segment_revision(const struct vault *vault, uint64_t page_no)
{
	return page_no < vault->head.page_count ? vault->leaves[page_no].revision : 0;
}

/* It is not asked for again. */
static int segment_is_bad(
	struct conversation_archive *archive, size_t row, int rc, const struct err *e)
{
	if (archive_is_bad(rc)) {
		archive->bad = *e;
		archive->bad_row = row;
		archive->bad_revision =
			segment_revision(archive->vault, archive->index->rows[row].page_no);
	}
	return rc;
}

int archive_read_segment(
	struct conversation *c, struct conversation_archive *archive, size_t row, struct err *e)
{
	const struct chat_index_row *place = &archive->index->rows[row];
	uint64_t revision = segment_revision(archive->vault, place->page_no);
	struct chat_segment segment;
	int rc;

	if (archive->revision != 0 && archive->row == row && archive->revision == revision) {
		return 0;
	}
	if (archive->bad.code != 0 && archive->bad_row == row &&
		archive->bad_revision == revision) {
		return err_set(e, archive->bad.code, "%s", archive->bad.text);
	}
	rc = segment_read(c, archive->vault, place->page_no, &segment, e);
	if (rc != 0) {
		rc = err_wrap(e, rc, "its segment from message %" PRIu64 " on (page %" PRIu64 ")",
			place->first_seq, place->page_no);
		return segment_is_bad(archive, row, rc, e);
	}
	chat_segment_release(&archive->segment);
	archive->segment = segment;
	archive->row = row;
	archive->revision = segment_revision(archive->vault, place->page_no);
	return 0;
}

/* Also when other writers move it meanwhile. */
static int archive_need_segment(struct conversation *c, size_t row, struct err *e)
{
	struct conversation_archive *archive = c->archive;
	int rc = archive_read_segment(c, archive, row, e);

	for (unsigned turn = 0; rc == KLUIS_EAGAIN && turn < VAULT_FETCH_TRIES; turn++) {
		*e = (struct err){0};
		rc = archive_read_index(c, archive, e);
		if (rc == 0 && row >= archive->index->n) {
			rc = err_set(e, KLUIS_ECORRUPT, "its index lost segments");
		}
		rc = rc != 0 ? rc : archive_read_segment(c, archive, row, e);
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

/* Says nothing of the history: who read on would never be shown what only that has. What keeps
 * this device, or the cluster, from writing lasts, and does not keep it from reading. */
static bool archive_unreached(int rc)
{
	return rc == KLUIS_ELINEAGE ||
	       (err_retryable(rc) && rc != KLUIS_EREADONLY && rc != KLUIS_ENOSPACE);
}

/* Nobody's key but the founder's is taken. */
static int archive_accept(struct conversation *c, const uint8_t id[ID_BYTES], struct err *e)
{
	_cleanup_(membership_freep) struct membership *vault = NULL;
	int rc = membership_load(c->people, MEMBER_OBJECT_VAULT, id, &vault, e);

	rc = rc != 0 ? rc : archive_check_founder(c, vault, e);
	return rc != 0 ? rc : share_answer(c->people, MEMBER_OBJECT_VAULT, id, true, e);
}

static int archive_reach(
	struct conversation *c, const uint8_t id[ID_BYTES], struct vault **ret_vault, struct err *e)
{
	struct vault *vault = NULL;
	int rc = vault_open_id(conversation_profile(c), conversation_client(c), id, &vault, e);

	rc = rc != 0 ? rc : vault_sync(vault, e);
	if (rc != 0) {
		vault_close(vault);
		return rc;
	}
	*ret_vault = vault;
	return 0;
}

/* Takes the invitation to it, if there is one, also to who was in it before: who takes that to the
 * conversation means both. */
static int archive_open_vault(
	struct conversation *c, const uint8_t id[ID_BYTES], struct vault **ret_vault, struct err *e)
{
	int rc = archive_reach(c, id, ret_vault, e);

	if (vault_denied(rc) && strcmp(c->info.state, "invited") != 0) {
		struct err why = {0};

		int taken = archive_accept(c, id, &why);

		if (taken == 0) {
			*e = (struct err){0};
			rc = archive_reach(c, id, ret_vault, e);
		} else if (taken == KLUIS_EVERIFY || archive_unreached(taken)) {
			rc = err_set(e, taken, "%s", why.text);
		}
	}
	return rc;
}

static const uint8_t no_vault[ID_BYTES];

static bool archive_is_known(const struct conversation *c)
{
	return memcmp(c->state.vault_id, no_vault, ID_BYTES) != 0;
}

/* Any writer can switch it: whoever reads is to know. */
static void archive_note_switch(struct conversation *c, bool history)
{
	if (archive_is_known(c) && c->state.archive != history) {
		c->history_switched = history ? HISTORY_SWITCHED_ON : HISTORY_SWITCHED_OFF;
	}
	c->state.archive = history;
}

/* c->archive is set once it is whole. */
static int archive_load(struct conversation *c, struct vault *vault, struct err *e)
{
	struct conversation_archive *archive = x_calloc(1, sizeof *archive);
	int rc;

	archive->vault = vault;
	archive->index = x_calloc(1, sizeof *archive->index);
	rc = archive_check_founder(c, vault->membership, e);
	if (rc == 0) {
		archive_follow_members(c, vault);
		rc = archive_read_index(c, archive, e);
	}
	if (rc == KLUIS_ENOTFOUND && archive_is_managed(vault)) {
		*e = (struct err){0}; /* A run that made it was cut. */
		rc = archive_begin(c, archive, c->state.archive, e);
	}
	if (rc != 0) {
		conversation_archive_close(archive);
		return rc;
	}
	c->archive = archive;
	archive_note_switch(c, archive->index->history);
	memcpy(c->state.vault_id, vault->id, ID_BYTES);
	return 0;
}

int conversation_archive_open(struct conversation *c, struct err *e)
{
	struct vault *vault = NULL;
	uint8_t id[ID_BYTES];
	struct err why = {0};
	int rc;

	if (c->archive != NULL || c->archive_missed || conversation_profile(c)->person == NULL) {
		return 0;
	}
	archive_id(c, id);
	rc = archive_open_vault(c, id, &vault, &why);
	rc = rc != 0 ? rc : archive_load(c, vault, &why);
	if (archive_unreached(rc)) {
		return err_set(e, rc, "%s", why.text);
	}
	c->archive_missed = rc != 0;
	/* One that was never seen need not be there. */
	if (rc != 0 && !(vault_denied(rc) && !archive_is_known(c))) {
		archive_trouble(c, &why);
	}
	return c->history_switched == HISTORY_AS_SEEN ? 0 : conversation_save(c, e);
}

void conversation_archive_members(struct conversation *c)
{
	struct err why = {0};

	if (c->archive != NULL) {
		archive_follow_members(c, c->archive->vault);
		return;
	}
	c->archive_missed = false;
	if (conversation_archive_open(c, &why) != 0) {
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
	int rc;

	c->archive_missed = false;
	rc = conversation_archive_open(c, e);
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
	if (c->archive == NULL && c->archive_trouble.code == 0) {
		rc = archive_make_vault(c, e);
		c->state.archive = on;
		c->archive_missed = false;
		rc = rc != 0 ? rc : conversation_archive_open(c, e);
	}
	if (rc == 0 && c->archive == NULL) {
		rc = err_set(e, c->archive_trouble.code, "%s", c->archive_trouble.text);
		c->archive_trouble = (struct err){0};
	}
	rc = rc != 0 ? rc : archive_set_history(c, on, e);
	c->history_switched = HISTORY_AS_SEEN; /* She knows. */
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
	rc = archive_need_segment(c, row, e);
	if (rc == 0) {
		*ret_record = chat_segment_find(&archive->segment, seq);
	} else if (archive_is_bad(rc)) {
		archive_trouble(c, e);
		*e = (struct err){0};
		rc = 0;
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

/* The one that was read last. */
static int show_segment(struct conversation *c, const struct conversation_read *reader,
	uint64_t from, uint64_t to, struct err *e)
{
	const struct chat_segment *segment = &c->archive->segment;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < segment->n; i++) {
		const struct chat_record *record = &segment->records[i];

		if (record->seq >= from && record->seq < to) {
			rc = show_record(c, reader, record, e);
		}
	}
	return rc != 0 || c->reviewing ? rc : conversation_save(c, e);
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
		uint64_t first = archive->index->rows[row].first_seq;

		rc = archive_need_segment(c, row, e);
		rc = rc != 0 ? archive_pass(c, rc, first < from ? from : first, e)
			     : show_segment(c, reader, from, to, e);
	}
	return rc;
}

int conversation_archived(struct conversation *c, struct conversation_archived *ret, struct err *e)
{
	int rc = conversation_archive_open(c, e);

	*ret = (struct conversation_archived){.there = c->archive != NULL};
	if (rc != 0 || c->archive == NULL) {
		return rc;
	}
	ret->history = c->archive->index->history;
	ret->segments = c->archive->index->n;
	if (ret->segments == 0) {
		return 0;
	}
	rc = archive_need_segment(c, ret->segments - 1, e);
	ret->first = c->archive->index->rows[0].first_seq;
	if (rc == 0) {
		ret->last = c->archive->segment.records[c->archive->segment.n - 1].seq;
	} else if (archive_is_bad(rc)) {
		archive_trouble(c, e);
		*e = (struct err){0};
		rc = 0;
	}
	return rc;
}
