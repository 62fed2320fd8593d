#include "cli/client/share.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/api.h"
#include "cli/client/share_impl.h"

static const char verified_name[] = "verified-only";

int share_check_person(const struct profile *profile, struct err *e)
{
	return profile->person != NULL
		       ? 0
		       : err_set(e, KLUIS_EINVAL,
				 "'%s' is a service account: it keeps vaults of its own, and "
				 "persons share theirs with persons",
				 profile->account);
}

bool share_requires_verified(const struct vault *vault)
{
	return vault_has_file(vault->profile, vault->id, verified_name);
}

int share_require_verified(const struct vault *vault, bool on, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, verified_name);
	_cleanup_(x_freep) char *path = profile_path(vault->profile, name);

	return on ? file_write(path, bytes_of(NULL, 0), 0600, e)
		  : profile_remove(vault->profile, name, e);
}

/* vault: what it is called in the message. */
static int user_check_verified(struct people *people, const uint8_t user_id[ID_BYTES],
	const char *name, const char *vault, struct err *e)
{
	bool verified = false;
	int rc = people_is_verified(people, user_id, &verified, e);

	if (rc != 0 || verified) {
		return rc;
	}
	return err_set(e, KLUIS_EFORBIDDEN,
		"%s is shared with verified contacts alone, and '%s' is not: compare safety "
		"numbers first ('kluis contact verify %s')",
		vault, name, name);
}

static int users_check_verified(struct vault *vault, const uint8_t user_id[ID_BYTES], struct err *e)
{
	const struct identity *identity;
	int rc = people_get(vault->people, user_id, true, &identity, e);

	return rc != 0 ? rc
		       : user_check_verified(
				 vault->people, user_id, identity->name, "this vault", e);
}

/* Of a group each of its users. */
int share_check_verified(struct vault *vault, const struct share_with *with, struct err *e)
{
	_cleanup_(membership_freep) struct membership *group = NULL;
	int rc;

	if (!share_requires_verified(vault)) {
		return 0;
	}
	if (with->kind == MEMBER_USER) {
		return users_check_verified(vault, with->id, e);
	}
	rc = membership_load(vault->people, MEMBER_OBJECT_GROUP, with->id, &group, e);
	for (size_t i = 0; rc == 0 && i < group->members.count; i++) {
		rc = users_check_verified(vault, group->members.member[i].id, e);
	}
	return rc;
}

/* Of a vault that the cluster denies it counts what was seen of it: denying it is no way past. */
static int vault_has_group(struct people *people, const uint8_t vault_id[ID_BYTES],
	const uint8_t group_id[ID_BYTES], bool *ret_has, struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	struct err why = {0};
	int rc = membership_load(people, MEMBER_OBJECT_VAULT, vault_id, &m, &why);

	if (vault_denied(rc)) {
		rc = membership_load_known(people, MEMBER_OBJECT_VAULT, vault_id, &m, &why);
	}
	*ret_has = rc == 0 && members_find(&m->members, group_id) != NULL;
	return rc == 0 || rc == KLUIS_ENOTFOUND ? 0 : err_set(e, rc, "%s", why.text);
}

int share_check_group_verified(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, struct err *e)
{
	const struct profile *profile = people_profile(people);
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	char vault[6 + HEX_LEN(ID_BYTES) + 1] = "vault ";
	size_t n = 0;
	int rc = vault_local_ids(profile, &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		bool has = false;

		if (!vault_has_file(profile, ids[i], verified_name)) {
			continue;
		}
		hex_encode(bytes_of(ids[i], ID_BYTES), vault + 6);
		rc = vault_has_group(people, ids[i], group_id, &has, e);
		rc = rc != 0 || !has ? rc
				     : user_check_verified(people, with->id, with->name, vault, e);
	}
	return rc;
}

/* One try of a change; the section is that of the vault as the cluster has it. */
struct vault_change {
	struct share_change change;
	struct vault *vault;
	const struct share_with *with;
	unsigned role;
	const struct share_user *users; /* Of share_move_users(). */
	size_t n_users;
	share_fits_fn *fits;
	void *fits_arg;
	bool more; /* ... some of whom had no room in this change. */
};
typedef int vault_change_fn(struct vault_change *c, struct share_section *section, struct err *e);

