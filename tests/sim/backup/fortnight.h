/* Six sites that back one store up for weeks of virtual time: the real state machine and its
 * snapshot records, real increments, drops, receipts, retention and repositories; clocks, crashes,
 * power cuts, links and disks follow from a seed (docs/simulator.md, "Backups"). One thread. */
#ifndef KLUIS_TESTS_SIM_BACKUP_FORTNIGHT_H
#define KLUIS_TESTS_SIM_BACKUP_FORTNIGHT_H

#include "backup/point.h"
#include "backup/receive.h"
#include "backup/schedule.h"
#include "backup/ship.h"
#include "base/random.h"
#include "tests/lib/fixture/machine.h"
#include "tests/sim/backup/disk.h"

enum {
	SITES = 6,
	QUORUM = 4,
	COPIES = 3,
	TICK_MS = 20 * 60 * 1000,
	CYCLE_MS = 4 * 3600 * 1000,
	CYCLE_TICKS = CYCLE_MS / TICK_MS,
	CALM_CYCLES = 12,
	CLAIM_MS = 3600 * 1000,
	CLIENTS = 3,
	CLIENT_PAGES = 20,
	TOKENS_MAX = 24,
};

/* X(symbol, name): bugs that a run has planted in it. */
#define BUGS(X)                                     \
	X(BUG_NONE, "none")                         \
	X(BUG_PRUNE_EARLY, "prune-early")           \
	X(BUG_PRUNE_NEVER, "prune-never")           \
	X(BUG_PIN_KEEPS_ALL, "pin-keeps-all")       \
	X(BUG_SLICE_FORGOTTEN, "slice-forgotten")   \
	X(BUG_TOMBSTONE_LOST, "tombstone-lost")     \
	X(BUG_CHANGE_LOST, "change-lost")           \
	X(BUG_CONFIRM_UNSYNCED, "confirm-unsynced") \
	X(BUG_CONFIRM_UNSEEN, "confirm-unseen")     \
	X(BUG_SHIP_ONCE, "ship-once")               \
	X(BUG_MINUTE_UNSEEN, "minute-unseen")       \
	X(BUG_MINUTE_DROPPED, "minute-dropped")     \
	X(BUG_RENEW_HUNG, "renew-hung")             \
	X(BUG_RENEW_UNSHIPPED, "renew-unshipped")   \
	X(BUG_CLAIM_TWICE, "claim-twice")           \
	X(BUG_NO_REASON, "no-reason")               \
	X(BUG_OBJECT_LOST, "object-lost")           \
	X(BUG_FORMER_REFUSED, "former-refused")     \
	X(BUG_ORPHANED, "orphaned")                 \
	X(BUG_TAME, "tame")
enum bug {
#define X(symbol, name) symbol,
	BUGS(X)
#undef X
		BUG_MAX
};

/* X(symbol, name): what is looked at. */
#define CHECKS(X)                                                                                  \
	X(CHECK_ALL, "all")                                                                        \
	X(CHECK_POINT, "point") /* A promised point restores, byte for byte. */                    \
	X(CHECK_HELD, "held")	/* Who confirmed what a promised point needs holds it, one all. */ \
	X(CHECK_NEEDED, "needed") /* Nothing is pruned that a promised point needs. */             \
	X(CHECK_KEPT, "kept")	  /* Nothing older than retention stays. */                        \
	X(CHECK_HALF, "half")	  /* A repository that was opened again holds no half thing. */    \
	X(CHECK_TAKER, "taker")	  /* One taker a slot, one chain. */                               \
	X(CHECK_STEP, "step")	  /* What fails has a reason. */                                   \
	X(CHECK_HUNG, "hung")	  /* Who hangs keeps no cycle. */                                  \
	X(CHECK_FAULTS, "faults") /* Every kind of fault came. */                                  \
	X(CHECK_MINUTE, "minute") /* The newest confirmed journal increment restores. */           \
	X(CHECK_CALM, "calm")	  /* Without faults each cycle is confirmed, each site gets all. */
enum check {
#define X(symbol, name) symbol,
	CHECKS(X)
#undef X
		CHECK_MAX
};

