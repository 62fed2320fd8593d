/* tests/vectors/backup-kat.json, which an independent program made from docs/format-backup.md. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backup/index.h"
#include "backup/deletion_list.h"
#include "backup/keys.h"
#include "backup/object.h"
#include "backup/receipt.h"
#include "crypto/aead.h"
#include "base/file.h"
#include "base/text.h"

static json_t *kat;

static void unhex(const json_t *in, const char *name, struct buf *to)
{
	const char *text = json_string_value(json_object_get(in, name));

	assert_non_null(text);
	assert_int_equal(hex_decode_buf(bytes_str(text), 1 << 20, to), 0);
}

static void assert_hex(const json_t *in, const char *name, struct bytes bytes)
{
	_cleanup_(buf_release) struct buf want = BUF_INIT;

	unhex(in, name, &want);
	assert_true(bytes_equal(bytes, buf_bytes(&want)));
}

static const json_t *kat_key(size_t at)
{
	return json_array_get(json_object_get(kat, "keys"), at);
}

static void kat_id(const char *name, uint8_t to[16])
{
	assert_int_equal(hex_decode(json_string_value(json_object_get(kat, name)), to, 16), 0);
}

static int memory_file(struct bytes bytes)
{
	int fd = memfd_create("object", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, bytes), 0);
	return fd;
}

/* The vectors' third key, as node 3 at ams. */
static void trust_init(struct backup_trust *trust)
{
	const char *line = json_string_value(json_object_get(kat_key(2), "public_line"));
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;

	memset(trust, 0, sizeof *trust);
	assert_int_equal(backup_key_parse_public(
				 bytes_of(line, strlen(line) - 1), BACKUP_KEY_NODE, &pub, NULL),
		0);
	assert_int_equal(backup_trust_add(trust, 3, "ams", pub, NULL), 0);
}

static void test_key_lines(void **state)
{
	static const enum backup_key_use use[] = {
		BACKUP_KEY_SEAL, BACKUP_KEY_SEAL, BACKUP_KEY_NODE};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const char *private =
			json_string_value(json_object_get(kat_key(i), "private_line"));
		const char *public = json_string_value(json_object_get(kat_key(i), "public_line"));
		_cleanup_(buf_release) struct buf line = BUF_INIT;
		_cleanup_(key_freep) struct key *key = NULL;
		_cleanup_(key_pub_freep) struct key_pub *pub = NULL;

		assert_int_equal(backup_key_parse(bytes_of(private, strlen(private) - 1), use[i],
					 &key, NULL),
			0);
		assert_hex(kat_key(i), "public", key_pub_bytes(key_public(key)));
		assert_hex(kat_key(i), "kid", bytes_of(key_pub_kid(key_public(key)), KID_BYTES));
		assert_int_equal(backup_key_parse_public(
					 bytes_of(public, strlen(public) - 1), use[i], &pub, NULL),
			0);
		assert_true(key_pub_equal(pub, key_public(key)));
		backup_key_format(key, use[i], &line);
		assert_true(bytes_equal(buf_bytes(&line), bytes_of(private, strlen(private) - 1)));
		buf_clear(&line);
		backup_key_format_public(pub, use[i], &line);
		assert_true(bytes_equal(buf_bytes(&line), bytes_of(public, strlen(public) - 1)));
	}
}

/* One wrong character anywhere is found, and a key never passes as another kind. */
static void test_key_lines_refused(void **state)
{
	const char *line = json_string_value(json_object_get(kat_key(0), "private_line"));
	size_t len = strlen(line) - 1;
	struct key *key = NULL;
	struct key_pub *pub = NULL;

	(void)state;
	for (size_t i = 0; i < len; i++) {
		char copy[256];

		memcpy(copy, line, len);
		copy[i] = copy[i] == '0' ? '1' : '0';
		assert_int_equal(backup_key_parse(bytes_of(copy, len), BACKUP_KEY_SEAL, &key, NULL),
			KLUIS_ECORRUPT);
		assert_int_equal(backup_key_parse(bytes_of(line, i), BACKUP_KEY_SEAL, &key, NULL),
			KLUIS_ECORRUPT);
	}
	assert_int_equal(
		backup_key_parse(bytes_of(line, len), BACKUP_KEY_NODE, &key, NULL), KLUIS_ECORRUPT);
	assert_int_equal(backup_key_parse_public(bytes_of(line, len), BACKUP_KEY_SEAL, &pub, NULL),
		KLUIS_ECORRUPT);
}

