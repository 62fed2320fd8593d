#include "cli/client/profile.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "cli/client/person.h"

static const char profile_magic[] = "KPF1";
enum {
	PROFILE_VERSION = 1,
	PROFILE_HEADER_BYTES = 8,
	PROFILE_SALT_KEY_BYTES = 32,
	PROFILE_LOCK_POLL_MS = 50,
};

static uint64_t profile_lock_ms = PROFILE_LOCK_MS;

void profile_set_lock_ms(uint64_t ms)
{
	profile_lock_ms = ms;
}

char *profile_path(const struct profile *profile, const char *name)
{
	return x_asprintf("%s/%s", profile->dir, name);
}

void profile_frame(enum profile_kind kind, struct bytes payload, struct buf *to)
{
	size_t before = to->len;
	uint8_t sum[HASH_BYTES];

	buf_reserve(to, PROFILE_HEADER_BYTES + payload.len + HASH_BYTES);
	buf_put_str(to, profile_magic);
	buf_put_u8(to, PROFILE_VERSION);
	buf_put_u8(to, kind);
	buf_put_u16(to, 0);
	buf_append_bytes(to, payload);
	hash_sha256(bytes_of(to->data + before, to->len - before), sum);
	buf_append(to, sum, sizeof sum);
}

int profile_unframe(
	struct bytes file, enum profile_kind kind, struct bytes *ret_payload, struct err *e)
{
	struct wire w = wire_of(file);
	uint8_t sum[HASH_BYTES];
	unsigned version;
	struct bytes payload;

	if (file.len < PROFILE_HEADER_BYTES + HASH_BYTES || !wire_match(&w, profile_magic)) {
		return err_set(e, KLUIS_ECORRUPT, "no file of a profile");
	}
	version = wire_u8(&w);
	if (version != PROFILE_VERSION) {
		return err_set(e, KLUIS_EVERSION,
			"profile version %u; this program knows version %d", version,
			PROFILE_VERSION);
	}
	hash_sha256(bytes_of(file.data, file.len - HASH_BYTES), sum);
	if (memcmp(sum, file.data + file.len - HASH_BYTES, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "its bytes were changed");
	}
	if (wire_u8(&w) != kind || wire_u16(&w) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "a file of another kind");
	}
	payload = wire_rest(&w);
	payload.len -= HASH_BYTES;
	*ret_payload = payload;
	return 0;
}

int profile_write(const struct profile *profile, const char *name, enum profile_kind kind,
	struct bytes payload, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(profile, name);
	_cleanup_(secret_buf_release) struct buf file = BUF_INIT;

	profile_frame(kind, payload, &file);
	return file_write(path, buf_bytes(&file), 0600, e);
}

int profile_read(const struct profile *profile, const char *name, enum profile_kind kind,
	size_t max, struct buf *ret_payload, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(profile, name);
	_cleanup_(secret_buf_release) struct buf file = BUF_INIT;
	struct bytes payload;
	int rc;

	buf_reserve(&file, 128 * 1024); /* Small files hold the secrets: no growth, no copies. */
	rc = file_read(path, max, &file, e);
	if (rc != 0) {
		return rc;
	}
	rc = profile_unframe(buf_bytes(&file), kind, &payload, e);
	if (rc != 0) {
		return err_wrap(e, rc, "profile file '%s'", path);
	}
	buf_append_bytes(ret_payload, payload);
	return 0;
}

int profile_remove(const struct profile *profile, const char *name, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(profile, name);

	if (unlink(path) != 0 && errno != ENOENT) {
		return err_set_errno(e, errno, "remove '%s'", path);
	}
	return 0;
}

int profile_make_dir(const struct profile *profile, const char *name, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(profile, name);

	return file_make_dirs(path, 0700, e);
}

