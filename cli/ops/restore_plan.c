/* kluisctl restore plan: what a restore would read, write, take and lose, and what it needs. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/ops/restore_parts.h"
#include "storage/key_codec.h"

enum {
	PLAN_SAMPLE_BYTES = 32 << 20, /* Read and hashed, for the time it takes. */
	PLAN_READ_BYTES = 1 << 20,
	/* Bytes of values a millisecond that a new store takes in, synced: 420 MB took 3.3 to 3.8 s
	 * in all on two cores that did other things as well. */
	PLAN_WRITE_PER_MS = 120000,
};

static void json_put_u64(json_t *object, const char *key, uint64_t value)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* --- how long -------------------------------------------------------------------------------- */

static uint64_t sample_object(int fd, uint64_t max)
{
	_cleanup_(x_freep) uint8_t *chunk = x_malloc(PLAN_READ_BYTES);
	uint8_t hash[HASH_BYTES];
	uint64_t done = 0;

	while (done < max) {
		ssize_t n = read(fd, chunk, PLAN_READ_BYTES);

		if (n <= 0) {
			break; /* A guess needs no more. */
		}
		hash_sha256(bytes_of(chunk, (size_t)n), hash);
		done += (uint64_t)n;
	}
	return done;
}

/* All bytes at the rate of the first ones of the newest snapshot; before any of them is read. */
static uint64_t plan_read_ms(const struct restore *r)
{
	const struct backup_manifest *m = &r->snapshot.manifest;
	uint64_t began_ms = clock_monotonic_ms(&clock_system), read_bytes = 0, ms;

	for (uint32_t i = 0; i < m->n_index + m->n_packs && read_bytes < PLAN_SAMPLE_BYTES; i++) {
		_cleanup_(x_closep) int fd = -1;
		uint64_t bytes;

		if (repository_open_object(
			    r->offline.repository, m->objects[i].hash, &fd, &bytes, NULL) == 0) {
			read_bytes += sample_object(fd, PLAN_SAMPLE_BYTES - read_bytes);
		}
	}
	ms = clock_monotonic_ms(&clock_system) - began_ms;
	return read_bytes == 0
		       ? 0
		       : (uint64_t)((double)r->plan.bytes / (double)read_bytes * (double)ms);
}

/* --- what is in it --------------------------------------------------------------------------- */

struct plan_counts {
	uint64_t vaults, deleted, persons, services, pages, value_bytes;
};

static void count_row(struct plan_counts *counts, const struct index_entry *entry)
{
	counts->value_bytes += entry->length;
	switch (entry->key.data[0]) {
	case KEY_VAULT:
		counts->vaults++;
		break;
	case KEY_LEDGER: /* A deleted vault keeps its row. */
		counts->deleted++;
		break;
	case KEY_PERSON:
		counts->persons++;
		break;
	case KEY_ACCOUNT:
		counts->services++;
		break;
	case KEY_PAGE:
		counts->pages++;
		break;
	default:
		break;
	}
}

/* Every index of the point, and so its state root; no value. */
static int plan_count(struct restore *r, struct plan_counts *counts)
{
	struct invocation *inv = r->inv;
	struct point_rows *rows = NULL;
	struct point *point = NULL;
	struct index_entry entry;
	bool more = true;
	_cleanup_(x_freep) char *scratch = offline_scratch(&r->offline);
	int rc = point_open(
		r->offline.repository, r->snapshot.hash, &r->offline.trust, &point, &inv->err);

	rc = rc != 0 ? rc : point_rows_new(point, &r->keys, scratch, &rows, &inv->err);
	while (rc == 0) {
		rc = point_rows_next(rows, &entry, &more, &inv->err);
		if (rc != 0 || !more) {
			break;
		}
		count_row(counts, &entry);
	}
	point_rows_free(rows);
	point_free(point);
	return rc;
}

/* With the keys: that they are the right ones, what they open, and how much it comes to. */
static int plan_open(struct restore *r, struct plan_counts *counts)
{
	int rc;

	if (invocation_value(r->inv, "key-file") == NULL) {
		return 0;
	}
	rc = ops_key_files(r->inv, &r->keys);
	rc = rc != 0 ? rc : plan_count(r, counts);
	if (rc == 0) {
		r->plan.value_bytes = r->plan.least_value_bytes = counts->value_bytes;
	}
	return rc;
}

static void plan_put_counts(const struct plan_counts *counts, json_t *record)
{
	json_put_u64(record, "persons", counts->persons);
	json_put_u64(record, "services", counts->services);
	json_put_u64(record, "vaults",
		counts->vaults > counts->deleted ? counts->vaults - counts->deleted : 0);
	json_put_u64(record, "pages", counts->pages);
}

/* --- what is lost ---------------------------------------------------------------------------- */

static bool plan_may_ask(const struct invocation *inv)
{
	return invocation_value(inv, "socket") != NULL || invocation_value(inv, "ssh") != NULL ||
	       file_exists(OPS_SOCKET_DEFAULT);
}

