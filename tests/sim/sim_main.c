/* Runs seeds of the simulator; docs/simulator.md. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "tests/sim/sim.h"

static const char *const bug_names[] = {
#define X(sym, name) [sym] = name,
	SIM_BUGS(X)
#undef X
};

static const char *const check_names[] = {
#define X(sym, name, goes_on) [sym] = name,
	SIM_CHECKS(X)
#undef X
};

struct run {
	struct sim_options options;
	uint64_t from, seeds, step; /* Seeds from, from + step, ... */
	bool until_caught;	    /* Stop at the first violation, and fail when there is none. */
	bool quiet;
};

static void usage(void)
{
	(void)fprintf(stderr,
		"usage: sim [--seeds N] [--from S] [--step K] [--guard-off NAME]... [--bug NAME]\n"
		"           [--only CHECK] [--until-caught] [--verbose] [--quiet]\n"
		"       guards:");
	for (unsigned i = 0; i < DRIVER_GUARD_MAX; i++) {
		(void)fprintf(stderr, " %s", driver_guard_name((enum driver_guard)i));
	}
	(void)fprintf(stderr, "\n       bugs:");
	for (unsigned i = 1; i < SIM_BUG_MAX; i++) {
		(void)fprintf(stderr, " %s", bug_names[i]);
	}
	(void)fprintf(stderr, "\n       checks:");
	for (unsigned i = 1; i < SIM_CHECK_MAX; i++) {
		(void)fprintf(stderr, " %s", check_names[i]);
	}
	(void)fprintf(stderr, "\n");
}

static bool run_guard(struct run *run, const char *name)
{
	for (unsigned i = 0; i < DRIVER_GUARD_MAX; i++) {
		if (strcmp(name, driver_guard_name((enum driver_guard)i)) == 0) {
			run->options.guards_off |= BIT(i);
			return true;
		}
	}
	return false;
}

/* The place of name among names, or n. */
static unsigned run_find(const char *const *names, unsigned n, const char *name)
{
	unsigned i = 0;

	while (i < n && strcmp(name, names[i]) != 0) {
		i++;
	}
	return i;
}

static bool run_bug(struct run *run, const char *name)
{
	run->options.bug = (enum sim_bug)run_find(bug_names, SIM_BUG_MAX, name);
	return run->options.bug != SIM_BUG_MAX;
}

static bool run_only(struct run *run, const char *name)
{
	run->options.only = (enum sim_check)run_find(check_names, SIM_CHECK_MAX, name);
	return run->options.only != SIM_CHECK_MAX;
}

static bool run_option(struct run *run, const char *name, const char *value)
{
	if (strcmp(name, "--seeds") == 0) {
		return u64_parse(bytes_str(value), UINT32_MAX, &run->seeds) == 0;
	}
	if (strcmp(name, "--from") == 0) {
		return u64_parse(bytes_str(value), UINT64_MAX / 2, &run->from) == 0;
	}
	if (strcmp(name, "--step") == 0) {
		return u64_parse(bytes_str(value), UINT32_MAX, &run->step) == 0;
	}
	if (strcmp(name, "--guard-off") == 0) {
		return run_guard(run, value);
	}
	if (strcmp(name, "--only") == 0) {
		return run_only(run, value);
	}
	return strcmp(name, "--bug") == 0 && run_bug(run, value);
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

static void stats_add(struct sim_stats *to, const struct sim_stats *more)
{
	uint64_t *sum = (uint64_t *)to;
	const uint64_t *each = (const uint64_t *)more;

	for (size_t i = 0; i < sizeof *to / sizeof *sum; i++) {
		sum[i] += each[i];
	}
}

static void stats_print(const struct sim_stats *stats)
{
	(void)printf(
		"events %llu steps %llu elections %llu crashes %llu io_errors %llu snapshots %llu "
		"installs %llu replaces %llu transfers %llu changes %llu truncations %llu "
		"log_reads %llu\n"
		"packets %llu old_connection %llu acked %llu unknown %llu refused %llu reads %llu "
		"rounds %llu\n"
		"vault_reads %llu lost_races %llu pauses %llu clock_jumps %llu disks_full %llu\n"
		"losses %llu joins %llu wishes %llu persons %llu\n",
		(unsigned long long)stats->events, (unsigned long long)stats->steps,
		(unsigned long long)stats->elections, (unsigned long long)stats->crashes,
		(unsigned long long)stats->io_errors, (unsigned long long)stats->snapshots,
		(unsigned long long)stats->installs, (unsigned long long)stats->replaces,
		(unsigned long long)stats->transfers, (unsigned long long)stats->changes,
		(unsigned long long)stats->truncations, (unsigned long long)stats->log_reads,
		(unsigned long long)stats->packets, (unsigned long long)stats->stale_dropped,
		(unsigned long long)stats->acked, (unsigned long long)stats->unknown,
		(unsigned long long)stats->refused, (unsigned long long)stats->reads,
		(unsigned long long)stats->read_rounds, (unsigned long long)stats->vault_reads,
		(unsigned long long)stats->lost_races, (unsigned long long)stats->pauses,
		(unsigned long long)stats->jumps, (unsigned long long)stats->full,
		(unsigned long long)stats->losses, (unsigned long long)stats->joins,
		(unsigned long long)stats->wishes, (unsigned long long)stats->persons);
}

/* Of this process on a core: what else runs on the machine does not count. */
static double seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* Always exists. */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* One seed; true if it is clean. */
static bool run_seed(const struct run *run, uint64_t seed, struct sim_stats *sum)
{
	struct sim_options options = run->options;
	struct sim *sim;
	bool clean;

	options.seed = seed;
	sim = sim_run(&options);
	clean = !sim_failed(sim);
	stats_add(sum, &sim->stats);
	if (!run->quiet || (!clean && !run->until_caught)) {
		(void)printf("seed %llu %s digest %016llx at %llu ms acked %llu%s%s\n",
			(unsigned long long)seed, clean ? "ok" : "FAILED",
			(unsigned long long)sim->digest, (unsigned long long)sim->now_ms,
			(unsigned long long)sim->stats.acked, clean ? "" : ": ", sim->why);
		(void)fflush(stdout); /* For a reader of the pipe. */
	}
	sim_free(sim);
	return clean;
}

int main(int argc, char **argv)
{
	struct run run = {.from = 1, .seeds = 100, .step = 1};
	struct sim_stats sum = {0};
	uint64_t done = 0, failed = 0;
	double begun = seconds(), took;

	if (!run_parse(&run, argc, argv)) {
		usage();
		return 2;
	}
	log_set_level(LOG_LEVEL_ERR);
	while (done < run.seeds && !(run.until_caught && failed > 0)) {
		failed += !run_seed(&run, run.from + done * run.step, &sum);
		done++;
	}
	took = seconds() - begun;
	stats_print(&sum);
	(void)printf("%llu seeds, %llu failed, %.1f s of CPU, %.0f steps/s\n",
		(unsigned long long)done, (unsigned long long)failed, took,
		(double)sum.steps / took);
	if (run.until_caught) {
		(void)printf("%s after %llu seeds\n", failed > 0 ? "caught" : "NOT CAUGHT",
			(unsigned long long)done);
		return failed > 0 ? 0 : 1;
	}
	return failed == 0 ? 0 : 1;
}
