/* One network namespace for each port, and the wire between them.
 *
 *   chaos_wire PORTS SEED [offload]
 *
 * Each namespace has its loopback and one interface with the address 10.77.0.PORT/24; nothing else
 * is reached from there, and nothing of the machine's own network is touched. On standard output
 * `ready FD...` names the descriptors of the namespaces (nsenter --net=/proc/PID/fd/FD). Then each
 * line of standard input is a command (wire.h), answered with `ok` or `no: REASON`; `count` is
 * answered with one line `FROM TO passed cut reset lost full` for each link, then `ok`. When
 * standard input ends so does this program, and with it and the last process inside go the
 * namespaces: there is no name to clean up. Needs root.
 *
 * offload: as network cards do, the interfaces take and give TCP segments of up to 64 KiB that the
 * kernel need not cut, join or sum; a loss then takes all of one. For measuring speed: it is some
 * forty times fewer packets to pass by hand. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/chaos/wire.h"

enum { PACKETS_A_TURN = 64 };

struct ports {
	unsigned n;
	bool offload;
	int tun[WIRE_PORTS_MAX + 1], netns[WIRE_PORTS_MAX + 1]; /* From 1. */
};

struct commands {
	char text[4 * WIRE_COMMAND_BYTES_MAX];
	size_t len;
};

static uint64_t now_us(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time); /* There since Linux 2.6. */
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void interface_up(int control, const char *name, const char *address)
{
	struct ifreq request = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	int ok = 0;

	memcpy(request.ifr_name, name, strlen(name) + 1);
	if (address != NULL) {
		ok |= inet_pton(AF_INET, address, &in.sin_addr) != 1;
		memcpy(&request.ifr_addr, &in, sizeof in);
		ok |= ioctl(control, SIOCSIFADDR, &request);
		ok |= inet_pton(AF_INET, "255.255.255.0", &in.sin_addr) != 1;
		memcpy(&request.ifr_addr, &in, sizeof in);
		ok |= ioctl(control, SIOCSIFNETMASK, &request);
	}
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	ok |= ioctl(control, SIOCSIFFLAGS, &request);
	if (ok != 0) {
		perror(name);
		exit(1);
	}
}

/* This thread is inside the new namespace afterwards. */
static void port_open(struct ports *ports, unsigned port)
{
	struct ifreq request = {.ifr_name = "wire0", .ifr_flags = IFF_TUN | IFF_NO_PI};
	char address[INET_ADDRSTRLEN];
	int control;

	request.ifr_flags |= ports->offload ? IFF_VNET_HDR : 0;
	if (unshare(CLONE_NEWNET) != 0) {
		perror("unshare");
		exit(1);
	}
	ports->netns[port] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	ports->tun[port] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (ports->netns[port] < 0 || ports->tun[port] < 0 || control < 0 ||
		ioctl(ports->tun[port], TUNSETIFF, &request) != 0 ||
		(ports->offload &&
			ioctl(ports->tun[port], TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) != 0)) {
		perror("/dev/net/tun");
		exit(1);
	}
	(void)snprintf(address, sizeof address, "10.77.0.%u", port);
	interface_up(control, "lo", NULL);
	interface_up(control, "wire0", address);
	(void)close(control);
}

static void count_print(const struct wire *wire, unsigned ports)
{
	for (unsigned from = 1; from <= ports; from++) {
		for (unsigned to = 1; to <= ports; to++) {
			struct wire_count c;

			wire_count(wire, from, to, &c);
			(void)printf("%u %u %llu %llu %llu %llu %llu\n", from, to,
				(unsigned long long)c.passed, (unsigned long long)c.cut,
				(unsigned long long)c.reset, (unsigned long long)c.lost,
				(unsigned long long)c.full);
		}
	}
}