/* X(symbol, name): what goes wrong. */
#define FAULTS(X)                                                                                \
	X(FAULT_CRASH, "crash")		  /* A process ends, with its machine's power or not, */ \
	X(FAULT_POWER, "power")		  /* ... with it. */                                     \
	X(FAULT_DIES, "dies")		  /* A machine dies at a file call. */                   \
	X(FAULT_HANG, "hang")		  /* A taker's thread stands still. */                   \
	X(FAULT_HANG_SHIP, "hang-ship")	  /* All that ships from one do. */                      \
	X(FAULT_AWAY, "away")		  /* A site's links are cut, for hours, */               \
	X(FAULT_AWAY_LONG, "away-long")	  /* ... for days. */                                    \
	X(FAULT_LINK, "link")		  /* One connection breaks. */                           \
	X(FAULT_SLOW, "slow")		  /* Links to a site are. */                             \
	X(FAULT_FULL, "full")		  /* A disk. */                                          \
	X(FAULT_CLOCK, "clock")		  /* One jumps by a day. */                              \
	X(FAULT_ALL_CLOCKS, "all-clocks") /* All of them. */                                     \
	X(FAULT_ALL_DOWN, "all-down")                                                            \
	X(FAULT_QUIET, "quiet")	      /* No client has anything to write. */                     \
	X(FAULT_UNHEARD, "unheard")   /* A command is applied, and its answer lost. */           \
	X(FAULT_REPLACED, "replaced") /* A machine is lost for good; another number comes. */
enum fault {
#define X(symbol, name) symbol,
	FAULTS(X)
#undef X
		FAULT_MAX
};

struct fortnight_options {
	uint64_t seed, cycles;
	enum bug bug;
	enum check only; /* CHECK_ALL: every one. */
	bool verbose;
};
struct fortnight_stats {
	uint64_t cycles, confirmed, takeovers, doubles; /* doubles: two snapshots of one cycle. */
	uint64_t faults[FAULT_MAX], undone;
	uint64_t shipped, received, refused, cut, pruned, pins, rotations;
	uint64_t ended;	       /* Copies that went of what a number took that is gone. */
	uint64_t pieces;       /* Points that were whole at no single site, after a loss. */
	uint64_t minutes;      /* Journal increments. */
	uint64_t points, rows; /* Restored and compared. */
};

struct fortnight;

/* What a store held when a snapshot of it was begun. */
struct truth {
	uint64_t id, index;
	size_t n;
	uint8_t (*rows)[HASH_BYTES]; /* SHA-256 of key and value, sorted. */
};

/* A site's part in the journal. */
struct minutes {
	struct journal_row row; /* As this site last saw it. */
	uint8_t seen[JOURNAL_SEEN][HASH_BYTES], below[HASH_BYTES];
	size_t n_seen;
	uint64_t due_ms, seen_ms;
	bool taken; /* And not recorded yet: */
	uint64_t base_id;
	uint32_t number;
	struct backup_manifest manifest;
	uint8_t hash[HASH_BYTES];
};

enum take_state { TAKE_IDLE, TAKE_CHECKPOINT, TAKE_WRITE, TAKE_RECORD };
struct site {
	struct fortnight *f;
	unsigned number;  /* Its place, from 0. */
	uint64_t node;	  /* place + 1; of who comes in its place SITES more each time. */
	bool lost;	  /* Its machine, until another one takes its place. */
	char *dir, *path; /* All of it, and its repository. */
	struct disk *disk;
	struct repository *repository; /* NULL: the site is down. */
	struct key *signer;
	/* True time: */
	uint64_t down_until, away_until, full_until, slow_until, clock_until, booted_ms, prune_ms;
	int64_t clock_ms; /* What its wall clock is wrong by. */
	struct {
		enum take_state state;
		struct snapshot_row row;
		struct kv *checkpoint;
		struct backup_manifest manifest;
		uint8_t base_hash[HASH_BYTES], hash[HASH_BYTES];
		uint64_t index, given_up;
		uint64_t hung_ms,
			hung_until; /* True time: since when and how long it does nothing. */
		uint64_t moved;
		struct schedule_pulse pulse;
	} take;
	struct {
		uint64_t id;		      /* What it was to ship when it began to hang. */
		uint64_t hung_ms, hung_until; /* True time. */
		uint64_t moved, brought[SITES];
		struct schedule_pulse pulse;
	} ship;
	struct minutes minutes;
	uint64_t passed_over[SITES], delivered[SITES];
	struct snapshot_row *rows; /* Records as this site last saw them. */
	size_t n_rows;
	struct ship_members members; /* The same. */
	struct object_seen *seen;    /* objects.c */
	size_t n_seen;
};

