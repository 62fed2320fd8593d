/* The project's known answers and negative cases (tests/vectors/kluis-kat.json, made by an
 * independent implementation), or another set of the same form: KLUIS_VECTORS names its directory.
 */
#include "tests/lib/test.h"
#include "tests/lib/kat.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/wire.h"
#include "crypto/head.h"
#include "crypto/hpke.h"
#include "crypto/keypacket.h"
#include "crypto/member.h"
#include "crypto/merkle.h"
#include "crypto/page.h"
#include "crypto/proof.h"
#include "crypto/seal.h"
#include "tests/unit/crypto/lib/kat_chat.h"
#include "tests/unit/crypto/lib/kat_keyring.h"
#include "tests/unit/crypto/lib/kat_password.h"

/* 16 bytes of input `name`. */
static void take_id(struct kat_run *run, const char *name, uint8_t to[ID_BYTES])
{
	kat_fixed(run, kat_bytes(run, name), to, ID_BYTES);
}

static struct bytes id_of(const uint8_t id[ID_BYTES])
{
	return bytes_of(id, ID_BYTES);
}

static struct bytes hash_of(const uint8_t hash[HASH_BYTES])
{
	return bytes_of(hash, HASH_BYTES);
}

/* A label of ours is a constant: hash_th() ends the program for any other, so it runs in a child.
 */
static int th_in_child(const char *label)
{
	uint8_t hash[HASH_BYTES];
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		(void)close(STDERR_FILENO);
		hash_th(label, NULL, 0, hash);
		_exit(0);
	}
	assert(child > 0 && waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? KLUIS_EINVAL : 0;
}

static int run_th(struct kat_run *run)
{
	const char *label = kat_text(run, "label_text");
	size_t count;
	const struct bytes *fields = kat_list(run, "fields", &count);
	uint8_t hash[HASH_BYTES];
	int rc = th_in_child(label);

	if (rc == 0) {
		hash_th(label, fields, count, hash);
		kat_put_bytes(run, "hash", hash_of(hash));
	}
	return rc;
}

static int run_hkdf(struct kat_run *run)
{
	struct bytes info = kat_bytes(run, "info");
	uint8_t prk[HASH_BYTES], okm[1024];
	size_t len = kat_number_max(run, "n", sizeof okm);

	hkdf_extract(kat_bytes(run, "salt"), kat_bytes(run, "ikm"), prk);
	hkdf_expand(prk, &info, 1, okm, len);
	kat_put_bytes(run, "prk", hash_of(prk));
	kat_put_bytes(run, "okm", bytes_of(okm, len));
	return 0;
}

static int run_kid(struct kat_run *run)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	int rc = key_pub_decode((unsigned)kat_number_max(run, "alg", UINT16_MAX),
		kat_bytes(run, "pub"), &pub, NULL);

	if (rc == 0) {
		kat_put_bytes(run, "kid", id_of(key_pub_kid(pub)));
	}
	return rc;
}

static int run_sig_verify(struct kat_run *run)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	int rc = key_pub_decode((unsigned)kat_number_max(run, "alg", UINT16_MAX),
		kat_bytes(run, "pub"), &pub, NULL);

	return rc != 0 ? rc : sign_verify(pub, kat_bytes(run, "msg"), kat_bytes(run, "sig"), NULL);
}

static int run_device_login(struct kat_run *run)
{
	_cleanup_(key_pub_freep) struct key_pub *device = NULL;
	uint8_t message[HASH_BYTES];
	struct proof_device proof;
	int rc = key_pub_decode(KEY_ECDSA_P256, kat_bytes(run, "pub"), &device, NULL);

	take_id(run, "cluster_id", proof.cluster_id);
	kat_fixed(run, kat_bytes(run, "M1"), proof.m1, sizeof proof.m1);
	take_id(run, "user_id", proof.user_id);
	take_id(run, "device_id", proof.device_id);
	rc = rc != 0 ? rc : proof_device_verify(&proof, device, kat_bytes(run, "sig"), NULL);
	HASH_TH(message, "kluis/v1/device-login", id_of(proof.cluster_id), hash_of(proof.m1),
		id_of(proof.user_id), id_of(proof.device_id));
	kat_put_bytes(run, "msg", hash_of(message));
	return rc;
}

