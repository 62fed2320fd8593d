/* The agent as a process of its own: its socket, who may ask, how it ends. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/agent/server.h"
#include "cli/client/agent.h"
#include "crypto/identity.h"
#include "crypto/sign.h"

enum { WAIT_MS = 60000, STRANGER = 65534 };

struct process {
	char *dir;
	pid_t pid; /* 0: none. */
	struct agent *agent;
	struct key *device, *signing;
	struct err err;
};

static void tell_ready(void *arg)
{
	const int *fd = arg;

	assert_int_equal(write(*fd, "r", 1), 1);
}

/* Gives what server_run() gave, as exit code, and a byte when it serves. */
static pid_t serve(const char *dir, uint64_t idle_ms, bool *ret_ready)
{
	int ends[2];
	uint8_t byte;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct server_config config = {.profile_dir = dir,
			.idle_ms = idle_ms,
			.ready = tell_ready,
			.arg = &ends[1]};

		(void)close(ends[0]);
		_exit(err_exit_code(server_run(&config, NULL)));
	}
	(void)close(ends[1]);
	*ret_ready = read(ends[0], &byte, 1) == 1;
	(void)close(ends[0]);
	return pid;
}

static int ended(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void start(struct process *p, uint64_t idle_ms)
{
	bool ready;

	p->pid = serve(p->dir, idle_ms, &ready);
	assert_true(ready);
}

static int setup(void **state)
{
	struct process *p = x_calloc(1, sizeof *p);

	p->dir = scratch_new("agent");
	assert_int_equal(chmod(p->dir, 0700), 0);
	p->agent = agent_new(p->dir);
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &p->device, NULL), 0);
	assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &p->signing, NULL), 0);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct process *p = *state;

	if (p->pid != 0) {
		(void)kill(p->pid, SIGKILL);
		(void)waitpid(p->pid, NULL, 0);
	}
	agent_free(p->agent);
	key_free(p->device);
	key_free(p->signing);
	scratch_free(p->dir);
	free(p);
	return 0;
}

static char *socket_path(const struct process *p)
{
	return x_asprintf("%s/%s", p->dir, AGENT_SOCKET);
}

static int unlock(struct process *p)
{
	_cleanup_(secret_release) struct secret device = SECRET_INIT;
	_cleanup_(secret_release) struct secret signing = SECRET_INIT;
	struct agent_item items[2] = {{.kind = AGENT_DEVICE_KEY}, {.kind = AGENT_SIGNING_KEY}};
	const struct agent_unlock unlock = {
		.account = "alice", .items = items, .n_items = ARRAY_SIZE(items)};

	key_encode(p->device, &device);
	key_encode(p->signing, &signing);
	items[0].value = secret_bytes(&device);
	items[1].value = secret_bytes(&signing);
	return agent_unlock(p->agent, &unlock, &p->err);
}

static void test_life(void **state)
{
	struct process *p = *state;
	_cleanup_(x_freep) char *path = socket_path(p);
	struct agent_status status;
	struct stat st;

	assert_int_equal(agent_status(p->agent, &status, &p->err), KLUIS_ENOTFOUND);
	start(p, 60000);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(agent_status(p->agent, &status, &p->err), 0);
	assert_false(status.unlocked);
	assert_int_equal(status.pid, p->pid);
	assert_int_equal(unlock(p), 0);
	assert_int_equal(agent_status(p->agent, &status, &p->err), 0);
	assert_true(status.unlocked);
	assert_string_equal(status.account, "alice");
	assert_int_equal(status.n_items, 2);
	assert_int_equal(agent_lock(p->agent, &p->err), 0);
	assert_int_equal(agent_status(p->agent, &status, &p->err), 0);
	assert_false(status.unlocked);
	assert_int_equal(agent_stop(p->agent, &p->err), 0);
	assert_int_equal(ended(p->pid), 0);
	p->pid = 0;
	assert_int_equal(lstat(path, &st), -1);
	assert_int_equal(agent_status(p->agent, &status, &p->err), KLUIS_ENOTFOUND);
}

