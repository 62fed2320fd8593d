/* The wire does to packets what its links are told, and nothing else. */
#include "tests/chaos/wire.h"

#include <string.h>

#include "tests/lib/test.h"

enum { IP = 20, TCP = 20, PACKET = 100, SECOND = 1000000 };

static int wire_setup(void **state)
{
	*state = wire_new(7, 1, 0);
	return 0;
}

static int wire_teardown(void **state)
{
	wire_free(*state);
	return 0;
}

static void command(struct wire *wire, const char *line)
{
	struct err e = {0};

	if (wire_command(wire, line, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

/* A TCP segment of `len` bytes in all. */
static void segment(
	uint8_t *packet, size_t len, unsigned from, unsigned to, uint8_t flags, uint32_t seq)
{
	memset(packet, 0, len);
	packet[0] = 0x45;
	packet[2] = (uint8_t)(len >> 8);
	packet[3] = (uint8_t)len;
	packet[9] = 6;
	memcpy(packet + 12, "\x0a\x4d\x00", 3);
	memcpy(packet + 16, "\x0a\x4d\x00", 3);
	packet[15] = (uint8_t)from;
	packet[19] = (uint8_t)to;
	packet[IP] = 0x11;
	packet[IP + 1] = 0x22;
	packet[IP + 2] = 0x33;
	packet[IP + 3] = 0x44;
	for (unsigned i = 0; i < 4; i++) {
		packet[IP + 4 + i] = (uint8_t)(seq >> (24 - 8 * i));
		packet[IP + 8 + i] = (uint8_t)(0xa0 + i);
	}
	packet[IP + 12] = 0x50;
	packet[IP + 13] = flags;
}

static void put(struct wire *wire, unsigned from, unsigned to, uint64_t now_us)
{
	uint8_t packet[PACKET];

	segment(packet, sizeof packet, from, to, 16, 1);
	wire_input(wire, from, bytes_of(packet, sizeof packet), now_us);
}

/* How many come out at `to`; all else that comes out is a failure. */
static unsigned come(struct wire *wire, unsigned to, uint64_t now_us)
{
	struct bytes packet;
	unsigned at, n = 0;

	while (wire_output(wire, now_us, &at, &packet)) {
		assert_int_equal(at, to);
		n++;
	}
	return n;
}

static void test_passes(void **state)
{
	struct wire *wire = *state;

	assert_true(wire_next_us(wire) == UINT64_MAX);
	for (unsigned from = 1; from <= 7; from++) {
		for (unsigned to = 1; to <= 7; to++) {
			put(wire, from, to, 5);
			assert_int_equal(come(wire, to, 5), from != to);
		}
	}
}

static void test_foreign_packets_are_dropped(void **state)
{
	struct wire *wire = *state;
	uint8_t packet[PACKET];

	segment(packet, sizeof packet, 1, 2, 16, 1);
	wire_input(wire, 1, bytes_of(packet, 19), 0); /* Cut. */
	wire_input(wire, 1, bytes_of(packet, 0), 0);
	packet[0] = 0x60; /* IPv6. */
	wire_input(wire, 1, bytes_of(packet, sizeof packet), 0);
	packet[0] = 0x45;
	packet[17] = 78; /* Another network. */
	wire_input(wire, 1, bytes_of(packet, sizeof packet), 0);
	packet[17] = 77;
	packet[19] = 8; /* No such port. */
	wire_input(wire, 1, bytes_of(packet, sizeof packet), 0);
	packet[19] = 0;
	wire_input(wire, 1, bytes_of(packet, sizeof packet), 0);
	assert_true(wire_next_us(wire) == UINT64_MAX);
}

static void test_cut_one_way(void **state)
{
	struct wire *wire = *state;
	struct wire_count count;

	command(wire, "set 2 1 cut=1");
	put(wire, 2, 1, 0);
	assert_true(wire_next_us(wire) == UINT64_MAX);
	put(wire, 1, 2, 0);
	assert_int_equal(come(wire, 2, 0), 1);
	put(wire, 2, 3, 0);
	assert_int_equal(come(wire, 3, 0), 1);
	wire_count(wire, 2, 1, &count);
	assert_int_equal(count.cut, 1);
	assert_int_equal(count.passed, 0);
	command(wire, "set 2 1");
	put(wire, 2, 1, 0);
	assert_int_equal(come(wire, 1, 0), 1);
}

static void test_cut_takes_what_is_under_way(void **state)
{
	struct wire *wire = *state;

	command(wire, "set 1 2 delay=100");
	put(wire, 1, 2, 0);
	command(wire, "set 1 2 cut=1");
	command(wire, "set 1 2");
	assert_int_equal(come(wire, 2, SECOND), 0);
}

static void test_all_ports(void **state)
{
	struct wire *wire = *state;

	command(wire, "set * 3 cut=1");
	command(wire, "set 3 * cut=1");
	for (unsigned other = 1; other <= 7; other++) {
		put(wire, 3, other, 0);
		put(wire, other, 3, 0);
	}
	assert_true(wire_next_us(wire) == UINT64_MAX);
	put(wire, 1, 7, 0);
	assert_int_equal(come(wire, 7, 0), 1);
}

static void test_delay_keeps_order(void **state)
{
	struct wire *wire = *state;
	struct bytes packet;
	unsigned to;

	command(wire, "set 1 2 delay=40 jitter=20");
	for (unsigned i = 0; i < 100; i++) {
		uint8_t bytes[PACKET];

		segment(bytes, sizeof bytes, 1, 2, 16, i);
		wire_input(wire, 1, bytes_of(bytes, sizeof bytes), i * 100);
	}
	assert_in_range(wire_next_us(wire), 40000, 60000);
	assert_int_equal(come(wire, 2, 39999), 0);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(wire_output(wire, 70000, &to, &packet));
		assert_int_equal(packet.data[IP + 7], i);
	}
	assert_false(wire_output(wire, SECOND, &to, &packet));
}

static unsigned pass_of(uint64_t seed, unsigned n)
{
	struct wire *wire = wire_new(2, seed, 0);
	unsigned passed;

	command(wire, "set 1 2 loss=20");
	for (unsigned i = 0; i < n; i++) {
		put(wire, 1, 2, 0);
	}
	passed = come(wire, 2, 0);
	wire_free(wire);
	return passed;
}

static void test_loss(void **state)
{
	(void)state;
	assert_in_range(pass_of(1, 10000), 7800, 8200);
	assert_int_equal(pass_of(1, 10000), pass_of(1, 10000)); /* A seed is a story. */
	assert_int_not_equal(pass_of(1, 10000), pass_of(2, 10000));
}

static void test_rate(void **state)
{
	struct wire *wire = *state;
	struct wire_count count;
	uint64_t now_us = 0, passed = 0;

	/* 1 Mbit/s takes 0.8 ms for a packet of 100 bytes. */
	command(wire, "set 1 2 rate=1000");
	put(wire, 1, 2, 0);
	assert_int_equal(wire_next_us(wire), 800);
	for (; now_us < 10 * SECOND; now_us += 400) { /* Twice as many as fit. */
		put(wire, 1, 2, now_us);
		passed += come(wire, 2, now_us);
	}
	assert_in_range(passed, 12000, 12600);
	wire_count(wire, 1, 2, &count);
	assert_true(count.full > 11000);
	/* What is queued is out after the queue's time. */
	assert_in_range(come(wire, 2, now_us + (WIRE_RATE_MS_MAX + 1) * 1000), 490, 510);
}

static void test_bound_of_a_link(void **state)
{
	struct wire *wire = *state;
	struct wire_count count;
	unsigned n = WIRE_LINK_BYTES_MAX / PACKET + 10;

	command(wire, "set 1 2 delay=60000");
	for (unsigned i = 0; i < n; i++) {
		put(wire, 1, 2, 0);
	}
	wire_count(wire, 1, 2, &count);
	assert_int_equal(count.passed, WIRE_LINK_BYTES_MAX / PACKET);
	assert_int_equal(count.full, n - count.passed);
}

/* Ones' complement sum of a header or pseudo header with a right checksum in it: 0xffff. */
static unsigned sum(const uint8_t *p, size_t len, unsigned from)
{
	for (size_t i = 0; i < len; i += 2) {
		from += (unsigned)(p[i] << 8 | p[i + 1]);
	}
	while (from > 0xffff) {
		from = (from & 0xffff) + (from >> 16);
	}
	return from;
}

static void reset_of(struct wire *wire, unsigned len, uint8_t flags, uint8_t ret_reply[IP + TCP])
{
	uint8_t packet[PACKET];
	struct bytes reply;
	unsigned to;

	segment(packet, len, 2, 5, flags, 0x01020304);
	wire_input(wire, 2, bytes_of(packet, len), 0);
	assert_true(wire_output(wire, 0, &to, &reply));
	assert_int_equal(to, 2);
	assert_int_equal(reply.len, IP + TCP);
	memcpy(ret_reply, reply.data, IP + TCP);
	assert_int_equal(come(wire, 5, 0), 0);
	assert_memory_equal(ret_reply + 12, "\x0a\x4d\x00\x05\x0a\x4d\x00\x02", 8);
	assert_memory_equal(ret_reply + IP, "\x33\x44\x11\x22", 4);
	assert_int_equal(sum(ret_reply, IP, 0), 0xffff);
	assert_int_equal(sum(ret_reply + IP, TCP, sum(ret_reply + 12, 8, 6 + TCP)), 0xffff);
}

static void test_reset(void **state)
{
	struct wire *wire = *state;
	uint8_t reply[IP + TCP];
	struct wire_count count;

	command(wire, "set 2 5 reset=1");
	reset_of(wire, IP + TCP, 2, reply); /* SYN: RST, ACK of seq + 1. */
	assert_int_equal(reply[IP + 13], 0x14);
	assert_memory_equal(reply + IP + 4, "\0\0\0\0\x01\x02\x03\x05", 8);
	reset_of(wire, PACKET, 1, reply); /* FIN and 60 bytes without ACK. */
	assert_memory_equal(reply + IP + 4, "\0\0\0\0\x01\x02\x03\x41", 8);
	reset_of(wire, PACKET, 16, reply); /* ACK: RST with that number. */
	assert_int_equal(reply[IP + 13], 4);
	assert_memory_equal(reply + IP + 4, "\xa0\xa1\xa2\xa3\0\0\0\0", 8);
	wire_count(wire, 2, 5, &count);
	assert_int_equal(count.reset, 3);
	assert_int_equal(count.passed, 0);
}

static void test_head_travels(void **state)
{
	struct wire *wire = wire_new(2, 1, 10);
	uint8_t packet[10 + PACKET];
	struct bytes out;
	unsigned to;

	(void)state;
	memset(packet, 7, 10);
	segment(packet + 10, PACKET, 1, 2, 2, 0x01020304);
	wire_input(wire, 1, bytes_of(packet, 29), 0); /* Cut. */
	wire_input(wire, 1, bytes_of(packet, sizeof packet), 0);
	assert_true(wire_output(wire, 0, &to, &out));
	assert_int_equal(to, 2);
	assert_int_equal(out.len, sizeof packet);
	assert_memory_equal(out.data, packet, sizeof packet);
	command(wire, "set 1 2 reset=1");
	wire_input(wire, 1, bytes_of(packet, 10 + IP + TCP), 0);
	assert_true(wire_output(wire, 0, &to, &out));
	assert_int_equal(to, 1);
	assert_int_equal(out.len, 10 + IP + TCP);
	assert_memory_equal(out.data, "\0\0\0\0\0\0\0\0\0\0\x45", 11);
	assert_memory_equal(out.data + 10 + IP + 4, "\0\0\0\0\x01\x02\x03\x05", 8);
	wire_free(wire);
}

static void test_not_reset(void **state)
{
	struct wire *wire = *state;
	uint8_t packet[PACKET];

	command(wire, "set 2 5 reset=1");
	segment(packet, sizeof packet, 2, 5, 4, 1); /* RST itself. */
	wire_input(wire, 2, bytes_of(packet, sizeof packet), 0);
	segment(packet, sizeof packet, 2, 5, 16, 1);
	for (size_t len = IP; len < IP + TCP; len++) { /* A cut header. */
		wire_input(wire, 2, bytes_of(packet, len), 0);
	}
	packet[IP + 12] = 0xf0; /* A header longer than the packet would be. */
	wire_input(wire, 2, bytes_of(packet, IP + 50), 0);
	packet[IP + 12] = 0x10; /* ... and one too short. */
	wire_input(wire, 2, bytes_of(packet, sizeof packet), 0);
	packet[0] = 0x4f; /* IP options behind the packet's end. */
	wire_input(wire, 2, bytes_of(packet, 70), 0);
	packet[0] = 0x45;
	packet[9] = 17; /* UDP. */
	wire_input(wire, 2, bytes_of(packet, sizeof packet), 0);
	assert_true(wire_next_us(wire) == UINT64_MAX);
}

static void test_refused_commands(void **state)
{
	static const char *const lines[] = {"", "set", "set 1", "set 0 1", "set 1 8", "set a 1",
		"set 1 2 cut", "set 1 2 cut=2", "set 1 2 loss=101", "set 1 2 delay=-1",
		"set 1 2 speed=1", "set 1 2 cut=1 loss=", "get 1 2", "set 1 2  cut=1",
		"set 1 2 a a a a a a a a a a a a a a a a"};
	struct wire *wire = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(wire_command(wire, lines[i], NULL), KLUIS_EINVAL);
	}
	put(wire, 1, 2, 0); /* Nothing was changed. */
	assert_int_equal(come(wire, 2, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_passes, wire_setup, wire_teardown),
		cmocka_unit_test_setup_teardown(
			test_foreign_packets_are_dropped, wire_setup, wire_teardown),
		cmocka_unit_test_setup_teardown(test_cut_one_way, wire_setup, wire_teardown),
		cmocka_unit_test_setup_teardown(
			test_cut_takes_what_is_under_way, wire_setup, wire_teardown),
		cmocka_unit_test_setup_teardown(test_all_ports, wire_setup, wire_teardown),
		cmocka_unit_test_setup_teardown(test_delay_keeps_order, wire_setup, wire_teardown),
		cmocka_unit_test(test_loss),
		cmocka_unit_test_setup_teardown(test_rate, wire_setup, wire_teardown),
		cmocka_unit_test_setup_teardown(test_bound_of_a_link, wire_setup, wire_teardown),
		cmocka_unit_test_setup_teardown(test_reset, wire_setup, wire_teardown),
		cmocka_unit_test(test_head_travels),
		cmocka_unit_test_setup_teardown(test_not_reset, wire_setup, wire_teardown),
		cmocka_unit_test_setup_teardown(test_refused_commands, wire_setup, wire_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
