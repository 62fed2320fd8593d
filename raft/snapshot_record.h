/* The record of a snapshot beside the log: what the store stands for at an index
 * (docs/format-catch-up.md). Pure. */
#ifndef KLUIS_RAFT_SNAPSHOT_RECORD_H
#define KLUIS_RAFT_SNAPSHOT_RECORD_H

#include "raft/driver.h"

void snapshot_record_encode(const struct driver_snapshot *snapshot, struct buf *to);
/* Exact; KLUIS_ECORRUPT, KLUIS_EVERSION. */
KLUIS_MUST_CHECK int snapshot_record_decode(
	struct bytes bytes, struct driver_snapshot *ret_snapshot, struct err *e);

#endif
