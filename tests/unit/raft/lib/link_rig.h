/* Nodes with links on one loop, and a peer of the test's own making: a raw stream with a node's
 * certificate. Time stands still unless world_run() moves it. */
#ifndef KLUIS_TESTS_UNIT_RAFT_LINK_RIG_H
#define KLUIS_TESTS_UNIT_RAFT_LINK_RIG_H

#include "crypto/tls_stream.h"
#include "raft/frame.h"
#include "raft/hello.h"
#include "raft/link.h"
#include "tests/lib/certs.h"
#include "tests/lib/loop.h"

enum { SITES = 3 };

/* One node of the test. */
struct site {
	struct links *links;
	uint64_t id;
	uint8_t incarnation[16];
	unsigned ups, downs, rooms[LINK_STREAMS];
	unsigned received[LINK_STREAMS];
	struct buf last[LINK_STREAMS];
	uint64_t next_number; /* Expected on LINK_PROPOSE when `count` is set. */
	bool count, hold_credit, closed;
	size_t held;
	unsigned flood; /* Messages still to be sent from room_cb. */
	/* What meet_cb and agree_cb are to say, and what they and refused_cb were told last. */
	int meet_rc, agree_rc, refused_rc;
	uint64_t met, met_starts, agreed;
	uint64_t removed; /* removed_cb says so of this one. */
	uint8_t met_incarnation[16], agreed_incarnation[16];
};

struct world {
	uv_loop_t loop;
	struct clock_manual clock;
	struct pki_identity ca, other_ca;
	struct site site[SITES + 1];
	/* A peer of our own making: a raw stream. */
	struct tls_stream *raw;
	struct buf raw_got;
	unsigned raw_readies, raw_closes;
	bool raw_ended, raw_deaf;
	struct err raw_err;
	uv_tcp_t raw_listener;
	struct tls_ctx *raw_ctx;
};

extern const struct link_handler site_handler;
extern const struct tls_stream_handler raw_handler;

/* Sends as much of site->flood as goes. */
void site_flood(struct site *site, uint64_t peer, enum link_stream stream);
/* Node `id` with that identity; or with one of its own. */
void world_start_as(struct world *w, uint64_t id, const struct pki_identity *node);
void world_start(struct world *w, uint64_t id);
void world_stop(struct world *w, uint64_t id);
void world_peer(struct world *w, uint64_t id, uint64_t peer, unsigned port);
/* Time goes on by `ms` while the loop runs, in steps that are no standstill. */
void world_run(struct world *w, uint64_t ms);
int world_setup(void **state);
bool raw_is_gone(void *arg);
int world_teardown(void **state);
struct link_status status_of(struct world *w, uint64_t id, uint64_t peer);
bool one_two_up(void *arg);
/* Nodes 1 and 2, both links up. */
void world_pair(struct world *w);
void until_received(struct world *w, uint64_t id, enum link_stream stream, unsigned n);
void send_text(
	struct world *w, uint64_t from, uint64_t to, enum link_stream stream, const char *text);
/* For loop_until(). */
bool one_has_trouble(void *arg);
bool one_down(void *arg);
/* For loop_until(). */
bool raw_one_closed(void *arg);
bool raw_ended(void *arg);
bool raw_answered(void *arg);
/* Dials node 1 as node 2, up to the end of the TLS handshake. */
void raw_dial(struct world *w);
struct hello raw_hello(uint64_t dial);
void raw_say_hello(struct world *w, uint64_t dial);
/* And with a hello, up to its acceptance. */
void raw_connect(struct world *w, uint64_t dial);
/* Node 1, with a peer 2 that it cannot reach. */
void raw_world(struct world *w);
void raw_frame(struct world *w, struct frame_header h, const void *payload);
bool raw_ready(void *arg);

#endif
