/* An app that leaves a text in somebody's inbox, by the delivery file that they made with
 * 'kluis inbox token create'. It has no account, and can read nothing.
 * cc -o deliver deliver.c $(pkg-config --cflags --libs kluis) */
#include <stdio.h>
#include <string.h>

#include <kluis_chat.h>

int main(int argc, char **argv)
{
	struct kluis_failure failure;
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: deliver DELIVERY_FILE TEXT\n");
		return 2;
	}
	/* After a lost answer it may be called again: the same text is the same document. */
	rc = kluis_deliver(argv[1], 0, argv[2], strlen(argv[2]), &failure);
	if (rc != 0)
		fprintf(stderr, "deliver: %s (%s)\n", failure.text, kluis_code_name(rc));
	return kluis_exit_code(rc);
}
