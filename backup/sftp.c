#include "backup/sftp.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libssh2.h>
#include <libssh2_sftp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backup/ssh_host_key.h"
#include "base/fault.h"

enum {
	WINDOW_BYTES_MIN = 64 * 1024,
	CLOSE_MS = 2000,
	PAUSE_MS = 100, /* Between two looks at `cancel` while the bandwidth limit holds us. */
};

/* What is asked for, and must then be in use: an unknown preference would silently be dropped. */
static const struct sftp_method {
	int type;
	const char *name, *what;
} sftp_methods[] = {
	{LIBSSH2_METHOD_KEX, "curve25519-sha256", "key exchange"},
	{LIBSSH2_METHOD_HOSTKEY, "ssh-ed25519", "host key type"},
	{LIBSSH2_METHOD_CRYPT_CS, "aes256-ctr", "cipher"},
	{LIBSSH2_METHOD_CRYPT_SC, "aes256-ctr", "cipher"},
	{LIBSSH2_METHOD_MAC_CS, "hmac-sha2-256", "MAC"},
	{LIBSSH2_METHOD_MAC_SC, "hmac-sha2-256", "MAC"},
	{LIBSSH2_METHOD_COMP_CS, "none", "compression"},
	{LIBSSH2_METHOD_COMP_SC, "none", "compression"},
};

struct sftp {
	const struct sftp_target *target;
	int fd;
	LIBSSH2_SESSION *session;
	LIBSSH2_SFTP *channel;
	bool broken; /* Say no more on this connection. */
	size_t window;
	uint8_t *buffer; /* 4 windows: what was acknowledged is moved away only now and then. */
	uint64_t sent;
	uint64_t paced_from_ms, paced_bytes; /* Of the bandwidth limit. */
};

static pthread_once_t sftp_once = PTHREAD_ONCE_INIT;

static void sftp_library_init(void)
{
	int rc = libssh2_init(0);

	assert(rc == 0);
}

static const struct clock *sftp_clock(const struct sftp *s)
{
	return s->target->clock == NULL ? &clock_system : s->target->clock;
}

static bool sftp_cancelled(const struct sftp *s)
{
	return s->target->cancel != NULL && atomic_load(s->target->cancel);
}

static int sftp_code(struct sftp *s, int ssh_rc)
{
	unsigned long status;

	switch (ssh_rc) {
	case LIBSSH2_ERROR_TIMEOUT:
	case LIBSSH2_ERROR_SOCKET_TIMEOUT:
		s->broken = true;
		return KLUIS_ETIMEOUT;
	case LIBSSH2_ERROR_SFTP_PROTOCOL:
		status = s->channel == NULL ? 0 : libssh2_sftp_last_error(s->channel);
		if (status == LIBSSH2_FX_PERMISSION_DENIED) {
			return KLUIS_EFORBIDDEN;
		}
		if (status == LIBSSH2_FX_NO_SUCH_FILE || status == LIBSSH2_FX_NO_SUCH_PATH) {
			return KLUIS_ENOTFOUND;
		}
		if (status == LIBSSH2_FX_FILE_ALREADY_EXISTS) {
			return KLUIS_EEXIST;
		}
		return KLUIS_EIO;
	case LIBSSH2_ERROR_SOCKET_SEND:
	case LIBSSH2_ERROR_SOCKET_RECV:
	case LIBSSH2_ERROR_SOCKET_DISCONNECT:
	case LIBSSH2_ERROR_CHANNEL_CLOSED:
	case LIBSSH2_ERROR_CHANNEL_EOF_SENT:
		s->broken = true;
		return KLUIS_ECONNECT;
	default:
		s->broken = true;
		return KLUIS_EPROTO;
	}
}

/* Nothing more is said on this connection; closing a handle then only frees it, without a wait. */
static void sftp_break(struct sftp *s)
{
	s->broken = true;
	(void)shutdown(s->fd, SHUT_RDWR); /* Perhaps the peer did already. */
}