struct fortnight {
	struct fortnight_options options;
	struct fortnight_stats stats;
	struct random_seeded seeded;
	struct random *random;
	struct random_seeded chance; /* Of disks and links: what they draw hangs on file names. */
	char *dir;
	uint64_t true_ms, cluster_ahead_ms, ticks;
	bool calm, late;	    /* late: what has not gone wrong yet does now. */
	bool hang, hang_ship;	    /* The next one who begins to take; to ship. */
	struct backup_key_set keys; /* The last one is in use. */
	struct backup_trust trust;
	struct backup_formers formers; /* Of numbers that are gone. */
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	struct site site[SITES];

	struct fixture_machine machine;
	struct fixture_client client[CLIENTS];
	unsigned next_client;
	struct {
		uint8_t token_hash[32], session_id[16];
	} signed_in[TOKENS_MAX];
	size_t n_signed_in;
	struct snapshot_row *rows; /* All records, as of now. */
	size_t n_rows;
	struct journal_row journal;  /* As of now, */
	struct ship_members members; /* ... too. */
	uint64_t lost_ms;	     /* True time of the last loss; 0: none. */
	bool in_pieces;	       /* Since then some promised point is whole at no single site. */
	uint64_t committed_ms; /* Cluster time of the last commit. */
	uint64_t pinned, unpin_ms;
	uint64_t quiet_until; /* True time: no client asks for anything. */

	struct truth *truths;
	size_t n_truths;
	bool failed;
	char why[512];
};

/* The first violation ends the run. */
void fortnight_violate(struct fortnight *f, enum check check, const char *fmt, ...)
	KLUIS_PRINTF(3, 4);
void fortnight_say(const struct fortnight *f, const char *fmt, ...) KLUIS_PRINTF(2, 3);
bool fortnight_chance(struct fortnight *f, unsigned per_mille); /* Never in a calm. */
/* Whether this kind of fault is to come now; who has it happen counts it. */
bool fortnight_due(struct fortnight *f, enum fault fault, unsigned per_mille);
void fortnight_fault(struct fortnight *f, enum fault fault);
struct site *fortnight_any_site(struct fortnight *f);

/* --- faults.c -------------------------------------------------------------------------------- */

void faults_come(struct fortnight *f);

/* --- replace.c: a machine is lost, and a member replaced by one of another number ---------------
 */

struct site *site_of(struct fortnight *f, uint64_t node); /* NULL: that number is gone. */
const char *site_name(const struct site *site);
/* The settings of all: whose signatures count, and the keys of numbers that are gone. */
void replace_trust(struct fortnight *f);
/* The machine, with all it held. */
void replace_lose(struct site *site);
/* Where one was lost, and the operator has come to it: docs/operations.md, "Lose a site". */
void replace_work(struct fortnight *f);

/* --- cluster.c: the replicated store --------------------------------------------------------- */

void cluster_begin(struct fortnight *f);
void cluster_end(struct fortnight *f);
uint64_t cluster_now(const struct fortnight *f);
/* A tick's worth of commands by clients and by the leader. */
void cluster_work(struct fortnight *f);
/* The site's number gives its place to `node`. KLUIS_ENOQUORUM. */
int cluster_replace(struct fortnight *f, const struct site *site, uint64_t node);
/* A command by a site: KLUIS_ENOQUORUM when the cluster cannot be reached from there, and now and
 * then KLUIS_EUNKNOWN_OUTCOME for one that was applied. */
int cluster_propose(struct fortnight *f, struct site *site, const struct command *command);
bool cluster_reached(const struct fortnight *f, const struct site *site);
/* All clocks a day ahead, and the cluster's time with them. */
void cluster_jump(struct fortnight *f, uint64_t ms);
void cluster_state(const struct fortnight *f, struct snapshot_state_row *ret_state);
const struct snapshot_row *cluster_record(const struct fortnight *f, uint64_t id);

/* --- site.c ---------------------------------------------------------------------------------- */

