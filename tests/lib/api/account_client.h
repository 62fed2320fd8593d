/* A person as her own client sees herself: what a registration sends, SRP's other half, the keyring
 * and its recovery code; with real keys, but no PBKDF2, whose result is made up. */
#ifndef KLUIS_TESTS_LIB_API_ACCOUNT_CLIENT_H
#define KLUIS_TESTS_LIB_API_ACCOUNT_CLIENT_H

#include "crypto/keyring.h"
#include "crypto/recovery.h"
#include "crypto/srp.h"
#include "tests/lib/api/node.h"

struct account_client {
	struct person person; /* Name, ids, keys, statements. */
	uint8_t cluster_id[16];
	unsigned group;
	uint8_t salt[SRP_SALT_BYTES], kdf[KDF_BYTES];
	uint8_t password[64]; /* P_srp. */
	uint8_t share[32], slot_id[16], kek[KEYRING_KEK_BYTES];
	struct secret code; /* Of recovery. */
	struct recovery recovery;
	struct keyring keyring;
	struct buf keyring_object; /* As last made. */
};

/* A new person for this node: keys, statements, a first keyring. Fails the test on error. */
void account_client_init(struct account_client *c, struct api_node *node, const char *name);
/* ... with a user id that she chose. */
void account_client_init_as(
	struct account_client *c, struct api_node *node, const char *name, const uint8_t *user_id);
/* Before she registers: her password goes with an account key. */
void account_client_use_account_key(struct account_client *c);
void account_client_release(struct account_client *c);
/* Appends the body of POST /v1/register; invite may be NULL. */
void account_client_registration(struct account_client *c, const char *invite, struct buf *to);
/* Appends the members srp, kdf, recovery and keyring of that and of POST /v1/password. */
void account_client_credentials(const struct account_client *c, struct buf *to);
/* The next keyring under another password, slots and code; members of POST /v1/password appended.
 */
void account_client_change(struct account_client *c, struct buf *to);
/* How tests of the API begin, after api_node_prepare(): runs the node, makes alice, connects, and
 * registers her unless a test does. The end takes all three down. */
void account_client_begin(struct account_client *alice, struct api_node *node,
	struct http_client *http, bool registered);
void account_client_end(
	struct account_client *alice, struct api_node *node, struct http_client *http);
/* Registers; fails the test on anything but 202. */
void account_client_register(struct account_client *c, struct http_client *http);
/* Sends login/start; the answer is the caller's. *ret_srp: the client's half. */
struct answer account_client_start(
	struct account_client *c, struct http_client *http, struct srp_client **ret_srp);
/* M1 for a start that was answered 200; also without such a user. */
void account_client_m1(struct account_client *c, struct srp_client *srp, struct answer *start,
	uint8_t ret_m1[SRP_PROOF_BYTES]);
/* The body of login/finish, with the device's proof unless device is NULL. */
void account_client_finish_body(struct account_client *c, struct answer *start,
	const uint8_t m1[SRP_PROOF_BYTES], const struct key *device, struct buf *to);
/* Both halves; http->token is set when it worked. Checks M2 and token_mac. The answer of finish. */
struct answer account_client_login(
	struct account_client *c, struct http_client *http, bool with_device);
/* recovery/start and /finish by the code; http->token is set. The answer of finish. */
struct answer account_client_recover(struct account_client *c, struct http_client *http);

#endif
