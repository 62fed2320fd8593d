#include "crypto/tls_ctx.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "crypto/cert.h"
#include "crypto/tls_ctx_ssl.h"

#define TLS_CIPHERS_12	 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define TLS_CIPHERS_13	 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define TLS_CIPHERS_LINK "TLS_AES_256_GCM_SHA384"
#define TLS_GROUPS	 "X25519:P-256:P-384"

enum { TLS_ALPN_BYTES_MAX = 128, TLS_VERIFY_DEPTH = 4, TLS_TICKET_SECONDS = 3600 };
#define TLS_TICKET_ROTATE_MS (12ULL * 3600 * 1000)
#define TLS_TICKET_OPEN_MS   (2 * TLS_TICKET_ROTATE_MS)

struct tls_ctx {
	atomic_uint refs;
	SSL_CTX *ssl_ctx;
	uint64_t not_after_ms;
	unsigned alpn_len; /* Wire form: length-prefixed names. */
	uint8_t alpn[TLS_ALPN_BYTES_MAX];
};

struct tls_ticket_key {
	uint8_t name[16], aes[32], hmac[32];
	uint64_t made_ms; /* Monotonic. */
	bool set;
};

struct tls_tickets {
	const struct clock *clock;
	struct tls_ticket_key key[2]; /* [0] seals, [1] only opens. */
};

struct tls_tickets *tls_tickets_new(const struct clock *clock)
{
	struct tls_tickets *tickets = x_calloc(1, sizeof *tickets);

	tickets->clock = clock;
	return tickets;
}

void tls_tickets_free(struct tls_tickets *tickets)
{
	if (tickets == NULL) {
		return;
	}
	OPENSSL_cleanse(tickets, sizeof *tickets);
	free(tickets);
}

/* After it key[0] is younger than TLS_TICKET_ROTATE_MS. */
static void tls_tickets_rotate(struct tls_tickets *tickets)
{
	uint64_t now = clock_monotonic_ms(tickets->clock);
	struct tls_ticket_key *key = tickets->key;

	if (key[0].set && now - key[0].made_ms < TLS_TICKET_ROTATE_MS) {
		return;
	}
	key[1] = key[0];
	if (RAND_bytes(key[0].name, sizeof key[0].name) != 1 ||
		RAND_priv_bytes(key[0].aes, sizeof key[0].aes) != 1 ||
		RAND_priv_bytes(key[0].hmac, sizeof key[0].hmac) != 1) {
		abort(); /* No randomness: nothing here is safe. */
	}
	key[0].made_ms = now;
	key[0].set = true;
}

static bool tls_ticket_use(const struct tls_ticket_key *key, const uint8_t *iv,
	EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
	const EVP_CIPHER *aes = EVP_aes_256_cbc();
	OSSL_PARAM params[3];

	params[0] = OSSL_PARAM_construct_octet_string(
		OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->hmac, sizeof key->hmac);
	params[1] = OSSL_PARAM_construct_utf8_string(
		OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0);
	params[2] = OSSL_PARAM_construct_end();
	return EVP_MAC_CTX_set_params(mac, params) == 1 &&
	       (sealing ? EVP_EncryptInit_ex(cipher, aes, NULL, key->aes, iv)
			: EVP_DecryptInit_ex(cipher, aes, NULL, key->aes, iv)) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3). 1: use it; 2: use it, but give the client a new ticket;
 * 0: unknown, full handshake; -1: failure. */
static int tls_ticket_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int sealing)
{
	struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	tls_tickets_rotate(tickets);
	if (sealing) {
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) {
			return -1;
		}
		memcpy(name, tickets->key[0].name, sizeof tickets->key[0].name);
		return tls_ticket_use(&tickets->key[0], iv, cipher, mac, 1) ? 1 : -1;
	}
	for (int i = 0; i < 2; i++) {
		const struct tls_ticket_key *key = &tickets->key[i];

		if (key->set &&
			clock_monotonic_ms(tickets->clock) - key->made_ms < TLS_TICKET_OPEN_MS &&
			memcmp(name, key->name, sizeof key->name) == 0) {
			return tls_ticket_use(key, iv, cipher, mac, 0) ? i + 1 : -1;
		}
	}
	return 0;
}

static int tls_alpn_cb(SSL *ssl, const unsigned char **out, unsigned char *out_len,
	const unsigned char *in, unsigned in_len, void *arg)
{
	const struct tls_ctx *ctx = arg;

	(void)ssl;
	return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ctx->alpn,
		       ctx->alpn_len, in, in_len) == OPENSSL_NPN_NEGOTIATED
		       ? SSL_TLSEXT_ERR_OK
		       : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int tls_ctx_set_alpn(struct tls_ctx *ctx, const char *const *names, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(names[i]);

		if (len == 0 || len > UINT8_MAX || ctx->alpn_len + 1 + len > sizeof ctx->alpn) {
			return err_set(e, KLUIS_EINVAL, "ALPN: bad protocol name");
		}
		ctx->alpn[ctx->alpn_len] = (uint8_t)len;
		memcpy(ctx->alpn + ctx->alpn_len + 1, names[i], len);
		ctx->alpn_len += 1 + (unsigned)len;
	}
	return 0;
}

