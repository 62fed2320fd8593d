#include "tests/unit/backup/lib/site.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/test.h"

void backup_sites_rotate(struct backup_sites *sites, unsigned kem)
{
	assert_true(sites->keys.n < BACKUP_KEYS_MAX);
	assert_int_equal(key_generate(kem, 0, &sites->backup_key, NULL), 0);
	sites->keys.keys[sites->keys.n++] = sites->backup_key;
}

static void sites_trust(struct backup_sites *sites)
{
	static const char *const names[] = {"ams", "ber", "cph"};

	for (unsigned i = 0; i < BACKUP_SITES; i++) {
		_cleanup_(key_pub_freep) struct key_pub *pub =
			key_pub_ref((struct key_pub *)(uintptr_t)key_public(sites->signer[i]));

		assert_int_equal(backup_trust_add(&sites->trust, i + 1, names[i], pub, NULL), 0);
	}
}

void backup_sites_change_signer(struct backup_sites *sites, unsigned node)
{
	struct key **signer = &sites->signer[node - 1];
	struct backup_formers formers = {.rows = {{.node = node}}, .n = 1};

	memcpy(formers.rows[0].key, key_pub_bytes(key_public(*signer)).data,
		sizeof formers.rows[0].key);
	key_free(*signer);
	assert_int_equal(key_generate(KEY_ED25519, 0, signer, NULL), 0);
	backup_trust_release(&sites->trust);
	sites_trust(sites);
	assert_int_equal(backup_trust_add_formers(&sites->trust, &formers, NULL), 0);
}

void backup_sites_init(struct backup_sites *sites, unsigned kem)
{
	memset(sites, 0, sizeof *sites);
	sites->dir = scratch_new("backup");
	random_fill(&random_system, sites->cluster_id, ID_BYTES);
	random_fill(&random_system, sites->lineage, ID_BYTES);
	backup_sites_rotate(sites, kem);
	for (unsigned i = 0; i < BACKUP_SITES; i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/repository%u", sites->dir, i + 1);

		assert_int_equal(key_generate(KEY_ED25519, 0, &sites->signer[i], NULL), 0);
		assert_int_equal(repository_open_writer(path, &sites->repository[i], NULL), 0);
	}
	sites_trust(sites);
}

void backup_sites_release(struct backup_sites *sites)
{
	for (unsigned i = 0; i < BACKUP_SITES; i++) {
		key_free(sites->signer[i]);
		repository_close(sites->repository[i]);
	}
	backup_trust_release(&sites->trust);
	backup_key_set_release(&sites->keys);
	scratch_free(sites->dir);
}

void backup_model_init(struct backup_model *model, uint64_t seed)
{
	memset(model, 0, sizeof *model);
	random_seeded_init(&model->random, seed);
	model->rows = x_calloc(BACKUP_ROWS_MAX, sizeof *model->rows);
	model->index = 10;
}

void backup_model_copy(struct backup_model *to, const struct backup_model *from)
{
	*to = *from;
	to->rows = x_calloc(from->n + 1, sizeof *to->rows);
	for (size_t i = 0; i < from->n; i++) {
		to->rows[i] = from->rows[i];
		to->rows[i].value = BUF_INIT;
		buf_append_bytes(&to->rows[i].value, buf_bytes(&from->rows[i].value));
	}
}

const struct backup_row *backup_model_next(const struct backup_model *model, size_t *at)
{
	while (*at < model->n && model->rows[*at].deleted) {
		++*at;
	}
	return *at < model->n ? &model->rows[(*at)++] : NULL;
}

void backup_model_release(struct backup_model *model)
{
	for (size_t i = 0; i < model->n; i++) {
		buf_release(&model->rows[i].value);
	}
	free(model->rows);
}

/* Takes the key's row out of the order, if it is there. */
static void model_drop(struct backup_model *model, const char *key)
{
	for (size_t i = 0; i < model->n; i++) {
		if (strcmp(model->rows[i].key, key) == 0) {
			buf_release(&model->rows[i].value);
			model->n--;
			memmove(&model->rows[i], &model->rows[i + 1],
				(model->n - i) * sizeof *model->rows);
			return;
		}
	}
}

void backup_model_change(
	struct backup_model *model, unsigned changes, unsigned keys, size_t value_max)
{
	struct random *random = &model->random.random;

	model->index++; /* A snapshot may have been taken of this index. */
	for (unsigned i = 0; i < changes; i++) {
		struct backup_row row = {.value = BUF_INIT};
		size_t len = (size_t)random_below(random, value_max + 1);

		if (random_below(random, 3) == 0) {
			model->index += 1 + random_below(random, 5);
		}
		(void)snprintf(row.key, sizeof row.key, "key-%llu",
			(unsigned long long)random_below(random, keys)); /* Fits. */
		model_drop(model, row.key);
		assert_true(model->n < BACKUP_ROWS_MAX);
		row.index = model->index;
		row.ordinal = i;
		row.deleted = random_below(random, 5) == 0;
		if (!row.deleted) {
			random_fill(random, buf_extend(&row.value, len), len);
		}
		model->rows[model->n++] = row;
	}
	model->index++;
}

static struct snapshot_plan model_plan(
	struct backup_model *model, struct backup_sites *sites, unsigned node, bool manual)
{
	struct snapshot_plan plan = {.full = model->last.index == 0,
		.manual = manual,
		.cycle = model->last.cycle + !manual,
		.id = model->index,
		.from = model->last.index,
		.index = model->index,
		.term = 3,
		.cluster_time_ms = 1000 * model->index,
		.wall_ms = clock_wall_ms(&clock_system) + model->ahead_ms,
		.node = node};