static void put_sym(struct kat_run *run, unsigned sym, struct bytes salt, struct bytes ikm,
	const struct bytes *info, size_t count)
{
	struct sym_keys keys;

	sym_derive(sym, salt, ikm, info, count, &keys);
	kat_put_bytes(run, "kE", sym_enc_key(&keys));
	kat_put_bytes(run, "IV", sym_iv(&keys));
	kat_put_bytes(run, "kM", sym_mac_key(&keys));
}

static int run_seal(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	struct bytes salt = kat_bytes(run, "salt"), key = kat_bytes(run, "key");
	struct bytes ctx = kat_bytes(run, "ctx");
	struct kat_random source;

	kat_random_init(&source, run, salt);
	seal_make(key, ctx, kat_bytes(run, "plaintext"), &source.random, &sealed);
	put_sym(run, SYM_AES_256, salt, key, (struct bytes[]){bytes_str("kluis/v1/seal"), ctx}, 2);
	kat_put_bytes(run, "sealed", buf_bytes(&sealed));
	return 0;
}

static int run_seal_open(struct kat_run *run)
{
	_cleanup_(secret_release) struct secret plain = SECRET_INIT;
	int rc = seal_open(kat_bytes(run, "key"), kat_bytes(run, "ctx"), kat_bytes(run, "sealed"),
		&plain, NULL);

	if (rc == 0) {
		kat_put_bytes(run, "plaintext", secret_bytes(&plain));
	}
	return rc;
}

static json_t *rows_json(const struct identity_device *device)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < device->row_count; i++) {
		(void)json_array_append_new(
			rows, json_pack("[o,o]", kat_hex_json(id_of(device->rows[i].object_id)),
				      kat_hex_json(hash_of(device->rows[i].hash))));
	}
	return rows;
}

/* The device with the smallest id above `after` (NULL: the first), among those (not) revoked. */
static const struct identity_device *next_device(
	const struct identity *identity, const struct identity_device *after, bool revoked)
{
	const struct identity_device *next = NULL;

	for (size_t i = 0; i < identity->device_count; i++) {
		const struct identity_device *device = &identity->devices[i];

		if (device->revoked == revoked &&
			(after == NULL ||
				memcmp(device->device_id, after->device_id, ID_BYTES) > 0) &&
			(next == NULL ||
				memcmp(device->device_id, next->device_id, ID_BYTES) < 0)) {
			next = device;
		}
	}
	return next;
}

static json_t *devices_json(const struct identity *identity, bool revoked)
{
	json_t *list = json_array();
	const struct identity_device *device = NULL;

	while ((device = next_device(identity, device, revoked)) != NULL) {
		json_t *row = json_pack("[o,o]", kat_hex_json(id_of(device->device_id)),
			kat_hex_json(key_pub_bytes(device->sign)));

		if (revoked) {
			(void)json_array_append_new(row, rows_json(device));
		} else {
			(void)json_array_append_new(row, kat_hex_json(key_pub_bytes(device->hpke)));
			(void)json_array_append_new(row, kat_hex_json(bytes_str(device->name)));
		}
		(void)json_array_append_new(list, row);
	}
	return list;
}

static json_t *transfer_json(const struct identity *identity)
{
	json_t *list = json_array();

	for (size_t i = 0; i < IDENTITY_TRANSFER_MAX; i++) {
		const struct key_pub *pub = identity->transfer[i];

		if (pub != NULL) {
			(void)json_array_append_new(
				list, json_pack("[i,o]", (int)key_pub_alg(pub),
					      kat_hex_json(key_pub_bytes(pub))));
		}
	}
	return list;
}

static int put_statements(struct kat_run *run, enum statement_chain chain,
	const struct bytes *encoded, size_t count, bool messages)
{
	json_t *hashes = json_array(), *signed_list = json_array();

	for (size_t i = 0; i < count; i++) {
		struct statement s;

		if (statement_parse(chain, encoded[i], &s, NULL) != 0) {
			return KLUIS_EINTERNAL; /* It was just verified. */
		}
		(void)json_array_append_new(hashes, kat_hex_json(hash_of(s.hash)));
		(void)json_array_append_new(signed_list, kat_hex_json(hash_of(s.message)));
	}
	kat_put(run, "hashes", hashes);
	if (messages) {
		kat_put(run, "messages", signed_list);
	} else {
		json_decref(signed_list);
	}
	return 0;
}

