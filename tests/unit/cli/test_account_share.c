/* Vaults and groups shared between persons, against the API of a real node. */
#include "tests/lib/account_rig/account_share.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* Invited, accepted, writing, removed; and what was written after that stays closed to her. */
static void test_share(void **state)
{
	struct fixture *f = *state;
	struct vault *vault;
	uint8_t id[ID_BYTES];
	int rc;

	put_note(f, &f->first, "plans");
	put_text(f, &f->first, "plans", "one");
	id_of(f, &f->first, "plans", id);
	MUST(f, share(f, &f->first, "plans", "bob", MEMBER_WRITE));
	assert_int_equal(share(f, &f->first, "plans", "bob", MEMBER_WRITE), KLUIS_EEXIST);
	assert_state(f, &f->first, "plans", "bob", MEMBER_WRITE, "invited");
	MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, id, true));
	assert_state(f, &f->first, "plans", "bob", MEMBER_WRITE, "accepted");
	read_all(f, &bob, "plans");
	put_text(f, &bob, "plans", "two");
	read_all(f, &f->first, "plans");
	put_text(f, &f->first, "plans", "three");
	/* Out. */
	MUST(f, take_out(f, &f->first, "plans", "bob"));
	vault = opened(f, &f->first, "plans");
	assert_int_equal(vault->membership->members.epoch, 2);
	assert_int_equal(vault_write_key(vault)->epoch, 2);
	vault_close(vault);
	put_text(f, &f->first, "plans", "four");
	read_all(f, &f->first, "plans");
	rc = sync_named(f, &bob, "plans");
	assert_true(rc == KLUIS_EFORBIDDEN || rc == KLUIS_EPIN);
	/* Who comes later reads all of it, and with that role no more. */
	MUST(f, share(f, &f->first, "plans", "carol", MEMBER_READ));
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	read_all(f, &carol, "plans");
	vault = opened(f, &carol, "plans");
	assert_int_equal(vault_check_key(vault, &f->err), KLUIS_EFORBIDDEN);
	assert_says(f, "not write");
	vault_close(vault);
	assert_int_equal(share(f, &carol, "plans", "bob", MEMBER_READ), KLUIS_EFORBIDDEN);
	assert_says(f, "no admin");
}

/* Another key for a vault that its chain does not name, as a new password makes it. */
static void key_ahead(struct fixture *f, const char *name, uint32_t epoch)
{
	static const uint8_t vk[32] = {0x77};
	struct ring_change change = {
		.type = KEYRING_VAULT_KEY, .epoch = epoch, .value = bytes_of(vk, sizeof vk)};

	id_of(f, &f->first, name, change.object_id);
	MUST(f, account_put_entries(f->first.profile, f->first.client, &change, 1, &f->err));
}

/* Keys of all epochs up to the last one. */
static void keys_ahead(struct fixture *f, const char *name, uint32_t last)
{
	static const uint8_t vk[32] = {0x77};
	struct ring_change changes[RING_CHANGES_MAX];
	uint8_t id[ID_BYTES];
	size_t n = 0;

	id_of(f, &f->first, name, id);
	for (uint32_t epoch = 2; epoch <= last; epoch++) {
		changes[n] = (struct ring_change){.type = KEYRING_VAULT_KEY,
			.epoch = epoch,
			.value = bytes_of(vk, sizeof vk)};
		memcpy(changes[n++].object_id, id, ID_BYTES);
		if (n == ARRAY_SIZE(changes) || epoch == last) {
			MUST(f, account_put_entries(
					f->first.profile, f->first.client, changes, n, &f->err));
			n = 0;
		}
	}
}

/* Keys that a vault got ahead of its chain, written under or not, do not keep it from being
 * shared: all that is there can be read, and what comes is under a key that the chain names. */
