/* One site: what node/backup_job.c and node/backup_take.c do, one piece a call, over the same
 * functions of backup/. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backup/ship.h"
#include "backup/snapshot.h"
#include "base/file.h"
#include "tests/sim/backup/fortnight.h"

enum {
	FUSE_CALLS_MAX = 80, /* File calls of a piece of work, about. */
	FUSE_PER_MILLE = 25,
	FULL_BYTES_MAX = 30000,
	DOWN_MS_MAX = 5 * 3600 * 1000,
	PRUNE_MS_MAX = 16 * 3600 * 1000,
	HANG_MS_MIN = 4 * 3600 * 1000,
	HANG_MS_MAX = 30 * 3600 * 1000,
};

void site_furnish(struct site *site)
{
	_cleanup_(x_freep) char *graves = x_asprintf("%s/graves%u", site->f->dir, site->number + 1);

	for (unsigned i = 0; i < SITES; i++) {
		_cleanup_(x_freep) char *drop = x_asprintf("%s/drop%u", site->dir, i + 1);

		if (file_make_dirs(drop, 0700, NULL) != 0) {
			abort();
		}
	}
	if (file_make_dirs(graves, 0700, NULL) != 0) {
		abort();
	}
	site->disk = disk_new(&site->f->chance.random, graves);
}

void site_key(struct site *site)
{
	if (key_generate(KEY_ED25519, 0, &site->signer, NULL) != 0) {
		abort();
	}
}

void site_init(struct fortnight *f, unsigned number)
{
	struct site *site = &f->site[number];

	*site = (struct site){.f = f, .number = number, .node = number + 1};
	site->dir = x_asprintf("%s/site%u", f->dir, number + 1);
	site->path = x_asprintf("%s/repository", site->dir);
	site_furnish(site);
	site_key(site);
}

static void take_drop(struct site *site)
{
	kv_close(site->take.checkpoint);
	backup_manifest_release(&site->take.manifest);
	memset(&site->take.manifest, 0, sizeof site->take.manifest);
	site->take.checkpoint = NULL;
	site->take.state = TAKE_IDLE;
}

void site_release(struct site *site)
{
	take_drop(site);
	minutes_drop(site);
	repository_close(site->repository);
	disk_free(site->disk);
	key_free(site->signer);
	free(site->rows);
	free(site->seen);
	free(site->path);
	free(site->dir);
}

uint64_t site_wall_ms(const struct site *site)
{
	return (uint64_t)((int64_t)site->f->true_ms + site->clock_ms);
}

bool site_up(const struct site *site)
{
	return site->repository != NULL;
}

bool site_reached(const struct site *site)
{
	return site_up(site) && site->f->true_ms >= site->away_until;
}

void site_crash(struct site *site, bool power)
{
	struct fortnight *f = site->f;

	fortnight_say(f, "site %llu %s", (unsigned long long)site->node,
		power ? "loses its power" : "crashes");
	take_drop(site);
	minutes_drop(site);
	repository_close(site->repository);
	site->repository = NULL;
	site->take.given_up = 0;
	site->down_until = f->true_ms + random_below(&f->chance.random, DOWN_MS_MAX);
	site->take.hung_until = site->ship.hung_until = 0;
	site->ship.pulse = (struct schedule_pulse){0};
	fortnight_fault(f, FAULT_CRASH);
	if (power) {
		fortnight_fault(f, FAULT_POWER);
		disk_power_cut(site->disk);
	}
}

/* --- steps ----------------------------------------------------------------------------------- */

static bool site_full(const struct site *site)
{
	return site->f->true_ms < site->full_until;
}

/* unsynced: in this step a planted bug may leave out the sync of files. */
static void step_begin(struct site *site, bool unsynced)
{
	struct fortnight *f = site->f;
	struct disk_step step = {.room = UINT64_MAX,
		.wall_ms = site_wall_ms(site),
		.unsynced = unsynced && f->options.bug == BUG_CONFIRM_UNSYNCED};

	if (!f->calm && random_below(&f->chance.random, 1000) < FUSE_PER_MILLE) {
		step.fuse = 1 + random_below(&f->chance.random, FUSE_CALLS_MAX);
	}
	if (site_full(site) || (f->options.bug == BUG_NO_REASON && !f->calm)) {
		step.room = random_below(&f->chance.random, FULL_BYTES_MAX);
	}
	disk_step_begin(site->disk, &step);
}

