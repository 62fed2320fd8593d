/* One snapshot of a repository brought to one receiver, as a node ships it: tests/bench/backup runs
 * it, also over a link with a long way.
 *   ship_load REPOSITORY MANIFEST-HASH HOST PORT USER HOST-KEY-FILE SSH-KEY-FILE DROP
 * DROP is the directory that takes it, as the receiver shows it. Answers with a line of JSON. */
#include <stdio.h>
#include <string.h>

#include "backup/ship.h"
#include "base/file.h"
#include "base/text.h"

enum { KEY_LINE_BYTES_MAX = 4096 };

static void must(int rc, const struct err *e)
{
	if (rc != 0) {
		(void)fprintf(stderr, "ship_load: %s: %s\n", err_name(rc), e->text);
		exit(1);
	}
}

/* "ssh-ed25519 AAAA...", without the comment behind it. */
static char *host_key_load(const char *path)
{
	_cleanup_(buf_release) struct buf line = BUF_INIT;
	struct err e = {0};
	char *key, *comment;

	must(file_read(path, KEY_LINE_BYTES_MAX, &line, &e), &e);
	key = x_strdup(buf_str(&line));
	key[strcspn(key, "\n")] = 0;
	comment = strchr(key, ' ');
	comment = comment == NULL ? NULL : strchr(comment + 1, ' ');
	if (comment != NULL) {
		*comment = 0;
	}
	return key; /* Lives as long as the program. */
}

int main(int argc, char **argv)
{
	struct sftp_target target = {.clock = &clock_system};
	struct repository *repository = NULL;
	struct ship_report report;
	uint8_t hash[HASH_BYTES];
	struct err e = {0};
	uint64_t port, begin_ms;

	if (argc != 9 || hex_decode(argv[2], hash, sizeof hash) != 0 ||
		u64_parse(bytes_str(argv[4]), 65535, &port) != 0) {
		(void)fprintf(stderr, "usage: ship_load REPOSITORY MANIFEST-HASH HOST PORT USER "
				      "HOST-KEY-FILE SSH-KEY-FILE DROP\n");
		return 2;
	}
	target.host = argv[3];
	target.port = (unsigned)port;
	target.user = argv[5];
	target.host_key = host_key_load(argv[6]);
	target.key_path = argv[7];
	target.path = argv[8];
	must(repository_open(argv[1], &repository, &e), &e);
	begin_ms = clock_monotonic_ms(&clock_system);
	must(ship_snapshot(repository, hash, "bench", &target, &report, &e), &e);
	(void)printf("{\"bytes\": %llu, \"objects\": %u, \"connections\": %u, \"ms\": %llu}\n",
		(unsigned long long)report.bytes, report.objects, report.connections,
		(unsigned long long)(clock_monotonic_ms(&clock_system) - begin_ms));
	repository_close(repository);
	return 0;
}