static void test_ahead(void **state)
{
	static const char *const vaults[] = {"unused", "written"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(vaults); i++) {
		struct vault *vault;
		uint8_t id[ID_BYTES];

		put_note(f, &f->first, vaults[i]);
		put_text(f, &f->first, vaults[i], "one");
		key_ahead(f, vaults[i], 2);
		if (i == 1) {
			put_text(f, &f->first, vaults[i], "two");
		}
		id_of(f, &f->first, vaults[i], id);
		MUST(f, share(f, &f->first, vaults[i], "bob", MEMBER_WRITE));
		MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, id, true));
		read_all(f, &bob, vaults[i]);
		put_text(f, &bob, vaults[i], "three");
		read_all(f, &f->first, vaults[i]);
		put_text(f, &f->first, vaults[i], "four");
		vault = opened(f, &f->first, vaults[i]);
		assert_int_equal(vault->head.key_epoch, vault->membership->members.epoch);
		assert_int_equal(vault->head.key_epoch, 2 + i);
		vault_close(vault);
	}
}

/* Only what was accepted is there; who declines is out. */
static void test_decline(void **state)
{
	struct fixture *f = *state;
	char target[API_TARGET_MAX];
	struct vault *vault;
	uint8_t id[ID_BYTES];

	put_note(f, &f->first, "offer");
	put_text(f, &f->first, "offer", "one");
	id_of(f, &f->first, "offer", id);
	MUST(f, share(f, &f->first, "offer", "bob", MEMBER_WRITE));
	f->err = (struct err){0};
	assert_int_equal(
		vault_open(bob.profile, bob.client, "offer", &vault, &f->err), KLUIS_ENOTFOUND);
	/* Why she may not is for the cluster to say. */
	api_target(target, "vaults", id, "/decline");
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_EFORBIDDEN};
	assert_int_equal(answer(f, &bob, MEMBER_OBJECT_VAULT, id, false), KLUIS_EFORBIDDEN);
	lie_end();
	assert_says(f, "as the test wants it");
	assert_null(strstr(f->err.text, "hand it over"));
	MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, id, false));
	assert_state(f, &f->first, "offer", "bob", MEMBER_WRITE, "declined");
	f->err = (struct err){0};
	assert_int_not_equal(vault_open_id(bob.profile, bob.client, id, &vault, &f->err), 0);
}

static void test_transfer(void **state)
{
	struct fixture *f = *state;
	struct share_with with;
	struct vault *vault;
	uint8_t id[ID_BYTES];

	put_note(f, &f->first, "house");
	put_text(f, &f->first, "house", "one");
	id_of(f, &f->first, "house", id);
	MUST(f, share(f, &f->first, "house", "carol", MEMBER_WRITE));
	vault = opened(f, &f->first, "house");
	with = resolved(f, vault->people, "carol");
	f->err = (struct err){0};
	assert_int_equal(share_transfer(vault, &with, MEMBER_WRITE, &f->err), KLUIS_EPRECONDITION);
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	/* The last admin does not go without one. */
	assert_int_equal(answer(f, &f->first, MEMBER_OBJECT_VAULT, id, false), KLUIS_EFORBIDDEN);
	assert_says(f, "no admin who has accepted would remain");
	assert_says(f, "hand it over first ('kluis vault transfer')");
	f->err = (struct err){0};
	with.kind = MEMBER_USER;
	memcpy(with.id, f->first.profile->user_id, ID_BYTES);
	assert_int_equal(share_set_role(vault, &with, MEMBER_READ, &f->err), KLUIS_EFORBIDDEN);
	assert_says(f, "nobody could manage");
	f->err = (struct err){0};
	assert_int_equal(share_remove(vault, &with, &f->err), KLUIS_EFORBIDDEN);
	f->err = (struct err){0};
	assert_int_equal(share_transfer(vault, &with, MEMBER_READ, &f->err), KLUIS_EINVAL);
	with = resolved(f, vault->people, "carol");
	f->err = (struct err){0};
	MUST(f, share_transfer(vault, &with, MEMBER_WRITE, &f->err));
	vault_close(vault);
	assert_int_equal(share(f, &f->first, "house", "bob", MEMBER_READ), KLUIS_EFORBIDDEN);
	put_text(f, &f->first, "house", "two");
	MUST(f, share(f, &carol, "house", "bob", MEMBER_READ));
}