/* A statement and a head are signed through the agent as they are with a key at hand. */
static void test_keys(void **state)
{
	struct process *p = *state;
	_cleanup_(key_freep) struct key *device = NULL;
	_cleanup_(key_freep) struct key *signing = NULL;
	_cleanup_(key_freep) struct key *transfer = NULL;
	_cleanup_(buf_release) struct buf genesis = BUF_INIT;
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	static const uint8_t user[ID_BYTES] = {1}, message[AGENT_MESSAGE_BYTES] = {2};
	struct identity identity;

	start(p, 60000);
	assert_int_equal(unlock(p), 0);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &transfer, NULL), 0);
	assert_int_equal(agent_key(p->agent, AGENT_DEVICE_KEY, &device, &p->err), 0);
	assert_int_equal(agent_key(p->agent, AGENT_SIGNING_KEY, &signing, &p->err), 0);
	assert_true(key_pub_equal(key_public(device), key_public(p->device)));
	assert_int_equal(identity_genesis(user, "alice", signing, key_public(transfer), 1, &genesis,
				 &p->err),
		0);
	identity_init(&identity);
	assert_int_equal(identity_append(&identity, buf_bytes(&genesis), &p->err), 0);
	identity_release(&identity);
	assert_int_equal(sign_make(device, bytes_of(message, 32), &signature, &p->err), 0);
	assert_int_equal(sign_verify(key_public(p->device), bytes_of(message, 32),
				 buf_bytes(&signature), &p->err),
		0);
	assert_int_equal(
		sign_make(device, bytes_of(message, 31), &signature, &p->err), KLUIS_EINVAL);
	assert_int_equal(agent_lock(p->agent, &p->err), 0);
	assert_int_equal(sign_make(device, bytes_of(message, 32), &signature, &p->err),
		KLUIS_EUNAUTHENTICATED);
	assert_int_equal(signature.len, SIGN_ECDSA_BYTES);
}

/* The agent holds another key than the profile: what it makes is not taken for a signature. */
static void test_wrong_key(void **state)
{
	struct process *p = *state;
	_cleanup_(key_freep) struct key *device = NULL;
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	static const uint8_t message[AGENT_MESSAGE_BYTES] = {2};

	start(p, 60000);
	assert_int_equal(unlock(p), 0);
	assert_int_equal(agent_key(p->agent, AGENT_DEVICE_KEY, &device, &p->err), 0);
	key_free(p->device);
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &p->device, NULL), 0);
	assert_int_equal(unlock(p), 0);
	assert_int_equal(
		sign_make(device, bytes_of(message, 32), &signature, &p->err), KLUIS_EVERIFY);
	assert_int_equal(signature.len, 0);
}

