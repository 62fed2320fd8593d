/* Uploads that were cut, and followed by another one of the same object or manifest. */
#include "backup/receive_impl.h"

/* Of n entries of one hash, the last write that is not of the future: 0 without one. */
static uint64_t cut_newest_ms(const struct receive *rx, const struct drop_entry *entries, size_t n)
{
	uint64_t newest_ms = 0;

	for (size_t i = 0; i < n; i++) {
		if (!entries[i].gone && entries[i].modified_ms <= rx->wall_ms &&
			entries[i].modified_ms > newest_ms) {
			newest_ms = entries[i].modified_ms;
		}
	}
	return newest_ms;
}

/* A sender has one upload of an object under way, which is the newest and grows. */
static bool cut_is_over(const struct receive *rx, size_t at, uint64_t newest_ms)
{
	const struct drop_entry *entry = &rx->drop.entries[at];

	return !entry->gone && !entry->stand_in && !rx->wanted[at] &&
	       entry->modified_ms < newest_ms && rx->wall_ms - entry->modified_ms > BACKUP_CUT_MS;
}

static int cut_remove(struct receive *rx, size_t from, size_t upto, struct err *e)
{
	uint64_t newest_ms = cut_newest_ms(rx, &rx->drop.entries[from], upto - from);
	int rc = 0;

	for (size_t at = from; rc == 0 && at < upto; at++) {
		if (cut_is_over(rx, at, newest_ms)) {
			rx->report->cut++;
			rc = drop_remove(&rx->drop, &rx->drop.entries[at], e);
		}
	}
	return rc;
}

int receive_cut(struct receive *rx, struct err *e)
{
	size_t from = 0, upto;
	int rc = 0;

	for (; rc == 0 && from < rx->drop.n; from = upto) {
		const struct drop_name *name = &rx->drop.entries[from].name;

		upto = from + 1;
		while (upto < rx->drop.n && drop_is(&rx->drop, upto, name->manifest, name->hash)) {
			upto++;
		}
		rc = cut_remove(rx, from, upto, e);
	}
	return rc;
}
