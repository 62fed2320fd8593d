/* What goes wrong, as a seed's coins fall. */
#include "tests/sim/backup/fortnight.h"

enum {
	HOUR_MS = 3600 * 1000,
	DOWN_MAX = 3, /* Sites that may be out of reach at once. */
	LOST_APART_MS = 48 * HOUR_MS,
};

struct site *fortnight_any_site(struct fortnight *f)
{
	return &f->site[random_below(f->random, SITES)];
}

static uint64_t fault_until(struct fortnight *f, uint64_t hours)
{
	return f->true_ms + 1 + random_below(f->random, hours * HOUR_MS);
}

static unsigned fault_unreached(const struct fortnight *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SITES; i++) {
		n += !site_reached(&f->site[i]);
	}
	return n;
}

static void fault_away(struct fortnight *f, enum fault fault, uint64_t until_ms)
{
	struct site *site = fortnight_any_site(f);

	if (fault_unreached(f) < DOWN_MAX) {
		site->away_until = until_ms;
		fortnight_fault(f, fault);
		fortnight_say(f, "site %llu is away for %llu h", (unsigned long long)site->node,
			(unsigned long long)((until_ms - f->true_ms) / HOUR_MS));
	}
}

static void fault_clock(struct fortnight *f)
{
	struct site *site = fortnight_any_site(f);

	site->clock_ms = random_below(f->random, 2) == 0 ? (int64_t)DAY_MS : -(int64_t)DAY_MS;
	site->clock_until = fault_until(f, 30);
	fortnight_fault(f, FAULT_CLOCK);
	fortnight_say(f, "site %llu's clock jumps by %lld h", (unsigned long long)site->node,
		(long long)(site->clock_ms / HOUR_MS));
}

/* Every clock is a day ahead, so that the cluster believes them; hours later they are put right. */
static void fault_all_clocks(struct fortnight *f)
{
	uint64_t until_ms = fault_until(f, 20);

	cluster_jump(f, DAY_MS);
	for (unsigned i = 0; i < SITES; i++) {
		f->site[i].clock_ms = (int64_t)DAY_MS;
		f->site[i].clock_until = until_ms;
	}
	fortnight_fault(f, FAULT_ALL_CLOCKS);
	fortnight_say(f, "all clocks jump by a day");
}

static void fault_all_down(struct fortnight *f)
{
	uint64_t until_ms = f->true_ms + 2ULL * CYCLE_MS + random_below(f->random, CYCLE_MS);

	for (unsigned i = 0; i < SITES; i++) {
		if (site_up(&f->site[i])) {
			site_crash(&f->site[i], true);
		}
		f->site[i].down_until = until_ms;
	}
	fortnight_fault(f, FAULT_ALL_DOWN);
	fortnight_say(f, "all sites are down");
}

static bool fault_one_is_lost(const struct fortnight *f)
{
	bool lost = false;

	for (unsigned i = 0; i < SITES; i++) {
		lost = lost || f->site[i].lost;
	}
	return lost;
}

/* One at a time, so that what it had can be brought again: with three copies, not three at once. */
static void fault_replaced(struct fortnight *f)
{
	struct site *site = fortnight_any_site(f);

	if (fault_unreached(f) < DOWN_MAX && !fault_one_is_lost(f) &&
		(f->lost_ms == 0 || f->true_ms >= f->lost_ms + LOST_APART_MS)) {
		replace_lose(site);
	}
}

static void fault_clocks(struct fortnight *f)
{
	for (unsigned i = 0; i < SITES; i++) {
		if (f->true_ms >= f->site[i].clock_until) {
			f->site[i].clock_ms = 0;
		}
	}
	if (fortnight_due(f, FAULT_CLOCK, 6)) {
		fault_clock(f);
	}
	if (fortnight_due(f, FAULT_ALL_CLOCKS, 1)) {
		fault_all_clocks(f);
	}
}

void faults_come(struct fortnight *f)
{
	struct site *site;

	if (fortnight_due(f, FAULT_CRASH, 12) && site_up(site = fortnight_any_site(f))) {
		site_crash(site, random_below(f->random, 2) == 0);
	}
	if (fortnight_due(f, FAULT_AWAY, 15)) {
		fault_away(f, FAULT_AWAY, fault_until(f, 6));
	}
	if (fortnight_due(f, FAULT_AWAY_LONG, 2)) {
		fault_away(f, FAULT_AWAY_LONG, f->true_ms + 2 * DAY_MS);
	}
	if (fortnight_due(f, FAULT_FULL, 10)) {
		fortnight_any_site(f)->full_until = fault_until(f, 9);
		fortnight_fault(f, FAULT_FULL);
	}
	if (fortnight_due(f, FAULT_SLOW, 10)) {
		fortnight_any_site(f)->slow_until = fault_until(f, 6);
		fortnight_fault(f, FAULT_SLOW);
	}
	if (fortnight_due(f, FAULT_QUIET, 15)) {
		f->quiet_until = fault_until(f, 8);
		fortnight_fault(f, FAULT_QUIET);
	}
	fault_clocks(f);
	if (fortnight_due(f, FAULT_ALL_DOWN, 1)) {
		fault_all_down(f);
	}
	if (fortnight_due(f, FAULT_REPLACED, 1)) {
		fault_replaced(f);
	}
}