static int run_ident(struct kat_run *run)
{
	_cleanup_(identity_release) struct identity identity;
	size_t count;
	const struct bytes *chain = kat_list(run, "chain", &count);
	int rc;

	identity_init(&identity);
	rc = identity_verify(&identity, chain, count, NULL);
	if (rc != 0) {
		return rc;
	}
	kat_put_bytes(run, "user_id", id_of(identity.user_id));
	kat_put(run, "name_text", json_string(identity.name));
	kat_put_bytes(run, "signing", key_pub_bytes(identity.signing));
	kat_put_bytes(run, "genesis_hash", hash_of(identity.genesis_hash));
	kat_put_bytes(run, "head_hash", hash_of(identity.head_hash));
	kat_put_number(run, "seq", identity.seq);
	kat_put_number(run, "policy", identity.policy);
	kat_put(run, "transfer", transfer_json(&identity));
	kat_put(run, "devices", devices_json(&identity, false));
	kat_put(run, "revoked", devices_json(&identity, true));
	return put_statements(run, CHAIN_IDENTITY, chain, count, true);
}

static struct safety_party take_party(struct kat_run *run, const char *name)
{
	struct safety_party party = {0};
	size_t count;
	const struct bytes *fields = kat_list(run, name, &count);

	if (count != 3) {
		kat_malformed(run, name);
		return party;
	}
	kat_fixed(run, fields[0], party.user_id, ID_BYTES);
	kat_fixed(run, fields[1], party.genesis_hash, HASH_BYTES);
	kat_fixed(run, fields[2], party.head_hash, HASH_BYTES);
	return party;
}

static int run_safety(struct kat_run *run)
{
	struct safety_party a = take_party(run, "a"), b = take_party(run, "b");
	char text[SAFETY_CHARS + 1], other[SAFETY_CHARS + 1];

	identity_safety_number(&a, &b, text);
	identity_safety_number(&b, &a, other);
	assert_string_equal(text, other);
	kat_put(run, "number_text", json_string(text));
	return 0;
}

static int run_items(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	const json_t *row;
	size_t i;

	json_array_foreach(kat_value(run, "items"), i, row)
	{
		struct page_item item = {
			.item_rev = (uint64_t)json_integer_value(json_array_get(row, 1)),
			.type = (uint16_t)json_integer_value(json_array_get(row, 2)),
			.body = kat_hex(run, json_array_get(row, 3))};

		kat_fixed(run, kat_hex(run, json_array_get(row, 0)), item.item_id, ID_BYTES);
		page_item_append(&content, &item);
	}
	kat_put_bytes(run, "bytes", buf_bytes(&content));
	return 0;
}

static int run_items_decode(struct kat_run *run)
{
	struct bytes content = kat_bytes(run, "bytes");
	json_t *list = json_array();
	int rc = 0;

	while (content.len > 0 && rc == 0) {
		struct page_item item;

		rc = page_item_next(&content, &item);
		if (rc == 0) {
			(void)json_array_append_new(
				list, json_pack("[o,I,i,o]", kat_hex_json(id_of(item.item_id)),
					      (json_int_t)item.item_rev, (int)item.type,
					      kat_hex_json(item.body)));
		}
	}
	kat_put(run, "items", list);
	return rc;
}

static struct page_place take_place(struct kat_run *run)
{
	struct page_place place = {.page_no = kat_number(run, "page_no"),
		.revision = kat_number(run, "revision"),
		.key_epoch = (uint32_t)kat_number_max(run, "epoch", UINT32_MAX)};

	take_id(run, "vault_id", place.vault_id);
	return place;
}