int profile_ids(const struct profile *profile, const char *name, uint8_t (**ret_ids)[ID_BYTES],
	size_t *ret_n, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(profile, name);
	uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n = 0;
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (dir == NULL && errno != ENOENT) {
		return err_set_errno(e, errno, "open '%s'", path);
	}
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		uint8_t id[ID_BYTES];

		if (hex_decode(entry->d_name, id, ID_BYTES) == 0) {
			ids = x_realloc(ids, (n + 1) * sizeof *ids);
			memcpy(ids[n++], id, ID_BYTES);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	*ret_ids = ids;
	*ret_n = n;
	return 0;
}

/* flock, so that a lock never outlives its process. */
static int profile_lock(struct profile *profile, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(profile, "lock");
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + profile_lock_ms;
	struct timespec poll = {.tv_nsec = PROFILE_LOCK_POLL_MS * 1000000L};

	profile->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (profile->lock_fd < 0) {
		return err_set_errno(e, errno, "open '%s'", path);
	}
	for (;;) {
		int rc = lock_take(profile->lock_fd, path, e);

		if (rc != KLUIS_EBUSY) {
			return rc;
		}
		if (clock_monotonic_ms(&clock_system) >= deadline_ms) {
			return err_set(
				e, rc, "another kluis is using the profile '%s'", profile->dir);
		}
		(void)nanosleep(&poll, NULL); /* An early wake only polls once more. */
	}
}

int profile_check_dir(const char *dir, struct err *e)
{
	struct stat st;

	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
		return err_set(
			e, KLUIS_ENOTFOUND, "no profile in '%s': 'kluis enrol' makes one", dir);
	}
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
		return err_set(
			e, KLUIS_EINVAL, "profile '%s' must belong to you alone (chmod 700)", dir);
	}
	return 0;
}

static struct profile *profile_new(const char *dir)
{
	struct profile *profile = x_calloc(1, sizeof *profile);

	profile->dir = x_strdup(dir);
	profile->lock_fd = -1;
	identity_init(&profile->identity);
	return profile;
}

void profile_close(struct profile *profile)
{
	if (profile == NULL) {
		return;
	}
	for (size_t i = 0; i < profile->n_endpoints; i++) {
		free(profile->endpoints[i]);
	}
	person_free(profile->person);
	key_free(profile->device);
	key_free(profile->device_hpke);
	key_free(profile->signing);
	key_free(profile->transfer);
	secret_release(&profile->salt_key);
	buf_release(&profile->ca_pem);
	buf_release(&profile->genesis);
	buf_release(&profile->device_statement);
	identity_release(&profile->identity);
	if (profile->lock_fd >= 0) {
		(void)close(profile->lock_fd); /* Drops the lock; nothing was written to it. */
	}
	free(profile->dir);
	free(profile);
}

int profile_take_key(struct wire *w, unsigned alg, struct key **ret_key, struct err *e)
{
	struct bytes encoded = wire_lp16(w, KEY_PRIVATE_BYTES_MAX);

	if (!wire_ok(w)) {
		return err_set(e, KLUIS_ECORRUPT, "keys: cut short");
	}
	return key_decode(alg, encoded, ret_key, e);
}

static int keys_check(struct profile *p, struct err *e)
{
	const struct bytes chain[] = {buf_bytes(&p->genesis), buf_bytes(&p->device_statement)};
	const struct identity_device *device;
	int rc = identity_verify(&p->identity, chain, ARRAY_SIZE(chain), e);

	if (rc != 0) {
		return err_wrap(e, rc, "identity");
	}
	device = p->identity.device_count == 1 ? &p->identity.devices[0] : NULL;
	if (device == NULL || !key_pub_equal(device->sign, key_public(p->device)) ||
		!key_pub_equal(p->identity.signing, key_public(p->signing))) {
		return err_set(e, KLUIS_ECORRUPT, "the keys are not those of the identity");
	}
	return 0;
}

