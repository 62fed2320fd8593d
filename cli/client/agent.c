#include "cli/client/agent.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

struct agent {
	char *dir;
	/* By what a struct key of ours is held; its address tells the kind. */
	struct key_holder device, signing;
};

static int agent_sign_device(struct key_holder *holder, const struct key_pub *pub,
	struct bytes message, struct buf *ret_signature, struct err *e);
static int agent_sign_user(struct key_holder *holder, const struct key_pub *pub,
	struct bytes message, struct buf *ret_signature, struct err *e);

struct agent *agent_new(const char *profile_dir)
{
	struct agent *agent = x_calloc(1, sizeof *agent);

	agent->dir = x_strdup(profile_dir);
	agent->device.sign = agent_sign_device;
	agent->signing.sign = agent_sign_user;
	return agent;
}

void agent_free(struct agent *agent)
{
	if (agent != NULL) {
		free(agent->dir);
		free(agent);
	}
}

void agent_freep(struct agent **agent)
{
	agent_free(*agent);
}

/* Another user's program behind the name would get to see what is asked, and answer as it likes. */
static int dial_check(int fd, struct err *e)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
		return err_set_errno(e, errno, "agent: whose socket");
	}
	return peer.uid == geteuid()
		       ? 0
		       : err_set(e, KLUIS_EFORBIDDEN, "the agent's socket is that of another user");
}

static int dial_connect(int fd, const char *dir, struct err *e)
{
	_cleanup_(x_closep) int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (dir_fd < 0) {
		return errno == ENOENT ? err_set(e, KLUIS_ENOTFOUND, "no profile in '%s'", dir)
				       : err_set_errno(e, errno, "open '%s'", dir);
	}
	/* A path of any length fits a socket's address this way. */
	(void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir_fd,
		AGENT_SOCKET);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
		return 0;
	}
	return errno == ENOENT || errno == ECONNREFUSED
		       ? err_set(e, KLUIS_ENOTFOUND, "no agent runs: 'kluis login' starts it")
		       : err_set_errno(e, errno, "connect to the agent");
}

int agent_dial(const char *profile_dir, int *ret_fd, struct err *e)
{
	_cleanup_(x_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval limit = {.tv_sec = AGENT_ANSWER_MS / 1000};
	int rc;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
		return err_set_errno(e, errno, "socket");
	}
	rc = dial_connect(fd, profile_dir, e);
	rc = rc != 0 ? rc : dial_check(fd, e);
	if (rc == 0) {
		*ret_fd = fd;
		fd = -1;
	}
	return rc;
}

/* KLUIS_ETIMEOUT when there is nothing to read until then. */
static int call_wait(int fd, uint64_t deadline_ms, struct err *e)
{
	for (;;) {
		uint64_t now_ms = clock_monotonic_ms(&clock_system);
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		int n;

		if (now_ms >= deadline_ms) {
			return err_set(e, KLUIS_ETIMEOUT, "the agent does not answer");
		}
		n = poll(&poll_fd, 1, (int)(deadline_ms - now_ms));
		if (n > 0) {
			return 0;
		}
		if (n < 0 && errno != EINTR) {
			return err_set_errno(e, errno, "wait for the agent");
		}
	}
}

static int call_read(int fd, uint8_t *to, size_t len, uint64_t deadline_ms, struct err *e)
{
	size_t done = 0;

	while (done < len) {
		int rc = call_wait(fd, deadline_ms, e);
		ssize_t n;

		if (rc != 0) {
			return rc;
		}
		n = read(fd, to + done, len - done);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return err_set(e, KLUIS_EPROTO, "the agent hung up");
		}
		done += (size_t)n;
	}
	return 0;
}

static int call_answer(int fd, struct secret *ret_frame, struct err *e)
{
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + AGENT_ANSWER_MS;
	uint8_t length[AGENT_LENGTH_BYTES];
	size_t len;
	int rc = call_read(fd, length, sizeof length, deadline_ms, e);

	if (rc != 0) {
		return rc;
	}
	len = load_u32(length);
	if (len == 0 || len > AGENT_FRAME_BYTES_MAX) {
		return err_set(e, KLUIS_EPROTO, "an answer of the agent of %zu bytes", len);
	}
	secret_init(ret_frame, len);
	return call_read(fd, ret_frame->data, len, deadline_ms, e);
}

static int call_send(int fd, struct bytes frame, struct err *e)
{
	while (frame.len > 0) {
		ssize_t n = send(fd, frame.data, frame.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return err_set_errno(e, errno, "send to the agent");
		}
		frame = bytes_of(frame.data + n, frame.len - (size_t)n);
	}
	return 0;
}

