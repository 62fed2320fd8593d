#include "backup/ship.h"

#include <assert.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { SHIP_PAUSE_MS = 100 }; /* Between two looks at `cancel` during a back-off. */

struct ship {
	struct repository *repository;
	const char *site;
	const struct sftp_target *target;
	struct buf manifest_bytes;
	struct backup_manifest manifest;
	uint8_t hash[HASH_BYTES];
	struct ship_report *report;
	struct ship_queue *queue; /* NULL: what the manifest names, and it. */
	unsigned done;		  /* Objects known to be complete there, in the order of either. */
	bool hopeless;		  /* Trying again cannot help. */
};

/* What lies in the drop, by name. */
struct ship_drop {
	struct sftp_entry *entries;
	size_t n;
};

static int ship_entry_compare(const void *a, const void *b)
{
	return strcmp(((const struct sftp_entry *)a)->name, ((const struct sftp_entry *)b)->name);
}

static int ship_name_compare(const void *name, const void *entry)
{
	return strcmp(name, ((const struct sftp_entry *)entry)->name);
}

static const struct sftp_entry *ship_find(const struct ship_drop *drop, const char *name)
{
	return drop->n == 0 ? NULL
			    : bsearch(name, drop->entries, drop->n, sizeof *drop->entries,
				      ship_name_compare);
}

/* The name that has the right size: *ret_there; else the first that is free. A file of another size
 * is an upload that was cut; it can be neither resumed nor replaced, but the receiver removes it
 * (receive_cut()), so that names become free below one that is whole. */
static int ship_name(const struct ship_drop *drop, bool manifest, const uint8_t hash[HASH_BYTES],
	uint64_t bytes, char ret_name[DROP_NAME_BYTES], bool *ret_there, struct err *e)
{
	struct drop_name name = {.manifest = manifest};
	unsigned unused = SHIP_NAMES_MAX;

	memcpy(name.hash, hash, HASH_BYTES);
	for (; name.attempt < SHIP_NAMES_MAX; name.attempt++) {
		const struct sftp_entry *entry;

		drop_name_format(&name, ret_name);
		entry = ship_find(drop, ret_name);
		if (entry != NULL && entry->bytes == bytes) {
			*ret_there = true;
			return 0;
		}
		if (entry == NULL && unused == SHIP_NAMES_MAX) {
			unused = name.attempt;
		}
	}
	if (unused == SHIP_NAMES_MAX) {
		return err_set(e, KLUIS_EQUOTA, "%d cut uploads of '%s'", SHIP_NAMES_MAX, ret_name);
	}
	name.attempt = unused;
	drop_name_format(&name, ret_name);
	*ret_there = false;
	return 0;
}

static int ship_object(struct ship *ship, struct sftp *sftp, const struct ship_drop *drop,
	const struct manifest_object *object, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	char name[DROP_NAME_BYTES];
	uint64_t bytes = 0;
	bool there = false;
	int rc = ship_name(drop, false, object->hash, object->bytes, name, &there, e);

	if (rc == 0 && there) {
		ship->report->objects_skipped++;
		return 0;
	}
	if (rc == 0) {
		rc = repository_open_object(ship->repository, object->hash, &fd, &bytes, e);
	}
	if (rc == 0 && bytes != object->bytes) {
		rc = err_set(e, KLUIS_ECORRUPT, "our copy of '%s' has another size", name);
	}
	if (rc != 0) {
		ship->hopeless = true;
		return rc;
	}
	/* What counts is the receiver's copy, which is durable when it signs for it: what a power
	 * failure takes from a drop is missing there, or not what its name says. */
	rc = sftp_put(sftp, name, fd, false, e);
	if (rc == 0) {
		ship->report->objects++;
	}
	return rc;
}

/* Last: what it names is all there. */
static int ship_manifest(
	struct ship *ship, struct sftp *sftp, const struct ship_drop *drop, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	struct manifest_name from = {.index = ship->manifest.index};
	char name[DROP_NAME_BYTES], text[MANIFEST_NAME_BYTES];
	bool there = false;
	int rc = ship_name(drop, true, ship->hash, ship->manifest_bytes.len, name, &there, e);

	if (rc != 0 || there) {
		ship->report->whole = rc == 0;
		return rc;
	}
	memcpy(from.lineage, ship->manifest.lineage, ID_BYTES);
	memcpy(from.hash, ship->hash, HASH_BYTES);
	manifest_name_format(&from, text);
	rc = repository_open_manifest(ship->repository, &from, &fd, e);
	if (rc != 0) {
		ship->hopeless = true;
		return rc;
	}
	rc = sftp_put(sftp, name, fd, true, e);
	ship->report->whole = rc == 0;
	return rc;
}