static void test_verified_only(void **state)
{
	struct fixture *f = *state;
	struct vault *vault;

	put_note(f, &f->first, "secret");
	vault = opened(f, &f->first, "secret");
	assert_false(share_requires_verified(vault));
	MUST(f, share_require_verified(vault, true, &f->err));
	vault_close(vault);
	assert_int_equal(share(f, &f->first, "secret", "bob", MEMBER_READ), KLUIS_EFORBIDDEN);
	assert_says(f, "contact verify bob");
	vault = opened(f, &f->first, "secret");
	MUST(f, share_require_verified(vault, false, &f->err));
	vault_close(vault);
	MUST(f, share(f, &f->first, "secret", "bob", MEMBER_READ));
}

static int set_users(struct fixture *f, struct device *d, const char *name,
	struct device *const *users, size_t n, unsigned role)
{
	struct vault *vault = opened(f, d, name);
	struct share_user moved[16];
	int rc;

	assert_true(n <= ARRAY_SIZE(moved));
	for (size_t i = 0; i < n; i++) {
		moved[i].role = role;
		memcpy(moved[i].id, users[i]->profile->user_id, ID_BYTES);
	}
	f->err = (struct err){0};
	rc = share_move_users(vault, moved, n, NULL, NULL, &f->err);
	vault_close(vault);
	return rc;
}

static void require_verified(struct fixture *f, const char *name, bool on)
{
	struct vault *vault = opened(f, &f->first, name);

	MUST(f, share_require_verified(vault, on, &f->err));
	vault_close(vault);
}

/* Whoever is among all who are to be in it is held to it, too; who is in it already stays. */
static void test_verified_only_set(void **state)
{
	struct fixture *f = *state;
	struct device *one[] = {&bob}, *all[] = {&bob, &carol};

	put_note(f, &f->first, "set");
	MUST(f, set_users(f, &f->first, "set", one, 1, MEMBER_WRITE));
	require_verified(f, "set", true);
	assert_int_equal(set_users(f, &f->first, "set", all, 2, MEMBER_WRITE), KLUIS_EFORBIDDEN);
	assert_says(f, "contact verify carol");
	MUST(f, set_users(f, &f->first, "set", one, 1, MEMBER_WRITE));
	require_verified(f, "set", false);
	MUST(f, set_users(f, &f->first, "set", all, 2, MEMBER_WRITE));
	assert_state(f, &f->first, "set", "carol", MEMBER_WRITE, "invited");
}

/* Who comes to a group comes to its vaults. */
static void test_verified_only_group(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	_cleanup_(x_freep) char *target = NULL;
	char hex[HEX_LEN(ID_BYTES) + 1];
	uint8_t group[ID_BYTES], other[ID_BYTES], vault_id[ID_BYTES];
	struct share_with with;

	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, share_group_create(people, "careful", group, &f->err));
	MUST(f, share_group_create(people, "careless", other, &f->err));
	put_note(f, &f->first, "of careful");
	MUST(f, share(f, &f->first, "of careful", "group:careful", MEMBER_READ));
	require_verified(f, "of careful", true);
	with = resolved(f, people, "bob");
	f->err = (struct err){0};
	assert_int_equal(
		share_group_add(people, group, &with, MEMBER_READ, &f->err), KLUIS_EFORBIDDEN);
	assert_says(f, "contact verify bob");
	/* Denied or not. */
	id_of(f, &f->first, "of careful", vault_id);
	hex_encode(bytes_of(vault_id, ID_BYTES), hex);
	target = x_asprintf("/v1/vaults/%s/members/chain", hex);
	f->err = (struct err){0};
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	assert_int_equal(
		share_group_add(people, group, &with, MEMBER_READ, &f->err), KLUIS_EFORBIDDEN);
	lie_end();
	f->err = (struct err){0};
	MUST(f, share_group_add(people, other, &with, MEMBER_READ, &f->err));
	require_verified(f, "of careful", false);
	MUST(f, share_group_add(people, group, &with, MEMBER_READ, &f->err));
	people_free(people);
}

