/* libkluis for persons: accounts whose keys lie in a keyring under a password. kluis.h works on
 * such a profile as on a service account's once it is unlocked, by a password (kluis_login(),
 * kluis_unlock_offline()) or by the agent of `kluis login` (kluis_unlock_by_agent()).
 *
 * Ownership, threads and errors: as kluis.h. Until a profile is unlocked, what needs its keys is
 * KLUIS_NOT_SIGNED_IN, and so is everything once the session has ended (a changed password, an
 * ended device): sign in again. A device that was not approved yet reads and does not write.
 *
 * Each call on a vault first brings keyring and identity chain to what the cluster has, verified
 * against what this profile and the user's other devices have seen. kluis_settle() tells those what
 * was seen here. */
#ifndef KLUIS_ACCOUNT_H
#define KLUIS_ACCOUNT_H

#include "kluis.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	KLUIS_CODE_TEXT_BYTES = 68, /* A recovery code or an account key as text, with NUL. */
	KLUIS_DEVICE_NAME_BYTES = 65,
	KLUIS_FACTOR_ID_BYTES = 33,
	KLUIS_METHOD_BYTES = 16,
	KLUIS_AUTH_DATA_BYTES = 2048,
	KLUIS_KEY_SIGNATURE_BYTES = 72,
	KLUIS_SAFETY_NUMBER_BYTES = 72, /* With NUL. */
};

enum kluis_secret {
	KLUIS_SECRET_PASSWORD,
	KLUIS_SECRET_NEW_PASSWORD,
	KLUIS_SECRET_ACCOUNT_KEY, /* On a device's first login; 0 bytes: the account has none. */
	KLUIS_SECRET_FACTOR,	  /* A code of a second factor. */
	KLUIS_SECRET_RECOVERY_CODE,
};
/* Asks for a secret: writes at most max bytes to `to`, without NUL, and returns how many; below 0:
 * it is not to be had, and the call ends in KLUIS_NOT_SIGNED_IN. `to` is cleared afterwards.
 * method: of a second factor ("totp", "hotp"), else NULL. */
typedef int kluis_ask_fn(
	void *arg, enum kluis_secret which, const char *method, char *to, size_t max);
/* Shows a new recovery code or account key, once: for paper, not for a disk. Also called before a
 * call fails when what is shown counts, or may (KLUIS_OUTCOME_UNKNOWN). text: until it returns. */
typedef void kluis_show_fn(void *arg, enum kluis_secret which, const char *text);

struct kluis_person {
	const char *profile_dir, *user;
	const char *device_name;      /* NULL: "device". */
	const char *const *endpoints; /* "https://host:port" */
	size_t n_endpoints;
	const char *ca_pem; /* The provider CA, got from the operator; it alone is trusted. */
	size_t ca_pem_len;
	const char *invite; /* kluis_register(): NULL without one. */
	int no_account_key; /* kluis_register(): the password alone keeps thieves of the cluster's
			       data out. */
	kluis_ask_fn *ask;
	kluis_show_fn *show;
	void *arg; /* Of both. */
};
/* Makes an account, with a new profile, and signs in; *ret_kluis is unlocked. Asks for
 * NEW_PASSWORD, shows the recovery code and the account key. After a lost answer call it again with
 * the same directory, name and password. KLUIS_CONFLICT: the name is taken; KLUIS_FORBIDDEN: not
 * without a good invitation. */
KLUIS_API int kluis_register(
	const struct kluis_person *person, struct kluis **ret_kluis, struct kluis_failure *error);
/* A new profile for an account that is there: of a new device, or to recover. Locked; nothing is
 * stored before kluis_login() or kluis_recover() succeeds. KLUIS_EXISTS: kluis_open() it. */
KLUIS_API int kluis_join(
	const struct kluis_person *person, struct kluis **ret_kluis, struct kluis_failure *error);
/* Who is asked and shown things by the calls below; kluis_open() knows nobody. */
KLUIS_API_FREE void kluis_set_asking(
	struct kluis *kluis, kluis_ask_fn *ask, kluis_show_fn *show, void *arg);

/* Signs in and unlocks: asks for PASSWORD, on a device's first time for ACCOUNT_KEY, and, where the
 * account has one, for a code of a second FACTOR, three times at the most. KLUIS_NOT_SIGNED_IN:
 * something of these was wrong. KLUIS_PIN_BROKEN, KLUIS_NOT_VERIFIED: do not go on. */
KLUIS_API int kluis_login(struct kluis *kluis, struct kluis_failure *error);
/* With the keys and the session of the profile's agent, which `kluis login` unlocked. */
KLUIS_API int kluis_unlock_by_agent(struct kluis *kluis, struct kluis_failure *error);
/* Without the cluster: asks for PASSWORD, which opens what this profile last knew, for reading
 * after kluis_set_offline(). KLUIS_NOT_VERIFIED: it is another one. */
KLUIS_API int kluis_unlock_offline(struct kluis *kluis, struct kluis_failure *error);
KLUIS_API_FREE int kluis_is_unlocked(const struct kluis *kluis);
/* Puts what was seen of the vaults into the keyring, so that no other device of the user can be
 * shown less. kluis_close() does it as well, for whoever has no use for its outcome. */
