/* A real sshd with the receiver's settings (deploy/sshd_config.in) on a free loopback port, with
 * throw-away keys. Senders are the user who runs the test; when that is root, whom no file mode
 * holds back, they are "nobody". */
#ifndef KLUIS_TESTS_LIB_SSHD_H
#define KLUIS_TESTS_LIB_SSHD_H

#include <stdbool.h>
#include <sys/types.h>

struct test_sshd {
	pid_t pid;
	int port_fd; /* Keeps the port. */
	unsigned port;
	char *dir;	/* Keys, configuration, log. */
	char *drop;	/* Where files arrive, on this host. */
	char *path;	/* The same as a sender names it. */
	char *user;	/* Whom to sign in as. */
	char *host_key; /* "ssh-ed25519 AAAA..." */
	char *key_path; /* The sender's private key. */
	char *log_path;
};

/* Whether sshd lets nobody sign in as the user who runs the test: it is told that the account is
 * locked. So is "nobody" to all who may not read /etc/shadow, by systemd's NSS module. */
bool test_sshd_locked(void);
/* Starts it and waits until it answers. Fails the test when it cannot. chroot: the production kind,
 * for root alone (NULL for anybody else). */
struct test_sshd *test_sshd_start(bool chroot);
/* Ends it by its pid, and everything it holds on disk. */
void test_sshd_stop(struct test_sshd *sshd);

/* Runs a program to its end with the arguments (the last NULL) and its output in the file `output`
 * (NULL: /dev/null); returns the exit status, or 128 + signal. */
int test_run(const char *output, const char *const *args);

#endif