static int ship_load(struct ship *ship, const uint8_t manifest_hash[32], struct err *e)
{
	struct manifest_name name;
	int rc = repository_find(ship->repository, manifest_hash, &name, e);

	if (rc == 0) {
		rc = repository_get_manifest(ship->repository, &name, &ship->manifest_bytes, e);
	}
	if (rc == 0) {
		rc = backup_manifest_parse(
			buf_bytes(&ship->manifest_bytes), &ship->manifest, ship->hash, e);
	}
	if (rc == 0 && memcmp(ship->hash, manifest_hash, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_ECORRUPT, "our copy of the manifest was changed");
	}
	return rc;
}

/* The queue had all that the manifest names: they were published for it. */
static int ship_queued_manifest(
	struct ship *ship, struct sftp *sftp, const struct ship_drop *drop, struct err *e)
{
	uint8_t hash[HASH_BYTES];
	int rc;

	if (!ship_queue_manifest(ship->queue, hash)) {
		return 0;
	}
	rc = ship_load(ship, hash, e);
	if (rc != 0 || ship->done != ship->manifest.n_index + ship->manifest.n_packs) {
		return rc;
	}
	return ship_manifest(ship, sftp, drop, e);
}

static int ship_queued(
	struct ship *ship, struct sftp *sftp, const struct ship_drop *drop, struct err *e)
{
	const atomic_bool *cancel = ship->target->cancel;
	struct manifest_object object;
	int rc = 0;

	while (rc == 0 && ship_queue_get(ship->queue, ship->done, cancel, &object)) {
		rc = ship_object(ship, sftp, drop, &object, e);
		ship->done += rc == 0;
	}
	return rc != 0 ? rc : ship_queued_manifest(ship, sftp, drop, e);
}

static int ship_all(
	struct ship *ship, struct sftp *sftp, const struct ship_drop *drop, struct err *e)
{
	while (ship->done < ship->manifest.n_index + ship->manifest.n_packs) {
		const struct manifest_object *object = &ship->manifest.objects[ship->done];
		int rc = ship_object(ship, sftp, drop, object, e);

		if (rc != 0) {
			return rc;
		}
		ship->done++;
	}
	return ship_manifest(ship, sftp, drop, e);
}

static int ship_once(struct ship *ship, struct err *e)
{
	struct ship_drop drop = {0};
	struct sftp *sftp = NULL;
	int rc;

	ship->report->connections++;
	rc = sftp_open(ship->target, &sftp, e);
	if (rc != 0) {
		return rc;
	}
	ship->report->let_in = true;
	rc = sftp_list(sftp, &drop.entries, &drop.n, e);
	if (rc == 0) {
		if (drop.n > 0) {
			qsort(drop.entries, drop.n, sizeof *drop.entries, ship_entry_compare);
		}
		rc = ship->queue != NULL ? ship_queued(ship, sftp, &drop, e)
					 : ship_all(ship, sftp, &drop, e);
	}
	ship->report->bytes += sftp_bytes_sent(sftp);
	free(drop.entries);
	sftp_close(sftp);
	return rc;
}

static bool ship_final(const struct ship *ship, int rc)
{
	static const int final[] = {0, KLUIS_EPIN, KLUIS_EUNAUTHENTICATED, KLUIS_EFORBIDDEN,
		KLUIS_ENOSPACE, KLUIS_EQUOTA, KLUIS_ECLOSED, KLUIS_EINVAL, KLUIS_EINTERNAL,
		KLUIS_ETOOLARGE, KLUIS_ENOTFOUND};

	for (size_t i = 0; i < ARRAY_SIZE(final); i++) {
		if (rc == final[i]) {
			return true;
		}
	}
	return ship->hopeless;
}

/* false: cancelled. */
static bool ship_pause(const struct ship *ship, unsigned failures)
{
	uint64_t wait_ms =
		ship->target->backoff_ms == 0 ? SHIP_BACKOFF_MS : ship->target->backoff_ms;

	for (unsigned i = 1; i < failures && wait_ms < SHIP_BACKOFF_MS_MAX; i++) {
		wait_ms *= 2;
	}
	for (uint64_t at = 0; at < wait_ms; at += SHIP_PAUSE_MS) {
		if (ship->target->cancel != NULL && atomic_load(ship->target->cancel)) {
			return false;
		}
		(void)poll(NULL, 0, SHIP_PAUSE_MS);
	}
	return true;
}

