/* How fast two nodes pass messages over one link, both on one loop thread: bench_link [MIB] */
#include "tests/lib/test.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/text.h"
#include "raft/entry.h"
#include "raft/link.h"
#include "tests/lib/certs.h"

struct bench {
	struct links *links[2];
	struct entry *entries[4];
	unsigned n_entries;
	uint64_t sent, received, wanted, messages;
	bool up, done;
	uint64_t began_ns, ended_ns;
};

static void bench_send(struct bench *b)
{
	while (b->sent < b->wanted) {
		if (links_send(b->links[0], 2, LINK_RAFT, bytes_str("header"), b->entries,
			    b->n_entries) != 0) {
			return; /* room_cb goes on. */
		}
		b->sent += 6;
		for (unsigned i = 0; i < b->n_entries; i++) {
			b->sent += b->entries[i]->len;
		}
	}
}

static void bench_receive_cb(
	void *data, uint64_t peer, enum link_stream stream, struct bytes message)
{
	struct bench *b = data;

	(void)peer;
	(void)stream;
	b->received += message.len;
	b->messages++;
	if (b->received >= b->wanted) {
		b->ended_ns = uv_hrtime();
		b->done = true;
	}
}

static void bench_up_cb(void *data, uint64_t peer)
{
	struct bench *b = data;

	b->up = b->up || peer == 2;
}

static void bench_room_cb(void *data, uint64_t peer, enum link_stream stream)
{
	(void)peer;
	(void)stream;
	bench_send(data);
}

static const struct link_handler bench_handler = {
	bench_receive_cb, bench_up_cb, NULL, bench_room_cb, NULL, NULL, NULL, NULL};

static void bench_start(struct bench *b, uv_loop_t *loop, const struct pki_identity *ca)
{
	struct err e;

	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(pki_identity_release) struct pki_identity node = {0};
		struct links_config config = {.loop = loop,
			.clock = &clock_system,
			.random = &random_system,
			.node_id = i + 1,
			.incarnation = {(uint8_t)(i + 1)},
			.starts = 1,
			.handler = &bench_handler,
			.data = b};

		certs_node(ca, i + 1, 0, &node);
		config.ctx = certs_link_ctx(&node, ca);
		memcpy(config.cluster_id, certs_cluster, 16);
		assert_int_equal(links_new(&config, "127.0.0.1:0", &b->links[i], &e), 0);
		tls_ctx_unref(config.ctx);
	}
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(x_freep) char *address =
			x_asprintf("127.0.0.1:%u", links_port(b->links[1 - i]));
		struct link_peer peer = {2 - i, address};

		assert_int_equal(links_set_peers(b->links[i], &peer, 1, &e), 0);
	}
}

static double bench_cpu(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void bench_run(
	const struct pki_identity *ca, const char *what, unsigned n, size_t len, uint64_t wanted)
{
	struct bench b = {.n_entries = n, .wanted = wanted};
	struct link_status status;
	uv_loop_t loop;
	double cpu, seconds;

	assert_int_equal(uv_loop_init(&loop), 0);
	for (unsigned i = 0; i < n; i++) {
		b.entries[i] = entry_new(1, 1, ENTRY_COMMAND, len);
		random_fill(&random_system, b.entries[i]->data, len);
	}
	bench_start(&b, &loop, ca);
	while (!b.up) {
		(void)uv_run(&loop, UV_RUN_ONCE);
	}
	cpu = bench_cpu();
	b.began_ns = uv_hrtime();
	bench_send(&b);
	while (!b.done) {
		(void)uv_run(&loop, UV_RUN_ONCE);
	}
	seconds = (double)(b.ended_ns - b.began_ns) / 1e9;
	cpu = bench_cpu() - cpu;
	assert_int_equal(links_status(b.links[0], 2, &status), 0);
	printf("%-24s %8.0f MB/s %10.0f messages/s, CPU of both ends %.2f s a GB, rtt %u us\n",
		what, (double)b.received / 1e6 / seconds, (double)b.messages / seconds,
		cpu / ((double)b.received / 1e9), status.rtt_us);
	links_close(b.links[0], NULL, NULL);
	links_close(b.links[1], NULL, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	for (unsigned i = 0; i < n; i++) {
		entry_unref(b.entries[i]);
	}
}

int main(int argc, char **argv)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0};
	uint64_t mib = 1024;

	if (argc > 2 || (argc == 2 && u64_parse(bytes_str(argv[1]), 1 << 20, &mib) != 0)) {
		(void)fprintf(stderr, "usage: bench_link [MIB]\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	log_init("bench", LOG_LEVEL_ERR);
	certs_ca(&ca);
	bench_run(&ca, "4 entries of 1 MiB", 4, 1 << 20, mib << 20);
	bench_run(&ca, "1 entry of 64 KiB", 1, 64 * 1024, mib << 20);
	bench_run(&ca, "1 entry of 256 B", 1, 256, mib << 16);
	return 0;
}