/* More keys than one change may bring. */
static void test_set_many(void **state)
{
	enum { MANY_EPOCHS = 250, MANY_USERS = 4 };
	struct fixture *f = *state;
	struct device more[MANY_USERS] = {{NULL}}, *all[2 + MANY_USERS] = {&bob, &carol};
	struct vault *vault;

	put_note(f, &f->first, "many");
	keys_ahead(f, "many", MANY_EPOCHS);
	for (size_t i = 0; i < MANY_USERS; i++) {
		_cleanup_(x_freep) char *name = x_asprintf("user%zu", i);

		device_open_as(f, &more[i], name, name);
		MUST(f, registration(f, &more[i], old_password));
		all[2 + i] = &more[i];
	}
	MUST(f, set_users(f, &f->first, "many", all, ARRAY_SIZE(all), MEMBER_WRITE));
	vault = opened(f, &f->first, "many");
	assert_int_equal(vault->membership->members.count, 1 + ARRAY_SIZE(all));
	vault_close(vault);
	/* All are out in one. */
	MUST(f, set_users(f, &f->first, "many", all, ARRAY_SIZE(all), 0));
	vault = opened(f, &f->first, "many");
	assert_int_equal(vault->membership->members.count, 1);
	vault_close(vault);
	for (size_t i = 0; i < MANY_USERS; i++) {
		device_close(&more[i]);
	}
}

/* Of a name that the member has already, a vault gets another one; the list of members that was
 * known before its head binds later heads. */
static void test_same_name(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *name = NULL;
	char hex[HEX_LEN(ID_BYTES) + 1];
	struct vault *vault;
	uint8_t id[ID_BYTES];

	put_note(f, &bob, "home");
	put_text(f, &bob, "home", "of bob");
	put_note(f, &f->first, "home");
	put_text(f, &f->first, "home", "of alice");
	id_of(f, &f->first, "home", id);
	MUST(f, share(f, &f->first, "home", "bob", MEMBER_READ));
	MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, id, true));
	hex_encode(bytes_of(id, ID_BYTES), hex);
	vault = opened(f, &bob, hex);
	name = x_asprintf("home-%.8s", hex);
	assert_string_equal(vault->name, name);
	vault_close(vault);
	vault = opened(f, &bob, name);
	assert_memory_equal(vault->id, id, ID_BYTES);
	assert_int_equal(vault->floor_rev, 2);
	vault_close(vault);
	vault = opened(f, &bob, "home");
	assert_memory_not_equal(vault->id, id, ID_BYTES);
	vault_close(vault);
}

/* A removal from a group re-keys it and its vault, for those who remain. */
static void test_group(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	struct share_with with;
	struct share_group group;
	struct vault *vault;
	size_t vaults = 0;
	uint8_t id[ID_BYTES], vault_id[ID_BYTES];
	int rc;

	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, share_group_create(people, "team", id, &f->err));
	MUST(f, share_find_group(people, "team", &group, &f->err));
	assert_memory_equal(group.id, id, ID_BYTES);
	with = resolved(f, people, "bob");
	MUST(f, share_group_add(people, id, &with, MEMBER_READ, &f->err));
	with = resolved(f, people, "carol");
	MUST(f, share_group_add(people, id, &with, MEMBER_READ, &f->err));
	MUST(f, answer(f, &bob, MEMBER_OBJECT_GROUP, id, true));
	MUST(f, answer(f, &carol, MEMBER_OBJECT_GROUP, id, true));
	put_note(f, &f->first, "shared");
	put_text(f, &f->first, "shared", "one");
	id_of(f, &f->first, "shared", vault_id);
	MUST(f, share(f, &f->first, "shared", "group:team", MEMBER_WRITE));
	read_all(f, &bob, "shared");
	put_text(f, &bob, "shared", "two");
	read_all(f, &f->first, "shared");
	read_all(f, &carol, "shared");
	with = resolved(f, people, "bob");
	f->err = (struct err){0};
	MUST(f, share_group_remove(people, id, &with, &vaults, &f->err));
	assert_int_equal(vaults, 1);
	put_text(f, &f->first, "shared", "three");
	vault = opened(f, &carol, "shared");
	assert_int_equal(vault->membership->members.epoch, 2);
	assert_int_equal(vault->head.key_epoch, 2);
	vault_close(vault);
	read_all(f, &carol, "shared");
	put_text(f, &carol, "shared", "four");
	read_all(f, &f->first, "shared");
	rc = sync_named(f, &bob, "shared");
	assert_true(rc == KLUIS_EFORBIDDEN || rc == KLUIS_EPIN);
	f->err = (struct err){0};
	assert_int_equal(share_group_delete(people, id, &f->err), KLUIS_ECONFLICT);
	people_free(people);
}

