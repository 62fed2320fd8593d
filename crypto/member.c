#include "crypto/member.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

static const uint8_t member_no_kid[KID_BYTES];

/* One statement's body, read and checked against the chain so far. */
struct member_change {
	struct member member; /* Create (the founder), add, remove (id alone), role. */
	uint8_t kind;	      /* Create. */
	uint32_t epoch;	      /* Rotate. */
	uint8_t group_kid[KID_BYTES];
};

void members_init(struct members *members)
{
	*members = (struct members){.seq = 0};
}

void members_release(struct members *members)
{
	free(members->member);
	free(members->firm);
	members_init(members);
}

/* Where id is, or would stand. */
static size_t member_place(const struct members *members, const uint8_t id[ID_BYTES])
{
	size_t low = 0, high = members->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(members->member[middle].id, id, ID_BYTES) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

const struct member *members_find(const struct members *members, const uint8_t id[ID_BYTES])
{
	size_t at = member_place(members, id);

	if (at < members->count && memcmp(members->member[at].id, id, ID_BYTES) == 0) {
		return &members->member[at];
	}
	return NULL;
}

static bool member_role_allowed(unsigned kind, unsigned role)
{
	return role >= MEMBER_READ && role <= (kind == MEMBER_USER ? MEMBER_ADMIN : MEMBER_WRITE);
}

static size_t member_admins(const struct members *members)
{
	size_t admins = 0;

	for (size_t i = 0; i < members->count; i++) {
		admins += members->member[i].role == MEMBER_ADMIN;
	}
	return admins;
}

/* A statement that takes this member's admin role away leaves another admin. */
static int member_check_admin_stays(
	const struct members *members, const struct member *loses, struct err *e)
{
	if (loses->role == MEMBER_ADMIN && member_admins(members) == 1) {
		return err_set(e, KLUIS_EFORBIDDEN, "members: no admin would remain");
	}
	return 0;
}

/* Zero, unless the object is a group. */
static bool member_group_kid_allowed(unsigned object_kind, const uint8_t kid[KID_BYTES])
{
	bool none = memcmp(kid, member_no_kid, KID_BYTES) == 0;

	return (object_kind == MEMBER_OBJECT_GROUP) != none;
}

static int member_read_create(const struct members *members, const struct statement *s,
	struct member_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);

	(void)members;
	change->kind = wire_u8(&w);
	wire_copy(&w, change->member.id, ID_BYTES);
	wire_copy(&w, change->group_kid, KID_BYTES);
	change->member.kind = MEMBER_USER;
	change->member.role = MEMBER_ADMIN;
	if (!wire_end(&w) || change->kind < MEMBER_OBJECT_VAULT ||
		change->kind > MEMBER_OBJECT_CONVERSATION ||
		!member_group_kid_allowed(change->kind, change->group_kid)) {
		return err_set(e, KLUIS_EINVAL, "members: malformed create statement");
	}
	return 0;
}

static int member_read_add(const struct members *members, const struct statement *s,
	struct member_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);
	struct member *member = &change->member;

	wire_copy(&w, member->id, ID_BYTES);
	member->kind = wire_u8(&w);
	member->role = wire_u16(&w);
	if (!wire_end(&w) || (member->kind != MEMBER_USER && member->kind != MEMBER_GROUP) ||
		!member_role_allowed(member->kind, member->role)) {
		return err_set(e, KLUIS_EINVAL, "members: malformed addition");
	}
	if (members_find(members, member->id) != NULL) {
		return err_set(e, KLUIS_EINVAL, "members: a member already");
	}
	if (members->count >= MEMBERS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "members: more than %d", MEMBERS_MAX);
	}
	return 0;
}

static int member_read_remove(const struct members *members, const struct statement *s,
	struct member_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);
	const struct member *member;

	wire_copy(&w, change->member.id, ID_BYTES);
	member = members_find(members, change->member.id);
	if (!wire_end(&w) || member == NULL) {
		return err_set(e, KLUIS_EINVAL, "members: malformed removal, or no such member");
	}
	return member_check_admin_stays(members, member, e);
}

