#include "tests/lib/sshd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <shadow.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/lib/port.h"
#include "tests/lib/test.h"

enum { ANSWER_POLLS = 2400, ANSWER_POLL_MS = 25 };

static pid_t sshd_spawn(const char *output, const char *const *args)
{
	pid_t pid = fork();

	if (pid == 0) {
		int out = open(
			output == NULL ? "/dev/null" : output, O_WRONLY | O_CREAT | O_APPEND, 0600);

		if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) {
			_exit(126);
		}
		(void)execvp(args[0], (char *const *)(uintptr_t)args);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

static int sshd_wait(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0) {
		assert_int_equal(errno, EINTR);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int test_run(const char *output, const char *const *args)
{
	return sshd_wait(sshd_spawn(output, args));
}

static void sshd_keygen(const char *path)
{
	assert_int_equal(test_run(NULL, (const char *const[]){"ssh-keygen", "-q", "-t", "ed25519",
						"-N", "", "-C", "test", "-f", path, NULL}),
		0);
}

/* The public half's line, without LF. */
static char *sshd_public(const char *private_path)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s.pub", private_path);
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	assert_int_equal(file_read(path, 4096, &text, NULL), 0);
	text.len = strcspn(buf_str(&text), "\n");
	return x_strdup(buf_str(&text));
}

static void sshd_keys(struct test_sshd *s)
{
	_cleanup_(x_freep) char *host = x_asprintf("%s/host_key", s->dir);
	_cleanup_(x_freep) char *authorized = x_asprintf("%s/authorized_keys", s->dir);
	_cleanup_(x_freep) char *public = NULL;
	_cleanup_(x_freep) char *line = NULL;

	s->key_path = x_asprintf("%s/sender_key", s->dir);
	sshd_keygen(host);
	sshd_keygen(s->key_path);
	s->host_key = sshd_public(host);
	public = sshd_public(s->key_path);
	line = x_asprintf("restrict,command=\"internal-sftp\" %s\n", public);
	assert_int_equal(file_create(authorized, bytes_str(line), 0644, NULL), 0);
}

static void sshd_config(struct test_sshd *s, const char *path, bool chroot)
{
	_cleanup_(x_freep) char *port = x_asprintf("%u", s->port);
	_cleanup_(x_freep) char *host = x_asprintf("%s/host_key", s->dir);
	_cleanup_(x_freep) char *authorized = x_asprintf("%s/authorized_keys", s->dir);
	_cleanup_(x_freep) char *root = x_asprintf("%s/files", s->dir);
	/* Not receiver-keys: many tests at a time are this user. */
	_cleanup_(x_freep) char *command = x_asprintf("/bin/cat %s", authorized);
	const char *const args[] = {KLUIS_SOURCE_DIR "/deploy/sshd-config",
		chroot ? "chroot" : "plain", "--port", port, "--host-key", host, "--listen",
		"127.0.0.1", chroot ? "--keys-command" : "--authorized-keys",
		chroot ? command : authorized, "--users", s->user, chroot ? "--chroot" : NULL, root,
		"--keys-user", s->user, NULL};

	assert_int_equal(test_run(path, args), 0);
}

/* The drop is root's and the sender's group may add to it, as in production; without root it is
 * ours. */
static void sshd_drop(struct test_sshd *s, bool chroot)
{
	_cleanup_(x_freep) char *root = x_asprintf("%s/files", s->dir);

	assert_int_equal(chmod(s->dir, 0755), 0);
	assert_int_equal(mkdir(root, 0755), 0);
	s->drop = x_asprintf("%s/incoming", root);
	s->path = x_strdup(chroot ? "/incoming" : s->drop);
	assert_int_equal(mkdir(s->drop, 0700), 0);
	if (getuid() == 0) {
		assert_int_equal(chown(s->drop, 0, getpwnam(s->user)->pw_gid), 0);
		assert_int_equal(chmod(s->drop, 01770), 0);
		assert_int_equal(file_make_dirs("/run/sshd", 0755, NULL), 0);
	}
}

static bool sshd_connects(unsigned port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	_cleanup_(x_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

/* false: it ended by itself. */
static bool sshd_answers(struct test_sshd *s)
{
	for (int i = 0; i < ANSWER_POLLS; i++) {
		int status;

		if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
			return false;
		}
		if (sshd_connects(s->port)) {
			return true;
		}
		(void)poll(NULL, 0, ANSWER_POLL_MS);
	}
	return false;
}

static const char *sshd_user(void)
{
	return getuid() == 0 ? "nobody" : getpwuid(getuid())->pw_name;
}

bool test_sshd_locked(void)
{
	const struct spwd *shadow = getspnam(sshd_user());

	return shadow != NULL && shadow->sp_pwdp[0] == '!';
}

struct test_sshd *test_sshd_start(bool chroot)
{
	_cleanup_(x_freep) char *config = NULL;
	struct test_sshd *s;

	if (chroot && getuid() != 0) {
		return NULL;
	}
	if (test_sshd_locked()) {
		fail_msg("sshd takes the account '%s' for a locked one: be somebody else",
			sshd_user());
	}
	s = x_calloc(1, sizeof *s);
	/* sshd refuses a chroot below a directory that others may write to, such as /tmp. */
	s->dir = chroot ? mkdtemp(x_strdup("/run/kluis-sshd-XXXXXX")) : scratch_new("sshd");
	assert_non_null(s->dir);
	s->log_path = x_asprintf("%s/log", s->dir);
	s->user = x_strdup(sshd_user());
	config = x_asprintf("%s/sshd_config", s->dir);
	sshd_drop(s, chroot);
	sshd_keys(s);
	s->port_fd = port_reserve(&s->port);
	sshd_config(s, config, chroot);
	s->pid = sshd_spawn(s->log_path,
		(const char *const[]){"/usr/sbin/sshd", "-D", "-e", "-f", config, NULL});
	if (!sshd_answers(s)) {
		fail_msg("sshd does not start: see %s", s->log_path);
	}
	return s;
}

void test_sshd_stop(struct test_sshd *s)
{
	if (s == NULL) {
		return;
	}
	(void)kill(s->pid, SIGTERM); /* Ours: the pid was not waited for. */
	(void)sshd_wait(s->pid);
	(void)close(s->port_fd);
	scratch_free(s->dir);
	free(s->drop);
	free(s->path);
	free(s->user);
	free(s->host_key);
	free(s->key_path);
	free(s->log_path);
	free(s);
}
