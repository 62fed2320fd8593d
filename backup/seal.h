/* A sealed object: AES-256-GCM in segments of 1 MiB under a data key of its own, which is wrapped
 * to the backup public key by HPKE (docs/format-backup.md section 3). Streams; memory is two
 * segments whatever the size. Blocking, one thread at a time. */
#ifndef KLUIS_BACKUP_SEAL_H
#define KLUIS_BACKUP_SEAL_H

#include "backup/keys.h"

enum seal_kind { SEAL_PACK = 1, SEAL_INDEX = 2 };

/* What the header binds an object to. */
struct seal_place {
	enum seal_kind kind;
	uint8_t cluster_id[16], lineage[16];
	uint64_t index;	 /* S */
	uint32_t number; /* In the snapshot. */
};

struct seal_writer;

/* Writes header, later segments to fd (stays the caller's, must outlive the writer). */
KLUIS_MUST_CHECK int seal_writer_new(int fd, const struct seal_place *place,
	const struct backup_public *key, struct seal_writer **ret_writer, struct err *e);
/* KLUIS_ETOOLARGE beyond BACKUP_PLAINTEXT_BYTES_MAX in all; after a failure only free is left. */
KLUIS_MUST_CHECK int seal_writer_append(
	struct seal_writer *writer, struct bytes plaintext, struct err *e);
/* Plaintext bytes so far. */
uint64_t seal_writer_bytes(const struct seal_writer *writer);
/* Writes the final segment. The object's name and file size. */
KLUIS_MUST_CHECK int seal_writer_finish(
	struct seal_writer *writer, uint8_t ret_hash[32], uint64_t *ret_file_bytes, struct err *e);
void seal_writer_free(struct seal_writer *writer); /* Clears the data key; NULL is fine. */

struct seal_reader;

/* Checks the header against place (KLUIS_ECORRUPT when it says anything else) and unwraps the data
 * key (KLUIS_EVERIFY: tampered with, or sealed to another key; KLUIS_EFORBIDDEN: the header names
 * another key id). Reads fd by pread; it stays the caller's. Nothing is said about segments yet. */
KLUIS_MUST_CHECK int seal_reader_new(int fd, const struct seal_place *place,
	const struct backup_private *key, struct seal_reader **ret_reader, struct err *e);
uint64_t seal_reader_bytes(const struct seal_reader *reader); /* Of the whole plaintext. */
/* Plaintext [offset, offset + len), each segment it touches authenticated first (KLUIS_EVERIFY).
 * KLUIS_ECORRUPT when the range is not inside. The last segment read stays cached. */
KLUIS_MUST_CHECK int seal_reader_read(
	struct seal_reader *reader, uint64_t offset, size_t len, void *to, struct err *e);
void seal_reader_free(struct seal_reader *reader);

/* The file size that this much plaintext makes with a key of this kem. */
uint64_t seal_file_bytes(uint16_t kem, uint64_t plaintext_bytes);

#endif