int profile_parse_keys(struct profile *p, struct bytes payload, struct err *e)
{
	struct wire w = wire_of(payload);
	struct bytes salt, genesis, device;
	int rc;

	rc = profile_take_key(&w, KEY_ECDSA_P256, &p->device, e);
	rc = rc != 0 ? rc : profile_take_key(&w, KEY_KEM_P256, &p->device_hpke, e);
	rc = rc != 0 ? rc : profile_take_key(&w, KEY_RSA_PSS, &p->signing, e);
	rc = rc != 0 ? rc : profile_take_key(&w, KEY_KEM_P256, &p->transfer, e);
	if (rc != 0) {
		return rc;
	}
	salt = wire_bytes(&w, PROFILE_SALT_KEY_BYTES);
	genesis = wire_lp32(&w, STATEMENT_BYTES_MAX);
	device = wire_lp32(&w, STATEMENT_BYTES_MAX);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_ECORRUPT, "keys: malformed");
	}
	secret_set(&p->salt_key, salt);
	buf_append_bytes(&p->genesis, genesis);
	buf_append_bytes(&p->device_statement, device);
	return keys_check(p, e);
}

void profile_put_key(struct buf *to, const struct key *key)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;

	key_encode(key, &encoded);
	buf_put_lp16(to, secret_bytes(&encoded));
}

static int profile_save_keys(const struct profile *p, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf payload = BUF_INIT;

	buf_reserve(&payload, 128 * 1024);
	profile_put_key(&payload, p->device);
	profile_put_key(&payload, p->device_hpke);
	profile_put_key(&payload, p->signing);
	profile_put_key(&payload, p->transfer);
	buf_append_bytes(&payload, secret_bytes(&p->salt_key));
	buf_put_lp32(&payload, buf_bytes(&p->genesis));
	buf_put_lp32(&payload, buf_bytes(&p->device_statement));
	return profile_write(p, "keys", PROFILE_KEYS, buf_bytes(&payload), e);
}

int profile_save_settings(const struct profile *p, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(p, "settings.json");
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	json_t *endpoints = json_array(), *value;

	for (size_t i = 0; i < p->n_endpoints; i++) {
		(void)json_array_append_new(endpoints, json_string(p->endpoints[i]));
	}
	value = json_pack("{s:i, s:b, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:s}", "version",
		PROFILE_VERSION, "person", p->person != NULL, "account", p->account, "enrolled",
		p->enrolled, "user_id", json_hex(bytes_of(p->user_id, ID_BYTES)), "device_id",
		json_hex(bytes_of(p->device_id, ID_BYTES)), "cluster_id",
		json_hex(bytes_of(p->cluster_id, ID_BYTES)), "lineage",
		json_hex(bytes_of(p->lineage, ID_BYTES)), "endpoints", endpoints, "restore_key",
		p->has_restore_key ? json_base64(bytes_of(p->restore_key, API_KEY_BYTES))
				   : json_null(),
		"aes_bits", p->aes_128 ? 128 : 256, "ca", buf_str((struct buf *)&p->ca_pem));
	json_take_text(value, &text);
	buf_put_str(&text, "\n");
	return file_write(path, buf_bytes(&text), 0600, e);
}

int profile_save(const struct profile *profile, struct err *e)
{
	int rc = profile_save_keys(profile, e);

	return rc != 0 ? rc : profile_save_settings(profile, e);
}

int profile_set_enrolled(struct profile *profile, struct err *e)
{
	profile->enrolled = true;
	return profile_save_settings(profile, e);
}

int profile_set_lineage(struct profile *profile, const uint8_t lineage[ID_BYTES], struct err *e)
{
	uint8_t before[ID_BYTES];
	int rc;

	memcpy(before, profile->lineage, ID_BYTES);
	memcpy(profile->lineage, lineage, ID_BYTES);
	rc = profile_save_settings(profile, e);
	if (rc != 0) {
		memcpy(profile->lineage, before, ID_BYTES);
	}
	return rc;
}

static void settings_endpoints(struct json_reader *r, struct profile *p)
{
	const json_t *list = json_reader_array(r, "endpoints"), *item;
	size_t i;

	if (json_array_size(list) == 0 || json_array_size(list) > CLIENT_ENDPOINTS_MAX) {
		r->failed = "endpoints";
		return;
	}
	json_array_foreach(list, i, item)
	{
		if (!json_is_string(item)) {
			r->failed = "endpoints";
			return;
		}
		p->endpoints[p->n_endpoints++] = x_strdup(json_string_value(item));
	}
}

