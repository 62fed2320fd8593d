#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "crypto/inbox.h"
#include "raft/fsm_apply.h"
#include "storage/inbox_store.h"

/* Who leaves a document, and what she may call herself. */
struct inbox_sender {
	struct session_row session; /* Of INBOX_BY_SESSION. */
	struct inbox_token_row token;
	unsigned class_min, class_max;
};

static int sender_of_session(
	struct apply *a, const struct command_inbox_put *c, struct inbox_sender *s)
{
	struct command_session session;
	struct person_row person;
	int rc;

	memcpy(session.token_hash, c->secret, sizeof session.token_hash);
	rc = apply_session(a, &session, &s->session);
	if (rc != 0) {
		return rc;
	}
	s->class_min = s->class_max = INBOX_USER;
	rc = person_store_get(a->view, s->session.user_id, &person, a->e);
	if (rc == KLUIS_ENOTFOUND) {
		s->class_min = INBOX_PROVIDER; /* A service may be one. */
		rc = 0;
	}
	return rc;
}

static int sender_get(struct apply *a, const struct command_inbox_put *c, struct inbox_sender *s)
{
	if (c->by == INBOX_BY_SESSION) {
		return sender_of_session(a, c, s);
	}
	s->class_min = INBOX_ANONYMOUS;
	s->class_max = INBOX_PROVIDER;
	return inbox_token_store_check(a->view, c->secret, c->owner, a->now_ms, &s->token, a->e);
}

static int inbox_check_owner(struct apply *a, const uint8_t owner[16])
{
	struct user_row user;
	int rc = user_store_get(a->view, owner, &user, a->e);

	return rc == 0 && user.disabled ? err_set(a->e, KLUIS_ENOTFOUND, "no such inbox") : rc;
}