/* The role that a user has in a group, as she, or somebody else in it, has it verified. */
static unsigned group_role(
	struct fixture *f, struct device *d, const uint8_t *group, const struct share_with *with)
{
	struct people *people = people_new(d->profile, d->client);
	struct membership *m;
	unsigned role;

	MUST(f, account_refresh(d->profile, d->client, &f->err));
	MUST(f, membership_load(people, MEMBER_OBJECT_GROUP, group, &m, &f->err));
	role = membership_role(m, with->id, m->members.seq);
	membership_free(m);
	people_free(people);
	return role;
}

/* The one vault that the group is in and they do not manage; name NULL: there is none. */
static void assert_unmanaged(struct fixture *f, struct people *people, const uint8_t id[ID_BYTES],
	const struct share_with *with, const char *name)
{
	_cleanup_(x_freep) struct share_vault *vaults = NULL;
	size_t n;

	MUST(f, share_group_unmanaged(people, id, with, &vaults, &n, &f->err));
	assert_int_equal(n, name != NULL);
	if (name != NULL) {
		assert_string_equal(vaults[0].name, name);
	}
}

/* Whether the vault is among the invitations, to manage it. */
static void assert_offered(
	struct fixture *f, struct device *d, const uint8_t id[ID_BYTES], bool expected)
{
	struct people *people = people_new(d->profile, d->client);
	_cleanup_(x_freep) struct share_invitation *list = NULL;
	bool is = false;
	size_t n;

	MUST(f, share_invitations(people, MEMBER_OBJECT_VAULT, &list, &n, &f->err));
	for (size_t i = 0; i < n; i++) {
		is = is ||
		     (memcmp(list[i].id, id, ID_BYTES) == 0 && strcmp(list[i].role, "admin") == 0);
	}
	assert_int_equal(is, expected);
	people_free(people);
}

/* Roles in a group: by its admins alone, one of whom remains; handed over to who has accepted. */
static void test_group_roles(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client), *bobs;
	struct share_with to_bob, to_alice;
	uint8_t id[ID_BYTES], deck[ID_BYTES];

	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, share_group_create(people, "crew", id, &f->err));
	to_bob = resolved(f, people, "bob");
	to_alice = resolved(f, people, "alice");
	assert_int_equal(share_group_add(people, id, &to_bob, MEMBER_WRITE, &f->err), KLUIS_EINVAL);
	assert_int_equal(
		share_group_set_role(people, id, &to_bob, MEMBER_ADMIN, &f->err), KLUIS_ENOTFOUND);
	MUST(f, share_group_add(people, id, &to_bob, MEMBER_READ, &f->err));
	assert_int_equal(
		share_group_set_role(people, id, &to_bob, MEMBER_WRITE, &f->err), KLUIS_EINVAL);
	/* The last admin. */
	f->err = (struct err){0};
	assert_int_equal(share_group_set_role(people, id, &to_alice, MEMBER_READ, &f->err),
		KLUIS_EFORBIDDEN);
	assert_says(f, "nobody could manage the group");
	assert_int_equal(share_group_transfer(people, id, &to_bob, &f->err), KLUIS_EPRECONDITION);
	assert_int_equal(answer(f, &f->first, MEMBER_OBJECT_GROUP, id, false), KLUIS_EFORBIDDEN);
	assert_says(f, "hand it over first");
	MUST(f, answer(f, &bob, MEMBER_OBJECT_GROUP, id, true));
	/* A member gives no roles. */
	bobs = people_new(bob.profile, bob.client);
	assert_int_equal(
		share_group_set_role(bobs, id, &to_bob, MEMBER_ADMIN, &f->err), KLUIS_EFORBIDDEN);
	assert_says(f, "no admin");
	people_free(bobs);
	f->err = (struct err){0};
	MUST(f, share_group_set_role(people, id, &to_bob, MEMBER_ADMIN, &f->err));
	assert_int_equal(group_role(f, &bob, id, &to_bob), MEMBER_ADMIN);
	MUST(f, share_group_set_role(people, id, &to_bob, MEMBER_READ, &f->err));
	assert_int_equal(group_role(f, &bob, id, &to_bob), MEMBER_READ);
	/* What he would not manage with it. */
	put_note(f, &f->first, "deck");
	put_note(f, &f->first, "hers");
	MUST(f, share(f, &f->first, "deck", "group:crew", MEMBER_WRITE));
	assert_unmanaged(f, people, id, &to_bob, "deck");
	assert_unmanaged(f, people, id, &to_alice, NULL);
	MUST(f, share(f, &f->first, "deck", "bob", MEMBER_ADMIN));
	assert_unmanaged(f, people, id, &to_bob, NULL);
	/* He has it by the group, and is offered more. */
	id_of(f, &f->first, "deck", deck);
	assert_offered(f, &bob, deck, true);
	MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, deck, true));
	assert_offered(f, &bob, deck, false);
	/* Over to him, who then manages it, and lets alice go. */
	MUST(f, share_group_transfer(people, id, &to_bob, &f->err));
	assert_int_equal(group_role(f, &bob, id, &to_alice), MEMBER_READ);
	assert_int_equal(share_group_set_role(people, id, &to_alice, MEMBER_ADMIN, &f->err),
		KLUIS_EFORBIDDEN);
	bobs = people_new(bob.profile, bob.client);
	f->err = (struct err){0};
	MUST(f, account_refresh(bob.profile, bob.client, &f->err));
	to_bob = resolved(f, bobs, "carol");
	MUST(f, share_group_add(bobs, id, &to_bob, MEMBER_READ, &f->err));
	people_free(bobs);
	MUST(f, answer(f, &f->first, MEMBER_OBJECT_GROUP, id, false));
	people_free(people);
}