static struct key *backup_key(const char *kem)
{
	const char *line = json_string_value(
		json_object_get(kat_key(strcmp(kem, "p256") == 0), "private_line"));
	struct key *key = NULL;

	assert_int_equal(
		backup_key_parse(bytes_of(line, strlen(line) - 1), BACKUP_KEY_SEAL, &key, NULL), 0);
	return key;
}

static struct object_place kat_place(enum object_kind kind, uint32_t number)
{
	struct object_place place = {.kind = kind, .index = 0x0102030405, .number = number};

	kat_id("cluster", place.cluster_id);
	kat_id("lineage", place.lineage);
	return place;
}

static void test_objects_open(void **state)
{
	const json_t *row;
	size_t i;

	(void)state;
	json_array_foreach(json_object_get(kat, "objects"), i, row)
	{
		bool pack = strcmp(json_string_value(json_object_get(row, "what")), "pack") == 0;
		struct object_place place = kat_place(pack ? OBJECT_PACK : OBJECT_INDEX, 0);
		_cleanup_(key_freep) struct key *key =
			backup_key(json_string_value(json_object_get(row, "kem")));
		_cleanup_(object_reader_freep) struct object_reader *reader = NULL;
		_cleanup_(buf_release) struct buf file = BUF_INIT, plain = BUF_INIT;
		uint8_t hash[HASH_BYTES];
		size_t len;

		unhex(row, "file", &file);
		hash_sha256(buf_bytes(&file), hash);
		assert_hex(row, "hash", bytes_of(hash, sizeof hash));
		assert_int_equal(object_reader_new(
					 memory_file(buf_bytes(&file)), &place, key, &reader, NULL),
			0);
		len = object_reader_bytes(reader);
		assert_int_equal(
			object_reader_read(reader, 0, len, buf_extend(&plain, len), NULL), 0);
		assert_hex(row, "plaintext", buf_bytes(&plain));
	}
}

/* What the writer makes differs in its random keys alone: the sizes are the vector's. */
static void test_object_sizes(void **state)
{
	_cleanup_(key_freep) struct key *key = backup_key("x25519");
	struct object_place place = kat_place(OBJECT_PACK, 9);
	const json_t *row;
	size_t i;

	(void)state;
	json_array_foreach(json_object_get(kat, "large_objects"), i, row)
	{
		size_t len = (size_t)json_integer_value(json_object_get(row, "plaintext_bytes"));
		_cleanup_(object_reader_freep) struct object_reader *reader = NULL;
		_cleanup_(buf_release) struct buf plain = BUF_INIT, back = BUF_INIT;
		struct object_writer *writer = NULL;
		uint8_t hash[HASH_BYTES];
		uint64_t bytes = 0;
		int fd = memory_file(bytes_of(NULL, 0));

		for (size_t at = 0; at < len; at++) {
			buf_put_u8(&plain, (unsigned)(at * 7 + at / 251) & 0xff);
		}
		assert_int_equal(object_writer_new(fd, &place, key_public(key), &writer, NULL), 0);
		for (size_t at = 0; at < len; at += 99999) {
			size_t n = len - at < 99999 ? len - at : 99999;

			assert_int_equal(
				object_writer_append(writer, bytes_of(plain.data + at, n), NULL),
				0);
		}
		assert_int_equal(object_writer_finish(writer, hash, &bytes, NULL), 0);
		object_writer_free(writer);
		assert_int_equal(bytes, json_integer_value(json_object_get(row, "bytes")));
		assert_int_equal(object_reader_new(fd, &place, key, &reader, NULL), 0);
		assert_int_equal(object_reader_bytes(reader), len);
		assert_int_equal(
			object_reader_read(reader, 0, len, buf_extend(&back, len), NULL), 0);
		assert_true(bytes_equal(buf_bytes(&plain), buf_bytes(&back)));
	}
}

