/* The local profile: a directory (0700) with the account's keys, the vaults' keys, the pins and
 * what is needed to go on after a crash (docs/format-profile.md). One process at a time: the
 * profile is locked while it is open. A service account has all its keys here; what a person has
 * instead is cli/client/person.h's. Blocking. */
#ifndef KLUIS_CLI_CLIENT_PROFILE_H
#define KLUIS_CLI_CLIENT_PROFILE_H

#include "base/buf.h"
#include "cli/client/api.h"
#include "cli/client/client.h"
#include "crypto/identity.h"
#include "crypto/key.h"

enum {
	PROFILE_LOCK_MS = 10 * 1000, /* How long another kluis is waited for. */
	PROFILE_FILE_BYTES_MAX = 1 << 20,
	PROFILE_LEAVES_BYTES_MAX = 1 << 30,
	PROFILE_SETTINGS_BYTES_MAX = 256 * 1024,
};

/* What a framed file holds; in its header, so that no file is taken for another. */
enum profile_kind {
	PROFILE_KEYS = 1,
	PROFILE_VAULT = 2,
	PROFILE_PIN = 3,
	PROFILE_PENDING = 4,
	PROFILE_LEAVES = 5,
	PROFILE_SESSION = 6,
	PROFILE_UPLOAD = 7,
	PROFILE_CREATING = 8,
	PROFILE_PERSON = 9,
	PROFILE_IDENTITY = 10,
	PROFILE_REGISTERING = 11,
	PROFILE_LOG = 12,
	PROFILE_IDENTITY_SEEN = 13, /* Of another user. */
	PROFILE_MEMBERS = 14,	    /* A membership chain. */
	PROFILE_FLOOR = 15,
	PROFILE_CHAT = 16,
	PROFILE_BACKLOG = 17, /* What is read of a conversation and not archived yet. */
};

struct person_keys;
struct wire;

/* Read the fields; change them by the functions below. */
struct profile {
	char *dir;
	int lock_fd;
	/* settings.json */
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
	char account[IDENTITY_NAME_BYTES_MAX + 1];
	bool enrolled; /* The cluster confirmed it; of a person: this device may sign. */
	struct person_keys *person; /* NULL: a service account. */
	char *endpoints[CLIENT_ENDPOINTS_MAX];
	size_t n_endpoints;
	bool has_restore_key;
	uint8_t restore_key[API_KEY_BYTES];
	bool aes_128; /* What the deployment asks for; else its pages are of AES-256. */
	struct buf ca_pem;
	/* keys; of a person only while it is unlocked, and not all when an agent did that */
	struct key *device, *device_hpke; /* Of this device. */
	struct key *signing, *transfer;	  /* Of the user. */
	struct secret salt_key; /* Makes page salts that an interrupted upload can repeat. */
	struct buf genesis, device_statement;
	struct identity identity; /* Verified from the two statements, or a person's chain. */
};

/* A new profile in an empty or missing directory: makes the keys and both statements, keeps them
 * in memory only. cluster: what was fetched and confirmed; endpoints are copied.
 * profile_save() stores it. The RSA key takes up to a second. KLUIS_EEXIST when there is one. */
KLUIS_MUST_CHECK int profile_make(const char *dir, const struct api_cluster *cluster,
	const char *account, const char *device_name, const char *const *endpoints,
	size_t n_endpoints, struct profile **ret_profile, struct err *e);
/* The same without any keys, for person_make(). */
KLUIS_MUST_CHECK int profile_make_empty(const char *dir, const struct api_cluster *cluster,
	const char *account, const char *const *endpoints, size_t n_endpoints,
	struct profile **ret_profile, struct err *e);
/* Opens and locks. KLUIS_ENOTFOUND no profile there, KLUIS_EBUSY another process holds it,
 * KLUIS_EINVAL others may read it, KLUIS_EVERSION, KLUIS_ECORRUPT. */
KLUIS_MUST_CHECK int profile_open(const char *dir, struct profile **ret_profile, struct err *e);
/* KLUIS_ENOTFOUND unless there is such a directory, KLUIS_EINVAL unless it is ours alone. */
KLUIS_MUST_CHECK int profile_check_dir(const char *dir, struct err *e);
/* Another wait for the lock than PROFILE_LOCK_MS, for this process. */
void profile_set_lock_ms(uint64_t ms);
/* Unlocks and frees, clears the keys; NULL is fine. */
void profile_close(struct profile *profile);
/* Keys and settings, keys first. Not of a person. */
KLUIS_MUST_CHECK int profile_save(const struct profile *profile, struct err *e);
KLUIS_MUST_CHECK int profile_save_settings(const struct profile *profile, struct err *e);
/* The cluster took the enrolment. */
KLUIS_MUST_CHECK int profile_set_enrolled(struct profile *profile, struct err *e);
/* A restored cluster's lineage, accepted by the user. */
KLUIS_MUST_CHECK int profile_set_lineage(
	struct profile *profile, const uint8_t lineage[ID_BYTES], struct err *e);

/* A framed file below the directory: magic, version, kind, payload, SHA-256. Written whole, durably
 * and 0600. */
KLUIS_MUST_CHECK int profile_write(const struct profile *profile, const char *name,
	enum profile_kind kind, struct bytes payload, struct err *e);
/* Appends the payload. KLUIS_ENOTFOUND; KLUIS_EVERSION; KLUIS_ECORRUPT for any changed byte. */
KLUIS_MUST_CHECK int profile_read(const struct profile *profile, const char *name,
	enum profile_kind kind, size_t max, struct buf *ret_payload, struct err *e);
/* A missing file is success. */
KLUIS_MUST_CHECK int profile_remove(const struct profile *profile, const char *name, struct err *e);
/* dir/name; the caller frees it. */
char *profile_path(const struct profile *profile, const char *name);
KLUIS_MUST_CHECK int profile_make_dir(
	const struct profile *profile, const char *name, struct err *e);
/* The ids that directories below one are named by, in a new array; a missing one has none. */
KLUIS_MUST_CHECK int profile_ids(const struct profile *profile, const char *name,
	uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e);

/* One key within a file: lp16 of its private encoding. KLUIS_ECORRUPT, KLUIS_EINVAL. */
void profile_put_key(struct buf *to, const struct key *key);
KLUIS_MUST_CHECK int profile_take_key(
	struct wire *w, unsigned alg, struct key **ret_key, struct err *e);

/* The frame alone, for tests and fuzzing. */
void profile_frame(enum profile_kind kind, struct bytes payload, struct buf *to);
KLUIS_MUST_CHECK int profile_unframe(
	struct bytes file, enum profile_kind kind, struct bytes *ret_payload, struct err *e);
/* The parts of `keys` and settings.json, into a zeroed profile that profile_close() frees. */
KLUIS_MUST_CHECK int profile_parse_keys(
	struct profile *profile, struct bytes payload, struct err *e);
KLUIS_MUST_CHECK int profile_parse_settings(
	struct profile *profile, struct bytes text, struct err *e);

#endif
