/* A vault as its client sees it: every head is verified from the one pinned in the profile, every
 * page is the leaf that the head names, and what is committed can be sent again byte for byte after
 * a crash. One thread, but for vault_open_page(). */
#ifndef KLUIS_CLI_CLIENT_VAULT_H
#define KLUIS_CLI_CLIENT_VAULT_H

#include "cli/client/api.h"
#include "cli/client/membership.h"
#include "cli/client/profile.h"
#include "crypto/head.h"
#include "crypto/merkle.h"
#include "crypto/page.h"

enum {
	VAULT_NAME_BYTES_MAX = 255,
	VAULT_FETCH_TRIES = 4, /* Times a page may move under a reader. */
	VAULT_HEADS_PER_SYNC_MAX = 1 << 20,
};

struct vault_key {
	uint32_t epoch;
	struct secret vk;
};

/* What is known of a page beside its leaf. What the cluster's list of changes says is not proven by
 * the tree, which holds the leaf alone; a page of ours, or one that was read, is. */
struct vault_leaf {
	uint64_t revision; /* 0: never written, always proven. */
	uint32_t epoch;
	bool proven;
};

/* Read the fields, change them by functions alone. */
struct vault {
	struct profile *profile;
	struct client *client;
	uint8_t id[ID_BYTES];
	char name[VAULT_NAME_BYTES_MAX + 1];
	/* Who its members are: as proven last. */
	struct people *people;
	struct membership *membership;
	struct membership **groups;   /* Those in it whose chains are shown. */
	struct membership **withheld; /* ... and those that are denied, as the profile saw them. */
	size_t n_groups, n_withheld;
	uint32_t members_rev; /* Of membership. */
	uint8_t members_hash[HASH_BYTES];
	uint64_t floor_seq; /* Heads after this one name at least floor_rev. */
	uint32_t floor_rev;
	struct vault_key keys[VAULT_EPOCHS_MAX]; /* Ascending. */
	size_t n_keys;
	struct buf create; /* The create statement. */
	/* The pin: the newest head this profile has verified. */
	struct head head;
	uint8_t head_bytes[HEAD_BYTES];
	/* The pages that head names; NULL until loaded. */
	struct merkle *tree;
	struct vault_leaf *leaves;
	size_t leaves_cap;
	bool leaves_dirty; /* The cached table is older. */
	/* Why the pending commit did not get through, else code 0: nothing else can be committed.
	 */
	struct err stuck;
	/* Documents of the inbox that go with the next commits (api_commit_claiming()); borrowed,
	 * NULL: none. One that is gone by then does not keep a commit back. */
	const char *claims;
	bool offline; /* Only what the profile has is read; nothing is written. */
	char *copy;   /* Offline, and read from this copy instead (vault_open_copy()); else NULL. */
};

/* Names may be any UTF-8 of 1..255 bytes without '/', ':' and control bytes. */
bool vault_name_valid(const char *name);

/* Makes a vault: keys and statements are on disk before the request leaves; after a lost answer
 * vault_finish_creating() ends it. KLUIS_EEXIST when the profile has one of that name. */
KLUIS_MUST_CHECK int vault_create(struct profile *profile, struct client *client, const char *name,
	uint8_t ret_id[ID_BYTES], struct err *e);
/* With an id that follows from something else. KLUIS_ECONFLICT: the cluster has, or had, another of
 * that id. */
KLUIS_MUST_CHECK int vault_create_as(struct profile *profile, struct client *client,
	const char *name, const uint8_t id[ID_BYTES], struct err *e);
/* Resends what vault_create() could not finish, for all vaults of the profile; drops those that the
 * cluster refuses for good. */
KLUIS_MUST_CHECK int vault_finish_creating(
	struct profile *profile, struct client *client, struct err *e);

/* name: of this profile, or 32 hex digits. Both must outlive the vault. KLUIS_ENOTFOUND. Of a
 * person a name that is not known may be that of a vault which could not be adopted: then the
 * reason, see vault_person_adopt(). */
KLUIS_MUST_CHECK int vault_open(struct profile *profile, struct client *client, const char *name,
	struct vault **ret_vault, struct err *e);
/* Stores the leaf table if it changed; NULL is fine. */
void vault_close(struct vault *vault);
/* The ids of all vaults that have a directory in the profile, in a new array. */
KLUIS_MUST_CHECK int vault_local_ids(
	const struct profile *profile, uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e);
/* The ids of all vaults that are whole in the profile or, of a person (unlocked), have a key in the
 * keyring, in a new array; none twice. What a cut creation left is none. */