/* The independent program's file of several segments, remade here from its header. */
static void test_large_object_opens(void **state)
{
	_cleanup_(buf_release) struct buf data_key = BUF_INIT;
	const json_t *row = json_array_get(json_object_get(kat, "large_objects"), 6);
	_cleanup_(buf_release) struct buf file = BUF_INIT, aad = BUF_INIT;
	size_t left = (size_t)json_integer_value(json_object_get(row, "plaintext_bytes")), at = 0;
	_cleanup_(key_freep) struct key *key = backup_key("x25519");
	struct object_place place = kat_place(OBJECT_PACK, 9);
	_cleanup_(object_reader_freep) struct object_reader *reader = NULL;
	uint8_t hash[HASH_BYTES], nonce[AEAD_NONCE_BYTES] = {0}, byte;
	struct aead *aead;

	(void)state;
	unhex(kat, "data_key", &data_key);
	unhex(row, "header", &file);
	hash_sha256(buf_bytes(&file), hash);
	aead = aead_new(buf_bytes(&data_key));
	for (uint64_t n = 0; left > 0; n++) {
		size_t len = left < BACKUP_SEGMENT_BYTES ? left : BACKUP_SEGMENT_BYTES;
		uint8_t *to = buf_extend(&file, len + AEAD_TAG_BYTES);

		for (size_t i = 0; i < len; i++, at++) {
			to[i] = (uint8_t)(at * 7 + at / 251);
		}
		left -= len;
		buf_clear(&aad);
		buf_put_str(&aad, "kluis/v1/backup-seg");
		buf_append(&aad, hash, sizeof hash);
		buf_put_u64(&aad, n);
		buf_put_u8(&aad, left == 0);
		store_u64(nonce + 4, n);
		aead_seal(aead, nonce, buf_bytes(&aad), bytes_of(to, len), to);
	}
	aead_free(aead);
	hash_sha256(buf_bytes(&file), hash);
	assert_hex(row, "hash", bytes_of(hash, sizeof hash));
	assert_int_equal(
		object_reader_new(memory_file(buf_bytes(&file)), &place, key, &reader, NULL), 0);
	assert_int_equal(object_reader_read(reader, at - 1, 1, &byte, NULL), 0);
	assert_int_equal(byte, (uint8_t)((at - 1) * 7 + (at - 1) / 251));
	assert_int_equal(object_reader_read(reader, at, 1, &byte, NULL), KLUIS_ECORRUPT);
}

static void test_index(void **state)
{
	_cleanup_(buf_release) struct buf plain = BUF_INIT, again = BUF_INIT;
	const json_t *row, *index = json_array_get(json_object_get(kat, "objects"), 0);
	struct index_entry entry;
	struct wire w;
	size_t i;

	(void)state;
	unhex(index, "plaintext", &plain);
	w = wire_of(buf_bytes(&plain));
	assert_true(index_header_take(&w));
	index_header_put(&again);
	json_array_foreach(json_object_get(kat, "rows"), i, row)
	{
		assert_int_equal(index_entry_take(&w, &entry), 0);
		assert_false(entry.tombstone);
		assert_hex(row, "key", entry.key);
		assert_hex(row, "value_hash", bytes_of(entry.value_hash, HASH_BYTES));
		assert_int_equal(entry.index, json_integer_value(json_object_get(row, "index")));
		assert_int_equal(
			entry.ordinal, json_integer_value(json_object_get(row, "ordinal")));
		assert_int_equal(entry.offset, json_integer_value(json_object_get(row, "offset")));
		assert_int_equal(
			backup_slice(entry.key), json_integer_value(json_object_get(row, "slice")));
		index_entry_put(&again, &entry);
	}
	assert_int_equal(index_entry_take(&w, &entry), 0);
	assert_true(entry.tombstone);
	assert_true(bytes_equal(entry.key, bytes_str("gone")));
	index_entry_put(&again, &entry);
	assert_true(wire_end(&w));
	assert_true(bytes_equal(buf_bytes(&plain), buf_bytes(&again)));
}

