/* kluisctl backup keys init|rotate|split|combine|sign: the key pair that backups are sealed to,
 * whose private half is no node's, and a node's own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/key_share.h"
#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "cli/ops/ops.h"
#include "cli/ui/prompt.h"

enum { KID_SHOWN_BYTES = 4 }; /* Of the name of a key that is kept. */

int ops_key_files(struct invocation *inv, struct backup_key_set *set)
{
	const char *file;
	int rc = ops_needed(inv, "key-file", &file);

	for (size_t n = 0; rc == 0 && (file = invocation_value_at(inv, "key-file", n)) != NULL;
		n++) {
		rc = backup_key_set_load(set, file, &inv->err);
	}
	return rc;
}

static json_t *keys_kid(const struct key *key)
{
	return json_hex(bytes_of(key_pub_kid(key_public(key)), KID_BYTES));
}

static void keys_print(const struct invocation *inv, json_t *record)
{
	static const struct output_column columns[] = {{"private", "Private", OUTPUT_TEXT},
		{"public", "Public", OUTPUT_TEXT}, {"kid", "Key id", OUTPUT_TEXT},
		{"old_private", "Private until now", OUTPUT_TEXT},
		{"old_kid", "Its key id", OUTPUT_TEXT}};
	size_t n = json_object_get(record, "old_kid") == NULL ? 3 : ARRAY_SIZE(columns);

	output_record(&inv->out, columns, n, record);
	json_decref(record);
}

static json_t *keys_record(const char *private_path, const char *public_path, const struct key *key)
{
	return json_pack("{s:s, s:s, s:o}", "private", private_path, "public", public_path, "kid",
		keys_kid(key));
}

/* Behind the writing of a pair's public half, which came to rc: if that is not there, a private one
 * that pairs with nothing would be taken for the one that does, and goes. Returns rc. */
static int keys_take_back(int rc, bool made, const char *private_path)
{
	if (rc != 0 && made) {
		(void)unlink(private_path); /* Made just now; nothing was sealed to it. */
	}
	return rc;
}

/* A new private key in its file; or, when a run was cut off before its public half was there, the
 * one that is. *ret_made: whether it is new. */
static int keys_begin(struct invocation *inv, unsigned alg, enum backup_key_use use,
	const char *private_path, const char *public_path, struct key **ret_key, bool *ret_made)
{
	bool there = file_exists(private_path) && !file_exists(public_path);
	int rc;

	*ret_made = !there;
	if (there) {
		rc = backup_key_load(private_path, use, ret_key, &inv->err);
		if (rc == 0) {
			output_note(&inv->out,
				"'%s' was there without its public half, which is "
				"made from it.",
				private_path);
		}
		return rc;
	}
	rc = key_generate(alg, 0, ret_key, &inv->err);
	return rc != 0 ? rc : backup_key_save(*ret_key, use, private_path, &inv->err);
}

int ops_backup_keys_init(struct invocation *inv)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(x_freep) char *private_path = NULL;
	_cleanup_(x_freep) char *public_path = NULL;
	const char *dir;
	bool made;
	int rc = ops_needed(inv, "dir", &dir);

	if (rc != 0) {
		return rc;
	}
	private_path = x_asprintf("%s/backup.key", dir);
	public_path = x_asprintf("%s/backup.pub", dir);
	rc = file_make_dirs(dir, 0700, &inv->err);
	rc = rc != 0 ? rc
		     : keys_begin(inv, KEY_KEM_P256, BACKUP_KEY_SEAL, private_path, public_path,
			       &key, &made);
	rc = rc != 0 ? rc
		     : keys_take_back(backup_key_save_public(key_public(key), BACKUP_KEY_SEAL,
					      public_path, &inv->err),
			       made, private_path);
	if (rc == 0) {
		keys_print(inv, keys_record(private_path, public_path, key));
		output_note(&inv->out, "Keep backup.key offline: without it no snapshot can be "
				       "read, with it all can.");
	}
	return rc;
}

/* --- rotate ------------------------------------------------------------------------------------
 */

/* The files of one rotation. The new pair is complete under its own names before it takes the place
 * of the old one, which has another name by then: a run that was cut off is finished by the next.
 */
struct rotation {
	char *key, *pub, *next_key, *next_pub;
	char *old_key, *old_pub;
};

static void rotation_release(struct rotation *r)
{
	free(r->key);
	free(r->pub);
	free(r->next_key);
	free(r->next_pub);
	free(r->old_key);
	free(r->old_pub);
}

static int rotate_keep_file(int rc, struct err *e)
{
	if (rc == KLUIS_EEXIST) { /* Of the run that was cut off: it is named by the key. */
		*e = (struct err){0};
		return 0;
	}
	return rc;
}