static int member_read_role(const struct members *members, const struct statement *s,
	struct member_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);
	const struct member *member;

	wire_copy(&w, change->member.id, ID_BYTES);
	change->member.role = wire_u16(&w);
	member = members_find(members, change->member.id);
	if (!wire_end(&w) || member == NULL ||
		!member_role_allowed(member->kind, change->member.role)) {
		return err_set(e, KLUIS_EINVAL, "members: malformed role, or no such member");
	}
	return change->member.role == MEMBER_ADMIN ? 0
						   : member_check_admin_stays(members, member, e);
}

static int member_read_rotate(const struct members *members, const struct statement *s,
	struct member_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);

	change->epoch = wire_u32(&w);
	wire_copy(&w, change->group_kid, KID_BYTES);
	if (!wire_end(&w) || members->epoch == UINT32_MAX || change->epoch != members->epoch + 1 ||
		!member_group_kid_allowed(members->kind, change->group_kid)) {
		return err_set(e, KLUIS_EINVAL, "members: malformed rotation");
	}
	return 0;
}

typedef int member_read_fn(const struct members *members, const struct statement *s,
	struct member_change *change, struct err *e);
static member_read_fn *const member_readers[] = {
	[MEMBER_CREATE] = member_read_create,
	[MEMBER_ADD] = member_read_add,
	[MEMBER_REMOVE] = member_read_remove,
	[MEMBER_ROLE] = member_read_role,
	[MEMBER_ROTATE] = member_read_rotate,
};

/* Whether this user may sign the statement: the founder a create, else an admin by the chain so
 * far. */
static bool member_may_sign(
	const struct members *members, const struct statement *s, const uint8_t user_id[ID_BYTES])
{
	const struct member *member = members_find(members, user_id);

	if (s->type == MEMBER_CREATE) {
		return s->body.len > ID_BYTES && memcmp(s->body.data + 1, user_id, ID_BYTES) == 0;
	}
	return member != NULL && member->kind == MEMBER_USER && member->role == MEMBER_ADMIN;
}

/* The device that signed, of a user who may. */
static int member_find_signer(const struct members *members, const struct statement *s,
	const struct signer_table *signers, struct signer *ret_signer, struct err *e)
{
	size_t nth = 0;

	while (signers->find(signers, s->kid, nth, ret_signer)) {
		if (member_may_sign(members, s, ret_signer->user_id)) {
			return statement_verify(s, ret_signer->device->sign, e);
		}
		nth++;
	}
	if (nth == 0) {
		return err_set(e, KLUIS_EVERIFY, "members: signed by an unknown device");
	}
	return err_set(e, KLUIS_EFORBIDDEN, "members: the signer is no admin or not the founder");
}

static void member_insert(struct members *members, const struct member *member)
{
	size_t at = member_place(members, member->id);

	assert(members->count < MEMBERS_MAX);
	members->member =
		x_realloc(members->member, (members->count + 1) * sizeof *members->member);
	memmove(&members->member[at + 1], &members->member[at],
		(members->count - at) * sizeof *members->member);
	members->member[at] = *member;
	members->count++;
}

static void member_delete(struct members *members, const uint8_t id[ID_BYTES])
{
	size_t at = member_place(members, id);

	assert(at < members->count);
	memmove(&members->member[at], &members->member[at + 1],
		(members->count - at - 1) * sizeof *members->member);
	members->count--;
}