KLUIS_MUST_CHECK int vault_known_ids(
	const struct profile *profile, uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e);
/* The newest head that this profile or, by the keyring, another device of a person has verified of
 * the vault; 0: none, its creation may never have come through. */
KLUIS_MUST_CHECK int vault_known_seq(const struct profile *profile, const uint8_t id[ID_BYTES],
	uint64_t *ret_seq, struct err *e);
/* Deletes a vault (opened, perhaps synced) at the cluster, on all sites, for good, and gives it up:
 * nothing but vault_close() is called with it then. KLUIS_EPRECONDITION: somebody changed it
 * meanwhile. KLUIS_EPIN: the cluster denies it, which is no proof that it is gone.
 * KLUIS_EFORBIDDEN: only an admin of the vault may. */
KLUIS_MUST_CHECK int vault_delete(struct vault *vault, struct err *e);
/* Gives up a vault: its keys leave the keyring, which says so to the person's other devices
 * (keyring_forget_pin()), and what the profile has of it is removed. There is no way back: nobody
 * can read it again. */
KLUIS_MUST_CHECK int vault_give_up(
	struct profile *profile, struct client *client, const uint8_t id[ID_BYTES], struct err *e);
/* Before vault_give_up() without vault_delete(): KLUIS_EEXIST unless the cluster denies the vault.
 */
KLUIS_MUST_CHECK int vault_check_denied(
	struct client *client, const uint8_t id[ID_BYTES], struct err *e);
/* The id of a vault by its name in this profile or 32 hex digits; of a person also one that is in
 * the keyring alone. Asks the cluster as vault_open() does. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int vault_find(struct profile *profile, struct client *client, const char *name,
	uint8_t ret_id[ID_BYTES], struct err *e);
/* Removes what the profile has of a vault; nothing there is success. */
KLUIS_MUST_CHECK int vault_forget(
	const struct profile *profile, const uint8_t id[ID_BYTES], struct err *e);
/* Whether the user accepted a restore that this vault has not followed yet: it may be lost. */
bool vault_restored(const struct profile *profile, const uint8_t id[ID_BYTES]);
/* vault_open() by the id; of a person, one that is new to the profile is adopted. KLUIS_EPIN: the
 * cluster denies what another device has seen. */
KLUIS_MUST_CHECK int vault_open_id(struct profile *profile, struct client *client,
	const uint8_t id[ID_BYTES], struct vault **ret_vault, struct err *e);

/* Whether others are in it; and one's own role, alone or by a group: 0 when one is no member. */
bool vault_is_shared(const struct vault *vault);
unsigned vault_role(const struct vault *vault);
/* Brings the list of members to what the cluster has. KLUIS_EPIN: it shows an older one or another
 * one than was seen. KLUIS_EVERIFY: no admin made it. */
KLUIS_MUST_CHECK int vault_members_refresh(struct vault *vault, struct err *e);
/* The key that is written under; NULL: it is not here. */
const struct vault_key *vault_write_key(const struct vault *vault);

/* Brings the pin to the cluster's head. A commit that was sent but never answered is sent again,
 * byte for byte, unless the chain shows another head in its place; if it is refused the vault can
 * be read, but not written to. KLUIS_EPIN: the cluster shows an older head, or another one, than
 * the profile has seen (rollback, fork). KLUIS_EVERIFY: a head, a signature or the page table is
 * not what a valid writer made. In both cases the profile stays as it was. */
KLUIS_MUST_CHECK int vault_sync(struct vault *vault, struct err *e);

/* Whether this page was ever written, and its state. page_no < head.page_count. */
bool vault_page_written(const struct vault *vault, uint64_t page_no);
/* KLUIS_EVERIFY unless `page` is the leaf that the pinned head names. Any thread, while nobody
 * changes the vault. */
KLUIS_MUST_CHECK int vault_check_page(
	const struct vault *vault, uint64_t page_no, struct bytes page, struct err *e);
/* The key of an epoch; NULL: this profile has it not. */
const struct vault_key *vault_epoch_key(const struct vault *vault, uint32_t epoch);
/* vault_check_page(), then opened; the content is appended. Any thread, likewise. */
KLUIS_MUST_CHECK int vault_open_page(const struct vault *vault, uint64_t page_no, struct bytes page,
	struct buf *ret_content, struct err *e);
/* Fetches (or takes from the profile's cache of ciphertext, when `cached`) and opens. Follows the
 * head when a writer moved the page meanwhile: *ret_moved then, and nothing is appended. */