/* The living cluster, when somebody answers for it: what it has beyond the snapshot. */
static void plan_put_living(const struct restore *r, json_t *record, json_t *status)
{
	const char *lineage = json_string_value(json_object_get(status, "lineage"));
	json_int_t applied = json_integer_value(json_object_get(status, "applied_index"));
	json_int_t index = (json_int_t)r->plan.index;
	char ours[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(r->plan.lineage, ID_BYTES), ours);
	(void)json_object_set(record, "living_index", json_object_get(status, "applied_index"));
	if (lineage == NULL || strcmp(lineage, ours) != 0) {
		(void)json_object_set_new(record, "living_lineage_differs", json_true());
		return;
	}
	(void)json_object_set_new(
		record, "entries_lost", json_integer(applied > index ? applied - index : 0));
}

static void plan_ask(struct restore *r, json_t *record)
{
	struct client *client;
	json_t *status = NULL;
	struct err why = {0};

	if (!plan_may_ask(r->inv) || ops_client_once(r->inv, ops_socket(r->inv, 0), &client) != 0) {
		return;
	}
	if (api_json(client, "GET", "/v1/sys/status", NULL, 0, &status, &why) == 0) {
		plan_put_living(r, record, status);
		json_decref(status);
	} else {
		output_note(&r->inv->out, "No living node answered: %s", why.text);
	}
	client_free(client);
}

/* --- what it needs --------------------------------------------------------------------------- */

static void need(json_t *needs, const char *what, const char *path)
{
	json_t *row = json_pack("{s:s, s:s?}", "what", what, "path", path);

	if (path != NULL) {
		(void)json_object_set_new(row, "there", json_boolean(file_exists(path)));
	}
	(void)json_array_append_new(needs, row);
}

static json_t *plan_needs(const struct restore *r)
{
	const struct node_config *c = r->offline.config;
	json_t *needs = json_array();

	for (unsigned i = 0; i < r->plan.n_kids; i++) {
		char kid[HEX_LEN(KID_BYTES) + 1];
		_cleanup_(x_freep) char *key = NULL;

		hex_encode(bytes_of(r->plan.kids[i], KID_BYTES), kid);
		key = x_asprintf("the private backup key %s", kid);
		need(needs, key, NULL);
	}
	need(needs, "the private operator restore key, for the first node", NULL);
	need(needs, "its public half", c->restore_key);
	need(needs, "the cluster's secrets, from their offline copy", c->secrets);
	return needs;
}

static void plan_tell_needs(const struct output *out, const json_t *needs)
{
	const json_t *row;
	size_t i;

	json_array_foreach(needs, i, row)
	{
		const char *path = json_string_value(json_object_get(row, "path"));

		output_note(out, "Needed: %s%s%s%s",
			json_string_value(json_object_get(row, "what")), path == NULL ? "" : ": ",
			path == NULL ? "" : path,
			json_is_false(json_object_get(row, "there")) ? " (not there)" : "");
	}
}

