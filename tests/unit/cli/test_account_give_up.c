/* Vaults that are no more: deleted, given up, or denied by a cluster that lies. */
#include "tests/lib/account_rig/account_rig.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

static struct vault *open_named(struct fixture *f, struct device *d, const char *name)
{
	struct vault *vault;

	MUST(f, vault_open(d->profile, d->client, name, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	return vault;
}

static int delete_named(struct fixture *f, struct device *d, const char *name)
{
	struct vault *vault = open_named(f, d, name);
	int rc;

	f->err = (struct err){0};
	rc = vault_delete(vault, &f->err);
	vault_close(vault);
	return rc;
}

static bool has_files(const struct device *d, const uint8_t id[ID_BYTES])
{
	char hex[HEX_LEN(ID_BYTES) + 1];
	_cleanup_(x_freep) char *name = NULL;
	_cleanup_(x_freep) char *path = NULL;

	hex_encode(bytes_of(id, ID_BYTES), hex);
	name = x_asprintf("vaults/%s", hex);
	path = profile_path(d->profile, name);
	return file_exists(path);
}

static bool knows(struct fixture *f, struct device *d, const uint8_t id[ID_BYTES])
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n = 0;

	MUST(f, vault_known_ids(d->profile, &ids, &n, &f->err));
	return vault_id_among(ids, n, id);
}

static char *vault_target(const uint8_t id[ID_BYTES])
{
	char hex[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(id, ID_BYTES), hex);
	return x_asprintf("/v1/vaults/%s", hex);
}

/* A deletion takes the key along: the other device hears of it by the keyring, and neither misses
 * the vault; nor does one that was not there. */
static void test_delete(void **state)
{
	struct fixture *f = *state;
	struct device third = {0};
	uint8_t id[ID_BYTES], kept[ID_BYTES];

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	MUST(f, vault_create(f->first.profile, f->first.client, "letters", kept, &f->err));
	put_text(f, &f->first, "diary", "dear diary");
	MUST(f, vault_person_store_pins(f->first.profile, f->first.client, &f->err));
	add_second(f);
	MUST(f, sync_named(f, &f->second, "diary"));
	assert_true(has_files(&f->second, id));
	MUST(f, delete_named(f, &f->first, "diary"));
	assert_false(has_files(&f->first, id));
	assert_false(knows(f, &f->first, id));
	MUST(f, account_refresh(f->second.profile, f->second.client, &f->err));
	assert_false(has_files(&f->second, id));
	assert_false(knows(f, &f->second, id));
	MUST(f, vault_person_adopt(f->second.profile, f->second.client, &f->err));
	assert_int_equal(sync_named(f, &f->second, "diary"), KLUIS_ENOTFOUND);
	/* The other one is as it was, and its key stays where the mark is. */
	MUST(f, sync_named(f, &f->second, "letters"));
	assert_true(knows(f, &f->second, kept));
	/* As files of the profile, after another run, and under a new password. */
	device_reopen(f, &f->second);
	MUST(f, enter(f, &f->second, old_password, bytes_of(NULL, 0)));
	MUST(f, passwd(f, &f->second, new_password));
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, new_password, bytes_of(NULL, 0)));
	MUST(f, sync_named(f, &f->first, "letters"));
	device_open(f, &third, "third");
	MUST(f, enter(f, &third, new_password, account_key(f)));
	MUST(f, vault_person_adopt(third.profile, third.client, &f->err));
	assert_false(knows(f, &third, id));
	device_close(&third);
}

/* No answer of the cluster makes a device forget: a denied deletion, a vault denied to a device
 * that does not ask for a deletion. */
static void test_delete_denied(void **state)
{
	static const int refusals[] = {KLUIS_ENOTFOUND, KLUIS_EGONE};
	struct fixture *f = *state;
	_cleanup_(x_freep) char *target = NULL;
	struct vault *vault;
	uint8_t id[ID_BYTES];

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	put_text(f, &f->first, "diary", "dear diary");
	target = vault_target(id);
	vault = open_named(f, &f->first, "diary");
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = refusals[i]};
		assert_int_equal(vault_delete(vault, &f->err), KLUIS_EPIN);
		lie_end();
		assert_non_null(strstr(f->err.text, "kluis vault forget"));
	}
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_EFORBIDDEN};
	assert_int_equal(vault_delete(vault, &f->err), KLUIS_EFORBIDDEN);
	lie_end();
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	assert_int_equal(sync_named(f, &f->first, "diary"), KLUIS_EPIN);
	lie_end();
	assert_true(knows(f, &f->first, id));
	MUST(f, vault_sync(vault, &f->err));
	vault_close(vault);
}

/* The keyring could not be changed after the deletion: the vault is missed until it is given up. */
static void test_delete_cut(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], found[ID_BYTES];
	char hex[HEX_LEN(ID_BYTES) + 1];

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	put_note(f, &f->first, "letters");
	MUST(f, vault_find(f->first.profile, f->first.client, "diary", found, &f->err));
	assert_memory_equal(found, id, ID_BYTES);
	assert_int_equal(vault_check_denied(f->first.client, id, &f->err), KLUIS_EEXIST);
	lie = (struct lie){.target = "/v1/keyring", .kind = LIE_REFUSE, .rc = KLUIS_ENOQUORUM};
	assert_int_equal(delete_named(f, &f->first, "diary"), KLUIS_ENOQUORUM);
	lie_end();
	assert_int_equal(sync_named(f, &f->first, "diary"), KLUIS_EPIN);
	MUST(f, vault_check_denied(f->first.client, id, &f->err));
	add_second(f); /* It has no file of it: it knows the vault from the keyring alone. */
	hex_encode(bytes_of(id, ID_BYTES), hex);
	MUST(f, vault_find(f->second.profile, f->second.client, hex, found, &f->err));
	MUST(f, vault_give_up(f->second.profile, f->second.client, found, &f->err));
	assert_int_equal(vault_find(f->second.profile, f->second.client, hex, found, &f->err),
		KLUIS_ENOTFOUND);
	MUST(f, vault_give_up(f->second.profile, f->second.client, id, &f->err)); /* Again. */
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	assert_false(has_files(&f->first, id));
	assert_int_equal(sync_named(f, &f->first, "diary"), KLUIS_ENOTFOUND);
	MUST(f, vault_person_adopt(f->first.profile, f->first.client, &f->err));
	MUST(f, sync_named(f, &f->first, "letters"));
}

/* A device that waits for approval reads, and gives nothing up. */
static void test_unenrolled(void **state)
{
	struct fixture *f = *state;
	struct device waiting = {0};
	uint8_t id[ID_BYTES];

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	device_open(f, &waiting, "waiting");
	MUST(f, enter(f, &waiting, old_password, account_key(f)));
	assert_int_equal(delete_named(f, &waiting, "diary"), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(vault_give_up(waiting.profile, waiting.client, id, &f->err),
		KLUIS_EUNAUTHENTICATED);
	assert_true(has_files(&waiting, id));
	MUST(f, sync_named(f, &f->first, "diary"));
	device_close(&waiting);
}

int main(void)
{
#define GIVE_UP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		GIVE_UP_TEST(test_delete),
		GIVE_UP_TEST(test_delete_denied),
		GIVE_UP_TEST(test_delete_cut),
		GIVE_UP_TEST(test_unenrolled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
