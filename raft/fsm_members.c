/* Membership chains, statement by statement: what they make of the rows. */
#include <assert.h>
#include <string.h>

#include "raft/fsm_members.h"
#include "storage/deletion_store.h"

static const uint8_t no_kid[KID_BYTES];

/* The rows of one object while its statements are applied. */
struct change_rows {
	struct vault_row vault;	  /* Of a vault ... */
	struct object_row object; /* ... or of anything else. */
	bool signer_is_admin, admin_lost;
	size_t members, groups; /* Counted when somebody is added. */
	bool counted;
	uint8_t last_type;
};

static int change_account(struct members_change *ch, size_t rows)
{
	ch->listed += rows;
	return ch->listed > MEMBERS_LISTED_MAX
		       ? err_set(ch->a->e, KLUIS_ETOOLARGE, "too many members for one command")
		       : 0;
}

int change_list(struct members_change *ch, const uint8_t object_id[16], struct member_row *ret_rows,
	size_t max, size_t *ret_n)
{
	int rc = member_store_list(ch->a->view, object_id, NULL, ret_rows, max, ret_n, ch->a->e);

	return rc == 0 ? change_account(ch, *ret_n) : rc;
}

/* A user can be in so many objects of the kind, and no more is read of them. */
static int change_count_of(struct members_change *ch, unsigned kind, const uint8_t member_id[16],
	size_t max, const char *full)
{
	_cleanup_(x_freep) struct member_of *rows = x_calloc(max, sizeof *rows);
	size_t n = 0;
	int rc = member_store_objects(ch->a->view, kind, member_id, NULL, rows, max, &n, ch->a->e);

	rc = rc != 0 ? rc : change_account(ch, n);
	return rc == 0 && n == max ? err_set(ch->a->e, KLUIS_EQUOTA, "%s", full) : rc;
}

static int change_check_talks(struct members_change *ch, const uint8_t user_id[16])
{
	return change_count_of(ch, MEMBER_OBJECT_CONVERSATION, user_id, USER_CONVERSATIONS_MAX,
		"as many conversations as a user can be in");
}

/* --- opening --- */

static int rows_of_vault(
	struct members_change *ch, struct change_object *o, struct change_rows *rows)
{
	const struct vault_row *vault = &rows->vault;
	unsigned role;
	int rc = vault_store_check(ch->a->view, o->section.object_id, ch->session.user_id,
		MEMBER_ADMIN, &rows->vault, &role, ch->a->e);

	if (rc == 0) {
		o->kind = MEMBER_OBJECT_VAULT;
		o->seq = vault->members_rev;
		o->epoch = vault->chain_epoch;
		memcpy(o->hash, vault->members_hash, sizeof o->hash);
	}
	return rc;
}

static int rows_of_object(
	struct members_change *ch, struct change_object *o, struct change_rows *rows)
{
	const struct object_row *object = &rows->object;
	struct member_row me;
	int rc = object_store_check(ch->a->view, 0, o->section.object_id, ch->session.user_id,
		MEMBER_ADMIN, false, &rows->object, &me, ch->a->e);

	if (rc == 0) {
		o->kind = object->kind;
		o->seq = object->members_rev;
		o->epoch = object->epoch;
		memcpy(o->hash, object->members_hash, sizeof o->hash);
		memcpy(o->group_kid, object->group_kid, sizeof o->group_kid);
	}
	return rc;
}

/* The first statement is a create: nothing has the id. */
static int rows_of_nothing(
	struct members_change *ch, struct change_object *o, struct change_rows *rows)
{
	struct user_row user;
	bool taken = false;
	int rc = object_id_taken(ch->a->view, o->section.object_id, &taken, ch->a->e);

	if (rc == 0 && !taken) {
		rc = user_store_get(ch->a->view, o->section.object_id, &user, ch->a->e);
		taken = rc == 0;
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (rc == 0 && taken) {
		rc = err_set(ch->a->e, KLUIS_EEXIST, "the id is taken");
	}
	rows->object = (struct object_row){
		.state = OBJECT_ACTIVE, .created_ms = ch->a->now_ms, .chat_stale = false};
	memcpy(rows->object.object_id, o->section.object_id, 16);
	o->created = true;
	return rc;
}

static int change_open(struct members_change *ch, struct change_object *o, unsigned first_type,
	struct change_rows *rows)
{
	int rc;

