/* Links between nodes: to every peer one dialled TLS connection that carries what we send, and one
 * accepted connection that carries what it sends. Format: docs/format-link.md.
 *
 * All of it runs on the loop's thread (the core loop); no callback fires before the call that
 * causes it has returned, and none comes after links_close().
 *
 * A connection ends when its peer's certificate does.
 *
 * A link is up from the peer's acknowledgement of our hello to the end of the dialled connection.
 * A message is delivered at most once, messages of a stream in order, and none of an older
 * connection after the first of a newer one. When a link goes down all that was queued is lost:
 * whoever waits for an answer learns it by down_cb and decides what that means. */
#ifndef KLUIS_RAFT_LINK_H
#define KLUIS_RAFT_LINK_H

#include <stdbool.h>
#include <uv.h>

#include "base/address.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/random.h"
#include "crypto/tls_ctx.h"

struct entry; /* raft/entry.h */
struct links;

/* Each has its own queue of at most LINK_QUEUE_BYTES_MAX and LINK_MESSAGES_MAX; they take turns
 * frame by frame (64 KiB), and each gets its share, so that a checkpoint never holds up a
 * heartbeat. */
enum link_stream {
	LINK_RAFT = 0,	  /* Raft messages. Overflow drops the new message: Raft sends again. */
	LINK_READ = 1,	  /* Read-index rounds and their answers. */
	LINK_PROPOSE = 2, /* Forwarded proposals and their answers. */
	LINK_FILE =
		3, /* Checkpoint files: requests and chunks, paid for with the receiver's credit. */
	LINK_RELAY = 4, /* What nodes pass on between clients: lost when there is no room. */
	LINK_STREAMS = 5,
};

struct link_handler {
	/* A whole message (1 .. LINK_MESSAGE_BYTES_MAX bytes, valid during the call) of a verified
	 * peer. What is in it is as hostile as any: parse it. For LINK_FILE call links_credit()
	 * with the message's length when its bytes are out of the way. */
	void (*receive_cb)(
		void *data, uint64_t peer, enum link_stream stream, struct bytes message);
	/* The link to the peer (what we send) came up, or went down with all that was queued. May
	 * be NULL. */
	void (*up_cb)(void *data, uint64_t peer);
	void (*down_cb)(void *data, uint64_t peer);
	/* After links_send() said KLUIS_EAGAIN or KLUIS_EBUSY for this stream: try again. May be
	 * NULL. */
	void (*room_cb)(void *data, uint64_t peer, enum link_stream stream);
	/* Which memory a peer has, in the words of peer_pins.h. The three are called before
	 * anything of that connection counts and must not call the links.
	 * meet_cb: from its hello; what follows from 0 must be durable when it returns. Refused
	 * with KLUIS_ECONFLICT, KLUIS_EBEHIND or another error. NULL: anybody may come. agree_cb:
	 * it accepted our hello; < 0: it is not to be used. NULL: any will do. refused_cb: it
	 * refused our hello with KLUIS_ECONFLICT (it knows us by another incarnation),
	 * KLUIS_EBEHIND (it knows later starts of us) or KLUIS_EGONE (the cluster has removed us).
	 * May be NULL. */
	int (*meet_cb)(void *data, uint64_t peer, const uint8_t incarnation[16], uint64_t starts,
		uint64_t boot);
	int (*agree_cb)(void *data, uint64_t peer, const uint8_t incarnation[16]);
	void (*refused_cb)(void *data, uint64_t peer, int rc);
	/* Whether a node that is none of the peers was one, and the cluster has removed it. May be
	 * NULL. */
	bool (*removed_cb)(void *data, uint64_t node);
};

struct links_config {
	uv_loop_t *loop;
	/* For names in addresses (a lookup blocks); both NULL: only numeric addresses. */
	struct pool *pool;
	struct mailbox *home;
	const struct clock *clock;
	struct random *random;
	struct tls_ctx *ctx; /* tls_ctx_new_link(); referenced. */
	uint8_t cluster_id[16], lineage[16];
	uint64_t node_id;
	uint8_t incarnation[16]; /* Of our log; not zero. */
	uint64_t starts;	 /* From 1; what our hellos say. */
	uint32_t feature_level;
	unsigned sweep_ms; /* How often time is looked at; 0: LINK_SWEEP_MS. For tests. */
	const struct link_handler *handler; /* Must outlive the links. */
	void *data;
};

