#include "tests/lib/account_rig/account_given.h"

#include <string.h>

#include "base/clock.h"
#include "cli/client/inbox.h"
#include "tests/lib/account_rig/account_share.h"

int setup_given(void **state)
{
	struct fixture *f;
	int rc = setup(state);

	f = *state;
	/* The expiry of a packet is by the clock of who sends it. */
	f->node.machine.now_ms = clock_wall_ms(&clock_system);
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, account_key(f)));
	three_open(f);
	return rc;
}

unsigned given_days = 7;

int given_give(struct fixture *f, struct device *d, const char *name, const char *who,
	const char *path, uint64_t page_no, uint8_t ret_id[ID_BYTES])
{
	struct share_with with;
	const struct share_file_terms terms = {.with = &with, .days = given_days};
	struct vault *vault;
	struct tree *tree;
	bool moved;
	int rc;

	f->err = (struct err){0};
	MUST(f, account_refresh(d->profile, d->client, &f->err));
	MUST(f, vault_open(d->profile, d->client, name, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	MUST(f, tree_load(vault, &tree, &f->err));
	MUST(f, share_resolve(vault->people, who, &with, &f->err));
	rc = path != NULL ? share_file_give(tree, path, &terms, ret_id, &moved, &f->err)
			  : share_page_give(vault, page_no, &terms, ret_id, &moved, &f->err);
	tree_free(tree);
	vault_close(vault);
	return rc;
}

void given_look(struct fixture *f, struct device *d, struct given *given)
{
	f->err = (struct err){0};
	given->people = people_new(d->profile, d->client);
	MUST(f, account_refresh(d->profile, d->client, &f->err));
	MUST(f, shared_files(given->people, &given->files, &given->n, &f->err));
}

void given_look_end(struct given *given)
{
	shared_files_free(given->files, given->n);
	people_free(given->people);
}

static void given_new(
	struct fixture *f, const char *name, const char *text, uint8_t ret_id[ID_BYTES])
{
	put_note(f, &f->first, name);
	put_text(f, &f->first, name, text);
	MUST(f, given_give(f, &f->first, name, "bob", "/text", 0, ret_id));
}

void given_prepared(struct fixture *f, const char *name, const char *text)
{
	uint8_t id[ID_BYTES];

	given_new(f, name, text, id);
}

void given_twice(struct fixture *f, const char *name, uint8_t ret_first[ID_BYTES],
	uint8_t ret_second[ID_BYTES])
{
	given_new(f, name, "one", ret_first);
	MUST(f, given_give(f, &f->first, name, "bob", "/text", 0, ret_second));
}

unsigned given_grants(struct fixture *f, const struct device *d)
{
	return use_of(f, d).grants;
}

void given_end(struct fixture *f, struct device *d, const uint8_t id[ID_BYTES])
{
	const struct shared_file *file;
	char hex[HEX_LEN(ID_BYTES) + 1];
	struct given seen;

	hex_encode(bytes_of(id, ID_BYTES), hex);
	given_look(f, d, &seen);
	MUST(f, shared_file_find(seen.files, seen.n, hex, &file, &f->err));
	MUST(f, shared_file_end(seen.people, seen.files, seen.n, file, &f->err));
	given_look_end(&seen);
}

void given_end_all(struct fixture *f, struct device *d)
{
	struct given seen;
	size_t left;

	do { /* Each as in a run of the program. */
		given_look(f, d, &seen);
		left = seen.n;
		if (left > 0) {
			MUST(f, seen.files[0].problem.code != 0
					? api_inbox_delete(d->client, seen.files[0].doc_id, &f->err)
					: shared_file_end(seen.people, seen.files, seen.n,
						  &seen.files[0], &f->err));
		}
		given_look_end(&seen);
	} while (left > 0);
}

int given_forget(void **state)
{
	struct fixture *f = *state;

	given_end_all(f, &f->first);
	given_end_all(f, &bob);
	return 0;
}