/* After a failed call of libssh2. */
static int sftp_fail(struct sftp *s, struct err *e, const char *what)
{
	char *text = NULL;
	int ssh_rc = libssh2_session_last_error(s->session, &text, NULL, 0);

	return err_set(e, sftp_code(s, ssh_rc), "%s: %s", what, text == NULL ? "unknown" : text);
}

static int sftp_connect_wait(int fd, struct err *e)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int failure = 0, n;

	do {
		n = poll(&poll_fd, 1, SFTP_CONNECT_MS);
	} while (n < 0 && errno == EINTR);
	if (n == 0) {
		return err_set(e, KLUIS_ETIMEOUT, "connect: no answer");
	}
	if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0) {
		failure = errno;
	}
	if (failure != 0) {
		return err_set(e, KLUIS_ECONNECT, "connect: %s", strerrordesc_np(failure));
	}
	return 0;
}

static int sftp_connect_one(const struct addrinfo *address, int *ret_fd, struct err *e)
{
	_cleanup_(x_closep) int fd =
		socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, rc;

	if (fd < 0) {
		return err_set_errno(e, errno, "socket");
	}
	if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
		return err_set(e, KLUIS_ECONNECT, "connect: %s", strerrordesc_np(errno));
	}
	rc = sftp_connect_wait(fd, e);
	if (rc != 0) {
		return rc;
	}
	/* The window is many packets: Nagle would hold its tail back. Only speed hangs on it. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static int sftp_connect(struct sftp *s, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	char port[8];
	int rc;

	(void)snprintf(port, sizeof port, "%u", s->target->port & 0xffff); /* Fits. */
	rc = getaddrinfo(s->target->host, port, &hints, &found);
	if (rc != 0) {
		return err_set(
			e, KLUIS_ECONNECT, "find '%s': %s", s->target->host, gai_strerror(rc));
	}
	rc = KLUIS_ECONNECT;
	for (const struct addrinfo *one = found; rc != 0 && one != NULL; one = one->ai_next) {
		rc = sftp_connect_one(one, &s->fd, e);
	}
	freeaddrinfo(found);
	return rc;
}

static int sftp_host_key_check(struct sftp *s, struct err *e)
{
	_cleanup_(buf_release) struct buf pinned = BUF_INIT;
	char shown[SSH_FINGERPRINT_BYTES], wanted[SSH_FINGERPRINT_BYTES];
	const char *key;
	size_t len = 0;
	int type = 0;

	if (ssh_host_key_parse(s->target->host_key, &pinned) != 0) {
		return err_set(e, KLUIS_EINVAL, "the pinned host key is no 'ssh-ed25519 AAAA...'");
	}
	key = libssh2_session_hostkey(s->session, &len, &type);
	if (key != NULL && bytes_equal(bytes_of(key, len), buf_bytes(&pinned))) {
		return 0;
	}
	ssh_host_key_fingerprint(bytes_of(key, key == NULL ? 0 : len), shown);
	ssh_host_key_fingerprint(buf_bytes(&pinned), wanted);
	return err_set(e, KLUIS_EPIN, "its host key is %s, not the pinned %s: nothing is sent",
		shown, wanted);
}

static int sftp_methods_ask(struct sftp *s, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(sftp_methods); i++) {
		const struct sftp_method *m = &sftp_methods[i];

		if (libssh2_session_method_pref(s->session, m->type, m->name) != 0) {
			return err_set(
				e, KLUIS_EINTERNAL, "libssh2 lacks %s '%s'", m->what, m->name);
		}
	}
	return 0;
}

static int sftp_methods_check(struct sftp *s, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(sftp_methods); i++) {
		const struct sftp_method *m = &sftp_methods[i];
		const char *used = libssh2_session_methods(s->session, m->type);

		if (used == NULL || strcmp(used, m->name) != 0) {
			return err_set(e, KLUIS_EPROTO, "%s is '%s', not '%s'", m->what,
				used == NULL ? "unknown" : used, m->name);
		}
	}
	return 0;
}

