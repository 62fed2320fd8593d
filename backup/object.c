#include "backup/object.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/wire.h"
#include "crypto/hpke.h"

enum {
	FIXED_BYTES = 72,
	DATA_KEY_BYTES = 32,
	WRAPPED_BYTES = DATA_KEY_BYTES + AEAD_TAG_BYTES,
	SEGMENT_FILE_BYTES = BACKUP_SEGMENT_BYTES + AEAD_TAG_BYTES,
	READ_AHEAD_BYTES = 2 * SEGMENT_FILE_BYTES,
};

static const char segment_label[] = "kluis/v1/backup-seg";
static const char key_label[] = "kluis/v1/backup-key";

enum { AAD_BYTES = sizeof segment_label - 1 + HASH_BYTES + 8 + 1 };

static void object_fixed_put(
	const struct object_place *place, const struct key_pub *pub, struct buf *to)
{
	buf_put_str(to, "KBO1");
	buf_put_u8(to, 1);
	buf_put_u8(to, (unsigned)place->kind);
	buf_put_u16(to, key_pub_alg(pub));
	buf_append(to, place->cluster_id, ID_BYTES);
	buf_append(to, place->lineage, ID_BYTES);
	buf_put_u64(to, place->index);
	buf_put_u32(to, place->number);
	buf_put_zeros(to, 4);
	buf_append(to, key_pub_kid(pub), KID_BYTES);
	assert(to->len == FIXED_BYTES);
}

static void object_info(struct bytes fixed, struct buf *to)
{
	assert(fixed.len == FIXED_BYTES);
	buf_put_str(to, key_label);
	buf_append_bytes(to, fixed);
}

static void object_aad(
	const uint8_t header_hash[HASH_BYTES], uint64_t segment, bool final, uint8_t to[AAD_BYTES])
{
	size_t at = sizeof segment_label - 1;

	memcpy(to, segment_label, at);
	memcpy(to + at, header_hash, HASH_BYTES);
	store_u64(to + at + HASH_BYTES, segment);
	to[AAD_BYTES - 1] = final;
}

static void object_nonce(uint64_t segment, uint8_t to[AEAD_NONCE_BYTES])
{
	memset(to, 0, AEAD_NONCE_BYTES);
	store_u64(to + 4, segment);
}

struct object_writer {
	int fd;
	struct aead *aead;
	struct hash hash;
	uint8_t header_hash[HASH_BYTES];
	uint64_t segment, plaintext_bytes, file_bytes;
	size_t len; /* Waiting in segment_data. */
	bool finished;
	uint8_t segment_data[SEGMENT_FILE_BYTES];
};

static int object_write(struct object_writer *w, struct bytes bytes, struct err *e)
{
	if (FAULT_POINT("backup.object.write") || file_write_all(w->fd, bytes) != 0) {
		return err_set_errno(e, errno, "write object");
	}
	file_write_behind(w->fd);
	hash_update(&w->hash, bytes);
	w->file_bytes += bytes.len;
	return 0;
}

int object_writer_new(int fd, const struct object_place *place, const struct key_pub *pub,
	struct object_writer **ret_writer, struct err *e)
{
	_cleanup_(buf_release) struct buf header = BUF_INIT, info = BUF_INIT;
	_cleanup_(buf_release) struct buf enc = BUF_INIT, wrapped = BUF_INIT;
	_cleanup_(secret_release) struct secret data_key = SECRET_INIT;
	struct object_writer *w;
	int rc;

	if (key_pub_alg(pub) != KEY_KEM_P256 && key_pub_alg(pub) != KEY_KEM_X25519) {
		return err_set(e, KLUIS_ESUITE, "not a backup key");
	}
	object_fixed_put(place, pub, &header);
	object_info(buf_bytes(&header), &info);
	secret_random(&data_key, DATA_KEY_BYTES, &random_system);
	rc = hpke_seal(pub, AEAD_AES_256_GCM, buf_bytes(&info), bytes_of(NULL, 0),
		secret_bytes(&data_key), &random_system, &enc, &wrapped, e);
	if (rc != 0) {
		return err_wrap(e, rc, "wrap data key");
	}
	buf_put_lp16(&header, buf_bytes(&enc));
	buf_put_lp16(&header, buf_bytes(&wrapped));
	w = x_calloc(1, sizeof *w);
	w->fd = fd;
	w->aead = aead_new(secret_bytes(&data_key));
	hash_init(&w->hash);
	hash_sha256(buf_bytes(&header), w->header_hash);
	rc = object_write(w, buf_bytes(&header), e);
	if (rc != 0) {
		object_writer_free(w);
		return rc;
	}
	*ret_writer = w;
	return 0;
}