static int invited(struct fixture *f, struct device *d, size_t *ret_n)
{
	struct people *people = people_new(d->profile, d->client);
	struct share_invitation *list = NULL;
	int rc = share_invitations(people, MEMBER_OBJECT_VAULT, &list, ret_n, &f->err);

	if (rc == 0 && *ret_n > 0) {
		assert_string_equal(list[0].by, "alice");
		assert_string_equal(list[0].role, "write");
		assert_int_equal(list[0].problem.code, 0);
	}
	free(list);
	people_free(people);
	return rc;
}

static void test_invitations(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];
	size_t n, before;

	MUST(f, invited(f, &carol, &before));
	put_note(f, &f->first, "offered");
	id_of(f, &f->first, "offered", id);
	MUST(f, share(f, &f->first, "offered", "carol", MEMBER_WRITE));
	MUST(f, invited(f, &carol, &n));
	assert_int_equal(n, before + 1);
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	MUST(f, invited(f, &carol, &n));
	assert_int_equal(n, before);
}

/* What a device signed of a vault's members and a group's stays when it is revoked. */
static void test_revoked(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	struct membership *m = NULL;
	struct share_with with;
	uint8_t group[ID_BYTES], id[ID_BYTES], device_id[ID_BYTES];

	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, share_group_create(people, "old friends", group, &f->err));
	with = resolved(f, people, "bob");
	MUST(f, share_group_add(people, group, &with, MEMBER_READ, &f->err));
	put_note(f, &f->first, "diary");
	put_text(f, &f->first, "diary", "one");
	id_of(f, &f->first, "diary", id);
	MUST(f, share(f, &f->first, "diary", "carol", MEMBER_READ));
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	read_all(f, &carol, "diary");
	people_free(people);
	/* By another one of alice's. */
	memcpy(device_id, f->first.profile->device_id, ID_BYTES);
	add_second(f);
	MUST(f, account_refresh(f->second.profile, f->second.client, &f->err));
	MUST(f, account_device_revoke(
			f->second.profile, f->second.client, device_id, NULL, &f->err));
	read_all(f, &carol, "diary");
	people = people_new(bob.profile, bob.client);
	MUST(f, membership_load(people, MEMBER_OBJECT_GROUP, group, &m, &f->err));
	assert_int_equal(m->members.count, 2);
	membership_free(m);
	people_free(people);
	read_all(f, &f->second, "diary");
	MUST(f, take_out(f, &f->second, "diary", "carol"));
}