int profile_parse_settings(struct profile *p, struct bytes text, struct err *e)
{
	json_t *value;
	struct json_reader r;
	uint64_t version;
	int rc = json_object_parse(text, &value, e);

	if (rc != 0) {
		return err_set(e, KLUIS_ECORRUPT, "settings.json: no JSON object");
	}
	r = json_reader_of(value);
	version = json_reader_u64(&r, "version");
	(void)snprintf(p->account, sizeof p->account, "%s", json_reader_string(&r, "account"));
	p->enrolled = json_reader_bool(&r, "enrolled");
	if (json_is_true(json_object_get(value, "person")) && p->person == NULL) {
		p->person = person_new();
	}
	json_reader_hex(&r, "user_id", p->user_id, ID_BYTES);
	json_reader_hex(&r, "device_id", p->device_id, ID_BYTES);
	json_reader_hex(&r, "cluster_id", p->cluster_id, ID_BYTES);
	json_reader_hex(&r, "lineage", p->lineage, ID_BYTES);
	settings_endpoints(&r, p);
	if (!json_is_null(json_object_get(value, "restore_key"))) {
		json_reader_base64_exact(&r, "restore_key", p->restore_key, API_KEY_BYTES);
		p->has_restore_key = true;
	}
	p->aes_128 = json_integer_value(json_object_get(value, "aes_bits")) == 128;
	buf_append_bytes(&p->ca_pem, bytes_str(json_reader_string(&r, "ca")));
	if (r.failed == NULL && version != PROFILE_VERSION) {
		rc = err_set(e, KLUIS_EVERSION, "profile version %llu; this program knows %d",
			(unsigned long long)version, PROFILE_VERSION);
	} else if (r.failed != NULL) {
		rc = err_set(
			e, KLUIS_ECORRUPT, "settings.json: '%s' is missing or malformed", r.failed);
	}
	json_decref(value);
	return rc;
}

static int profile_load(struct profile *p, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(p, "settings.json");
	_cleanup_(secret_buf_release) struct buf keys = BUF_INIT;
	_cleanup_(buf_release) struct buf settings = BUF_INIT;
	int rc = file_read(path, PROFILE_SETTINGS_BYTES_MAX, &settings, e);

	if (rc == KLUIS_ENOTFOUND) {
		return err_set(e, rc, "no profile in '%s': 'kluis enrol' makes one", p->dir);
	}
	rc = rc != 0 ? rc : profile_parse_settings(p, buf_bytes(&settings), e);
	if (rc != 0) {
		return rc;
	}
	if (p->person != NULL) {
		return person_load(p, e);
	}
	buf_reserve(&keys, 128 * 1024);
	rc = profile_read(p, "keys", PROFILE_KEYS, PROFILE_FILE_BYTES_MAX, &keys, e);
	rc = rc != 0 ? rc : profile_parse_keys(p, buf_bytes(&keys), e);
	if (rc == 0 &&
		(memcmp(p->user_id, p->identity.user_id, ID_BYTES) != 0 ||
			memcmp(p->device_id, p->identity.devices[0].device_id, ID_BYTES) != 0)) {
		rc = err_set(e, KLUIS_ECORRUPT, "settings.json is not that of the keys");
	}
	return rc;
}

int profile_open(const char *dir, struct profile **ret_profile, struct err *e)
{
	struct profile *profile;
	int rc = profile_check_dir(dir, e);

	if (rc != 0) {
		return rc;
	}
	profile = profile_new(dir);
	rc = profile_lock(profile, e);
	rc = rc != 0 ? rc : profile_load(profile, e);
	if (rc != 0) {
		profile_close(profile);
		return rc;
	}
	*ret_profile = profile;
	return 0;
}

