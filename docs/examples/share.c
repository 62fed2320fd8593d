/* Gives somebody a vault to read and write, or takes it from them, and says who is in it then; for
 * a person's profile, with the keys of the agent that 'kluis login' left.
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

int main(int argc, char **argv)
{
	struct kluis_failure failure;
	struct kluis *kluis = NULL;
	int rc, give = argc == 5 && strcmp(argv[3], "give") == 0;

	if (argc != 5 || (!give && strcmp(argv[3], "take") != 0)) {
		fprintf(stderr, "usage: share PROFILE_DIR VAULT give|take USER|group:NAME\n");
		return 2;
	}
	rc = kluis_open(argv[1], NULL, 0, &kluis, &failure);
	if (rc == 0)
		rc = kluis_unlock_by_agent(kluis, &failure);
	if (rc == 0 && give)
		rc = kluis_vault_share(kluis, argv[2], argv[4], KLUIS_ROLE_WRITE, &failure);
	if (rc == 0 && !give) /* What is written from here on is closed to them. */
		rc = kluis_vault_unshare(kluis, argv[2], argv[4], &failure);
	if (rc == 0)
		rc = kluis_vault_members(kluis, argv[2], print, NULL, &failure);
	kluis_close(kluis);
	if (rc != 0)
		fprintf(stderr, "share: %s (%s)\n", failure.text, kluis_code_name(rc));
	return kluis_exit_code(rc);
}
