/* The fake node as a program, to try a client by hand: prints its URL and CA file, ends at EOF. */
#include <stdio.h>

#include "base/file.h"
#include "tests/lib/fake_node/fake_node.h"

int main(int argc, char **argv)
{
	struct fake_node *node = fake_node_new();
	struct err e = {0};

	if (argc != 2 || file_write(argv[1], fake_node_ca(node), 0644, &e) != 0) {
		(void)fprintf(stderr, "usage: fake_node CA_FILE %s\n", e.text);
		return 2;
	}
	(void)printf("%s\n", fake_node_url(node));
	(void)fflush(stdout);
	while (getchar() != EOF) {
	}
	fake_node_free(node);
	return 0;
}
