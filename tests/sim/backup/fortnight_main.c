/* Runs seeds of the virtual fortnight; docs/simulator.md, "Backups". */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backup/schedule.h"
#include "backup/ship.h"
#include "base/log.h"
#include "base/text.h"
#include "tests/lib/test.h"
#include "tests/sim/backup/fortnight.h"

enum {
	ALL_POINTS_EACH = 20,	      /* Cycles. */
	MINUTE_LATE_MS = 3 * TICK_MS, /* In a calm: taken, recorded, shipped, confirmed. */
	MINUTES_LOOK = 4,	      /* Ticks between two looks at the journal. */
	FAULTS_CYCLES = 48,	      /* So many have room for each kind of fault. */
	CALM_APART = 4,		      /* Cycles between what hangs and what hangs then. */
	CALM_SETTLES = 3,	      /* Cycles of a calm before everything has to be in order. */
};

static const char *const bug_names[] = {
#define X(symbol, name) [symbol] = name,
	BUGS(X)
#undef X
};
static const char *const check_names[] = {
#define X(symbol, name) [symbol] = name,
	CHECKS(X)
#undef X
};

static const char *const fault_names[] = {
#define X(symbol, name) [symbol] = name,
	FAULTS(X)
#undef X
};

struct run {
	struct fortnight_options options;
	uint64_t from, seeds;
	bool until_caught, quiet;
};

void fortnight_say(const struct fortnight *f, const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (!f->options.verbose) {
		return;
	}
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args); /* Cut text is still text. */
	va_end(args);
	(void)printf("tick %llu cycle %llu: %s\n", (unsigned long long)f->ticks,
		(unsigned long long)(f->ticks / CYCLE_TICKS), text);
}

void fortnight_violate(struct fortnight *f, enum check check, const char *fmt, ...)
{
	size_t at;
	va_list args;

	if (f->failed || (f->options.only != CHECK_ALL && f->options.only != check)) {
		return;
	}
	f->failed = true;
	(void)snprintf(f->why, sizeof f->why, "tick %llu: %s: ", (unsigned long long)f->ticks,
		check_names[check]);
	at = strlen(f->why);
	va_start(args, fmt);
	(void)vsnprintf(f->why + at, sizeof f->why - at, fmt, args); /* Cut text is still text. */
	va_end(args);
	fortnight_say(f, "VIOLATION %s", f->why);
}

bool fortnight_chance(struct fortnight *f, unsigned per_mille)
{
	return !f->calm && random_below(f->random, 1000) < per_mille;
}

bool fortnight_due(struct fortnight *f, enum fault fault, unsigned per_mille)
{
	bool tame = f->options.bug == BUG_TAME && fault == f->options.seed % FAULT_MAX;

	/* The coin falls in either case: what else a seed says does not hang on this. */
	return (fortnight_chance(f, per_mille) || (f->late && f->stats.faults[fault] == 0)) &&
	       !tame && !f->calm;
}

void fortnight_fault(struct fortnight *f, enum fault fault)
{
	f->stats.faults[fault]++;
}

/* --- who takes what -------------------------------------------------------------------------- */

/* Whoever hangs lets its turn pass, and the next one's comes within a tick. */
static struct site *schedule_first(struct fortnight *f, const struct schedule_turn *turn)
{
	struct site *site = site_of(f, turn->order[0]);

	for (size_t i = 1; i < turn->n && f->true_ms < site->take.hung_until; i++) {
		site = site_of(f, turn->order[i]);
	}
	return site;
}

/* One of those whose turn it is, or somebody else: the log decides. */
static struct site *schedule_site(struct fortnight *f, const struct schedule_turn *turn)
{
	if (turn->n == 0 || fortnight_chance(f, 100)) {
		return fortnight_any_site(f);
	}
	/* Nobody is late in a calm. */
	return f->calm ? schedule_first(f, turn)
		       : site_of(f, turn->order[random_below(f->random, turn->n)]);
}

static bool schedule_turn_of(struct fortnight *f, struct schedule_turn *ret_turn)
{
	struct schedule_facts facts = {.rules = {.interval_ms = CYCLE_MS},
		.rows = f->rows,
		.n_rows = f->n_rows,
		.n_nodes = f->members.n,
		.leader = fortnight_any_site(f)->node,
		.now_ms = cluster_now(f)};

	cluster_state(f, &facts.state);
	for (size_t i = 0; i < facts.n_nodes; i++) {
		facts.nodes[i] = f->members.nodes[i];
	}
	return schedule_look(&facts, ret_turn) && facts.now_ms >= ret_turn->from_ms;
}

