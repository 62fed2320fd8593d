/* bench_log COUNT [DIR]: synced appends of one entry each, and of many at once. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/raft/lib/log_rig.h"

static unsigned appends;

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void one_by_one(struct log_rig *rig, uint64_t *index, size_t len)
{
	double *took = x_calloc(appends, sizeof *took);

	for (unsigned i = 0; i < appends; i++) {
		double begin = now_ms();

		log_rig_append(rig, (*index)++, 1, 1, len);
		log_rig_wait(rig);
		took[i] = now_ms() - begin;
		if (i % 64 == 0) {
			entry_log_trim(rig->log, *index - 2, bytes_str("bench"));
		}
	}
	qsort(took, appends, sizeof *took, compare);
	(void)printf("append of %7zu bytes: median %.3f ms, p99 %.3f ms, max %.3f ms\n", len,
		took[appends / 2], took[appends * 99 / 100], took[appends - 1]);
	free(took);
}

static void pipelined(struct log_rig *rig, uint64_t *index, size_t len, unsigned deep)
{
	double begin = now_ms();

	for (unsigned i = 0; i < appends; i++) {
		log_rig_append(rig, (*index)++, 1, 1, len);
		if (i % deep == deep - 1) {
			log_rig_wait(rig);
		}
		if (i % 64 == 63) {
			log_rig_wait(rig);
			entry_log_trim(rig->log, *index - 2, bytes_str("bench"));
		}
	}
	log_rig_wait(rig);
	(void)printf("%2u at once of %7zu bytes: %.0f appends/s, %.1f MB/s\n", deep, len,
		appends / ((now_ms() - begin) / 1e3),
		(double)len * appends / 1e6 / ((now_ms() - begin) / 1e3));
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {256, 4096, 65536, 262144};
	struct log_rig rig;
	struct err e = {0};
	uint64_t index = 1;

	char *dir = argc > 2 ? NULL : scratch_new("bench");

	appends = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1500;
	if (appends == 0 || log_rig_open(&rig, dir == NULL ? argv[2] : dir, 0, &e) != 0) {
		(void)fprintf(stderr, "bench_log COUNT [DIR]: %s\n", e.text);
		return 1;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		one_by_one(&rig, &index, sizes[i]);
		pipelined(&rig, &index, sizes[i], 16);
	}
	log_rig_close(&rig);
	if (dir != NULL) {
		scratch_free(dir);
	}
	return 0;
}
