/* Runs a fuzz target over every file of the directories named, and over every prefix of each small
 * one that was made by hand (libFuzzer names its own by their SHA-1). */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

enum { REPLAY_BYTES_MAX = 8 << 20, REPLAY_PREFIX_BYTES_MAX = 2048, REPLAY_SHA1_CHARS = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly that size, so that a sanitizer sees a read one past the end. */
static void replay_bytes(const uint8_t *data, size_t size)
{
	uint8_t *copy = x_memdup(data, size);

	(void)LLVMFuzzerTestOneInput(copy, size); /* Always 0, by libFuzzer's contract. */
	free(copy);
}

static int replay_file(const char *path, bool prefixes)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct err e = {0};

	if (file_read(path, REPLAY_BYTES_MAX, &bytes, &e) != 0) {
		(void)fprintf(stderr, "%s\n", e.text);
		return -1;
	}
	replay_bytes(bytes.data, bytes.len);
	prefixes = prefixes && bytes.len <= REPLAY_PREFIX_BYTES_MAX;
	for (size_t n = 0; prefixes && n < bytes.len; n++) {
		replay_bytes(bytes.data, n);
	}
	return 0;
}

static int replay_dir(const char *dir, unsigned *files)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;
	int rc = 0;

	if (stream == NULL) {
		perror(dir);
		return -1;
	}
	while (rc == 0 && (entry = readdir(stream)) != NULL) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s", dir, entry->d_name);

		if (entry->d_name[0] != '.') {
			rc = replay_file(path, strlen(entry->d_name) != REPLAY_SHA1_CHARS);
			++*files;
		}
	}
	(void)closedir(stream);
	return rc;
}

int main(int argc, char **argv)
{
	unsigned files = 0;

	for (int i = 1; i < argc; i++) {
		if (replay_dir(argv[i], &files) != 0) {
			return 1;
		}
	}
	(void)printf("%u inputs\n", files);
	return files == 0; /* A target without a corpus shows nothing. */
}
