#include <assert.h>
#include <string.h>

#include "raft/fsm_apply.h"
#include "storage/chat_store.h"
#include "storage/deletion_store.h"
#include "storage/inbox_store.h"
#include "storage/object_store.h"
#include "storage/packet_store.h"
#include "storage/page_store.h"
#include "storage/upkeep_store.h"
#include "storage/vault_store.h"

/* Clean-up by cluster time, in bounded steps: the same rows on every node, however late a node is.
 */
static int expire_session(struct apply *a, const struct expiry_row *row)
{
	struct session_row session;
	int rc = session_store_get(a->view, row->subject, &session, a->e);

	if (rc == 0) {
		apply_delete_session(a, &session);
	}
	return rc;
}

static int expire_version(struct apply *a, const struct expiry_row *row)
{
	uint64_t page_no = load_u64(row->subject + 16), revision = load_u64(row->subject + 24);
	struct page_row page;
	int rc;

	if (a->cluster.purge_from_ms <= a->now_ms) {
		return page_store_drop_version(a->txn, row->subject, page_no, revision, a->e);
	}
	/* Purging is on hold after a jump of the clock: it comes again when that is over. */
	rc = page_store_revision(a->view, row->subject, page_no, revision, &page, a->e);
	if (rc == 0) {
		page_store_keep_version(a->txn, row->subject, &page, a->cluster.purge_from_ms);
	}
	return rc;
}

static int expire_idempotency(struct apply *a, const struct expiry_row *row)
{
	idempotency_store_delete(a->txn, row->subject, row->expires_ms);
	return 0;
}

/* An enrolment token nobody used: the account stays, pending, for another one. */
static int expire_enrol(struct apply *a, const struct expiry_row *row)
{
	char name[ACCOUNT_NAME_BYTES_MAX + 1] = "";
	struct account_row account;
	int rc;

	memcpy(name, row->subject, row->subject_bytes);
	rc = account_store_get(a->view, name, &account, a->e);
	if (rc == 0) {
		account.enrol_expires_ms = 0;
		memset(account.enrol_hash, 0, sizeof account.enrol_hash);
		account_store_put(a->txn, &account);
		expiry_store_delete(a->txn, row);
	}
	return rc;
}

static int expire_mfa(struct apply *a, const struct expiry_row *row)
{
	struct mfa_row factor;
	int rc = mfa_store_get(a->view, row->subject, row->subject + 16, &factor, a->e);

	if (rc == 0) {
		mfa_store_delete(a->txn, &factor);
	}
	return rc;
}

static int expire_pending(struct apply *a, const struct expiry_row *row)
{
	struct pending_row pending;
	int rc = pending_store_get(a->view, row->subject, row->subject + 16, &pending, a->e);

	if (rc == 0) {
		pending_store_delete(a->txn, &pending);
	}
	return rc;
}

static int expire_recovery(struct apply *a, const struct expiry_row *row)
{
	struct recovery_row recovery;
	int rc = recovery_store_get(a->view, row->subject, &recovery, a->e);

	if (rc == 0) {
		recovery_store_delete(a->txn, &recovery);
	}
	return rc;
}

static int expire_invite(struct apply *a, const struct expiry_row *row)
{
	struct invite_row invite;
	int rc = invite_store_get(a->view, row->subject, &invite, a->e);

	if (rc == 0) {
		invite_store_delete(a->txn, &invite);
	}
	return rc;
}

static int expire_inbox(struct apply *a, const struct expiry_row *row)
{
	struct inbox_row document;
	int rc = inbox_store_get(a->view, row->subject, row->subject + 16, &document, a->e);

	return rc == 0 ? inbox_store_delete(a->txn, &document, a->e) : rc;
}

static int expire_inbox_token(struct apply *a, const struct expiry_row *row)
{
	struct inbox_token_row token;
	int rc = inbox_token_store_get(a->view, row->subject, &token, a->e);

	if (rc == 0) {
		inbox_token_store_delete(a->txn, &token);
	}
	return rc;
}

/* The messages that may go, up to the command's room. */
static int expire_chat(struct apply *a, const struct expiry_row *row, size_t room, size_t *n)
{
	int rc = chat_store_sweep(
		a->txn, row->subject, a->now_ms, a->cluster.purge_from_ms, room, n, a->e);

	*n += rc == 0 && *n == 0; /* Counting devices is work, too. */
	return rc;
}