/* Of the directory that the data directory is or will be in. */
static uint64_t plan_free_bytes(const struct restore *r)
{
	_cleanup_(x_freep) char *dir = x_strdup(r->offline.config->data_dir);
	struct statvfs fs;

	while (statvfs(dir, &fs) != 0) {
		char *slash = strrchr(dir, '/');

		if (errno != ENOENT || slash == NULL || slash == dir) {
			return 0;
		}
		*slash = 0;
	}
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* --- the plan -------------------------------------------------------------------------------- */

static json_t *plan_record(const struct restore *r, uint64_t read_ms)
{
	const struct restore_plan *p = &r->plan;
	_cleanup_(x_freep) char *db = restore_db(r);
	uint64_t now_ms = clock_wall_ms(&clock_system), taken_ms = p->cluster_time_ms;
	uint64_t expected_ms = read_ms + p->value_bytes / PLAN_WRITE_PER_MS;

	return json_pack(
		"{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, "
		"s:s, s:b}",
		"id", json_sprintf("%llu", (unsigned long long)r->snapshot.manifest.id),
		"manifest_hash", json_hex(bytes_of(p->manifest_hash, HASH_BYTES)), "lineage",
		json_hex(bytes_of(p->lineage, ID_BYTES)), "created", (json_int_t)taken_ms, "age_ms",
		(json_int_t)(now_ms > taken_ms ? now_ms - taken_ms : 0), "node",
		(json_int_t)p->node, "index", (json_int_t)p->index, "snapshots",
		(json_int_t)p->snapshots, "journals", (json_int_t)p->journals, "objects",
		(json_int_t)p->objects, "bytes", (json_int_t)p->bytes, "value_bytes",
		(json_int_t)p->value_bytes, "least_value_bytes", (json_int_t)p->least_value_bytes,
		"expected_ms", (json_int_t)expected_ms, "free_bytes",
		(json_int_t)plan_free_bytes(r), "repository",
		repository_path(r->offline.repository), "store", db, "store_there",
		file_exists(db));
}

static void plan_put_deletions(const struct restore *r, json_t *record)
{
	const struct deletion_source *newest = restore_newest(r);
	const struct backup_trusted *node;

	json_put_u64(record, "persons_deleted", r->deletions.n_persons);
	json_put_u64(record, "vaults_deleted", r->deletions.n_vaults);
	json_put_u64(record, "devices_revoked", r->deletions.n_devices);
	json_put_u64(record, "members_removed", r->deletions.n_members);
	if (newest != NULL) {
		node = backup_trust_node(&r->offline.trust, newest->mark.node);
		json_put_u64(record, "deletions_until", newest->mark.wall_ms);
		(void)json_object_set_new(record, "deletions_of",
			json_string(node == NULL ? "?" : node->site)); /* It was verified. */
	}
}

static const struct output_column plan_columns[] = {{"id", "Snapshot", OUTPUT_TEXT},
	{"created", "Taken", OUTPUT_TIME}, {"age_ms", "Lost: what came in the last", OUTPUT_MS},
	{"entries_lost", "Lost: log entries of the living cluster", OUTPUT_TEXT},
	{"living_lineage_differs", "The living cluster is of another lineage", OUTPUT_TEXT},
	{"node", "By node", OUTPUT_TEXT}, {"index", "Index", OUTPUT_TEXT},
	{"persons", "Persons", OUTPUT_TEXT}, {"services", "Service accounts", OUTPUT_TEXT},
	{"vaults", "Vaults", OUTPUT_TEXT}, {"pages", "Pages", OUTPUT_TEXT},
	{"persons_deleted", "Accounts to be deleted again", OUTPUT_TEXT},
	{"vaults_deleted", "Vaults to be deleted again", OUTPUT_TEXT},
	{"devices_revoked", "Devices to be revoked again", OUTPUT_TEXT},
	{"members_removed", "Members to be shut out again", OUTPUT_TEXT},
	{"deletions_until", "Deletions are known until", OUTPUT_TIME},
	{"deletions_of", "... by the journal of", OUTPUT_TEXT},
	{"snapshots", "Snapshots to read", OUTPUT_TEXT},
	{"journals", "Journal increments among them", OUTPUT_TEXT},
	{"objects", "Objects", OUTPUT_TEXT}, {"bytes", "Bytes to read", OUTPUT_BYTES},
	{"value_bytes", "Bytes to write, at most", OUTPUT_BYTES},
	{"least_value_bytes", "... at least", OUTPUT_BYTES},
	{"free_bytes", "Bytes free there", OUTPUT_BYTES},
	{"expected_ms", "Expected to take about", OUTPUT_MS},
	{"manifest_hash", "Manifest", OUTPUT_TEXT}, {"lineage", "Old lineage", OUTPUT_TEXT},
	{"repository", "From", OUTPUT_TEXT}, {"store", "Into", OUTPUT_TEXT},
	{"store_there", "A store is there already", OUTPUT_TEXT}};

static void plan_tell_room(const struct restore *r, uint64_t free_bytes)
{
	const struct output *out = &r->inv->out;

	if (free_bytes < r->plan.least_value_bytes) {
		output_warning(out, "there is not enough room in the data directory");
	} else if (free_bytes < r->plan.value_bytes) {
		output_warning(out, "there may be not enough room in the data directory: with "
				    "--key-file the plan says how much is written");
	}
}

static void plan_tell(const struct restore *r, const json_t *record)
{
	const struct output *out = &r->inv->out;

	plan_tell_needs(out, json_object_get(record, "needs"));
	if (r->keys.n == 0) {
		output_note(out, "With --key-file it also counts persons, vaults and pages, and "
				 "the bytes to write.");
	}
	plan_tell_room(r, (uint64_t)json_integer_value(json_object_get(record, "free_bytes")));
	output_note(out, "All sessions end, and clients ask their users about the signed record.");
	output_warning(out,
		"as it was then is what changed since: an old password is valid again, a "
		"second factor that was removed is back, a role that was lowered is as "
		"high as it was, an account that operators disabled is not: all of that is "
		"to be done again. Who was removed from a vault or group since has no "
		"access to it, but stays on its list until an admin removes her again, "
		"which makes new keys");
}

int ops_restore_plan(struct invocation *inv)
{
	_cleanup_(restore_release) struct restore r = {.inv = inv};
	_cleanup_(json_dropp) json_t *record = NULL;
	struct plan_counts counts = {0};
	uint64_t read_ms;
	int rc = restore_open(&r);

	rc = rc != 0 ? rc : restore_collect(&r);
	if (rc != 0) {
		return rc;
	}
	read_ms = plan_read_ms(&r);
	rc = plan_open(&r, &counts);
	if (rc != 0) {
		return rc;
	}
	record = plan_record(&r, read_ms);
	plan_put_deletions(&r, record);
	if (r.keys.n > 0) {
		plan_put_counts(&counts, record);
	}
	plan_ask(&r, record);
	(void)json_object_set_new(record, "needs", plan_needs(&r));
	output_record(&inv->out, plan_columns, ARRAY_SIZE(plan_columns), record);
	plan_tell(&r, record);
	return 0;
}