static int run_page_seal(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct bytes vk = kat_bytes(run, "vk"), stream = kat_bytes(run, "zstream");
	struct bytes salt = kat_bytes(run, "salt");
	struct page_spec spec = {.place = take_place(run),
		.sym = (uint8_t)kat_number_max(run, "sym", UINT8_MAX),
		.flags = (uint8_t)kat_number_max(run, "flags", UINT8_MAX),
		.kind = (uint8_t)kat_number_max(run, "kind", UINT8_MAX)};
	uint8_t hash[HASH_BYTES], leaf[HASH_BYTES];
	struct kat_random source;
	int rc;

	take_id(run, "device_id", spec.device_id);
	kat_random_init(&source, run, salt);
	rc = stream.len > 0
		     ? page_seal_deflated(vk, &spec, stream, &source.random, &page, NULL)
		     : page_seal(vk, &spec, kat_bytes(run, "content"), &source.random, &page, NULL);
	if (rc != 0) {
		return rc;
	}
	put_sym(run, spec.sym, salt, vk,
		(struct bytes[]){bytes_str("kluis/v1/page"), bytes_of(page.data, 64)}, 2);
	kat_put_bytes(run, "page", buf_bytes(&page));
	hash_sha256(buf_bytes(&page), hash);
	page_leaf(&spec.place, hash, leaf);
	kat_put_bytes(run, "leaf", hash_of(leaf));
	return 0;
}

static int run_page_open(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	struct page_place place = take_place(run);
	int rc = page_open(kat_bytes(run, "vk"), kat_bytes(run, "page"), &place, &content, NULL);

	if (rc == 0) {
		kat_put_bytes(run, "content", buf_bytes(&content));
	}
	return rc;
}

static int run_page_inflate(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	struct bytes page = kat_bytes(run, "page");
	struct page_header header;
	uint8_t hash[HASH_BYTES];
	int rc = page_parse(page, &header, NULL);

	if (rc == 0) {
		rc = page_open(kat_bytes(run, "vk"), page, &header.place, &content, NULL);
	}
	if (rc == 0) {
		hash_sha256(buf_bytes(&content), hash);
		kat_put_bytes(run, "content_sha256", hash_of(hash));
	}
	return rc;
}

static int run_leaf_unwritten(struct kat_run *run)
{
	uint8_t vault_id[ID_BYTES], leaf[HASH_BYTES];

	take_id(run, "vault_id", vault_id);
	page_leaf_unwritten(vault_id, kat_number(run, "page_no"), leaf);
	kat_put_bytes(run, "leaf", hash_of(leaf));
	return 0;
}

static struct merkle *take_tree(struct kat_run *run)
{
	struct merkle *tree = merkle_new();
	size_t count;
	const struct bytes *leaves = kat_list(run, "leaves", &count);

	for (size_t i = 0; i < count; i++) {
		uint8_t leaf[HASH_BYTES];

		kat_fixed(run, leaves[i], leaf, sizeof leaf);
		merkle_set(tree, i, leaf);
	}
	return tree;
}

static int run_merkle(struct kat_run *run)
{
	_cleanup_(merkle_freep) struct merkle *tree = take_tree(run);
	uint8_t root[HASH_BYTES];

	merkle_root(tree, root);
	kat_put_bytes(run, "root", hash_of(root));
	return 0;
}

static void put_head(struct kat_run *run, const struct head *h)
{
	kat_put_bytes(run, "msg", hash_of(h->message));
	kat_put_bytes(run, "vault_id", id_of(h->vault_id));
	kat_put_number(run, "seq", h->seq);
	kat_put_number(run, "epoch", h->key_epoch);
	kat_put_number(run, "members_rev", h->members_rev);
	kat_put_number(run, "page_count", h->page_count);
	kat_put_bytes(run, "root", hash_of(h->merkle_root));
	kat_put_bytes(run, "prev", hash_of(h->prev_hash));
	kat_put_bytes(run, "members_hash", hash_of(h->members_hash));
	kat_put_bytes(run, "user_id", id_of(h->user_id));
	kat_put_bytes(run, "device_id", id_of(h->device_id));
	kat_put_number(run, "unix_ms", h->unix_ms);
	kat_put_bytes(run, "kid", id_of(h->kid));
	kat_put_bytes(run, "hash", hash_of(h->hash));
}