static void test_slices(void **state)
{
	const json_t *row;
	size_t i;

	(void)state;
	json_array_foreach(json_object_get(kat, "slices"), i, row)
	{
		_cleanup_(buf_release) struct buf key = BUF_INIT;

		unhex(row, "key", &key);
		assert_int_equal(backup_slice(buf_bytes(&key)),
			json_integer_value(json_object_get(row, "slice")));
	}
}

static void test_manifests(void **state)
{
	struct backup_trust trust;
	_cleanup_(key_freep) struct key *signer = NULL;
	const char *line = json_string_value(json_object_get(kat_key(2), "private_line"));
	const json_t *row;
	size_t i;

	(void)state;
	trust_init(&trust);
	assert_int_equal(
		backup_key_parse(bytes_of(line, strlen(line) - 1), BACKUP_KEY_NODE, &signer, NULL),
		0);
	json_array_foreach(json_object_get(kat, "manifests"), i, row)
	{
		_cleanup_(buf_release) struct buf file = BUF_INIT, again = BUF_INIT;
		_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
		uint8_t hash[HASH_BYTES];

		unhex(row, "file", &file);
		assert_int_equal(backup_manifest_open(buf_bytes(&file), &trust, &m, hash, NULL), 0);
		assert_hex(row, "hash", bytes_of(hash, sizeof hash));
		assert_hex(kat, "state_root", bytes_of(m.state_root, HASH_BYTES));
		assert_int_equal(m.type, i == 0 ? MANIFEST_FULL : MANIFEST_INCREMENT);
		assert_int_equal(m.n_index, 1);
		assert_int_equal(m.n_packs, 1);
		assert_int_equal(backup_manifest_encode(&m, signer, &again, hash, NULL), 0);
		assert_true(bytes_equal(buf_bytes(&file), buf_bytes(&again)));
	}
	backup_trust_release(&trust);
}

static void test_manifests_refused(void **state)
{
	struct backup_trust trust;
	const json_t *row;
	size_t i;

	(void)state;
	trust_init(&trust);
	json_array_foreach(json_object_get(kat, "manifests_refused"), i, row)
	{
		_cleanup_(buf_release) struct buf file = BUF_INIT;
		struct backup_manifest m;
		uint8_t hash[HASH_BYTES];
		int rc;

		unhex(row, "file", &file);
		rc = backup_manifest_open(buf_bytes(&file), &trust, &m, hash, NULL);
		if (rc != KLUIS_ECORRUPT && rc != KLUIS_EVERSION) {
			fail_msg("%s: %s", json_string_value(json_object_get(row, "what")),
				err_name(rc));
		}
	}
	backup_trust_release(&trust);
}

/* Every bit of a manifest is covered by its rules or its signature. */
static void test_manifest_flips(void **state)
{
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	struct backup_trust trust;
	struct backup_manifest m;
	uint8_t hash[HASH_BYTES];

	(void)state;
	trust_init(&trust);
	unhex(json_array_get(json_object_get(kat, "manifests"), 1), "file", &file);
	for (size_t i = 0; i < file.len; i++) {
		file.data[i] ^= (uint8_t)(1U << (i % 8));
		assert_int_not_equal(
			backup_manifest_open(buf_bytes(&file), &trust, &m, hash, NULL), 0);
		file.data[i] ^= (uint8_t)(1U << (i % 8));
		assert_int_not_equal(
			backup_manifest_open(bytes_of(file.data, i), &trust, &m, hash, NULL), 0);
	}
	backup_trust_release(&trust);
}

static void test_receipt(void **state)
{
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	_cleanup_(key_freep) struct key *signer = NULL;
	const char *line = json_string_value(json_object_get(kat_key(2), "private_line"));
	uint8_t again[RECEIPT_BYTES];
	struct backup_trust trust;
	struct receipt receipt;

	(void)state;
	trust_init(&trust);
	unhex(json_object_get(kat, "receipt"), "file", &file);
	assert_int_equal(receipt_open(buf_bytes(&file), &trust, &receipt, NULL), 0);
	assert_true(receipt.received_ms == 1790000005000ULL);
	assert_int_equal(
		backup_key_parse(bytes_of(line, strlen(line) - 1), BACKUP_KEY_NODE, &signer, NULL),
		0);
	assert_int_equal(receipt_encode(&receipt, signer, again, NULL), 0);
	assert_true(bytes_equal(bytes_of(again, sizeof again), buf_bytes(&file)));
	for (size_t i = 0; i < file.len; i++) {
		file.data[i] ^= 0x40;
		assert_int_not_equal(receipt_open(buf_bytes(&file), &trust, &receipt, NULL), 0);
		file.data[i] ^= 0x40;
		assert_int_not_equal(
			receipt_open(bytes_of(file.data, i), &trust, &receipt, NULL), 0);
	}
	backup_trust_release(&trust);
}