static int sftp_handshake(struct sftp *s, struct err *e)
{
	int rc;

	s->session = libssh2_session_init();
	if (s->session == NULL) {
		return err_set(e, KLUIS_EINTERNAL, "libssh2 has no memory");
	}
	libssh2_session_flag(s->session, LIBSSH2_FLAG_SIGPIPE, 0);
	libssh2_session_set_blocking(s->session, 1);
	libssh2_session_set_timeout(s->session,
		s->target->timeout_ms == 0 ? SFTP_TIMEOUT_MS : (long)s->target->timeout_ms);
	rc = sftp_methods_ask(s, e);
	if (rc != 0) {
		return rc;
	}
	if (libssh2_session_handshake(s->session, s->fd) != 0) {
		return sftp_fail(s, e, "handshake");
	}
	rc = sftp_host_key_check(s, e);
	return rc != 0 ? rc : sftp_methods_check(s, e);
}

static int sftp_sign_in(struct sftp *s, struct err *e)
{
	if (libssh2_userauth_publickey_fromfile(
		    s->session, s->target->user, NULL, s->target->key_path, "") != 0) {
		char *text = NULL;
		int ssh_rc = libssh2_session_last_error(s->session, &text, NULL, 0);

		if (ssh_rc == LIBSSH2_ERROR_TIMEOUT || ssh_rc == LIBSSH2_ERROR_SOCKET_RECV ||
			ssh_rc == LIBSSH2_ERROR_SOCKET_DISCONNECT) {
			return sftp_fail(s, e, "sign in");
		}
		return err_set(e, KLUIS_EUNAUTHENTICATED, "sign in as '%s': %s", s->target->user,
			text == NULL ? "refused" : text);
	}
	s->channel = libssh2_sftp_init(s->session);
	return s->channel == NULL ? sftp_fail(s, e, "start sftp") : 0;
}

static size_t sftp_window(uint64_t bytes_per_second)
{
	uint64_t quarter = bytes_per_second / 4;

	if (bytes_per_second == 0 || quarter > SFTP_WINDOW_BYTES) {
		return SFTP_WINDOW_BYTES;
	}
	return quarter < WINDOW_BYTES_MIN ? WINDOW_BYTES_MIN : (size_t)quarter;
}

int sftp_open(const struct sftp_target *target, struct sftp **ret_sftp, struct err *e)
{
	struct sftp *s = x_calloc(1, sizeof *s);
	int rc;

	(void)pthread_once(&sftp_once, sftp_library_init); /* Fails only for a bad control. */
	s->target = target;
	s->fd = -1;
	s->window = sftp_window(target->bytes_per_second);
	s->paced_from_ms = clock_monotonic_ms(sftp_clock(s));
	rc = sftp_connect(s, e);
	if (rc == 0) {
		rc = sftp_handshake(s, e);
	}
	if (rc == 0) {
		rc = sftp_sign_in(s, e);
	}
	if (rc != 0) {
		s->broken = true;
		sftp_close(s);
		return err_wrap(e, rc, "sftp to '%s' port %u", target->host, target->port);
	}
	s->buffer = x_malloc(4 * s->window);
	*ret_sftp = s;
	return 0;
}

void sftp_close(struct sftp *s)
{
	if (s == NULL) {
		return;
	}
	if (s->session != NULL && !s->broken) {
		libssh2_session_set_timeout(s->session, CLOSE_MS);
		(void)libssh2_sftp_shutdown(s->channel);	      /* A farewell: the files */
		(void)libssh2_session_disconnect(s->session, "done"); /* are closed already. */
	}
	if (s->fd >= 0) {
		(void)shutdown(s->fd, SHUT_RDWR); /* So that nothing below can wait. */
	}
	if (s->session != NULL) {
		(void)libssh2_session_free(s->session); /* Fails only to say good-bye. */
	}
	if (s->fd >= 0) {
		(void)close(s->fd);
	}
	free(s->buffer);
	free(s);
}

