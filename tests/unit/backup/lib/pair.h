/* For tests of shipping and receiving: two sites, node 1 with a model of a store that snapshots are
 * taken of, and node 2 with a real sshd in front of its drop; what the log would know. */
#ifndef KLUIS_TESTS_UNIT_BACKUP_LIB_PAIR_H
#define KLUIS_TESTS_UNIT_BACKUP_LIB_PAIR_H

#include "backup/receive.h"
#include "backup/ship.h"
#include "tests/lib/sshd.h"
#include "tests/unit/backup/lib/site.h"

enum { PAIR_RECORDS_MAX = 128 };

struct backup_pair {
	struct test_sshd *sshd;
	struct backup_sites sites;
	struct backup_model model;
	struct sftp_target target;
	struct receive_config receiver; /* Node 2, fed by node 1. */
	struct snapshot_row records[PAIR_RECORDS_MAX];
};

int pair_set_up(void **state);
int pair_set_up_chroot(void **state); /* The production kind of receiver: for root alone. */
int pair_tear_down(void **state);

/* The log learns of it. */
struct snapshot_row *pair_record(
	struct backup_pair *w, const struct backup_manifest *m, const uint8_t hash[HASH_BYTES]);
/* Node 1 changes rows and takes a snapshot, which the log learns of. */
void pair_take(
	struct backup_pair *w, unsigned changes, size_t value_max, uint8_t ret_hash[HASH_BYTES]);
struct ship_report pair_ship(struct backup_pair *w, const uint8_t hash[HASH_BYTES]);
/* One look of node 2 into the drop, now or at another time of its clock. */
struct receive_report pair_receive_at(struct backup_pair *w, uint64_t wall_ms);
struct receive_report pair_receive(struct backup_pair *w);
/* Accepted: whole, whatever lay beside it; its receipt is node 2's word. */
void pair_assert_received(struct backup_pair *w, const uint8_t hash[HASH_BYTES]);

void pair_drop_file(struct backup_pair *w, const char *name, struct bytes bytes);
/* Puts the manifest and the first n objects of a snapshot into the drop without an SSH session. */
void pair_carry(struct backup_pair *w, const uint8_t hash[HASH_BYTES], uint32_t n);
/* Names in the drop. */
size_t pair_drop_count(struct backup_pair *w);

#endif
