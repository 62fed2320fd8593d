#include "backup/keys.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"

enum { CHECK_CHARS = 8 };

static const char *keys_kind(enum backup_key_use use, bool private)
{
	if (use == BACKUP_KEY_SEAL) {
		return private ? "backup-private" : "backup-public";
	}
	return private ? "node-private" : "node-public";
}

static bool keys_alg_fits(unsigned alg, enum backup_key_use use)
{
	if (use == BACKUP_KEY_SEAL) {
		return alg == KEY_KEM_P256 || alg == KEY_KEM_X25519;
	}
	return alg == KEY_ED25519;
}

/* "kluis-key 1 KIND HEX CHECK" */
static void keys_line_put(const char *kind, unsigned alg, struct bytes encoded, struct buf *to)
{
	size_t start = to->len;
	uint8_t hash[HASH_BYTES];

	buf_printf(to, "kluis-key 1 %s %04x", kind, alg);
	hex_append(to, encoded);
	hash_sha256(bytes_of(to->data + start, to->len - start), hash);
	buf_put_str(to, " ");
	hex_append(to, bytes_of(hash, CHECK_CHARS / 2));
	secret_clear(hash, sizeof hash);
}

/* Appends alg and key, decoded. */
static int keys_line_take(const char *kind, struct bytes line, struct buf *ret_body, struct err *e)
{
	_cleanup_(x_freep) char *head = x_asprintf("kluis-key 1 %s ", kind);
	size_t head_len = strlen(head);
	uint8_t hash[HASH_BYTES];
	char check[HEX_LEN(CHECK_CHARS / 2) + 1];

	if (line.len < head_len + CHECK_CHARS + 1 || memcmp(line.data, head, head_len) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "not a %s key of version 1", kind);
	}
	hash_sha256(bytes_of(line.data, line.len - CHECK_CHARS - 1), hash);
	hex_encode(bytes_of(hash, CHECK_CHARS / 2), check);
	if (line.data[line.len - CHECK_CHARS - 1] != ' ' ||
		memcmp(line.data + line.len - CHECK_CHARS, check, CHECK_CHARS) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "the key's last %d digits do not fit the rest",
			CHECK_CHARS);
	}
	if (hex_decode_buf(bytes_of(line.data + head_len, line.len - head_len - CHECK_CHARS - 1),
		    KEY_FILE_BYTES_MAX, ret_body) != 0 ||
		ret_body->len < 2) {
		return err_set(e, KLUIS_ECORRUPT, "the key is not hex");
	}
	return 0;
}

void backup_key_format(const struct key *key, enum backup_key_use use, struct buf *to)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;
	unsigned alg = key_pub_alg(key_public(key));

	assert(keys_alg_fits(alg, use));
	key_encode(key, &encoded);
	keys_line_put(keys_kind(use, true), alg, secret_bytes(&encoded), to);
}

void backup_key_format_public(const struct key_pub *pub, enum backup_key_use use, struct buf *to)
{
	assert(keys_alg_fits(key_pub_alg(pub), use));
	keys_line_put(keys_kind(use, false), key_pub_alg(pub), key_pub_bytes(pub), to);
}

int backup_key_parse(
	struct bytes line, enum backup_key_use use, struct key **ret_key, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf body = BUF_INIT;
	int rc;

	buf_reserve(&body, KEY_FILE_BYTES_MAX); /* A move would leave a copy behind. */
	rc = keys_line_take(keys_kind(use, true), line, &body, e);
	if (rc != 0) {
		return rc;
	}
	if (!keys_alg_fits(load_u16(body.data), use)) {
		return err_set(e, KLUIS_ECORRUPT, "unknown algorithm %04x", load_u16(body.data));
	}
	rc = key_decode(load_u16(body.data), bytes_of(body.data + 2, body.len - 2), ret_key, e);
	return rc == 0 ? 0 : err_set(e, KLUIS_ECORRUPT, "not a private key");
}