bool site_step_end(struct site *site, const char *what, int rc, const struct err *e)
{
	if (disk_step_end()) {
		fortnight_fault(site->f, FAULT_DIES);
		site_crash(site, random_below(&site->f->chance.random, 2) == 0);
		return false;
	}
	if (rc != 0 && !(rc == KLUIS_ENOSPACE && site_full(site))) {
		fortnight_violate(site->f, CHECK_STEP, "site %llu: %s: %s: %s",
			(unsigned long long)site->node, what, err_name(rc), e->text);
	}
	return true;
}

void site_step_begin(struct site *site)
{
	step_begin(site, false);
}

static void site_start(struct site *site)
{
	struct fortnight *f = site->f;
	struct err e = {0};
	int rc;

	site_step_begin(site);
	rc = repository_open_writer(site->path, &site->repository, &e);
	if (!site_step_end(site, "start", rc, &e) || rc != 0) {
		return;
	}
	site->booted_ms = f->true_ms;
	memset(site->passed_over, 0, sizeof site->passed_over);
	memset(site->delivered, 0, sizeof site->delivered);
	memset(&site->ship, 0, sizeof site->ship);
	check_half(site);
}

/* --- taking ---------------------------------------------------------------------------------- */

/* Its thread stands in a call that does not return; all else of the node goes on. */
static void take_may_hang(struct site *site)
{
	struct fortnight *f = site->f;

	if (fortnight_due(f, FAULT_HANG, 60) || f->hang) {
		f->hang = false;
		fortnight_fault(f, FAULT_HANG);
		site->take.hung_ms = f->true_ms;
		site->take.hung_until =
			f->true_ms + HANG_MS_MIN + random_below(f->random, HANG_MS_MAX);
		fortnight_say(f, "site %llu hangs", (unsigned long long)site->node);
	}
}

static void take_look(struct site *site)
{
	for (size_t i = 0; i < site->n_rows; i++) {
		const struct snapshot_row *row = &site->rows[i], *base;

		if (row->state != SNAPSHOT_RUNNING || row->node != site->node ||
			row->id <= site->take.given_up) {
			continue;
		}
		base = cluster_record(site->f, row->base_id);
		memset(site->take.base_hash, 0, HASH_BYTES);
		if (row->kind == SNAPSHOT_INCREMENT && base == NULL) {
			fortnight_violate(site->f, CHECK_TAKER,
				"snapshot %llu is to be taken against %llu, whose record is gone",
				(unsigned long long)row->id, (unsigned long long)row->base_id);
			return;
		}
		if (row->kind == SNAPSHOT_INCREMENT) {
			memcpy(site->take.base_hash, base->manifest_hash, HASH_BYTES);
		}
		site->take.row = *row;
		site->take.state = TAKE_CHECKPOINT;
		site->take.pulse = (struct schedule_pulse){0};
		take_may_hang(site);
		return;
	}
}

static void take_checkpoint(struct site *site)
{
	struct fortnight *f = site->f;
	struct kv_view *view;

	if (!cluster_reached(f, site)) {
		return;
	}
	site->take.checkpoint = kv_memory_clone(f->machine.kv);
	view = kv_view_new(site->take.checkpoint);
	truth_add(f, site->take.row.id, view, fsm_position(f->machine.fsm)->index);
	kv_view_free(view);
	site->take.index = fsm_position(f->machine.fsm)->index;
	site->take.state = TAKE_WRITE;
}

static struct snapshot_plan take_plan(const struct site *site, const struct position *position)
{
	const struct snapshot_row *row = &site->take.row;
	struct snapshot_plan plan = {.full = row->kind != SNAPSHOT_INCREMENT,
		.manual = row->kind == SNAPSHOT_MANUAL,
		.cycle = (uint32_t)row->cycle,
		.id = row->id,
		.from = row->kind == SNAPSHOT_INCREMENT ? row->base_index : 0,
		.index = position->index,
		.term = position->term,
		.cluster_time_ms = position->cluster_time_ms,
		.wall_ms = site_wall_ms(site),
		.node = site->node};

	memcpy(plan.cluster_id, site->f->cluster_id, ID_BYTES);
	memcpy(plan.lineage, site->f->lineage, ID_BYTES);
	memcpy(plan.base, site->take.base_hash, HASH_BYTES);
	memcpy(plan.state_hash, position->state_hash, HASH_BYTES);
	return plan;
}