/* Not before somebody was taken out of a group that is in it, by whatever clock: else the new key
 * would not look like one from after that. */
static void change_time(struct vault_change *c, const struct membership *group)
{
	share_change_not_before(&c->change, membership_left_ms(group));
}

static int change_try(
	struct vault_change *c, vault_change_fn *make, uint64_t *ret_seq, struct err *e)
{
	struct vault *vault = c->vault;
	struct membership *m = NULL;
	struct share_section *section;
	int rc = vault_members_refresh(vault, e);

	*ret_seq = vault->membership->members.seq;
	rc = rc != 0 ? rc : vault_take_keys(vault, e);
	rc = rc != 0 ? rc
		     : membership_load_known(vault->people, MEMBER_OBJECT_VAULT, vault->id, &m, e);
	if (rc != 0) {
		return rc;
	}
	share_change_init(&c->change, vault->people);
	for (size_t i = 0; i < vault->n_groups; i++) {
		change_time(c, vault->groups[i]);
	}
	for (size_t i = 0; i < vault->n_withheld; i++) {
		change_time(c, vault->withheld[i]);
	}
	section = share_change_add(&c->change, m);
	rc = share_check_admin(m, vault->profile, vault->name, e);
	rc = rc != 0 ? rc : make(c, section, e);
	rc = rc != 0 || json_array_size(section->statements) == 0 ? rc : share_send(&c->change, e);
	share_change_release(&c->change);
	return rc;
}

/* Again when another admin was first, as the chain proves. */
static int change_vault(struct vault_change *c, vault_change_fn *make, struct err *e)
{
	uint64_t seq = 0, before;
	struct err why = {0};
	int rc = KLUIS_EPRECONDITION;

	for (unsigned turn = 0; rc == KLUIS_EPRECONDITION && turn < SHARE_TRIES; turn++) {
		before = seq;
		rc = change_try(c, make, &seq, &why);
		if (rc == KLUIS_EPRECONDITION && seq == before) {
			break;
		}
	}
	if (rc != 0) {
		return err_set(e, rc, "%s", why.text);
	}
	rc = vault_members_refresh(c->vault, e);
	return rc != 0 ? rc : vault_take_keys(c->vault, e);
}

static int epoch_statement(struct vault_change *c, struct share_section *section, struct err *e)
{
	static const uint8_t none[KID_BYTES];
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_put_u32(&body, section->membership->members.epoch + 1);
	buf_append(&body, none, KID_BYTES);
	return share_statement(&c->change, section, MEMBER_ROTATE, buf_bytes(&body), e);
}

/* While nobody else was in it new passwords gave the vault keys, and perhaps pages under them, that
 * its chain does not know of: before somebody comes the chain passes them, and ends above what was
 * written under. */
static int catch_up(struct vault_change *c, struct share_section *section, struct err *e)
{
	const struct vault *vault = c->vault;
	const struct members *members = &section->membership->members;
	uint32_t newest = vault->n_keys == 0 ? 0 : vault->keys[vault->n_keys - 1].epoch;
	int rc = 0;

	if (newest <= members->epoch) {
		return 0;
	}
	while (rc == 0 && members->epoch < newest) {
		rc = epoch_statement(c, section, e);
	}
	return rc != 0 || vault->head.key_epoch < newest
		       ? rc
		       : share_rotate_vault(&c->change, section, e);
}