/* The answer's runs lie in frame, which the caller releases. */
static int agent_call(const struct agent *agent, const struct agent_request *request,
	const struct agent_item *items, const struct ring_change *changes, struct secret *frame,
	struct agent_answer *ret_answer, struct err *e)
{
	_cleanup_(secret_release) struct secret sent = SECRET_INIT;
	_cleanup_(x_closep) int fd = -1;
	struct agent_answer answer;
	int rc = agent_request_encode(request, items, changes, &sent, e);

	rc = rc != 0 ? rc : agent_dial(agent->dir, &fd, e);
	rc = rc != 0 ? rc : call_send(fd, secret_bytes(&sent), e);
	rc = rc != 0 ? rc : call_answer(fd, frame, e);
	rc = rc != 0 ? rc : agent_answer_parse(secret_bytes(frame), request->op, &answer, e);
	if (rc == 0 && answer.rc != 0) {
		rc = err_set(
			e, answer.rc, "%.*s", (int)answer.text.len, (const char *)answer.text.data);
	}
	if (rc == 0) {
		*ret_answer = answer;
	}
	return rc;
}

static int agent_simple(const struct agent *agent, const struct agent_request *request,
	const struct agent_item *items, struct err *e)
{
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_answer answer;

	return agent_call(agent, request, items, NULL, &frame, &answer, e);
}

/* A request that is answered by one value. */
static int agent_value(const struct agent *agent, const struct agent_request *request,
	struct secret *ret_value, struct err *e)
{
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_answer answer;
	int rc = agent_call(agent, request, NULL, NULL, &frame, &answer, e);

	if (rc == 0) {
		secret_set(ret_value, answer.value);
	}
	return rc;
}

int agent_status(struct agent *agent, struct agent_status *ret_status, struct err *e)
{
	const struct agent_request request = {.op = AGENT_STATUS};
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_answer answer;
	int rc = agent_call(agent, &request, NULL, NULL, &frame, &answer, e);

	if (rc == 0) {
		*ret_status = answer.status;
	}
	return rc;
}

int agent_unlock(struct agent *agent, const struct agent_unlock *unlock, struct err *e)
{
	struct agent_request request = {.op = AGENT_UNLOCK,
		.idle_ms = unlock->idle_ms,
		.account = bytes_str(unlock->account),
		.n_list = unlock->n_items};

	memcpy(request.user_id, unlock->user_id, ID_BYTES);
	memcpy(request.device_id, unlock->device_id, ID_BYTES);
	return agent_simple(agent, &request, unlock->items, e);
}

int agent_lock(struct agent *agent, struct err *e)
{
	const struct agent_request request = {.op = AGENT_LOCK};

	return agent_simple(agent, &request, NULL, e);
}

int agent_stop(struct agent *agent, struct err *e)
{
	const struct agent_request request = {.op = AGENT_STOP};

	return agent_simple(agent, &request, NULL, e);
}

static int agent_sign(const struct agent *agent, unsigned kind, struct bytes message,
	struct buf *ret_signature, struct err *e)
{
	const struct agent_request request = {.op = AGENT_SIGN, .kind = kind, .message = message};
	_cleanup_(secret_release) struct secret signature = SECRET_INIT;
	int rc;

	if (message.len != AGENT_MESSAGE_BYTES) {
		return err_set(e, KLUIS_EINVAL, "an agent signs %d bytes", AGENT_MESSAGE_BYTES);
	}
	rc = agent_value(agent, &request, &signature, e);
	if (rc == 0) {
		buf_append_bytes(ret_signature, secret_bytes(&signature));
	}
	return rc;
}

static int agent_sign_device(struct key_holder *holder, const struct key_pub *pub,
	struct bytes message, struct buf *ret_signature, struct err *e)
{
	assert(key_pub_alg(pub) == KEY_ECDSA_P256);
	return agent_sign(CONTAINER_OF(holder, struct agent, device), AGENT_DEVICE_KEY, message,
		ret_signature, e);
}

static int agent_sign_user(struct key_holder *holder, const struct key_pub *pub,
	struct bytes message, struct buf *ret_signature, struct err *e)
{
	assert(key_pub_alg(pub) == KEY_RSA_PSS);
	return agent_sign(CONTAINER_OF(holder, struct agent, signing), AGENT_SIGNING_KEY, message,
		ret_signature, e);
}