KLUIS_MUST_CHECK int vault_read_page(struct vault *vault, uint64_t page_no, bool cached,
	struct buf *ret_content, bool *ret_moved, struct err *e);

/* The page from the cache of ciphertext; KLUIS_EAGAIN when it is not there or an older one. */
KLUIS_MUST_CHECK int vault_cached_page(
	const struct vault *vault, uint64_t page_no, struct buf *ret_page, struct err *e);
/* Those of n pages that the cache has not as they are now, in order, in a new array. */
uint64_t *vault_uncached(
	const struct vault *vault, const uint64_t *page_nos, size_t n, size_t *ret_n);
/* Into the cache; that it fails does not matter. */
void vault_cache_page(const struct vault *vault, uint64_t page_no, struct bytes page);
/* An answer came that is not the page, rc says how: when a newer head explains it *ret_moved is
 * set, else it is KLUIS_EVERIFY, for the signed head names the page. Failures that say nothing
 * about the page are returned as they are. */
KLUIS_MUST_CHECK int vault_judge_page(
	struct vault *vault, uint64_t page_no, int rc, bool *ret_moved, struct err *e);
/* The rest of vault_read_page() for a page that was fetched. */
KLUIS_MUST_CHECK int vault_take_page(struct vault *vault, uint64_t page_no, struct bytes page,
	bool cache, struct buf *ret_content, bool *ret_moved, struct err *e);

/* Instead of vault_sync(), when no site can be reached: the vault is read as of its last sync,
 * whose time is given, from the profile alone. KLUIS_ECONNECT when there was none. */
KLUIS_MUST_CHECK int vault_go_offline(struct vault *vault, uint64_t *ret_synced_ms, struct err *e);
/* From now on the vault is what an operator's copy of it (cli/client/vault_copy.h) says it was:
 * read, offline, and not stored. The vault was synced, or went offline. KLUIS_EVERIFY, KLUIS_EPIN:
 * the copy's head is not one of this vault's history, or the copy is not what that head names; the
 * vault can only be closed then. */
KLUIS_MUST_CHECK int vault_open_copy(struct vault *vault, const char *dir, struct err *e);
/* Removes what the cache has of pages as they are no more; how many. The vault is synced. */
size_t vault_drop_stale_cache(const struct vault *vault);

/* Seals a page under the current epoch with a salt that depends on place and content, so that an
 * upload that goes on after a crash makes the same bytes. plain_hash: SHA-256 of content. Appends
 * to ret_page. Any thread, while nobody changes the vault. */
KLUIS_MUST_CHECK int vault_seal_page(const struct vault *vault, uint64_t page_no, uint64_t revision,
	unsigned kind, unsigned flags, struct bytes content, const uint8_t plain_hash[HASH_BYTES],
	struct buf *ret_page, struct err *e);
/* The revision that a new version of this page must have, proven: asks the cluster when only its
 * list of changes has said so. KLUIS_EVERIFY when that was a lie; KLUIS_ECONFLICT when another
 * writer moved the page meanwhile (the vault is synced then). */
KLUIS_MUST_CHECK int vault_next_revision(
	struct vault *vault, uint64_t page_no, uint64_t *ret_revision, struct err *e);

/* Commits entries (page_no strictly ascending, at most COMMIT_ENTRIES_MAX, inline bytes within
 * COMMIT_INLINE_BYTES_MAX; all staged pages there) under a new head, which is on disk before it is
 * sent. KLUIS_ECONFLICT: another writer was first; the vault is synced, build the entries anew.
 * Any other error: the commit may or may not have happened, whatever the cluster says of it; the
 * next vault_sync() finds out, and no other head is signed for its seq before. */
KLUIS_MUST_CHECK int vault_commit(
	struct vault *vault, const struct api_entry *entries, size_t n, struct err *e);

/* After KLUIS_ELINEAGE. What the operator's record says, checked against the pinned restore key:
 * an unbroken run of records from the pinned lineage to the cluster's. */
struct vault_restore {
	struct restore_record records[RESTORE_RECORDS_MAX];
	size_t n;
	uint8_t lineage[ID_BYTES]; /* The cluster's now. */
};
/* KLUIS_EPIN: no record, or none by the pinned key, explains the new lineage. */
KLUIS_MUST_CHECK int vault_restore_check(struct profile *profile, struct client *client,
	struct vault_restore *ret_restore, struct err *e);
/* The user accepted: takes the new lineage, and lets each vault's pin move to what the restored
 * cluster has (at the next sync; a head this profile has seen before must be the same). */