static int add_make(struct vault_change *c, struct share_section *section, struct err *e)
{
	const struct share_with *with = c->with;
	_cleanup_(membership_freep) struct membership *group = NULL;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	int rc = 0;

	if (members_find(&section->membership->members, with->id) != NULL) {
		return err_set(e, KLUIS_EEXIST, "'%s' is in vault '%s' already", with->name,
			c->vault->name);
	}
	if (with->kind == MEMBER_GROUP) {
		rc = membership_load(c->vault->people, MEMBER_OBJECT_GROUP, with->id, &group, e);
		if (rc != 0) {
			return err_wrap(e, rc, "group '%s'", with->name);
		}
		change_time(c, group);
	}
	rc = vault_is_shared(c->vault) ? 0 : catch_up(c, section, e);
	share_body_add(&body, with->id, with->kind, c->role);
	rc = rc != 0 ? rc : share_statement(&c->change, section, MEMBER_ADD, buf_bytes(&body), e);
	return rc != 0 ? rc : share_give_all(&c->change, section, with->id, with->kind, c->role, e);
}

int share_add(struct vault *vault, const struct share_with *with, unsigned role, struct err *e)
{
	struct vault_change c = {.vault = vault, .with = with, .role = role};
	int rc = share_check_verified(vault, with, e);

	return rc != 0 ? rc : change_vault(&c, add_make, e);
}

static int not_in_it(
	const struct vault_change *c, const struct share_section *section, struct err *e)
{
	return members_find(&section->membership->members, c->with->id) != NULL
		       ? 0
		       : err_set(e, KLUIS_ENOTFOUND, "'%s' is not in vault '%s'", c->with->name,
				 c->vault->name);
}

static int role_make(struct vault_change *c, struct share_section *section, struct err *e)
{
	return share_role(&c->change, section, c->with, c->role, e);
}

int share_set_role(struct vault *vault, const struct share_with *with, unsigned role, struct err *e)
{
	struct vault_change c = {.vault = vault, .with = with, .role = role};

	return change_vault(&c, role_make, e);
}

static int remove_make(struct vault_change *c, struct share_section *section, struct err *e)
{
	int rc = 0;

	if (c->with != NULL) {
		rc = not_in_it(c, section, e);
		rc = rc != 0 ? rc : share_check_not_last(section->membership, c->with, e);
		rc = rc != 0 ? rc
			     : share_statement(&c->change, section, MEMBER_REMOVE,
				       bytes_of(c->with->id, ID_BYTES), e);
	}
	return rc != 0 ? rc : share_rotate_vault(&c->change, section, e);
}

int share_remove(struct vault *vault, const struct share_with *with, struct err *e)
{
	struct vault_change c = {.vault = vault, .with = with};

	return change_vault(&c, remove_make, e);
}

static const struct share_user *set_find(const struct vault_change *c, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < c->n_users; i++) {
		if (memcmp(c->users[i].id, id, ID_BYTES) == 0) {
			return &c->users[i];
		}
	}
	return NULL;
}

static bool set_fits(const struct vault_change *c, const struct share_section *section,
	const uint8_t id[ID_BYTES])
{
	return c->fits == NULL || c->fits(c->fits_arg, section->membership, id);
}

static int set_out_make(struct vault_change *c, struct share_section *section, struct err *e)
{
	const struct members *members = &section->membership->members;
	bool removed = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < members->count;) {
		const struct share_user *user;
		uint8_t id[ID_BYTES];

		memcpy(id, members->member[i].id, ID_BYTES);
		user = set_find(c, id);
		if (user == NULL || user->role != 0 || !set_fits(c, section, id)) {
			i++;
			continue;
		}
		removed = true;
		rc = share_statement(&c->change, section, MEMBER_REMOVE, bytes_of(id, ID_BYTES), e);
	}
	return rc != 0 || !removed ? rc : share_rotate_vault(&c->change, section, e);
}

static int set_add(struct vault_change *c, struct share_section *section,
	const struct share_user *user, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	int rc =
		share_requires_verified(c->vault) ? users_check_verified(c->vault, user->id, e) : 0;

	share_body_add(&body, user->id, MEMBER_USER, user->role);
	rc = rc != 0 ? rc : share_statement(&c->change, section, MEMBER_ADD, buf_bytes(&body), e);
	return rc != 0 ? rc
		       : share_give_all(&c->change, section, user->id, MEMBER_USER, user->role, e);
}