static void schedule(struct fortnight *f)
{
	struct command command = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.kind = SNAPSHOT_INCREMENT, .ttl_ms = CLAIM_MS}};
	struct schedule_turn turn = {.slot = cluster_now(f) / CYCLE_MS * CYCLE_MS};
	struct snapshot_state_row state;
	const struct snapshot_row *open;
	struct site *site;
	int rc;

	if (!schedule_turn_of(f, &turn) && !fortnight_chance(f, 50)) {
		return;
	}
	cluster_state(f, &state);
	open = state.claimed_id == 0 ? NULL : cluster_record(f, state.claimed_id);
	site = schedule_site(f, &turn);
	if (f->true_ms < site->take.hung_until) {
		return; /* It is busy, as far as it knows. */
	}
	command.snapshot_claim.node = site->node;
	command.snapshot_claim.slot = turn.slot;
	f->stats.doubles += turn.slot > state.last_slot && open != NULL && ship_whole(open);
	plant(f->options.bug == BUG_CLAIM_TWICE ? BUG_CLAIM_TWICE : BUG_NONE);
	rc = cluster_propose(f, site, &command);
	plant(BUG_NONE);
	if (rc != 0 && rc != KLUIS_EUNKNOWN_OUTCOME) {
		if (rc != KLUIS_ENOQUORUM && rc != KLUIS_ECONFLICT && rc != KLUIS_EINVAL) {
			fortnight_violate(f, CHECK_STEP, "claim: %s", err_name(rc));
		}
		return;
	}
	f->stats.cycles += turn.slot > state.last_slot;
	f->stats.takeovers += turn.slot == state.last_slot;
	fortnight_say(f, "site %llu claims slot %llu", (unsigned long long)site->node,
		(unsigned long long)(turn.slot / CYCLE_MS));
}

static void operator_pins(struct fortnight *f, bool on)
{
	struct command command = {.type = COMMAND_SNAPSHOT_PIN,
		.snapshot_pin = {.id = f->pinned, .on = on, .actor = bytes_str("operator")}};
	struct snapshot_state_row state;

	if (on) {
		cluster_state(f, &state);
		command.snapshot_pin.id = state.confirmed_id;
	}
	if (command.snapshot_pin.id == 0 ||
		cluster_propose(f, fortnight_any_site(f), &command) == KLUIS_ENOQUORUM) {
		return;
	}
	f->pinned = on ? command.snapshot_pin.id : 0;
	f->unpin_ms = f->true_ms + 3 * DAY_MS + random_below(f->random, 14 * DAY_MS);
	f->stats.pins += on;
}

/* A new backup key for what is taken from now on; the old ones stay with the operator. */
static void operator_rotates(struct fortnight *f)
{
	unsigned kem = (f->options.seed + f->keys.n) % 2 == 0 ? KEY_KEM_P256 : KEY_KEM_X25519;

	if (key_generate(kem, 0, &f->keys.keys[f->keys.n], NULL) != 0) {
		abort();
	}
	f->keys.n++;
}

static void operator_works(struct fortnight *f)
{
	struct site *site = fortnight_any_site(f);
	struct command manual = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = site->node,
			.kind = SNAPSHOT_MANUAL,
			.ttl_ms = CLAIM_MS,
			.actor = bytes_str("operator")}};

	if (fortnight_chance(f, 4)) {
		(void)cluster_propose(f, site, &manual); /* Or not: the cluster may be away. */
	}
	if (f->pinned == 0 && fortnight_chance(f, 5)) {
		operator_pins(f, true);
	} else if (f->pinned != 0 && f->true_ms >= f->unpin_ms) {
		operator_pins(f, false);
	}
	if (f->keys.n < BACKUP_KEYS_MAX && fortnight_chance(f, 1)) {
		operator_rotates(f);
		f->stats.rotations++;
	}
}

/* --- a run ----------------------------------------------------------------------------------- */

static void run_tick(struct fortnight *f)
{
	unsigned first = (unsigned)random_below(f->random, SITES);

	f->ticks++;
	f->true_ms += TICK_MS;
	faults_come(f);
	cluster_work(f);
	operator_works(f);
	replace_work(f);
	schedule(f);
	for (unsigned i = 0; i < SITES; i++) {
		site_tick(&f->site[(first + i) % SITES]);
	}
	check_hung(f);
	if (f->ticks % MINUTES_LOOK == 0) {
		check_minute(f);
	}
}

/* Somebody hung with it, and another one has taken it over. */
static bool run_taken_over(const struct fortnight *f, uint64_t slot)
{
	bool over = false;

	for (size_t i = 0; i < f->n_rows; i++) {
		const struct snapshot_row *row = &f->rows[i];

		over = over || (row->kind != SNAPSHOT_MANUAL && row->slot == slot &&
				       row->state == SNAPSHOT_FAILED);
	}
	return over;
}

/* Without faults a cycle is confirmed by all others before the next one is due; one that was taken
 * over by enough of them. Who hangs takes the minutes, too, until then. */
