/* A byte stream on a libuv loop: TLS over TCP, or plain over TCP or a Unix-domain socket with the
 * same interface. Everything here runs on the loop's thread, and no callback fires before the call
 * that causes it has returned.
 *
 * Life: tls_stream_accept() or tls_stream_dial() -> ready_cb -> read_cb ... drain_cb ... ->
 * end_cb (at most once) -> tls_stream_close() or _abort() -> closed_cb, after which the memory is
 * gone. end_cb does not close: the user does, always. There are no timers for handshake and idle
 * here: the user sweeps its connections (tls_stream_counters()). The program
 * ignores SIGPIPE (libuv writes without MSG_NOSIGNAL).
 *
 * Writing never blocks and takes everything: a producer asks tls_stream_writable() before each
 * piece; "false" is a promise of one drain_cb, also when the flush that follows sends all:
 *
 *     while (tls_stream_writable(s) && (n = produce(&data)) > 0)
 *             tls_stream_write(s, data, n);
 *     tls_stream_flush(s);
 *
 * Reading: read_cb returns how many bytes it took. Taking fewer than given pauses the stream: the
 * rest is kept and given again after tls_stream_resume(); the kernel's window does the rest. */
#ifndef KLUIS_CRYPTO_TLS_STREAM_H
#define KLUIS_CRYPTO_TLS_STREAM_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "crypto/tls_ctx.h"
#include "crypto/tls_peer.h"

struct tls_stream;

/* Any of them may close or abort the stream. */
struct tls_stream_handler {
	/* The connection stands and the handshake is done: peer and ALPN are known, writing is
	 * allowed. */
	void (*ready_cb)(struct tls_stream *stream);
	/* bytes (never empty; valid during the call) came. Returns how many were taken, 0 ..
	 * bytes.len; fewer than all pauses. */
	size_t (*read_cb)(struct tls_stream *stream, struct bytes bytes);
	/* After tls_stream_writable() said false: there is room again. May be NULL for a user that
	 * never asks. */
	void (*drain_cb)(struct tls_stream *stream);
	/* No read_cb comes any more. rc 0: the peer ended its side in order (TLS close_notify,
	 * plain end of file) and may still read: one can write, then close. Else the stream is
	 * useless: KLUIS_ECONNECT dial failed, KLUIS_ECLOSED cut without close_notify (what came
	 * last may be truncated), KLUIS_EVERIFY the peer's certificate was refused (by us or ours
	 * by the peer), KLUIS_EPROTO not TLS or a protocol alert, KLUIS_EIO. e says why; valid
	 * during the call. */
	void (*end_cb)(struct tls_stream *stream, int rc, const struct err *e);
	/* The last callback: the stream's memory goes when it returns. */
	void (*closed_cb)(struct tls_stream *stream);
};

/* Takes the next waiting connection of a listening uv_tcp_t or uv_pipe_t (call it in the
 * connection callback). ctx NULL: plain. ctx is referenced, handler must outlive the stream. On
 * failure (KLUIS_EIO) the connection is dropped and no callback comes. */
KLUIS_MUST_CHECK int tls_stream_accept(uv_stream_t *listener, struct tls_ctx *ctx,
	const struct tls_stream_handler *handler, void *data, struct tls_stream **ret_stream,
	struct err *e);

/* Connects to a TCP address. server_name (may be NULL): sent as SNI if it is a DNS name, and the
 * server's certificate must carry it as DNS name or address; NULL compares no name (node links
 * compare tls_stream_peer()). Failure to connect comes by end_cb. */
KLUIS_MUST_CHECK int tls_stream_dial(uv_loop_t *loop, const struct sockaddr *address,
	struct tls_ctx *ctx, const char *server_name, const struct tls_stream_handler *handler,
	void *data, struct tls_stream **ret_stream, struct err *e);

void *tls_stream_data(const struct tls_stream *stream);

