/* Commands of persons and their sessions: bodies as they stand in struct command
 * (docs/format-commands.md section 5). Feature level 3. Whatever is secret was sealed before it
 * became part of one: a log is no guessing oracle. Passwords, codes, assertions and signatures are
 * checked where a request enters; all that can change between sites is checked again in apply.
 * Included by raft/command.h. */
#ifndef KLUIS_RAFT_COMMAND_PERSON_H
#define KLUIS_RAFT_COMMAND_PERSON_H

#include "storage/access_store.h"
#include "storage/guard_store.h"
#include "storage/invite_store.h"
#include "storage/keyring_store.h"
#include "storage/mfa_store.h"
#include "storage/pending_store.h"
#include "storage/person_store.h"

/* Who asks, over a session: checked again in apply at the entry's own cluster time. */
struct command_session {
	uint8_t token_hash[32]; /* SHA-256 of the bearer token. */
};

/* Idempotency of a creating request: key empty means none. Kept per (principal, route, key). */
struct command_once {
	struct bytes key;
	uint8_t body_hash[32];
};

/* One share for one slot of type 1 or 4 of the keyring that comes with it. */
struct command_share {
	uint8_t slot_id[16];
	uint8_t share[UNLOCK_SEALED_BYTES]; /* seal(pepper, user_id | "unlock" | slot_id, share32).
					     */
};
/* What proves a person, at registration and after a change of the password. */
struct command_credentials {
	uint8_t group;		      /* SRP_GROUP_2048 .. SRP_GROUP_6144 */
	uint8_t salt[SRP_SALT_BYTES]; /* s of SRP. */
	uint8_t kdf[KDF_BYTES];	      /* Held against form and floors again in apply. */
	uint8_t pepper_id;	      /* Of all that is sealed here. */
	struct bytes verifier;	      /* seal(pepper, user_id | "v", PAD v): len N + 64. */
	uint8_t recovery_key[RECOVERY_KEY_BYTES];
	uint8_t n_shares; /* 1 .. UNLOCK_SHARES_MAX, slot ids strictly ascending. */
	struct command_share share[UNLOCK_SHARES_MAX];
};

/* A person comes in. Name and user id are free, also among service accounts; genesis (seq 1, of
 * that name) and device-add (seq 2) are of one chain; keyring: revision 1, prev_hash zero, owner
 * user_id, its slots of type 1 and 4 are exactly those of the shares, one of type 1 and one of
 * type 2. invite: empty or the token's hash (32), spent here. The same statements and keyring again
 * are success. Reply: id user, second_id device. KLUIS_EEXIST (name, id), KLUIS_EFORBIDDEN (invite
 * unknown, spent or expired), KLUIS_EINVAL. */
struct command_person_register {
	struct bytes name;
	struct bytes invite;
	struct command_credentials credentials;
	struct bytes identity, device, keyring;
};

/* SRP succeeded: a session. device_id is not zero if and only if device_sig was given and is right:
 * a claim alone makes no session of a device. KLUIS_ERATE while the guard (GUARD_DEVICE of the
 * device, else GUARD_PASSWORD of the user, where the password goes without an account key) holds,
 * the same for a right and a wrong password; KLUIS_EUNAUTHENTICATED when the user is nobody or
 * disabled, the device is revoked or of somebody else, or the password has changed since the
 * handshake began. Clears the guard. Reply: id session, number expires_ms, level: SESSION_FULL, or
 * SESSION_LOGIN while a second factor is outstanding. When the account takes no login from there
 * (elsewhere, or its policy asks for a device): counted like a wrong password, no session, level 0.
 * The same token again is success. */
struct command_person_login {
	uint8_t user_id[16];
	uint8_t device_id[16]; /* Zero: none. */
	uint64_t credential;   /* person_row.credential as the handshake saw it. */
	uint8_t token_hash[32];
	uint32_t ttl_ms; /* 1 .. SESSION_MS_MAX */
	bool elsewhere;	 /* The node saw that its networks or places refuse it. */
};
/* A wrong M1, or a failure of an unknown user. KLUIS_ERATE while the guard holds: it counts nothing
 * then. Else 0 with reply: number = blocked_until_ms (0: not yet). */