/* Whether another one who is to be admin has accepted, so that the owner need not stay it. */
static int set_may_step_down(struct vault_change *c, bool *ret_may, struct err *e)
{
	const uint8_t *me = c->vault->profile->user_id;
	struct share_member *members;
	size_t n;
	int rc = share_members(c->vault->people, c->vault->membership, &members, &n, e);

	*ret_may = false;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct share_user *user = set_find(c, members[i].who.id);

		*ret_may |= (user != NULL ? user->role : members[i].role) == MEMBER_ADMIN &&
			    memcmp(members[i].who.id, me, ID_BYTES) != 0 &&
			    strcmp(members[i].state, "accepted") == 0;
	}
	if (rc == 0) {
		free(members);
	}
	return rc;
}

/* The owner last: it is she who signs. */
static int set_roles(struct vault_change *c, struct share_section *section, struct err *e)
{
	const struct members *members = &section->membership->members;
	const uint8_t *me = c->vault->profile->user_id;
	const struct share_user *own = set_find(c, me);
	bool may = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->n_users; i++) {
		const struct share_user *user = &c->users[i];
		const struct member *there = members_find(members, user->id);
		struct share_with with = {.kind = MEMBER_USER};

		if (user == own || user->role == 0 || there == NULL || there->role == user->role ||
			!set_fits(c, section, user->id)) {
			continue;
		}
		memcpy(with.id, user->id, ID_BYTES);
		rc = share_role(&c->change, section, &with, user->role, e);
	}
	if (rc == 0 && own != NULL && own->role != members_find(members, me)->role &&
		set_fits(c, section, me)) {
		rc = set_may_step_down(c, &may, e);
	}
	if (rc == 0 && may) {
		struct share_with with = {.kind = MEMBER_USER};

		memcpy(with.id, me, ID_BYTES);
		rc = share_role(&c->change, section, &with, own->role, e);
	}
	return rc;
}

/* Half of what a change may be is left to one more: the keys of at most VAULT_EPOCHS_MAX epochs. */
static bool set_has_room(const struct share_change *change)
{
	return change->n_packets <= SHARE_PACKETS_MAX / 2 &&
	       change->bytes <= REQUEST_BODY_BYTES_MAX / 2 &&
	       change->n_statements < SHARE_STATEMENTS_MAX;
}

/* Roles once all are in. */
static int set_in_make(struct vault_change *c, struct share_section *section, struct err *e)
{
	int rc = vault_is_shared(c->vault) ? 0 : catch_up(c, section, e);
	size_t added = 0;

	c->more = false;
	for (size_t i = 0; rc == 0 && !c->more && i < c->n_users; i++) {
		if (c->users[i].role == 0 ||
			members_find(&section->membership->members, c->users[i].id) != NULL ||
			!set_fits(c, section, c->users[i].id)) {
			continue;
		}
		c->more = added > 0 && !set_has_room(&c->change);
		if (!c->more) {
			rc = set_add(c, section, &c->users[i], e);
			added++;
		}
	}
	return rc != 0 || c->more ? rc : set_roles(c, section, e);
}

int share_move_users(struct vault *vault, const struct share_user *users, size_t n,
	share_fits_fn *fits, void *arg, struct err *e)
{
	struct vault_change c = {
		.vault = vault, .users = users, .n_users = n, .fits = fits, .fits_arg = arg};
	int rc;

	if (n > SHARE_USERS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "at most %d users at once", SHARE_USERS_MAX);
	}
	/* A removal ends with the new key. */
	rc = change_vault(&c, set_out_make, e);
	do { /* Each adds somebody. */
		rc = rc != 0 ? rc : change_vault(&c, set_in_make, e);
	} while (rc == 0 && c.more);
	return rc;
}

static int transfer_make(struct vault_change *c, struct share_section *section, struct err *e)
{
	return share_hand_over(&c->change, section, c->with, c->role, e);
}

int share_transfer(struct vault *vault, const struct share_with *with, unsigned role, struct err *e)
{
	struct vault_change c = {.vault = vault, .with = with, .role = role};

	return change_vault(&c, transfer_make, e);
}
