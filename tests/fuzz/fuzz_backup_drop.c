/* A whole drop directory as a sender may leave it: three cycles and two journal increments of it,
 * changed, and beside them whatever names an input makes up: { u8 what the log knows | u8 length |
 * changes | { u8 kind | u8 name | u8 length | bytes }... }. Whatever lies there, a look
 * ends well, takes what the log knows and whole, and nothing else; nothing that is rubbish keeps
 * it away or stays. */
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/drop.h"
#include "backup/verify.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/fuzz/lib/damage.h"
#include "tests/unit/backup/lib/pair.h"

enum { CYCLES = 3, JOURNALS = 2, POINTS = CYCLES + JOURNALS, ROWS = 30, VALUE_BYTES = 300 };
enum { BESIDE_MAX = 12, JOURNALS_KNOWN = CYCLES, ALL_KNOWN = (1 << (CYCLES + 1)) - 1 };

static struct damage damage; /* Of the drop. */
static struct test_sshd sshd;
static struct backup_pair pair;
static struct journal_row journal;
static uint8_t hash[POINTS][HASH_BYTES];
static uint8_t (*const journals_before)[HASH_BYTES] = &hash[CYCLES];

static void base_remove(void)
{
	(void)(file_remove_tree(pair.sites.dir, NULL) == 0);
}

static void base_journals(void)
{
	struct backup_manifest m = {0};
	int rc;

	for (unsigned i = CYCLES; i < POINTS; i++) {
		rc = point_manifest(
			pair.sites.repository[0], hash[i - 1], &pair.sites.trust, &m, NULL);
		assert(rc == 0);
		backup_model_change(&pair.model, ROWS, ROWS, VALUE_BYTES);
		backup_model_journal(
			&pair.model, &pair.sites, 1, i - CYCLES + 1, &m, hash[i - 1], hash[i]);
		backup_manifest_release(&m);
	}
	journal.number = JOURNALS;
	memcpy(journal.manifest_hash, hash[POINTS - 1], HASH_BYTES);
}

/* Node 1's snapshots lie in node 2's drop. */
static void base_make(void)
{
	static const char *const none[] = {NULL};
	int rc;

	log_init("fuzz", LOG_LEVEL_ERR);
	backup_sites_init(&pair.sites, KEY_KEM_X25519);
	(void)atexit(base_remove);
	backup_model_init(&pair.model, 1);
	(void)snprintf(damage.dir, sizeof damage.dir, "%s/drop", pair.sites.dir);
	rc = mkdir(damage.dir, 0700);
	assert(rc == 0);
	sshd.drop = damage.dir;
	pair.sshd = &sshd;
	for (unsigned i = 0; i < CYCLES; i++) {
		pair_take(&pair, ROWS, VALUE_BYTES, hash[i]);
	}
	base_journals();
	for (unsigned i = 0; i < POINTS; i++) {
		pair_carry(&pair, hash[i], UINT32_MAX);
	}
	damage_keep(&damage, 0, none);
}

/* --- what lies beside ------------------------------------------------------------------------- */

static void beside_name(struct wire *w, char to[256])
{
	unsigned pick = wire_u8(w);
	struct bytes text = {0};

	if (pick < 128) { /* One more try of what is there, under its number or another one. */
		const char *of = damage.file[0][pick % damage.n[0]].name;

		(void)snprintf(to, 256, "%.*s%u", (int)(strrchr(of, '.') + 1 - of), of,
			pick % 3 == 0 ? 9999 : pick % 7);
		return;
	}
	text = wire_bytes(w, wire_u8(w) % 80);
	(void)snprintf(to, 256, "%.*s", (int)text.len, (const char *)text.data); /* To its NUL. */
	for (char *c = to; *c != '\0'; c++) {
		*c = *c == '/' ? '_' : *c;
	}
}

