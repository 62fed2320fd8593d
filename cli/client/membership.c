#include "cli/client/membership.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"

struct membership *membership_new(void)
{
	struct membership *membership = x_calloc(1, sizeof *membership);

	members_init(&membership->members);
	return membership;
}

void membership_free(struct membership *membership)
{
	if (membership != NULL) {
		members_release(&membership->members);
		buf_release(&membership->chain);
		free(membership->steps);
		free(membership);
	}
}

void membership_freep(struct membership **membership)
{
	membership_free(*membership);
}

const char *membership_kind_name(unsigned kind)
{
	static const char *const names[] = {[MEMBER_OBJECT_VAULT] = "vault",
		[MEMBER_OBJECT_GROUP] = "group",
		[MEMBER_OBJECT_CONVERSATION] = "conversation"};

	assert(kind >= MEMBER_OBJECT_VAULT && kind <= MEMBER_OBJECT_CONVERSATION);
	return names[kind];
}

const char *membership_kind_path(unsigned kind)
{
	static const char *const paths[] = {[MEMBER_OBJECT_VAULT] = "vaults",
		[MEMBER_OBJECT_GROUP] = "groups",
		[MEMBER_OBJECT_CONVERSATION] = "conversations"};

	assert(kind >= MEMBER_OBJECT_VAULT && kind <= MEMBER_OBJECT_CONVERSATION);
	return paths[kind];
}

/* Who may have signed the next statement: the admins so far, or who says to have founded it. */
struct signer_set {
	uint8_t (*ids)[ID_BYTES];
	const struct identity **identities;
	size_t n;
};

static void signer_set_release(struct signer_set *set)
{
	free(set->ids);
	free(set->identities);
}

static void signer_set_fill(
	const struct members *members, const struct statement *s, struct signer_set *set)
{
	set->ids = x_calloc(members->count + 1, sizeof *set->ids);
	if (members->seq == 0) {
		if (s->type == MEMBER_CREATE && s->body.len > ID_BYTES) {
			memcpy(set->ids[set->n++], s->body.data + 1, ID_BYTES);
		}
		return;
	}
	for (size_t i = 0; i < members->count; i++) {
		const struct member *member = &members->member[i];

		if (member->kind == MEMBER_USER && member->role == MEMBER_ADMIN) {
			memcpy(set->ids[set->n++], member->id, ID_BYTES);
		}
	}
}

static int signer_set_load(
	struct signer_set *set, struct people_source *people, bool fresh, struct err *e)
{
	int rc = 0;

	set->identities = x_calloc(set->n + 1, sizeof *set->identities);
	for (size_t i = 0; rc == 0 && i < set->n; i++) {
		rc = people->get(people, set->ids[i], fresh, &set->identities[i], e);
	}
	return rc;
}

/* Of a statement that members_append() took. */
static void step_of(
	const struct members *members, const struct statement *s, struct membership_step *step)
{
	struct wire w = wire_of(s->body);

	*step = (struct membership_step){.type = s->type,
		.epoch = members->epoch,
		.unix_ms = s->unix_ms,
		.kind = MEMBER_USER};
	memcpy(step->group_kid, members->group_kid, KID_BYTES);
	memcpy(step->signer_kid, s->kid, KID_BYTES);
	memcpy(step->hash, s->hash, HASH_BYTES);
	if (s->type == MEMBER_ROTATE) {
		return;
	}
	(void)(s->type == MEMBER_CREATE ? wire_u8(&w) : 0); /* The object's kind. */
	wire_copy(&w, step->member_id, ID_BYTES);
	if (s->type == MEMBER_ADD) {
		step->kind = wire_u8(&w);
	}
	step->role = s->type == MEMBER_CREATE	? MEMBER_ADMIN
		     : s->type == MEMBER_REMOVE ? 0
						: wire_u16(&w);
}