	rows->signer_is_admin = true;
	if (first_type == MEMBER_CREATE) {
		return rows_of_nothing(ch, o, rows);
	}
	rc = rows_of_vault(ch, o, rows);
	return rc == KLUIS_ENOTFOUND ? rows_of_object(ch, o, rows) : rc;
}

/* --- statements --- */

static int change_invalid(struct members_change *ch, const char *what)
{
	return err_set(ch->a->e, KLUIS_EINVAL, "%s", what);
}

static int change_create(struct members_change *ch, struct change_object *o,
	struct change_rows *rows, struct bytes body)
{
	struct member_row founder = {
		.kind = MEMBER_USER, .state = MEMBER_ACCEPTED, .role = MEMBER_ADMIN};
	struct wire w = wire_of(body);
	int rc;

	o->kind = wire_u8(&w);
	wire_copy(&w, founder.member_id, 16);
	wire_copy(&w, o->group_kid, sizeof o->group_kid);
	if (!wire_end(&w) ||
		(o->kind != MEMBER_OBJECT_GROUP && o->kind != MEMBER_OBJECT_CONVERSATION) ||
		(o->kind == MEMBER_OBJECT_GROUP) == (memcmp(o->group_kid, no_kid, 16) == 0)) {
		return change_invalid(ch, "malformed create statement");
	}
	if (memcmp(founder.member_id, ch->session.user_id, 16) != 0) {
		return err_set(ch->a->e, KLUIS_EFORBIDDEN, "founded by another user");
	}
	rc = o->kind == MEMBER_OBJECT_GROUP ? apply_group_room(ch->a, ch->session.user_id)
					    : change_check_talks(ch, ch->session.user_id);
	memcpy(founder.object_id, o->section.object_id, 16);
	memcpy(rows->object.founder, founder.member_id, 16);
	rows->object.kind = o->kind;
	o->epoch = 1;
	member_store_put(ch->a->txn, o->kind, &founder);
	return rc;
}

/* How many there are before the first addition; then they are counted on. */
static int change_count(
	struct members_change *ch, struct change_object *o, struct change_rows *rows)
{
	_cleanup_(x_freep) struct member_row *members = NULL;
	int rc;

	if (rows->counted) {
		return 0;
	}
	members = x_calloc(OBJECT_MEMBERS_MAX, sizeof *members);
	rc = change_list(ch, o->section.object_id, members, OBJECT_MEMBERS_MAX, &rows->members);
	for (size_t i = 0; rc == 0 && i < rows->members; i++) {
		rows->groups += members[i].kind == MEMBER_GROUP;
	}
	rows->counted = rc == 0;
	return rc;
}

static int change_check_room(
	struct members_change *ch, struct change_object *o, struct change_rows *rows, unsigned kind)
{
	size_t max = o->kind == MEMBER_OBJECT_CONVERSATION ? CONVERSATION_MEMBERS_MAX
							   : OBJECT_MEMBERS_MAX;
	int rc = change_count(ch, o, rows);

	if (rc == 0 && (rows->members >= max ||
			       (kind == MEMBER_GROUP && rows->groups >= VAULT_GROUPS_MAX))) {
		rc = err_set(ch->a->e, KLUIS_ETOOLARGE, "as many members as there can be");
	}
	rows->members += rc == 0;
	rows->groups += rc == 0 && kind == MEMBER_GROUP;
	return rc;
}

static int change_check_user(
	struct members_change *ch, const struct change_object *o, const uint8_t user_id[16])
{
	struct user_row user;
	int rc = user_store_get(ch->a->view, user_id, &user, ch->a->e);

