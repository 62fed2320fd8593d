/* A person's account, from registration to deletion: the blocking flows of CRYPTO formats 3 to 8 on
 * a struct client and the profile of a person (cli/client/person.h). Nothing here asks anybody
 * anything: passwords, codes and names are given. One thread for one profile.
 *
 * The order of use: person_make() and account_register(); or, on another device, person_make(),
 * account_login(), perhaps account_verify(), account_unlock(), account_device_add(), and on
 * the first device account_device_approve(), after which account_device_begin() makes the new one
 * a device that signs. Later: profile_open() and account_login(), account_unlock().
 *
 * Errors beyond those of client_call(): KLUIS_EVERIFY when the cluster's answer does not prove what
 * it must (M2, token_mac, a keyring or a chain that does not verify), KLUIS_EPIN when it shows
 * something older or other than this profile has seen, KLUIS_EPROTO. */
#ifndef KLUIS_CLI_CLIENT_ACCOUNT_H
#define KLUIS_CLI_CLIENT_ACCOUNT_H

#include "cli/client/person.h"
#include "cli/client/vault.h"
#include "crypto/password.h"
#include "crypto/recovery.h"
#include "crypto/srp.h"

enum {
	ACCOUNT_MFA_MAX = 16,
	ACCOUNT_METHOD_CHARS_MAX = 15,
	ACCOUNT_DEVICES_MAX = IDENTITY_DEVICES_MAX,
	ACCOUNT_SESSIONS_MAX = 65536,
};

/* What a new password brought beyond the keys of the keyring. */
struct account_new_keys {
	bool signing;	 /* Another signing key. */
	bool rsa;	 /* The RSA transfer key. */
	size_t n_vaults; /* Vaults that have another key for what is written from now on. */
	size_t n_left;	 /* ... and those that have not, for want of room. */
	size_t n_shared; /* Others are in these: an admin re-keys them for all (share_remove()). */
};
/* How a new password is stretched, and of which kinds new keys are. Zeroed: as the cluster asks for
 * it. */
struct account_terms {
	uint32_t login_count; /* N_L, N_K = 2 N_L; 0: a second's worth on this machine. */
	bool no_account_key;
	struct suites suites; /* 0 in a field: what the cluster asks for. */
	bool new_keys;	      /* account_passwd(): see there. */
	bool rsa_key; /* account_register() and account_passwd(): an RSA-4096 transfer key, too. */
	struct account_new_keys *made; /* Set by account_passwd(); NULL: not asked. */
};

/* Passwords are as typed: prepared and, when new, checked here (KLUIS_EINVAL says what is wrong).
 */
struct account_registration {
	struct bytes password;
	const char *device_name;
	const char *invite; /* NULL: none. */
	struct account_terms terms;
};
/* Registers the user of a profile that person_make() made, and signs in: afterwards the profile is
 * stored and unlocked, this device is enrolled, and the client has a session of it. *ret_code: the
 * recovery code (recovery_text() shows it), to be shown once; it is set as soon as the account is
 * there, also when what follows fails. profile->person->account_key belongs on the emergency sheet,
 * too. After a lost answer call it again on the same profile: the same account is asked for once
 * more, its keys are never thrown away, and *ret_code is a new one. KLUIS_ECONFLICT: the name is
 * taken. KLUIS_EFORBIDDEN: registration is closed, or not without a good invitation. An RSA key and
 * the password take seconds. */
KLUIS_MUST_CHECK int account_register(struct profile *profile, struct client *client,
	const struct account_registration *registration, struct secret *ret_code, struct err *e);

/* What signing in came to. account_login_release() clears it. */
struct account_login {
	bool full;	  /* No second factor is asked for, or it was given. */
	bool device;	  /* The session is this device's: it can sign. */
	size_t n_methods; /* Second factors that would do: "totp", "hotp", "fido2" ... */
	char methods[ACCOUNT_MFA_MAX][ACCOUNT_METHOD_CHARS_MAX + 1];
	uint64_t expires_ms;
	uint8_t kdf[KDF_BYTES];
	struct secret root; /* R: for account_unlock(). */
	/* Why the change of keys that account_passwd() began could not be finished by
	 * account_unlock() either; code 0: there is none to finish. */
	struct err unfinished;
};
void account_login_release(struct account_login *login);

/* SRP-6a. M2 and token_mac are checked before the token goes into the client. account_key: of this
 * account when the profile has none yet (then it is kept), else empty. A profile that knows this
 * device's keys signs in as this device: by this password, or because profile->device is there
 * already (account_unlock_offline() by an older password, or a key_held()). KLUIS_EUNAUTHENTICATED:
 * user or password is wrong. KLUIS_EINVAL: the account key is needed. KLUIS_EPIN: PBKDF2 counts
 * below those pinned, or the account key left out though there is one. */
