/* bench_apply COUNT [BUCKET [CLIENTS [PER_ENTRY]]]: commits of one page each through the state
 * machine into RocksDB, by CLIENTS vaults in turn: what the apply thread costs for each. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/lib/fixture/machine.h"

static double cpu_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static unsigned argument(int argc, char **argv, int i, unsigned otherwise)
{
	return argc > i ? (unsigned)strtoul(argv[i], NULL, 10) : otherwise;
}

/* The next commit of page 0 of c. */
static void commit_of(struct fixture_client *c, unsigned bucket, struct buf *command)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT;

	fixture_entry(c, 0, c->revision[0] + 1, bucket, c->revision[0], false, &entries);
	fixture_commit(c, buf_bytes(&entries), 1, false, command);
	fixture_committed(c, buf_bytes(&entries));
}

static double apply_entry(struct fixture_machine *m, struct bytes *commands, unsigned n)
{
	struct entry *entry =
		fixture_machine_entry(m, fsm_position(m->fsm)->index + 1, commands, n);
	double begin = cpu_us();

	assert_int_equal(fsm_apply(m->fsm, &entry, 1, &m->results, &m->err), 0);
	begin = cpu_us() - begin;
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(m->results.result[i].rc, 0);
	}
	entry_unref(entry);
	return begin;
}

int main(int argc, char **argv)
{
	unsigned count = argument(argc, argv, 1, 20000), bucket = argument(argc, argv, 2, 12);
	unsigned n = argument(argc, argv, 3, 64), per_entry = argument(argc, argv, 4, 16);
	struct fixture_client *clients = x_calloc(n, sizeof *clients);
	struct bytes *commands = x_calloc(per_entry, sizeof *commands);
	struct buf *bufs = x_calloc(per_entry, sizeof *bufs);
	struct kv_options options = {.create = true};
	char *dir = scratch_new("bench-apply");
	struct fixture_machine m;
	struct kv *kv;
	double us = 0;
	unsigned done = 0;

	assert_int_equal(kv_rocksdb_open(dir, &options, &kv, NULL), 0);
	fixture_machine_init(&m, kv);
	fixture_machine_begin(&m, &clients[0]);
	for (unsigned i = 1; i < n; i++) {
		fixture_machine_join(&m, &clients[i], i + 1);
	}
	while (done < count) {
		for (unsigned i = 0; i < per_entry; i++) {
			commit_of(&clients[(done + i) % n], bucket, &bufs[i]);
			commands[i] = buf_bytes(&bufs[i]);
		}
		us += apply_entry(&m, commands, per_entry);
		done += per_entry;
	}
	(void)printf(
		"commit of a page of 2^%u bytes, %u in an entry: %.1f us of the apply thread\n",
		bucket, per_entry, us / done);
	fixture_machine_release(&m);
	for (unsigned i = 0; i < per_entry; i++) {
		buf_release(&bufs[i]);
	}
	free(clients);
	free(commands);
	free(bufs);
	scratch_free(dir);
	return 0;
}