static void take_tell(struct site *site, const struct err *e)
{
	struct command command = {.type = COMMAND_SNAPSHOT_FAIL,
		.snapshot_fail = {
			.id = site->take.row.id, .node = site->node, .error = bytes_str(e->text)}};

	if (command.snapshot_fail.error.len > SNAPSHOT_ERROR_BYTES_MAX) {
		command.snapshot_fail.error.len = SNAPSHOT_ERROR_BYTES_MAX;
	}
	site->take.given_up = site->take.row.id;
	(void)cluster_propose(site->f, site, &command); /* Unheard, the claim runs out by itself. */
}

static void take_failed(struct site *site, const struct err *e)
{
	take_drop(site);
	take_tell(site, e);
}

static void take_write(struct site *site)
{
	const struct fortnight *f = site->f;
	struct kv_view *view = kv_view_new(site->take.checkpoint);
	struct position position;
	struct snapshot_plan plan;
	struct err e = {0};
	int rc;

	if (position_get(view, &position, NULL) != 0) {
		abort();
	}
	plan = take_plan(site, &position);
	plant(f->options.bug);
	site_step_begin(site);
	rc = snapshot_take(site->repository, &plan, view, key_public(f->keys.keys[f->keys.n - 1]),
		site->signer, NULL, &site->take.manifest, site->take.hash, &e);
	plant(BUG_NONE);
	kv_view_free(view);
	if (!site_step_end(site, "take", rc, &e)) {
		return;
	}
	if (rc != 0) {
		take_failed(site, &e);
		return;
	}
	site->take.state = TAKE_RECORD;
}

/* As take_may_hang(), of what brings the new snapshot to others. */
static void ship_may_hang(struct site *site)
{
	struct fortnight *f = site->f;

	if (site->take.row.kind != SNAPSHOT_MANUAL &&
		(fortnight_due(f, FAULT_HANG_SHIP, 60) || f->hang_ship)) {
		f->hang_ship = false;
		fortnight_fault(f, FAULT_HANG_SHIP);
		site->ship.id = site->take.row.id;
		site->ship.hung_ms = f->true_ms;
		site->ship.hung_until =
			f->true_ms + HANG_MS_MIN + random_below(f->random, HANG_MS_MAX);
		fortnight_say(f, "site %llu does not ship", (unsigned long long)site->node);
	}
}

static void take_record(struct site *site)
{
	const struct backup_manifest *m = &site->take.manifest;
	struct command command = {.type = COMMAND_SNAPSHOT_RECORD,
		.snapshot_record = {.id = site->take.row.id,
			.node = site->node,
			.index = m->index,
			.term = m->term,
			.objects = m->n_index + m->n_packs,
			.bytes = backup_manifest_bytes(m)}};
	int rc;

	memcpy(command.snapshot_record.manifest_hash, site->take.hash, HASH_BYTES);
	memcpy(command.snapshot_record.state_root, m->state_root, HASH_BYTES);
	rc = cluster_propose(site->f, site, &command);
	if (rc == KLUIS_ENOQUORUM || rc == KLUIS_EUNKNOWN_OUTCOME) {
		return; /* Again. */
	}
	if (rc != 0 && rc != KLUIS_ECONFLICT) { /* Another one may have taken over. */
		fortnight_violate(site->f, CHECK_STEP, "record: %s", err_name(rc));
	}
	fortnight_say(site->f, "site %llu took snapshot %llu cycle %u index %llu: %s",
		(unsigned long long)site->node, (unsigned long long)m->id, m->cycle,
		(unsigned long long)m->index, err_name(rc));
	site->take.given_up = site->take.row.id;
	if (rc == 0) {
		ship_may_hang(site);
	}
	take_drop(site);
}

/* As node/backup_take.c watches what it takes: false when it has given that up. */
static bool take_gets_on(struct site *site, const struct snapshot_row *row)
{
	const struct schedule_rules rules = {.interval_ms = CYCLE_MS};
	struct err e = {0};

	if (row->id <= site->take.given_up) {
		return false;
	}
	if (site->f->options.bug == BUG_RENEW_HUNG || site->take.state == TAKE_IDLE ||
		site->take.row.id != row->id ||
		schedule_gets_on(&site->take.pulse, row->id, site->take.moved, site->f->true_ms,
			schedule_stall_ms(&rules))) {
		return true;
	}
	(void)err_set(&e, KLUIS_ETIMEOUT, "the taker hangs");
	take_tell(site, &e);
	return false;
}