/* Only after ready_cb. Copies small pieces into a record of 16 KiB; the whole 16 KiB parts of a
 * larger piece are encrypted where they lie. Leaves at tls_stream_flush() or at the end of this
 * turn of the loop, whichever is first; a write failure comes by end_cb. Ignored once closing or
 * after end_cb with an error. */
void tls_stream_write(struct tls_stream *stream, struct bytes bytes);
void tls_stream_writev(struct tls_stream *stream, const struct bytes *pieces, size_t n);
void tls_stream_flush(struct tls_stream *stream);
/* False promises a drain_cb (unless the stream ends or closes first). */
bool tls_stream_writable(struct tls_stream *stream);
size_t tls_stream_unsent(const struct tls_stream *stream); /* Bytes not yet given to the kernel. */
/* Other marks than TLS_STREAM_HIGH_BYTES and TLS_STREAM_LOW_BYTES, low below high. */
void tls_stream_set_marks(struct tls_stream *stream, size_t high_bytes, size_t low_bytes);
/* At most this many bytes wait in the kernel (TCP_NOTSENT_LOWAT), so that what is written next is
 * not far behind; 0 is the kernel's default. TCP only, else nothing happens. */
void tls_stream_limit_kernel(struct tls_stream *stream, unsigned bytes);

/* Whether buffers for records, some 50 KiB, stay with the stream between records, which costs less
 * than to make them anew each time. A stream begins without; to end it gives them back at once. */
void tls_stream_keep_buffers(struct tls_stream *stream, bool keep);

/* Only after ready_cb. Stops read_cb after the current call, without giving bytes back. */
void tls_stream_pause(struct tls_stream *stream);
/* Goes on after a pause of either kind, in the next turn of the loop. After read_cb has returned:
 * before, there is no pause yet and nothing happens. */
void tls_stream_resume(struct tls_stream *stream);

/* Graceful: sends what was written, close_notify and the end of our side, drops what still comes
 * until the peer ends (so that a reset does not eat our last bytes) or TLS_STREAM_LINGER_MS pass.
 * No callback but closed_cb comes after it. Idempotent. */
void tls_stream_close(struct tls_stream *stream);
/* At once; unsent bytes are lost. Also after tls_stream_close(). Idempotent. */
void tls_stream_abort(struct tls_stream *stream);

bool tls_stream_closing(const struct tls_stream *stream);
bool tls_stream_is_tls(const struct tls_stream *stream);
/* The protocol both agreed on, empty if none or plain; lives as long as the stream. */
struct bytes tls_stream_alpn(const struct tls_stream *stream);
const char *tls_stream_version(const struct tls_stream *stream); /* "TLSv1.3"; "plain". */
/* "192.0.2.1:443", "[2001:db8::1]:443" or "unix"; lives as long as the stream. */
const char *tls_stream_address(const struct tls_stream *stream);
/* Without port, for limits by address. */
const char *tls_stream_host(const struct tls_stream *stream);
/* Who is at the other end of a Unix-domain socket (SO_PEERCRED); KLUIS_EINVAL on TCP. */
KLUIS_MUST_CHECK int tls_stream_peer_uid(const struct tls_stream *stream, uid_t *ret_uid);

/* Valid after ready_cb, as long as the stream. */
const struct tls_peer *tls_stream_peer(const struct tls_stream *stream);

/* After ready_cb of a stream whose peer was verified: would ctx take the peer's certificate at
 * wall_ms, too? KLUIS_EVERIFY says why not. */
KLUIS_MUST_CHECK int tls_stream_verify(
	const struct tls_stream *stream, struct tls_ctx *ctx, uint64_t wall_ms, struct err *e);

struct tls_counters {
	uint64_t read_bytes, written_bytes;	   /* Plaintext. */
	uint64_t wire_read_bytes, wire_sent_bytes; /* Accepted by or from the kernel. */
};
const struct tls_counters *tls_stream_counters(const struct tls_stream *stream);

#endif