static void test_secrets(void **state)
{
	struct process *p = *state;
	const struct bytes token = bytes_str("kst_0123456789abcdef");
	_cleanup_(secret_release) struct secret value = SECRET_INIT;

	start(p, 60000);
	assert_int_equal(agent_put(p->agent, AGENT_TOKEN, token, &p->err), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(unlock(p), 0);
	assert_int_equal(agent_put(p->agent, AGENT_TOKEN, token, &p->err), 0);
	assert_int_equal(agent_get(p->agent, AGENT_TOKEN, &value, &p->err), 0);
	assert_true(bytes_equal(secret_bytes(&value), token));
	assert_int_equal(agent_get(p->agent, AGENT_DEVICE_KEY, &value, &p->err), KLUIS_EFORBIDDEN);
	assert_true(bytes_equal(secret_bytes(&value), token));
}

static void seal_keyring(struct process *p, struct keyring *keyring, struct buf *ret_object)
{
	const struct keyring_slot slot = {
		.slot_id = {1}, .type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};
	static const uint8_t kek[KEYRING_KEK_BYTES], user[ID_BYTES];
	_cleanup_(key_freep) struct key *transfer = NULL;

	assert_int_equal(key_generate(KEY_KEM_P256, 0, &transfer, NULL), 0);
	assert_int_equal(keyring_make(user, SYM_AES_256, p->signing, transfer, bytes_of(NULL, 0),
				 &random_system, keyring, &p->err),
		0);
	keyring_put_slot(keyring, &slot, bytes_of(kek, sizeof kek), &random_system);
	assert_int_equal(keyring_seal(keyring, 1, &random_system, ret_object, &p->err), 0);
}

/* The agent's ring does what one in this process does. */
static void test_ring(void **state)
{
	struct process *p = *state;
	_cleanup_(keyring_release) struct keyring keyring = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	_cleanup_(buf_release) struct buf next = BUF_INIT;
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	static const uint8_t vault[ID_BYTES] = {7}, key[32] = {8};
	struct ring_change changes[] = {
		{.type = KEYRING_VAULT_KEY, .epoch = 2, .value = bytes_of(key, 32)},
		{.type = KEYRING_VAULT_KEY, .epoch = 1, .value = bytes_of(key, 32)}};
	struct agent_item item;
	const struct agent_unlock unlock = {.account = "alice", .items = &item, .n_items = 1};
	struct ring *ring = agent_ring_new(p->agent);
	struct ring_place *places;
	size_t n;

	memcpy(changes[0].object_id, vault, ID_BYTES);
	memcpy(changes[1].object_id, vault, ID_BYTES);
	seal_keyring(p, &keyring, &object);
	item = (struct agent_item){.kind = AGENT_KRK, .value = secret_bytes(&keyring.krk)};
	start(p, 60000);
	assert_int_equal(ring->load(ring, buf_bytes(&object), &p->err), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(agent_unlock(p->agent, &unlock, &p->err), 0);
	assert_int_equal(ring->load(ring, buf_bytes(&object), &p->err), 0);
	assert_int_equal(ring->change(ring, buf_bytes(&object), changes, 2, 5, &next, &p->err), 0);
	assert_int_equal(
		ring->get(ring, KEYRING_VAULT_KEY, vault, 2, &value, &p->err), KLUIS_ENOTFOUND);
	assert_int_equal(ring->load(ring, buf_bytes(&next), &p->err), 0);
	assert_int_equal(ring->get(ring, KEYRING_VAULT_KEY, vault, 2, &value, &p->err), 0);
	assert_true(bytes_equal(secret_bytes(&value), bytes_of(key, 32)));
	assert_int_equal(ring->list(ring, KEYRING_VAULT_KEY, &places, &n, &p->err), 0);
	assert_int_equal(n, 2);
	assert_int_equal(places[0].epoch, 1);
	assert_int_equal(places[1].epoch, 2);
	free(places);
	ring_free(ring);
}

/* Another user, let through to the socket by its modes, gets no answer. */
static void test_other_user(void **state)
{
	struct process *p = *state;
	_cleanup_(x_freep) char *path = socket_path(p);
	struct agent_status status;
	pid_t pid;

	if (geteuid() != 0) {
		skip(); /* Only root can be somebody else. */
	}
	start(p, 60000);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(chmod(p->dir, 0711), 0);
	pid = fork();
	if (pid == 0) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		static const uint8_t ask[] = {0, 0, 0, 2, AGENT_VERSION, AGENT_STATUS};
		uint8_t byte;

		(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
		if (setgroups(0, NULL) != 0 || setgid(STRANGER) != 0 || setuid(STRANGER) != 0 ||
			connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
			_exit(1);
		}
		(void)send(fd, ask, sizeof ask, MSG_NOSIGNAL);
		_exit(read(fd, &byte, 1) <= 0 ? 42 : 2);
	}
	assert_int_equal(ended(pid), 42);
	/* And a client does not speak to another user's agent. */
	pid = fork();
	if (pid == 0) {
		if (setgid(STRANGER) != 0 || setuid(STRANGER) != 0) {
			_exit(1);
		}
		_exit(agent_status(p->agent, &status, NULL) == KLUIS_EFORBIDDEN ? 42 : 2);
	}
	assert_int_equal(ended(pid), 42);
	assert_int_equal(agent_status(p->agent, &status, &p->err), 0);
}

static void test_directory(void **state)
{
	const struct server_config config = {.profile_dir = "/nonexistent", .idle_ms = 1};
	struct process *p = *state;
	struct server_config open = {.profile_dir = p->dir, .idle_ms = 1};

	assert_int_equal(server_run(&config, &p->err), KLUIS_ENOTFOUND);
	assert_int_equal(chmod(p->dir, 0750), 0);
	assert_int_equal(server_run(&open, &p->err), KLUIS_EINVAL);
}

/* One for a profile, however many start; one that was killed is replaced. */
static void test_one(void **state)
{
	struct process *p = *state;
	struct agent_status status;
	bool ready;
	pid_t pid;

	start(p, 60000);
	pid = serve(p->dir, 60000, &ready);
	assert_false(ready);
	assert_int_equal(ended(pid), err_exit_code(KLUIS_EEXIST));
	assert_int_equal(agent_status(p->agent, &status, &p->err), 0);
	assert_int_equal(status.pid, p->pid);
	assert_int_equal(kill(p->pid, SIGKILL), 0);
	assert_int_equal(ended(p->pid), 128 + SIGKILL);
	assert_int_equal(agent_status(p->agent, &status, &p->err), KLUIS_ENOTFOUND);
	start(p, 60000);
	assert_int_equal(agent_status(p->agent, &status, &p->err), 0);
	assert_int_equal(status.pid, p->pid);
}

static void test_signals(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	struct process *p = *state;
	_cleanup_(x_freep) char *path = socket_path(p);

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		start(p, 60000);
		assert_int_equal(kill(p->pid, signals[i]), 0);
		assert_int_equal(ended(p->pid), 0);
		p->pid = 0;
		assert_false(file_exists(path));
	}
}

/* Nobody asks: it locks, and then it ends by itself. */
static void test_idle(void **state)
{
	struct process *p = *state;

	start(p, 1000);
	assert_int_equal(unlock(p), 0);
	assert_int_equal(ended(p->pid), 0);
	p->pid = 0;
}

static int raw(const struct process *p)
{
	int fd;

	assert_int_equal(agent_dial(p->dir, &fd, NULL), 0);
	return fd;
}

/* Whether the agent hung up without a word. */
static bool hung_up(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint8_t byte;
	bool gone = poll(&poll_fd, 1, WAIT_MS) == 1 && read(fd, &byte, 1) <= 0;

	(void)close(fd);
	return gone;
}

static void test_frames(void **state)
{
	static const uint8_t lengths[][4] = {{0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0, 8, 0, 1}};
	struct process *p = *state;
	struct agent_status status;
	int fd;

	start(p, 60000);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		fd = raw(p);
		assert_int_equal(send(fd, lengths[i], 4, MSG_NOSIGNAL), 4);
		assert_true(hung_up(fd));
	}
	fd = raw(p);
	assert_int_equal(send(fd, "\0\0\0\2\1", 5, MSG_NOSIGNAL), 5);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(hung_up(fd));
	assert_int_equal(agent_status(p->agent, &status, &p->err), 0);
}

