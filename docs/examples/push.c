/* Notifications, as an app for a browser or a phone has them: it subscribes its device, has others
 * notified of what it wrote, and opens what a push service brought, on stdin.
 * cc -o push push.c $(pkg-config --cflags --libs kluis) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kluis_account.h>
#include <kluis_chat.h>

/* As the browser's PushSubscription has them, in hex. 1: so many bytes. */
static int bytes_of(const char *hex, unsigned char *to, size_t n)
{
	unsigned byte;

	if (strlen(hex) != 2 * n || strspn(hex, "0123456789abcdef") != 2 * n)
		return 0;
	for (size_t i = 0; i < n && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
		to[i] = (unsigned char)byte;
	return 1;
}

static int add(struct kluis *kluis, char **argv, struct kluis_failure *failure)
{
	unsigned char p256dh[65], auth[16];
	char id[33];
	int rc = KLUIS_BAD_INPUT;

	snprintf(failure->text, sizeof failure->text, "these are no keys of a subscription");
	if (bytes_of(argv[1], p256dh, sizeof p256dh) && bytes_of(argv[2], auth, sizeof auth))
		rc = kluis_push_add_web(kluis, argv[0], p256dh, auth, id, failure);
	if (rc == 0)
		puts(id);
	return rc;
}

static int open_payload(struct kluis *kluis, struct kluis_failure *failure)
{
	unsigned char payload[4096];
	struct kluis_notification told;
	size_t n = fread(payload, 1, sizeof payload, stdin);
	int rc = kluis_push_open(kluis, payload, n, &told, failure);

	/* Nothing proves it: now read that conversation. */
	if (rc == 0)
		printf("%s %llu\n", told.conversation, (unsigned long long)told.seq);
	return rc;
}

int main(int argc, char **argv)
{
	struct kluis_failure failure;
	struct kluis *kluis = NULL;
	const char *what = argc < 3 ? "" : argv[2];
	int rc;

	if (!(strcmp(what, "add") == 0 && argc == 6) &&
		!(strcmp(what, "notify") == 0 && argc == 5) &&
		!(strcmp(what, "open") == 0 && argc == 3)) {
		fprintf(stderr, "usage: push PROFILE_DIR add ENDPOINT P256DH_HEX AUTH_HEX\n"
				"       push PROFILE_DIR notify CHAT SEQ\n"
				"       push PROFILE_DIR open <PAYLOAD\n");
		return 2;
	}
	rc = kluis_open(argv[1], NULL, 0, &kluis, &failure);
	if (rc == 0 && !kluis_is_unlocked(kluis)) /* A person's: by the agent of 'kluis login'. */
		rc = kluis_unlock_by_agent(kluis, &failure);
	if (rc == 0 && strcmp(what, "add") == 0)
		rc = add(kluis, argv + 3, &failure);
	else if (rc == 0 && strcmp(what, "notify") == 0)
		rc = kluis_chat_notify(kluis, argv[3], strtoull(argv[4], NULL, 10), &failure);
	else if (rc == 0)
		rc = open_payload(kluis, &failure);
	kluis_close(kluis);
	if (rc != 0)
		fprintf(stderr, "push: %s (%s)\n", failure.text, kluis_code_name(rc));
	return kluis_exit_code(rc);
}