uint64_t sftp_bytes_sent(const struct sftp *s)
{
	return s->sent;
}

struct sftp_listing {
	struct sftp_entry *rows;
	size_t n;
};

static int sftp_listing_add(struct sftp_listing *list, const char *name,
	const LIBSSH2_SFTP_ATTRIBUTES *attributes, struct err *e)
{
	struct sftp_entry *row;

	size_t len = strlen(name);

	if (len >= sizeof row->name || (attributes->flags & LIBSSH2_SFTP_ATTR_PERMISSIONS) == 0 ||
		!LIBSSH2_SFTP_S_ISREG(attributes->permissions) ||
		(attributes->flags & LIBSSH2_SFTP_ATTR_SIZE) == 0) {
		return 0;
	}
	if (list->n == BACKUP_DROP_FILES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d files in the drop",
			BACKUP_DROP_FILES_MAX);
	}
	if ((list->n & (list->n - 1)) == 0) {
		size_t room = list->n == 0 ? 1 : 2 * list->n;

		list->rows = x_realloc(list->rows, room * sizeof *list->rows);
	}
	row = &list->rows[list->n++];
	memcpy(row->name, name, len + 1);
	row->bytes = attributes->filesize;
	return 0;
}

int sftp_list(struct sftp *s, struct sftp_entry **ret_entries, size_t *ret_n, struct err *e)
{
	LIBSSH2_SFTP_HANDLE *dir = libssh2_sftp_open_ex(s->channel, s->target->path,
		(unsigned)strlen(s->target->path), 0, 0, LIBSSH2_SFTP_OPENDIR);
	struct sftp_listing list = {0};
	LIBSSH2_SFTP_ATTRIBUTES attributes;
	char name[512];
	int n, rc = 0;

	if (dir == NULL) {
		rc = sftp_fail(s, e, "open directory");
		return err_wrap(e, rc, "drop '%s'", s->target->path);
	}
	for (;;) {
		n = libssh2_sftp_readdir(dir, name, sizeof name - 1, &attributes);
		if (n <= 0 || rc != 0) {
			break;
		}
		name[n] = 0;
		rc = sftp_listing_add(&list, name, &attributes, e);
		if (rc == 0 && sftp_cancelled(s)) {
			rc = err_set(e, KLUIS_ECLOSED, "stopped");
		}
	}
	if (rc == 0 && n < 0) {
		rc = sftp_fail(s, e, "list directory");
	}
	if (s->broken) {
		sftp_break(s);
	}
	if (libssh2_sftp_closedir(dir) != 0 && rc == 0) {
		rc = sftp_fail(s, e, "close directory");
	}
	if (rc != 0) {
		free(list.rows);
		return rc;
	}
	*ret_entries = list.rows;
	*ret_n = list.n;
	return 0;
}

/* Who waits on purpose does not hang. */
static void sftp_moved(struct sftp *s, uint64_t n)
{
	if (s->target->moved != NULL) {
		(void)atomic_fetch_add(s->target->moved, n);
	}
}

/* Sleeps until the bytes sent so far are within the limit. */
static int sftp_pace(struct sftp *s, struct err *e)
{
	uint64_t limit = s->target->bytes_per_second;

	while (limit != 0) {
		uint64_t passed = clock_monotonic_ms(sftp_clock(s)) - s->paced_from_ms;
		uint64_t due = s->paced_bytes * 1000 / limit;

		if (due <= passed) {
			break;
		}
		if (sftp_cancelled(s)) {
			return err_set(e, KLUIS_ECLOSED, "stopped");
		}
		sftp_moved(s, 1);
		(void)poll(NULL, 0, due - passed < PAUSE_MS ? (int)(due - passed) : PAUSE_MS);
	}
	return 0;
}