/* backup.key is about to be replaced: what lies under its other name must be it. */
static int rotate_check_kept(const char *path, const struct key *old, struct err *e)
{
	_cleanup_(key_freep) struct key *kept = NULL;
	int rc = backup_key_load(path, BACKUP_KEY_SEAL, &kept, e);

	return rc != 0 || key_pub_equal(key_public(kept), key_public(old))
		       ? rc
		       : err_set(e, KLUIS_ECONFLICT, "'%s' is another key than backup.key", path);
}

static int rotate_keep_old(
	struct rotation *r, const char *dir, const struct key *old, struct err *e)
{
	char kid[HEX_LEN(KID_SHOWN_BYTES) + 1];
	int rc;

	hex_encode(bytes_of(key_pub_kid(key_public(old)), KID_SHOWN_BYTES), kid);
	r->old_key = x_asprintf("%s/backup-%s.key", dir, kid);
	r->old_pub = x_asprintf("%s/backup-%s.pub", dir, kid);
	rc = rotate_keep_file(backup_key_save(old, BACKUP_KEY_SEAL, r->old_key, e), e);
	rc = rc != 0 ? rc : rotate_check_kept(r->old_key, old, e);
	return rc != 0 ? rc
		       : rotate_keep_file(backup_key_save_public(
						  key_public(old), BACKUP_KEY_SEAL, r->old_pub, e),
				 e);
}

/* The public half comes last: where it is, the private one is whole. */
static int rotate_make(struct rotation *r, struct err *e)
{
	_cleanup_(key_freep) struct key *key = NULL;
	int rc;

	if (unlink(r->next_key) != 0 && errno != ENOENT) {
		return err_set_errno(e, errno, "remove '%s'", r->next_key);
	}
	rc = key_generate(KEY_KEM_P256, 0, &key, e);
	rc = rc != 0 ? rc : backup_key_save(key, BACKUP_KEY_SEAL, r->next_key, e);
	return rc != 0 ? rc
		       : backup_key_save_public(key_public(key), BACKUP_KEY_SEAL, r->next_pub, e);
}

static int rotate_publish(const struct rotation *r, const char *dir, struct err *e)
{
	if (file_exists(r->next_key) && rename(r->next_key, r->key) != 0) {
		return err_set_errno(e, errno, "rename to '%s'", r->key);
	}
	if (rename(r->next_pub, r->pub) != 0) {
		return err_set_errno(e, errno, "rename to '%s'", r->pub);
	}
	return file_sync_dir(dir, e);
}

int ops_backup_keys_rotate(struct invocation *inv)
{
	_cleanup_(rotation_release) struct rotation r = {.key = NULL};
	_cleanup_(key_freep) struct key *old = NULL;
	_cleanup_(key_freep) struct key *key = NULL;
	const char *dir;
	json_t *record;
	int rc = ops_needed(inv, "dir", &dir);

	if (rc != 0) {
		return rc;
	}
	r.key = x_asprintf("%s/backup.key", dir);
	r.pub = x_asprintf("%s/backup.pub", dir);
	r.next_key = x_asprintf("%s/backup-next.key", dir);
	r.next_pub = x_asprintf("%s/backup-next.pub", dir);
	if (!file_exists(r.next_pub)) {
		rc = backup_key_load(r.key, BACKUP_KEY_SEAL, &old, &inv->err);
		rc = rc != 0 ? rc : rotate_keep_old(&r, dir, old, &inv->err);
		rc = rc != 0 ? rc : rotate_make(&r, &inv->err);
	}
	rc = rc != 0 ? rc : rotate_publish(&r, dir, &inv->err);
	rc = rc != 0 ? rc : backup_key_load(r.key, BACKUP_KEY_SEAL, &key, &inv->err);
	if (rc != 0) {
		return rc;
	}
	record = keys_record(r.key, r.pub, key);
	if (old != NULL) {
		(void)json_object_set_new(record, "old_private", json_string(r.old_key));
		(void)json_object_set_new(record, "old_kid", keys_kid(old));
	}
	keys_print(inv, record);
	output_note(&inv->out,
		"Now: the new backup.pub to every node, and 'systemctl reload kluisd' there. Keep "
		"the old private key%s%s as long as a snapshot that is sealed to it is kept (14 "
		"days).",
		old != NULL ? ", " : "", old != NULL ? r.old_key : "");
	return 0;
}

/* --- shares ------------------------------------------------------------------------------------
 */

static void shares_clear(struct key_share shares[SLIP39_SHARES_MAX])
{
	secret_clear(shares, SLIP39_SHARES_MAX * sizeof *shares);
}

