/* An enrolled client with one vault at a fake node. */
#ifndef KLUIS_TESTS_LIB_CLI_FIXTURE_H
#define KLUIS_TESTS_LIB_CLI_FIXTURE_H

#include "cli/client/get.h"
#include "cli/client/put.h"
#include "cli/client/session.h"
#include "tests/lib/fake_node/fake_node.h"
#include "tests/lib/test.h"

enum { CLI_FIXTURE_GIVE_UP_MS = 600 };

struct cli_fixture {
	struct fake_node *node;
	char *dir; /* Scratch; the profile is dir/profile. */
	char *profile_dir;
	struct profile *profile;
	struct client *client;
	struct err err;
};

/* cmocka set-up and tear-down: *state is the fixture. The vault is called "v". */
int cli_fixture_setup(void **state);
int cli_fixture_teardown(void **state);

/* A profile and a client anew, as another run of the program would have them. */
void cli_fixture_reopen(struct cli_fixture *f);
/* As `kluis put`: content to /name in the vault. What put_finish() or an earlier step gave. */
int cli_fixture_put(struct cli_fixture *f, const char *name, struct bytes content);
/* As `kluis get`: appends. */
int cli_fixture_get(struct cli_fixture *f, const char *name, struct buf *to);
int cli_fixture_sync(struct cli_fixture *f, uint64_t *ret_seq);
/* size bytes that depend on seed; the caller releases. */
struct buf cli_fixture_bytes(size_t size, uint64_t seed);
/* SHA-256 over the names and bytes of all files of the profile but the session, the lock and the
 * caches: what must not change when a lie is refused. */
void cli_fixture_digest(const struct cli_fixture *f, uint8_t ret[HASH_BYTES]);

/* All files of a profile into another directory, made if need be. */
void cli_fixture_copy(const char *from, const char *to);

#endif