void site_init(struct fortnight *f, unsigned number);
void site_furnish(struct site *site); /* An empty disk. */
void site_key(struct site *site);     /* A new one, to sign with. */
void site_release(struct site *site);
uint64_t site_wall_ms(const struct site *site);
bool site_up(const struct site *site);
bool site_reached(const struct site *site); /* Up, and its links work. */
/* The process ends here and now, with the machine's power or without. */
void site_crash(struct site *site, bool power);
/* One look at what there is to do, as node/backup_job does it. */
void site_tick(struct site *site);
struct receive_config site_receiver(struct site *site);
/* Its own receipt says that this site holds all of it. */
bool site_has_receipt(struct site *site, const uint8_t manifest_hash[HASH_BYTES]);
/* Around work on its disk; false: it crashed in it. A failure without a reason is a violation. */
void site_step_begin(struct site *site);
bool site_step_end(struct site *site, const char *what, int rc, const struct err *e);
bool site_ship_hangs(const struct site *site);
int site_ship_one(struct site *site, struct site *to, const uint8_t manifest_hash[HASH_BYTES],
	struct ship_report *report, struct err *e);
bool site_ship_was_sane(int rc, const struct site *to);

/* --- minutes.c: the journal between cycles, which nodes take a minute and sites here a tick --- */

void minutes_look(struct site *site);
void minutes_drop(struct site *site); /* The process ended. */
void minutes_work(struct site *site);
void minutes_ship(struct site *site, struct site *to);
void minutes_confirm(struct site *site);

/* --- line.c: links between sites, in place of SSH --------------------------------------------- */

/* From here to line_end() connections lead to the drops of `to`. A slow link takes so many files;
 * one that is cut breaks somewhere, perhaps more than once. */
void line_begin(struct site *to, unsigned files, bool cut);
void line_end(void);

/* --- plant.c: bugs in how rows are chosen, while a snapshot is taken, and in who may claim ------
 */

void plant(enum bug bug); /* From here on; BUG_NONE: no more. */
/* An object of this repository is gone. */
void plant_loss(const struct site *site);
void plant_readers(enum bug bug); /* The same of who reads what a repository holds. */

/* --- promise.c: what has to be restorable, and where it lies --------------------------------- */

enum { POINTS_MAX = 2 * BACKUP_SLICES + 8 };

/* Points that are promised now; how many. */
size_t promise_points(const struct fortnight *f, const struct snapshot_row *to[POINTS_MAX]);
/* The records that restoring `top` reads, from itself down; as the log has them, not as manifests
 * say. How many. */
size_t promise_chain(const struct fortnight *f, const struct snapshot_row *top,
	const struct snapshot_row *to[BACKUP_SLICES]);
/* Manifests that lie there, also if it is down; how many. The caller frees. */
size_t promise_names(struct site *site, struct manifest_name **ret_names);
/* NULL: it does not. */
const struct manifest_name *promise_find(
	const struct manifest_name *names, size_t n, const uint8_t hash[HASH_BYTES]);
bool promise_has(const struct manifest_name *names, size_t n, const uint8_t hash[HASH_BYTES]);
/* Whether the whole chain of `row` lies there. */
bool promise_whole_at(struct site *site, const struct snapshot_row *row);
/* Who confirmed what a promised point needs, and is not lost, holds it; what lies anywhere of it is
 * whole. */
void check_held(struct fortnight *f);
/* After a loss: what is promised is as many copies less that one, so that a point may be whole at
 * no single site until its pieces have been brought. */
void check_lost(struct fortnight *f);
/* That no site holds all of this point. */
void check_whole_nowhere(struct fortnight *f, const struct snapshot_row *row);

/* --- objects.c ------------------------------------------------------------------------------- */

/* It lies there, and is what its name says. */
bool object_whole(const struct site *site, const struct manifest_object *object);
/* The same of all that this manifest, which lies there, names, and of itself. */
bool objects_still(struct site *site, const struct manifest_name *name);

/* --- check.c --------------------------------------------------------------------------------- */

void truth_add(struct fortnight *f, uint64_t id, const struct kv_view *view, uint64_t index);
void truths_free(struct fortnight *f);
/* Of a repository opened again. */
void check_half(struct site *site);
/* After each prune, and with what was there before it. */
void check_pruned(
	struct site *site, const struct manifest_name *before, size_t n, uint64_t wall_ms);
void check_records(struct fortnight *f);
/* No cycle is held by a taker that has hung for longer than a claim lasts. */
void check_hung(struct fortnight *f);
/* At the end of all faults. */
void check_faults(struct fortnight *f);
/* Promised points at a random site that has them: the oldest and a random one, or all. */
void check_points(struct fortnight *f, bool all);
/* The newest journal increment that enough sites said they hold: one of them does, and it restores.
 */
void check_minute(struct fortnight *f);
/* After a calm: the newest and the oldest promised point at every site. */
void check_everywhere(struct fortnight *f);

#endif
