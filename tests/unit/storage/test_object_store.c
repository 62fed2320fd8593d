#include "tests/lib/test.h"

#include <string.h>

#include "storage/key_codec.h"
#include "storage/object_store.h"

/* Vaults a, b, c; a user; groups. Ids are one byte and zeros. */
struct world {
	struct kv *kv;
	struct txn *txn;
	struct position position;
};

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	w->kv = kv_memory_new();
	w->txn = txn_new(w->kv, &w->position);
	txn_entry_begin(w->txn, 1, 1);
	txn_command_begin(w->txn);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	assert_int_equal(txn_command_commit(w->txn, NULL), 0);
	txn_free(w->txn);
	kv_close(w->kv);
	free(w);
	return 0;
}

static const uint8_t *id(uint8_t first)
{
	static uint8_t ids[256][16];

	ids[first][0] = first;
	return ids[first];
}

static struct member_row member_of_kind(
	uint8_t object, uint8_t member, uint8_t kind, uint8_t state, uint16_t role)
{
	struct member_row row = {.kind = kind, .state = state, .role = role};

	memcpy(row.object_id, id(object), 16);
	memcpy(row.member_id, id(member), 16);
	return row;
}

static void put(struct world *w, unsigned object_kind, struct member_row row)
{
	member_store_put(w->txn, object_kind, &row);
}

static void put_user(struct world *w, uint8_t vault, uint8_t user, uint8_t state, uint16_t role)
{
	put(w, MEMBER_OBJECT_VAULT, member_of_kind(vault, user, MEMBER_USER, state, role));
}

static void put_group(struct world *w, uint8_t vault, uint8_t group, uint16_t role)
{
	put(w, MEMBER_OBJECT_VAULT,
		member_of_kind(vault, group, MEMBER_GROUP, MEMBER_ACCEPTED, role));
}

static void join(struct world *w, uint8_t group, uint8_t user, uint8_t state)
{
	put(w, MEMBER_OBJECT_GROUP, member_of_kind(group, user, MEMBER_USER, state, MEMBER_READ));
}

static unsigned rows(struct world *w, enum key_family family)
{
	struct row_key first = row_key_begin(family), end = row_key_after_prefix(&first);
	struct kv_iter *iter =
		kv_iter_new(txn_view(w->txn), row_key_bytes(&first), row_key_bytes(&end));
	unsigned n = 0;

	while (kv_iter_next(iter)) {
		n++;
	}
	kv_iter_free(iter);
	return n;
}

enum { A = 0x10, B = 0x20, C = 0x30, USER = 0x41, OTHER = 0x42, G = 0x50, H = 0x51 };

static struct vault_access access_of(struct world *w, uint8_t vault)
{
	struct vault_access access = {.role = 77};

	assert_int_equal(vault_access_get(txn_view(w->txn), id(vault), id(USER), &access, NULL), 0);
	assert_memory_equal(access.vault_id, id(vault), 16);
	return access;
}

/* Old nodes read what a founder's rows have always been. */
static void test_old_form(void **state)
{
	struct member_row row = member_of_kind(A, USER, MEMBER_USER, MEMBER_ACCEPTED, MEMBER_ADMIN);
	struct member_of of = {.state = MEMBER_ACCEPTED, .role = MEMBER_ADMIN};
	_cleanup_(buf_release) struct buf value = BUF_INIT, of_value = BUF_INIT;
	static const uint8_t old[] = {1, 0, 3};

	(void)state;
	member_row_encode(&row, &value);
	member_of_encode(&of, &of_value);
	assert_true(bytes_equal(buf_bytes(&value), bytes_of(old, sizeof old)));
	assert_true(bytes_equal(buf_bytes(&of_value), bytes_of(old, sizeof old)));
}