static void test_deletion_journal(void **state)
{
	const json_t *in = json_object_get(kat, "deletions");
	_cleanup_(buf_release) struct buf journal = BUF_INIT, file = BUF_INIT;
	_cleanup_(key_freep) struct key *signer = NULL;
	const char *line = json_string_value(json_object_get(kat_key(2), "private_line"));
	uint8_t chain[HASH_BYTES] = {0}, again[HASH_BYTES] = {0}, record[DELETION_BYTES];
	uint8_t mark_again[DELETION_MARK_BYTES];
	struct backup_trust trust;
	struct deletion_mark mark;
	struct deletion d;

	(void)state;
	trust_init(&trust);
	unhex(in, "journal", &journal);
	assert_int_equal(journal.len, 4 * DELETION_BYTES);
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *from = journal.data + (size_t)i * DELETION_BYTES;

		assert_int_equal(deletion_decode(from, chain, &d, NULL), 0);
		assert_int_equal(d.kind, DELETION_VAULT + i);
		assert_int_equal(d.id[0], "vpdm"[i]);
		assert_true(d.time_ms == 1790000010000ULL);
		deletion_encode(&d, again, record);
		assert_memory_equal(record, from, DELETION_BYTES);
	}
	unhex(in, "mark", &file);
	assert_int_equal(deletion_mark_open(buf_bytes(&file), &trust, &mark, NULL), 0);
	assert_true(mark.node == 3 && mark.count == 4 && mark.wall_ms == 1790000020001ULL);
	assert_memory_equal(mark.chain, chain, HASH_BYTES);
	assert_int_equal(
		backup_key_parse(bytes_of(line, strlen(line) - 1), BACKUP_KEY_NODE, &signer, NULL),
		0);
	assert_int_equal(deletion_mark_encode(&mark, signer, mark_again, NULL), 0);
	assert_true(bytes_equal(bytes_of(mark_again, sizeof mark_again), buf_bytes(&file)));
	backup_trust_release(&trust);
}

static void test_deletion_list(void **state)
{
	const json_t *in = json_object_get(kat, "deletions");
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	struct deletion_list list;
	uint8_t lineage[ID_BYTES];

	(void)state;
	unhex(in, "list", &file);
	assert_int_equal(deletion_list_parse(buf_bytes(&file), &list, NULL), 0);
	assert_true(list.n_vaults == 1 && list.n_persons == 2 && list.n_devices == 1 &&
		    list.n_members == 1);
	assert_true(list.devices[0][0] == 'd' && list.members[0][0] == 'm');
	assert_true(
		list.vaults[0][0] == 'v' && list.persons[0][0] == 'o' && list.persons[1][0] == 'p');
	deletion_list_lineage(buf_bytes(&file), lineage);
	assert_hex(in, "new_lineage", bytes_of(lineage, sizeof lineage));
}

static int load(void **state)
{
	(void)state;
	kat = json_load_file(KLUIS_SOURCE_DIR "/tests/vectors/backup-kat.json", 0, NULL);
	return kat == NULL;
}

static int unload(void **state)
{
	(void)state;
	json_decref(kat);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_lines),
		cmocka_unit_test(test_key_lines_refused),
		cmocka_unit_test(test_objects_open),
		cmocka_unit_test(test_object_sizes),
		cmocka_unit_test(test_large_object_opens),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_manifests),
		cmocka_unit_test(test_manifests_refused),
		cmocka_unit_test(test_manifest_flips),
		cmocka_unit_test(test_receipt),
		cmocka_unit_test(test_deletion_journal),
		cmocka_unit_test(test_deletion_list),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
