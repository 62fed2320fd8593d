/* With whom this node speaks, and whether it may take part at all: a node that lost its memory must
 * not be taken for the one that it was (docs/architecture.md, "A wiped node"). */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "raft/fail_stop.h"
#include "raft/replica_impl.h"

static_assert((int)INCARNATION_BYTES == (int)LOG_ID_BYTES, "an incarnation is a log's id");

int replica_meet_create(const char *dir, const uint8_t log_id[LOG_ID_BYTES], uint64_t node_id,
	const struct configuration *members, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/peers", dir);
	uint64_t founders[SITES_MAX];

	for (unsigned i = 0; i < members->n; i++) {
		founders[i] = members->member[i].id;
	}
	return peer_pins_create(path, log_id, node_id, founders, members->n, e);
}

/* Opening a log makes one where none is: that must be `kluisd init` alone. */
int replica_meet_check(const struct replica *r, struct err *e)
{
	static const char *const names[] = {"log/state", "peers"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(x_freep) char *path = replica_path(r, names[i]);

		if (!file_exists(path)) {
			return err_set(e, KLUIS_ECORRUPT,
				"'%s' is missing: this node has lost its log or its "
				"peers; " REPLACE_NODE,
				path);
		}
	}
	return 0;
}

int replica_meet_open(struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *path = replica_path(r, "peers");
	int rc = peer_pins_open(&r->pins, path, entry_log_id(r->log), r->node_id, e);

	if (rc == KLUIS_ENOTFOUND) {
		rc = KLUIS_ECORRUPT; /* It was there a moment ago. */
	}
	if (rc == 0) { /* One that joins begins with its own row. */
		r->begun = !r->pins.joins && peer_pins_begun(&r->pins);
	}
	return rc;
}

bool replica_joining(const struct replica *r)
{
	return r->pins.joins && !r->begun;
}

/* --- who is not who it was --- */

static struct replica_stranger *meet_stranger(struct replica *r, uint64_t peer)
{
	for (unsigned i = 0; i < r->n_strangers; i++) {
		if (r->stranger[i].id == peer) {
			return &r->stranger[i];
		}
	}
	return NULL;
}

enum replica_peer_trouble replica_meet_trouble(struct replica *r, uint64_t peer)
{
	const struct replica_stranger *stranger = meet_stranger(r, peer);

	return stranger == NULL ? REPLICA_PEER_KNOWN : stranger->trouble;
}

static void meet_known(struct replica *r, uint64_t peer)
{
	struct replica_stranger *stranger = meet_stranger(r, peer);

	if (stranger != NULL) {
		stranger->trouble = REPLICA_PEER_KNOWN;
	}
}

/* Told once for each kind of trouble: a supervisor may start the other one again and again. */
static void meet_refused(struct replica *r, uint64_t peer, int rc)
{
	enum replica_peer_trouble trouble =
		rc == KLUIS_ECONFLICT ? REPLICA_PEER_WIPED : REPLICA_PEER_OLD_COPY;
	struct replica_stranger *stranger = meet_stranger(r, peer);

	if (stranger == NULL && r->n_strangers < ARRAY_SIZE(r->stranger)) {
		stranger = &r->stranger[r->n_strangers++];
		*stranger = (struct replica_stranger){.id = peer};
	}
	if (stranger == NULL || stranger->trouble == trouble) {
		return;
	}
	stranger->trouble = trouble;
	log_err("op=meet peer=%" PRIu64 " state=refused msg=\"node %" PRIu64
		" %s; see 'Lose a site' in operations\"",
		peer, peer,
		trouble == REPLICA_PEER_WIPED
			? "was initialised anew: a wiped node must come back under a new id"
			: "runs on an old copy of its directory: it has forgotten what it "
			  "acknowledged");
}

static int meet_judged(struct replica *r, uint64_t peer, int rc)
{
	if (rc == KLUIS_ECONFLICT || rc == KLUIS_EBEHIND) {
		meet_refused(r, peer, rc);
	} else if (rc == 0) {
		meet_known(r, peer);
	}
	return rc;
}

int replica_meet_cb(void *data, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES],
	uint64_t starts, uint64_t boot)
{
	struct replica *r = data;
	int rc = replica_members_judge(r, peer, incarnation);

	return meet_judged(
		r, peer, rc != 0 ? rc : peer_pins_meet(&r->pins, peer, incarnation, starts, boot));
}

int replica_agree_cb(void *data, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES])
{
	struct replica *r = data;
	int rc = replica_members_judge(r, peer, incarnation);

	rc = rc != 0 ? rc : peer_pins_agree(&r->pins, peer, incarnation);
	if (rc == KLUIS_ECONFLICT) {
		meet_refused(r, peer, rc);
	}
	if (rc == 0 && !r->begun && !r->pins.joins && peer_pins_begun(&r->pins)) {
		r->begun = true;
		log_info("op=begin state=begun msg=\"all members have met: this node takes part\"");
	}
	return rc;
}

/* The other one knows that we have forgotten something, and it may be the only one that does. */
void replica_refused_cb(void *data, uint64_t peer, int rc)
{
	const struct replica *r = data;

	if (rc == KLUIS_ECONFLICT) {
		fail_stop_refused("node %" PRIu64 " was initialised anew: node %" PRIu64
				  " knows it by an earlier log. A wiped node must come back under "
				  "a new id; see 'Lose a site' in operations",
			r->node_id, peer);
	}
	if (rc == KLUIS_EGONE) {
		fail_stop_refused("node %" PRIu64
				  " was removed from the cluster, says node %" PRIu64
				  ": it takes no part any more; a new member needs a new id, see "
				  "'Lose a site' in operations",
			r->node_id, peer);
	}
	fail_stop_refused("node %" PRIu64 " runs on an old copy of its directory: node %" PRIu64
			  " knows later starts of it. It has forgotten what it acknowledged; see "
			  "'Lose a site' in operations",
		r->node_id, peer);
}
