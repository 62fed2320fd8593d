/* The inside of struct links, shared by its own files only: link.c (life, peers, sending),
 * link_dial.c (connections we dial), link_accept.c (connections that come in), link_timer.c (what
 * is due by time). */
#ifndef KLUIS_RAFT_LINK_STATE_H
#define KLUIS_RAFT_LINK_STATE_H

#include "crypto/tls_stream.h"
#include "raft/frame.h"
#include "raft/hello.h"
#include "raft/link.h"
#include "raft/link_queue.h"

/* One connection; lives until its stream is closed. */
struct link_conn {
	struct links *links;
	struct link_conn *next, **prev; /* Of links->conns. */
	struct tls_stream *stream;
	/* Whose it is; NULL: accepted and not yet known, or no longer used. */
	struct link_node *node;
	bool up;      /* The hello was accepted. */
	bool dropped; /* Closing: nothing that it brings counts. */
	uint64_t begun_ms, heard_ms;
	struct frame_reader reader;
	/* Dialled. */
	uint8_t answer[HELLO_YES_BYTES];
	size_t answer_len;
	/* Accepted. */
	uint8_t hello_bytes[HELLO_BYTES];
	size_t hello_len;
	struct hello hello;
	size_t file_owed;   /* File message bytes received and not yet credited. */
	size_t file_credit; /* Of them done with, but not yet told. */
};

/* A name being looked up on the pool. */
struct link_lookup {
	struct pool_work work;
	struct link_node *node; /* NULL: nobody waits any more. */
	struct address address;
	struct address_found found[ADDRESS_FOUND_MAX];
	size_t n;
	struct err err;
};

/* One peer. */
struct link_node {
	struct links *links;
	uint64_t id;
	char address_text[ADDRESS_TEXT_BYTES_MAX + 1];
	struct address address;

	/* What we send: at most one of lookup and out; neither: dial at retry_ms. */
	struct link_lookup *lookup;
	struct link_conn *out;
	uint64_t retry_ms, ping_ms;
	uint64_t dials; /* Since this process began. */
	unsigned attempts;
	struct link_queue queue;
	size_t credit;	 /* File message bytes that the peer will take. */
	uint32_t wanted; /* BIT()s of the streams that were refused and want room_cb. */
	size_t wanted_bytes[LINK_STREAMS];
	bool down_due; /* down_cb is to be called. */

	/* What it sends. */
	struct link_conn *in;

	uint64_t up_since_ms, heard_ms, logged_ms;
	uint32_t rtt_us;
	bool wall_known;
	int64_t wall_offset_ms;
	uint32_t feature_level;
	uint64_t certificate_not_after_ms;
	uint64_t sent_bytes, received_bytes, received_messages; /* Of connections gone by. */
	uint64_t dropped[LINK_STREAMS];
	char last_error[160];
};

struct links {
	struct links_config config;
	uint64_t boot;
	uv_tcp_t listener;
	uv_prepare_t prepare; /* Both: what the turn queued leaves before it ends. */
	uv_check_t check;
	uv_idle_t idle; /* Active: room_cb is due, do not wait for the network. */
	uv_timer_t sweep;
	uint64_t swept_ms;
	unsigned handles_open;
	unsigned port;
	struct link_conn *conns; /* Newest first. */
	unsigned n_conns;
	unsigned n_unknown; /* Of them accepted and not yet known whose. */
	uint64_t refused_log_ms;
	struct link_node *nodes[SITES_MAX - 1];
	unsigned n_nodes;
	bool recheck; /* New CAs: do they vouch for the peers of what stands? */
	bool closing;
	void (*closed_cb)(void *data);
	void *closed_data;
};

/* link.c */
uint64_t links_now(const struct links *links);
struct link_node *links_find(const struct links *links, uint64_t id);
struct link_conn *link_conn_new(struct links *links, struct link_node *node);
/* After its stream's closed_cb, or when it never got one. */
void link_conn_free(struct link_conn *conn);
/* Cuts it off from its node at once and closes it; graceful: what was written still leaves. */
void link_conn_drop(struct link_conn *conn, bool graceful);
void link_stream_closed_cb(struct tls_stream *stream);
/* The certificate is a node's, of our cluster. */
bool link_peer_is_member(const struct links *links, const struct tls_peer *peer);
/* By now the certificate that the connection was made with has ended. */
bool link_conn_expired(const struct link_conn *conn);
/* Notes why the node is not reached; logs it unless that was just logged. */
void link_node_trouble(struct link_node *node, const char *fmt, ...) KLUIS_PRINTF(2, 3);

/* link_dial.c */
void link_dial(struct link_node *node);
/* Stops what is under way, without down_cb. */
void link_dial_stop(struct link_node *node, bool graceful);
/* The connection is gone or useless: note why, tell the user if it was up, dial again later. */
void link_dial_failed(struct link_node *node, const char *fmt, ...) KLUIS_PRINTF(2, 3);
/* Writes what is queued, as far as there is room. */
void link_dial_pump(struct link_node *node);
void link_dial_ping(struct link_node *node);

/* link_accept.c */
void link_accept_cb(uv_stream_t *listener, int status);
/* Closes an accepted connection, with the reason in the log. */
void link_accept_end(struct link_conn *conn, const char *fmt, ...) KLUIS_PRINTF(2, 3);
void link_accept_credit(struct link_conn *conn);

/* link_timer.c */
void link_turn_prepare_cb(uv_prepare_t *prepare);
void link_turn_check_cb(uv_check_t *check);
void link_turn_idle_cb(uv_idle_t *idle);
void link_sweep_cb(uv_timer_t *timer);

#endif