/* Four key pairs, then genesis and device statement. */
static int make_keys(struct profile *p, const char *device_name, unsigned rsa_bits, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	uint64_t now_ms = clock_wall_ms(&clock_system);
	int rc;

	rc = key_generate(KEY_ECDSA_P256, 0, &p->device, e);
	rc = rc != 0 ? rc : key_generate(KEY_KEM_P256, 0, &p->device_hpke, e);
	rc = rc != 0 ? rc : key_generate(KEY_RSA_PSS, rsa_bits, &p->signing, e);
	rc = rc != 0 ? rc : key_generate(KEY_KEM_P256, 0, &p->transfer, e);
	if (rc != 0) {
		return rc;
	}
	secret_random(&p->salt_key, PROFILE_SALT_KEY_BYTES, &random_system);
	random_fill(&random_system, p->user_id, ID_BYTES);
	random_fill(&random_system, p->device_id, ID_BYTES);
	rc = identity_genesis(p->user_id, p->account, p->signing, key_public(p->transfer), now_ms,
		&p->genesis, e);
	rc = rc != 0 ? rc : identity_append(&p->identity, buf_bytes(&p->genesis), e);
	if (rc != 0) {
		return rc;
	}
	identity_body_device(&body, p->device_id, key_public(p->device), key_public(p->device_hpke),
		device_name);
	rc = identity_make(&p->identity, IDENTITY_DEVICE_ADD, buf_bytes(&body), p->signing, now_ms,
		&p->device_statement, e);
	return rc != 0 ? rc : identity_append(&p->identity, buf_bytes(&p->device_statement), e);
}

static void make_settings(struct profile *p, const struct api_cluster *cluster, const char *account,
	const char *const *endpoints, size_t n_endpoints)
{
	memcpy(p->cluster_id, cluster->cluster_id, ID_BYTES);
	memcpy(p->lineage, cluster->lineage, ID_BYTES);
	p->has_restore_key = cluster->has_restore_key;
	memcpy(p->restore_key, cluster->restore_key, API_KEY_BYTES);
	p->aes_128 = cluster->suites.sym == SYM_AES_128;
	buf_append_bytes(&p->ca_pem, buf_bytes(&cluster->ca_pem));
	(void)snprintf(p->account, sizeof p->account, "%s", account);
	for (size_t i = 0; i < n_endpoints; i++) {
		p->endpoints[p->n_endpoints++] = x_strdup(endpoints[i]);
	}
}

int profile_make_empty(const char *dir, const struct api_cluster *cluster, const char *account,
	const char *const *endpoints, size_t n_endpoints, struct profile **ret_profile,
	struct err *e)
{
	struct profile *profile = profile_new(dir);
	_cleanup_(x_freep) char *settings = profile_path(profile, "settings.json");
	int rc;

	assert(n_endpoints > 0 && n_endpoints <= CLIENT_ENDPOINTS_MAX);
	rc = file_make_dirs(dir, 0700, e);
	rc = rc != 0 ? rc : profile_check_dir(dir, e);
	rc = rc != 0 ? rc : profile_lock(profile, e);
	if (rc == 0 && file_exists(settings)) {
		rc = err_set(e, KLUIS_EEXIST, "there is a profile in '%s' already", dir);
	}
	if (rc != 0) {
		profile_close(profile);
		return rc;
	}
	make_settings(profile, cluster, account, endpoints, n_endpoints);
	*ret_profile = profile;
	return 0;
}

int profile_make(const char *dir, const struct api_cluster *cluster, const char *account,
	const char *device_name, const char *const *endpoints, size_t n_endpoints,
	struct profile **ret_profile, struct err *e)
{
	struct profile *profile;
	int rc = profile_make_empty(dir, cluster, account, endpoints, n_endpoints, &profile, e);

	if (rc != 0) {
		return rc;
	}
	rc = make_keys(profile, device_name, cluster->suites.rsa_bits, e);
	if (rc != 0) {
		profile_close(profile);
		return rc;
	}
	*ret_profile = profile;
	return 0;
}