	memcpy(plan.cluster_id, sites->cluster_id, ID_BYTES);
	memcpy(plan.lineage, sites->lineage, ID_BYTES);
	memcpy(plan.base, model->last_hash, HASH_BYTES);
	return plan;
}

static void model_take(struct backup_model *model, struct backup_sites *sites,
	const struct snapshot_plan *plan, uint8_t ret_hash[HASH_BYTES])
{
	unsigned node = (unsigned)plan->node;
	struct snapshot_writer *writer = NULL;
	struct snapshot_result result;

	assert_int_equal(snapshot_writer_new(sites->repository[node - 1], plan,
				 key_public(sites->backup_key), &writer, NULL),
		0);
	for (size_t i = 0; i < model->n; i++) {
		struct backup_row *from = &model->rows[i];
		struct index_row row = {.at = {.index = from->index, .ordinal = from->ordinal},
			.deleted = from->deleted,
			.key = bytes_str(from->key)};
		bool wanted = false;

		if (!from->deleted) {
			hash_sha256(buf_bytes(&from->value), row.hash);
		}
		assert_int_equal(snapshot_writer_row(writer, &row, &wanted, NULL), 0);
		if (wanted) {
			assert_int_equal(
				snapshot_writer_value(writer, buf_bytes(&from->value), NULL), 0);
		}
	}
	assert_int_equal(snapshot_writer_finish(writer, sites->signer[node - 1], &result, NULL), 0);
	memcpy(ret_hash, result.manifest_hash, HASH_BYTES);
	snapshot_writer_free(writer);
}

void backup_model_journal(struct backup_model *model, struct backup_sites *sites, unsigned node,
	uint32_t number, const struct backup_manifest *parent,
	const uint8_t parent_hash[HASH_BYTES], uint8_t ret_hash[HASH_BYTES])
{
	struct snapshot_plan plan = model_plan(model, sites, node, false);

	plan.full = false;
	plan.cycle = parent->cycle;
	plan.number = number;
	plan.from = parent->index;
	memcpy(plan.base, parent_hash, HASH_BYTES);
	model_take(model, sites, &plan, ret_hash);
}

void backup_model_snapshot(struct backup_model *model, struct backup_sites *sites, unsigned node,
	bool manual, uint8_t ret_hash[HASH_BYTES])
{
	struct snapshot_plan plan = model_plan(model, sites, node, manual);

	model_take(model, sites, &plan, ret_hash);
	if (!manual) {
		model->last = plan;
		memcpy(model->last_hash, ret_hash, HASH_BYTES);
	}
}

void backup_model_assert(struct backup_model *model, struct backup_sites *sites,
	struct repository *repository, const uint8_t hash[HASH_BYTES])
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct point *point = NULL;
	struct point_rows *rows = NULL;
	struct index_entry entry;
	struct err e = {0};
	bool more = true;
	int rc = point_open(repository, hash, &sites->trust, &point, &e);

	if (rc == 0) {
		rc = point_rows_new(point, &sites->keys, sites->dir, &rows, &e);
	}
	for (size_t i = 0; rc == 0 && i < model->n; i++) {
		const struct backup_row *row = &model->rows[i];

		if (row->deleted) {
			continue;
		}
		rc = point_rows_next(rows, &entry, &more, &e);
		if (rc == 0) {
			assert_true(more);
			assert_true(bytes_equal(entry.key, bytes_str(row->key)));
			assert_true(entry.index == row->index && entry.ordinal == row->ordinal);
			buf_clear(&value);
			rc = point_rows_value(rows, &value, &e);
			assert_true(
				rc != 0 || bytes_equal(buf_bytes(&value), buf_bytes(&row->value)));
		}
	}
	if (rc == 0) {
		rc = point_rows_next(rows, &entry, &more, &e);
	}
	if (rc != 0) {
		fail_msg("%s", e.text);
	}
	assert_false(more);
	point_rows_free(rows);
	point_free(point);
}

struct snapshot_row backup_record(const struct backup_manifest *m, const uint8_t hash[HASH_BYTES])
{
	struct snapshot_row row = {.id = m->id,
		.kind = SNAPSHOT_INCREMENT,
		.state = SNAPSHOT_SHIPPED,
		.node = m->node,
		.cycle = m->cycle,
		.base_index = m->from,
		.index = m->index,
		.term = m->term,
		.objects = m->n_index + m->n_packs,
		.bytes = backup_manifest_bytes(m)};

	if (m->type == MANIFEST_FULL) {
		row.kind = m->manual ? SNAPSHOT_MANUAL : SNAPSHOT_FULL;
	}
	memcpy(row.manifest_hash, hash, HASH_BYTES);
	memcpy(row.state_root, m->state_root, HASH_BYTES);
	return row;
}

void backup_flip(const char *path, off_t at)
{
	_cleanup_(x_closep) int fd = -1;
	uint8_t byte;

	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

void backup_flip_manifest(struct repository *repository, const uint8_t hash[HASH_BYTES], off_t at)
{
	_cleanup_(x_freep) char *path = NULL;
	struct manifest_name name;
	struct stat st;
	char text[MANIFEST_NAME_BYTES];

	assert_int_equal(repository_find(repository, hash, &name, NULL), 0);
	manifest_name_format(&name, text);
	path = x_asprintf("%s/manifests/%s", repository_path(repository), text);
	assert_int_equal(stat(path, &st), 0);
	backup_flip(path, at < 0 ? st.st_size + at : at);
}