static int split_write(struct invocation *inv, const char *dir, const struct key_share *shares,
	unsigned count, json_t *paths)
{
	int rc = file_make_dirs(dir, 0700, &inv->err);

	for (unsigned i = 0; rc == 0 && i < count; i++) {
		_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
		_cleanup_(x_freep) char *path =
			x_asprintf("%s/backup-share-%u-of-%u", dir, i + 1, count);

		key_share_format(&shares[i], &text);
		rc = file_create(path, buf_bytes(&text), 0400, &inv->err);
		(void)json_array_append_new(paths, json_string(path));
	}
	return rc;
}

static int split_show(struct invocation *inv, const struct key_share *shares, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < count; i++) {
		_cleanup_(secret_buf_release) struct buf text = BUF_INIT;

		key_share_format(&shares[i], &text);
		buf_put_str(&text, "\n");
		rc = prompt_show(buf_str(&text), &inv->err);
	}
	return rc;
}

static int share_load(const char *path, struct key_share *ret_share, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	int rc;

	buf_reserve(&text, 128 * 1024); /* What file_read() asks for at once: no copy by a move. */
	rc = file_read(path, KEY_SHARE_BYTES_MAX, &text, e);
	rc = rc != 0 ? rc : key_share_parse(buf_bytes(&text), ret_share, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "share '%s'", path);
}

/* What was written makes the key, before anybody destroys it. */
static int split_prove(
	struct invocation *inv, const json_t *paths, unsigned needed, const struct key *key)
{
	struct key_share shares[SLIP39_SHARES_MAX];
	_cleanup_(key_freep) struct key *all = NULL;
	_cleanup_(key_freep) struct key *last = NULL;
	size_t n = json_array_size(paths), bad;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = share_load(json_string_value(json_array_get(paths, i)), &shares[i], &inv->err);
	}
	/* Those behind the ones that are needed are compared with these. */
	rc = rc != 0 ? rc : key_share_combine(shares, n, key_public(key), &all, &bad, &inv->err);
	rc = rc != 0 ? rc
		     : key_share_combine(shares + n - needed, needed, key_public(key), &last, &bad,
			       &inv->err);
	shares_clear(shares);
	return rc == 0 ? 0 : err_wrap(&inv->err, rc, "the shares that were written are no good");
}

static int split_numbers(struct invocation *inv, unsigned *ret_needed, unsigned *ret_count)
{
	uint64_t needed, count;
	int rc = invocation_number(inv, "needed", 0, SLIP39_SHARES_MAX, &needed);

	rc = rc != 0 ? rc : invocation_number(inv, "shares", 0, SLIP39_SHARES_MAX, &count);
	if (rc == 0 && (needed < 2 || count < needed)) {
		rc = err_set(&inv->err, KLUIS_EINVAL,
			"--needed K and --shares N are needed: 2 <= K <= N <= %d",
			SLIP39_SHARES_MAX);
	}
	if (rc == 0) {
		*ret_needed = (unsigned)needed;
		*ret_count = (unsigned)count;
	}
	return rc;
}

static void split_print(struct invocation *inv, const struct key *key, unsigned needed,
	unsigned count, json_t *paths)
{
	static const struct output_column columns[] = {{"kid", "Key id", OUTPUT_TEXT},
		{"needed", "Needed", OUTPUT_TEXT}, {"shares", "Shares", OUTPUT_TEXT},
		{"files", "Files", OUTPUT_TEXT}};
	json_t *record = json_pack("{s:o, s:i, s:i, s:O}", "kid", keys_kid(key), "needed",
		(int)needed, "shares", (int)count, "files", paths);

	output_record(&inv->out, columns, json_array_size(paths) > 0 ? 4 : 3, record);
	json_decref(record);
	output_note(&inv->out,
		"Each to another keeper. Any %u make the key ('kluisctl backup keys combine'); "
		"fewer "
		"say nothing of it. backup.key itself is to be destroyed when they are in place.",
		needed);
}

int ops_backup_keys_split(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *paths = json_array();
	_cleanup_(key_freep) struct key *key = NULL;
	struct key_share shares[SLIP39_SHARES_MAX];
	const char *file, *dir = invocation_value(inv, "out");
	bool print = invocation_value(inv, "print") != NULL;
	unsigned needed, count;
	int rc = ops_needed(inv, "key-file", &file);

	if (rc == 0 && (dir != NULL) == print) {
		rc = err_set(&inv->err, KLUIS_EINVAL,
			"--out DIR or --print is needed: where the shares go");
	}
	rc = rc != 0 ? rc : split_numbers(inv, &needed, &count);
	rc = rc != 0 ? rc : backup_key_load(file, BACKUP_KEY_SEAL, &key, &inv->err);
	rc = rc != 0 ? rc : key_share_split(key, needed, count, &random_system, shares, &inv->err);
	if (rc != 0) {
		return rc;
	}
	rc = print ? split_show(inv, shares, count) : split_write(inv, dir, shares, count, paths);
	shares_clear(shares);
	if (rc == 0 && !print) {
		rc = split_prove(inv, paths, needed, key);
	}
	if (rc == 0) {
		split_print(inv, key, needed, count, paths);
	}
	return rc;
}