/* A transfer key is of the curve of its keyring, once that was loaded. */
static unsigned agent_alg(unsigned kind, struct bytes encoded)
{
	switch (kind) {
	case AGENT_DEVICE_KEY:
		return KEY_ECDSA_P256;
	case AGENT_SIGNING_KEY:
		return KEY_RSA_PSS;
	case AGENT_RSA_KEY:
		return KEY_KEM_RSA;
	default:
		return key_kem_of_length(encoded.len);
	}
}

int agent_public(struct agent *agent, unsigned kind, struct key_pub **ret_pub, struct err *e)
{
	const struct agent_request request = {.op = AGENT_PUBLIC, .kind = kind};
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;
	int rc = agent_value(agent, &request, &encoded, e);

	assert((kind >= AGENT_DEVICE_KEY && kind <= AGENT_TRANSFER_KEY) || kind == AGENT_RSA_KEY);
	rc = rc != 0 ? rc
		     : key_pub_decode(agent_alg(kind, secret_bytes(&encoded)),
			       secret_bytes(&encoded), ret_pub, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "agent");
}

int agent_key(struct agent *agent, unsigned kind, struct key **ret_key, struct err *e)
{
	struct key_pub *pub;
	int rc;

	assert(kind == AGENT_DEVICE_KEY || kind == AGENT_SIGNING_KEY);
	rc = agent_public(agent, kind, &pub, e);
	if (rc == 0) {
		*ret_key =
			key_held(pub, kind == AGENT_DEVICE_KEY ? &agent->device : &agent->signing);
	}
	return rc;
}

int agent_open(struct agent *agent, unsigned kind, struct bytes packet, struct secret *ret_secret,
	struct err *e)
{
	const struct agent_request request = {.op = AGENT_OPEN, .kind = kind, .packet = packet};

	return agent_value(agent, &request, ret_secret, e);
}

int agent_get(struct agent *agent, unsigned kind, struct secret *ret_value, struct err *e)
{
	const struct agent_request request = {.op = AGENT_GET, .kind = kind};

	return agent_value(agent, &request, ret_value, e);
}

int agent_put(struct agent *agent, unsigned kind, struct bytes value, struct err *e)
{
	const struct agent_request request = {.op = AGENT_PUT, .kind = kind, .value = value};

	return agent_simple(agent, &request, NULL, e);
}

/* A struct ring whose keyring lies in the agent. */
struct agent_ring {
	struct ring ring;
	struct agent *agent;
};

static const struct agent *ring_agent(const struct ring *ring)
{
	return CONTAINER_OF(ring, const struct agent_ring, ring)->agent;
}

static int agent_ring_load(struct ring *ring, struct bytes object, struct err *e)
{
	const struct agent_request request = {.op = AGENT_LOAD, .object = object};

	return agent_simple(ring_agent(ring), &request, NULL, e);
}

static int agent_ring_change(struct ring *ring, struct bytes object,
	const struct ring_change *changes, size_t n, uint64_t unix_ms, struct buf *ret_object,
	struct err *e)
{
	const struct agent_request request = {
		.op = AGENT_CHANGE, .object = object, .unix_ms = unix_ms, .n_list = n};
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_answer answer;
	int rc = agent_call(ring_agent(ring), &request, NULL, changes, &frame, &answer, e);

	if (rc == 0) {
		buf_append_bytes(ret_object, answer.object);
	}
	return rc;
}

static int agent_ring_get(struct ring *ring, unsigned type, const uint8_t object_id[ID_BYTES],
	uint32_t epoch, struct secret *ret_value, struct err *e)
{
	struct agent_request request = {.op = AGENT_ENTRY, .type = type, .place = {.epoch = epoch}};

	memcpy(request.place.object_id, object_id, ID_BYTES);
	return agent_value(ring_agent(ring), &request, ret_value, e);
}

static int agent_ring_list(struct ring *ring, unsigned type, struct ring_place **ret_places,
	size_t *ret_n, struct err *e)
{
	const struct agent_request request = {.op = AGENT_PLACES, .type = type};
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_answer answer;
	int rc = agent_call(ring_agent(ring), &request, NULL, NULL, &frame, &answer, e);

	if (rc == 0) {
		struct ring_place *places = x_calloc(answer.n_places + 1, sizeof *places);
		struct wire w = wire_of(answer.places);
		size_t n = 0;

		while (n < answer.n_places && agent_place_next(&w, &places[n])) {
			n++;
		}
		*ret_places = places;
		*ret_n = n;
	}
	return rc;
}

static int agent_ring_take(struct ring *ring, struct bytes object,
	const struct ring_packet *packets, size_t n, uint64_t unix_ms, struct buf *ret_object,
	struct err *e)
{
	struct agent_request request = {
		.op = AGENT_TAKE, .object = object, .unix_ms = unix_ms, .n_list = n};
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	_cleanup_(buf_release) struct buf list = BUF_INIT;
	struct agent_answer answer;
	int rc;

