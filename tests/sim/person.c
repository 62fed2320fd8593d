/* A person with two clients, in some of the seeds: they register her, sign in, give codes, put
 * keyrings and change the password, each against what it last saw, through any node; what got no
 * answer is sent again, byte for byte. What each loses to the other it learns from a node's state,
 * which may be an old one. Held: a revision of the keyring is one object and none is lost, a
 * password counts until it is changed and not a login longer, a code opens one session. */
#include <assert.h>
#include <string.h>

#include "storage/mfa_store.h"
#include "storage/person_store.h"
#include "storage/session_store.h"
#include "tests/lib/fixture/person.h"
#include "tests/sim/sim.h"

enum {
	PERSON_PATIENCE_MS = 3000,
	PERSON_NUMBER = 1000, /* Its names and tokens are no others'. */
	PERSON_TTL_MS = 24 * 3600 * 1000,
	PERSON_FACTOR = 1,
};

enum person_step {
	PERSON_ANNOUNCE, /* All nodes know persons. */
	PERSON_REGISTER,
	PERSON_LOGIN,
	PERSON_ENROL,
	PERSON_CONFIRM,
	PERSON_CODE,
	PERSON_PUT,
	PERSON_PASSWORD,
};

/* One client, and what it believes. */
struct person_client {
	struct fixture_person person;
	unsigned number, token; /* token 0: no session. */
	enum person_step step;
	struct buf command;
	bool built, waiting, full, stale;
	uint64_t attempt, since_ms, code;
	/* What was known when the command was made. */
	uint64_t revision_before, credential_before;
};

struct sim_person {
	struct random_seeded random;
	struct person_client client[SIM_PERSON_CLIENTS];
	unsigned announced, tokens;
	bool registered, enrolled, confirmed;
	/* As clients were told. */
	uint64_t revision, credential;
	uint64_t *keyring; /* By revision, 8 bytes of its hash; 0: unknown. */
	unsigned *code;	   /* By number: which session it opened. */
	size_t keyrings, codes;
};

static uint64_t person_random(struct sim_person *people, uint64_t bound)
{
	return random_below(&people->random.random, bound);
}

struct sim_person *person_new(uint64_t seed)
{
	struct sim_person *people = x_calloc(1, sizeof *people);

	random_seeded_init(&people->random, seed ^ 0x706572736f6eULL);
	for (unsigned i = 0; i < ARRAY_SIZE(people->client); i++) {
		fixture_person_init(&people->client[i].person, PERSON_NUMBER);
		people->client[i].number = i;
		people->client[i].stale = true;
	}
	return people;
}

void person_free(struct sim_person *people)
{
	for (unsigned i = 0; people != NULL && i < ARRAY_SIZE(people->client); i++) {
		fixture_person_release(&people->client[i].person);
		buf_release(&people->client[i].command);
	}
	if (people != NULL) {
		free(people->keyring);
		free(people->code);
	}
	free(people);
}

/* --- what is asked --- */

static struct command person_announce(struct sim_person *people)
{
	return (struct command){.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = people->announced + 1, .feature_level = FEATURE_LEVEL}};
}

/* The next keyring, unlike the other client's. */
static struct bytes person_keyring(struct person_client *c)
{
	fixture_next_keyring(&c->person, 0);
	c->person.keyring.data[c->person.keyring.len - 1] ^= (uint8_t)(1 + c->number);
	c->person.keyring.data[c->person.keyring.len - 2] ^= (uint8_t)c->attempt;
	return buf_bytes(&c->person.keyring);
}

static struct command person_command(struct sim_person *people, struct person_client *c)
{
	struct command command = {.type = COMMAND_KEYRING_PUT};

	switch (c->step) {
	case PERSON_ANNOUNCE:
		return person_announce(people);
	case PERSON_REGISTER:
		return fixture_register(&c->person);
	case PERSON_LOGIN:
		c->token = PERSON_NUMBER + ++people->tokens;
		c->full = false;
		command = fixture_login(&c->person, c->token, true);
		command.person_login.ttl_ms = PERSON_TTL_MS;
		return command;
	case PERSON_ENROL:
		command.type = COMMAND_MFA_ADD;
		command.mfa_add.session = fixture_token(c->token);
		command.mfa_add.mfa_id[0] = PERSON_FACTOR;
		command.mfa_add.method = MFA_TOTP;
		return command;
	case PERSON_CONFIRM:
		command.type = COMMAND_MFA_CONFIRM;
		command.mfa_confirm.session = fixture_token(c->token);
		command.mfa_confirm.mfa_id[0] = PERSON_FACTOR;
		command.mfa_confirm.number = 0;
		return command;
	case PERSON_CODE:
		command.type = COMMAND_SESSION_UPGRADE;
		command.session_upgrade.session = fixture_token(c->token);
		command.session_upgrade.mfa_id[0] = PERSON_FACTOR;
		command.session_upgrade.number = c->code;
		command.session_upgrade.ttl_ms = PERSON_TTL_MS;
		return command;
	case PERSON_PUT:
		command.keyring_put.session = fixture_token(c->token);
		command.keyring_put.keyring = person_keyring(c);
		return command;
	case PERSON_PASSWORD:
		command.type = COMMAND_PASSWORD_CHANGE;
		command.password_change.session = fixture_token(c->token);
		command.password_change.keyring = person_keyring(c);
		fixture_credentials(&c->person, 0, &command.password_change.credentials);
		return command;
	}
	assert(!"no such step");
	return command;
}