/* 1: this very document is there already; *ret_row is its row. 0: the id is free. */
static int inbox_is_retry(struct apply *a, const struct command_inbox_put *c,
	const uint8_t doc_id[16], struct inbox_row *ret_row)
{
	_cleanup_(buf_release) struct buf stored = BUF_INIT;
	int rc = inbox_store_document(a->view, c->owner, doc_id, ret_row, &stored, a->e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	return bytes_equal(buf_bytes(&stored), c->document)
		       ? 1
		       : err_set(a->e, KLUIS_EEXIST, "the document's id is taken");
}

static int inbox_check_quota(
	struct apply *a, const struct command_inbox_put *c, const struct inbox_sender *s)
{
	bool session = c->by == INBOX_BY_SESSION;
	struct inbox_use use;
	int rc = inbox_store_use(a->view, c->owner, &use, a->e);

	if (rc != 0) {
		return rc;
	}
	if (!session && s->token.docs_left == 0) {
		return err_set(a->e, KLUIS_EQUOTA, "the token has left all it may");
	}
	if (use.docs >= INBOX_DOCS_MAX || use.bytes + c->document.len > INBOX_BYTES_MAX ||
		(session &&
			(use.session_docs >= INBOX_SESSION_DOCS_MAX ||
				use.session_bytes + c->document.len > INBOX_SESSION_BYTES_MAX))) {
		return err_set(a->e, KLUIS_EQUOTA, "the inbox is full");
	}
	return 0;
}

static int inbox_add(struct apply *a, const struct command_inbox_put *c, struct inbox_sender *s,
	const struct inbox_document *document)
{
	struct inbox_row row = {.time_ms = a->now_ms,
		.expires_ms = a->now_ms + INBOX_KEPT_MS,
		.sender_class = document->sender_class,
		.content_type = document->content_type,
		.bytes = (uint32_t)c->document.len};

	memcpy(row.owner, c->owner, sizeof row.owner);
	memcpy(row.doc_id, document->doc_id, sizeof row.doc_id);
	if (c->by == INBOX_BY_SESSION) {
		memcpy(row.sender, s->session.user_id, sizeof row.sender);
	} else {
		memcpy(row.token_id, s->token.token_id, sizeof row.token_id);
		s->token.docs_left--;
		inbox_token_store_put(a->txn, &s->token);
	}
	a->reply.number = row.expires_ms;
	return inbox_store_put(a->txn, &row, c->document, a->e);
}

static int inbox_parse_for(struct apply *a, const struct command_inbox_put *c,
	const struct inbox_sender *s, struct inbox_document *ret_document)
{
	int rc = inbox_parse(c->document, ret_document, a->e);

	if (rc != 0) {
		return apply_refusal(rc);
	}
	if (memcmp(ret_document->owner_id, c->owner, 16) != 0 ||
		ret_document->sender_class < s->class_min ||
		ret_document->sender_class > s->class_max) {
		return err_set(a->e, KLUIS_EINVAL, "the document is not what the request says");
	}
	return 0;
}

int apply_inbox_put(struct apply *a, const struct command_inbox_put *c)
{
	struct inbox_document document;
	struct inbox_sender sender;
	struct inbox_row row;
	int rc = sender_get(a, c, &sender);

	rc = rc != 0 ? rc : inbox_check_owner(a, c->owner);
	rc = rc != 0 ? rc : inbox_parse_for(a, c, &sender, &document);
	rc = rc != 0 ? rc : inbox_is_retry(a, c, document.doc_id, &row);
	if (rc < 0) {
		return rc;
	}
	memcpy(a->reply.id, document.doc_id, sizeof a->reply.id);
	if (rc > 0) {
		a->reply.number = row.expires_ms;
		return 0;
	}
	rc = apply_writable(a);
	rc = rc != 0 ? rc : inbox_check_quota(a, c, &sender);
	return rc != 0 ? rc : inbox_add(a, c, &sender, &document);
}

int apply_claim(struct apply *a, const uint8_t owner[16], struct bytes docs)
{
	struct inbox_row row;
	int rc = 0;

	assert(docs.len % 16 == 0 && docs.len / 16 <= INBOX_DOCS_PER_COMMAND_MAX);
	for (size_t at = 0; rc == 0 && at < docs.len; at += 16) {
		rc = inbox_store_get(a->view, owner, docs.data + at, &row, a->e);
		rc = rc != 0 ? rc : inbox_store_delete(a->txn, &row, a->e);
	}
	return rc;
}

int apply_inbox_delete(struct apply *a, const struct command_inbox_delete *c)
{
	struct session_row session;
	int rc = apply_device_session(a, &c->session, &session);

	return rc == 0 ? apply_claim(a, session.user_id, c->docs) : rc;
}

static int token_check(struct apply *a, const struct command_inbox_token_create *c,
	const struct session_row *session)
{
	_cleanup_(x_freep) struct inbox_token_row *rows = NULL;
	struct inbox_token_row old;
	size_t n = 0;
	int rc;

	if (c->expires_ms <= a->now_ms || c->expires_ms - a->now_ms > INBOX_TOKEN_MS_MAX ||
		!text_printable(c->label)) {
		return err_set(a->e, KLUIS_EINVAL, "no such token can be made");
	}
	rc = inbox_token_store_get(a->view, c->token_hash, &old, a->e);
	if (rc != KLUIS_ENOTFOUND) {
		return rc != 0 ? rc : err_set(a->e, KLUIS_EEXIST, "the token is there");
	}
	rows = x_calloc(INBOX_TOKENS_MAX, sizeof *rows);
	rc = inbox_token_store_list(a->view, session->user_id, rows, &n, a->e);
	return rc == 0 && n == INBOX_TOKENS_MAX
		       ? err_set(a->e, KLUIS_EQUOTA, "as many tokens as are allowed")
		       : rc;
}

static void token_write(struct apply *a, const struct command_inbox_token_create *c,
	const struct session_row *session)
{
	struct inbox_token_row row = {
		.created_ms = a->now_ms, .expires_ms = c->expires_ms, .docs_left = c->docs};

	memcpy(row.token_hash, c->token_hash, sizeof row.token_hash);
	memcpy(row.owner, session->user_id, sizeof row.owner);
	inbox_token_id_of(row.token_hash, row.token_id);
	if (c->label.len > 0) {
		memcpy(row.label, c->label.data, c->label.len);
	}
	inbox_token_store_put(a->txn, &row);
	memcpy(a->reply.id, row.token_id, sizeof row.token_id);
	a->reply.number = row.expires_ms;
}

int apply_inbox_token_create(struct apply *a, const struct command_inbox_token_create *c)
{
	struct session_row session;
	struct bytes principal;
	int rc = apply_device_session(a, &c->session, &session);

	if (rc != 0) {
		return rc;
	}
	principal = bytes_of(session.user_id, sizeof session.user_id);
	rc = apply_once_begin(a, principal, COMMAND_INBOX_TOKEN_CREATE, &c->once);
	if (rc != 0 || a->replayed) {
		return rc;
	}
	rc = apply_writable(a);
	rc = rc != 0 ? rc : token_check(a, c, &session);
	if (rc != 0) {
		return rc;
	}
	token_write(a, c, &session);
	apply_once_end(a, principal, COMMAND_INBOX_TOKEN_CREATE, &c->once, true);
	return apply_access(a, &session, ACCESS_INBOX_TOKEN_CREATED, bytes_of(a->reply.id, 16));
}

int apply_inbox_token_end(struct apply *a, const struct command_inbox_token_end *c)
{
	struct inbox_token_row row;
	struct session_row session;
	int rc = apply_session(a, &c->session, &session);

	rc = rc != 0 ? rc
		     : inbox_token_store_find(a->view, session.user_id, c->token_id, &row, a->e);
	if (rc != 0) {
		return rc;
	}
	inbox_token_store_delete(a->txn, &row);
	return apply_access(a, &session, ACCESS_INBOX_TOKEN_ENDED, bytes_of(c->token_id, 16));
}
