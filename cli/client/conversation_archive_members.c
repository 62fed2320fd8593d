/* Who is in a conversation's vault follows who is in the conversation. */
#include <string.h>

#include "cli/client/conversation_archive_impl.h"
#include "cli/client/share.h"

/* What changes of who is in it. */
struct archive_move {
	struct conversation *c;
	const struct membership *vault;
	struct share_user list[SHARE_USERS_MAX];
	size_t n;
};

static unsigned steps_count(const struct membership *m, unsigned type, const uint8_t id[ID_BYTES])
{
	unsigned n = 0;

	for (uint64_t rev = m->members.seq; rev > 0; rev--) {
		n += m->steps[rev - 1].type == type &&
		     memcmp(m->steps[rev - 1].member_id, id, ID_BYTES) == 0;
	}
	return n;
}

/* Whoever comes into the vault, or goes, did so in the conversation first. Where the vault knows of
 * more the cluster shows this device an older conversation than another one, and nothing follows
 * from that; or somebody has shared the vault by hand. */
static bool move_is_newer(void *arg, const struct membership *vault, const uint8_t id[ID_BYTES])
{
	const struct archive_move *m = arg;
	static const unsigned types[] = {MEMBER_ADD, MEMBER_REMOVE, MEMBER_ROLE};
	struct err why = {0};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (steps_count(vault, types[i], id) > steps_count(m->c->members, types[i], id)) {
			(void)err_set(&why, KLUIS_ECONFLICT,
				"who is in its vault does not follow from who is in the "
				"conversation, as far as that is shown here: it stays as it is");
			archive_trouble(m->c, &why);
			return false;
		}
	}
	return true;
}

static void move_put(struct archive_move *m, const uint8_t id[ID_BYTES], unsigned role)
{
	if (m->n < ARRAY_SIZE(m->list) && move_is_newer(m, m->vault, id)) {
		memcpy(m->list[m->n].id, id, ID_BYTES);
		m->list[m->n++].role = role;
	}
}

/* Whom an admin's device has signed in, unless they declined, as the cluster says: who is left out
 * by a lie reads no history, and sees it. */
static void move_add_cb(void *arg, const uint8_t id[ID_BYTES], const char *state)
{
	struct archive_move *m = arg;
	const struct member *member = members_find(&m->c->members->members, id);

	if (strcmp(state, "declined") != 0 && member != NULL &&
		members_find(&m->vault->members, id) == NULL) {
		move_put(m, id, member->role);
	}
}

/* Whom an admin's device has signed out, or given another role: nobody's word but that takes
 * somebody out, and nobody herself. */
static void move_members(struct archive_move *m)
{
	const uint8_t *me = conversation_profile(m->c)->user_id;

	for (size_t i = 0; i < m->vault->members.count; i++) {
		const struct member *there = &m->vault->members.member[i];
		const struct member *member = members_find(&m->c->members->members, there->id);

		if (member != NULL && member->role != there->role) {
			move_put(m, there->id, member->role);
		} else if (member == NULL && memcmp(there->id, me, ID_BYTES) != 0) {
			move_put(m, there->id, 0);
		}
	}
}

bool archive_is_managed(const struct vault *vault)
{
	const struct membership *m = vault->membership;

	return membership_role(m, vault->profile->user_id, m->members.seq) == MEMBER_ADMIN;
}

static int move_all(struct archive_move *m, struct vault *vault, struct err *e)
{
	int rc;

	move_members(m);
	rc = api_conversation_members(conversation_client(m->c), m->c->id, move_add_cb, m, e);
	/* It is asked for anew, and may know more by then. */
	return rc != 0 || m->n == 0 ? rc
				    : share_move_users(vault, m->list, m->n, move_is_newer, m, e);
}

void archive_follow_members(struct conversation *c, struct vault *vault)
{
	struct err why = {0};
	struct archive_move *m;

	if (!archive_is_managed(vault)) {
		return;
	}
	m = x_calloc(1, sizeof *m);
	m->c = c;
	m->vault = vault->membership;
	if (move_all(m, vault, &why) != 0) {
		archive_trouble(c, &why);
	}
	free(m);
}
