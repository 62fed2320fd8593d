/* Prints what was left in the inbox, and deletes what was printed; or moves it into a vault.
 * cc -o inbox inbox.c $(pkg-config --cflags --libs kluis) */
#include <stdio.h>
#include <string.h>

#include <kluis_account.h>
#include <kluis_chat.h>

enum { DOCUMENTS_MAX = 100 };

struct documents {
	char ids[DOCUMENTS_MAX][33];
	size_t n;
};

static void take(void *arg, const struct kluis_document *document)
{
	struct documents *documents = arg;

	if (documents->n < DOCUMENTS_MAX) /* The others next time. */
		memcpy(documents->ids[documents->n++], document->id, 33);
}

static int print(void *arg, const void *data, size_t len)
{
	(void)arg;
	return fwrite(data, 1, len, stdout) == len ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct documents documents = {.n = 0};
	struct kluis_failure failure;
	struct kluis *kluis = NULL;
	int rc;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: inbox PROFILE_DIR [VAULT]\n");
		return 2;
	}
	rc = kluis_open(argv[1], NULL, 0, &kluis, &failure);
	if (rc == 0 && !kluis_is_unlocked(kluis)) /* A person's: by the agent of 'kluis login'. */
		rc = kluis_unlock_by_agent(kluis, &failure);
	if (rc == 0)
		rc = kluis_inbox_list(kluis, take, &documents, &failure);
	for (size_t i = 0; rc == 0 && i < documents.n; i++) {
		if (argc == 3) { /* It leaves the inbox with the commit that stores it. */
			char path[40];

			snprintf(path, sizeof path, "/%s", documents.ids[i]);
			rc = kluis_inbox_take(kluis, documents.ids[i], argv[2], path, &failure);
			continue;
		}
		rc = kluis_inbox_read(kluis, documents.ids[i], print, NULL, &failure);
		if (rc == 0 && fflush(stdout) != 0)
			break; /* It stays. */
		if (rc == 0)
			rc = kluis_inbox_delete(kluis, documents.ids[i], &failure);
	}
	kluis_close(kluis);
	if (rc != 0)
		fprintf(stderr, "inbox: %s (%s)\n", failure.text, kluis_code_name(rc));
	return kluis_exit_code(rc);
}
