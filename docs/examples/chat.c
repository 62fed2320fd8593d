/* A bot: sends what it is given to a conversation, prints what the others wrote, and waits for
 * more; or says who has read how far. cc -o chat chat.c $(pkg-config --cflags --libs kluis) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kluis_account.h>
#include <kluis_chat.h>

static int print(void *arg, const struct kluis_chat_message *message)
{
	int *worst = arg;

	if (message->problem != NULL) { /* For a person: do not go on as if nothing were. */
		fprintf(stderr, "message %llu: %s\n", (unsigned long long)message->seq,
			message->problem);
		*worst = message->problem_code;
	}
	if (!message->mine && strcmp(message->kind, "text") == 0) {
		printf("%llu %s: %s\n", (unsigned long long)message->seq, message->user,
			message->text);
	}
	return fflush(stdout) == 0 ? 0 : 1; /* Other than 0: it counts as not read. */
}

static void print_receipt(void *arg, const struct kluis_chat_receipt *receipt)
{
	(void)arg;
	printf("%s %llu\n", receipt->user, (unsigned long long)receipt->read);
}

int main(int argc, char **argv)
{
	struct kluis_failure failure;
	struct kluis *kluis = NULL;
	unsigned long long seconds;
	uint64_t seq;
	int rc, news = 1, worst = 0, receipts = argc == 4 && strcmp(argv[3], "-r") == 0;

	if (argc != 5 && !receipts) {
		fprintf(stderr, "usage: chat PROFILE_DIR CHAT TEXT SECONDS\n"
				"       chat PROFILE_DIR CHAT -r\n");
		return 2;
	}
	seconds = receipts ? 0 : strtoull(argv[4], NULL, 10);
	rc = kluis_open(argv[1], NULL, 0, &kluis, &failure);
	if (rc == 0 && !kluis_is_unlocked(kluis)) /* A person's: by the agent of 'kluis login'. */
		rc = kluis_unlock_by_agent(kluis, &failure);
	if (rc == 0 && receipts)
		rc = kluis_chat_receipts(kluis, argv[2], print_receipt, NULL, &failure);
	else if (rc == 0 && argv[3][0] != 0)
		rc = kluis_chat_send(kluis, argv[2], argv[3], &seq, &failure);
	while (rc == 0 && !receipts) {
		rc = kluis_chat_read(kluis, argv[2], 0, print, &worst, &failure);
		if (rc == 0 && (!news || seconds == 0))
			break;
		if (rc == 0)
			rc = kluis_chat_wait(
				kluis, argv[2], (unsigned)seconds * 1000, &news, &failure);
	}
	kluis_close(kluis);
	if (rc != 0)
		fprintf(stderr, "chat: %s (%s)\n", failure.text, kluis_code_name(rc));
	return kluis_exit_code(rc != 0 ? rc : worst);
}