static int run_head(struct kat_run *run)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	_cleanup_(merkle_freep) struct merkle *tree = take_tree(run);
	uint8_t root[HASH_BYTES], prev[HASH_BYTES];
	struct head head;
	int rc = key_pub_decode(KEY_ECDSA_P256, kat_bytes(run, "pub"), &pub, NULL);

	kat_fixed(run, kat_bytes(run, "prev_hash"), prev, sizeof prev);
	if (rc == 0) {
		rc = head_parse(kat_bytes(run, "head"), &head, NULL);
	}
	if (rc == 0) {
		rc = head_verify(&head, pub, NULL);
	}
	if (rc == 0 && !json_is_null(kat_value(run, "prev_seq"))) {
		rc = head_follows(&head, kat_number(run, "prev_seq"), prev, NULL);
	}
	if (rc != 0) {
		return rc;
	}
	merkle_root(tree, root);
	if (head.page_count != merkle_count(tree) ||
		memcmp(head.merkle_root, root, HASH_BYTES) != 0) {
		return KLUIS_EVERIFY;
	}
	put_head(run, &head);
	return 0;
}

/* The `devices` of a case: user id, device id, signing key, and the rows of its revoke statement or
 * null. */
struct kat_signers {
	struct signer_table table;
	struct signer *signers;
	struct identity_device *devices;
	size_t count;
};

static bool kat_signers_find(const struct signer_table *table, const uint8_t kid[KID_BYTES],
	size_t nth, struct signer *ret_signer)
{
	const struct kat_signers *all = CONTAINER_OF(table, struct kat_signers, table);

	for (size_t i = 0; i < all->count; i++) {
		if (memcmp(key_pub_kid(all->devices[i].sign), kid, KID_BYTES) == 0 && nth-- == 0) {
			*ret_signer = all->signers[i];
			return true;
		}
	}
	return false;
}

static void take_rows(struct kat_run *run, const json_t *rows, struct identity_device *device)
{
	device->revoked = !json_is_null(rows);
	device->row_count = json_array_size(rows);
	device->rows = x_calloc(device->row_count + 1, sizeof *device->rows);
	for (size_t i = 0; i < device->row_count; i++) {
		const json_t *row = json_array_get(rows, i);
		struct revoke_row *to = &device->rows[i];

		kat_fixed(run, kat_hex(run, json_array_get(row, 0)), to->object_id, ID_BYTES);
		kat_fixed(run, kat_hex(run, json_array_get(row, 1)), to->hash, HASH_BYTES);
	}
}

static void kat_signers_init(struct kat_signers *all, struct kat_run *run)
{
	const json_t *list = kat_value(run, "devices"), *row;
	size_t i;

	all->table.find = kat_signers_find;
	all->count = json_array_size(list);
	all->signers = x_calloc(all->count + 1, sizeof *all->signers);
	all->devices = x_calloc(all->count + 1, sizeof *all->devices);
	json_array_foreach(list, i, row)
	{
		struct bytes pub = kat_hex(run, json_array_get(row, 2));

		kat_fixed(run, kat_hex(run, json_array_get(row, 0)), all->signers[i].user_id,
			ID_BYTES);
		kat_fixed(run, kat_hex(run, json_array_get(row, 1)), all->devices[i].device_id,
			ID_BYTES);
		all->signers[i].device = &all->devices[i];
		if (key_pub_decode(KEY_ECDSA_P256, pub, &all->devices[i].sign, NULL) != 0) {
			kat_malformed(run, "devices");
			all->count = i;
			return;
		}
		take_rows(run, json_array_get(row, 3), &all->devices[i]);
	}
}

static void kat_signers_release(struct kat_signers *all)
{
	for (size_t i = 0; i < all->count; i++) {
		key_pub_free(all->devices[i].sign);
		free(all->devices[i].rows);
	}
	free(all->signers);
	free(all->devices);
}

static int run_heads(struct kat_run *run)
{
	_cleanup_(kat_signers_release) struct kat_signers signers;
	size_t count;
	const struct bytes *heads = kat_list(run, "heads", &count);
	struct head last;
	int rc;

	kat_signers_init(&signers, run);
	rc = head_verify_run(heads, count, &signers.table, &last, NULL);
	if (rc == 0) {
		kat_put_bytes(run, "vault_id", id_of(last.vault_id));
		kat_put_number(run, "seq", last.seq);
		kat_put_bytes(run, "hash", hash_of(last.hash));
	}
	return rc;
}