int backup_key_parse_public(
	struct bytes line, enum backup_key_use use, struct key_pub **ret_pub, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	int rc = keys_line_take(keys_kind(use, false), line, &body, e);

	if (rc != 0) {
		return rc;
	}
	if (!keys_alg_fits(load_u16(body.data), use)) {
		return err_set(e, KLUIS_ECORRUPT, "unknown algorithm %04x", load_u16(body.data));
	}
	rc = key_pub_decode(load_u16(body.data), bytes_of(body.data + 2, body.len - 2), ret_pub, e);
	return rc == 0 ? 0 : err_set(e, KLUIS_ECORRUPT, "not a public key");
}

int backup_key_save(const struct key *key, enum backup_key_use use, const char *path, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf line = BUF_INIT;

	buf_reserve(&line, KEY_FILE_BYTES_MAX);
	backup_key_format(key, use, &line);
	buf_put_str(&line, "\n");
	return file_create(path, buf_bytes(&line), 0400, e);
}

int backup_key_save_public(
	const struct key_pub *pub, enum backup_key_use use, const char *path, struct err *e)
{
	_cleanup_(buf_release) struct buf line = BUF_INIT;

	backup_key_format_public(pub, use, &line);
	buf_put_str(&line, "\n");
	return file_create(path, buf_bytes(&line), 0444, e);
}

/* The file's one line without its LF. */
static int keys_read(const char *path, struct buf *to, struct err *e)
{
	int rc = file_read(path, KEY_FILE_BYTES_MAX, to, e);

	if (rc != 0) {
		return rc;
	}
	if (to->len == 0 || to->data[to->len - 1] != '\n') {
		return err_set(e, KLUIS_ECORRUPT, "not one line");
	}
	to->len--;
	return 0;
}

static int keys_check_private(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		return err_set_errno(e, errno, "stat '%s'", path);
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		return err_set(e, KLUIS_EFORBIDDEN, "'%s' is open to others (mode %03o): chmod 400",
			path, (unsigned)(st.st_mode & 0777));
	}
	return 0;
}

int backup_key_load(const char *path, enum backup_key_use use, struct key **ret_key, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf line = BUF_INIT;
	int rc = keys_check_private(path, e);

	if (rc != 0) {
		return rc;
	}
	buf_reserve(&line, 128 * 1024); /* What file_read() asks for at once: no copy by a move. */
	rc = keys_read(path, &line, e);
	if (rc == 0) {
		rc = backup_key_parse(buf_bytes(&line), use, ret_key, e);
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "key file '%s'", path);
}

int backup_key_load_public(
	const char *path, enum backup_key_use use, struct key_pub **ret_pub, struct err *e)
{
	_cleanup_(buf_release) struct buf line = BUF_INIT;
	int rc = keys_read(path, &line, e);

	if (rc == 0) {
		rc = backup_key_parse_public(buf_bytes(&line), use, ret_pub, e);
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "key file '%s'", path);
}

void backup_key_set_release(struct backup_key_set *set)
{
	for (unsigned i = 0; i < set->n; i++) {
		key_free(set->keys[i]);
	}
	*set = (struct backup_key_set){.n = 0};
}

int backup_key_set_load(struct backup_key_set *set, const char *path, struct err *e)
{
	struct key *key = NULL;
	int rc = backup_key_load(path, BACKUP_KEY_SEAL, &key, e);

	for (unsigned i = 0; rc == 0 && i < set->n; i++) {
		if (key_pub_equal(key_public(set->keys[i]), key_public(key))) {
			key_free(key);
			return 0;
		}
	}
	if (rc == 0 && set->n == BACKUP_KEYS_MAX) {
		key_free(key);
		return err_set(e, KLUIS_ETOOLARGE, "more than %d backup keys", BACKUP_KEYS_MAX);
	}
	if (rc == 0) {
		set->keys[set->n++] = key;
	}
	return rc;
}

int backup_key_set_find(const struct backup_key_set *set, const uint8_t kid[KID_BYTES],
	const struct key **ret_key, struct err *e)
{
	char text[HEX_LEN(KID_BYTES) + 1];

	for (unsigned i = 0; i < set->n; i++) {
		if (memcmp(key_pub_kid(key_public(set->keys[i])), kid, KID_BYTES) == 0) {
			*ret_key = set->keys[i];
			return 0;
		}
	}
	hex_encode(bytes_of(kid, KID_BYTES), text);
	return err_set(e, KLUIS_EFORBIDDEN,
		"sealed to backup key %s, which is not among the %u given", text, set->n);
}
