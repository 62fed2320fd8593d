#include "cli/ops/offline.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/deletions.h"
#include "backup/restore.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/ops/ops.h"

enum { OFFLINE_MANIFEST_BYTES_MAX = 8 << 20, OFFLINE_HEX_MIN = 8 };

/* A site takes in what is of its own lineage, and its deletion journal says which that is: right
 * from the start, when cluster time may still be that of the point that was restored. */
static void offline_read_lineage(struct offline *o)
{
	_cleanup_(x_freep) char *dir = deletion_journal_dir(repository_path(o->repository));
	struct deletion_mark mark;

	if (deletion_journal_read_mark(dir, &o->trust, o->config->cluster_id, &mark, NULL) == 0) {
		memcpy(o->lineage, mark.lineage, ID_BYTES);
		o->node = mark.node;
	}
}

int offline_open(struct invocation *inv, struct offline *ret_offline)
{
	struct offline o = {.config = NULL};
	const char *config, *repository = invocation_value(inv, "repository");
	int rc = ops_needed(inv, "config", &config);

	rc = rc != 0 ? rc : node_config_load(config, &o.config, &inv->err);
	if (rc == 0) {
		rc = node_config_trust(o.config, &o.trust, &inv->err);
	}
	if (rc == 0 && repository == NULL) {
		repository = o.config->repository;
	}
	if (rc == 0 && repository == NULL) {
		rc = err_set(
			&inv->err, KLUIS_EINVAL, "--repository is needed: the settings name none");
	}
	rc = rc != 0 ? rc : repository_open(repository, &o.repository, &inv->err);
	if (rc != 0) {
		offline_release(&o);
		return rc;
	}
	offline_read_lineage(&o);
	*ret_offline = o;
	return 0;
}

void offline_release(struct offline *o)
{
	repository_close(o->repository);
	backup_trust_release(&o->trust);
	node_config_free(o->config);
	*o = (struct offline){.config = NULL};
}

void offline_snapshots_free(struct offline_snapshot *snapshots, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		backup_manifest_release(&snapshots[i].manifest);
	}
	free(snapshots);
}

/* A manifest that does not parse, or is not the one that its name says, is no snapshot; one by a
 * stranger, or of a key of before, is shown as what it is. */
static bool offline_read(struct invocation *inv, const struct offline *o,
	const struct manifest_name *name, struct offline_snapshot *ret)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct err why = {0};
	int rc = repository_get_manifest(o->repository, name, &bytes, &why);
	bool known;

	ret->former = false;
	known = rc == 0 && backup_manifest_open_held(buf_bytes(&bytes), &o->trust, &ret->manifest,
				   ret->hash, &ret->former, &why) == 0;
	ret->trusted = known && !ret->former;
	if (rc == 0 && !known) {
		rc = backup_manifest_parse(buf_bytes(&bytes), &ret->manifest, ret->hash, &why);
	}
	if (rc == 0 && memcmp(ret->hash, name->hash, HASH_BYTES) != 0) {
		backup_manifest_release(&ret->manifest);
		rc = err_set(&why, KLUIS_EVERIFY, "its bytes are not those of its name");
	}
	if (rc != 0) {
		(void)repository_manifest_fault(name, rc, &why); /* It is in why. */
		output_error(&inv->out, "kluisctl", &why);
	}
	return rc == 0;
}

static bool same_lineage(const struct offline_snapshot *x, const struct offline_snapshot *y)
{
	return memcmp(x->manifest.lineage, y->manifest.lineage, ID_BYTES) == 0;
}

static int lineage_newest_first(const void *a, const void *b)
{
	const struct offline_snapshot *x = a, *y = b;

	if (!same_lineage(x, y)) {
		return memcmp(x->manifest.lineage, y->manifest.lineage, ID_BYTES);
	}
	if (x->manifest.index != y->manifest.index) {
		return x->manifest.index > y->manifest.index ? -1 : 1;
	}
	return memcmp(x->hash, y->hash, HASH_BYTES);
}

static int newest_first(const void *a, const void *b)
{
	const struct offline_snapshot *x = a, *y = b;

	if (x->last != y->last) {
		return x->last ? -1 : 1;
	}
	if (x->lineage_ms != y->lineage_ms) {
		return x->lineage_ms > y->lineage_ms ? -1 : 1;
	}
	return lineage_newest_first(a, b);
}

/* One node's clock may be days ahead; raft indexes only grow, and cluster time is a majority's. */
static void offline_sort(const struct offline *o, struct offline_snapshot *all, size_t n)
{
	qsort(all, n, sizeof *all, lineage_newest_first);
	for (size_t i = 0; i < n; i++) {
		all[i].last = memcmp(all[i].manifest.lineage, o->lineage, ID_BYTES) == 0;
		all[i].lineage_ms = i > 0 && same_lineage(&all[i], &all[i - 1])
					    ? all[i - 1].lineage_ms
					    : all[i].manifest.cluster_time_ms;
	}
	qsort(all, n, sizeof *all, newest_first);
}

