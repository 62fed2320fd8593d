/* A vault of many notes: filled, opened from a cold cache and from a warm one, searched.
 *
 *	bench_items COUNT [PROFILE VAULT]
 *
 * Without a profile at a fake node within the process, else at the profile's cluster, in an
 *existing vault to which the notes are added. */
#include "tests/lib/cli_fixture/cli_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "cli/client/search.h"

enum { PER_FOLDER = 500, WORDS = 40 };

static uint64_t now_ms(void)
{
	return clock_monotonic_ms(&clock_system);
}

static void must(int rc, const struct err *e)
{
	if (rc != 0) {
		(void)fprintf(stderr, "bench_items: %s\n", e->text);
		exit(1);
	}
}

/* Some 250 bytes of words out of 50,000. */
static void words(struct random *random, char *to, size_t size)
{
	size_t at = 0;

	for (unsigned i = 0; i < WORDS && at + 16 < size; i++) {
		at += (size_t)snprintf(
			to + at, size - at, "w%u ", (unsigned)random_below(random, 50000));
	}
}

static void fill(struct profile *profile, struct client *client, const char *name, unsigned count)
{
	const struct put_config config = {.notice = NULL};
	struct random_seeded random;
	uint64_t from = now_ms();
	struct put_result result;
	struct vault *vault;
	struct put *put;
	struct err e = {0};

	random_seeded_init(&random, 1);
	must(vault_open(profile, client, name, &vault, &e), &e);
	must(vault_sync(vault, &e), &e);
	must(put_new(vault, &config, &put, &e), &e);
	for (unsigned i = 0; i < count; i++) {
		char path[64], title[64], text[512];
		const struct item_fields fields = {
			.value = {[ITEM_TITLE] = title, [ITEM_TEXT] = text}};

		(void)snprintf(path, sizeof path, "/bench/%u/note %u", i / PER_FOLDER, i);
		(void)snprintf(title, sizeof title, "Title of number%u", i);
		words(&random.random, text, sizeof text);
		must(put_fields(put, path, ITEM_NOTE, &fields, NULL, &e), &e);
	}
	must(put_finish(put, &result, &e), &e);
	(void)printf("filled  %u notes in %.1f s: %u commits, %u pages\n", count,
		(double)(now_ms() - from) / 1000, (unsigned)result.commits,
		(unsigned)vault->head.page_count);
	put_free(put);
	vault_close(vault);
}

static void drop_cache(const struct profile *profile, const char *name)
{
	struct vault *vault;
	struct err e = {0};
	char *path, *empty;
	struct dirent *entry;
	DIR *dir;

	must(vault_open((struct profile *)profile, NULL, name, &vault, &e), &e);
	empty = vault_file(vault, "");
	path = profile_path(profile, empty);
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, "page-", 5) == 0 ||
			strcmp(entry->d_name, "leaves") == 0) {
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	free(path);
	free(empty);
	vault_close(vault);
}

static void search_times(const struct tree *tree)
{
	static const char *const queries[][2] = {
		{"number77", "w"}, {"w123", "w45"}, {"nowhere", ""}, {"title", "w49999"}};
	uint64_t from = now_ms();
	struct search *search = search_new(tree);
	struct err e = {0};

	(void)printf("index   %.3f s\n", (double)(now_ms() - from) / 1000);
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		const struct tree_item **items;
		size_t n;

		from = now_ms();
		must(search_find(search, queries[i], 2, SIZE_MAX, &items, &n, &e), &e);
		(void)printf("search  '%s %s': %u ms, %zu found\n", queries[i][0], queries[i][1],
			(unsigned)(now_ms() - from), n);
		free(items);
	}
	search_free(search);
}

static void open_times(
	struct profile *profile, struct client *client, const char *name, const char *what)
{
	uint64_t from = now_ms();
	clock_t cpu = clock();
	struct vault *vault;
	struct tree *tree;
	struct err e = {0};

	must(vault_open(profile, client, name, &vault, &e), &e);
	must(vault_sync(vault, &e), &e);
	must(tree_load(vault, &tree, &e), &e);
	(void)printf("open    %s: %.2f s (%.2f s of CPU), %zu items\n", what,
		(double)(now_ms() - from) / 1000, (double)(clock() - cpu) / CLOCKS_PER_SEC,
		tree->n_sorted);
	if (strcmp(what, "warm") == 0) {
		search_times(tree);
	}
	tree_free(tree);
	vault_close(vault);
}

static void run(struct profile *profile, struct client *client, const char *name, unsigned count)
{
	struct rusage usage;

	if (count > 0) {
		fill(profile, client, name, count);
	}
	drop_cache(profile, name);
	open_times(profile, client, name, "cold");
	open_times(profile, client, name, "warm");
	(void)getrusage(RUSAGE_SELF, &usage);
	(void)printf("memory  %.0f MiB at most\n", (double)usage.ru_maxrss / 1024);
}

int main(int argc, char **argv)
{
	unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	struct profile *profile;
	struct client *client;
	struct err e = {0};
	void *state;

	if (argc != 2 && argc != 4) {
		(void)fprintf(stderr, "usage: bench_items COUNT [PROFILE VAULT]\n");
		return 2;
	}
	if (argc == 2) {
		struct cli_fixture *f;

		(void)cli_fixture_setup(&state);
		f = state;
		run(f->profile, f->client, "v", count);
		return cli_fixture_teardown(&state);
	}
	must(profile_open(argv[2], &profile, &e), &e);
	must(session_client(profile, NULL, 0, &client, &e), &e);
	run(profile, client, argv[3], count);
	client_free(client);
	profile_close(profile);
	return 0;
}