	for (size_t i = 0; i < n; i++) {
		agent_packet_put(&list, &packets[i]);
	}
	request.list = buf_bytes(&list);
	rc = agent_call(ring_agent(ring), &request, NULL, NULL, &frame, &answer, e);
	if (rc == 0) {
		buf_append_bytes(ret_object, answer.object);
	}
	return rc;
}

static int agent_ring_open(struct ring *ring, bool device, struct bytes packet,
	struct secret *ret_secret, struct err *e)
{
	const struct agent_request request = {.op = AGENT_OPEN,
		.kind = device ? AGENT_DEVICE_HPKE_KEY : AGENT_TRANSFER_KEY,
		.packet = packet};

	return agent_value(ring_agent(ring), &request, ret_secret, e);
}

static int agent_ring_inbox(
	struct ring *ring, struct bytes stub, struct secret *ret_key, struct err *e)
{
	const struct agent_request request = {.op = AGENT_INBOX, .packet = stub};

	return agent_value(ring_agent(ring), &request, ret_key, e);
}

static int agent_ring_notify(
	struct ring *ring, struct bytes payload, struct secret *ret_content, struct err *e)
{
	const struct agent_request request = {.op = AGENT_NOTIFY, .packet = payload};

	return agent_value(ring_agent(ring), &request, ret_content, e);
}

static int agent_ring_transfer(struct ring *ring, bool rsa, struct key_pub **ret_pub, struct err *e)
{
	return agent_public(CONTAINER_OF(ring, struct agent_ring, ring)->agent,
		rsa ? AGENT_RSA_KEY : AGENT_TRANSFER_KEY, ret_pub, e);
}

static int agent_ring_group(struct ring *ring, const uint8_t group_id[ID_BYTES], uint32_t epoch,
	struct key_pub **ret_pub, struct secret *ret_name_key, struct err *e)
{
	struct agent_request request = {.op = AGENT_GROUP, .place = {.epoch = epoch}};
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	struct bytes pub, name_key;
	struct wire w;
	unsigned kem;
	int rc;

	memcpy(request.place.object_id, group_id, ID_BYTES);
	rc = agent_value(ring_agent(ring), &request, &value, e);
	if (rc != 0) {
		return rc;
	}
	w = wire_of(secret_bytes(&value));
	kem = wire_u16(&w);
	pub = wire_lp16(&w, KEY_PUB_BYTES_MAX);
	name_key = wire_bytes(&w, SEAL_KEY_BYTES);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EPROTO, "a malformed answer of the agent");
	}
	rc = key_pub_decode(kem, pub, ret_pub, e);
	if (rc == 0) {
		secret_set(ret_name_key, name_key);
	}
	return rc;
}

static int agent_ring_give(struct ring *ring, const struct ring_gift *gift,
	const struct key *signing, struct buf *ret_packet, struct err *e)
{
	struct agent_request request = {.op = AGENT_GIVE,
		.type = gift->type,
		.place = gift->place,
		.role = gift->role,
		.alg = key_pub_alg(gift->rcpt),
		.value = key_pub_bytes(gift->rcpt),
		.unix_ms = gift->unix_ms,
		.expires_ms = gift->expires_ms};
	_cleanup_(secret_release) struct secret packet = SECRET_INIT;
	int rc;

	(void)signing; /* The agent's own. */
	memcpy(request.rcpt_id, gift->rcpt_id, ID_BYTES);
	rc = agent_value(ring_agent(ring), &request, &packet, e);
	if (rc == 0) {
		buf_append_bytes(ret_packet, secret_bytes(&packet));
	}
	return rc;
}

static void agent_ring_free(struct ring *ring)
{
	free(CONTAINER_OF(ring, struct agent_ring, ring));
}

struct ring *agent_ring_new(struct agent *agent)
{
	struct agent_ring *ring = x_calloc(1, sizeof *ring);

	ring->agent = agent;
	ring->ring = (struct ring){.load = agent_ring_load,
		.change = agent_ring_change,
		.get = agent_ring_get,
		.list = agent_ring_list,
		.take = agent_ring_take,
		.open = agent_ring_open,
		.inbox = agent_ring_inbox,
		.notify = agent_ring_notify,
		.transfer = agent_ring_transfer,
		.group = agent_ring_group,
		.give = agent_ring_give,
		.free = agent_ring_free};
	return &ring->ring;
}