KLUIS_API int kluis_settle(struct kluis *kluis, struct kluis_failure *error);
/* Ends the session and forgets the keys. */
KLUIS_API int kluis_logout(struct kluis *kluis, struct kluis_failure *error);

/* A new password, right after kluis_login() in this handle: asks for NEW_PASSWORD, shows the new
 * recovery code; the old one is worth nothing then, and all other sessions end. */
KLUIS_API int kluis_passwd(struct kluis *kluis, struct kluis_failure *error);
/* By RECOVERY_CODE instead of a password, which it asks for, and a FACTOR where there is one: sets
 * NEW_PASSWORD and shows a new code. Then kluis_login(). */
KLUIS_API int kluis_recover(struct kluis *kluis, struct kluis_failure *error);

/* Devices: names and states as the verified chain has them; of those that wait, as the user's key
 * asked. */
enum kluis_device_state { KLUIS_DEVICE_ACTIVE, KLUIS_DEVICE_PENDING, KLUIS_DEVICE_REVOKED };
struct kluis_device {
	unsigned char id[16];
	unsigned char key[16]; /* Fingerprint of what it signs with: what the user compares. */
	char name[KLUIS_DEVICE_NAME_BYTES];
	enum kluis_device_state state;
	int mine;
};
typedef void kluis_device_fn(void *arg, const struct kluis_device *device);
KLUIS_API int kluis_devices(
	struct kluis *kluis, kluis_device_fn *each, void *arg, struct kluis_failure *error);
/* Asks for this device to be one of the account's, right after kluis_login() in this handle.
 * *ret_state: ACTIVE when no other is there to approve it, else PENDING, for an hour. */
KLUIS_API int kluis_device_add(struct kluis *kluis, const char *name,
	enum kluis_device_state *ret_state, struct kluis_failure *error);
/* Whether it was approved meanwhile: *ret_state ACTIVE, from then on it writes. Asks for a FACTOR
 * where there is one. */
KLUIS_API int kluis_device_begin(
	struct kluis *kluis, enum kluis_device_state *ret_state, struct kluis_failure *error);
/* From an active device, after the user has compared `key`: the device that waits under this id
 * must have that one. KLUIS_NOT_FOUND: none such waits. */
KLUIS_API int kluis_device_approve(struct kluis *kluis, const unsigned char id[16],
	const unsigned char key[16], struct kluis_failure *error);
/* A vault that cannot be vouched for as the cluster has it: its name (or id), and why. Other than
 * 0: revoke all the same, and lose what that device wrote there since this profile looked last. */
typedef int kluis_leave_out_fn(void *arg, const char *vault, const char *why);
/* Its sessions end, and nothing that it signs from now on counts; what it wrote before is vouched
 * for, in all vaults of the account. leave_out NULL: none is left out, the call fails instead. */
KLUIS_API int kluis_device_revoke(struct kluis *kluis, const unsigned char id[16],
	kluis_leave_out_fn *leave_out, void *arg, struct kluis_failure *error);

/* Second factors, as the cluster says: they keep out who has the password alone, and no key depends
 * on them. */
struct kluis_factor {
	char id[KLUIS_FACTOR_ID_BYTES], method[KLUIS_METHOD_BYTES];
	const char *label;
	uint64_t created_ms;
	int pending; /* Does not count before kluis_factor_confirm(). */
};
typedef void kluis_factor_fn(void *arg, const struct kluis_factor *factor);
KLUIS_API int kluis_factors(
	struct kluis *kluis, kluis_factor_fn *each, void *arg, struct kluis_failure *error);
/* Turns on "totp" or "hotp": `take` gets the otpauth:// line for the authenticator, once, and
 * ret_id names the factor, which counts from its first code on. label may be NULL. Asks for a
 * FACTOR where another one counts; where none does it takes a kluis_login() of the last five
 * minutes (KLUIS_FORBIDDEN), or a token that was found somewhere could shut its owner out. */
typedef void kluis_uri_fn(void *arg, const char *uri);
KLUIS_API int kluis_factor_add(struct kluis *kluis, const char *method, const char *label,
	char ret_id[KLUIS_FACTOR_ID_BYTES], kluis_uri_fn *take, void *arg,
	struct kluis_failure *error);
/* Lets logins in from these networks ("ip": "192.0.2.0/24") or places ("location": "NL") alone. As
 * kluis_factor_add(). */
KLUIS_API int kluis_factor_add_places(struct kluis *kluis, const char *method, const char *label,
	const char *const *places, size_t n, char ret_id[KLUIS_FACTOR_ID_BYTES],
	struct kluis_failure *error);
/* By its first code, which is asked for, or its first signature. KLUIS_NOT_SIGNED_IN: it is wrong.
 */
KLUIS_API int kluis_factor_confirm(
	struct kluis *kluis, const char *id, struct kluis_failure *error);
/* Asks for a FACTOR, unless it is pending; where none counts as kluis_factor_add(). */
KLUIS_API int kluis_factor_remove(struct kluis *kluis, const char *id, struct kluis_failure *error);