static int run_members(struct kat_run *run)
{
	_cleanup_(kat_signers_release) struct kat_signers signers;
	_cleanup_(members_release) struct members members;
	size_t count;
	const struct bytes *chain = kat_list(run, "chain", &count);
	json_t *list;
	int rc;

	kat_signers_init(&signers, run);
	members_init(&members);
	rc = members_verify(&members, chain, count, &signers.table, NULL);
	if (rc != 0) {
		return rc;
	}
	kat_put_bytes(run, "object_id", id_of(members.object_id));
	kat_put_number(run, "kind", members.kind);
	kat_put_number(run, "epoch", members.epoch);
	kat_put_bytes(run, "group_kid", id_of(members.group_kid));
	kat_put_bytes(run, "hash", hash_of(members.hash));
	kat_put_number(run, "seq", members.seq);
	list = json_array();
	for (size_t i = 0; i < members.count; i++) {
		const struct member *m = &members.member[i];

		(void)json_array_append_new(list, json_pack("[o,i,i]", kat_hex_json(id_of(m->id)),
							  (int)m->kind, (int)m->role));
	}
	kat_put(run, "members", list);
	return put_statements(run, CHAIN_MEMBERS, chain, count, false);
}

static int run_derive_key_pair(struct kat_run *run)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(secret_release) struct secret private = SECRET_INIT;
	int rc = hpke_derive_key((unsigned)kat_number_max(run, "kem", UINT16_MAX),
		kat_bytes(run, "ikm"), &key, NULL);

	if (rc == 0) {
		key_encode(key, &private);
		kat_put_bytes(run, "private", secret_bytes(&private));
		kat_put_bytes(run, "public", key_pub_bytes(key_public(key)));
	}
	return rc;
}

/* What a receiver checks in the order of the format: for whom, from whom, seen, fresh, signature.
 */
static int check_packet(struct kat_run *run, const struct keypacket *p, const struct key_pub *rcpt,
	const struct key_pub *sender, bool *ret_current)
{
	uint8_t rcpt_id[ID_BYTES], sender_id[ID_BYTES];
	size_t seen_count, held_count = json_array_size(kat_value(run, "held"));
	const struct bytes *seen = kat_list(run, "seen", &seen_count);
	uint32_t held[16];
	int rc;

	take_id(run, "rcpt_id", rcpt_id);
	take_id(run, "sender_id", sender_id);
	if (memcmp(p->rcpt_id, rcpt_id, ID_BYTES) != 0 ||
		memcmp(p->rcpt_kid, key_pub_kid(rcpt), KID_BYTES) != 0 ||
		memcmp(p->sender_user, sender_id, ID_BYTES) != 0) {
		return KLUIS_EVERIFY;
	}
	for (size_t i = 0; i < seen_count; i++) {
		if (bytes_equal(seen[i], id_of(p->packet_id))) {
			return KLUIS_EVERIFY;
		}
	}
	if (held_count > ARRAY_SIZE(held)) {
		kat_malformed(run, "held");
		return KLUIS_EINVAL;
	}
	for (size_t i = 0; i < held_count; i++) {
		held[i] = (uint32_t)json_integer_value(json_array_get(kat_value(run, "held"), i));
	}
	rc = keypacket_fresh(p, kat_number(run, "now_ms"), held, held_count, ret_current, NULL);
	return rc != 0 ? rc : keypacket_verify(p, sender, NULL);
}

