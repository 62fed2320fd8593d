/* Who is in a conversation, and who may do what in it: statements by one of its admins. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/wire.h"
#include "cli/client/conversation_archive.h"

void conversation_body_add(const uint8_t user_id[ID_BYTES], struct buf *body)
{
	buf_append(body, user_id, ID_BYTES);
	buf_put_u8(body, MEMBER_USER);
	buf_put_u16(body, MEMBER_WRITE);
}

bool conversation_may_write(const struct conversation *c)
{
	const struct member *me =
		members_find(&c->members->members, conversation_profile(c)->user_id);

	return me != NULL && me->role >= MEMBER_WRITE;
}

/* Statements to be made, in one command. */
enum { CHANGE_STATEMENTS_MAX = 2 };
struct members_change {
	struct {
		unsigned type;
		struct buf body;
	} step[CHANGE_STATEMENTS_MAX];
	size_t n;
};

static void change_release(struct members_change *change)
{
	for (size_t i = 0; i < CHANGE_STATEMENTS_MAX; i++) {
		buf_release(&change->step[i].body);
	}
}

/* The body of one more, to be filled. */
static struct buf *change_add(struct members_change *change, unsigned type)
{
	assert(change->n < CHANGE_STATEMENTS_MAX);
	change->step[change->n].type = type;
	return &change->step[change->n++].body;
}

static void change_role(
	struct members_change *change, const uint8_t user_id[ID_BYTES], unsigned role)
{
	struct buf *body = change_add(change, MEMBER_ROLE);

	buf_append(body, user_id, ID_BYTES);
	buf_put_u16(body, role);
}

/* The chain as it will be; what readers would refuse is not sent. */
static int change_make(const struct conversation *c, const struct members_change *change,
	struct membership *chain, struct buf *statements, struct err *e)
{
	uint64_t now_ms = clock_wall_ms(&clock_system);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < change->n; i++) {
		rc = members_make(&chain->members, change->step[i].type,
			buf_bytes(&change->step[i].body), conversation_profile(c)->device, now_ms,
			&statements[i], e);
		rc = rc != 0 ? rc
			     : membership_extend(chain, buf_bytes(&statements[i]),
				       people_source(c->people), false, e);
	}
	return rc;
}

static int check_admin(const struct conversation *c, struct err *e)
{
	const struct members *members = &c->members->members;
	const struct member *me = members_find(members, conversation_profile(c)->user_id);

	return me != NULL && me->role == MEMBER_ADMIN
		       ? 0
		       : err_set(e, KLUIS_EFORBIDDEN, "you are no admin of this conversation");
}

/* Here and at the cluster. Until its vault has followed nobody archives
 * (conversation_archive_flush()). */
static int change_take(struct conversation *c, const struct members_change *change, struct err *e)
{
	struct buf statements[CHANGE_STATEMENTS_MAX] = {BUF_INIT};
	struct bytes runs[CHANGE_STATEMENTS_MAX];
	struct membership *chain = NULL;
	int rc = check_admin(c, e);

	rc = rc != 0 ? rc
		     : membership_load_known(
			       c->people, MEMBER_OBJECT_CONVERSATION, c->id, &chain, e);
	rc = rc != 0 ? rc : change_make(c, change, chain, statements, e);
	for (size_t i = 0; i < change->n; i++) {
		runs[i] = buf_bytes(&statements[i]);
	}
	rc = rc != 0 ? rc
		     : api_conversation_change(conversation_client(c), c->id, runs, change->n, e);
	rc = rc != 0 ? rc : membership_store(chain, conversation_profile(c), e);
	if (rc == 0) {
		membership_free(c->members);
		c->members = chain;
		chain = NULL;
		conversation_archive_members(c);
	}
	membership_free(chain);
	for (size_t i = 0; i < change->n; i++) {
		buf_release(&statements[i]);
	}
	return rc;
}

static int check_in_it(const struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e)
{
	return members_find(&c->members->members, user_id) != NULL
		       ? 0
		       : err_set(e, KLUIS_ENOTFOUND, "they are no member");
}

/* Whether somebody else is an admin, when this one is. */
static int check_not_last(
	const struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e)
{
	const struct members *members = &c->members->members;
	const struct member *member = members_find(members, user_id);

	for (size_t i = 0; member->role == MEMBER_ADMIN && i < members->count; i++) {
		if (&members->member[i] != member && members->member[i].role == MEMBER_ADMIN) {
			return 0;
		}
	}
	return member->role != MEMBER_ADMIN
		       ? 0
		       : err_set(e, KLUIS_EFORBIDDEN,
				 "nobody could manage the conversation then: make another member "
				 "admin first");
}

int conversation_add(struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e)
{
	_cleanup_(change_release) struct members_change change = {.n = 0};

	if (members_find(&c->members->members, user_id) != NULL) {
		return err_set(e, KLUIS_EEXIST, "they are a member already");
	}
	if (c->members->members.count >= CONVERSATION_MEMBERS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "a conversation has at most %d members",
			CONVERSATION_MEMBERS_MAX);
	}
	conversation_body_add(user_id, change_add(&change, MEMBER_ADD));
	return change_take(c, &change, e);
}

int conversation_remove(struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e)
{
	_cleanup_(change_release) struct members_change change = {.n = 0};
	int rc = check_in_it(c, user_id, e);

	rc = rc != 0 ? rc : check_not_last(c, user_id, e);
	buf_append(change_add(&change, MEMBER_REMOVE), user_id, ID_BYTES);
	return rc != 0 ? rc : change_take(c, &change, e);
}

int conversation_set_role(
	struct conversation *c, const uint8_t user_id[ID_BYTES], unsigned role, struct err *e)
{
	_cleanup_(change_release) struct members_change change = {.n = 0};
	int rc = check_in_it(c, user_id, e);

	rc = rc != 0 || role == MEMBER_ADMIN ? rc : check_not_last(c, user_id, e);
	change_role(&change, user_id, role);
	return rc != 0 ? rc : change_take(c, &change, e);
}

struct accepted {
	const uint8_t *user_id;
	bool is;
};

static void accepted_cb(void *arg, const uint8_t id[ID_BYTES], const char *state)
{
	struct accepted *accepted = arg;

	accepted->is |=
		memcmp(id, accepted->user_id, ID_BYTES) == 0 && strcmp(state, "accepted") == 0;
}

static int check_accepted(
	const struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e)
{
	struct accepted accepted = {.user_id = user_id};
	int rc = api_conversation_members(conversation_client(c), c->id, accepted_cb, &accepted, e);

	return rc != 0 || accepted.is
		       ? rc
		       : err_set(e, KLUIS_EPRECONDITION,
				 "they have not accepted yet: nobody could manage the "
				 "conversation");
}

int conversation_transfer(
	struct conversation *c, const uint8_t user_id[ID_BYTES], unsigned role, struct err *e)
{
	_cleanup_(change_release) struct members_change change = {.n = 0};
	const uint8_t *me = conversation_profile(c)->user_id;
	int rc;

	if (role == MEMBER_ADMIN || memcmp(user_id, me, ID_BYTES) == 0) {
		return err_set(e, KLUIS_EINVAL,
			"only to another member can a conversation be handed over");
	}
	rc = check_in_it(c, user_id, e);
	rc = rc != 0 ? rc : check_accepted(c, user_id, e);
	if (rc != 0) {
		return rc;
	}
	if (members_find(&c->members->members, user_id)->role != MEMBER_ADMIN) {
		change_role(&change, user_id, MEMBER_ADMIN);
	}
	change_role(&change, me, role);
	return change_take(c, &change, e);
}