KLUIS_MUST_CHECK int account_login(struct profile *profile, struct client *client,
	struct bytes password, struct bytes account_key, struct account_login *ret_login,
	struct err *e);
/* The first of its methods that is a code, "totp" or "hotp"; NULL: none is. */
const char *account_code_method(const struct account_login *login);
/* A proof of a second factor (mfa_proof of docs/openapi.yaml), which is dropped here.
 * KLUIS_EUNAUTHENTICATED: wrong; KLUIS_ERATE: wait. Sets login->full. */
KLUIS_MUST_CHECK int account_verify(
	struct client *client, json_t *proof, struct account_login *login, struct err *e);
/* The same with a code: method "totp" or "hotp". */
KLUIS_MUST_CHECK int account_verify_code(struct client *client, const char *method,
	const char *code, struct account_login *login, struct err *e);
/* After a full login: fetches, verifies and opens keyring and identity chain, pins and stores them,
 * and unlocks the profile. A device that was enrolled but signed in without its key (the password
 * was changed on another one) gets its session here. KLUIS_EMFA: the login is not full, yet or, by
 * that session, any more: then a factor is to be proven for it (login->full), and all else is done.
 */
KLUIS_MUST_CHECK int account_unlock(
	struct profile *profile, struct client *client, struct account_login *login, struct err *e);
/* Without the cluster: opens what this profile last knew by the password. KLUIS_EVERIFY: another
 * password; KLUIS_ENOTFOUND: it was never unlocked here. */
KLUIS_MUST_CHECK int account_unlock_offline(
	struct profile *profile, struct bytes password, struct err *e);
/* An unlocked profile, at the begin of a command: brings identity chain and keyring to what the
 * cluster has, verified against what was pinned. */
KLUIS_MUST_CHECK int account_refresh(struct profile *profile, struct client *client, struct err *e);
/* Ends the session at the cluster; the profile is locked. */
KLUIS_MUST_CHECK int account_logout(struct profile *profile, struct client *client, struct err *e);

/* Puts entries into the keyring at the cluster: again from its newest object when another device
 * was first. Unlocked, full session. */
KLUIS_MUST_CHECK int account_put_entries(struct profile *profile, struct client *client,
	const struct ring_change *changes, size_t n, struct err *e);

/* The same with the keys of KeyPackets (see struct ring). KLUIS_ECONFLICT: another key of an epoch
 * is held. */
KLUIS_MUST_CHECK int account_take_packets(struct profile *profile, struct client *client,
	const struct ring_packet *packets, size_t n, struct err *e);

/* A new password: new KRK and recovery code, everything sealed anew, all in one command; all other
 * sessions end. The profile was unlocked in this process by a fresh account_login() and
 * account_unlock() with the old password. A device slot or authenticator slot of the old keyring is
 * dropped: who used it signs in with the new password. terms: counts below the old ones are raised
 * to them. With terms->new_keys, or when a device was revoked since the signing key was made, that
 * key is new as well, and each vault has one more for what is written from now on; when only that
 * does not get through the error says so, and the next account_unlock() of an enrolled device goes
 * on with it. KLUIS_EUNKNOWN_OUTCOME: the answer was lost and the cluster cannot be asked; then
 * *ret_code is set as well, for it may be the one that counts now, as the new password. */
KLUIS_MUST_CHECK int account_passwd(struct profile *profile, struct client *client,
	struct bytes password, const struct account_terms *terms, struct secret *ret_code,
	struct err *e);

/* The code instead of a password: a session of kind recovery, see login->full and methods. The
 * user's name is the profile's. KLUIS_EUNAUTHENTICATED: no such user or code. */
KLUIS_MUST_CHECK int account_recover(struct profile *profile, struct client *client,
	struct bytes code, struct account_login *ret_login, struct err *e);
/* With a full session of account_recover(): opens the keyring by the code and sets a new password,
 * code and KRK. The recovery session ends by it: account_login() with the new password is next.
 * KLUIS_EFORBIDDEN: the operator's delay is not over; the text says how long.
 * KLUIS_EUNKNOWN_OUTCOME: as account_passwd(). */
KLUIS_MUST_CHECK int account_recover_finish(struct profile *profile, struct client *client,
	struct bytes code, struct bytes password, const struct account_terms *terms,
	struct secret *ret_code, struct err *e);

/* Devices. */
enum account_device_state { ACCOUNT_DEVICE_ACTIVE, ACCOUNT_DEVICE_PENDING, ACCOUNT_DEVICE_REVOKED };
struct account_device {
	uint8_t device_id[ID_BYTES];
	char name[IDENTITY_DEVICE_NAME_BYTES_MAX + 1];
	uint8_t kid[KID_BYTES]; /* Of the key it signs with: what an id, once approved, stands for.
				 */
	enum account_device_state state;
	bool mine;	      /* This one. */
	struct buf statement; /* Pending: what asks to be approved; verified. */
};
void account_devices_free(struct account_device *devices, size_t n); /* NULL is fine. */
/* All, in a new array. Names and states come from the verified chain; pending ones are those whose
 * statement this user's key signed: the cluster can invent none. */