struct link_peer {
	uint64_t id;
	const char *address; /* "host:port", "192.0.2.1:7000", "[2001:db8::1]:7000"; copied. */
};

/* Opens the listener on a numeric address (port 0: the kernel chooses; links_port()). KLUIS_EINVAL
 * malformed, KLUIS_EIO in use. */
KLUIS_MUST_CHECK int links_new(const struct links_config *config, const char *listen_address,
	struct links **ret_links, struct err *e);
unsigned links_port(const struct links *links);

/* The peers (never ourselves) there are from now on, at most SITES_MAX - 1: new ones are dialled,
 * changed addresses are dialled anew, connections of ones gone are closed (no down_cb for those).
 * KLUIS_EINVAL on a bad or doubled row, then nothing changed. */
KLUIS_MUST_CHECK int links_set_peers(
	struct links *links, const struct link_peer *peers, size_t n, struct err *e);
/* New certificates or CAs, referenced: for connections from now on. Those that stand live on,
 * unless none of the CAs now trusted vouches for the peer: they end, and are dialled anew. */
void links_set_ctx(struct links *links, struct tls_ctx *ctx);
/* When our own certificate ends, Unix. */
uint64_t links_certificate_not_after_ms(const struct links *links);
/* What our hello says from now on (a restore changes the lineage). */
void links_set_lineage(struct links *links, const uint8_t lineage[16]);

/* Queues one message: header (copied), then the data of the n entries in order (referenced until
 * encrypted, not copied). In all 1 .. LINK_MESSAGE_BYTES_MAX bytes (LINK_FILE:
 * LINK_FILE_MESSAGE_BYTES_MAX), n at most ENTRIES_PER_MESSAGE_MAX. It leaves at the latest when
 * this turn of the loop ends. KLUIS_ENOTFOUND no such peer; KLUIS_ECONNECT the link is down;
 * KLUIS_EBUSY the stream's queue is full; KLUIS_EAGAIN LINK_FILE only: more than the receiver's
 * credit. In all these cases nothing was queued. */
KLUIS_MUST_CHECK int links_send(struct links *links, uint64_t peer, enum link_stream stream,
	struct bytes header, struct entry *const *entries, size_t n);
/* The receiver of LINK_FILE messages is done with `bytes` of them: the peer may send as much more.
 * Ignored when that connection is gone. */
void links_credit(struct links *links, uint64_t peer, size_t bytes);

struct link_status {
	uint64_t peer;
	char address[ADDRESS_TEXT_BYTES_MAX + 1];
	bool up;			/* The dialled connection: we can send. */
	bool accepted;			/* Its connection to us stands. */
	uint64_t up_since_ms, heard_ms; /* Monotonic; 0 never. */
	uint32_t rtt_us;		/* Smoothed (RFC 6298: 1/8 of each new one); 0 unknown. */
	bool wall_known;		/* The peer's clock was read on this connection. */
	int64_t wall_offset_ms;		/* Its wall clock minus ours at the last pong. */
	uint32_t feature_level;		/* From its last hello; 0 unknown. */
	uint64_t sent_bytes, received_bytes, sent_messages, received_messages;
	uint64_t dropped[LINK_STREAMS]; /* links_send() that said KLUIS_EBUSY. */
	size_t queued_bytes[LINK_STREAMS];
	unsigned attempts;		   /* Dials since it was last up. */
	char last_error[160];		   /* Why it went or stays down; empty when up. */
	uint64_t certificate_not_after_ms; /* The peer's, Unix; 0 unknown. */
};
/* KLUIS_ENOTFOUND: no such peer. */
KLUIS_MUST_CHECK int links_status(
	const struct links *links, uint64_t peer, struct link_status *ret_status);
/* The ids of all peers, at most max of them; returns how many. */
size_t links_peers(const struct links *links, uint64_t *to, size_t max);

/* Sends what is queued as far as it goes, closes listener and connections in order, at the latest
 * after LINK_CLOSE_MS; the links' memory is gone when closed_cb is called. */
void links_close(struct links *links, void (*closed_cb)(void *data), void *data);

#endif