/* What holds for every connection. SSL_MODE_RELEASE_BUFFERS: no record buffers are kept, unless
 * tls_stream_keep_buffers() says so. The write buffer may be elsewhere when a blocked write is
 * tried again. */
static void tls_ctx_set_common(SSL_CTX *ssl_ctx)
{
	SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					     SSL_OP_CIPHER_SERVER_PREFERENCE |
					     SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_early_data(ssl_ctx, 0);
	SSL_CTX_set_verify_depth(ssl_ctx, TLS_VERIFY_DEPTH);
}

static struct tls_ctx *tls_ctx_new(const SSL_METHOD *method)
{
	struct tls_ctx *ctx = x_calloc(1, sizeof *ctx);

	atomic_init(&ctx->refs, 1);
	ctx->ssl_ctx = SSL_CTX_new(method);
	if (ctx->ssl_ctx == NULL) {
		abort(); /* Only memory or a broken OpenSSL installation. */
	}
	tls_ctx_set_common(ctx->ssl_ctx);
	return ctx;
}

static int tls_ctx_set_versions(
	struct tls_ctx *ctx, int version_min, const char *ciphers_13, struct err *e)
{
	if (SSL_CTX_set_min_proto_version(ctx->ssl_ctx, version_min) != 1 ||
		SSL_CTX_set_cipher_list(ctx->ssl_ctx, TLS_CIPHERS_12) != 1 ||
		SSL_CTX_set_ciphersuites(ctx->ssl_ctx, ciphers_13) != 1 ||
		SSL_CTX_set1_groups_list(ctx->ssl_ctx, TLS_GROUPS) != 1) {
		return ossl_err(e, KLUIS_EINTERNAL, "TLS versions and suites");
	}
	return 0;
}

static int tls_ctx_set_certificate(
	struct tls_ctx *ctx, struct bytes cert_pem, struct bytes key_pem, struct err *e)
{
	_cleanup_(ossl_x509s_freep) STACK_OF(X509) *certs = NULL;
	_cleanup_(ossl_x509_freep) X509 *leaf = NULL;
	_cleanup_(ossl_key_freep) EVP_PKEY *key = NULL;
	int rc = cert_read_all(cert_pem, &certs, e);

	if (rc == 0) {
		rc = cert_read_key(key_pem, &key, e);
	}
	if (rc != 0) {
		return rc;
	}
	leaf = sk_X509_shift(certs);
	if (X509_check_private_key(leaf, key) != 1) {
		return ossl_err(e, KLUIS_EINVAL, "the key is not the certificate's");
	}
	if (SSL_CTX_use_cert_and_key(ctx->ssl_ctx, leaf, key, certs, 1) != 1) {
		return ossl_err(e, KLUIS_EINVAL, "use the certificate");
	}
	ctx->not_after_ms = cert_time_ms(X509_get0_notAfter(leaf));
	return 0;
}

/* Replaces *ret_ctx only on success. */
static int tls_ctx_done(struct tls_ctx *ctx, int rc, struct tls_ctx **ret_ctx)
{
	if (rc != 0) {
		tls_ctx_unref(ctx);
		return rc;
	}
	*ret_ctx = ctx;
	return 0;
}

static void tls_ctx_set_tickets(struct tls_ctx *ctx, struct tls_tickets *tickets)
{
	if (tickets == NULL) {
		SSL_CTX_set_options(ctx->ssl_ctx, SSL_OP_NO_TICKET);
		(void)SSL_CTX_set_num_tickets(ctx->ssl_ctx, 0); /* Cannot fail. */
		return;
	}
	SSL_CTX_set_app_data(ctx->ssl_ctx, tickets);
	(void)SSL_CTX_set_num_tickets(ctx->ssl_ctx, 1); /* Cannot fail. */
	SSL_CTX_set_timeout(ctx->ssl_ctx, TLS_TICKET_SECONDS);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx->ssl_ctx, tls_ticket_cb);
}

int tls_ctx_new_api(struct bytes cert_pem, struct bytes key_pem, struct tls_tickets *tickets,
	struct tls_ctx **ret_ctx, struct err *e)
{
	static const char *const alpn[] = {TLS_ALPN_H2, TLS_ALPN_HTTP1};
	struct tls_ctx *ctx = tls_ctx_new(TLS_server_method());
	int rc = tls_ctx_set_versions(ctx, TLS1_2_VERSION, TLS_CIPHERS_13, e);

	if (rc == 0) {
		rc = tls_ctx_set_certificate(ctx, cert_pem, key_pem, e);
	}
	if (rc == 0) {
		rc = tls_ctx_set_alpn(ctx, alpn, ARRAY_SIZE(alpn), e);
	}
	SSL_CTX_set_alpn_select_cb(ctx->ssl_ctx, tls_alpn_cb, ctx);
	/* Clients send tokens: what was read of a record buffer is cleared, be it freed or not. */
	SSL_CTX_set_options(ctx->ssl_ctx, SSL_OP_CLEANSE_PLAINTEXT);
	tls_ctx_set_tickets(ctx, tickets);
	return tls_ctx_done(ctx, rc, ret_ctx);
}