/* More connections than it takes at once, all silent: they end, and the next is served. */
static void test_silent(void **state)
{
	struct process *p = *state;
	int fds[AGENT_CONNECTIONS_MAX + 2];
	uint64_t from_ms = clock_monotonic_ms(&clock_system);
	struct agent_status status;

	start(p, 60000);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = raw(p);
	}
	assert_int_equal(agent_status(p->agent, &status, &p->err), 0);
	assert_true(clock_monotonic_ms(&clock_system) - from_ms >= AGENT_REQUEST_MS - 1);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_true(hung_up(fds[i]));
	}
}

/* A request in single bytes is a request. */
static void test_bytes(void **state)
{
	static const uint8_t ask[] = {0, 0, 0, 2, AGENT_VERSION, AGENT_STATUS};
	struct process *p = *state;
	uint8_t answer[256];
	ssize_t n;
	int fd;

	start(p, 60000);
	fd = raw(p);
	for (size_t i = 0; i < sizeof ask; i++) {
		assert_int_equal(send(fd, ask + i, 1, MSG_NOSIGNAL), 1);
	}
	n = recv(fd, answer, sizeof answer, 0);
	assert_true(n > AGENT_LENGTH_BYTES);
	assert_int_equal(answer[AGENT_LENGTH_BYTES + 1], AGENT_STATUS);
	assert_true(hung_up(fd));
}

/* A profile's path may be longer than a socket's address. */
static void test_long_path(void **state)
{
	struct process *p = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/%0100d/%0100d", p->dir, 1, 2);
	_cleanup_(agent_freep) struct agent *agent = agent_new(dir);
	struct agent_status status;
	bool ready;

	assert_int_equal(file_make_dirs(dir, 0700, NULL), 0);
	p->pid = serve(dir, 60000, &ready);
	assert_true(ready);
	assert_int_equal(agent_status(agent, &status, &p->err), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {T(test_life), T(test_keys), T(test_wrong_key),
		T(test_secrets), T(test_ring), T(test_other_user), T(test_directory), T(test_one),
		T(test_signals), T(test_idle), T(test_frames), T(test_silent), T(test_bytes),
		T(test_long_path)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