static int object_segment_write(struct object_writer *w, bool final, struct err *e)
{
	uint8_t aad[AAD_BYTES], nonce[AEAD_NONCE_BYTES];
	size_t len = w->len;

	object_aad(w->header_hash, w->segment, final, aad);
	object_nonce(w->segment, nonce);
	aead_seal(w->aead, nonce, bytes_of(aad, sizeof aad), bytes_of(w->segment_data, len),
		w->segment_data);
	w->segment++;
	w->len = 0;
	return object_write(w, bytes_of(w->segment_data, len + AEAD_TAG_BYTES), e);
}

int object_writer_append(struct object_writer *w, struct bytes plaintext, struct err *e)
{
	assert(!w->finished);
	if (plaintext.len > BACKUP_PLAINTEXT_BYTES_MAX - w->plaintext_bytes) {
		return err_set(
			e, KLUIS_ETOOLARGE, "object beyond %d bytes", BACKUP_PLAINTEXT_BYTES_MAX);
	}
	w->plaintext_bytes += plaintext.len;
	while (plaintext.len > 0) {
		size_t room = BACKUP_SEGMENT_BYTES - w->len;
		size_t n = plaintext.len < room ? plaintext.len : room;

		if (room == 0) { /* Only now: the last segment must be known to be the last. */
			int rc = object_segment_write(w, false, e);

			if (rc != 0) {
				return rc;
			}
			continue;
		}
		memcpy(w->segment_data + w->len, plaintext.data, n);
		w->len += n;
		plaintext = bytes_of(plaintext.data + n, plaintext.len - n);
	}
	return 0;
}

uint64_t object_writer_bytes(const struct object_writer *w)
{
	return w->plaintext_bytes;
}

int object_writer_finish(struct object_writer *w, uint8_t ret_hash[HASH_BYTES],
	uint64_t *ret_file_bytes, struct err *e)
{
	int rc;

	assert(!w->finished);
	w->finished = true;
	rc = object_segment_write(w, true, e);
	if (rc != 0) {
		return rc;
	}
	assert(w->file_bytes <= BACKUP_OBJECT_BYTES_MAX);
	hash_final(&w->hash, ret_hash);
	*ret_file_bytes = w->file_bytes;
	return 0;
}

void object_writer_free(struct object_writer *w)
{
	if (w == NULL) {
		return;
	}
	aead_free(w->aead);
	hash_release(&w->hash);
	secret_clear(w->segment_data, sizeof w->segment_data);
	free(w);
}

struct object_reader {
	int fd;
	struct aead *aead;
	uint8_t header_hash[HASH_BYTES];
	size_t header_bytes;
	uint64_t segments, plaintext_bytes;
	uint64_t cached; /* Segment number + 1; 0: none. */
	size_t cached_len;
	/* No larger than the file: a restore has many small objects open at once. */
	size_t room;
	uint8_t *segment_data;
};

