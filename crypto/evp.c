#include "crypto/evp.h"

#include <assert.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <pthread.h>

#include "base/log.h"
#include "crypto/ossl.h"

struct evp_thread {
	EVP_MD_CTX *md;
	EVP_CIPHER_CTX *cipher;
	EVP_MAC_CTX *hmac[HASH_ALGS];
};

static pthread_once_t evp_once = PTHREAD_ONCE_INIT;
static pthread_key_t evp_key;
static struct evp_algs evp_fetched;
static _Thread_local struct evp_thread *evp_mine;

void evp_must(int ok)
{
	if (ok != 1) {
		struct err e = {0};

		(void)ossl_err(&e, KLUIS_EINTERNAL, "openssl");
		log_err("op=crypto state=broken error=\"%s\"", e.text);
		abort();
	}
}

static void evp_thread_free(void *data)
{
	struct evp_thread *mine = data;

	EVP_MD_CTX_free(mine->md);
	EVP_CIPHER_CTX_free(mine->cipher);
	for (size_t i = 0; i < HASH_ALGS; i++) {
		EVP_MAC_CTX_free(mine->hmac[i]);
	}
	free(mine);
}

static void evp_start(void)
{
	evp_fetched.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	evp_fetched.sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
	evp_fetched.aes_128_ctr = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);
	evp_fetched.aes_256_ctr = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	evp_fetched.aes_128_gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	evp_fetched.aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	evp_fetched.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	evp_must(evp_fetched.sha256 != NULL && evp_fetched.sha384 != NULL &&
		 evp_fetched.aes_128_ctr != NULL && evp_fetched.aes_256_ctr != NULL &&
		 evp_fetched.aes_128_gcm != NULL && evp_fetched.aes_256_gcm != NULL &&
		 evp_fetched.hmac != NULL);
	evp_must(pthread_key_create(&evp_key, evp_thread_free) == 0);
}

const struct evp_algs *evp_algs(void)
{
	evp_must(pthread_once(&evp_once, evp_start) == 0);
	return &evp_fetched;
}

static EVP_MAC_CTX *evp_hmac_new(const char *digest)
{
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(evp_fetched.hmac);
	char name[16];
	OSSL_PARAM params[2];

	(void)snprintf(name, sizeof name, "%s", digest); /* Short constants: always fit. */
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0);
	params[1] = OSSL_PARAM_construct_end();
	evp_must(ctx != NULL && EVP_MAC_CTX_set_params(ctx, params) == 1);
	return ctx;
}

static struct evp_thread *evp_thread(void)
{
	if (evp_mine == NULL) {
		struct evp_thread *mine = x_calloc(1, sizeof *mine);

		(void)evp_algs(); /* For its once. */
		mine->md = EVP_MD_CTX_new();
		mine->cipher = EVP_CIPHER_CTX_new();
		evp_must(mine->md != NULL && mine->cipher != NULL);
		mine->hmac[HASH_SHA256] = evp_hmac_new("SHA256");
		mine->hmac[HASH_SHA384] = evp_hmac_new("SHA384");
		evp_must(pthread_setspecific(evp_key, mine) == 0);
		evp_mine = mine;
	}
	return evp_mine;
}

EVP_MD_CTX *evp_thread_md(void)
{
	return evp_thread()->md;
}

EVP_CIPHER_CTX *evp_ctr_begin(struct bytes key, const uint8_t iv[16])
{
	EVP_CIPHER_CTX *ctx = evp_thread()->cipher;

	assert(key.len == 16 || key.len == 32);
	evp_must(EVP_EncryptInit_ex2(ctx,
		key.len == 16 ? evp_fetched.aes_128_ctr : evp_fetched.aes_256_ctr, key.data, iv,
		NULL));
	return ctx;
}

void evp_ctr_update(EVP_CIPHER_CTX *ctx, struct bytes from, uint8_t *ret)
{
	int len = 0;

	assert(from.len <= INT_MAX);
	if (from.len > 0) {
		evp_must(EVP_EncryptUpdate(ctx, ret, &len, from.data, (int)from.len));
		assert((size_t)len == from.len);
	}
}

void evp_ctr_end(EVP_CIPHER_CTX *ctx)
{
	/* The context outlives the call: it must not keep the key schedule. */
	evp_must(EVP_CIPHER_CTX_reset(ctx));
}

EVP_MAC_CTX *evp_hmac_begin(enum hash_alg alg, struct bytes key)
{
	static const uint8_t none[1];
	EVP_MAC_CTX *ctx = evp_thread()->hmac[alg];

	/* A NULL key would mean "the key of last time". */
	evp_must(EVP_MAC_init(ctx, key.len == 0 ? none : key.data, key.len, NULL));
	return ctx;
}

void evp_hmac_update(EVP_MAC_CTX *ctx, struct bytes bytes)
{
	evp_must(EVP_MAC_update(ctx, bytes.data, bytes.len));
}

void evp_hmac_end(EVP_MAC_CTX *ctx, uint8_t *ret, size_t len)
{
	static const uint8_t zero[HASH_BYTES];
	size_t got = 0;

	evp_must(EVP_MAC_final(ctx, ret, &got, len));
	assert(got == len);
	/* The context outlives the call: it must not keep the key. */
	evp_must(EVP_MAC_init(ctx, zero, sizeof zero, NULL));
}