int tls_ctx_new_link(struct bytes cert_pem, struct bytes key_pem, struct bytes ca_pem,
	struct tls_ctx **ret_ctx, struct err *e)
{
	static const char *const alpn[] = {TLS_ALPN_LINK};
	struct tls_ctx *ctx = tls_ctx_new(TLS_method());
	int rc = tls_ctx_set_versions(ctx, TLS1_3_VERSION, TLS_CIPHERS_LINK, e);

	if (rc == 0) {
		rc = tls_ctx_set_certificate(ctx, cert_pem, key_pem, e);
	}
	if (rc == 0) {
		rc = cert_trust(SSL_CTX_get_cert_store(ctx->ssl_ctx), ca_pem, e);
	}
	if (rc == 0) {
		rc = tls_ctx_set_alpn(ctx, alpn, ARRAY_SIZE(alpn), e);
	}
	SSL_CTX_set_alpn_select_cb(ctx->ssl_ctx, tls_alpn_cb, ctx);
	if (rc == 0 && SSL_CTX_set_alpn_protos(ctx->ssl_ctx, ctx->alpn, ctx->alpn_len) != 0) {
		rc = ossl_err(e, KLUIS_EINTERNAL, "ALPN");
	}
	tls_ctx_set_tickets(ctx, NULL);
	SSL_CTX_set_verify(ctx->ssl_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return tls_ctx_done(ctx, rc, ret_ctx);
}

int tls_ctx_new_client(struct bytes ca_pem, const char *const *alpn, size_t n_alpn,
	struct tls_ctx **ret_ctx, struct err *e)
{
	struct tls_ctx *ctx = tls_ctx_new(TLS_client_method());
	int rc = tls_ctx_set_versions(ctx, TLS1_2_VERSION, TLS_CIPHERS_13, e);

	if (rc == 0 && ca_pem.len > 0) {
		rc = cert_trust(SSL_CTX_get_cert_store(ctx->ssl_ctx), ca_pem, e);
	}
	if (rc == 0) {
		rc = tls_ctx_set_alpn(ctx, alpn, n_alpn, e);
	}
	if (rc == 0 && n_alpn > 0 &&
		SSL_CTX_set_alpn_protos(ctx->ssl_ctx, ctx->alpn, ctx->alpn_len) != 0) {
		rc = ossl_err(e, KLUIS_EINTERNAL, "ALPN");
	}
	SSL_CTX_set_verify(ctx->ssl_ctx, ca_pem.len > 0 ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	return tls_ctx_done(ctx, rc, ret_ctx);
}

uint64_t tls_ctx_not_after_ms(const struct tls_ctx *ctx)
{
	return ctx->not_after_ms;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
	unsigned before = atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);

	assert(before > 0);
	(void)before;
	return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
	if (ctx == NULL || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1) {
		return;
	}
	SSL_CTX_free(ctx->ssl_ctx);
	free(ctx);
}

SSL_CTX *tls_ctx_ssl(struct tls_ctx *ctx)
{
	return ctx->ssl_ctx;
}

int tls_ctx_expect(SSL *ssl, const char *server_name, struct err *e)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	uint8_t raw[16];

	if (inet_pton(AF_INET, server_name, raw) == 1 ||
		inet_pton(AF_INET6, server_name, raw) == 1) {
		if (X509_VERIFY_PARAM_set1_ip_asc(param, server_name) != 1) {
			return ossl_err(e, KLUIS_EINVAL, "server address");
		}
		return 0;
	}
	X509_VERIFY_PARAM_set_hostflags(
		param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (X509_VERIFY_PARAM_set1_host(param, server_name, 0) != 1 ||
		SSL_set_tlsext_host_name(ssl, server_name) != 1) {
		return ossl_err(e, KLUIS_EINVAL, "server name");
	}
	return 0;
}

/* Alerts by which a peer says that it did not like our certificate. */
static bool tls_alert_is_refusal(int reason)
{
	switch (reason) {
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return true;
	default:
		return false;
	}
}

int tls_ctx_failure(const SSL *ssl, int ret, struct err *e)
{
	unsigned long first = ERR_peek_error();
	int reason = ERR_GET_REASON(first), kind = SSL_get_error(ssl, ret);

	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		ERR_clear_error();
		return err_set(e, KLUIS_EVERIFY, "the peer's certificate is refused: %s",
			X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
	}
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		return ossl_err(e, KLUIS_EVERIFY, "the peer is refused");
	}
	if (tls_alert_is_refusal(reason)) {
		return ossl_err(e, KLUIS_EVERIFY, "the peer refuses our certificate");
	}
	if (kind == SSL_ERROR_SYSCALL || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_clear_error();
		return err_set(e, KLUIS_ECLOSED, "the connection was cut");
	}
	return ossl_err(e, KLUIS_EPROTO, "TLS");
}