static void run_check_calm(struct fortnight *f)
{
	uint64_t slot = (cluster_now(f) - 1) / CYCLE_MS * CYCLE_MS;
	bool over = run_taken_over(f, slot);
	struct snapshot_state_row state;
	const struct snapshot_row *row;

	cluster_state(f, &state);
	row = cluster_record(f, state.confirmed_id);
	if (row == NULL || row->slot != slot ||
		row->n_confirmations < (over ? COPIES : SITES - 1)) {
		fortnight_violate(f, CHECK_CALM,
			"the last cycle that was confirmed is %llu, by %u sites",
			(unsigned long long)state.confirmed_cycle,
			row == NULL ? 0 : row->n_confirmations);
	}
	if (over) {
		return;
	}
	if (f->journal.base_id != state.confirmed_id ||
		(f->journal.confirmed_time_ms < f->committed_ms &&
			f->committed_ms + MINUTE_LATE_MS < cluster_now(f))) {
		fortnight_violate(f, CHECK_CALM, "the newest minute is index %llu, %llu s old",
			(unsigned long long)f->journal.confirmed_index,
			(unsigned long long)(cluster_now(f) - f->journal.confirmed_time_ms) / 1000);
	}
}

/* One of a calm, when everything is in order, which hangs on the seed. */
static unsigned calm_cycle(const struct fortnight *f, unsigned behind)
{
	return CALM_SETTLES + (unsigned)((f->options.seed + behind) % (CALM_CYCLES - CALM_SETTLES));
}

static void run_calm(struct fortnight *f)
{
	f->calm = true;
	fortnight_say(f, "all faults end");
	for (unsigned i = 0; i < SITES; i++) {
		struct site *site = &f->site[i];

		site->down_until = site->away_until = site->full_until = site->slow_until = 0;
		site->clock_until = site->take.hung_until = site->ship.hung_until = 0;
	}
	for (unsigned cycle = 0; cycle < CALM_CYCLES && !f->failed; cycle++) {
		f->hang = cycle == calm_cycle(f, 0);
		f->hang_ship = cycle == calm_cycle(f, CALM_APART);
		for (unsigned i = 0; i < CYCLE_TICKS && !f->failed; i++) {
			run_tick(f);
		}
		if (cycle >= CALM_SETTLES) {
			run_check_calm(f);
		}
	}
	check_points(f, true);
	if (!f->failed) {
		check_everywhere(f);
	}
}

static void run_ticks(struct fortnight *f)
{
	uint64_t cycles = f->options.cycles;

	for (uint64_t cycle = 1; cycle <= cycles && !f->failed; cycle++) {
		for (unsigned i = 0; i < CYCLE_TICKS && !f->failed; i++) {
			run_tick(f);
		}
		check_points(f, cycle % ALL_POINTS_EACH == 0);
		f->late = cycle > cycles / 4 * 3;
	}
	if (!f->failed && cycles >= FAULTS_CYCLES) {
		check_faults(f);
	}
	if (!f->failed) {
		run_calm(f);
	}
}

static void run_begin(struct fortnight *f, const struct fortnight_options *options)
{
	memset(f, 0, sizeof *f);
	f->options = *options;
	random_seeded_init(&f->seeded, options->seed);
	random_seeded_init(&f->chance, ~options->seed);
	f->random = &f->seeded.random;
	plant_readers(options->bug);
	f->dir = scratch_new("fortnight");
	operator_rotates(f);
	for (unsigned i = 0; i < SITES; i++) {
		site_init(f, i);
	}
	replace_trust(f);
	cluster_begin(f);
}

static void run_end(struct fortnight *f)
{
	struct snapshot_state_row state;

	cluster_state(f, &state);
	f->stats.confirmed = state.confirmed_cycle;
	for (unsigned i = 0; i < SITES; i++) {
		f->stats.undone += disk_undone(f->site[i].disk);
		site_release(&f->site[i]);
	}
	cluster_end(f);
	truths_free(f);
	backup_trust_release(&f->trust);
	backup_key_set_release(&f->keys);
	scratch_free(f->dir);
}