/* FIDO2 and U2F: the program reaches an authenticator, libkluis has the rest (WebAuthn). From then
 * on each call that asks for a FACTOR has the authenticator asked first where the account has one.
 */
struct kluis_credential {
	const unsigned char *id;
	size_t len;
};
struct kluis_key_request {
	int create; /* A new credential (ES256, not with one of these there), else one of these
		       signs. */
	const char *rp_id, *user;
	unsigned char user_id[16], client_data_hash[32];
	const struct kluis_credential *credentials;
	size_t n_credentials;
};
/* As it was signed (WebAuthn 6.1, not wrapped in CBOR), and the signature (DER), of no use for a
 * new credential. */
struct kluis_key_answer {
	unsigned char auth_data[KLUIS_AUTH_DATA_BYTES], signature[KLUIS_KEY_SIGNATURE_BYTES];
	size_t auth_data_len, signature_len;
};
/* Has the user touch it. Returns 0, or a KLUIS_ code that the call then ends in: KLUIS_NOT_FOUND
 * when none of those is plugged in (a code is asked for instead, if one will do), KLUIS_FORBIDDEN
 * not touched in time, KLUIS_EXISTS it is enrolled already. request: until it returns. */
typedef int kluis_key_fn(
	void *arg, const struct kluis_key_request *request, struct kluis_key_answer *ret_answer);
/* NULL: none, as at first. */
KLUIS_API_FREE void kluis_set_authenticator(struct kluis *kluis, kluis_key_fn *key, void *arg);
/* Makes a credential, which counts from kluis_factor_confirm() on. Otherwise as kluis_factor_add().
 */
KLUIS_API int kluis_factor_add_key(struct kluis *kluis, const char *label,
	char ret_id[KLUIS_FACTOR_ID_BYTES], struct kluis_failure *error);

/* The account as the cluster has it. */
struct kluis_account {
	unsigned char user_id[16];
	const char *user;
	uint64_t created_ms, devices, vaults, pages, keyring_revision;
	int no_web_login, device_only;
};
typedef void kluis_account_fn(void *arg, const struct kluis_account *account);
KLUIS_API int kluis_account_show(
	struct kluis *kluis, kluis_account_fn *take, void *arg, struct kluis_failure *error);
/* Who may sign in: 1, 0, or -1 as it is. From an active device. */
KLUIS_API int kluis_account_policy(
	struct kluis *kluis, int no_web_login, int device_only, struct kluis_failure *error);

/* What it takes, in current pages as stored; of the quotas UINT64_MAX: there is none. Also of a
 * service account. */
struct kluis_usage {
	uint64_t vaults, vaults_max, pages, pages_max, vault_pages_max, bytes, bytes_max,
		staged_bytes, keyring_versions, keyring_bytes;
};
KLUIS_API int kluis_account_usage(
	struct kluis *kluis, struct kluis_usage *ret_usage, struct kluis_failure *error);
/* All that the cluster keeps of the person but pages and sessions, sealed as it is: one JSON
 * document (account_export of docs/openapi.yaml), unverified. The access log tells of it. */
typedef void kluis_document_fn(void *arg, const char *json, size_t len);
KLUIS_API int kluis_account_export(
	struct kluis *kluis, kluis_document_fn *take, void *arg, struct kluis_failure *error);

/* What happened to the account, oldest first. */
struct kluis_access {
	uint64_t time_ms;
	const char *event, *actor, *object; /* "" where there is none. */
};
typedef void kluis_access_fn(void *arg, const struct kluis_access *access);
KLUIS_API int kluis_account_log(
	struct kluis *kluis, kluis_access_fn *each, void *arg, struct kluis_failure *error);
/* Another person: who that name is, by a chain that was verified from its beginning and held
 * against what was compared before. KLUIS_PIN_BROKEN: it is not who was verified;
 * KLUIS_NOT_VERIFIED: that cannot be told, or the cluster shows somebody else. */
struct kluis_contact {
	unsigned char user_id[16];
	char safety_number[KLUIS_SAFETY_NUMBER_BYTES]; /* Both see the same one. */
	int verified; /* That number was compared, by whatever device of the user's. */
	int changed;  /* An earlier one was: since then a key or a device changed. Compare again. */
};
KLUIS_API int kluis_contact(struct kluis *kluis, const char *user,
	struct kluis_contact *ret_contact, struct kluis_failure *error);
/* The two have compared, by voice or in person: `number` is what the other one sees (only digits
 * count). From then on another identity under that name is refused. KLUIS_NOT_VERIFIED: they see
 * different ones. */
KLUIS_API int kluis_contact_verified(
	struct kluis *kluis, const char *user, const char *number, struct kluis_failure *error);

/* The account with all its vaults, on all sites, for good: the name is never given again. Within
 * five minutes of kluis_login(): KLUIS_FORBIDDEN later, and when others are in what nobody else
 * could manage then (vaults, groups, conversations), unless leave_unmanaged says that it stays so.
 */
KLUIS_API int kluis_account_delete(
	struct kluis *kluis, int leave_unmanaged, struct kluis_failure *error);

#ifdef __cplusplus
}
#endif

#endif