KLUIS_MUST_CHECK int vault_restore_accept(struct profile *profile, struct client *client,
	const struct vault_restore *restore, struct err *e);

/* Appends the signed head of a new vault, HEAD_BYTES. create: its create statement. */
KLUIS_MUST_CHECK int vault_first_head(const struct profile *profile, const uint8_t id[ID_BYTES],
	struct bytes create, struct buf *ret_head, struct err *e);

/* Whether this profile can write: KLUIS_EUNAUTHENTICATED when it is a person's that is locked, or
 * on a device that is not enrolled, which only reads. */
KLUIS_MUST_CHECK int vault_may_write(const struct profile *profile, struct err *e);
/* The ids of all vaults that the cluster says this account is in, in a new array: those that it was
 * only invited to not. Nothing of it is verified. */
KLUIS_MUST_CHECK int vault_listed_ids(
	struct client *client, uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e);
/* Those and the ones that vault_known_ids() gives: what the cluster leaves out is among them. */
KLUIS_MUST_CHECK int vault_all_ids(const struct profile *profile, struct client *client,
	uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e);
/* Of a person (cli/client/person.h), unlocked and refreshed: makes those vaults known to this
 * profile whose keys another device put into the keyring. vault_open() does it for a name it does
 * not know. One that cannot be taken does not keep the others out: its error is returned at the
 * end, the first one's. KLUIS_EPIN: the cluster denies a vault that another device has seen. */
KLUIS_MUST_CHECK int vault_person_adopt(
	struct profile *profile, struct client *client, struct err *e);
/* Puts the pins that moved here into the keyring, for the other devices to hold the cluster to: at
 * the end of a command. No change, no call. */
KLUIS_MUST_CHECK int vault_person_store_pins(
	struct profile *profile, struct client *client, struct err *e);

/* Removes what the profile has of vaults that were given up on another device of a person
 * (unlocked), whose keyring says so. account_refresh() does it. */
KLUIS_MUST_CHECK int vault_person_follow(struct profile *profile, struct err *e);

/* For the files of this module. */
/* Whether HEAD_BYTES are a head that this profile once verified, or one that those it has verified
 * come from: asks the cluster for the heads between. KLUIS_EPIN: another head than the one seen;
 * KLUIS_EVERIFY: nothing says that it ever was one. */
KLUIS_MUST_CHECK int vault_prove_head(
	struct vault *vault, const uint8_t *bytes, struct head *ret_head, struct err *e);
/* A person's: the vault's keys from the keyring; its first key into it. */
KLUIS_MUST_CHECK int vault_person_keys(struct vault *vault, struct err *e);
KLUIS_MUST_CHECK int vault_person_store_key(
	const struct vault *vault, struct profile *profile, struct client *client, struct err *e);
/* KLUIS_EPIN unless the history that ends with newest passes through the keyring's pin. heads: its
 * last ones, all after the pin of this profile; none when it is newest. */
KLUIS_MUST_CHECK int vault_person_check_pin(
	const struct vault *vault, const struct head *newest, struct bytes heads, struct err *e);
/* The sync that checked it has succeeded: it counts as seen. */
KLUIS_MUST_CHECK int vault_person_note_pin(const struct vault *vault, struct err *e);
/* A row of what was verified, behind the others. */
KLUIS_MUST_CHECK int vault_note_seen(
	const struct vault *vault, uint64_t seq, const uint8_t hash[HASH_BYTES], struct err *e);
/* vault->create is of this vault; loads its members as the profile knows them, at least the founder
 * that it names. */
KLUIS_MUST_CHECK int vault_check_create(struct vault *vault, struct err *e);
void vault_members_release(struct vault *vault);
/* Whether a vault of this profile has that name. */
bool vault_name_taken(struct profile *profile, struct client *client, const char *name);
/* KLUIS_EFORBIDDEN unless one may write and has the key; KLUIS_EVERIFY: who was taken out of a
 * group has that key, too. */
KLUIS_MUST_CHECK int vault_check_key(const struct vault *vault, struct err *e);
/* The key of the members' epoch, when it is not here, from the KeyPackets at the cluster; that
 * there are none is no error. KLUIS_EVERIFY: those that are there do not hold. */
KLUIS_MUST_CHECK int vault_take_keys(struct vault *vault, struct err *e);
/* By the members: see membership_check_head(). Asks the cluster for them when it has to. */
KLUIS_MUST_CHECK int vault_check_head_members(
	struct vault *vault, uint64_t min_rev, const struct head *head, struct err *e);