static void command_run(struct wire *wire, unsigned ports, const char *line)
{
	struct err e = {0};

	if (strcmp(line, "count") == 0) {
		count_print(wire, ports);
		(void)printf("ok\n");
	} else if (wire_command(wire, line, &e) == 0) {
		(void)printf("ok\n");
	} else {
		(void)printf("no: %s\n", e.text);
	}
	(void)fflush(stdout);
}

/* False: standard input has ended. */
static bool commands_read(struct commands *c, struct wire *wire, unsigned ports)
{
	ssize_t n = read(STDIN_FILENO, c->text + c->len, sizeof c->text - c->len);
	char *end;

	if (n <= 0) {
		return n < 0 && errno == EINTR;
	}
	c->len += (size_t)n;
	while ((end = memchr(c->text, '\n', c->len)) != NULL) {
		*end = 0;
		command_run(wire, ports, c->text);
		c->len -= (size_t)(end + 1 - c->text);
		memmove(c->text, end + 1, c->len);
	}
	return c->len < sizeof c->text;
}

static void packets_read(struct wire *wire, unsigned port, int fd)
{
	uint8_t packet[WIRE_PACKET_BYTES_MAX];

	for (unsigned i = 0; i < PACKETS_A_TURN; i++) {
		ssize_t n = read(fd, packet, sizeof packet);

		if (n <= 0) {
			return;
		}
		wire_input(wire, port, bytes_of(packet, (size_t)n), now_us());
	}
}

static void packets_write(struct wire *wire, const struct ports *ports)
{
	struct bytes packet;
	unsigned to;

	while (wire_output(wire, now_us(), &to, &packet)) {
		/* A full queue loses it, as networks do. */
		(void)!write(ports->tun[to], packet.data, packet.len);
	}
}

static void run(struct wire *wire, const struct ports *ports)
{
	struct pollfd fds[WIRE_PORTS_MAX + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
	struct commands commands = {.len = 0};

	for (unsigned i = 1; i <= ports->n; i++) {
		fds[i] = (struct pollfd){.fd = ports->tun[i], .events = POLLIN};
	}
	for (;;) {
		uint64_t due_us = wire_next_us(wire), at_us = now_us();
		uint64_t wait_us = due_us < at_us ? 0 : due_us - at_us;
		struct timespec wait = {.tv_sec = (time_t)(wait_us / 1000000),
			.tv_nsec = (long)(wait_us % 1000000) * 1000};
		int n = ppoll(fds, ports->n + 1, due_us == UINT64_MAX ? NULL : &wait, NULL);

		for (unsigned i = 1; n > 0 && i <= ports->n; i++) {
			if (fds[i].revents != 0) {
				packets_read(wire, i, ports->tun[i]);
			}
		}
		packets_write(wire, ports);
		if (n > 0 && fds[0].revents != 0 && !commands_read(&commands, wire, ports->n)) {
			return;
		}
	}
}

int main(int argc, char **argv)
{
	struct ports ports = {0};
	uint64_t n, seed;
	struct wire *wire;

	if (argc < 3 || argc > 4 || (argc == 4 && strcmp(argv[3], "offload") != 0) ||
		u64_parse(bytes_str(argv[1]), WIRE_PORTS_MAX, &n) != 0 || n < 2 ||
		u64_parse(bytes_str(argv[2]), UINT64_MAX, &seed) != 0) {
		(void)fprintf(
			stderr, "usage: chaos_wire PORTS(2..%d) SEED [offload]\n", WIRE_PORTS_MAX);
		return 2;
	}
	ports.n = (unsigned)n;
	ports.offload = argc == 4;
	wire = wire_new(ports.n, seed, ports.offload ? sizeof(struct virtio_net_hdr) : 0);
	for (unsigned i = 1; i <= ports.n; i++) {
		port_open(&ports, i);
	}
	(void)printf("ready");
	for (unsigned i = 1; i <= ports.n; i++) {
		(void)printf(" %d", ports.netns[i]);
	}
	(void)printf("\n");
	(void)fflush(stdout);
	run(wire, &ports);
	wire_free(wire);
	return 0;
}