/* The nth share: from its file, or typed by a person. */
static int combine_next(struct invocation *inv, size_t n, struct key_share *ret_share)
{
	_cleanup_(secret_buf_release) struct buf line = BUF_INIT;
	_cleanup_(x_freep) char *question = NULL;
	int rc;

	if (inv->n_args > 0) {
		return share_load(inv->args[n], ret_share, &inv->err);
	}
	question = x_asprintf("Share %zu, its words in one line: ", n + 1);
	buf_reserve(&line, KEY_SHARE_BYTES_MAX + 1);
	rc = prompt_text(question, NULL, NULL, KEY_SHARE_BYTES_MAX, &line, &inv->err);
	rc = rc != 0 ? rc : key_share_parse(buf_bytes(&line), ret_share, &inv->err);
	return rc == 0 ? 0 : err_wrap(&inv->err, rc, "share %zu", n + 1);
}

/* All files, or as many as the first one says are needed. */
static int combine_load(
	struct invocation *inv, struct key_share shares[SLIP39_SHARES_MAX], size_t *ret_n)
{
	size_t want = inv->n_args > 0 ? inv->n_args : 1, n = 0;
	int rc = 0;

	while (rc == 0 && n < want) {
		rc = combine_next(inv, n, &shares[n]);
		if (rc == 0 && n == 0 && inv->n_args == 0) {
			want = shares[0].share.threshold;
		}
		n++;
	}
	*ret_n = n;
	return rc;
}

static int combine_join(struct invocation *inv, const struct key_share *shares, size_t n,
	const struct key_pub *expected, struct key **ret_key)
{
	size_t bad;
	int rc = key_share_combine(shares, n, expected, ret_key, &bad, &inv->err);

	if (rc != 0 && bad < n && inv->n_args > 0) {
		return err_wrap(&inv->err, rc, "share '%s'", inv->args[bad]);
	}
	return rc != 0 && bad < n ? err_wrap(&inv->err, rc, "share %zu", bad + 1) : rc;
}

int ops_backup_keys_combine(struct invocation *inv)
{
	static const struct output_column columns[] = {
		{"private", "Private", OUTPUT_TEXT}, {"kid", "Key id", OUTPUT_TEXT}};
	_cleanup_(key_pub_freep) struct key_pub *expected = NULL;
	_cleanup_(key_freep) struct key *key = NULL;
	struct key_share shares[SLIP39_SHARES_MAX];
	const char *out, *public_file = invocation_value(inv, "public");
	json_t *record;
	size_t n = 0;
	int rc = ops_needed(inv, "out", &out);

	if (rc == 0 && public_file != NULL) {
		rc = backup_key_load_public(public_file, BACKUP_KEY_SEAL, &expected, &inv->err);
	}
	rc = rc != 0 ? rc : combine_load(inv, shares, &n);
	rc = rc != 0 ? rc : combine_join(inv, shares, n, expected, &key);
	shares_clear(shares);
	rc = rc != 0 ? rc : backup_key_save(key, BACKUP_KEY_SEAL, out, &inv->err);
	if (rc == 0) {
		record = json_pack("{s:s, s:o}", "private", out, "kid", keys_kid(key));
		output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	return rc;
}

/* --- a node's ----------------------------------------------------------------------------------
 */

int ops_backup_keys_sign(struct invocation *inv)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(x_freep) char *private_path = NULL;
	_cleanup_(x_freep) char *public_path = NULL;
	_cleanup_(buf_release) struct buf line = BUF_INIT;
	const char *out;
	bool made;
	int rc = ops_needed(inv, "out", &out);

	if (rc != 0) {
		return rc;
	}
	private_path = x_asprintf("%s.key", out);
	public_path = x_asprintf("%s.pub", out);
	rc = keys_begin(inv, KEY_ED25519, BACKUP_KEY_NODE, private_path, public_path, &key, &made);
	if (rc == 0) { /* As `backup_key` of a [site] section wants it. */
		hex_append(&line, key_pub_bytes(key_public(key)));
		buf_put_u8(&line, '\n');
		rc = keys_take_back(file_create(public_path, buf_bytes(&line), 0644, &inv->err),
			made, private_path);
	}
	if (rc == 0) {
		keys_print(inv, keys_record(private_path, public_path, key));
	}
	return rc;
}
