/* Vaults of a group that the cluster hides while somebody is taken out of the group; and what was
 * signed of members by who is out herself. */
#include "tests/lib/account_rig/account_share.h"

#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "cli/client/share_impl.h"

static const char no_rows[] = "{\"items\":[],\"done\":true}";

static void add_to(struct fixture *f, struct device *d, struct people *people, const uint8_t *group,
	const char *name)
{
	struct share_with with = resolved(f, people, name);

	MUST(f, share_group_add(people, group, &with, MEMBER_READ, &f->err));
	MUST(f, answer(f, d, MEMBER_OBJECT_GROUP, group, true));
}

/* A group of alice's with bob and carol, who write to a vault of that name. */
static void begin_group(struct fixture *f, struct people *people, const char *name,
	uint8_t ret_group[ID_BYTES], uint8_t ret_vault[ID_BYTES])
{
	_cleanup_(x_freep) char *with = x_asprintf("group:%s", name);

	f->err = (struct err){0};
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, share_group_create(people, name, ret_group, &f->err));
	add_to(f, &bob, people, ret_group, "bob");
	add_to(f, &carol, people, ret_group, "carol");
	put_note(f, &f->first, name);
	put_text(f, &f->first, name, "one");
	id_of(f, &f->first, name, ret_vault);
	MUST(f, share(f, &f->first, name, with, MEMBER_WRITE));
	read_all(f, &carol, name);
	read_all(f, &bob, name);
}

static int remove_bob(
	struct fixture *f, struct people *people, const uint8_t *group, size_t *ret_vaults)
{
	struct share_with with = resolved(f, people, "bob");

	f->err = (struct err){0};
	return share_group_remove(people, group, &with, ret_vaults, &f->err);
}

static uint32_t epoch_of(struct fixture *f, struct device *d, const char *name)
{
	struct vault *vault = opened(f, d, name);
	uint32_t epoch = vault->membership->members.epoch;

	vault_close(vault);
	return epoch;
}

static char *target_of(const char *path, const uint8_t *id)
{
	char hex[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(id, ID_BYTES), hex);
	return x_asprintf("/v1/%s/%s", path, hex);
}

/* What this device knows is re-keyed, also when the cluster does not list it. */
static void test_unlisted(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	uint8_t group[ID_BYTES], vault[ID_BYTES];
	size_t vaults = 0;

	begin_group(f, people, "unlisted", group, vault);
	lie = (struct lie){
		.target = "/v1/vaults?", .kind = LIE_INVENT, .instead = bytes_str(no_rows)};
	MUST(f, remove_bob(f, people, group, &vaults));
	lie_end();
	assert_int_equal(vaults, 1);
	assert_int_equal(epoch_of(f, &f->first, "unlisted"), 2);
	put_text(f, &carol, "unlisted", "two");
	people_free(people);
}

/* One that it denies is said, until the owner says that it is gone. */
static void test_denied(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	_cleanup_(x_freep) char *target = NULL;
	uint8_t group[ID_BYTES], id[ID_BYTES];
	struct vault *vault;
	size_t vaults = 0;

	begin_group(f, people, "denied", group, id);
	MUST(f, share(f, &f->first, "denied", "carol", MEMBER_ADMIN));
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	target = target_of("vaults", id);
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	more_lies[0] = (struct lie){
		.target = "/v1/vaults?", .kind = LIE_INVENT, .instead = bytes_str(no_rows)};
	assert_int_equal(remove_bob(f, people, group, &vaults), KLUIS_EPIN);
	assert_says(f, "vault forget");
	lie_end();
	/* It may be true. */
	vault = opened(f, &carol, "denied");
	MUST(f, vault_delete(vault, &f->err));
	vault_close(vault);
	assert_int_equal(remove_bob(f, people, group, &vaults), KLUIS_EPIN);
	MUST(f, vault_give_up(f->first.profile, f->first.client, id, &f->err));
	MUST(f, remove_bob(f, people, group, &vaults));
	assert_int_equal(vaults, 0);
	people_free(people);
}

/* A removal that the cluster took without the group's vault, by a clock that is ahead: what it then
 * shows to who has seen what was before, and to who has seen that. */
struct half {
	char *targets[2];
	struct buf answers[2];
};

static void half_release(struct half *half)
{
	for (size_t i = 0; i < 2; i++) {
		free(half->targets[i]);
		buf_release(&half->answers[i]);
	}
}

