/* kluis contact verify */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/client/contact.h"
#include "cli/client/json_reader.h"
#include "cli/client/people.h"
#include "cli/vault/app.h"

/* --yes is given for a command, and cannot know a number: a person has to say it, or give the
 * number that the other one read out. */
static int contact_confirm(struct invocation *inv, const char *name, const char *number)
{
	const char *given = invocation_value(inv, "number");

	if (given == NULL) {
		return invocation_ask(inv,
			       "Ask them, by voice or in person, what their 'kluis contact "
			       "verify' shows for you. Is it the same number?")
			       ? 0
			       : err_wrap(&inv->err, inv->err.code,
					 "not compared (--number takes what they see)");
	}
	return contact_number_is(number, given)
		       ? 0
		       : err_set(&inv->err, KLUIS_EVERIFY,
				 "'%s' sees another number: the cluster does not show the two of "
				 "you to each other as you are",
				 name);
}

static int contact_compare(struct app *k, const char *name, const struct contact *c)
{
	static const struct output_column columns[] = {{"user", "User", OUTPUT_TEXT},
		{"user_id", "Id", OUTPUT_TEXT}, {"safety_number", "Safety number", OUTPUT_TEXT},
		{"verified", "Verified before", OUTPUT_TEXT}};
	struct invocation *inv = k->inv;
	char number[SAFETY_CHARS + 1];
	json_t *record;
	int rc;

	contact_number(k->profile, c, number);
	record = json_pack("{s:s, s:o, s:s, s:b}", "user", name, "user_id",
		json_hex(bytes_of(c->user_id, ID_BYTES)), "safety_number", number, "verified",
		contact_current(c));
	output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	if (contact_current(c)) {
		return 0;
	}
	(void)fflush(inv->out.data); /* The question is about it. */
	rc = contact_confirm(inv, name, number);
	return rc != 0 ? rc : contact_store(k->profile, k->client, c, &inv->err);
}

static int contact_verify_body(struct app *k)
{
	const char *name = k->inv->args[0];
	const struct identity *identity;
	struct people *people;
	struct contact c;
	int rc;

	if (k->profile->person == NULL) {
		return err_set(&k->inv->err, KLUIS_EINVAL, "a service account has no contacts");
	}
	rc = app_fresh(k);
	if (rc != 0) {
		return rc;
	}
	/* Whom this device has seen under that name it has to be, compared or not. */
	people = people_new(k->profile, k->client);
	rc = people_by_name(people, name, &identity, &k->inv->err);
	people_free(people);
	if (rc != 0) {
		return rc;
	}
	rc = contact_load(k->profile, k->client, name, &c, &k->inv->err);
	rc = rc != 0 ? rc : contact_compare(k, name, &c);
	contact_release(&c);
	return rc;
}

int app_contact_verify(struct invocation *inv)
{
	return app_run(inv, contact_verify_body);
}
