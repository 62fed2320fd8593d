#include "tests/lib/test.h"

#include <string.h>

#include "base/limits.h"
#include "storage/access_store.h"
#include "storage/cluster_store.h"
#include "storage/guard_store.h"
#include "storage/keyring_store.h"
#include "storage/mfa_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

/* Bounds of the rows of persons that no sequence of commands reaches in a test's time. */
struct world {
	struct kv *kv;
	struct txn *txn;
};
static const uint8_t user[16] = {7};

static int world_setup(void **state)
{
	static const struct position start;
	struct world *w = x_calloc(1, sizeof *w);

	w->kv = kv_memory_new();
	w->txn = txn_new(w->kv, &start);
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

static uint32_t failures(struct world *w, const uint8_t id[16])
{
	struct guard_row row;

	assert_int_equal(guard_store_get(txn_view(w->txn), GUARD_PASSWORD, id, &row, NULL), 0);
	return row.failures;
}

/* Names that nobody has cannot fill the store, and there is none that is not counted: it would be
 * told by that from a name that somebody has. */
static void test_strangers_are_bounded(void **state)
{
	struct world *w = *state;
	struct row_key key = row_key_begin(KEY_GUARD_STRANGERS);
	struct buf value = row_begin();
	struct guard_row row;
	uint64_t n;

	buf_put_u64(&value, GUARD_STRANGERS_MAX - 1);
	row_put(w->txn, &key, &value);
	/* Whom there is, is kept. */
	assert_int_equal(guard_store_fail(w->txn, GUARD_PASSWORD, user, false, 5, &row, NULL), 0);
	for (uint8_t i = 100; i > 0; i--) { /* Each before the one it takes the place of ... */
		uint8_t id[16] = {i, 1}, before[16] = {(uint8_t)(i + 1), 1};

		for (unsigned turn = 1; turn <= 3; turn++) {
			assert_int_equal(
				guard_store_fail(w->txn, GUARD_PASSWORD, id, true, 5, &row, NULL),
				0);
			assert_int_equal(row.failures, turn);
			assert_int_equal(failures(w, id), turn);
		}
		assert_int_equal(failures(w, before), 0);
		assert_int_equal(guard_strangers_get(txn_view(w->txn), &n, NULL), 0);
		assert_true(n == GUARD_STRANGERS_MAX);
	}
	/* ... and behind it. */
	assert_int_equal(guard_store_fail(w->txn, GUARD_PASSWORD, (uint8_t[16]){200, 1}, true, 5,
				 &row, NULL),
		0);
	assert_int_equal(failures(w, (uint8_t[16]){200, 1}), 1);
	assert_int_equal(failures(w, (uint8_t[16]){1, 1}), 0);
	assert_int_equal(failures(w, user), 1);
}

/* To list versions, or to drop the oldest, reads no keyring. */
static void test_keyrings_are_not_read(void **state)
{
	struct world *w = *state;
	struct keyring_row row = {.revision = 7, .committed_ms = 1, .hash = {2}, .bytes = 4};
	struct keyring_row rows[KEYRING_VERSIONS_MAX];
	struct row_key key = row_key_begin(KEY_KEYRING_OBJECT);
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	size_t n = 0;

	keyring_store_put(w->txn, user, &row, bytes_str("ring"));
	assert_int_equal(keyring_store_get(txn_view(w->txn), user, 7, &row, &object, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&object), bytes_str("ring")));
	row_key_put_id(&key, user);
	row_key_put_u64(&key, 7);
	row_delete(w->txn, &key);
	assert_int_equal(keyring_store_list(txn_view(w->txn), user, rows, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(rows[0].bytes, 4);
	buf_clear(&object);
	assert_int_equal(
		keyring_store_get(txn_view(w->txn), user, 7, &row, &object, NULL), KLUIS_ECORRUPT);
	assert_int_equal(object.len, 0);
	row_put_raw(w->txn, &key, bytes_str("rings")); /* Of another length. */
	assert_int_equal(
		keyring_store_get(txn_view(w->txn), user, 7, &row, &object, NULL), KLUIS_ECORRUPT);
	keyring_store_delete(w->txn, user, 7);
	assert_int_equal(
		keyring_store_get(txn_view(w->txn), user, 7, &row, &object, NULL), KLUIS_ENOTFOUND);
}

static void add_rows(struct world *w, uint64_t from_ms, uint64_t n)
{
	struct access_row row = {.event = ACCESS_LOGIN};

	memcpy(row.user_id, user, 16);
	for (uint64_t i = 0; i < n; i++) {
		row.time_ms = from_ms + i;
		assert_int_equal(access_store_add(w->txn, &row, NULL), 0);
	}
}

static void test_log_is_bounded(void **state)
{
	struct world *w = *state;
	struct access_state_row log;
	struct access_row row;
	uint64_t left = ACCESS_ROWS_MAX + 3;
	size_t n;

	for (uint64_t day = 1; left > 0; day++) {
		uint64_t some = left < 1000 ? left : 1000;

		add_rows(w, day * DAY_MS, some);
		left -= some;
	}
	assert_int_equal(access_store_state(txn_view(w->txn), user, &log, NULL), 0);
	assert_true(log.first == 4 && log.last == ACCESS_ROWS_MAX + 3);
	assert_int_equal(access_store_list(txn_view(w->txn), user, 0, &row, 1, &n, NULL), 0);
	assert_true(n == 1 && row.seq == 4);
}

static uint64_t rows_of(struct world *w, unsigned event)
{
	static struct access_row rows[ACCESS_DAY_ROWS * 3];
	uint64_t found = 0;
	size_t n;

	assert_int_equal(
		access_store_list(txn_view(w->txn), user, 0, rows, ARRAY_SIZE(rows), &n, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		found += rows[i].event == event;
	}
	return found;
}

/* Who fills a day with logins is seen to do it, and leaves room for what he does then. */
static void test_log_of_a_day(void **state)
{
	struct world *w = *state;
	struct access_row row = {.event = ACCESS_PASSWORD_CHANGED, .time_ms = DAY_MS + 1};
	struct access_state_row log;

	memcpy(row.user_id, user, 16);
	add_rows(w, DAY_MS, 3 * ACCESS_DAY_ROWS);
	assert_int_equal(rows_of(w, ACCESS_LOGIN), ACCESS_DAY_ROWS_OFTEN - 1);
	assert_int_equal(rows_of(w, ACCESS_LOG_FULL), 1);
	for (unsigned i = 0; i < ACCESS_DAY_ROWS; i++) {
		assert_int_equal(access_store_add(w->txn, &row, NULL), 0);
	}
	assert_int_equal(
		rows_of(w, ACCESS_PASSWORD_CHANGED), ACCESS_DAY_ROWS - ACCESS_DAY_ROWS_OFTEN);
	add_rows(w, 2 * DAY_MS, 5); /* Tomorrow is another day. */
	assert_int_equal(rows_of(w, ACCESS_LOGIN), ACCESS_DAY_ROWS_OFTEN - 1 + 5);
	assert_int_equal(access_store_state(txn_view(w->txn), user, &log, NULL), 0);
	assert_true(log.last == ACCESS_DAY_ROWS + 5 && log.day == 2 && log.day_rows == 5);
}

/* However much users do, what operators did stays for 400 days. */
static void test_audit_of_users(void **state)
{
	struct world *w = *state;
	struct audit_row row = {
		.action = 32, .actor = bytes_str("user"), .object = bytes_str("vault")};
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	uint8_t hash[32];
	uint64_t last;

	for (unsigned i = 0; i < 3 * AUDIT_DAY_USER_ROWS; i++) {
		assert_int_equal(audit_store_add_user(w->txn, &row, NULL), 0);
	}
	assert_int_equal(audit_store_last(txn_view(w->txn), &last, hash, NULL), 0);
	assert_int_equal(last, AUDIT_DAY_USER_ROWS);
	assert_int_equal(audit_store_get(txn_view(w->txn), last, &value, NULL), 0);
	assert_non_null(memmem(value.data, value.len, "no more of users today", 22));
	assert_int_equal(audit_store_add(w->txn, &row, NULL), 0); /* An operator's. */
	row.time_ms = DAY_MS;
	assert_int_equal(audit_store_add_user(w->txn, &row, NULL), 0);
	assert_int_equal(audit_store_last(txn_view(w->txn), &last, hash, NULL), 0);
	assert_int_equal(last, AUDIT_DAY_USER_ROWS + 2);
	assert_true(AUDIT_DAY_USER_ROWS * (AUDIT_KEPT_MS / DAY_MS) < AUDIT_ROWS_MAX);
}

static void test_log_goes_in_steps(void **state)
{
	struct world *w = *state;
	struct access_state_row log;
	const uint64_t now_ms = ACCESS_KEPT_MS + 1000;

	add_rows(w, 1, ACCESS_STEP + 2);
	assert_int_equal(access_store_state(txn_view(w->txn), user, &log, NULL), 0);
	assert_true(log.expires_ms == 1 + ACCESS_KEPT_MS);
	/* Purges are on hold after a jump of the clock. */
	assert_int_equal(access_store_expire(w->txn, user, now_ms, now_ms + 5, NULL), 0);
	assert_int_equal(access_store_state(txn_view(w->txn), user, &log, NULL), 0);
	assert_true(log.first == 1 && log.expires_ms == now_ms + 5);
	assert_int_equal(access_store_expire(w->txn, user, now_ms + 5, 0, NULL), 0);
	assert_int_equal(access_store_state(txn_view(w->txn), user, &log, NULL), 0);
	/* Not where the queue was emptied: nobody would find it there. */
	assert_true(log.first == ACCESS_STEP + 1 && log.expires_ms == now_ms + 5);
	assert_int_equal(access_store_expire(w->txn, user, now_ms + 5, 0, NULL), 0);
	assert_int_equal(access_store_state(txn_view(w->txn), user, &log, NULL), 0);
	assert_true(log.first == ACCESS_STEP + 3 && log.expires_ms == 0);
}

static void test_what_a_factor_accepts(void **state)
{
	static const struct {
		unsigned method;
		uint64_t next, number;
		bool taken;
		uint64_t after;
	} rows[] = {
		{MFA_TOTP, 0, 0, true, 1},
		{MFA_TOTP, 5, 4, false, 0},
		{MFA_TOTP, 5, 5, true, 6},
		{MFA_TOTP, 5, 9, true, 10},
		{MFA_HOTP, 0, UINT64_MAX, false, 0},
		{MFA_FIDO2, 0, 0, true, 0},
		{MFA_FIDO2, 0, 3, true, 4},
		{MFA_FIDO2, 4, 0, false, 0},
		{MFA_FIDO2, 4, 3, false, 0},
		{MFA_FIDO2, 4, 4, true, 5},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct mfa_row row = {.method = (uint8_t)rows[i].method, .next = rows[i].next};
		uint64_t next = 0;

		assert_int_equal(mfa_accepts(&row, rows[i].number, &next), rows[i].taken);
		assert_true(next == rows[i].after);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_strangers_are_bounded),
		T(test_keyrings_are_not_read),
		T(test_log_is_bounded),
		T(test_log_of_a_day),
		T(test_audit_of_users),
		T(test_log_goes_in_steps),
		cmocka_unit_test(test_what_a_factor_accepts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