/* Never over what is there: a sender cannot. */
static void beside_put(struct wire *w)
{
	unsigned kind = wire_u8(w);
	struct bytes bytes;
	char name[256];
	_cleanup_(x_freep) char *path = NULL;

	beside_name(w, name);
	bytes = wire_bytes(w, wire_u8(w));
	path = x_asprintf("%s/%s", damage.dir, name);
	if (!wire_ok(w) || name[0] == '\0') {
		return;
	}
	switch (kind % 6) {
	case 0:
		(void)(symlink("/etc/passwd", path) == 0);
		break;
	case 1:
		(void)(mkfifo(path, 0600) == 0);
		break;
	case 2:
		(void)(symlink(damage.file[0][kind % damage.n[0]].name, path) == 0);
		break;
	case 3: /* Asked for without the right to read it. */
		(void)(file_create(path, bytes, 0, NULL) == 0);
		break;
	default:
		(void)(file_create(path, bytes, 0600, NULL) == 0);
		break;
	}
}

/* Links and FIFOs of the input before. */
static void beside_clear(void)
{
	int rc = file_remove_tree(damage.dir, NULL);

	rc = rc != 0 ? rc : mkdir(damage.dir, 0700);
	assert(rc == 0);
}

/* --- what the log knows ----------------------------------------------------------------------- */

static bool known(const struct receive_config *config, unsigned point)
{
	if (point >= CYCLES) {
		return config->journal != NULL;
	}
	return receive_record(config, hash[point]) != NULL;
}

static struct receive_config receiver(unsigned knows, struct snapshot_row records[CYCLES])
{
	struct receive_config config = {.trust = &pair.sites.trust,
		.signer = pair.sites.signer[1],
		.node = 2,
		.records = records,
		.journals = journals_before,
		.n_journals = JOURNALS - 1,
		.journal = (knows >> JOURNALS_KNOWN & 1) != 0 ? &journal : NULL};

	memcpy(config.cluster_id, pair.sites.cluster_id, ID_BYTES);
	memcpy(config.lineage, pair.sites.lineage, ID_BYTES);
	for (unsigned i = 0; i < CYCLES; i++) {
		if ((knows >> i & 1) != 0) {
			records[config.n_records++] = pair.records[i];
		}
	}
	return config;
}

/* --- what comes of it ------------------------------------------------------------------------- */

static bool there_whole(const char *name)
{
	const struct damage_file *file = damage.file[0];
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", damage.dir, name);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	unsigned i = 0;

	while (strcmp(file[i].name, name) != 0) {
		i++;
		assert(i < damage.n[0]);
	}
	return file_read(path, file[i].bytes.len, &bytes, NULL) == 0 &&
	       bytes_equal(buf_bytes(&bytes), buf_bytes(&file[i].bytes));
}

/* All files of this one came as they are. */
static bool came(unsigned point)
{
	struct backup_manifest m = {0};
	struct drop_name name = {.manifest = true};
	char text[DROP_NAME_BYTES];
	bool whole;
	int rc = point_manifest(pair.sites.repository[0], hash[point], &pair.sites.trust, &m, NULL);

	assert(rc == 0);
	memcpy(name.hash, hash[point], HASH_BYTES);
	drop_name_format(&name, text);
	whole = there_whole(text);
	name.manifest = false;
	for (uint32_t i = 0; whole && i < m.n_index + m.n_packs; i++) {
		memcpy(name.hash, m.objects[i].hash, HASH_BYTES);
		drop_name_format(&name, text);
		whole = there_whole(text);
	}
	backup_manifest_release(&m);
	return whole;
}

/* What a look has to take, whatever lies beside it. */
static unsigned due_of(const struct receive_config *config)
{
	unsigned due = 0;

	for (unsigned i = 0; i < POINTS; i++) {
		/* A journal increment is nothing without what it is built on. */
		bool based = i < CYCLES || (due >> (i - 1) & 1) != 0;

		due |= (known(config, i) && based && came(i) ? 1U : 0U) << i;
	}
	return due;
}