struct command_login_failed {
	uint8_t kind; /* GUARD_PASSWORD, GUARD_DEVICE */
	/* User id, or the one made up for the name; the device's for GUARD_DEVICE. */
	uint8_t id[16];
	uint8_t user_id[16]; /* Of GUARD_DEVICE: whose device; else as id. */
};
/* A right code or assertion: the number it carries (TOTP step, HOTP counter, signCount) is spent
 * on all sites together. The session rises: SESSION_LOGIN to SESSION_FULL, SESSION_RECOVERY_LOGIN
 * to SESSION_RECOVERY, whose clock starts here; it lives for ttl_ms from now on. Its factor is the
 * session user's and not pending. KLUIS_ERATE (guard), KLUIS_EUNAUTHENTICATED (the number was
 * spent), KLUIS_ENOTFOUND (no such factor). Reply: level. */
struct command_session_upgrade {
	struct command_session session;
	uint8_t mfa_id[16];
	uint64_t number;
	uint32_t ttl_ms, delay_ms; /* As in recovery_begin; delay_ms: of a recovery. */
};
/* A wrong code. As login_failed, GUARD_CODE of the session's user. */
struct command_code_failed {
	struct command_session session;
};

/* The next keyring: revision = stored + 1 with a matching prev_hash (KLUIS_EPRECONDITION); the
 * stored one again is success. Needs a device, for its KRK is nobody else's to write. Reply: number
 * revision, hash SHA-256 of the object. */
struct command_keyring_put {
	struct command_session session;
	struct bytes keyring;
};
/* New password: all of it in one command. From a full session with a device, or from a recovery's
 * session whose delay is over (KLUIS_EFORBIDDEN before): then the recovery and its session end, and
 * person_row.recovered_until_ms opens. All other sessions end, guards and old shares go. keyring as
 * for keyring_put, slots as for person_register. Reply as keyring_put. */
struct command_password_change {
	struct command_session session;
	struct command_credentials credentials;
	struct bytes keyring;
};

/* The recovery key signed the challenge, which nobody guesses: there is no guard. A session of
 * SESSION_RECOVERY_LOGIN, or SESSION_RECOVERY when there is no second factor, without a device. All
 * of it proven, its work begins after delay_ms; a recovery that is under way then gives way, and
 * while its session lives its clock goes on. KLUIS_EUNAUTHENTICATED (nobody, disabled, or the
 * recovery key has changed: credential). Reply: id session, number expires_ms, level. */
struct command_recovery_begin {
	uint8_t user_id[16];
	uint64_t credential;
	uint8_t token_hash[32];
	uint32_t ttl_ms, delay_ms; /* delay_ms < ttl_ms <= SESSION_MS_MAX */
	bool elsewhere;		   /* As in person_login: no session, level 0, a row in the log. */
};
/* The owner stops it, from any full session: all sessions of recoveries end. KLUIS_ENOTFOUND: none.
 */
struct command_recovery_cancel {
	struct command_session session;
};

/* A proof by a factor that the user has, fresh for this command: spent as in session_upgrade. */
struct command_proof {
	bool given;
	uint8_t mfa_id[16];
	uint64_t number;
};
/* A new second factor: TOTP, HOTP and FIDO2 are pending until mfa_confirm, networks and places
 * count at once. Where the user has one that counts, proof is needed. KLUIS_EMFA (no proof),
 * KLUIS_EQUOTA, KLUIS_EEXIST (mfa_id). Reply: id mfa_id, number expires_ms (0: not pending). */