/* What it is called; NULL: it is not among those. */
static const char *managed_alone(struct fixture *f, struct people *people, const uint8_t *id)
{
	static char text[SHARE_NAME_BYTES_MAX + 16];
	_cleanup_(x_freep) struct share_alone *list = NULL;
	size_t n;

	MUST(f, share_managed_alone(people, &list, &n, &f->err));
	for (size_t i = 0; i < n; i++) {
		if (memcmp(list[i].id, id, ID_BYTES) == 0) {
			(void)snprintf(text, sizeof text, "%s %s",
				membership_kind_name(list[i].kind), list[i].name);
			return text;
		}
	}
	return NULL;
}

/* What others are in and nobody else could manage, as its owner is asked before her account goes;
 * and the last one in something is told how it ends. */
static void test_managed_alone(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(carol.profile, carol.client);
	char target[API_TARGET_MAX];
	struct share_with with;
	struct vault *vault;
	uint8_t id[ID_BYTES], group[ID_BYTES];

	put_note(f, &carol, "her own");
	put_text(f, &carol, "her own", "one");
	id_of(f, &carol, "her own", id);
	MUST(f, share_group_create(people, "her group", group, &f->err));
	assert_null(managed_alone(f, people, id)); /* Nobody else is there. */
	assert_null(managed_alone(f, people, group));
	assert_int_equal(answer(f, &carol, MEMBER_OBJECT_VAULT, id, false), KLUIS_EFORBIDDEN);
	assert_says(f, "kluis vault delete");
	api_target(target, "vaults", id, "/decline");
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_EQUOTA};
	assert_int_equal(answer(f, &carol, MEMBER_OBJECT_VAULT, id, false), KLUIS_EQUOTA);
	lie_end();
	assert_null(strstr(f->err.text, "kluis vault delete")); /* Not for another reason. */
	assert_int_equal(answer(f, &carol, MEMBER_OBJECT_GROUP, group, false), KLUIS_EFORBIDDEN);
	assert_says(f, "kluis group delete");
	/* Bob, who is to be admin. */
	MUST(f, share(f, &carol, "her own", "bob", MEMBER_ADMIN));
	with = resolved(f, people, "bob");
	MUST(f, share_group_add(people, group, &with, MEMBER_READ, &f->err));
	assert_string_equal(managed_alone(f, people, id), "vault her own");
	assert_non_null(managed_alone(f, people, group));
	f->err = (struct err){0};
	assert_int_equal(share_check_not_alone(people, &f->err), KLUIS_EFORBIDDEN);
	assert_says(f, "that others are in, such as vault");
	MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, id, true));
	MUST(f, answer(f, &bob, MEMBER_OBJECT_GROUP, group, true));
	assert_non_null(managed_alone(f, people, group)); /* He is a member. */
	MUST(f, answer(f, &bob, MEMBER_OBJECT_GROUP, group, false));
	f->err = (struct err){0};
	assert_null(managed_alone(f, people, id));
	assert_null(managed_alone(f, people, group));
	/* He may go, too; then she is alone with it. */
	MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, id, false));
	assert_int_equal(answer(f, &carol, MEMBER_OBJECT_VAULT, id, false), KLUIS_EFORBIDDEN);
	assert_says(f, "only one in it");
	vault = opened(f, &carol, "her own");
	MUST(f, vault_delete(vault, &f->err));
	vault_close(vault);
	people_free(people);
}

/* What a device saw of the members before an operator's restore that its owner accepted: one more
 * change, which alice made then and not again; or, of who signs what is hers no more, anything. */
