/* KeyPackets on their way to who they are for, and single pages that were opened to a user. */
#ifndef KLUIS_STORAGE_PACKET_STORE_H
#define KLUIS_STORAGE_PACKET_STORE_H

#include "crypto/keypacket.h"
#include "storage/kv.h"
#include "storage/txn.h"
#include "storage/upkeep_store.h"

enum packet_to { PACKET_TO_USER = 1, PACKET_TO_GROUP = 2, PACKET_TO_DEVICE = 3 };
enum {
	PACKETS_MAX = 4096,	     /* That wait for one user or device. */
	PACKETS_GROUP_MAX = 1 << 20, /* For one group, or a user by what she has accepted. */
	PAGE_GRANTS_MAX = 16384,     /* Of one user. */
};
/* Packets wait so long for their recipient, pages stay open. */
#define PACKET_KEPT_MS (90ULL * 24 * 3600 * 1000)

struct packet_row {
	uint8_t rcpt[16]; /* The user's or group's id, or packet_device(). */
	uint8_t packet_id[16];
	/* Cluster time. One to a group is kept longer while the group is a member of the object. */
	uint64_t sent_ms, expires_ms;
	uint8_t to;	 /* enum packet_to */
	uint8_t purpose; /* KEYPACKET_VAULT .. */
	uint8_t object_id[16];
	uint32_t epoch;
	uint8_t sender[16];  /* User. */
	struct bytes packet; /* As its sender sealed it. */
};
/* Under what a device's packets are kept: TH("kluis/v1/packet-device", user_id, device_id), first
 * 16 bytes. A device id alone is anybody's to choose. */
void packet_device(const uint8_t user_id[16], const uint8_t device_id[16], uint8_t ret_rcpt[16]);
void packet_row_encode(const struct packet_row *row, struct buf *to);
/* packet points into value. */
KLUIS_MUST_CHECK int packet_row_decode(
	struct bytes key, struct bytes value, struct packet_row *ret_row, struct err *e);
/* value holds the bytes that *ret_row points into. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int packet_store_get(const struct kv_view *view, const uint8_t rcpt[16],
	const uint8_t packet_id[16], struct buf *value, struct packet_row *ret_row, struct err *e);
/* With its place in the expiry queue. The very same packet again changes nothing; KLUIS_EEXIST:
 * another one has the id; KLUIS_EQUOTA: too many wait for the recipient. */
KLUIS_MUST_CHECK int packet_store_put(struct txn *txn, const struct packet_row *row, struct err *e);
/* As packet_store_put(), up to PACKETS_GROUP_MAX: to one who accepted that such packets come. What
 * strangers sent her takes no room from it. */
KLUIS_MUST_CHECK int packet_store_put_accepted(
	struct txn *txn, const struct packet_row *row, struct err *e);
KLUIS_MUST_CHECK int packet_store_delete(
	struct txn *txn, const struct packet_row *row, struct err *e);
/* Its time has come: it goes, or stays for PACKET_KEPT_MS more. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int packet_store_expire(struct txn *txn, const uint8_t rcpt[16],
	const uint8_t packet_id[16], uint64_t now_ms, struct err *e);

/* Walks the packets to one recipient with an id behind `after` (NULL: from the first), ascending.
 * The view outlives it. */
struct packet_iter;
struct packet_iter *packet_iter_new(
	const struct kv_view *view, const uint8_t rcpt[16], const uint8_t *after);
/* true: *ret_row is the next one, valid until the next call. false: the end or a failure; ask
 * packet_iter_status(). */
bool packet_iter_next(struct packet_iter *iter, struct packet_row *ret_row);
KLUIS_MUST_CHECK int packet_iter_status(const struct packet_iter *iter, struct err *e);
void packet_iter_free(struct packet_iter *iter); /* NULL is allowed. */

/* Who may read one revision of one page of a vault that is not hers. */
struct page_grant {
	uint8_t user_id[16], vault_id[16];
	uint64_t page_no, revision;
	uint64_t expires_ms;
	uint8_t granter[16];
};
void page_grant_encode(const struct page_grant *row, struct buf *to);
KLUIS_MUST_CHECK int page_grant_decode(
	struct bytes key, struct bytes value, struct page_grant *ret_row, struct err *e);
/* KLUIS_ENOTFOUND; its time may be over. */
KLUIS_MUST_CHECK int grant_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t vault_id[16], uint64_t page_no, uint64_t revision, struct page_grant *ret_row,
	struct err *e);
/* KLUIS_ENOTFOUND: none, or not at now_ms any more. Whether the vault is there is the caller's to
 * ask. */
KLUIS_MUST_CHECK int grant_store_check(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t vault_id[16], uint64_t page_no, uint64_t revision, uint64_t now_ms,
	struct page_grant *ret_row, struct err *e);
/* Whether any page of this vault is open to her at now_ms. */
KLUIS_MUST_CHECK int grant_store_any(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t vault_id[16], uint64_t now_ms, bool *ret_any, struct err *e);
/* With its place in the expiry queue; it takes the place of one that is there, whichever lasts
 * longer. KLUIS_EQUOTA. */
KLUIS_MUST_CHECK int grant_store_put(struct txn *txn, const struct page_grant *row, struct err *e);
/* One that is there. */
KLUIS_MUST_CHECK int grant_store_delete(
	struct txn *txn, const struct page_grant *row, struct err *e);
/* The subject of an expiry row. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int grant_store_expire(struct txn *txn, const uint8_t subject[48], struct err *e);

/* One bounded step of deleting what waits for a user, or was opened to her: at most max packets and
 * grants. *ret_n 0: nothing was left. */
KLUIS_MUST_CHECK int packet_store_purge(
	struct txn *txn, const uint8_t user_id[16], size_t max, size_t *ret_n, struct err *e);

/* How many packets and grants there are of one recipient. */
struct packet_use {
	uint8_t rcpt[16];
	uint32_t packets, grants;
};
void packet_use_encode(const struct packet_use *row, struct buf *to);
KLUIS_MUST_CHECK int packet_use_decode(
	struct bytes key, struct bytes value, struct packet_use *ret_row, struct err *e);
/* Zeros when there is no row. */
KLUIS_MUST_CHECK int packet_use_get(const struct kv_view *view, const uint8_t rcpt[16],
	struct packet_use *ret_row, struct err *e);

/* Their places in the expiry queue. */
struct expiry_row packet_expiry(const struct packet_row *row);
struct expiry_row page_grant_expiry(const struct page_grant *row);

#endif