/* What a person is told of a statement that does not hold. */
static int extend_refused(const struct membership *m, int rc, const struct err *why, struct err *e)
{
	if (rc == KLUIS_EFORBIDDEN) {
		return err_set(e, KLUIS_EVERIFY,
			"change %" PRIu64
			" of its members is not by one of its admins: the cluster, or somebody "
			"with its help, made it up",
			m->members.seq + 1);
	}
	return err_set(e, KLUIS_EVERIFY, "change %" PRIu64 " of its members proves nothing: %s",
		m->members.seq + 1, why->text);
}

static bool extend_verdict(int rc)
{
	return rc == KLUIS_EVERIFY || rc == KLUIS_EFORBIDDEN || rc == KLUIS_EINVAL ||
	       rc == KLUIS_EVERSION || rc == KLUIS_ESUITE || rc == KLUIS_ETOOLARGE;
}

int membership_extend(struct membership *m, struct bytes statement, struct people_source *people,
	bool fresh, struct err *e)
{
	_cleanup_(signer_set_release) struct signer_set set = {.n = 0};
	struct signer_identities signers;
	struct err why = {0};
	struct statement s;
	int rc = statement_parse(CHAIN_MEMBERS, statement, &s, &why);

	if (rc != 0) {
		return extend_refused(m, rc, &why, e);
	}
	signer_set_fill(&m->members, &s, &set);
	rc = signer_set_load(&set, people, fresh, e);
	if (rc != 0) {
		return rc;
	}
	signer_identities_init(&signers, set.identities, set.n);
	rc = members_append(&m->members, statement, &signers.table, &why);
	if (rc != 0) {
		return extend_verdict(rc) ? extend_refused(m, rc, &why, e)
					  : err_set(e, rc, "%s", why.text);
	}
	m->steps = x_realloc(m->steps, m->members.seq * sizeof *m->steps);
	step_of(&m->members, &s, &m->steps[m->members.seq - 1]);
	buf_put_lp32(&m->chain, statement);
	return 0;
}

unsigned membership_role(const struct membership *m, const uint8_t id[ID_BYTES], uint64_t rev)
{
	assert(rev <= m->members.seq);
	for (uint64_t i = rev; i > 0; i--) {
		const struct membership_step *step = &m->steps[i - 1];

		if (step->type != MEMBER_ROTATE && memcmp(step->member_id, id, ID_BYTES) == 0) {
			return step->role;
		}
	}
	return 0;
}

bool membership_may_give(
	const struct membership *m, const uint8_t user_id[ID_BYTES], uint32_t epoch)
{
	unsigned role = 0;

	for (uint64_t i = 0; i < m->members.seq; i++) {
		const struct membership_step *step = &m->steps[i];

		if (step->type != MEMBER_ROTATE &&
			memcmp(step->member_id, user_id, ID_BYTES) == 0) {
			role = step->role;
		}
		if (role == MEMBER_ADMIN && step->epoch == epoch) {
			return true;
		}
	}
	return role == MEMBER_ADMIN;
}

bool membership_group_kid(const struct membership *m, uint32_t epoch, uint8_t ret_kid[KID_BYTES])
{
	for (uint64_t i = 0; i < m->members.seq; i++) {
		if (m->steps[i].epoch == epoch) {
			memcpy(ret_kid, m->steps[i].group_kid, KID_BYTES);
			return true;
		}
	}
	return false;
}

bool membership_signed(
	const struct membership *m, const uint8_t kid[KID_BYTES], uint8_t ret_hash[HASH_BYTES])
{
	for (uint64_t i = m->members.seq; i > 0; i--) {
		if (memcmp(m->steps[i - 1].signer_kid, kid, KID_BYTES) == 0) {
			memcpy(ret_hash, m->steps[i - 1].hash, HASH_BYTES);
			return true;
		}
	}
	return false;
}