/* As node/backup_claim.c watches what it ships. */
static bool ship_gets_on(struct site *site, const struct snapshot_row *row)
{
	const struct fortnight *f = site->f;
	const struct schedule_facts facts = {.rules = {.interval_ms = CYCLE_MS},
		.rows = f->rows,
		.n_rows = f->n_rows,
		.now_ms = cluster_now(f)};
	struct schedule_shipping shipping = {.moved = site->ship.moved,
		.copies = COPIES,
		.stall_ms = CLAIM_MS,
		.ticks_ms = f->true_ms};

	for (unsigned i = 0; i < SITES; i++) {
		shipping.delivered +=
			site->ship.brought[i] >= row->id || ship_confirmed_by(row, f->site[i].node);
	}
	return f->options.bug == BUG_RENEW_UNSHIPPED ||
	       schedule_ships(&facts, row, &shipping, &site->ship.pulse);
}

/* The claim stands while its taker says so. */
static void site_renew(struct site *site)
{
	struct fortnight *f = site->f;
	struct snapshot_state_row state;
	const struct snapshot_row *row;
	struct command command = {.type = COMMAND_SNAPSHOT_RENEW,
		.snapshot_renew = {.node = site->node, .ttl_ms = CLAIM_MS}};
	int rc;

	cluster_state(f, &state);
	row = cluster_record(f, state.claimed_id);
	if (row == NULL || row->node != site->node || row->slot + CYCLE_MS <= cluster_now(f) ||
		!(row->state == SNAPSHOT_RUNNING ? take_gets_on(site, row)
						 : ship_gets_on(site, row))) {
		return;
	}
	command.snapshot_renew.id = row->id;
	if (site->take.state >= TAKE_WRITE && site->take.row.id == row->id) {
		command.snapshot_renew.index = site->take.index;
	}
	rc = cluster_propose(f, site, &command);
	if (rc != 0 && rc != KLUIS_ENOQUORUM && rc != KLUIS_EUNKNOWN_OUTCOME &&
		rc != KLUIS_ECONFLICT) { /* It ran out. */
		fortnight_violate(f, CHECK_STEP, "renew: %s", err_name(rc));
	}
}

/* One state a call. Who waits for the log gets on, too. */
static void site_take(struct site *site)
{
	if (site->f->true_ms < site->take.hung_until) {
		return;
	}
	site->take.moved++;
	switch (site->take.state) {
	case TAKE_IDLE:
		if (cluster_reached(site->f, site)) {
			take_look(site);
		}
		break;
	case TAKE_CHECKPOINT:
		take_checkpoint(site);
		break;
	case TAKE_WRITE:
		take_write(site);
		break;
	case TAKE_RECORD:
		take_record(site);
		break;
	}
}

/* --- shipping -------------------------------------------------------------------------------- */

bool site_ship_was_sane(int rc, const struct site *to)
{
	return rc == 0 || rc == KLUIS_ECONNECT || rc == KLUIS_ENOTFOUND || rc == KLUIS_EQUOTA ||
	       (rc == KLUIS_ENOSPACE && site_full(to));
}

bool site_ship_hangs(const struct site *site)
{
	return site->f->true_ms < site->ship.hung_until;
}

int site_ship_one(struct site *site, struct site *to, const uint8_t manifest_hash[HASH_BYTES],
	struct ship_report *report, struct err *e)
{
	struct fortnight *f = site->f;
	_cleanup_(x_freep) char *path = x_asprintf("%s/drop%u", to->dir, site->number + 1);
	struct sftp_target target = {.path = path};
	unsigned files = f->true_ms < to->slow_until ? 1 : UINT32_MAX;
	bool cut = fortnight_due(f, FAULT_LINK, 60);
	int rc;

	if (cut) {
		fortnight_fault(f, FAULT_LINK);
	}
	step_begin(to, false);
	line_begin(to, files, cut);
	rc = ship_snapshot(site->repository, manifest_hash, site_name(to), &target, report, e);
	line_end();
	if (disk_step_end()) {
		fortnight_fault(f, FAULT_DIES);
		site_crash(to, random_below(&f->chance.random, 2) == 0);
		return KLUIS_ECONNECT;
	}
	return rc;
}