	if (rc == KLUIS_ENOTFOUND || (rc == 0 && user.disabled)) {
		return err_set(ch->a->e, KLUIS_ENOTFOUND, "no such user");
	}
	return rc == 0 && o->kind == MEMBER_OBJECT_CONVERSATION ? change_check_talks(ch, user_id)
								: rc;
}

/* Whoever brings a group to a vault binds the group's admins: they then can remove nobody without a
 * new key for that vault. So it is one of them. */
static int change_check_group(struct members_change *ch, const uint8_t group_id[16])
{
	struct object_row group;
	struct member_row me;
	int rc = object_store_check(ch->a->view, MEMBER_OBJECT_GROUP, group_id, ch->session.user_id,
		MEMBER_ADMIN, false, &group, &me, ch->a->e);

	return rc == 0 ? change_count_of(ch, MEMBER_OBJECT_VAULT, group_id, GROUP_VAULTS_MAX,
				 "the group has as many vaults as it can")
		       : rc;
}

static bool change_role_allowed(unsigned kind, unsigned role)
{
	return role >= MEMBER_READ && role <= (kind == MEMBER_USER ? MEMBER_ADMIN : MEMBER_WRITE);
}

static int change_add(struct members_change *ch, struct change_object *o, struct change_rows *rows,
	struct bytes body)
{
	struct wire w = wire_of(body);
	struct member_row row = {.kind = 0}, old;
	int rc;

	wire_copy(&w, row.member_id, 16);
	row.kind = wire_u8(&w);
	row.role = wire_u16(&w);
	memcpy(row.object_id, o->section.object_id, 16);
	if (!wire_end(&w) || (row.kind != MEMBER_USER && row.kind != MEMBER_GROUP) ||
		(row.kind == MEMBER_GROUP && o->kind != MEMBER_OBJECT_VAULT) ||
		!change_role_allowed(row.kind, row.role)) {
		return change_invalid(ch, "malformed addition");
	}
	rc = member_store_get(ch->a->view, row.object_id, row.member_id, &old, ch->a->e);
	if (rc != KLUIS_ENOTFOUND) {
		return rc == 0 ? change_invalid(ch, "a member already") : rc;
	}
	rc = change_check_room(ch, o, rows, row.kind);
	if (rc == 0) {
		rc = row.kind == MEMBER_USER ? change_check_user(ch, o, row.member_id)
					     : change_check_group(ch, row.member_id);
	}
	if (rc != 0) {
		return rc;
	}
	row.state = row.kind == MEMBER_USER ? MEMBER_INVITED : MEMBER_ACCEPTED;
	member_store_put(ch->a->txn, o->kind, &row);
	memcpy(ch->added[ch->n_added++], row.member_id, 16);
	o->n_added++;
	return 0;
}

/* An admin less; perhaps the signer. */
static void change_lose_admin(
	struct members_change *ch, struct change_rows *rows, const struct member_row *member)
{
	if (member->role == MEMBER_ADMIN) {
		rows->admin_lost = true;
	}
	if (memcmp(member->member_id, ch->session.user_id, 16) == 0) {
		rows->signer_is_admin = false;
	}
}

static int change_member(struct members_change *ch, const struct change_object *o,
	const uint8_t member_id[16], struct member_row *ret_row)
{
	int rc = member_store_get(ch->a->view, o->section.object_id, member_id, ret_row, ch->a->e);

	return rc == KLUIS_ENOTFOUND ? change_invalid(ch, "no such member") : rc;
}

/* No restore of what came before lets her in again. */
static void change_note_removal(struct members_change *ch, const struct member_row *row)
{
	struct deletion_note note = {.index = ch->a->index, .time_ms = ch->a->now_ms};

	deletion_member_id(row->object_id, row->member_id, note.id);
	deletion_member(ch->a->txn, &note);
}

static int change_remove(struct members_change *ch, struct change_object *o,
	struct change_rows *rows, struct bytes body)
{
	struct member_row row;
	int rc = body.len == 16 ? change_member(ch, o, body.data, &row)
				: change_invalid(ch, "malformed removal");

	if (rc == 0) {
		change_lose_admin(ch, rows, &row);
		member_store_delete(ch->a->txn, o->kind, &row);
		change_note_removal(ch, &row);
		if (rows->counted) {
			rows->members--;
			rows->groups -= row.kind == MEMBER_GROUP ? 1 : 0;
		}
		o->removed = true;
	}
	return rc;
}

static int change_role(struct members_change *ch, struct change_object *o, struct change_rows *rows,
	struct bytes body)
{
	struct wire w = wire_of(body);
	struct member_row row;
	uint8_t id[16];
	uint16_t role;
	int rc;