/* What it does next; false: it has to see the state first. */
static bool person_choose(struct sim_person *people, struct person_client *c)
{
	uint64_t dice;

	if (!people->registered) {
		c->step = people->announced < SIM_NODES ? PERSON_ANNOUNCE : PERSON_REGISTER;
		return c->number == 0;
	}
	if (c->stale) {
		return false;
	}
	dice = person_random(people, 100);
	if (c->token == 0 || dice < 15) {
		c->step = PERSON_LOGIN;
	} else if (!c->full) {
		c->step = PERSON_CODE;
	} else if (!people->confirmed && c->number == 0 && dice < 40) {
		c->step = people->enrolled ? PERSON_CONFIRM : PERSON_ENROL;
	} else {
		c->step = dice < 75 ? PERSON_PUT : PERSON_PASSWORD;
	}
	return true;
}

/* What a node has of her, old or not. */
static void person_see(struct person_client *c, const struct machine *machine)
{
	struct person_row row;
	struct mfa_row factor;

	if (machine_person(machine, c->person.user_id, PERSON_FACTOR, &row, &factor)) {
		c->person.credential = row.credential;
		c->person.keyring_revision = row.keyring_revision;
		memcpy(c->person.keyring_hash, row.keyring_hash, 32);
		c->code = factor.next;
		c->stale = false;
	}
}

struct bytes person_run(
	struct sim *sim, unsigned number, struct sim_node *node, uint64_t *ret_attempt)
{
	struct sim_person *people = sim->person;
	struct person_client *c = &people->client[number];

	if ((c->waiting && sim->now_ms < c->since_ms + PERSON_PATIENCE_MS) ||
		machine_position(node->machine)->cluster_time_ms < SIM_WALL_MS) {
		return bytes_of(NULL, 0);
	}
	if (!c->built) {
		struct command command;

		if (people->registered) {
			person_see(c, node->machine);
		}
		if (!person_choose(people, c)) {
			return bytes_of(NULL, 0);
		}
		command = person_command(people, c);
		buf_clear(&c->command);
		command_encode(&command, &c->command);
		c->revision_before = people->revision;
		c->credential_before = people->credential;
		c->built = true;
	}
	c->waiting = true;
	c->since_ms = sim->now_ms;
	*ret_attempt = ++c->attempt;
	return buf_bytes(&c->command);
}

/* --- what was answered --- */

/* The keyring that c sent has this revision now. */
static void person_revision(struct sim *sim, struct person_client *c)
{
	struct sim_person *people = sim->person;
	uint64_t revision = c->person.keyring_revision + 1, head;
	uint8_t hash[HASH_BYTES];

	hash_sha256(buf_bytes(&c->person.keyring), hash);
	head = history_head(hash);
	if (revision <= c->revision_before) {
		sim_violate(sim, CHECK_PERSON, "keyring %llu was taken, though %llu was known",
			(unsigned long long)revision, (unsigned long long)c->revision_before);
	}
	if (revision >= people->keyrings) {
		size_t n = 2 * (size_t)revision + 16;

		people->keyring = x_realloc(people->keyring, n * sizeof *people->keyring);
		memset(people->keyring + people->keyrings, 0,
			(n - people->keyrings) * sizeof *people->keyring);
		people->keyrings = n;
	}
	if (people->keyring[revision] != 0 && people->keyring[revision] != head) {
		sim_violate(sim, CHECK_PERSON, "two keyrings have the revision %llu",
			(unsigned long long)revision);
	}
	people->keyring[revision] = head;
	people->revision = revision > people->revision ? revision : people->revision;
}

static void person_code(struct sim *sim, const struct person_client *c)
{
	struct sim_person *people = sim->person;

	if (c->code >= people->codes) {
		size_t n = 2 * (size_t)c->code + 16;

		people->code = x_realloc(people->code, n * sizeof *people->code);
		memset(people->code + people->codes, 0, (n - people->codes) * sizeof *people->code);
		people->codes = n;
	}
	if (people->code[c->code] != 0 && people->code[c->code] != c->token) {
		sim_violate(sim, CHECK_PERSON, "the code %llu opened two sessions",
			(unsigned long long)c->code);
	}
	people->code[c->code] = c->token;
}