static void site_ship(struct site *site, struct site *to)
{
	struct fortnight *f = site->f;
	uint64_t *passed_over = &site->passed_over[to->number];
	uint64_t *delivered = &site->delivered[to->number];
	const struct snapshot_row *row;
	struct ship_report report;
	struct err e = {0};
	int rc;

	if (!site_reached(site) || !site_reached(to) || site_ship_hangs(site)) {
		return;
	}
	row = ship_next(site->rows, site->n_rows, &site->members, site->node, to->node,
		*delivered > *passed_over ? *delivered : *passed_over);
	if (row == NULL || (f->options.bug == BUG_SHIP_ONCE && row->n_confirmations >= COPIES)) {
		*delivered = 0; /* From the first again, with the next tick. */
		return;
	}
	rc = site_ship_one(site, to, row->manifest_hash, &report, &e);
	f->stats.shipped += rc == 0;
	site->ship.moved += report.bytes;
	if (rc == 0) {
		*delivered = row->id;
		site->ship.brought[to->number] = row->id;
	} else if (rc == KLUIS_ENOTFOUND && report.connections == 0) {
		*passed_over = row->id;
	}
	if (!site_ship_was_sane(rc, to)) {
		fortnight_violate(f, CHECK_STEP, "site %llu ships: %s: %s",
			(unsigned long long)site->node, err_name(rc), e.text);
	}
}

/* --- receiving ------------------------------------------------------------------------------- */

struct receive_config site_receiver(struct site *site)
{
	struct fortnight *f = site->f;
	uint64_t wall_ms = site_wall_ms(site), ran_ms = f->true_ms - site->booted_ms;
	struct receive_config config = {.repository = site->repository,
		.trust = &f->trust,
		.signer = site->signer,
		.node = site->node,
		.began_ms = wall_ms > ran_ms ? wall_ms - ran_ms : 0,
		.records = site->rows,
		.n_records = site->n_rows,
		.members = site->members,
		.early_bytes = UINT64_MAX,
		.journal = &site->minutes.row,
		.journals = site->minutes.seen,
		.n_journals = site->minutes.n_seen};

	memcpy(config.cluster_id, f->cluster_id, ID_BYTES);
	memcpy(config.lineage, f->lineage, ID_BYTES);
	return config;
}

static void site_receive(struct site *site, const struct site *from)
{
	_cleanup_(x_freep) char *drop = x_asprintf("%s/drop%u", site->dir, from->number + 1);
	struct receive_config config = site_receiver(site);
	struct receive_report report = {0};
	struct err e = {0};
	int rc;

	step_begin(site, true);
	rc = receive_scan(&config, drop, from->node, site_wall_ms(site), &report, &e);
	if (site_step_end(site, "receive", rc, &e) && rc == 0) {
		site->f->stats.received += report.n_accepted;
		site->f->stats.refused += report.refused;
		site->f->stats.cut += report.cut;
	}
	receive_report_release(&report);
}

bool site_has_receipt(struct site *site, const uint8_t manifest_hash[HASH_BYTES])
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct receipt receipt;

	return repository_get_receipt(site->repository, manifest_hash, site->node, &bytes, NULL) ==
		       0 &&
	       receipt_open(buf_bytes(&bytes), &site->f->trust, &receipt, NULL) == 0 &&
	       receipt.node == site->node &&
	       memcmp(receipt.manifest_hash, manifest_hash, HASH_BYTES) == 0;
}

static bool confirm_may(struct site *site, const struct snapshot_row *row)
{
	return site->f->options.bug == BUG_CONFIRM_UNSEEN ||
	       site_has_receipt(site, row->manifest_hash);
}

static void site_confirm(struct site *site)
{
	for (size_t i = 0; i < site->n_rows && cluster_reached(site->f, site); i++) {
		const struct snapshot_row *row = &site->rows[i];
		struct command command = {.type = COMMAND_SNAPSHOT_CONFIRM,
			.snapshot_confirm = {.id = row->id, .node = site->node, .needed = COPIES}};
		int rc;

		if (!ship_whole(row) || row->node == site->node ||
			ship_confirmed_by(row, site->node) || !confirm_may(site, row)) {
			continue;
		}
		memcpy(command.snapshot_confirm.manifest_hash, row->manifest_hash, HASH_BYTES);
		rc = cluster_propose(site->f, site, &command);
		/* A conflict: another one took over, and the record failed. */
		if (rc != 0 && rc != KLUIS_ENOQUORUM && rc != KLUIS_EUNKNOWN_OUTCOME &&
			rc != KLUIS_ECONFLICT) {
			fortnight_violate(site->f, CHECK_STEP, "confirm: %s", err_name(rc));
		}
	}
}

