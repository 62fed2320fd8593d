/* Objects that come before a manifest asks for them. */
#include <string.h>

#include "backup/receive_impl.h"

enum { EARLY_IN_VAIN_MAX = 2 }; /* Objects read in vain in one scan. */

/* A file that may still grow is the newest one in the drop. Each is read once. */
static bool receive_is_early(
	const struct receive *rx, const struct drop_entry *entry, uint64_t newest_ms)
{
	return !entry->name.manifest && !entry->gone && !entry->stand_in &&
	       !drop_too_large(entry) && entry->modified_ms < newest_ms &&
	       entry->modified_ms >= rx->config->early_ms;
}

/* What is taken in so and not asked for may be as much as a drop: the repository keeps it for a
 * day, too. */
static bool receive_early_room(const struct receive *rx, uint64_t bytes)
{
	const struct drop_quota *quota = &rx->config->quota;

	return bytes <= rx->config->early_bytes &&
	       (quota->bytes == 0 || drop_stand_in_bytes(&rx->drop) + bytes <= quota->bytes) &&
	       (quota->files == 0 || drop_files(&rx->drop) <= quota->files + rx->awaited.files);
}

/* *ret_bytes grows by what is being made durable, for which a stand-in is to come. */
static int receive_take_early(struct receive *rx, const struct drop_entry *entry,
	struct publisher *publisher, bool *ret_taken, uint64_t *ret_bytes, struct err *e)
{
	struct manifest_object object = {.bytes = entry->bytes};
	int rc = 0;

	memcpy(object.hash, entry->name.hash, HASH_BYTES);
	if (!receive_held(rx, &object)) {
		rc = receive_take(rx, entry, publisher, e);
	}
	*ret_taken = rc == 0;
	*ret_bytes += rc == 0 ? entry->bytes : 0;
	if (rc == KLUIS_EVERIFY || rc == KLUIS_ECORRUPT) { /* Cut perhaps: left to the manifest. */
		rx->in_vain++;
		return 0;
	}
	return rc;
}

static int receive_early_all(struct receive *rx, uint64_t newest_ms, struct publisher *publisher,
	bool *taken, struct err *e)
{
	unsigned in_vain_max = rx->in_vain + EARLY_IN_VAIN_MAX;
	uint64_t bytes = 0;
	int rc = 0;

	rx->report->early_ms = newest_ms;
	for (size_t i = 0; rc == 0 && i < rx->drop.n; i++) {
		const struct drop_entry *entry = &rx->drop.entries[i];

		if (!receive_is_early(rx, entry, newest_ms) || rx->in_vain >= in_vain_max) {
			continue; /* The manifest asks for it. */
		}
		if (!receive_early_room(rx, bytes + entry->bytes)) {
			rx->report->early_ms = rx->config->early_ms; /* Again at the next look. */
			continue;
		}
		rc = receive_take_early(rx, entry, publisher, &taken[i], &bytes, e);
	}
	return rc;
}

int receive_early(struct receive *rx, struct err *e)
{
	_cleanup_(x_freep) bool *taken = x_calloc(rx->drop.n + 1, sizeof *taken);
	struct publisher *publisher;
	uint64_t newest_ms = 0;
	int rc, done;

	for (size_t i = 0; i < rx->drop.n; i++) {
		const struct drop_entry *entry = &rx->drop.entries[i];

		newest_ms = !entry->stand_in && entry->modified_ms > newest_ms ? entry->modified_ms
									       : newest_ms;
	}
	rx->pace = rx->config->pace;
	publisher = publisher_new(NULL, NULL);
	rc = receive_early_all(rx, newest_ms, publisher, taken, e);
	done = publisher_finish(publisher, rc == 0 ? e : NULL);
	publisher_free(publisher);
	rc = rc != 0 ? rc : done;
	for (size_t i = 0; rc == 0 && i < rx->drop.n; i++) {
		if (taken[i]) {
			rx->report->early++;
			rc = drop_stand_in(&rx->drop, &rx->drop.entries[i], e);
		}
	}
	return rc;
}