	wire_copy(&w, id, sizeof id);
	role = wire_u16(&w);
	rc = wire_end(&w) ? change_member(ch, o, id, &row)
			  : change_invalid(ch, "malformed change of a role");
	if (rc == 0 && !change_role_allowed(row.kind, role)) {
		rc = change_invalid(ch, "no such role");
	}
	if (rc == 0) {
		if (role != MEMBER_ADMIN) {
			change_lose_admin(ch, rows, &row);
		}
		row.role = role;
		member_store_put(ch->a->txn, o->kind, &row);
	}
	return rc;
}

static int change_rotate(struct members_change *ch, struct change_object *o,
	struct change_rows *rows, struct bytes body)
{
	struct wire w = wire_of(body);
	uint32_t epoch = wire_u32(&w);

	(void)rows;
	wire_copy(&w, o->group_kid, sizeof o->group_kid);
	if (!wire_end(&w) || o->kind == MEMBER_OBJECT_CONVERSATION || o->epoch == UINT32_MAX ||
		epoch != o->epoch + 1 ||
		(o->kind == MEMBER_OBJECT_GROUP) == (memcmp(o->group_kid, no_kid, 16) == 0)) {
		return change_invalid(ch, "malformed rotation");
	}
	o->epoch = epoch;
	o->rotated = true;
	return 0;
}

typedef int change_fn(struct members_change *ch, struct change_object *o, struct change_rows *rows,
	struct bytes body);
static change_fn *const change_fns[] = {
	[MEMBER_CREATE] = change_create,
	[MEMBER_ADD] = change_add,
	[MEMBER_REMOVE] = change_remove,
	[MEMBER_ROLE] = change_role,
	[MEMBER_ROTATE] = change_rotate,
};

/* As statement_follows(), with the refusals that a client acts upon. */
static int change_check_next(struct members_change *ch, const struct change_object *o,
	const struct change_rows *rows, const struct statement *s)
{
	if (s->type < MEMBER_CREATE || s->type > MEMBER_ROTATE || s->sig != KEY_ECDSA_P256 ||
		(s->type == MEMBER_CREATE) != (s->seq == 1) ||
		memcmp(s->object_id, o->section.object_id, 16) != 0) {
		return change_invalid(ch, "no statement of this object");
	}
	if (o->seq >= CHAIN_STATEMENTS_MAX) {
		return err_set(ch->a->e, KLUIS_ETOOLARGE, "the membership chain is full");
	}
	if (s->seq != o->seq + 1 || memcmp(s->prev_hash, o->hash, sizeof o->hash) != 0) {
		return err_set(ch->a->e, KLUIS_EPRECONDITION, "the membership chain moved");
	}
	return rows->signer_is_admin
		       ? 0
		       : err_set(ch->a->e, KLUIS_EFORBIDDEN, "the signer is no admin any more");
}

static int change_statement(struct members_change *ch, struct change_object *o,
	struct change_rows *rows, const struct statement *s, struct bytes encoded)
{
	int rc = change_check_next(ch, o, rows, s);

	rc = rc != 0 ? rc : change_fns[s->type](ch, o, rows, s->body);
	if (rc == 0) {
		member_statement_put(ch->a->txn, o->section.object_id, s->seq, encoded);
		o->seq = s->seq;
		memcpy(o->hash, s->hash, sizeof o->hash);
		rows->last_type = s->type;
	}
	return rc;
}

/* --- closing --- */

int apply_admin_stays(struct apply *a, const struct member_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i].kind == MEMBER_USER && rows[i].role == MEMBER_ADMIN &&
			rows[i].state == MEMBER_ACCEPTED) {
			return 0;
		}
	}
	return err_set(a->e, KLUIS_EFORBIDDEN, "no admin who has accepted would remain");
}

static int change_admin_stays(
	struct members_change *ch, const struct change_object *o, const struct change_rows *rows)
{
	_cleanup_(x_freep) struct member_row *members = NULL;
	size_t n = 0;
	int rc;

	if (!rows->admin_lost || rows->signer_is_admin) {
		return 0;
	}
	members = x_calloc(OBJECT_MEMBERS_MAX, sizeof *members);
	rc = change_list(ch, o->section.object_id, members, OBJECT_MEMBERS_MAX, &n);
	return rc == 0 ? apply_admin_stays(ch->a, members, n) : rc;
}