KLUIS_MUST_CHECK int account_devices(struct profile *profile, struct client *client,
	struct account_device **ret_devices, size_t *ret_n, struct err *e);
/* With a full session of account_recover(), before it ends: as account_devices(), with the chain
 * held against the keyring that the code opens; the profile (locked) stays as it was. What an owner
 * who was robbed has to look at. KLUIS_EFORBIDDEN: the operator's delay is not over. */
KLUIS_MUST_CHECK int account_recover_devices(struct profile *profile, struct client *client,
	struct bytes code, struct account_device **ret_devices, size_t *ret_n, struct err *e);
/* Asks for this device to be added: makes its keys, or takes those it made before. *ret_state:
 * active at once when no other device is; else it waits for approval, an hour at most. */
KLUIS_MUST_CHECK int account_device_add(struct profile *profile, struct client *client,
	const char *name, enum account_device_state *ret_state, struct err *e);
/* After approval: takes the chain that has this device, and makes the session one of it; with a
 * second factor it is to be proven for this session, too (KLUIS_EMFA until then). KLUIS_EAGAIN: not
 * approved yet. */
KLUIS_MUST_CHECK int account_device_begin(
	struct profile *profile, struct client *client, struct err *e);
/* From an enrolled device, unlocked in this process or with an agent that signs. kid: of the key
 * that the user compared. KLUIS_ENOTFOUND: no such device waits. KLUIS_EVERIFY: it has another key.
 */
KLUIS_MUST_CHECK int account_device_approve(struct profile *profile, struct client *client,
	const uint8_t device_id[ID_BYTES], const uint8_t kid[KID_BYTES], struct err *e);
/* A vault that a revocation cannot vouch for as the cluster has it; or a group or a conversation
 * whose members the device does not stop changing. */
struct account_unvouched {
	const uint8_t *id;
	unsigned kind;			     /* MEMBER_OBJECT_VAULT ... */
	char name[VAULT_NAME_BYTES_MAX + 1]; /* The id in hex, when the name is not known. */
	uint64_t seq; /* This profile's pin is vouched for instead; 0: it has none. */
	const struct err *why;
};
struct account_revocation {
	/* Whether to revoke all the same: what the device wrote after the pin, and the vault itself
	 * when that device made it and there is no pin, is lost unless another device wrote after
	 * it. */
	bool (*leave_out)(void *arg, const struct account_unvouched *vault);
	void *arg;
};
/* Revokes a device: its sessions end, and what it signs from now on counts nowhere. Of each vault
 * in the keyring or the profile the last head that it signed is vouched for, after syncing: a
 * revocation is made once. While the device writes or changes members in between the cluster
 * refuses it, and it is made anew a few times, after the device's sessions were ended; then what it
 * goes on with is to be left out (KLUIS_EPRECONDITION). revocation NULL: no vault is left out, the
 * error of the first that would have to be is returned. KLUIS_ETOOLARGE: it signed more than 33,000
 * heads and changes of members that last. Unlocked. */
KLUIS_MUST_CHECK int account_device_revoke(struct profile *profile, struct client *client,
	const uint8_t device_id[ID_BYTES], const struct account_revocation *revocation,
	struct err *e);

/* The rest of the account as the node describes it: JSON of docs/openapi.yaml for a program to
 * show, unverified. The caller drops the value. */
KLUIS_MUST_CHECK int account_show(struct client *client, json_t **ret_object, struct err *e);
KLUIS_MUST_CHECK int account_sessions(struct client *client, json_t **ret_items, struct err *e);
/* All that the cluster keeps of the person but pages and sessions, sealed as it is. */
KLUIS_MUST_CHECK int account_export(struct client *client, json_t **ret_object, struct err *e);
/* id: as account_sessions() names it. */
KLUIS_MUST_CHECK int account_session_end(struct client *client, const char *id, struct err *e);
/* The RSA key (account_terms.rsa_key) counts no more: others give by the one of a curve again. What
 * was given by it opens as before, until account_passwd() puts another in its place. Unlocked.
 * KLUIS_ENOTFOUND: there is none. */
KLUIS_MUST_CHECK int account_revoke_rsa(
	struct profile *profile, struct client *client, struct err *e);
/* Another policy (IDENTITY_POLICY_*), by a statement of the user's key. Unlocked. */
KLUIS_MUST_CHECK int account_policy(
	struct profile *profile, struct client *client, uint32_t flags, struct err *e);
/* The account and all of it, for good. KLUIS_EFORBIDDEN: sign in again, it takes a session of the
 * last five minutes. */
KLUIS_MUST_CHECK int account_delete(struct client *client, struct err *e);

#endif
