/* A sealed object: AES-256-GCM in segments of 1 MiB under a data key of its own, which is wrapped
 * to the backup public key by HPKE (docs/format-backup.md section 3). Streams; memory is two
 * segments whatever the size. Blocking, one thread at a time. */
#ifndef KLUIS_BACKUP_OBJECT_H
#define KLUIS_BACKUP_OBJECT_H

#include "base/limits.h"
#include "crypto/key.h"

enum object_kind { OBJECT_PACK = 1, OBJECT_INDEX = 2 };
enum { OBJECT_HEADER_BYTES_MAX = 72 + 2 + 65 + 2 + 48 };

/* What the header binds an object to. */
struct object_place {
	enum object_kind kind;
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	uint64_t index;	 /* S */
	uint32_t number; /* Among those of its kind in the snapshot. */
};

struct object_writer;

/* Writes header and, later, segments to fd (stays the caller's, must outlive the writer). pub:
 * KEY_KEM_P256 or KEY_KEM_X25519; KLUIS_ESUITE otherwise. */
KLUIS_MUST_CHECK int object_writer_new(int fd, const struct object_place *place,
	const struct key_pub *pub, struct object_writer **ret_writer, struct err *e);
/* KLUIS_ETOOLARGE beyond BACKUP_PLAINTEXT_BYTES_MAX in all; after a failure only free is left. */
KLUIS_MUST_CHECK int object_writer_append(
	struct object_writer *writer, struct bytes plaintext, struct err *e);
/* Plaintext bytes so far. */
uint64_t object_writer_bytes(const struct object_writer *writer);
/* Writes the final segment. The object's name and file size. */
KLUIS_MUST_CHECK int object_writer_finish(struct object_writer *writer,
	uint8_t ret_hash[HASH_BYTES], uint64_t *ret_file_bytes, struct err *e);
void object_writer_free(struct object_writer *writer); /* Clears the data key; NULL is fine. */

struct object_reader;

/* Checks the header against place (KLUIS_ECORRUPT when it says anything else, KLUIS_EVERSION) and
 * unwraps the data key (KLUIS_EFORBIDDEN: sealed to another key; KLUIS_EVERIFY: tampered with).
 * Reads fd by pread; it is the reader's from now on, whatever happens. Nothing is said about
 * segments yet. */
KLUIS_MUST_CHECK int object_reader_new(int fd, const struct object_place *place,
	const struct key *key, struct object_reader **ret_reader, struct err *e);
uint64_t object_reader_bytes(const struct object_reader *reader); /* Of the whole plaintext. */
/* Plaintext [offset, offset + len), each segment it touches authenticated first (KLUIS_EVERIFY).
 * KLUIS_ECORRUPT when the range is not inside. The segment read last stays cached. */
KLUIS_MUST_CHECK int object_reader_read(
	struct object_reader *reader, uint64_t offset, size_t len, void *to, struct err *e);
void object_reader_free(struct object_reader *reader); /* NULL is fine. */
void object_reader_freep(struct object_reader **reader);

#endif
