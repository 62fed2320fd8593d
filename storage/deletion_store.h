/* Deletions that a restore must repeat, of vaults and of persons, and revocations of devices: what
 * is done at once, and the work that is left for later. */
#ifndef KLUIS_STORAGE_DELETION_STORE_H
#define KLUIS_STORAGE_DELETION_STORE_H

#include "storage/account_store.h"
#include "storage/kv.h"
#include "storage/txn.h"
#include "storage/vault_store.h"

/* TH("kluis/v1/revoked-device", user_id, device_id), first 16 bytes: a device id alone is anybody's
 * to choose. */
void deletion_device_id(const uint8_t user_id[16], const uint8_t device_id[16], uint8_t ret_id[16]);
/* The device is revoked from now on, which a restore must repeat. Sessions are the caller's. */
void deletion_device(
	struct txn *txn, const struct device_row *device, uint64_t index, uint64_t time_ms);

/* TH("kluis/v1/removed-member", object_id, member_id), first 16 bytes. */
void deletion_member_id(
	const uint8_t object_id[16], const uint8_t member_id[16], uint8_t ret_id[16]);

/* A row of a ledger: what a restore must repeat. The families are KEY_LEDGER (vaults),
 * KEY_USER_LEDGER, KEY_DEVICE_LEDGER and KEY_MEMBER_LEDGER. */
struct deletion_note {
	uint64_t index; /* Raft index of the deletion, revocation or removal. */
	uint64_t time_ms;
	uint8_t id[16]; /* The vault's, the person's, deletion_device_id(), deletion_member_id(). */
};
/* A member was removed, which a restore must repeat: the note is all. */
void deletion_member(struct txn *txn, const struct deletion_note *note);
void deletion_note_encode(const struct deletion_note *note, struct buf *to);
KLUIS_MUST_CHECK int deletion_note_decode(enum key_family family, struct bytes key,
	struct bytes value, struct deletion_note *ret_note, struct err *e);
/* Up to max rows of the family behind `after` (NULL: from the first), by index, then id. */
KLUIS_MUST_CHECK int deletion_notes(const struct kv_view *view, enum key_family family,
	const struct deletion_note *after, struct deletion_note *ret_notes, size_t max,
	size_t *ret_n, struct err *e);

/* Gone for everybody at once: state, label and the lists of its members; in the ledger; its rows
 * are work (work_store). */
KLUIS_MUST_CHECK int deletion_vault(struct txn *txn, const struct vault_row *vault, uint64_t index,
	uint64_t time_ms, struct err *e);

enum { DELETION_PERSON_ROWS_MAX = 160 }; /* What deletion_person() changes at most. */
/* Makes a person nobody at once: the name is gone for good, the user row is disabled and without a
 * name (its id is never free again), whatever proves the person is deleted; in the ledger; the rest
 * is work. Sessions are the caller's. KLUIS_ENOTFOUND: no person. */
KLUIS_MUST_CHECK int deletion_person(struct txn *txn, const uint8_t user_id[16], uint64_t index,
	uint64_t time_ms, struct err *e);
/* The first user whose rows are being deleted. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int user_work_store_first(
	const struct kv_view *view, uint8_t ret_user_id[16], struct err *e);
/* One bounded step of that, at most max rows: what she is a member of (a vault goes when nobody
 * else has a role in it), packets, then the inbox, statements, devices, keyrings and access log.
 * *ret_n 0: nothing was left, and the user is work no more. */
KLUIS_MUST_CHECK int deletion_person_step(struct txn *txn, const uint8_t user_id[16],
	uint64_t index, uint64_t time_ms, size_t max, size_t *ret_n, struct err *e);

#endif
