/* Prints what happens to all that is the user's, a line each, and goes on where the file CURSOR
 * says an earlier run was. cc -o events events.c $(pkg-config --cflags --libs kluis) */
#include <stdio.h>
#include <string.h>

#include <kluis_account.h>
#include <kluis_chat.h>

struct place {
	char cursor[256];
	unsigned n;
};

static void print(void *arg, const struct kluis_event *event)
{
	struct place *place = arg;

	printf("%s %s\n", event->type, event->object); /* Says what changed: look there. */
	snprintf(place->cursor, sizeof place->cursor, "%s", event->cursor);
	place->n++;
}

static void keep(const char *path, const struct place *place)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fputs(place->cursor, file) < 0 || fclose(file) != 0)
		fprintf(stderr, "events: '%s' was not written\n", path); /* They come again. */
}

int main(int argc, char **argv)
{
	struct place place = {.n = 0};
	struct kluis_failure failure;
	struct kluis *kluis = NULL;
	FILE *file;
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: events PROFILE_DIR CURSOR\n");
		return 2;
	}
	file = fopen(argv[2], "r");
	if (file != NULL) {
		if (fgets(place.cursor, sizeof place.cursor, file) == NULL)
			place.cursor[0] = 0;
		fclose(file);
	}
	rc = kluis_open(argv[1], NULL, 0, &kluis, &failure);
	if (rc == 0 && !kluis_is_unlocked(kluis)) /* A person's: by the agent of 'kluis login'. */
		rc = kluis_unlock_by_agent(kluis, &failure);
	if (rc == 0) /* Without a cursor it begins with "resync": look at everything. */
		rc = kluis_events(kluis, place.cursor[0] == 0 ? NULL : place.cursor, 0, print,
			&place, &failure);
	if (rc == 0 && place.n > 0 && fflush(stdout) == 0)
		keep(argv[2], &place);
	kluis_close(kluis);
	if (rc != 0)
		fprintf(stderr, "events: %s (%s)\n", failure.text, kluis_code_name(rc));
	return kluis_exit_code(rc);
}
