/* Commands of sharing as a whole: a change of members, an answer to an invitation, the end of a
 * group. */
#include <assert.h>
#include <string.h>

#include "raft/fsm_members.h"

/* --- members_change --- */

/* Each object once: what comes with it is held against all its statements. */
static int change_read(struct members_change *ch, struct bytes sections)
{
	while (members_section_next(&sections, &ch->object[ch->n].section)) {
		const uint8_t *id = ch->object[ch->n].section.object_id;

		for (size_t i = 0; i < ch->n; i++) {
			if (memcmp(ch->object[i].section.object_id, id, 16) == 0) {
				return err_set(ch->a->e, KLUIS_EINVAL, "an object named twice");
			}
		}
		ch->n++;
	}
	assert(ch->n > 0 && sections.len == 0);
	return 0;
}

static void change_reply(struct apply *a, const uint8_t object_id[16], uint64_t rev,
	const uint8_t hash[32], uint32_t epoch)
{
	memcpy(a->reply.id, object_id, 16);
	a->reply.number = rev;
	memcpy(a->reply.hash, hash, 32);
	command_reply_set_epoch(&a->reply, epoch);
}

/* As the object stands, for who may see it. */
static int change_reply_stored(struct members_change *ch, const uint8_t object_id[16])
{
	struct apply *a = ch->a;
	struct object_row object;
	struct vault_row vault;
	struct member_row me;
	unsigned role;
	int rc = vault_store_check(
		a->view, object_id, ch->session.user_id, MEMBER_READ, &vault, &role, a->e);

	if (rc == 0) {
		change_reply(
			a, object_id, vault.members_rev, vault.members_hash, vault.chain_epoch);
	}
	if (rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	rc = object_store_check(
		a->view, 0, object_id, ch->session.user_id, MEMBER_READ, true, &object, &me, a->e);
	if (rc == 0) {
		change_reply(a, object_id, object.members_rev, object.members_hash, object.epoch);
	}
	return rc;
}

/* 1: the last statement of this section is stored already. */
static int section_is_stored(struct members_change *ch, const struct members_section *section)
{
	_cleanup_(buf_release) struct buf stored = BUF_INIT;
	struct bytes statements = section->statements, encoded = {0};
	struct statement s, old;
	int rc;

	while (members_item_next(&statements, &encoded)) {
	}
	rc = apply_refusal(statement_parse(CHAIN_MEMBERS, encoded, &s, ch->a->e));
	if (rc == 0) {
		rc = member_statement_get(
			ch->a->view, section->object_id, s.seq, &stored, ch->a->e);
	}
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (statement_parse(CHAIN_MEMBERS, buf_bytes(&stored), &old, NULL) != 0) {
		return err_set(ch->a->e, KLUIS_ECORRUPT, "a stored statement is damaged");
	}
	return memcmp(old.hash, s.hash, sizeof s.hash) == 0;
}

/* 1: so are those of all sections, and with them went the rest. */
static int change_is_retry(struct members_change *ch)
{
	int rc = 1;

	for (size_t i = 0; rc > 0 && i < ch->n; i++) {
		rc = section_is_stored(ch, &ch->object[i].section);
	}
	if (rc > 0) {
		rc = change_reply_stored(ch, ch->object[0].section.object_id);
		return rc == 0 ? 1 : rc;
	}
	return rc;
}

/* All statements first: packets and vaults are held against what all of them come to. */
static int change_run(struct members_change *ch, struct bytes sections)
{
	int rc = members_only_remove(sections) ? 0 : apply_writable(ch->a);

	for (size_t i = 0; rc == 0 && i < ch->n; i++) {
		rc = change_apply_object(ch, &ch->object[i]);
	}
	for (size_t i = 0; rc == 0 && i < ch->n; i++) {
		const struct change_object *o = &ch->object[i];

		rc = change_take_packets(ch, o);
		if (rc == 0 && o->kind == MEMBER_OBJECT_GROUP && o->rotated) {
			rc = change_check_vaults(ch, o);
		}
	}
	rc = rc != 0 ? rc
		     : apply_access(ch->a, &ch->session, ACCESS_MEMBERS_CHANGED,
			       bytes_of(ch->object[0].section.object_id, 16));
	return rc != 0 ? rc
		       : apply_audit_user(ch->a, COMMAND_MEMBERS_CHANGE, ch->session.user_id,
				 bytes_of(ch->object[0].section.object_id, 16));
}

static int change_once(struct members_change *ch, const struct command_members_change *c)
{
	struct bytes principal = bytes_of(ch->session.user_id, 16);
	const struct change_object *first = &ch->object[0];
	int rc = apply_once_begin(ch->a, principal, COMMAND_MEMBERS_CHANGE, &c->once);

	if (rc != 0 || ch->a->replayed) {
		return rc;
	}
	rc = change_read(ch, c->sections);
	rc = rc != 0 ? rc : change_is_retry(ch);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	rc = change_run(ch, c->sections);
	if (rc == 0) {
		change_reply(
			ch->a, first->section.object_id, first->seq, first->hash, first->epoch);
		apply_once_end(ch->a, principal, COMMAND_MEMBERS_CHANGE, &c->once, false);
	}
	return rc;
}

int apply_members_change(struct apply *a, const struct command_members_change *c)
{
	struct members_change ch = {.a = a};
	int rc = apply_device_session(a, &c->session, &ch.session);

	if (rc == 0) {
		ch.object = x_calloc(c->n_sections + 1, sizeof *ch.object);
		ch.added = x_calloc(MEMBERS_STATEMENTS_MAX, sizeof *ch.added);
		rc = change_once(&ch, c);
		free(ch.object);
		free(ch.added);
	}
	return rc;
}

/* --- member_answer --- */

int apply_group_room(struct apply *a, const uint8_t user_id[16])
{
	_cleanup_(x_freep) struct member_of *rows = x_calloc(LIST_LIMIT_MAX, sizeof *rows);
	const uint8_t *last = NULL;
	uint8_t place[16];
	size_t n = 0, seen = 0, accepted = 0;
	int rc;

	do {
		rc = member_store_objects(a->view, MEMBER_OBJECT_GROUP, user_id, last, rows,
			LIST_LIMIT_MAX, &n, a->e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			accepted += rows[i].state == MEMBER_ACCEPTED;
			last = memcpy(place, rows[i].object_id, 16);
		}
		seen += n;
	} while (rc == 0 && n == LIST_LIMIT_MAX && seen < USER_INVITED_MAX);
	/* Whoever has so many invitations may decline some first. */
	return rc == 0 && (accepted >= USER_GROUPS_MAX || seen >= USER_INVITED_MAX)
		       ? err_set(a->e, KLUIS_EQUOTA, "as many groups as one can be in")
		       : rc;
}

/* What is answered: a vault, or a group or conversation. */
struct answer {
	struct session_row session;
	struct member_row member;
	unsigned kind;
	struct object_row object; /* Unless a vault. */
};

static int answer_object(struct apply *a, const uint8_t object_id[16], struct answer *m)
{
	struct vault_row vault;
	bool gone;
	int rc = vault_store_get(a->view, object_id, &vault, a->e);

	m->kind = MEMBER_OBJECT_VAULT;
	gone = rc == 0 && vault.state != VAULT_ACTIVE;
	if (rc == KLUIS_ENOTFOUND) {
		rc = object_store_get(a->view, object_id, &m->object, a->e);
		m->kind = rc == 0 ? m->object.kind : 0;
		gone = rc == 0 && m->object.state != OBJECT_ACTIVE;
	}
	rc = rc != 0 ? rc
		     : member_store_get(a->view, object_id, m->session.user_id, &m->member, a->e);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && m->member.kind != MEMBER_USER)) {
		return err_set(a->e, KLUIS_ENOTFOUND, "no such invitation");
	}
	return rc == 0 && gone ? err_set(a->e, KLUIS_EGONE, "it was deleted") : rc;
}

