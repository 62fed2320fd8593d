/* The public face of contacts: who another person is. */
#include <assert.h>
#include <string.h>

#include "cli/client/contact.h"
#include "cli/client/kluis_ask.h"
#include "cli/client/people.h"

static_assert((int)KLUIS_SAFETY_NUMBER_BYTES == (int)SAFETY_CHARS + 1, "safety numbers");

/* Whom this profile has seen under that name it has to be, compared or not. */
static int contact_seen(struct kluis *k, const char *user, struct err *e)
{
	struct people *people = people_new(k->profile, k->client);
	const struct identity *identity;
	int rc = people_by_name(people, user, &identity, e);

	people_free(people);
	return rc;
}

/* The contact, and what is shown of it. Release it also after a failure. */
static int contact_look(struct kluis *k, const char *user, struct contact *c,
	struct kluis_contact *ret_shown, struct err *e)
{
	int rc = kluis_person_check(k, e);

	identity_init(&c->identity);
	rc = rc != 0 ? rc : kluis_refresh(k, e);
	rc = rc != 0 ? rc : contact_seen(k, user, e);
	rc = rc != 0 ? rc : contact_load(k->profile, k->client, user, c, e);
	if (rc != 0) {
		return rc;
	}
	memcpy(ret_shown->user_id, c->user_id, ID_BYTES);
	contact_number(k->profile, c, ret_shown->safety_number);
	ret_shown->verified = contact_current(c);
	ret_shown->changed = c->pinned && !contact_current(c);
	return 0;
}

int kluis_contact(struct kluis *k, const char *user, struct kluis_contact *ret_contact,
	struct kluis_failure *error)
{
	struct contact c = {.pinned = false};
	struct kluis_contact shown;
	struct err e = {0};
	int rc = contact_look(k, user, &c, &shown, &e);

	contact_release(&c);
	if (rc == 0) {
		*ret_contact = shown;
	}
	return kluis_give(rc, &e, error);
}

int kluis_contact_verified(
	struct kluis *k, const char *user, const char *number, struct kluis_failure *error)
{
	struct contact c = {.pinned = false};
	struct kluis_contact shown;
	struct err e = {0};
	int rc = contact_look(k, user, &c, &shown, &e);

	if (rc == 0 && !contact_number_is(shown.safety_number, number)) {
		rc = err_set(&e, KLUIS_EVERIFY,
			"'%s' sees another number: the cluster does not show the two of you to "
			"each other as you are",
			user);
	}
	rc = rc != 0 || shown.verified ? rc : contact_store(k->profile, k->client, &c, &e);
	contact_release(&c);
	return kluis_give(rc, &e, error);
}