/* One value has one form: the wide one of a plain member is no row of ours. */
static void test_one_form(void **state)
{
	struct row_key key = row_key_begin(KEY_MEMBER), of_key = row_key_begin(KEY_MEMBER_VAULT);
	static const uint8_t wide[] = {2, 0, 3, MEMBER_USER, MEMBER_ACCEPTED};
	static const uint8_t wide_of[] = {2, 0, 3, MEMBER_ACCEPTED};
	static const uint8_t declined_of[] = {2, 0, 3, MEMBER_DECLINED};
	struct member_row row;
	struct member_of of;

	(void)state;
	row_key_put_id(&key, id(A));
	row_key_put_id(&key, id(USER));
	row_key_put_id(&of_key, id(USER));
	row_key_put_id(&of_key, id(A));
	assert_int_equal(
		member_row_decode(row_key_bytes(&key), bytes_of(wide, sizeof wide), &row, NULL),
		KLUIS_ECORRUPT);
	assert_int_equal(member_of_decode(row_key_bytes(&of_key), bytes_of(wide_of, sizeof wide_of),
				 &of, NULL),
		KLUIS_ECORRUPT);
	assert_int_equal(member_of_decode(row_key_bytes(&of_key),
				 bytes_of(declined_of, sizeof declined_of), &of, NULL),
		KLUIS_ECORRUPT);
	assert_int_equal(member_of_decode(row_key_bytes(&key), bytes_of(wide_of, 3), &of, NULL),
		KLUIS_ECORRUPT);
}

static void test_own_role(void **state)
{
	struct world *w = *state;
	struct vault_access access;

	assert_int_equal(vault_access_get(txn_view(w->txn), id(A), id(USER), &access, NULL),
		KLUIS_ENOTFOUND);
	put_user(w, A, USER, MEMBER_INVITED, MEMBER_WRITE);
	access = access_of(w, A);
	assert_true(access.role == 0 && access.state == MEMBER_INVITED);
	assert_int_equal(access.invited_role, MEMBER_WRITE);
	put_user(w, A, USER, MEMBER_ACCEPTED, MEMBER_WRITE);
	access = access_of(w, A);
	assert_true(access.role == MEMBER_WRITE && access.state == MEMBER_ACCEPTED);
	assert_false(access.by_group);
	put_user(w, A, USER, MEMBER_DECLINED, MEMBER_WRITE);
	assert_int_equal(vault_access_get(txn_view(w->txn), id(A), id(USER), &access, NULL),
		KLUIS_ENOTFOUND);
	assert_int_equal(rows(w, KEY_MEMBER), 1);
	assert_int_equal(rows(w, KEY_MEMBER_VAULT), 0);
}

/* The best of the own role and of those of groups that were accepted. */
static void test_role_by_group(void **state)
{
	struct world *w = *state;
	struct vault_access access;

	put_group(w, A, G, MEMBER_READ);
	put_group(w, A, H, MEMBER_WRITE);
	join(w, G, USER, MEMBER_INVITED);
	assert_int_equal(vault_access_get(txn_view(w->txn), id(A), id(USER), &access, NULL),
		KLUIS_ENOTFOUND);
	join(w, G, USER, MEMBER_ACCEPTED);
	access = access_of(w, A);
	assert_true(access.role == MEMBER_READ && access.by_group);
	assert_memory_equal(access.via, id(G), 16);
	join(w, H, USER, MEMBER_ACCEPTED);
	access = access_of(w, A);
	assert_true(access.role == MEMBER_WRITE && access.by_group);
	assert_memory_equal(access.via, id(H), 16);
	put_user(w, A, USER, MEMBER_INVITED, MEMBER_ADMIN);
	access = access_of(w, A);
	assert_true(access.role == MEMBER_WRITE && access.state == MEMBER_ACCEPTED);
	put_user(w, A, USER, MEMBER_ACCEPTED, MEMBER_ADMIN);
	access = access_of(w, A);
	assert_true(access.role == MEMBER_ADMIN && !access.by_group);
	/* A group with the id of a user gives that user nothing. */
	put_group(w, B, USER, MEMBER_WRITE);
	assert_int_equal(vault_access_get(txn_view(w->txn), id(B), id(USER), &access, NULL),
		KLUIS_ENOTFOUND);
	member_store_delete(w->txn, MEMBER_OBJECT_VAULT,
		&(struct member_row){.object_id = {A}, .member_id = {H}, .kind = MEMBER_GROUP});
	put_user(w, A, USER, MEMBER_DECLINED, MEMBER_ADMIN);
	assert_int_equal(access_of(w, A).role, MEMBER_READ);
}