static int answer_accept(struct apply *a, struct answer *m)
{
	int rc = 0;

	if (m->member.state == MEMBER_DECLINED) {
		return err_set(a->e, KLUIS_ENOTFOUND, "the invitation was declined");
	}
	if (m->kind == MEMBER_OBJECT_GROUP) {
		rc = apply_group_room(a, m->session.user_id);
	}
	m->member.state = MEMBER_ACCEPTED;
	return rc;
}

static int answer_decline(struct apply *a, struct answer *m)
{
	_cleanup_(x_freep) struct member_row *rows = NULL;
	bool admin = m->member.state == MEMBER_ACCEPTED && m->member.role == MEMBER_ADMIN;
	size_t n = 0;
	int rc = 0;

	m->member.state = MEMBER_DECLINED;
	member_store_put(a->txn, m->kind, &m->member);
	if (admin) {
		rows = x_calloc(OBJECT_MEMBERS_MAX, sizeof *rows);
		rc = member_store_list(
			a->view, m->member.object_id, NULL, rows, OBJECT_MEMBERS_MAX, &n, a->e);
		rc = rc != 0 ? rc : apply_admin_stays(a, rows, n);
	}
	if (rc == 0 && m->kind == MEMBER_OBJECT_CONVERSATION) {
		m->object.chat_stale = true;
		object_store_put(a->txn, &m->object);
	}
	return rc;
}