struct command_mfa_add {
	struct command_session session;
	uint8_t mfa_id[16];
	uint8_t method;	     /* enum mfa_method */
	uint8_t pepper_id;   /* Of secret. */
	struct bytes secret; /* Sealed; empty: none. MFA_SECRET_BYTES_MAX */
	struct bytes params; /* MFA_PARAMS_BYTES_MAX, the node's own format. */
	struct bytes label;  /* UTF-8, MFA_LABEL_BYTES_MAX */
	uint64_t next;	     /* The lowest number to be accepted: HOTP's first counter. */
	struct command_proof proof;
};
/* The first code or assertion of a pending one was right. KLUIS_ENOTFOUND, KLUIS_EUNAUTHENTICATED
 * (number spent), KLUIS_ECONFLICT (not pending). */
struct command_mfa_confirm {
	struct command_session session;
	uint8_t mfa_id[16];
	uint64_t number;
};
/* proof is needed unless it is pending, or no factor of the user counts. */
struct command_mfa_remove {
	struct command_session session;
	uint8_t mfa_id[16];
	struct command_proof proof;
};

/* A session without a device asks for one: the keys of its device-add statement wait for approval,
 * which is an identity_append by a session that may (KLUIS_EQUOTA beyond PENDING_DEVICES_MAX,
 * KLUIS_EEXIST for an id that was used). The same keys again are success. Reply: id device, number
 * expires_ms. */
struct command_device_pend {
	struct command_session session;
	struct bytes statement;
};
/* The owner says no. KLUIS_ENOTFOUND. */
struct command_device_refuse {
	struct command_session session;
	uint8_t device_id[16];
};

/* Deletes the account: session of full level, not older than FRESH_LOGIN_MS (so that a factor that
 * counts was proven within it, too), and of a device unless none is left (KLUIS_EFORBIDDEN). */
struct command_account_delete {
	struct command_session session;
};

/* KLUIS_EEXIST when the hash is there already. Reply: number expires_ms. */
struct command_invite_create {
	struct bytes actor;
	uint8_t token_hash[32];
	uint32_t uses;	 /* 1 .. INVITE_USES_MAX */
	uint32_t ttl_ms; /* 1 .. SESSION_MS_MAX */
	struct bytes note;
};
struct command_invite_delete {
	struct bytes actor;
	uint8_t token_hash[32];
};

/* An operator's word on a person. KLUIS_ENOTFOUND, KLUIS_EGONE (deleted). Disabling ends the
 * sessions; doing what is done already is success. */
enum {
	PERSON_DISABLE = 1,
	PERSON_ENABLE = 2,
	PERSON_DELETE = 3,
	PERSON_END_SESSIONS = 4,
	PERSON_MFA_RESET = 5, /* All second factors and lists go; the sessions end. */
};
struct command_person_rule {
	struct bytes actor, name;
	uint8_t what;
};
struct command_person_quota {
	struct bytes actor, name;
	uint32_t vaults_max, pages_max;	   /* PERSON_VAULTS_MAX; pages of one vault. 0: none. */
	uint64_t bytes_max, all_pages_max; /* Of all vaults together. 0: the policy's. */
};

/* A read that the owner shall find in the log: ACCESS_UNLOCKED, ACCESS_EXPORTED alone. */
struct command_access_note {
	struct command_session session;
	uint8_t event;
	uint8_t object[16]; /* Slot id; zero: none. */
};

/* What a node's settings ask of accounts (storage/policy_store.h): of all that were announced the
 * strictest is in force. KLUIS_ENOTFOUND: no such node. */
struct command_policy_announce {
	uint64_t node;
	uint8_t registration;	    /* enum policy_registration */
	uint32_t recovery_delay_ms; /* To SESSION_MS_MAX. */
	uint64_t bytes_max, pages_max;
};

/* The holder of a session has shown the key of a device of hers: the session goes on under another
 * token as that device's, with its level, age and end; the old token ends. Not of a recovery
 * (KLUIS_EFORBIDDEN). KLUIS_EUNAUTHENTICATED: no such session, or device. Reply as session_create;
 * the same token again is success. */
struct command_session_device {
	struct command_session session;
	uint8_t device_id[16], token_hash[32];
};

#endif