static int sftp_write_fail(struct sftp *s, struct err *e)
{
	LIBSSH2_SFTP_STATVFS vfs;
	int rc = sftp_fail(s, e, "write");

	if (rc == KLUIS_EIO && !s->broken &&
		libssh2_sftp_statvfs(s->channel, s->target->path, strlen(s->target->path), &vfs) ==
			0 &&
		vfs.f_bavail * vfs.f_frsize < SFTP_WINDOW_BYTES) {
		return err_set(e, KLUIS_ENOSPACE, "the receiver's disk is full");
	}
	return rc;
}

/* The window: have bytes from at on, not yet acknowledged; the same bytes are given to libssh2
 * again until they are (libssh2_sftp_write(3)), with new ones behind them. */
struct sftp_slide {
	size_t at, have;
	bool end;
};

static int sftp_slide_fill(struct sftp *s, struct sftp_slide *slide, int fd, struct err *e)
{
	if (slide->at + s->window > 4 * s->window) {
		memmove(s->buffer, s->buffer + slide->at, slide->have);
		slide->at = 0;
	}
	while (!slide->end && slide->have < s->window) {
		ssize_t n = read(fd, s->buffer + slide->at + slide->have, s->window - slide->have);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return err_set_errno(e, errno, "read the object");
		}
		slide->end = n == 0;
		slide->have += (size_t)n;
	}
	return 0;
}

static int sftp_send(struct sftp *s, LIBSSH2_SFTP_HANDLE *file, int fd, struct err *e)
{
	struct sftp_slide slide = {0};

	for (;;) {
		ssize_t n;
		int rc = sftp_slide_fill(s, &slide, fd, e);

		if (rc != 0 || slide.have == 0) {
			return rc;
		}
		if (sftp_cancelled(s)) {
			return err_set(e, KLUIS_ECLOSED, "stopped");
		}
		n = FAULT_POINT("backup.sftp.write")
			    ? -1
			    : libssh2_sftp_write(
				      file, (const char *)s->buffer + slide.at, slide.have);
		if (n < 0) {
			return sftp_write_fail(s, e);
		}
		assert((size_t)n <= slide.have);
		slide.at += (size_t)n;
		slide.have -= (size_t)n;
		s->sent += (uint64_t)n;
		s->paced_bytes += (uint64_t)n;
		sftp_moved(s, (uint64_t)n);
		rc = sftp_pace(s, e);
		rc = rc != 0 ? rc
			     : pace_wait(s->target->pace, (uint64_t)n, s->target->cancel,
				       s->target->moved, e);
		if (rc != 0) {
			return rc;
		}
	}
}

int sftp_put(struct sftp *s, const char *name, int fd, bool sync, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", s->target->path, name);
	LIBSSH2_SFTP_HANDLE *file;
	int rc;

	if (lseek(fd, 0, SEEK_SET) != 0) {
		return err_set_errno(e, errno, "rewind the object");
	}
	file = libssh2_sftp_open_ex(s->channel, path, (unsigned)strlen(path),
		LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_EXCL, 0440,
		LIBSSH2_SFTP_OPENFILE);
	if (file == NULL) {
		rc = sftp_fail(s, e, "create");
		return err_wrap(e, rc, "put '%s'", name);
	}
	rc = sftp_send(s, file, fd, e);
	if (rc == 0 && sync && libssh2_sftp_fsync(file) != 0) {
		rc = sftp_fail(s, e, "fsync");
	}
	if (rc != 0) {
		/* A window given up half way leaves replies in flight that no later call could tell
		 * apart. */
		sftp_break(s);
	}
	if (libssh2_sftp_close(file) != 0 && rc == 0) {
		rc = sftp_fail(s, e, "close");
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "put '%s'", name);
}