int offline_list(struct invocation *inv, const struct offline *o,
	struct offline_snapshot **ret_snapshots, size_t *ret_n, size_t *ret_damaged)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	struct offline_snapshot *found;
	size_t n_names, n = 0, damaged = 0;
	int rc = repository_list(o->repository, &names, &n_names, NULL, &inv->err);

	if (rc != 0) {
		return rc;
	}
	found = x_calloc(n_names + 1, sizeof *found);
	for (size_t i = 0; i < n_names; i++) {
		if (!offline_read(inv, o, &names[i], &found[n])) {
			damaged++;
			continue;
		}
		if (memcmp(found[n].manifest.cluster_id, o->config->cluster_id, ID_BYTES) == 0) {
			n++;
		} else {
			backup_manifest_release(&found[n].manifest);
			found[n] = (struct offline_snapshot){.trusted = false};
		}
	}
	offline_sort(o, found, n);
	*ret_snapshots = found;
	*ret_n = n;
	*ret_damaged = damaged;
	return 0;
}

static bool offline_matches(const struct offline_snapshot *snapshot, const char *id)
{
	char hash[HEX_LEN(HASH_BYTES) + 1];
	uint64_t number;

	bool journal = snapshot->manifest.type == MANIFEST_JOURNAL;

	if (id == NULL) {
		return !journal; /* They are in order. */
	}
	if (!journal && u64_parse(bytes_str(id), UINT64_MAX, &number) == 0 &&
		snapshot->manifest.id == number) {
		return true;
	}
	hex_encode(bytes_of(snapshot->hash, HASH_BYTES), hash);
	return strlen(id) >= OFFLINE_HEX_MIN && strncmp(hash, id, strlen(id)) == 0;
}

/* None or several, for a person who named one; the newest must be beyond doubt, for nothing says
 * later that it was another one. */
static int offline_judge(struct invocation *inv, const struct offline *o, const char *id,
	size_t found, size_t damaged, const struct offline_snapshot *first)
{
	const char *path = repository_path(o->repository);

	if (damaged > 0 && (id == NULL || found == 0)) {
		return err_set(&inv->err, KLUIS_EVERIFY,
			"%zu damaged manifests in '%s': use another site's copy%s", damaged, path,
			id == NULL ? ", or name the snapshot" : "");
	}
	if (found == 0) {
		return err_set(&inv->err, KLUIS_ENOTFOUND, "no snapshot '%s' in '%s'",
			id == NULL ? "newest" : id, path);
	}
	if (id == NULL && first->former) {
		return err_set(&inv->err, KLUIS_EVERIFY,
			"the newest manifest, of index %llu, is signed with a former key of node "
			"%llu: name the snapshot, if it is none that a thief of that key made",
			(unsigned long long)first->manifest.index,
			(unsigned long long)first->manifest.node);
	}
	if (id == NULL && !first->trusted) {
		return err_set(&inv->err, KLUIS_EVERIFY,
			"the newest manifest, of index %llu, is not signed by a node of the "
			"settings: use another site's copy, or name the snapshot",
			(unsigned long long)first->manifest.index);
	}
	/* After a restore, numbers begin anew: an id can then name two. */
	return found == 1
		       ? 0
		       : err_set(&inv->err, KLUIS_ECONFLICT,
				 "'%s' names %zu snapshots: give the manifest's hash", id, found);
}

int offline_find(struct invocation *inv, const struct offline *o, const char *id,
	struct offline_snapshot *ret_snapshot)
{
	struct offline_snapshot *all = NULL;
	size_t n = 0, found = 0, at = 0, damaged = 0;
	int rc = offline_list(inv, o, &all, &n, &damaged);

	for (size_t i = 0; rc == 0 && i < n && (id != NULL || found == 0); i++) {
		if (offline_matches(&all[i], id)) {
			at = found++ == 0 ? i : at;
		}
	}
	rc = rc != 0 ? rc : offline_judge(inv, o, id, found, damaged, &all[at]);
	if (rc == 0) {
		*ret_snapshot = all[at];
		all[at].manifest.objects = NULL; /* Moved. */
	}
	if (all != NULL) {
		offline_snapshots_free(all, n);
	}
	return rc;
}

/* The newest trusted one of each lineage says how new that is; of the newest lineage the first, and
 * how many there are. all: sorted. */