static unsigned scan(const struct receive_config *config, uint64_t wall_ms)
{
	struct receive_report report;
	unsigned taken = 0;
	int rc = receive_scan(config, damage.dir, 1, wall_ms, &report, NULL);

	assert(rc == 0);
	for (unsigned k = 0; k < report.n_accepted; k++) {
		const struct receive_accepted *row = &report.accepted[k];
		struct receipt receipt;
		unsigned i = 0;

		while (i < POINTS && memcmp(hash[i], row->manifest_hash, HASH_BYTES) != 0) {
			i++;
		}
		assert(i < POINTS && known(config, i) && (taken >> i & 1) == 0);
		rc = receipt_open(
			bytes_of(row->receipt, RECEIPT_BYTES), &pair.sites.trust, &receipt, NULL);
		assert(rc == 0 && receipt.node == config->node &&
			memcmp(receipt.manifest_hash, hash[i], HASH_BYTES) == 0);
		taken |= 1U << i;
	}
	receive_report_release(&report);
	return taken;
}

static void assert_whole(const struct repository *of, unsigned taken)
{
	struct repository *repository = NULL;
	struct manifest_name *names = NULL;
	size_t n = 0, foreign = 0, bits = 0;
	int rc = repository_open(repository_path(of), &repository, NULL);

	rc = rc != 0 ? rc : repository_list(repository, &names, &n, &foreign, NULL);
	assert(rc == 0 && foreign == 0);
	for (unsigned i = 0; i < POINTS; i++) {
		struct verify_report report;

		if ((taken >> i & 1) != 0) {
			rc = verify_snapshot(repository, hash[i], &pair.sites.trust, 2, NULL,
				pair.sites.dir, &report, NULL);
			assert(rc == 0);
			bits++;
		}
	}
	assert(n == bits);
	free(names);
	repository_close(repository);
}

static void assert_empty(void)
{
	DIR *dir = opendir(damage.dir);
	const struct dirent *entry;

	assert(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		assert(entry->d_name[0] == '.' &&
			(entry->d_name[1] == '\0' || strcmp(entry->d_name, "..") == 0));
	}
	(void)closedir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire w = wire_of(bytes_of(data, size)), changes;
	struct snapshot_row records[CYCLES];
	struct receive_config config;
	_cleanup_(x_freep) char *path = NULL;
	uint64_t now_ms = clock_wall_ms(&clock_system);
	unsigned due, taken = 0;
	int rc;

	if (size < 2) {
		return 0;
	}
	if (damage.n[0] == 0) {
		base_make();
	}
	beside_clear();
	config = receiver(wire_u8(&w) & ALL_KNOWN, records);
	changes = wire_of(wire_bytes(&w, wire_u8(&w)));
	(void)damage_make(&damage, 1, 0, &changes);
	for (unsigned i = 0; i < BESIDE_MAX && w.left.len > 0; i++) {
		beside_put(&w);
	}
	path = x_asprintf("%s/received", pair.sites.dir);
	rc = file_remove_tree(path, NULL);
	rc = rc != 0 ? rc : repository_open_writer(path, &config.repository, NULL);
	assert(rc == 0);
	due = due_of(&config);
	/* What was read in vain is gone at the next look, and what others are built on is here. */
	for (unsigned i = 0; i < POINTS; i++) {
		taken |= scan(&config, now_ms);
	}
	assert((taken & due) == due);
	/* Journal increments wait for what they are built on as long as the log stands for them.
	 * Then a manifest goes that waited in vain, and at the next look what it asked for. */
	config.journal = NULL;
	for (unsigned i = 0; i < 2; i++) {
		taken |= scan(&config, now_ms + 2 * BACKUP_LEFTOVER_MS);
	}
	assert_whole(config.repository, taken);
	assert_empty();
	repository_close(config.repository);
	return 0;
}