/* The verified identity that has the device which says to have written it. */
KLUIS_MUST_CHECK int vault_head_writer(struct vault *vault, const struct head *head,
	const struct identity **ret_identity, struct err *e);
/* n heads, one after the other: members, writers and signatures. min_rev: of the head before. */
KLUIS_MUST_CHECK int vault_verify_run(struct vault *vault, const struct bytes *run,
	const struct head *heads, size_t n, uint64_t min_rev, struct head *ret_last, struct err *e);
/* See struct vault. rev: what was known before the pinned head was fetched. */
KLUIS_MUST_CHECK int vault_load_floor(struct vault *vault, struct err *e);
KLUIS_MUST_CHECK int vault_store_floor(struct vault *vault, uint32_t rev, struct err *e);
KLUIS_MUST_CHECK int vault_drop_floor(struct vault *vault, struct err *e);
/* vault_open_id() without a look at the cluster. */
KLUIS_MUST_CHECK int vault_open_local(struct profile *profile, struct client *client,
	const uint8_t id[ID_BYTES], struct vault **ret_vault, struct err *e);
/* Makes one vault of the keyring known to this profile. KLUIS_ENOTFOUND and the like as the cluster
 * said it, KLUIS_EPIN as vault_person_adopt(). */
KLUIS_MUST_CHECK int vault_person_adopt_one(
	struct profile *profile, struct client *client, const uint8_t id[ID_BYTES], struct err *e);
/* The pin that the keyring has of this vault; seq 0: none, or it was given up. */
KLUIS_MUST_CHECK int vault_person_pin(const struct profile *profile, const uint8_t id[ID_BYTES],
	uint64_t *ret_seq, uint8_t ret_hash[HASH_BYTES], struct err *e);
/* The pinned head that lies in the profile, with or without the rest; KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int vault_read_pin(const struct profile *profile, const uint8_t id[ID_BYTES],
	struct head *ret_head, uint8_t ret_bytes[HEAD_BYTES], struct err *e);
/* With the file that is written last: what was cut short is not whole. */
bool vault_whole(const struct profile *profile, const uint8_t id[ID_BYTES]);
/* Whether this is a cluster's "there is no such vault for you", and the error it is when head `seq`
 * was seen (KLUIS_EPIN): nobody can prove a deletion. */
bool vault_denied(int rc);
int vault_withheld(const struct vault *vault, uint64_t seq, struct err *e);
/* Whether it is one of n. */
bool vault_id_among(uint8_t (*ids)[ID_BYTES], size_t n, const uint8_t id[ID_BYTES]);
/* HEAD_BYTES that are the vault's first head, by a device of the account. */
KLUIS_MUST_CHECK int vault_check_first(struct vault *vault, struct bytes head, struct err *e);
/* Directory, pin and keys file of a vault that is new to this profile. */
KLUIS_MUST_CHECK int vault_store_files(const struct vault *vault, struct bytes head, struct err *e);
char *vault_file(const struct vault *vault, const char *name);
/* Whether the profile has this one of a vault's files. */
bool vault_has_file(const struct profile *profile, const uint8_t id[ID_BYTES], const char *file);
KLUIS_MUST_CHECK int vault_store_pin(struct vault *vault, struct err *e);
KLUIS_MUST_CHECK int vault_load_leaves(struct vault *vault, struct err *e);
/* Ends the pending commit, if any, by the verified head: drops it, or sends it (*sent then: sync
 * and call again, which sends no more). One that does not get through makes the vault stuck, which
 * is no error here. KLUIS_EVERIFY when it was sent and no head stands at its seq. */
KLUIS_MUST_CHECK int vault_settle_pending(struct vault *vault, bool *sent, struct err *e);
void vault_set_leaf(struct vault *vault, uint64_t page_no, struct vault_leaf state,
	const uint8_t leaf[HASH_BYTES]);
void vault_drop_leaves(struct vault *vault);
void vault_set_proven(struct vault *vault, uint64_t page_no, uint64_t revision, uint32_t epoch);
void vault_stamp(const struct vault *vault);
KLUIS_MUST_CHECK int vault_refuse_offline(const struct vault *vault, struct err *e);
void vault_set_head(struct vault *vault, const struct head *head, const uint8_t *bytes);
/* Hash of the head with this seq that the profile once verified; false when it does not know. */
bool vault_seen_head(const struct vault *vault, uint64_t seq, uint8_t ret_hash[HASH_BYTES]);

#endif
