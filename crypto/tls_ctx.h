/* TLS contexts: what versions, suites, certificates and peers a connection may have. Immutable once
 * made and counted by reference: to reload certificates build a new one, swap the pointer and unref
 * the old one; live connections keep theirs. */
#ifndef KLUIS_CRYPTO_TLS_CTX_H
#define KLUIS_CRYPTO_TLS_CTX_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#define TLS_ALPN_H2    "h2"
#define TLS_ALPN_HTTP1 "http/1.1"
#define TLS_ALPN_LINK  "kluis-link/1"

struct tls_ctx;

/* Session ticket keys, kept over reloads and rotated by `clock`: a new key every 12 hours, the one
 * before it still opens, so no ticket key is older than 24 hours. Use on one thread, that of the
 * connections. */
struct tls_tickets;
struct tls_tickets *tls_tickets_new(const struct clock *clock);
void tls_tickets_free(struct tls_tickets *tickets); /* NULL is fine; after all its contexts. */

/* The API's server side: TLS 1.2 (ECDHE with AEAD only) and 1.3, X25519, P-256, P-384, ALPN h2 or
 * http/1.1 and a fatal alert when a client names neither, no compression, renegotiation, session
 * cache or early data; one ticket of at most an hour (none when tickets is NULL).
 * cert_pem: certificate first, then intermediates. tickets must outlive the context. KLUIS_EINVAL
 * when a PEM does not parse or the key is not the certificate's. Any thread. RFC 8446, 9325. */
KLUIS_MUST_CHECK int tls_ctx_new_api(struct bytes cert_pem, struct bytes key_pem,
	struct tls_tickets *tickets, struct tls_ctx **ret_ctx, struct err *e);

/* Both sides of a node link: TLS 1.3 with TLS_AES_256_GCM_SHA384 only, ALPN kluis-link/1, the peer
 * must show a certificate that a CA of ca_pem (one or more: two during a change of CA) signed, for
 * its role; no tickets, no early data. Whose certificate it is, is for the caller to compare
 * (tls_stream_peer()). Errors as above. Any thread. */
KLUIS_MUST_CHECK int tls_ctx_new_link(struct bytes cert_pem, struct bytes key_pem,
	struct bytes ca_pem, struct tls_ctx **ret_ctx, struct err *e);

/* A client that trusts the CAs of ca_pem alone, never the system's: TLS 1.2 and 1.3 as the API's
 * server; the server's name or address is checked by the connection. alpn: n protocol names in
 * order of preference; a server that picks none of them is accepted and gives an empty choice.
 * ca_pem empty: nothing is verified: only to fetch /.well-known/kluis.json for a first pin. Errors
 * as above. Any thread. */
KLUIS_MUST_CHECK int tls_ctx_new_client(struct bytes ca_pem, const char *const *alpn, size_t n_alpn,
	struct tls_ctx **ret_ctx, struct err *e);

/* When its own certificate ends, Unix; 0: it has none. Any thread. */
uint64_t tls_ctx_not_after_ms(const struct tls_ctx *ctx);

/* Any thread. */
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx); /* NULL is fine. */

#endif