static json_t *last_statement(const struct membership *m)
{
	struct wire w = wire_of(buf_bytes(&m->chain));
	struct bytes statement = bytes_of(NULL, 0);

	while (w.left.len > 0) {
		statement = wire_lp32(&w, STATEMENT_BYTES_MAX);
	}
	return json_base64(statement);
}

static void half_make(
	struct fixture *f, struct people *people, const uint8_t *group, struct half *half)
{
	_cleanup_(share_change_release) struct share_change change = {.n = 0};
	struct share_with with = resolved(f, people, "bob");
	_cleanup_(x_freep) char *target = target_of("groups", group);
	json_t *items[2] = {json_array(), json_array()};
	struct share_section *section;
	struct membership *m;

	MUST(f, membership_load(people, MEMBER_OBJECT_GROUP, group, &m, &f->err));
	share_change_init(&change, people);
	change.unix_ms += 3600 * 1000;
	section = share_change_add(&change, m);
	(void)json_array_append_new(items[0], last_statement(m));
	MUST(f, share_statement(
			&change, section, MEMBER_REMOVE, bytes_of(with.id, ID_BYTES), &f->err));
	(void)json_array_append_new(items[0], last_statement(m));
	(void)json_array_append_new(items[1], last_statement(m));
	for (size_t i = 0; i < 2; i++) {
		half->targets[i] = x_asprintf(
			"%s/members/chain?since=%zu", target, (size_t)m->members.seq - 2 + i);
		json_take_text(
			json_pack("{s:o, s:b}", "items", items[i], "done", 1), &half->answers[i]);
		*(i == 0 ? &lie : &more_lies[0]) = (struct lie){.target = half->targets[i],
			.kind = LIE_INVENT,
			.instead = buf_bytes(&half->answers[i])};
	}
}

/* Nobody writes what who was taken out could read: until an admin re-keys the vault, whose clock
 * need not be ahead as well. */
static void test_not_rekeyed(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	_cleanup_(half_release) struct half half = {{NULL}, {BUF_INIT, BUF_INIT}};
	uint8_t group[ID_BYTES], id[ID_BYTES];
	struct vault *vault;

	begin_group(f, people, "late", group, id);
	half_make(f, people, group, &half);
	assert_int_equal(try_text(f, &carol, "late", "two"), KLUIS_EVERIFY);
	assert_says(f, "kluis vault rekey");
	/* Not even a page of it leaves. */
	vault = opened(f, &carol, "late");
	assert_int_equal(vault->head.seq, 2);
	{
		_cleanup_(buf_release) struct buf page = BUF_INIT;
		static const uint8_t hash[HASH_BYTES] = {1};

		assert_int_equal(vault_seal_page(vault, 9, 1, PAGE_CHUNK, 0, bytes_str("two"), hash,
					 &page, &f->err),
			KLUIS_EVERIFY);
	}
	vault_close(vault);
	read_all(f, &carol, "late");
	assert_int_equal(try_text(f, &f->first, "late", "two"), KLUIS_EVERIFY);
	vault = opened(f, &f->first, "late");
	MUST(f, share_remove(vault, NULL, &f->err));
	vault_close(vault);
	put_text(f, &carol, "late", "two");
	read_all(f, &f->first, "late");
	/* Nor does a vault wait for it that the group comes to later. */
	put_note(f, &f->first, "later");
	MUST(f, share(f, &f->first, "later", "group:late", MEMBER_WRITE));
	put_text(f, &f->first, "later", "one");
	lie_end();
	people_free(people);
}

/* Nor when the cluster denies the group to who has seen that somebody was taken out of it. */
static void test_group_denied(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	_cleanup_(half_release) struct half half = {{NULL}, {BUF_INIT, BUF_INIT}};
	_cleanup_(x_freep) char *target = NULL;
	uint8_t group[ID_BYTES], id[ID_BYTES];

	begin_group(f, people, "dark", group, id);
	MUST(f, share(f, &f->first, "dark", "carol", MEMBER_WRITE));
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	half_make(f, people, group, &half);
	assert_int_equal(try_text(f, &carol, "dark", "two"), KLUIS_EVERIFY);
	assert_int_equal(try_text(f, &carol, "dark", "two"), KLUIS_EVERIFY);
	lie_end();
	target = target_of("groups", group);
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	assert_int_equal(try_text(f, &carol, "dark", "two"), KLUIS_EVERIFY);
	assert_says(f, "kluis vault rekey");
	lie_end();
	/* Without the group there is nobody of it who could read. */
	MUST(f, take_out(f, &f->first, "dark", "group:dark"));
	put_text(f, &carol, "dark", "two");
	people_free(people);
}

