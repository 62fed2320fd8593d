/* forget_rows DB BYTE: deletes the rows of a store that no node has open, whose keys begin with
 * that byte (storage/key_codec.h). The node that opens it next differs from the others. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fixture/forget.h"

int main(int argc, char **argv)
{
	const struct kv_options options = {.create = false};
	struct kv *kv;
	struct err e = {0};

	if (argc != 3) {
		(void)fputs("usage: forget_rows DB BYTE\n", stderr);
		return 2;
	}
	if (kv_rocksdb_open(argv[1], &options, &kv, &e) != 0) {
		(void)fprintf(stderr, "forget_rows: %s\n", e.text);
		return 1;
	}
	(void)printf("%u\n", fixture_forget_rows(kv, (uint8_t)strtoul(argv[2], NULL, 0)));
	kv_close(kv);
	return 0;
}