static int ship_run(struct ship *ship, struct err *e)
{
	unsigned failures = 0, done;
	int rc;

	for (;;) {
		done = ship->done;
		rc = ship_once(ship, e);
		if (ship_final(ship, rc)) {
			return rc;
		}
		failures = ship->done > done ? 1 : failures + 1;
		if (failures >= SHIP_ATTEMPTS_MAX) {
			return rc;
		}
		log_warn("op=backup_ship site=%s rc=%s done=%u attempt=%u, retrying", ship->site,
			err_name(rc), ship->done, failures);
		if (!ship_pause(ship, failures)) {
			return err_set(e, KLUIS_ECLOSED, "stopped");
		}
	}
}

int ship_snapshot(struct repository *repository, const uint8_t manifest_hash[32], const char *site,
	const struct sftp_target *target, struct ship_report *ret_report, struct err *e)
{
	struct ship ship = {
		.repository = repository, .site = site, .target = target, .report = ret_report};
	int rc;

	memset(ret_report, 0, sizeof *ret_report);
	rc = ship_load(&ship, manifest_hash, e);
	if (rc == 0) {
		rc = ship_run(&ship, e);
	}
	backup_manifest_release(&ship.manifest);
	buf_release(&ship.manifest_bytes);
	return rc == 0 ? 0 : err_wrap(e, rc, "ship to site '%s'", site);
}

int ship_ahead(struct repository *repository, struct ship_queue *queue, const char *site,
	const struct sftp_target *target, struct ship_report *ret_report, struct err *e)
{
	struct ship ship = {.repository = repository,
		.site = site,
		.target = target,
		.report = ret_report,
		.queue = queue};
	int rc;

	memset(ret_report, 0, sizeof *ret_report);
	rc = ship_once(&ship, e);
	backup_manifest_release(&ship.manifest);
	buf_release(&ship.manifest_bytes);
	return rc == 0 ? 0 : err_wrap(e, rc, "ship ahead to site '%s'", site);
}

bool ship_whole(const struct snapshot_row *row)
{
	return row->state == SNAPSHOT_SHIPPED || row->state == SNAPSHOT_CONFIRMED;
}

bool ship_confirmed_by(const struct snapshot_row *row, uint64_t site)
{
	for (unsigned i = 0; i < row->n_confirmations; i++) {
		if (row->confirmation[i].node == site) {
			return true;
		}
	}
	return false;
}

/* members->n: it is none. */
static size_t ship_find_member(const struct ship_members *members, uint64_t node)
{
	size_t i = 0;

	while (i < members->n && members->nodes[i] != node) {
		i++;
	}
	return i;
}

bool ship_taker_gone(const struct snapshot_row *row, const struct ship_members *members)
{
	return members->n > 0 && ship_find_member(members, row->node) == members->n;
}

uint64_t ship_sender(const struct snapshot_row *row, const struct ship_members *members)
{
	uint64_t first = 0;

	if (!ship_taker_gone(row, members)) {
		return row->node;
	}
	for (unsigned i = 0; i < row->n_confirmations; i++) {
		size_t at = ship_find_member(members, row->confirmation[i].node);

		if (at < members->n && !members->away[at]) {
			return members->nodes[at];
		}
		first = at < members->n && first == 0 ? members->nodes[at] : first;
	}
	return first;
}

const struct snapshot_row *ship_next(const struct snapshot_row *rows, size_t n,
	const struct ship_members *members, uint64_t node, uint64_t site, uint64_t after)
{
	uint64_t newest = 0;

	for (size_t i = 0; i < n; i++) {
		newest = ship_whole(&rows[i]) && rows[i].cycle > newest ? rows[i].cycle : newest;
	}
	for (size_t i = 0; i < n; i++) {
		const struct snapshot_row *row = &rows[i];
		/* However long a site was away: a point there needs every cycle below it. */
		bool kept = row->cycle == 0 || row->cycle + BACKUP_CYCLES_KEPT >= newest;

		if (ship_whole(row) && ship_sender(row, members) == node && row->node != site &&
			row->id > after && kept && !ship_confirmed_by(row, site)) {
			return row;
		}
	}
	return NULL;
}