/* Shows the vault's last change twice, which is out of order. */
static char *unproven_lie(struct fixture *f, struct people *people, const uint8_t *id, char **to)
{
	_cleanup_(x_freep) char *target = target_of("vaults", id);
	_cleanup_(buf_release) struct buf answer = BUF_INIT;
	struct membership *m;

	MUST(f, membership_load(people, MEMBER_OBJECT_VAULT, id, &m, &f->err));
	json_take_text(json_pack("{s:[o, o], s:b}", "items", last_statement(m), last_statement(m),
			       "done", 1),
		&answer);
	membership_free(m);
	*to = x_strdup(buf_str(&answer));
	return x_asprintf("%s/members/chain", target);
}

/* A list of members that does not hold, such as one that rests on a revoked device, stops who takes
 * somebody out of a group only when the group was in it: anybody can let another one into such a
 * vault. */
static void test_unproven(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	_cleanup_(x_freep) char *own = NULL, *own_text = NULL, *noise = NULL, *noise_text = NULL;
	uint8_t group[ID_BYTES], id[ID_BYTES], noise_id[ID_BYTES];
	struct share_vault *unmanaged;
	struct share_with to_bob;
	size_t vaults = 0;

	begin_group(f, people, "clean", group, id);
	put_note(f, &bob, "noise");
	id_of(f, &bob, "noise", noise_id);
	MUST(f, share(f, &bob, "noise", "alice", MEMBER_WRITE));
	MUST(f, answer(f, &f->first, MEMBER_OBJECT_VAULT, noise_id, true));
	own = unproven_lie(f, people, id, &own_text);
	noise = unproven_lie(f, people, noise_id, &noise_text);
	to_bob = resolved(f, people, "bob");
	lie = (struct lie){.target = own, .kind = LIE_INVENT, .instead = bytes_str(own_text)};
	assert_int_equal(remove_bob(f, people, group, &vaults), KLUIS_EVERIFY);
	assert_says(f, "kluis vault forget");
	lie_end();
	lie = (struct lie){.target = noise, .kind = LIE_INVENT, .instead = bytes_str(noise_text)};
	f->err = (struct err){0};
	MUST(f, share_group_unmanaged(people, group, &to_bob, &unmanaged, &vaults, &f->err));
	assert_int_equal(vaults, 1);
	assert_string_equal(unmanaged[0].name, "clean");
	free(unmanaged);
	MUST(f, remove_bob(f, people, group, &vaults));
	lie_end();
	assert_int_equal(vaults, 1);
	people_free(people);
}

/* Taken out by a clock that is an hour ahead, from a group without a vault. */
static void remove_ahead(
	struct fixture *f, struct people *people, const uint8_t *group, const char *name)
{
	_cleanup_(share_change_release) struct share_change change = {.n = 0};
	_cleanup_(secret_release) struct secret private = SECRET_INIT, secret = SECRET_INIT;
	struct share_with with = resolved(f, people, name);
	struct share_section *section;
	struct packets_taken taken;
	struct membership *m;

	MUST(f, membership_load(people, MEMBER_OBJECT_GROUP, group, &m, &f->err));
	share_change_init(&change, people);
	share_change_not_before(&change, change.unix_ms + 3600 * 1000);
	section = share_change_add(&change, m);
	MUST(f, share_statement(
			&change, section, MEMBER_REMOVE, bytes_of(with.id, ID_BYTES), &f->err));
	MUST(f, share_group_key(&change, section, &f->err));
	key_encode(section->group_key, &private);
	secret_init(&secret, 2 + private.len);
	store_u16(secret.data, key_pub_alg(key_public(section->group_key)));
	memcpy(secret.data + 2, private.data, private.len);
	MUST(f, share_rotate(&change, section, secret_bytes(&secret), &f->err));
	MUST(f, share_send(&change, &f->err));
	MUST(f, packets_take(people, NULL, &taken, &f->err));
}

static uint64_t left_ms(struct fixture *f, struct people *people, const uint8_t *group)
{
	struct membership *m;
	uint64_t ms;

	MUST(f, membership_load(people, MEMBER_OBJECT_GROUP, group, &m, &f->err));
	ms = membership_left_ms(m);
	membership_free(m);
	return ms;
}

/* A clock that was ahead once: who is taken out later is out later, and a vault's key of before
 * that is none of after it. */
