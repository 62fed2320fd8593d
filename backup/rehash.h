/* Reading everything of a repository again, once a period: each object has its moment in it, by the
 * first bits of its name, so that the disk is read evenly and nothing comes in a burst. What is not
 * as its name says is set aside and kept in mind until it is whole again
 * (docs/format-backup.md section 9). Blocking, one thread. */
#ifndef KLUIS_BACKUP_REHASH_H
#define KLUIS_BACKUP_REHASH_H

#include <stdatomic.h>

#include "backup/repository.h"

enum {
	REHASH_DAMAGED_MAX = 256, /* Snapshots kept in mind; more are found again later. */
	REHASH_TEXT_BYTES = 160,  /* At most SNAPSHOT_DAMAGE_BYTES_MAX and a NUL. */
	REHASH_CATCH_UP = 4,	  /* After a time off it goes so much faster, not at once. */
};
#define REHASH_ALL (1ULL << 32)

struct rehash_damage {
	uint8_t manifest_hash[32];
	char text[REHASH_TEXT_BYTES]; /* Which file, and what is wrong with it. */
};

struct rehash_state {
	uint64_t reached;	     /* Names whose first 32 bits are below were read. */
	uint64_t reached_ms;	     /* The moment that stands for; 0: not begun. */
	uint64_t began_ms, ended_ms; /* This round; the last whole one, 0: none. */
	uint64_t objects, bytes;     /* Read so far, in all rounds. */
	uint64_t found;		     /* Files found damaged so far. */
	uint8_t witness[32]; /* A snapshot that was here when the round began; zero: none. */
	unsigned n_damaged;
	struct rehash_damage damaged[REHASH_DAMAGED_MAX];
};

struct rehash_config {
	struct repository *repository; /* Opened for writing. */
	const struct backup_trust *trust;
	const struct key *signer;  /* This node's, for receipts; */
	uint64_t node;		   /* whose key trust has. */
	uint64_t period_ms;	   /* Of a round; less than 2^32. */
	uint64_t step_ms;	   /* Between two steps. */
	const atomic_bool *cancel; /* NULL, or: true ends a step with KLUIS_ECLOSED. */
	const uint8_t *suspect;	   /* NULL, or a manifest hash: all of it is read now. */
	/* Snapshots that must be here: one without a manifest is damaged, too. Ascending S. */
	const struct manifest_name *held;
	size_t n_held;
	/* NULL, or what was learnt of a whole snapshot (level 2 of backup/verify.h): that it is
	 * damaged, text says how; that it is whole again; when the last damaged one has gone by age
	 * that the newest is whole; after a round that every object of it was read. Nothing good
	 * while one is damaged. */
	void (*checked_cb)(void *data, const uint8_t manifest_hash[32], bool ok, const char *text);
	void *data;
};

/* Appends the state as it stands on disk. */
void rehash_state_encode(const struct rehash_state *state, struct buf *to);
/* KLUIS_ECORRUPT, KLUIS_EVERSION. */
KLUIS_MUST_CHECK int rehash_state_decode(
	struct bytes bytes, struct rehash_state *ret_state, struct err *e);
/* As the last step left it; all zero when there was none, or when the file cannot be read or is not
 * what a step wrote (which is logged: a round begins anew). */
void rehash_load(struct repository *repository, struct rehash_state *ret_state);

/* How far the next step goes when it is wall_ms, in *ret_upto, and the moment that then stands for:
 * by the time that passed, at most REHASH_CATCH_UP steps' worth; nothing when the clock was set
 * back. Pure. */
uint64_t rehash_due(const struct rehash_config *config, const struct rehash_state *state,
	uint64_t wall_ms, uint64_t *ret_upto);
/* Reads what is due, looks for what must be here, looks again at what was damaged, keeps the state
 * on disk. A failure is one of the disk as a whole; the state is then as it was and the step is
 * taken again. */
KLUIS_MUST_CHECK int rehash_step(const struct rehash_config *config, struct rehash_state *state,
	uint64_t wall_ms, struct err *e);
/* What is wrong with this snapshot; NULL: nothing is known. */
const char *rehash_damage_of(const struct rehash_state *state, const uint8_t manifest_hash[32]);

#endif