/* --- forgetting ------------------------------------------------------------------------------ */

static bool prune_holds_pinned(const struct site *site)
{
	struct manifest_name name;
	bool holds = false;

	for (size_t i = 0; i < site->n_rows && !holds; i++) {
		holds = site->rows[i].pinned &&
			repository_find(
				site->repository, site->rows[i].manifest_hash, &name, NULL) == 0;
	}
	return holds;
}

static struct retention_rules prune_rules(const struct site *site)
{
	enum bug bug = site->f->options.bug;
	struct retention_rules rules = retention_default;

	if (bug == BUG_PRUNE_EARLY) {
		rules.cycles_kept--;
		rules.kept_ms -= DAY_MS;
	} else if (bug == BUG_PRUNE_NEVER ||
		   (bug == BUG_PIN_KEEPS_ALL && prune_holds_pinned(site))) {
		rules.kept_ms *= 2;
	}
	return rules;
}

static void site_prune(struct site *site)
{
	struct fortnight *f = site->f;
	struct retention_rules rules = prune_rules(site);
	struct receive_config config = site_receiver(site);
	static const struct journal_row forgotten;
	_cleanup_(x_freep) struct manifest_name *before = NULL;
	unsigned pruned = 0;
	struct err e = {0};
	size_t n = 0;
	int rc;

	if (f->true_ms < site->prune_ms) {
		return;
	}
	site->prune_ms = f->true_ms + random_below(f->random, PRUNE_MS_MAX);
	if (repository_list(site->repository, &before, &n, NULL, NULL) != 0) {
		abort();
	}
	if (f->options.bug == BUG_MINUTE_DROPPED) {
		config.journal = &forgotten;
	}
	site_step_begin(site);
	rc = receive_prune(&config, site_wall_ms(site), &rules, &pruned, &e);
	if (f->options.bug == BUG_OBJECT_LOST) {
		plant_loss(site);
	}
	if (site_step_end(site, "prune", rc, &e) && rc == 0) {
		f->stats.pruned += pruned;
		check_pruned(site, before, n, site_wall_ms(site));
	}
}

/* --- all of it ------------------------------------------------------------------------------- */

/* The records, as far as its store has them; away, it goes on with what it has. */
static void site_look(struct site *site)
{
	const struct fortnight *f = site->f;

	if (cluster_reached(f, site)) {
		site->rows = x_realloc(site->rows, (f->n_rows + 1) * sizeof *f->rows);
		memcpy(site->rows, f->rows, f->n_rows * sizeof *f->rows);
		site->n_rows = f->n_rows;
		if (f->options.bug != BUG_ORPHANED) {
			site->members = f->members;
		}
		minutes_look(site);
	}
}

void site_tick(struct site *site)
{
	struct fortnight *f = site->f;
	unsigned takes = 1 + (unsigned)random_below(f->random, 3);

	if (!site_up(site) && !site->lost && f->true_ms >= site->down_until) {
		site_start(site);
	}
	if (!site_up(site)) {
		return;
	}
	site_look(site);
	for (unsigned i = 0; i < takes && site_up(site); i++) {
		site_take(site);
	}
	if (site_up(site)) {
		site_renew(site);
	}
	if (site_up(site)) {
		minutes_work(site);
	}
	if (site_up(site)) {
		site_look(site);
	}
	for (unsigned i = 0; i < SITES && site_up(site); i++) {
		if (&f->site[i] != site) {
			site_ship(site, &f->site[i]);
			minutes_ship(site, &f->site[i]);
		}
	}
	for (unsigned i = 0; i < SITES && site_up(site); i++) {
		if (&f->site[i] != site) {
			site_receive(site, &f->site[i]);
		}
	}
	if (site_up(site)) {
		site_confirm(site);
		minutes_confirm(site);
	}
	if (site_up(site)) {
		site_prune(site);
	}
}