static int object_pread(int fd, void *to, size_t len, uint64_t offset, struct err *e)
{
	uint8_t *at = to;

	while (len > 0) {
		ssize_t n = FAULT_POINT("backup.object.read") ? (errno = EIO, -1)
							      : pread(fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return err_set_errno(e, errno, "read object");
		}
		if (n == 0) {
			return err_set(e, KLUIS_ECORRUPT, "object cut short");
		}
		at += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* Number and size of segments from the file's size: the one place that says which is the last. */
static int object_measure(struct object_reader *r, uint64_t file_bytes, struct err *e)
{
	uint64_t body = file_bytes - r->header_bytes;

	r->segments = (body + SEGMENT_FILE_BYTES - 1) / SEGMENT_FILE_BYTES;
	if (r->segments == 0 || body < r->segments * AEAD_TAG_BYTES ||
		(r->segments > 1 &&
			body <= (r->segments - 1) * SEGMENT_FILE_BYTES + AEAD_TAG_BYTES)) {
		return err_set(e, KLUIS_ECORRUPT, "object of %llu bytes is cut short",
			(unsigned long long)file_bytes);
	}
	r->plaintext_bytes = body - r->segments * AEAD_TAG_BYTES;
	return 0;
}

/* What stands in the header must be what the manifest led us to expect. */
static int object_header_check(
	struct wire *w, const struct object_place *place, const struct key *key, struct err *e)
{
	unsigned version, kind, kem;
	struct bytes cluster, lineage, kid;
	uint64_t index;
	uint32_t number;

	if (!wire_match(w, "KBO1")) {
		return err_set(e, KLUIS_ECORRUPT, "bytes 0 to 3 are not a backup object's");
	}
	version = wire_u8(w);
	kind = wire_u8(w);
	kem = wire_u16(w);
	cluster = wire_bytes(w, ID_BYTES);
	lineage = wire_bytes(w, ID_BYTES);
	index = wire_u64(w);
	number = wire_u32(w);
	wire_zeros(w, 4);
	kid = wire_bytes(w, KID_BYTES);
	if (version != 1) {
		return err_set(
			e, KLUIS_EVERSION, "byte 4 is version %u of backup objects", version);
	}
	if (!wire_ok(w) || kind != (unsigned)place->kind || index != place->index ||
		number != place->number ||
		!bytes_equal(cluster, bytes_of(place->cluster_id, ID_BYTES)) ||
		!bytes_equal(lineage, bytes_of(place->lineage, ID_BYTES))) {
		return err_set(e, KLUIS_ECORRUPT, "bytes 5 to 55 are those of another object");
	}
	if (kem != key_pub_alg(key_public(key)) ||
		!bytes_equal(kid, bytes_of(key_pub_kid(key_public(key)), KID_BYTES))) {
		return err_set(e, KLUIS_EFORBIDDEN, "sealed to another backup key");
	}
	return 0;
}

static int object_unwrap(struct object_reader *r, struct bytes raw,
	const struct object_place *place, const struct key *key, struct err *e)
{
	_cleanup_(buf_release) struct buf info = BUF_INIT;
	_cleanup_(secret_release) struct secret data_key = SECRET_INIT;
	struct wire w = wire_of(raw);
	struct bytes enc, wrapped;
	int rc = object_header_check(&w, place, key, e);

	if (rc != 0) {
		return rc;
	}
	enc = wire_lp16(&w, HPKE_ENC_BYTES_MAX);
	wrapped = wire_lp16(&w, WRAPPED_BYTES);
	if (!wire_ok(&w) || wrapped.len != WRAPPED_BYTES) {
		return err_set(e, KLUIS_ECORRUPT, "bytes 72 to %u are no key wrap",
			OBJECT_HEADER_BYTES_MAX - 1);
	}
	r->header_bytes = raw.len - wire_rest(&w).len;
	object_info(bytes_of(raw.data, FIXED_BYTES), &info);
	rc = hpke_open(key, AEAD_AES_256_GCM, enc, buf_bytes(&info), bytes_of(NULL, 0), wrapped,
		&data_key, e);
	if (rc != 0) {
		return err_wrap(e, rc, "unwrap data key (bytes 0 to %zu)", r->header_bytes - 1);
	}
	hash_sha256(bytes_of(raw.data, r->header_bytes), r->header_hash);
	assert(data_key.len == DATA_KEY_BYTES);
	r->aead = aead_new(secret_bytes(&data_key));
	return 0;
}

int object_reader_new(int fd, const struct object_place *place, const struct key *key,
	struct object_reader **ret_reader, struct err *e)
{
	_cleanup_(object_reader_freep) struct object_reader *r = x_calloc(1, sizeof *r);
	uint8_t raw[OBJECT_HEADER_BYTES_MAX];
	struct stat st;
	size_t len;
	int rc;

	r->fd = fd;
	if (fstat(fd, &st) != 0) {
		return err_set_errno(e, errno, "stat object");
	}
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > BACKUP_OBJECT_BYTES_MAX) {
		return err_set(
			e, KLUIS_ECORRUPT, "no object has %lld bytes", (long long)st.st_size);
	}
	r->room = (size_t)st.st_size < SEGMENT_FILE_BYTES ? (size_t)st.st_size : SEGMENT_FILE_BYTES;
	r->segment_data = x_malloc(r->room);
	len = (size_t)st.st_size < sizeof raw ? (size_t)st.st_size : sizeof raw;
	rc = object_pread(fd, raw, len, 0, e);
	if (rc == 0) {
		rc = object_unwrap(r, bytes_of(raw, len), place, key, e);
	}
	if (rc == 0) {
		rc = object_measure(r, (uint64_t)st.st_size, e);
	}
	if (rc != 0) {
		return rc;
	}
	*ret_reader = r;
	r = NULL;
	return 0;
}

uint64_t object_reader_bytes(const struct object_reader *r)
{
	return r->plaintext_bytes;
}

static int object_segment_read(struct object_reader *r, uint64_t segment, struct err *e)
{
	bool final = segment + 1 == r->segments;
	size_t len = BACKUP_SEGMENT_BYTES;
	uint8_t aad[AAD_BYTES], nonce[AEAD_NONCE_BYTES];
	int rc;

	assert(segment < r->segments);
	if (r->cached == segment + 1) {
		return 0;
	}
	if (final) {
		len = (size_t)(r->plaintext_bytes - segment * BACKUP_SEGMENT_BYTES);
	}
	assert(len + AEAD_TAG_BYTES <= r->room);
	if (!final && (r->cached == segment || segment == 0)) { /* One after another. */
		(void)posix_fadvise(r->fd,
			(off_t)(r->header_bytes + (segment + 1) * SEGMENT_FILE_BYTES),
			READ_AHEAD_BYTES, POSIX_FADV_WILLNEED); /* A hint. */
	}
	r->cached = 0;
	rc = object_pread(r->fd, r->segment_data, len + AEAD_TAG_BYTES,
		r->header_bytes + segment * SEGMENT_FILE_BYTES, e);
	if (rc != 0) {
		return rc;
	}
	object_aad(r->header_hash, segment, final, aad);
	object_nonce(segment, nonce);
	if (aead_open(r->aead, nonce, bytes_of(aad, sizeof aad),
		    bytes_of(r->segment_data, len + AEAD_TAG_BYTES), r->segment_data) != 0) {
		uint64_t from = r->header_bytes + segment * SEGMENT_FILE_BYTES;

		return err_set(e, KLUIS_EVERIFY,
			"segment %llu (bytes %llu to %llu of the file) was changed",
			(unsigned long long)segment, (unsigned long long)from,
			(unsigned long long)(from + len + AEAD_TAG_BYTES - 1));
	}
	r->cached = segment + 1;
	r->cached_len = len;
	return 0;
}

int object_reader_read(
	struct object_reader *r, uint64_t offset, size_t len, void *to, struct err *e)
{
	uint8_t *at = to;

	if (offset > r->plaintext_bytes || len > r->plaintext_bytes - offset) {
		return err_set(e, KLUIS_ECORRUPT, "range outside of the object");
	}
	while (len > 0) {
		size_t skip = (size_t)(offset % BACKUP_SEGMENT_BYTES), n;
		int rc = object_segment_read(r, offset / BACKUP_SEGMENT_BYTES, e);

		if (rc != 0) {
			return rc;
		}
		assert(skip < r->cached_len);
		n = r->cached_len - skip < len ? r->cached_len - skip : len;
		memcpy(at, r->segment_data + skip, n);
		at += n;
		len -= n;
		offset += n;
	}
	return 0;
}

void object_reader_free(struct object_reader *r)
{
	if (r == NULL) {
		return;
	}
	(void)close(r->fd); /* Only read. */
	aead_free(r->aead);
	secret_clear(r->segment_data, r->room);
	free(r->segment_data);
	free(r);
}

void object_reader_freep(struct object_reader **r)
{
	object_reader_free(*r);
}