/* What one row of the queue speaks of; *n, 1 before, is how many rows that took of the command's
 * room. */
static int expire_one(struct apply *a, const struct expiry_row *row, size_t room, size_t *n)
{
	static const size_t subject_bytes[] = {[EXPIRY_SESSION] = 32,
		[EXPIRY_STAGED] = 48,
		[EXPIRY_VERSION] = 32,
		[EXPIRY_IDEMPOTENCY] = 32,
		[EXPIRY_GUARD] = 17,
		[EXPIRY_MFA] = 32,
		[EXPIRY_PENDING] = 32,
		[EXPIRY_RECOVERY] = 16,
		[EXPIRY_INVITE] = 32,
		[EXPIRY_ACCESS] = 16,
		[EXPIRY_PACKET] = 32,
		[EXPIRY_PAGE_GRANT] = 48,
		[EXPIRY_CHAT] = 16,
		[EXPIRY_INBOX] = 32,
		[EXPIRY_INBOX_TOKEN] = 32};
	int rc = KLUIS_ENOTFOUND;

	if (row->kind != EXPIRY_ENROL && row->subject_bytes != subject_bytes[row->kind]) {
		return err_set(a->e, KLUIS_ECORRUPT, "damaged row of the expiry queue");
	}
	switch ((enum expiry_kind)row->kind) {
	case EXPIRY_SESSION:
		rc = expire_session(a, row);
		break;
	case EXPIRY_STAGED:
		rc = page_store_drop_staged(a->txn, row->subject, row->subject + 16, a->e);
		break;
	case EXPIRY_VERSION:
		rc = expire_version(a, row);
		break;
	case EXPIRY_IDEMPOTENCY:
		rc = expire_idempotency(a, row);
		break;
	case EXPIRY_ENROL:
		rc = expire_enrol(a, row);
		break;
	case EXPIRY_GUARD:
		rc = guard_store_clear(a->txn, row->subject[0], row->subject + 1, a->e);
		break;
	case EXPIRY_MFA:
		rc = expire_mfa(a, row);
		break;
	case EXPIRY_PENDING:
		rc = expire_pending(a, row);
		break;
	case EXPIRY_RECOVERY:
		rc = expire_recovery(a, row);
		break;
	case EXPIRY_INVITE:
		rc = expire_invite(a, row);
		break;
	case EXPIRY_PACKET:
		rc = packet_store_expire(a->txn, row->subject, row->subject + 16, a->now_ms, a->e);
		break;
	case EXPIRY_PAGE_GRANT:
		rc = grant_store_expire(a->txn, row->subject, a->e);
		break;
	case EXPIRY_CHAT:
		rc = expire_chat(a, row, room, n);
		break;
	case EXPIRY_INBOX:
		rc = expire_inbox(a, row);
		break;
	case EXPIRY_INBOX_TOKEN:
		rc = expire_inbox_token(a, row);
		break;
	case EXPIRY_ACCESS:
		rc = access_store_expire(
			a->txn, row->subject, a->now_ms, a->cluster.purge_from_ms, a->e);
		break;
	}
	/* The queue and what it speaks of are written together. */
	return rc == KLUIS_ENOTFOUND
		       ? err_set(a->e, KLUIS_ECORRUPT, "the expiry queue names what is not there")
		       : rc;
}

static int expire_due(struct apply *a, size_t max, size_t *done, uint64_t *queue_from_ms)
{
	_cleanup_(x_freep) struct expiry_row *rows = x_calloc(max, sizeof *rows);
	size_t n = 0;
	int rc = expiry_store_due(a->view, a->now_ms, rows, max, &n, a->e);

	for (size_t i = 0; rc == 0 && i < n && *done < max; i++) {
		size_t step = 1;

		rc = expire_one(a, &rows[i], max - *done, &step);
		*queue_from_ms = rows[i].expires_ms;
		*done += step;
	}
	return rc;
}

static int expire_vault(struct apply *a, struct vault_row *vault, size_t max, size_t *done)
{
	size_t n = 0;
	int rc = vault_store_purge(a->txn, vault->vault_id, max, &n, a->e);

	if (rc == 0 && n == 0) {
		vault->state = VAULT_GONE;
		vault_store_put(a->txn, vault);
		work_store_delete(a->txn, vault->vault_id);
		n = 1;
	}
	*done += n;
	return rc;
}