static void stats_print(const struct fortnight_stats *s)
{
	(void)printf(
		"cycles %llu confirmed %llu takeovers %llu doubles %llu pins %llu rotations %llu "
		"undone %llu\n"
		"shipped %llu received %llu refused %llu cut %llu pruned %llu journal %llu points "
		"%llu rows "
		"%llu\nended %llu pieces %llu\n",
		(unsigned long long)s->cycles, (unsigned long long)s->confirmed,
		(unsigned long long)s->takeovers, (unsigned long long)s->doubles,
		(unsigned long long)s->pins, (unsigned long long)s->rotations,
		(unsigned long long)s->undone, (unsigned long long)s->shipped,
		(unsigned long long)s->received, (unsigned long long)s->refused,
		(unsigned long long)s->cut, (unsigned long long)s->pruned,
		(unsigned long long)s->minutes, (unsigned long long)s->points,
		(unsigned long long)s->rows, (unsigned long long)s->ended,
		(unsigned long long)s->pieces);
	for (unsigned i = 0; i < FAULT_MAX; i++) {
		(void)printf("%s%s %llu", i == 0 ? "" : " ", fault_names[i],
			(unsigned long long)s->faults[i]);
	}
	(void)printf("\n");
}

void check_faults(struct fortnight *f)
{
	for (unsigned i = 0; i < FAULT_MAX; i++) {
		if (f->stats.faults[i] == 0) {
			fortnight_violate(f, CHECK_FAULTS, "there was no '%s'", fault_names[i]);
		}
	}
}

/* Of this process on a core: what else runs on the machine does not count. */
static double seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* Always exists. */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool run_seed(const struct run *run, uint64_t seed)
{
	struct fortnight *f = x_malloc(sizeof *f);
	struct fortnight_options options = run->options;
	bool clean;

	options.seed = seed;
	run_begin(f, &options);
	run_ticks(f);
	run_end(f);
	clean = !f->failed;
	(void)printf("seed %llu %s%s%s\n", (unsigned long long)seed, clean ? "ok" : "FAILED",
		clean ? "" : ": ", f->why);
	if (!run->quiet) {
		stats_print(&f->stats);
	}
	(void)fflush(stdout); /* For a reader of the pipe. */
	free(f);
	return clean;
}

static unsigned run_find(const char *const *names, unsigned n, const char *name)
{
	unsigned i = 0;

	while (i < n && strcmp(name, names[i]) != 0) {
		i++;
	}
	return i;
}

static bool run_option(struct run *run, const char *name, const char *value)
{
	if (strcmp(name, "--seeds") == 0) {
		return u64_parse(bytes_str(value), UINT32_MAX, &run->seeds) == 0;
	}
	if (strcmp(name, "--from") == 0) {
		return u64_parse(bytes_str(value), UINT64_MAX / 2, &run->from) == 0;
	}
	if (strcmp(name, "--cycles") == 0) {
		return u64_parse(bytes_str(value), 4000, &run->options.cycles) == 0;
	}
	if (strcmp(name, "--only") == 0) {
		run->options.only = (enum check)run_find(check_names, CHECK_MAX, value);
		return run->options.only != CHECK_MAX;
	}
	if (strcmp(name, "--bug") == 0) {
		run->options.bug = (enum bug)run_find(bug_names, BUG_MAX, value);
		return run->options.bug != BUG_MAX;
	}
	return false;
}

static bool run_parse(struct run *run, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0) {
			run->options.verbose = true;
		} else if (strcmp(argv[i], "--until-caught") == 0) {
			run->until_caught = true;
		} else if (strcmp(argv[i], "--quiet") == 0) {
			run->quiet = true;
		} else if (i + 1 >= argc || !run_option(run, argv[i], argv[i + 1])) {
			return false;
		} else {
			i++;
		}
	}
	return true;
}

static void usage(void)
{
	(void)fprintf(stderr,
		"usage: fortnight [--seeds N] [--from S] [--cycles N] [--bug NAME] [--only CHECK]\n"
		"                 [--until-caught] [--verbose] [--quiet]\n       bugs:");
	for (unsigned i = 1; i < BUG_MAX; i++) {
		(void)fprintf(stderr, " %s", bug_names[i]);
	}
	(void)fprintf(stderr, "\n       checks:");
	for (unsigned i = 1; i < CHECK_MAX; i++) {
		(void)fprintf(stderr, " %s", check_names[i]);
	}
	(void)fprintf(stderr, "\n");
}

int main(int argc, char **argv)
{
	struct run run = {.options.cycles = 126, .from = 1, .seeds = 1};
	uint64_t done = 0, failed = 0;
	double begun = seconds();

	if (!run_parse(&run, argc, argv)) {
		usage();
		return 2;
	}
	log_set_level(LOG_LEVEL_ERR);
	while (done < run.seeds && !(run.until_caught && failed > 0)) {
		failed += !run_seed(&run, run.from + done);
		done++;
	}
	(void)printf("%llu seeds, %llu failed, %.1f s of CPU\n", (unsigned long long)done,
		(unsigned long long)failed, seconds() - begun);
	if (run.until_caught) {
		(void)printf("%s after %llu seeds\n", failed > 0 ? "caught" : "NOT CAUGHT",
			(unsigned long long)done);
		return failed > 0 ? 0 : 1;
	}
	return failed == 0 ? 0 : 1;
}