int apply_member_answer(struct apply *a, const struct command_member_answer *c)
{
	struct answer m;
	uint8_t wanted = c->accept ? MEMBER_ACCEPTED : MEMBER_DECLINED;
	int rc = apply_session(a, &c->session, &m.session);

	rc = rc != 0 ? rc : answer_object(a, c->object_id, &m);
	if (rc != 0 || m.member.state == wanted) {
		return rc;
	}
	rc = c->accept ? answer_accept(a, &m) : answer_decline(a, &m);
	if (rc != 0) {
		return rc;
	}
	member_store_put(a->txn, m.kind, &m.member);
	rc = apply_access(a, &m.session,
		c->accept ? ACCESS_INVITATION_ACCEPTED : ACCESS_INVITATION_DECLINED,
		bytes_of(c->object_id, 16));
	return rc != 0 ? rc
		       : apply_audit_user(a, COMMAND_MEMBER_ANSWER, m.session.user_id,
				 bytes_of(c->object_id, 16));
}

/* --- object_delete --- */

int apply_object_delete(struct apply *a, const struct command_object_delete *c)
{
	struct session_row session;
	struct object_row group;
	struct member_row me;
	struct member_of vault;
	size_t n = 0;
	int rc = apply_device_session(a, &c->session, &session);

	rc = rc != 0 ? rc
		     : object_store_check(a->view, MEMBER_OBJECT_GROUP, c->object_id,
			       session.user_id, MEMBER_ADMIN, false, &group, &me, a->e);
	rc = rc != 0 ? rc
		     : member_store_objects(a->view, MEMBER_OBJECT_VAULT, c->object_id, NULL,
			       &vault, 1, &n, a->e);
	if (rc == 0 && n > 0) {
		rc = err_set(a->e, KLUIS_ECONFLICT, "the group is a member of a vault");
	}
	rc = rc != 0 ? rc : member_store_unlist(a->txn, MEMBER_OBJECT_GROUP, c->object_id, a->e);
	if (rc != 0) {
		return rc;
	}
	group.state = OBJECT_GONE;
	group.label_bytes = 0;
	group.group_key_bytes = 0;
	object_store_put(a->txn, &group);
	return apply_audit_user(
		a, COMMAND_OBJECT_DELETE, session.user_id, bytes_of(c->object_id, 16));
}