/* The statement by which a user left a group, 0 when she is in it now or never was. */
static uint64_t group_left(const struct membership *group, const uint8_t user_id[ID_BYTES])
{
	for (uint64_t i = group->members.seq; i > 0; i--) {
		const struct membership_step *step = &group->steps[i - 1];

		if (step->type != MEMBER_ROTATE &&
			memcmp(step->member_id, user_id, ID_BYTES) == 0) {
			return step->type == MEMBER_REMOVE ? i : 0;
		}
	}
	return 0;
}

uint64_t membership_left_ms(const struct membership *m)
{
	uint64_t left_ms = 0;

	for (uint64_t i = 0; i < m->members.seq; i++) {
		if (m->steps[i].type == MEMBER_REMOVE && m->steps[i].unix_ms > left_ms) {
			left_ms = m->steps[i].unix_ms;
		}
	}
	return left_ms;
}

bool membership_rekeyed(const struct membership *m, const struct membership *group)
{
	uint64_t left_ms = membership_left_ms(group);

	for (uint64_t i = 0; i < m->members.seq; i++) {
		const struct membership_step *step = &m->steps[i];
		bool came = step->type == MEMBER_ADD &&
			    memcmp(step->member_id, group->members.object_id, ID_BYTES) == 0;

		if ((came || step->type == MEMBER_ROTATE) && step->unix_ms >= left_ms) {
			return true;
		}
	}
	return left_ms == 0;
}

/* Who left a group might write until the vault was re-keyed for it, which the same admin signed at
 * the same time: a chain does not name the other one. */
static bool group_let_write(const struct membership *m, const struct membership *group,
	const uint8_t user_id[ID_BYTES], uint64_t rev)
{
	uint64_t left = group_left(group, user_id);

	if (left == 0) {
		return membership_role(group, user_id, group->members.seq) != 0;
	}
	for (uint64_t i = 1; i <= m->members.seq; i++) {
		const struct membership_step *step = &m->steps[i - 1];

		if (step->type == MEMBER_ROTATE &&
			step->unix_ms >= group->steps[left - 1].unix_ms) {
			return rev < i;
		}
	}
	return false;
}

static bool head_writer_entitled(const struct membership *m, struct membership *const *groups,
	size_t n_groups, const struct head *head)
{
	if (membership_role(m, head->user_id, head->members_rev) >= MEMBER_WRITE) {
		return true;
	}
	for (size_t i = 0; i < n_groups; i++) {
		const struct membership *group = groups[i];

		if (membership_role(m, group->members.object_id, head->members_rev) >=
				MEMBER_WRITE &&
			group_let_write(m, group, head->user_id, head->members_rev)) {
			return true;
		}
	}
	return false;
}

int membership_check_head(const struct membership *m, struct membership *const *groups,
	size_t n_groups, uint64_t min_rev, const struct head *head, struct err *e)
{
	const struct membership_step *step;
	char id[HEX_LEN(ID_BYTES) + 1];

	if (head->members_rev == 0 || head->members_rev > m->members.seq ||
		memcmp(m->steps[head->members_rev - 1].hash, head->members_hash, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY,
			"head %" PRIu64
			" names members that the cluster does not show: their list is "
			"withheld, or another one",
			head->seq);
	}
	step = &m->steps[head->members_rev - 1];
	if (head->members_rev < min_rev) {
		return err_set(e, KLUIS_EVERIFY,
			"head %" PRIu64
			" is written to an older list of members than was there before it: by "
			"somebody who was removed since",
			head->seq);
	}
	hex_encode(bytes_of(head->user_id, ID_BYTES), id);
	if (!head_writer_entitled(m, groups, n_groups, head)) {
		return err_set(e, KLUIS_EVERIFY,
			"head %" PRIu64 " is by user %s, who may not write to it", head->seq, id);
	}
	return head->key_epoch >= step->epoch
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "head %" PRIu64 " is under the key of epoch %" PRIu32
				 ", although its members are at epoch %" PRIu32,
				 head->seq, head->key_epoch, step->epoch);
}