static void test_clock_was_ahead(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	struct share_with with;
	uint8_t group[ID_BYTES];
	uint64_t before;
	size_t vaults = 0;

	f->err = (struct err){0};
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, share_group_create(people, "hasty", group, &f->err));
	add_to(f, &bob, people, group, "bob");
	add_to(f, &carol, people, group, "carol");
	remove_ahead(f, people, group, "bob");
	before = left_ms(f, people, group);
	put_note(f, &f->first, "hasty");
	put_text(f, &f->first, "hasty", "one");
	MUST(f, share(f, &f->first, "hasty", "group:hasty", MEMBER_WRITE));
	put_text(f, &carol, "hasty", "two");
	with = resolved(f, people, "carol");
	MUST(f, share_group_remove(people, group, &with, &vaults, &f->err));
	assert_int_equal(vaults, 1);
	assert_true(left_ms(f, people, group) > before);
	put_text(f, &f->first, "hasty", "three");
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

/* What somebody was taken out of does not open when its last change that she saw is by a device
 * revoked since: the next test has carol open another one that is new to her, by its name. */
static void test_taken_out_before(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	put_note(f, &f->first, "former");
	put_text(f, &f->first, "former", "one");
	MUST(f, share(f, &f->first, "former", "carol", MEMBER_READ));
	id_of(f, &f->first, "former", id);
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	read_all(f, &carol, "former");
	MUST(f, take_out(f, &f->first, "former", "carol"));
}

/* She hands over and leaves, is taken out, and forgets it; the device with which she did that is
 * revoked: those who stay go on by what her other device has seen of it. */
static void test_revoked_after_leaving(void **state)
{
	struct fixture *f = *state;
	struct people *people, *bobs;
	struct share_with to_bob, other;
	uint8_t group[ID_BYTES], id[ID_BYTES];
	struct vault *vault;
	size_t vaults;

	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, account_key(f)));
	people = people_new(f->first.profile, f->first.client);
	add_second(f);
	MUST(f, share_group_create(people, "heirs", group, &f->err));
	add_to(f, &bob, people, group, "bob");
	put_note(f, &f->first, "heirloom");
	put_text(f, &f->first, "heirloom", "one");
	id_of(f, &f->first, "heirloom", id);
	MUST(f, share(f, &f->first, "heirloom", "bob", MEMBER_WRITE));
	MUST(f, answer(f, &bob, MEMBER_OBJECT_VAULT, id, true));
	to_bob = resolved(f, people, "bob");
	vault = opened(f, &f->first, "heirloom");
	MUST(f, share_transfer(vault, &to_bob, MEMBER_READ, &f->err));
	vault_close(vault);
	MUST(f, share_group_transfer(people, group, &to_bob, &f->err));
	vault_close(opened(f, &f->second, "heirloom"));
	MUST(f, members_rc(f, &f->second, MEMBER_OBJECT_VAULT, id));
	MUST(f, members_rc(f, &f->second, MEMBER_OBJECT_GROUP, group));
	MUST(f, answer(f, &f->first, MEMBER_OBJECT_VAULT, id, false));
	MUST(f, answer(f, &f->first, MEMBER_OBJECT_GROUP, group, false));
	bobs = people_new(bob.profile, bob.client);
	other = resolved(f, bobs, "alice");
	MUST(f, take_out(f, &bob, "heirloom", "alice"));
	MUST(f, share_group_remove(bobs, group, &other, &vaults, &f->err));
	put_text(f, &bob, "heirloom", "two");
	MUST(f, vault_give_up(f->second.profile, f->second.client, id, &f->err));
	MUST(f, account_device_revoke(f->second.profile, f->second.client,
			f->first.profile->device_id, NULL, &f->err));
	MUST(f, account_refresh(bob.profile, bob.client, &f->err));
	other = resolved(f, bobs, "carol");
	MUST(f, share_group_add(bobs, group, &other, MEMBER_READ, &f->err));
	MUST(f, answer(f, &carol, MEMBER_OBJECT_GROUP, group, true));
	MUST(f, share(f, &bob, "heirloom", "carol", MEMBER_WRITE));
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	put_text(f, &carol, "heirloom", "three");
	read_all(f, &bob, "heirloom");
	people_free(people);
	people_free(bobs);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_unlisted),
		cmocka_unit_test(test_denied), cmocka_unit_test(test_not_rekeyed),
		cmocka_unit_test(test_group_denied), cmocka_unit_test(test_unproven),
		cmocka_unit_test(test_clock_was_ahead), cmocka_unit_test(test_taken_out_before),
		cmocka_unit_test(test_revoked_after_leaving)};

	return three_main(argc, argv, tests, ARRAY_SIZE(tests));
}