static int open_packet(
	struct kat_run *run, const struct keypacket *p, const struct key *rcpt, bool current)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT, shared = SECRET_INIT;
	_cleanup_(hpke_keys_release) struct hpke_keys keys = {.key = SECRET_INIT};
	int rc = keypacket_open(p, p->rcpt_id, rcpt, &secret, NULL);

	if (rc != 0) {
		return rc;
	}
	assert_int_equal(keypacket_shared(p, rcpt, &shared, NULL), 0);
	keypacket_keys(p, secret_bytes(&shared), &keys);
	kat_put_bytes(run, "secret", secret_bytes(&secret));
	kat_put_number(run, "current", current);
	kat_put_bytes(run, "msg", hash_of(p->message));
	kat_put_bytes(run, "shared_secret", secret_bytes(&shared));
	kat_put_bytes(run, "key", secret_bytes(&keys.key));
	kat_put_bytes(run, "base_nonce", bytes_of(keys.base_nonce, sizeof keys.base_nonce));
	return 0;
}

static int run_keypacket(struct kat_run *run)
{
	_cleanup_(key_pub_freep) struct key_pub *rcpt_pub = NULL, *sender = NULL;
	_cleanup_(key_freep) struct key *rcpt = NULL;
	struct keypacket p;
	bool current;
	int rc = keypacket_parse(kat_bytes(run, "packet"), &p, NULL);

	if (rc == 0) {
		rc = key_pub_decode(p.kem, kat_bytes(run, "rcpt_pub"), &rcpt_pub, NULL);
	}
	if (rc == 0) {
		rc = key_decode(p.kem, kat_bytes(run, "rcpt_private"), &rcpt, NULL);
	}
	if (rc == 0) {
		rc = key_pub_decode(KEY_RSA_PSS, kat_bytes(run, "sender_pub"), &sender, NULL);
	}
	if (rc == 0) {
		rc = check_packet(run, &p, rcpt_pub, sender, &current);
	}
	return rc != 0 ? rc : open_packet(run, &p, rcpt, current);
}

static const struct kat_op kat_ops[] = {
	{"th", run_th},
	{"hkdf", run_hkdf},
	{"kid", run_kid},
	{"sig_verify", run_sig_verify},
	{"device_login", run_device_login},
	{"seal", run_seal},
	{"seal_open", run_seal_open},
	{"ident", run_ident},
	{"safety", run_safety},
	{"items", run_items},
	{"items_decode", run_items_decode},
	{"page_seal", run_page_seal},
	{"page_open", run_page_open},
	{"page_inflate", run_page_inflate},
	{"leaf_unwritten", run_leaf_unwritten},
	{"merkle", run_merkle},
	{"head", run_head},
	{"heads", run_heads},
	{"derive_key_pair", run_derive_key_pair},
	{"keypacket", run_keypacket},
	{"members", run_members},
	{"slot_seal", kat_slot_seal},
	{"slot_open", kat_slot_open},
	{"entry_seal", kat_entry_seal},
	{"entry_open", kat_entry_open},
	{"keyring_parse", kat_keyring_parse},
	{"keyring_open", kat_keyring_open},
	{"keyring_next", kat_keyring_next},
	{"keyring_rotated", kat_keyring_rotated},
	{"recovery_code", kat_recovery_code},
	{"recovery_parse", kat_recovery_parse},
	{"recovery_keys", kat_recovery_keys},
	{"recover", kat_recover},
	{"opaque", kat_opaque},
	{"kdf", kat_kdf},
	{"password", kat_password},
	{"kek_prf", kat_kek_prf},
	{"srp", kat_srp},
	{"srp_server", kat_srp_server},
	{"srp_client", kat_srp_client},
	{"srp_unknown", kat_srp_unknown},
	{"token", kat_token},
	{"bloom", kat_bloom},
	{"password_check", kat_password_check},
	{"chat_chain", kat_chat_chain},
	{"chat_pad", kat_chat_pad},
	{"chat", kat_chat},
	{"inbox", kat_inbox},
	{"notify", kat_notify},
};

/* Another set may have fewer ops; ours has a case of each. */
static void test_kat(void **state)
{
	_cleanup_(x_freep) char *path =
		kat_path(KLUIS_SOURCE_DIR "/tests/vectors", "kluis-kat.json");

	(void)state;
	if (kat_foreign() && access(path, F_OK) != 0) {
		print_message("SKIPPED: no '%s' here\n", path);
		x_freep(&path);
		path = NULL;
		skip();
	}
	assert_int_equal(kat_run_file(path, kat_ops, ARRAY_SIZE(kat_ops), !kat_foreign()), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