static void expect_list(struct world *w, const uint8_t *after, size_t max, const char *want)
{
	struct vault_access list[8];
	char got[8 + 1] = "";
	size_t n = 99;

	assert_int_equal(
		vault_access_list(txn_view(w->txn), id(USER), after, list, max, &n, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		got[i] = (char)('0' + list[i].vault_id[0] / 16 * 2 + list[i].by_group);
	}
	assert_string_equal(got, want);
}

/* Own ones and those of groups in one order, none twice, from anywhere on. */
static void test_list_is_merged(void **state)
{
	struct world *w = *state;

	expect_list(w, NULL, 8, "");
	put_user(w, A, USER, MEMBER_ACCEPTED, MEMBER_ADMIN);
	put_user(w, C, USER, MEMBER_INVITED, MEMBER_READ);
	put_group(w, A, G, MEMBER_READ);
	put_group(w, B, G, MEMBER_READ);
	put_group(w, B, H, MEMBER_WRITE);
	put_group(w, C, H, MEMBER_WRITE);
	put_user(w, B, OTHER, MEMBER_ACCEPTED, MEMBER_ADMIN);
	expect_list(w, NULL, 8, "26");
	join(w, G, USER, MEMBER_INVITED);
	expect_list(w, NULL, 8, "26");
	join(w, G, USER, MEMBER_ACCEPTED);
	expect_list(w, NULL, 8, "256");
	join(w, H, USER, MEMBER_ACCEPTED);
	expect_list(w, NULL, 8, "257");
	expect_list(w, NULL, 2, "25");
	expect_list(w, id(A), 8, "57");
	expect_list(w, id(C), 8, "");
}

static void test_kinds_are_listed_apart(void **state)
{
	struct world *w = *state;
	struct member_of list[4];
	size_t n = 99;

	put_user(w, A, USER, MEMBER_ACCEPTED, MEMBER_READ);
	join(w, G, USER, MEMBER_INVITED);
	put(w, MEMBER_OBJECT_CONVERSATION,
		member_of_kind(C, USER, MEMBER_USER, MEMBER_ACCEPTED, MEMBER_ADMIN));
	for (unsigned kind = MEMBER_OBJECT_VAULT; kind <= MEMBER_OBJECT_CONVERSATION; kind++) {
		static const uint8_t want[] = {0, A, G, C};

		assert_int_equal(member_store_objects(
					 txn_view(w->txn), kind, id(USER), NULL, list, 4, &n, NULL),
			0);
		assert_int_equal(n, 1);
		assert_memory_equal(list[0].object_id, id(want[kind]), 16);
	}
	assert_int_equal(list[0].role, MEMBER_ADMIN);
}

/* The last one takes the rows along; while others are left, an admin still finds whom to remove. */
static void test_leave(void **state)
{
	struct world *w = *state;
	struct member_row row;
	size_t left = 99;

	put_user(w, A, USER, MEMBER_ACCEPTED, MEMBER_ADMIN);
	put_user(w, A, OTHER, MEMBER_ACCEPTED, MEMBER_ADMIN);
	put_group(w, A, G, MEMBER_READ);
	assert_int_equal(
		member_store_leave(w->txn, MEMBER_OBJECT_VAULT, id(A), id(USER), &left, NULL), 0);
	assert_int_equal(left, 2);
	assert_int_equal(member_store_get(txn_view(w->txn), id(A), id(USER), &row, NULL), 0);
	assert_int_equal(row.state, MEMBER_DECLINED);
	member_store_delete(w->txn, MEMBER_OBJECT_VAULT,
		&(struct member_row){.object_id = {A}, .member_id = {G}, .kind = MEMBER_GROUP});
	assert_int_equal(rows(w, KEY_VAULT_GROUP), 0);
	assert_int_equal(
		member_store_leave(w->txn, MEMBER_OBJECT_VAULT, id(A), id(OTHER), &left, NULL), 0);
	assert_int_equal(left, 0);
	assert_int_equal(
		member_store_get(txn_view(w->txn), id(A), id(OTHER), &row, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(rows(w, KEY_MEMBER_VAULT), 0);
	assert_int_equal(
		member_store_leave(w->txn, MEMBER_OBJECT_VAULT, id(B), id(OTHER), &left, NULL),
		KLUIS_ENOTFOUND);
}

static void test_object_check(void **state)
{
	struct world *w = *state;
	const struct kv_view *view = txn_view(w->txn);
	struct object_row object = {
		.object_id = {G}, .kind = MEMBER_OBJECT_GROUP, .state = OBJECT_ACTIVE};
	struct member_row member;
	bool taken = true;

	assert_int_equal(object_id_taken(view, id(G), &taken, NULL), 0);
	assert_false(taken);
	assert_int_equal(object_store_check(view, 0, id(G), id(USER), MEMBER_READ, true, &object,
				 &member, NULL),
		KLUIS_ENOTFOUND);
	object_store_put(w->txn, &object);
	assert_int_equal(object_id_taken(view, id(G), &taken, NULL), 0);
	assert_true(taken);
#define CHECK(kind, role, invited) \
	object_store_check(view, kind, id(G), id(USER), role, invited, &object, &member, NULL)
	assert_int_equal(CHECK(0, MEMBER_READ, true), KLUIS_ENOTFOUND);
	join(w, G, USER, MEMBER_INVITED);
	assert_int_equal(CHECK(0, MEMBER_READ, false), KLUIS_EFORBIDDEN);
	assert_int_equal(CHECK(0, MEMBER_READ, true), 0);
	assert_int_equal(CHECK(MEMBER_OBJECT_CONVERSATION, MEMBER_READ, true), KLUIS_ENOTFOUND);
	join(w, G, USER, MEMBER_ACCEPTED);
	assert_int_equal(CHECK(MEMBER_OBJECT_GROUP, MEMBER_READ, false), 0);
	assert_int_equal(CHECK(MEMBER_OBJECT_GROUP, MEMBER_WRITE, false), KLUIS_EFORBIDDEN);
	object.state = OBJECT_GONE;
	object_store_put(w->txn, &object);
	assert_int_equal(CHECK(0, MEMBER_READ, false), KLUIS_EGONE);
	join(w, G, USER, MEMBER_DECLINED);
	assert_int_equal(CHECK(0, MEMBER_READ, true), KLUIS_ENOTFOUND);
#undef CHECK
}

/* Who writes in a vault by a group is proven to all its members. */
static void test_group_is_visible(void **state)
{
	struct world *w = *state;
	const struct kv_view *view = txn_view(w->txn);
	bool visible = true;

	assert_int_equal(group_visible(view, id(G), id(USER), &visible, NULL), 0);
	assert_false(visible);
	put_user(w, A, USER, MEMBER_DECLINED, MEMBER_ADMIN);
	put_user(w, B, USER, MEMBER_ACCEPTED, MEMBER_ADMIN);
	put_group(w, A, G, MEMBER_READ);
	assert_int_equal(group_visible(view, id(G), id(USER), &visible, NULL), 0);
	assert_false(visible);
	put_user(w, A, USER, MEMBER_INVITED, MEMBER_READ);
	assert_int_equal(group_visible(view, id(G), id(USER), &visible, NULL), 0);
	assert_true(visible);
	assert_int_equal(group_visible(view, id(H), id(USER), &visible, NULL), 0);
	assert_false(visible);
	join(w, H, USER, MEMBER_INVITED);
	assert_int_equal(group_visible(view, id(H), id(USER), &visible, NULL), 0);
	assert_true(visible);
	join(w, H, USER, MEMBER_DECLINED);
	assert_int_equal(group_visible(view, id(H), id(USER), &visible, NULL), 0);
	assert_false(visible);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_old_form),
		cmocka_unit_test(test_one_form),
		T(test_own_role),
		T(test_role_by_group),
		T(test_list_is_merged),
		T(test_kinds_are_listed_apart),
		T(test_leave),
		T(test_object_check),
		T(test_group_is_visible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
