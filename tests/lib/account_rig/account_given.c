#include "tests/lib/account_rig/account_given.h"

#include "base/clock.h"

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
