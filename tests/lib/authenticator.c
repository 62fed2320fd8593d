#include "tests/lib/authenticator.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"

enum { UP = 0x01, AT = 0x40, POINT_BYTES = 65 };

void authenticator_init(struct authenticator *a, const char *rp_id, const char *origin)
{
	int rc;

	*a = (struct authenticator){.count = 1,
		.step = 1,
		.flags = UP,
		.rp_id = rp_id,
		.origin = origin,
		.extra = ",\"crossOrigin\":false"};
	a->key = EVP_EC_gen("P-256");
	rc = RAND_bytes(a->id, sizeof a->id);
	assert(a->key != NULL && rc == 1);
	(void)rc;
}

void authenticator_release(struct authenticator *a)
{
	EVP_PKEY_free(a->key);
	a->key = NULL;
}

static void put_client_data(
	const struct authenticator *a, const char *type, struct bytes challenge, struct buf *to)
{
	buf_printf(to, "{\"type\":\"%s\",\"challenge\":\"", type);
	base64_append(to, challenge);
	buf_printf(to, "\",\"origin\":\"%s\"%s}", a->origin, a->extra);
}

/* rpIdHash | flags | signCount */
static void put_auth_data(struct authenticator *a, unsigned flags, struct buf *to)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];

	(void)SHA256((const uint8_t *)a->rp_id, strlen(a->rp_id), hash);
	buf_append(to, hash, sizeof hash);
	buf_put_u8(to, a->flags | flags);
	buf_put_u32(to, a->count);
	a->count += a->step;
}

/* COSE_Key (RFC 9052): {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}. */
static void put_cose(const struct authenticator *a, struct buf *to)
{
	static const uint8_t head[] = {0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32};
	static const uint8_t y[] = {0x22, 0x58, 32};
	uint8_t point[POINT_BYTES];
	size_t len = 0;
	int rc = EVP_PKEY_get_octet_string_param(
		a->key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &len);

	assert(rc == 1 && len == sizeof point);
	(void)rc;
	buf_append(to, head, sizeof head);
	buf_append(to, point + 1, 32);
	buf_append(to, y, sizeof y);
	buf_append(to, point + 33, 32);
}

void authenticator_create(struct authenticator *a, struct bytes challenge, struct buf *client_data,
	struct buf *auth_data)
{
	put_client_data(a, "webauthn.create", challenge, client_data);
	put_auth_data(a, AT, auth_data);
	buf_put_zeros(auth_data, 16); /* AAGUID */
	buf_put_lp16(auth_data, bytes_of(a->id, sizeof a->id));
	put_cose(a, auth_data);
}

void authenticator_sign(struct authenticator *a, struct bytes client_data, struct bytes auth_data,
	struct buf *signature)
{
	_cleanup_(buf_release) struct buf message = BUF_INIT;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t hash[SHA256_DIGEST_LENGTH], der[80];
	size_t len = sizeof der;
	int rc;

	(void)SHA256(client_data.data, client_data.len, hash);
	buf_append_bytes(&message, auth_data);
	buf_append(&message, hash, sizeof hash);
	assert(ctx != NULL);
	rc = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, a->key, NULL);
	assert(rc == 1);
	rc = EVP_DigestSign(ctx, der, &len, message.data, message.len);
	assert(rc == 1);
	(void)rc;
	EVP_MD_CTX_free(ctx);
	buf_append(signature, der, len);
}

void authenticator_get(struct authenticator *a, struct bytes challenge, struct buf *client_data,
	struct buf *auth_data, struct buf *signature)
{
	put_client_data(a, "webauthn.get", challenge, client_data);
	put_auth_data(a, 0, auth_data);
	authenticator_sign(a, buf_bytes(client_data), buf_bytes(auth_data), signature);
}