static size_t offline_front(const struct offline_snapshot *all, size_t n, size_t *ret_n)
{
	size_t best = n, first = 0, count = 0;

	for (size_t i = 0, begin = 0; i < n; i++) {
		bool seen;

		begin = i > 0 && same_lineage(&all[i], &all[i - 1]) ? begin : i;
		seen = best < n && same_lineage(&all[i], &all[best]);
		if (all[i].trusted && !seen &&
			(best == n ||
				(!all[best].last && all[i].manifest.cluster_time_ms >
							    all[best].manifest.cluster_time_ms))) {
			best = i;
			first = begin;
		}
	}
	while (best < n && first + count < n && same_lineage(&all[first + count], &all[best])) {
		count++;
	}
	*ret_n = count;
	return first;
}

/* A point that can be restored, as far as its manifests and sizes tell. */
static bool offline_whole(
	struct invocation *inv, const struct offline *o, const struct offline_snapshot *snapshot)
{
	struct restore_plan plan;
	struct err why = {0};
	int rc = snapshot->trusted
			 ? restore_plan(o->repository, snapshot->hash, &o->trust, &plan, &why)
			 : err_set(&why, KLUIS_EVERIFY,
				   snapshot->former
					   ? "it is signed with a former key; it can be named"
					   : "it is not signed by a node of the settings");

	if (rc != 0) {
		output_warning(&inv->out,
			"the point of index %llu is passed over, another site may have it whole: "
			"%s",
			(unsigned long long)snapshot->manifest.index, why.text);
	}
	return rc == 0;
}

int offline_find_newest(
	struct invocation *inv, const struct offline *o, struct offline_snapshot *ret_snapshot)
{
	struct offline_snapshot *all = NULL;
	size_t n = 0, damaged = 0, front, at;
	int rc = offline_list(inv, o, &all, &n, &damaged);

	if (rc != 0) {
		return rc;
	}
	if (damaged > 0) {
		output_warning(
			&inv->out, "%zu damaged manifests: one may be of a newer point", damaged);
	}
	at = offline_front(all, n, &front);
	front += at;
	while (at < front && !offline_whole(inv, o, &all[at])) {
		at++;
	}
	if (at < front) {
		*ret_snapshot = all[at];
		all[at].manifest.objects = NULL; /* Moved. */
	} else {
		rc = err_set(&inv->err, KLUIS_ENOTFOUND, "no point in '%s' is whole",
			repository_path(o->repository));
	}
	offline_snapshots_free(all, n);
	return rc;
}

/* The directory, or the nearest above it that is there. */
static char *offline_above(const char *path)
{
	_cleanup_(x_freep) char *dir = x_strdup(path);
	const char *found = dir;

	while (!file_exists(found)) {
		char *slash = strrchr(dir, '/');

		found = slash == NULL ? "." : slash == dir ? "/" : dir;
		*(slash == NULL ? dir : slash) = 0;
	}
	return x_strdup(found);
}

static bool offline_writable(const char *dir)
{
	return access(dir, W_OK | X_OK) == 0;
}

char *offline_scratch(const struct offline *o)
{
	_cleanup_(x_freep) char *data =
		o->config->data_dir == NULL ? NULL : offline_above(o->config->data_dir);
	const char *repository = repository_path(o->repository), *tmp = getenv("TMPDIR");

	if (data != NULL && offline_writable(data)) {
		return x_strdup(data);
	}
	if (offline_writable(repository)) {
		return x_strdup(repository);
	}
	return x_strdup(tmp != NULL && tmp[0] != 0 ? tmp : "/tmp");
}

json_t *offline_row(const struct offline_snapshot *s)
{
	const struct backup_manifest *m = &s->manifest;
	const char *kind = m->manual			 ? "manual"
			   : m->type == MANIFEST_JOURNAL ? "journal"
			   : m->type == MANIFEST_FULL	 ? "full"
							 : "increment";

	return json_pack("{s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}",
		"id", json_sprintf("%llu", (unsigned long long)m->id), "kind", kind, "state",
		s->trusted  ? "signed"
		: s->former ? "former"
			    : "untrusted",
		"node", (json_int_t)m->node, "index", (json_int_t)m->index, "term",
		(json_int_t)m->term, "cycle", (json_int_t)m->cycle, "created",
		(json_int_t)m->cluster_time_ms, "bytes", (json_int_t)backup_manifest_bytes(m),
		"objects", (json_int_t)m->n_index + (json_int_t)m->n_packs, "rows",
		(json_int_t)m->live, "manifest_hash", json_hex(bytes_of(s->hash, HASH_BYTES)),
		"lineage", json_hex(bytes_of(m->lineage, ID_BYTES)), "state_root",
		json_hex(bytes_of(m->state_root, HASH_BYTES)));
}