static void person_done(struct sim *sim, struct person_client *c, const struct command_reply *reply)
{
	struct sim_person *people = sim->person;

	switch (c->step) {
	case PERSON_ANNOUNCE:
		people->announced++;
		break;
	case PERSON_REGISTER:
		people->registered = true;
		people->credential = 1;
		person_revision(sim, c);
		break;
	case PERSON_LOGIN:
		if (c->person.credential < c->credential_before) {
			sim_violate(sim, CHECK_PERSON,
				"password %llu opened a session, though %llu was known",
				(unsigned long long)c->person.credential,
				(unsigned long long)c->credential_before);
		}
		c->full = reply->hash[0] == SESSION_FULL;
		break;
	case PERSON_ENROL:
		people->enrolled = true;
		break;
	case PERSON_CONFIRM:
		people->confirmed = true;
		break;
	case PERSON_CODE:
		person_code(sim, c);
		c->full = true;
		break;
	case PERSON_PASSWORD:
		people->credential = c->person.credential + 1 > people->credential
					     ? c->person.credential + 1
					     : people->credential;
		person_revision(sim, c);
		break;
	case PERSON_PUT:
		person_revision(sim, c);
		break;
	}
}

/* What each step may be told when the other client, or a late copy of it, was first. */
static bool person_may_lose(const struct person_client *c, int rc)
{
	if (rc == KLUIS_EUNAUTHENTICATED) { /* Password, session or code was another meanwhile. */
		return c->step >= PERSON_LOGIN;
	}
	switch (c->step) {
	case PERSON_ANNOUNCE:
		return rc == KLUIS_EGONE || rc == KLUIS_ENOTFOUND;
	case PERSON_REGISTER: /* A member has come that has not announced itself. */
		return rc == KLUIS_ECONFLICT;
	case PERSON_ENROL:
		return rc == KLUIS_EEXIST || rc == KLUIS_EFORBIDDEN;
	case PERSON_CONFIRM:
		return rc == KLUIS_ECONFLICT || rc == KLUIS_ENOTFOUND || rc == KLUIS_EFORBIDDEN;
	case PERSON_CODE:
		return rc == KLUIS_ECONFLICT || rc == KLUIS_ENOTFOUND;
	case PERSON_PUT:
	case PERSON_PASSWORD:
		return rc == KLUIS_EPRECONDITION || rc == KLUIS_EMFA || rc == KLUIS_EFORBIDDEN;
	default:
		return false;
	}
}

static void person_lost(struct sim_person *people, struct person_client *c, int rc)
{
	switch (c->step) {
	case PERSON_ANNOUNCE: /* A member went: its id needs no announcement. */
		people->announced++;
		break;
	case PERSON_REGISTER:
		people->announced = 0;
		break;
	case PERSON_ENROL:
		people->enrolled |= rc == KLUIS_EEXIST;
		break;
	case PERSON_CONFIRM:
		people->confirmed |= rc == KLUIS_ECONFLICT;
		people->enrolled &= rc != KLUIS_ENOTFOUND;
		break;
	case PERSON_CODE:
		c->full = rc == KLUIS_ECONFLICT;
		break;
	default:
		break;
	}
	/* A session that is no good any more; a code may have been the other's. */
	if (rc == KLUIS_EFORBIDDEN || (rc == KLUIS_EUNAUTHENTICATED && c->step != PERSON_CODE) ||
		rc == KLUIS_EMFA || (c->step == PERSON_CODE && rc != KLUIS_ECONFLICT)) {
		c->token = 0;
	}
}

void person_answer(
	struct sim *sim, unsigned number, uint64_t attempt, const struct propose *answer, int rc)
{
	struct sim_person *people = sim->person;
	struct person_client *c = &people->client[number];
	struct command_reply reply = {.number = 0};

	if (!c->waiting || c->attempt != attempt) {
		return;
	}
	c->waiting = false;
	if (answer->index == 0) {
		return; /* It is nowhere: again, at once. */
	}
	c->built = false;
	c->stale = true;
	if (rc == 0) {
		if (command_reply_decode(answer->reply, &reply) != 0) {
			sim_violate(sim, CHECK_PERSON, "client %u of a person: no answer", number);
			return;
		}
		sim->stats.persons++;
		person_done(sim, c, &reply);
	} else if (person_may_lose(c, rc)) {
		person_lost(people, c, rc);
	} else {
		sim_violate(sim, CHECK_PERSON, "client %u of a person: step %d: %s", number,
			(int)c->step, err_text(rc));
	}
}

/* Everybody has everything: also what clients were told. */
void person_end(struct sim *sim, const struct machine *machine)
{
	struct sim_person *people = sim->person;
	struct person_row row;
	struct mfa_row factor;

	if (people == NULL || !people->registered) {
		return;
	}
	if (!machine_person(
		    machine, people->client[0].person.user_id, PERSON_FACTOR, &row, &factor) ||
		row.keyring_revision < people->revision || row.credential < people->credential) {
		sim_violate(sim, CHECK_PERSON, "keyring %llu or password %llu is gone",
			(unsigned long long)people->revision,
			(unsigned long long)people->credential);
	}
}
