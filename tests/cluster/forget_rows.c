/* forget_rows DB BYTE [rot]: deletes the rows of a store that no node has open, whose keys begin
 * with that byte (storage/key_codec.h), or flips a bit in the value of each. The node that opens it
 * next differs from the others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fixture/forget.h"

int main(int argc, char **argv)
{
	const struct kv_options options = {.create = false};
	struct kv *kv;
	struct err e = {0};

	bool rot = argc == 4 && strcmp(argv[3], "rot") == 0;
	uint8_t first;

	if (argc != 3 && !rot) {
		(void)fputs("usage: forget_rows DB BYTE [rot]\n", stderr);
		return 2;
	}
	if (kv_rocksdb_open(argv[1], &options, &kv, &e) != 0) {
		(void)fprintf(stderr, "forget_rows: %s\n", e.text);
		return 1;
	}
	first = (uint8_t)strtoul(argv[2], NULL, 0);
	(void)printf("%u\n", rot ? fixture_rot_rows(kv, first) : fixture_forget_rows(kv, first));
	kv_close(kv);
	return 0;
}