static int expire_conversation(struct apply *a, const uint8_t conv_id[16], size_t max, size_t *done)
{
	size_t n = 0;
	int rc = chat_store_purge(a->txn, conv_id, max, &n, a->e);

	if (rc == 0 && n == 0) {
		work_store_delete(a->txn, conv_id);
		n = 1;
	}
	*done += n;
	return rc;
}

/* What was deleted as a whole: a vault, or a conversation whose last member left. */
static int expire_work(struct apply *a, size_t max, size_t *done)
{
	struct object_row object;
	struct vault_row vault;
	uint8_t id[16];
	int rc;

	if (*done >= max) {
		return 0;
	}
	rc = work_store_first(a->view, id, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	rc = vault_store_get(a->view, id, &vault, a->e);
	if (rc == 0) {
		return expire_vault(a, &vault, max - *done, done);
	}
	rc = rc == KLUIS_ENOTFOUND ? object_store_get(a->view, id, &object, a->e) : rc;
	if (rc == 0) {
		return expire_conversation(a, id, max - *done, done);
	}
	return rc == KLUIS_ENOTFOUND
		       ? err_set(a->e, KLUIS_ECORRUPT, "what is being deleted is missing")
		       : rc;
}

/* What a deleted person had: one vault, or some rows. */
static int expire_persons(struct apply *a, size_t max, size_t *done)
{
	uint8_t user_id[16];
	size_t n = 0;
	int rc;

	if (*done >= max) {
		return 0;
	}
	rc = user_work_store_first(a->view, user_id, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	rc = deletion_person_step(a->txn, user_id, a->index, a->now_ms, max - *done, &n, a->e);
	*done += n > 0 ? n : 1;
	return rc;
}

/* One window of by_index behind the cursor: its tombstones are forgotten. Whatever is newer than
 * the oldest increment still kept must stay, or a restore would bring deleted rows back. */
static int expire_tombstones(struct apply *a, size_t max, size_t *done, struct modification *cursor)
{
	_cleanup_(x_freep) struct index_tombstone *rows = NULL;
	struct snapshot_state_row state;
	size_t n = 0;
	int rc = snapshot_store_state(a->view, &state, a->e);

	if (rc != 0 || *done >= max) {
		return rc;
	}
	rows = x_calloc(max - *done, sizeof *rows);
	rc = index_store_tombstones(
		a->view, cursor, state.tombstones_upto, rows, max - *done, &n, a->e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = txn_forget(a->txn, &rows[i].at, row_key_bytes(&rows[i].key), a->e);
	}
	*done += n;
	return rc;
}

/* The oldest rows of the audit. A jump of the clock ahead holds this, too: one bad clock must not
 * take away what says who did it. */
static int expire_audit(struct apply *a, size_t max, size_t *done, uint64_t *audit_done)
{
	bool due = a->cluster.purge_from_ms <= a->now_ms;
	int rc = 0;

	while (due && *done < max) {
		rc = audit_store_due(a->view, *audit_done + 1, a->now_ms, &due, a->e);
		if (rc != 0) {
			return rc;
		}
		if (due) {
			*audit_done += 1;
			*done += 1;
			audit_store_delete(a->txn, *audit_done);
		}
	}
	return rc;
}

int apply_expire(struct apply *a, const struct command_expire *c)
{
	struct expire_state_row state;
	struct modification cursor;
	size_t done = 0, max = c->max_rows;
	int rc = expire_store_get(a->view, &state, a->e);

	assert(max <= EXPIRE_ROWS_MAX);
	if (rc != 0) {
		return rc;
	}
	if (state.last_ms != 0 && a->now_ms < state.last_ms + EXPIRE_INTERVAL_MS) {
		return err_set(a->e, KLUIS_ERATE, "the last clean-up was just now");
	}
	cursor = state.tombstones_done;
	rc = expire_due(a, max, &done, &state.queue_from_ms);
	if (rc == 0) {
		rc = expire_work(a, max, &done);
	}
	if (rc == 0) {
		rc = expire_persons(a, max, &done);
	}
	if (rc == 0) {
		rc = expire_audit(a, max, &done, &state.audit_done);
	}
	if (rc == 0) {
		rc = expire_tombstones(a, max, &done, &cursor);
	}
	if (rc == 0 && (done > 0 || modification_compare(&cursor, &state.tombstones_done) != 0)) {
		state.last_ms = a->now_ms;
		state.tombstones_done = cursor;
		expire_store_put(a->txn, &state);
	}
	a->reply.number = done;
	return rc;
}