static bool member_is_firm(const struct members *members, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < members->firm_count; i++) {
		if (memcmp(members->firm[i], id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* All admins of now: everything so far rests on a device that counts. */
static void member_set_firm(struct members *members)
{
	members->firm =
		x_realloc(members->firm, (member_admins(members) + 1) * sizeof *members->firm);
	members->firm_count = 0;
	for (size_t i = 0; i < members->count; i++) {
		if (members->member[i].role == MEMBER_ADMIN) {
			memcpy(members->firm[members->firm_count++], members->member[i].id,
				ID_BYTES);
		}
	}
}

/* Cannot fail: all was checked. */
static void member_take(struct members *members, const struct statement *s,
	const struct member_change *change, const struct signer *signer)
{
	bool firm = s->type == MEMBER_CREATE || member_is_firm(members, signer->user_id);

	switch (s->type) {
	case MEMBER_CREATE:
		memcpy(members->object_id, s->object_id, ID_BYTES);
		members->kind = change->kind;
		members->epoch = 1;
		memcpy(members->group_kid, change->group_kid, KID_BYTES);
		member_insert(members, &change->member);
		member_set_firm(members); /* Whoever made the object is its first admin. */
		break;
	case MEMBER_ADD:
		member_insert(members, &change->member);
		break;
	case MEMBER_REMOVE:
		member_delete(members, change->member.id);
		break;
	case MEMBER_ROLE:
		members->member[member_place(members, change->member.id)].role =
			change->member.role;
		break;
	default:
		assert(s->type == MEMBER_ROTATE);
		members->epoch = change->epoch;
		memcpy(members->group_kid, change->group_kid, KID_BYTES);
	}
	members->seq = s->seq;
	memcpy(members->hash, s->hash, HASH_BYTES);
	/* Saved by a later statement only if its signer is an admin without the revoked device's:
	 * else an accomplice, added by the thief, could vouch for what the thief signed. */
	members->loose = !firm || !signer_vouched(signer, members->object_id, s->hash);
	if (!members->loose) {
		member_set_firm(members);
	}
}

int members_append(struct members *members, struct bytes encoded,
	const struct signer_table *signers, struct err *e)
{
	struct member_change change = {.kind = 0};
	struct signer signer;
	struct statement s;
	int rc = statement_parse(CHAIN_MEMBERS, encoded, &s, e);

	if (rc == 0) {
		rc = statement_follows(
			&s, MEMBER_ROTATE, members->seq, members->hash, members->object_id, e);
	}
	if (rc == 0) {
		rc = member_find_signer(members, &s, signers, &signer, e);
	}
	if (rc == 0) {
		rc = member_readers[s.type](members, &s, &change, e);
	}
	if (rc == 0) {
		member_take(members, &s, &change, &signer);
	}
	return rc;
}

int members_verify(struct members *members, const struct bytes *encoded, size_t count,
	const struct signer_table *signers, struct err *e)
{
	if (count == 0) {
		return err_set(e, KLUIS_EVERIFY, "members: empty chain");
	}
	for (size_t i = 0; i < count; i++) {
		int rc = members_append(members, encoded[i], signers, e);

		if (rc != 0) {
			return rc;
		}
	}
	if (members->loose) {
		return err_set(e, KLUIS_EVERIFY, "members: rests on a revoked device");
	}
	return 0;
}

int members_create(const uint8_t object_id[ID_BYTES], unsigned kind,
	const uint8_t founder[ID_BYTES], const uint8_t *group_kid, const struct key *device,
	uint64_t unix_ms, struct buf *ret_encoded, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct statement s = {
		.chain = CHAIN_MEMBERS, .type = MEMBER_CREATE, .seq = 1, .unix_ms = unix_ms};

	assert(kind >= MEMBER_OBJECT_VAULT && kind <= MEMBER_OBJECT_CONVERSATION);
	assert((kind == MEMBER_OBJECT_GROUP) == (group_kid != NULL));
	buf_put_u8(&body, kind);
	buf_append(&body, founder, ID_BYTES);
	buf_append(&body, group_kid == NULL ? member_no_kid : group_kid, KID_BYTES);
	memcpy(s.object_id, object_id, ID_BYTES);
	s.body = buf_bytes(&body);
	return statement_sign(&s, device, ret_encoded, e);
}

int members_make(const struct members *members, unsigned type, struct bytes body,
	const struct key *device, uint64_t unix_ms, struct buf *ret_encoded, struct err *e)
{
	struct statement s = {.chain = CHAIN_MEMBERS,
		.type = (uint8_t)type,
		.seq = members->seq + 1,
		.unix_ms = unix_ms,
		.body = body};

	assert(members->seq > 0);
	memcpy(s.object_id, members->object_id, ID_BYTES);
	memcpy(s.prev_hash, members->hash, HASH_BYTES);
	return statement_sign(&s, device, ret_encoded, e);
}
