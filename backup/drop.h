/* One sender's append-only drop as the receiver sees it: names of ours, opened without following
 * anything. Blocking, one thread. */
#ifndef KLUIS_BACKUP_DROP_H
#define KLUIS_BACKUP_DROP_H

#include "backup/names.h"
#include "base/err.h"
#include "base/limits.h"

struct drop_entry {
	struct drop_name name;
	uint64_t bytes, modified_ms; /* By this host's clock: a sender cannot set it. */
	bool stand_in;		     /* Of drop_stand_in(): it has a size, and no bytes. */
	bool gone;		     /* Removed by drop_remove(). */
};

struct drop {
	int fd;
	struct drop_entry *entries; /* By kind, hash, attempt: a hash's attempts stand together. */
	size_t n;
	unsigned foreign; /* Names that are none of ours, links, directories: never opened. */
	uint64_t foreign_bytes;
};

/* Of a drop; 0: no limit. */
struct drop_quota {
	uint64_t bytes, files;
};

/* Reads the directory; more than BACKUP_DROP_FILES_MAX of our names: the rest waits for another
 * scan. KLUIS_ENOTFOUND. Release it. */
KLUIS_MUST_CHECK int drop_scan(const char *path, struct drop *ret_drop, struct err *e);
void drop_release(struct drop *drop);
/* The first entry of this hash, else the place where it would stand; walk on while the hash is the
 * same. */
size_t drop_find(const struct drop *drop, bool manifest, const uint8_t hash[32]);
bool drop_is(const struct drop *drop, size_t at, bool manifest, const uint8_t hash[32]);
/* Read-only, the caller's to close. KLUIS_ECORRUPT: no regular file any more, or one that the
 * sender made so that nobody here may read it. */
KLUIS_MUST_CHECK int drop_open(
	const struct drop *drop, const struct drop_entry *entry, int *ret_fd, struct err *e);
KLUIS_MUST_CHECK int drop_remove(struct drop *drop, struct drop_entry *entry, struct err *e);
/* Puts a file of ours in place of one that was taken in, with its name and its size and without
 * any byte on the disk: the sender sees that it need not send it again. */
KLUIS_MUST_CHECK int drop_stand_in(struct drop *drop, struct drop_entry *entry, struct err *e);
/* Whether it begins with a zero, as a stand-in does and no object. */
bool drop_is_empty(const struct drop *drop, const struct drop_entry *entry);
/* Removes what is foreign and older than older_than_ms, but for directories, which no sender can
 * make; names are taken from the directory itself, one at a time, and nothing is followed. */
KLUIS_MUST_CHECK int drop_remove_foreign(
	struct drop *drop, uint64_t older_than_ms, unsigned *ret_removed, struct err *e);
/* Of all entries that are not gone, and of what is foreign; bytes without, and of, stand-ins. */
uint64_t drop_bytes(const struct drop *drop);
uint64_t drop_stand_in_bytes(const struct drop *drop);
size_t drop_files(const struct drop *drop);
/* Whether an entry has more bytes than its kind can have: nothing that is so named is ever taken.
 */
bool drop_too_large(const struct drop_entry *entry);

#endif