static void seen_before(struct fixture *f, struct device *d, unsigned kind, const uint8_t *id,
	struct device *by, unsigned type)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;
	struct people *people = people_new(d->profile, d->client);
	uint8_t lineage[ID_BYTES];

	MUST(f, membership_load(people, kind, id, &m, &f->err));
	if (type == MEMBER_CREATE) {
		buf_clear(&m->chain);
		MUST(f, members_create(id, kind, by->profile->user_id, NULL, by->profile->device, 1,
				&encoded, &f->err));
	} else {
		buf_append(&body, carol.profile->user_id, ID_BYTES);
		buf_put_u8(&body, MEMBER_USER);
		buf_put_u16(&body, MEMBER_READ);
		MUST(f, members_make(&m->members, type, buf_bytes(&body), by->profile->device, 1,
				&encoded, &f->err));
	}
	buf_put_lp32(&m->chain, buf_bytes(&encoded));
	memcpy(lineage, d->profile->lineage, ID_BYTES);
	d->profile->lineage[0] ^= 1;
	MUST(f, membership_store(m, d->profile, &f->err));
	memcpy(d->profile->lineage, lineage, ID_BYTES);
	if (kind == MEMBER_OBJECT_VAULT) { /* As vault_restore_accept() leaves it. */
		_cleanup_(x_freep) char *dir = profile_path(d->profile, "vaults");
		_cleanup_(x_freep) char *mark = NULL;
		char hex[HEX_LEN(ID_BYTES) + 1];

		hex_encode(bytes_of(id, ID_BYTES), hex);
		mark = x_asprintf("%s/%s/restored", dir, hex);
		MUST(f, file_write(mark, bytes_of(NULL, 0), 0600, &f->err));
	}
	people_free(people);
}

static int members_rc(struct fixture *f, struct device *d, unsigned kind, const uint8_t *id)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	struct people *people = people_new(d->profile, d->client);
	int rc;

	f->err = (struct err){0};
	rc = membership_load(people, kind, id, &m, &f->err);
	people_free(people);
	return rc;
}

/* After a restore an admin makes another change in place of one that was lost: whoever saw the lost
 * one goes on with the others. */
static void test_restored(void **state)
{
	struct fixture *f = *state;
	struct device *signers[] = {&f->first, &carol};
	struct people *people = people_new(f->first.profile, f->first.client);
	struct share_with with;
	struct vault *vault;
	uint8_t id[ID_BYTES], group[ID_BYTES];

	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, share_group_create(people, "again", group, &f->err));
	with = resolved(f, people, "bob");
	MUST(f, share_group_add(people, group, &with, MEMBER_READ, &f->err));
	MUST(f, answer(f, &bob, MEMBER_OBJECT_GROUP, group, true));
	put_note(f, &f->first, "again");
	put_text(f, &f->first, "again", "one");
	id_of(f, &f->first, "again", id);
	MUST(f, share(f, &f->first, "again", "bob", MEMBER_WRITE));
	MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, id, true));
	read_all(f, &bob, "again");
	for (size_t i = 0; i < ARRAY_SIZE(signers); i++) {
		size_t vaults;

		seen_before(f, &bob, MEMBER_OBJECT_VAULT, id, signers[i], MEMBER_ADD);
		seen_before(f, &bob, MEMBER_OBJECT_GROUP, group, signers[i], MEMBER_ADD);
		vault = opened(f, &f->first, "again");
		MUST(f, share_remove(vault, NULL, &f->err));
		vault_close(vault);
		MUST(f, share_group_remove(people, group, NULL, &vaults, &f->err));
		read_all(f, &bob, "again");
		put_text(f, &bob, "again", "two");
		MUST(f, members_rc(f, &bob, MEMBER_OBJECT_GROUP, group));
	}
	read_all(f, &f->first, "again");
	/* What it begins with stays. */
	seen_before(f, &bob, MEMBER_OBJECT_VAULT, id, &bob, MEMBER_CREATE);
	assert_int_equal(members_rc(f, &bob, MEMBER_OBJECT_VAULT, id), KLUIS_EPIN);
	assert_says(f, "another list of members");
	people_free(people);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_share),
		cmocka_unit_test(test_ahead), cmocka_unit_test(test_decline),
		cmocka_unit_test(test_transfer), cmocka_unit_test(test_verified_only),
		cmocka_unit_test(test_verified_only_set),
		cmocka_unit_test(test_verified_only_group), cmocka_unit_test(test_same_name),
		cmocka_unit_test(test_group), cmocka_unit_test(test_group_roles),
		cmocka_unit_test(test_invitations), cmocka_unit_test(test_set_many),
		cmocka_unit_test(test_managed_alone), cmocka_unit_test(test_restored),
		cmocka_unit_test(test_revoked)};

	return cmocka_run_group_tests(tests, setup_three, teardown_three);
}
