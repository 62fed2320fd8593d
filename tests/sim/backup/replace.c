/* A machine is lost with all it held, and hours later a member of another number takes its place:
 * an empty disk, a key of its own, and what its predecessor signed is opened by the former key. */
#include <assert.h>
#include <string.h>

#include "base/file.h"
#include "tests/sim/backup/fortnight.h"

enum { LOST_MS_MAX = 12 * 3600 * 1000 }; /* Until somebody has put another machine there. */

static const char *const site_names[SITES] = {"ams", "ber", "cph", "dub", "edi", "fra"};

struct site *site_of(struct fortnight *f, uint64_t node)
{
	struct site *site = &f->site[(node - 1) % SITES];

	return site->node == node ? site : NULL;
}

const char *site_name(const struct site *site)
{
	return site_names[site->number];
}

static void trust_add(struct fortnight *f, const struct site *site)
{
	struct key_pub *pub = key_pub_ref((struct key_pub *)(uintptr_t)key_public(site->signer));

	if (backup_trust_add(&f->trust, site->node, site_name(site), pub, NULL) != 0) {
		abort();
	}
	key_pub_free(pub);
}

void replace_trust(struct fortnight *f)
{
	backup_trust_release(&f->trust);
	for (unsigned i = 0; i < SITES; i++) {
		trust_add(f, &f->site[i]);
	}
	if (backup_trust_add_formers(&f->trust, &f->formers, NULL) != 0) {
		abort();
	}
}

/* What its store held went with it, too. */
static void lose_rows(struct site *site)
{
	minutes_drop(site);
	memset(&site->minutes, 0, sizeof site->minutes);
	site->n_rows = site->n_seen = 0;
	site->members.n = 0;
}

void replace_lose(struct site *site)
{
	struct fortnight *f = site->f;

	if (site_up(site)) {
		site_crash(site, false);
	}
	f->stats.undone += disk_undone(site->disk);
	disk_free(site->disk);
	if (file_remove_tree(site->dir, NULL) != 0) {
		abort();
	}
	site_furnish(site);
	lose_rows(site);
	site->lost = true;
	site->down_until = f->true_ms + 1 + random_below(f->random, LOST_MS_MAX);
	site->full_until = site->slow_until = 0;
	f->lost_ms = f->true_ms;
	fortnight_fault(f, FAULT_REPLACED);
	fortnight_say(f, "site %llu is lost", (unsigned long long)site->node);
	check_lost(f);
}

/* The key that stood there before, under the number that is gone. */
static void former_add(struct fortnight *f, const struct site *site)
{
	struct backup_former *former = &f->formers.rows[f->formers.n];
	struct bytes key = key_pub_bytes(key_public(site->signer));

	assert(f->formers.n < BACKUP_FORMER_MAX && key.len == sizeof former->key);
	former->node = site->node;
	memcpy(former->key, key.data, sizeof former->key);
	f->formers.n++;
}

/* The others restart with settings that name the new one: to them nothing was brought there yet. */
static void replace_tell(struct fortnight *f, const struct site *newcomer)
{
	for (unsigned i = 0; i < SITES; i++) {
		struct site *site = &f->site[i];

		site->passed_over[newcomer->number] = 0;
		site->delivered[newcomer->number] = 0;
		site->ship.brought[newcomer->number] = 0;
	}
}

/* Above every number that was ever given: who is gone had a lower one than who came. */
static uint64_t replace_number(const struct site *site)
{
	uint64_t node = site->node + SITES;

	for (unsigned i = 0; i < SITES; i++) {
		while (node < site->f->site[i].node) {
			node += SITES;
		}
	}
	return node;
}

static void replace_one(struct site *site)
{
	struct fortnight *f = site->f;
	uint64_t node = replace_number(site);

	if (cluster_replace(f, site, node) != 0) {
		return; /* There is no quorum: later. */
	}
	former_add(f, site);
	key_free(site->signer);
	site_key(site);
	fortnight_say(f, "site %llu takes the place of %llu", (unsigned long long)node,
		(unsigned long long)site->node);
	site->node = node;
	site->lost = false;
	replace_trust(f);
	replace_tell(f, site);
}

void replace_work(struct fortnight *f)
{
	for (unsigned i = 0; i < SITES; i++) {
		if (f->site[i].lost && f->true_ms >= f->site[i].down_until) {
			replace_one(&f->site[i]);
		}
	}
}
