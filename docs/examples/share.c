/* Gives somebody a vault to read and write, takes it from them, or hands it over, and says who is
 * in it then; or takes what others offer. For a person's profile, with the keys of the agent that
 * 'kluis login' left.
 * cc -o share share.c $(pkg-config --cflags --libs kluis) */
#include <stdio.h>
#include <string.h>

#include <kluis_account.h>
#include <kluis_share.h>

static void print(void *arg, const struct kluis_member *member)
{
	static const char *const roles[] = {"none", "read", "write", "admin"};

	(void)arg;
	printf("%s %s %s%s\n", member->name, roles[member->role], member->state,
		member->is_group || member->verified ? "" : ", safety number not compared");
}

enum { OFFERS_MAX = 100 };

struct offers {
	struct {
		unsigned char id[16];
		int is_group;
	} offer[OFFERS_MAX];
	size_t n;
};

static void note(void *arg, const struct kluis_invitation *invitation)
{
	struct offers *offers = arg;

	if (invitation->problem != NULL) { /* Nobody who may has invited the user. */
		fprintf(stderr, "%s\n", invitation->problem);
	} else if (offers->n < OFFERS_MAX) {
		memcpy(offers->offer[offers->n].id, invitation->id, 16);
		offers->offer[offers->n++].is_group = invitation->is_group;
		printf("%s: %s\n", invitation->by, invitation->role);
	}
}

/* Not in the callback: that does not call with the same handle. */
static int accept_all(struct kluis *kluis, struct kluis_failure *failure)
{
	struct offers offers = {.n = 0};
	int rc = kluis_invitations(kluis, note, &offers, failure);

	for (size_t i = 0; rc == 0 && i < offers.n; i++) {
		rc = kluis_invitation_answer(
			kluis, offers.offer[i].is_group, offers.offer[i].id, 1, failure);
	}
	return rc;
}

static int change(struct kluis *kluis, const char *vault, const char *how, const char *who,
	struct kluis_failure *failure)
{
	if (strcmp(how, "give") == 0)
		return kluis_vault_share(kluis, vault, who, KLUIS_ROLE_WRITE, failure);
	if (strcmp(how, "hand") == 0) /* Who has accepted manages it from now on. */
		return kluis_vault_transfer(kluis, vault, who, KLUIS_ROLE_WRITE, failure);
	/* What is written from here on is closed to them. */
	return kluis_vault_unshare(kluis, vault, who, failure);
}

int main(int argc, char **argv)
{
	struct kluis_failure failure;
	struct kluis *kluis = NULL;
	int rc, accept = argc == 3 && strcmp(argv[2], "accept") == 0;

	if (!accept &&
		(argc != 5 || strlen(argv[3]) != 4 || strstr("give take hand", argv[3]) == NULL)) {
		fprintf(stderr, "usage: share PROFILE_DIR VAULT give|take|hand USER|group:NAME\n"
				"       share PROFILE_DIR accept\n");
		return 2;
	}
	rc = kluis_open(argv[1], NULL, 0, &kluis, &failure);
	if (rc == 0)
		rc = kluis_unlock_by_agent(kluis, &failure);
	if (rc == 0 && accept)
		rc = accept_all(kluis, &failure);
	else if (rc == 0)
		rc = change(kluis, argv[2], argv[3], argv[4], &failure);
	if (rc == 0 && !accept)
		rc = kluis_vault_members(kluis, argv[2], print, NULL, &failure);
	kluis_close(kluis);
	if (rc != 0)
		fprintf(stderr, "share: %s (%s)\n", failure.text, kluis_code_name(rc));
	return kluis_exit_code(rc);
}
