/* A TLS client (or plain one, over a Unix-domain socket) on a blocking descriptor with deadlines,
 * for programs without a loop. One thread at a time. Several connections: poll(2) on
 * tls_client_fd() for tls_client_events(), then the calls with deadline 0. */
#ifndef KLUIS_CRYPTO_TLS_CLIENT_H
#define KLUIS_CRYPTO_TLS_CLIENT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/tls_ctx.h"

struct tls_client;

/* address: "host:port", "192.0.2.1:443", "[2001:db8::1]:443". All addresses that the name has are
 * tried in turn, each with its share of the time, until one answers with a certificate for the host
 * that ctx trusts. deadline_ms is on clock_system's monotonic clock and covers name, connection and
 * handshake (the name's lookup itself may overrun it by the resolver's own time-out). KLUIS_EINVAL
 * malformed address, KLUIS_ECONNECT nobody answered, KLUIS_ETIMEOUT, KLUIS_EVERIFY certificate
 * refused, KLUIS_EPROTO not TLS. */
KLUIS_MUST_CHECK int tls_client_connect(const char *address, struct tls_ctx *ctx,
	uint64_t deadline_ms, struct tls_client **ret_client, struct err *e);
/* As tls_client_connect(), to none of the name's addresses that `may` refuses: it is asked about
 * the very address that is connected to. KLUIS_EFORBIDDEN when it refuses all. */
KLUIS_MUST_CHECK int tls_client_connect_where(const char *address, struct tls_ctx *ctx,
	bool (*may)(const struct sockaddr *address), uint64_t deadline_ms,
	struct tls_client **ret_client, struct err *e);
/* Plain, to the admin socket. */
KLUIS_MUST_CHECK int tls_client_connect_unix(
	const char *path, struct tls_client **ret_client, struct err *e);

/* Plain, on a connected stream socket, which it owns from now on, whatever it returns. */
KLUIS_MUST_CHECK int tls_client_adopt(int fd, struct tls_client **ret_client, struct err *e);

/* At least one byte, at most max. *ret_len 0 with return 0: the peer ended in order. KLUIS_EAGAIN
 * when nothing came by the deadline and deadline_ms is 0, else KLUIS_ETIMEOUT; KLUIS_ECLOSED cut
 * without close_notify; KLUIS_EPROTO; KLUIS_EIO. Plaintext may be left inside after this: call
 * until KLUIS_EAGAIN before poll(2), or ask tls_client_pending(). */
KLUIS_MUST_CHECK int tls_client_read(struct tls_client *client, void *to, size_t max,
	uint64_t deadline_ms, size_t *ret_len, struct err *e);
/* Writes all of it or fails; errors as read. */
KLUIS_MUST_CHECK int tls_client_write(
	struct tls_client *client, struct bytes bytes, uint64_t deadline_ms, struct err *e);
/* Writes what goes now; KLUIS_EAGAIN when nothing does. After KLUIS_EAGAIN the next call must bring
 * the same bytes again (more behind them are fine). */
KLUIS_MUST_CHECK int tls_client_write_some(
	struct tls_client *client, struct bytes bytes, size_t *ret_len, struct err *e);

int tls_client_fd(const struct tls_client *client);
short tls_client_events(const struct tls_client *client); /* POLLIN or POLLOUT: what the last
							     KLUIS_EAGAIN waits for. */
bool tls_client_pending(
	const struct tls_client *client); /* Read bytes without asking the kernel. */
struct bytes tls_client_alpn(const struct tls_client *client);
const char *tls_client_version(const struct tls_client *client);
/* SHA-256 of the server key's SubjectPublicKeyInfo; zero when plain. */
void tls_client_peer_spki(const struct tls_client *client, uint8_t to[32]);
/* Sends close_notify if it goes without waiting, then closes; NULL is fine. */
void tls_client_free(struct tls_client *client);

#endif