/* The public half of a group's new key stands beside the statement that names it, so that those who
 * are not in the group can seal to it. */
static int change_check_key(struct members_change *ch, const struct change_object *o)
{
	struct bytes key = o->section.group_key;
	bool wanted = o->kind == MEMBER_OBJECT_GROUP && (o->created || o->rotated);
	uint8_t kid[KID_BYTES];

	if (!wanted) {
		return key.len == 0 ? 0 : change_invalid(ch, "a group's key without its statement");
	}
	if (key.len == 0) {
		return change_invalid(ch, "the group's key is missing");
	}
	key_kid(key_kem_of_length(key.len), key, kid);
	return memcmp(kid, o->group_kid, sizeof kid) == 0
		       ? 0
		       : change_invalid(ch, "another key than the group's statement names");
}

static void change_write_object(
	struct members_change *ch, const struct change_object *o, struct object_row *row)
{
	const struct members_section *s = &o->section;

	row->epoch = o->epoch;
	row->members_rev = (uint32_t)o->seq;
	memcpy(row->members_hash, o->hash, sizeof row->members_hash);
	memcpy(row->group_kid, o->group_kid, sizeof row->group_kid);
	row->chat_stale |= o->kind == MEMBER_OBJECT_CONVERSATION;
	if (s->group_key.len > 0) {
		row->group_key_bytes = (uint8_t)s->group_key.len;
		memcpy(row->group_key, s->group_key.data, s->group_key.len);
	}
	if (s->label.len > 0) {
		row->label_bytes = (uint16_t)s->label.len;
		memcpy(row->label, s->label.data, s->label.len);
	}
	object_store_put(ch->a->txn, row);
}

/* A vault whose writers went ahead of the chain by themselves, as they could before level 5, needs
 * an epoch that nobody has yet. */
static int change_write_vault(
	struct members_change *ch, struct change_object *o, struct vault_row *row)
{
	if (o->rotated && o->epoch <= row->key_epoch) {
		return change_invalid(ch, "the vault's epoch was used before");
	}
	row->chain_epoch = o->epoch;
	if (o->epoch > row->key_epoch) {
		row->key_epoch = o->epoch;
	}
	o->epoch = row->key_epoch;
	row->members_rev = (uint32_t)o->seq;
	memcpy(row->members_hash, o->hash, sizeof row->members_hash);
	vault_store_put(ch->a->txn, row);
	return 0;
}

static int change_close(
	struct members_change *ch, struct change_object *o, struct change_rows *rows)
{
	int rc = 0;

	if (o->removed && o->kind != MEMBER_OBJECT_CONVERSATION &&
		rows->last_type != MEMBER_ROTATE) {
		return err_set(
			ch->a->e, KLUIS_EPRECONDITION, "a removal needs a new key behind it");
	}
	if (o->section.label.len > 0 && !o->created &&
		(o->kind != MEMBER_OBJECT_GROUP || !o->rotated)) {
		return change_invalid(ch, "a label where nothing is created or rotated");
	}
	rc = change_check_key(ch, o);
	rc = rc != 0 ? rc : change_admin_stays(ch, o, rows);
	if (rc != 0 || o->kind == MEMBER_OBJECT_VAULT) {
		return rc != 0 ? rc : change_write_vault(ch, o, &rows->vault);
	}
	change_write_object(ch, o, &rows->object);
	return 0;
}

int change_apply_object(struct members_change *ch, struct change_object *o)
{
	_cleanup_(x_freep) struct change_rows *rows = x_calloc(1, sizeof *rows);
	struct bytes statements = o->section.statements, encoded;
	struct statement s;
	bool open = false;
	int rc = 0;

	o->added_first = ch->n_added;
	while (rc == 0 && members_item_next(&statements, &encoded)) {
		rc = apply_refusal(statement_parse(CHAIN_MEMBERS, encoded, &s, ch->a->e));
		if (rc == 0 && !open) {
			rc = change_open(ch, o, s.type, rows);
			open = true;
		}
		rc = rc != 0 ? rc : change_statement(ch, o, rows, &s, encoded);
	}
	return rc != 0 ? rc : change_close(ch, o, rows);
}
