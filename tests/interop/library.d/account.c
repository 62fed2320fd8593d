/* Every call of kluis_account.h against a node, built as any program is: against the installed
 * headers. Two devices of one person, a token of oathtool's, a FIDO2 key in software, kluis's
 * agent, and another person who is there already. account PROFILE_ONE PROFILE_TWO USER URL CA_FILE
 * KLUIS SOFTWARE_KEY OTHER_USER
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kluis_account.h>
#include <kluis_chat.h>
#include <kluis_share.h>

#include "tests/interop/library.d/check.h"

static const char first_password[] = "correct horse battery staple";
static const char second_password[] = "an umbrella for tuesday morning";
static const char third_password[] = "eleven paper boats in the bay";

/* What the person knows and holds. */
struct human {
	const char *password, *fresh;
	char recovery[KLUIS_CODE_TEXT_BYTES], account_key[KLUIS_CODE_TEXT_BYTES];
	char seed[128];
	unsigned counter;  /* Of the token. */
	unsigned wrong;	   /* So many codes are wrong before one is right. */
	unsigned asked[8]; /* By kind. */
};

static int say(char *to, size_t max, const char *text)
{
	size_t n = strlen(text);

	CHECK(n <= max);
	memcpy(to, text, n);
	return (int)n;
}

/* Runs a program: `said` is its standard input, `ret` (at most max bytes with NUL) its output. */
static int run(char *const words[], const char *said, char *ret, size_t max)
{
	int in[2], out[2], status = -1;
	size_t n = 0;
	ssize_t got;
	pid_t child;

	CHECK(pipe(in) == 0 && pipe(out) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[0]);
		close(in[1]);
		close(out[0]);
		close(out[1]);
		execvp(words[0], words);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	CHECK(write(in[1], said, strlen(said)) == (ssize_t)strlen(said));
	close(in[1]);
	while ((got = read(out[0], ret + n, max - 1 - n)) > 0) {
		n += (size_t)got;
	}
	close(out[0]);
	ret[n] = 0;
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int token(struct human *h, char *to, size_t max)
{
	char counter[16], code[64];
	char *words[] = {"oathtool", "--hotp", "-b", "-c", counter, h->seed, NULL};

	snprintf(counter, sizeof counter, "%u", h->counter++);
	CHECK(run(words, "", code, sizeof code) == 0);
	code[strcspn(code, "\n")] = 0;
	return say(to, max, code);
}

static int ask(void *arg, enum kluis_secret which, const char *method, char *to, size_t max)
{
	struct human *h = arg;

	h->asked[which]++;
	CHECK((which == KLUIS_SECRET_FACTOR) == (method != NULL));
	switch (which) {
	case KLUIS_SECRET_PASSWORD:
		return h->password == NULL ? -1 : say(to, max, h->password);
	case KLUIS_SECRET_NEW_PASSWORD:
		return say(to, max, h->fresh);
	case KLUIS_SECRET_ACCOUNT_KEY:
		return say(to, max, h->account_key);
	case KLUIS_SECRET_RECOVERY_CODE:
		return say(to, max, h->recovery);
	case KLUIS_SECRET_FACTOR:
		CHECK(strcmp(method, "hotp") == 0);
		if (h->wrong > 0) {
			h->wrong--;
			return say(to, max, "000000");
		}
		return token(h, to, max);
	}
	return -1;
}

static void show(void *arg, enum kluis_secret which, const char *text)
{
	struct human *h = arg;
	char *to = which == KLUIS_SECRET_RECOVERY_CODE ? h->recovery : h->account_key;

	CHECK(strlen(text) + 1 == KLUIS_CODE_TEXT_BYTES);
	memcpy(to, text, strlen(text) + 1);
}

static struct kluis *open_as(const char *dir, struct human *h)
{
	struct kluis *k = NULL;

	MUST(kluis_open(dir, NULL, 0, &k, &failure));
	kluis_set_asking(k, ask, show, h);
	return k;
}

static void put(struct kluis *k, const char *path, const char *text)
{
	MUST(kluis_put(k, "diary", text, strlen(text), path, &failure));
}

static int take(void *arg, const void *data, size_t len)
{
	char *text = arg;
	size_t n = strlen(text);

	CHECK(n + len < 64);
	memcpy(text + n, data, len);
	text[n + len] = 0;
	return 0;
}

static void expect(struct kluis *k, const char *path, const char *wanted)
{
	char got[64] = "";

	MUST(kluis_get(k, "diary", path, take, got, &failure));
	CHECK(strcmp(got, wanted) == 0);
}

/* An honest node gives no reason to. */
static int never(void *arg, const char *vault, const char *why)
{
	(void)arg;
	fprintf(stderr, "'%s' would be left out: %s\n", vault, why);
	return 0;
}

struct devices {
	struct kluis_device active, pending;
	unsigned n_active, n_pending, n_revoked;
};

static void see_device(void *arg, const struct kluis_device *device)
{
	struct devices *d = arg;

	if (device->state == KLUIS_DEVICE_PENDING) {
		d->pending = *device;
		d->n_pending++;
	} else if (device->state == KLUIS_DEVICE_ACTIVE) {
		d->n_active++;
		if (!device->mine) {
			d->active = *device;
		}
	} else {
		d->n_revoked++;
	}
}

static struct devices look(struct kluis *k)
{
	struct devices d;

	memset(&d, 0, sizeof d);
	MUST(kluis_devices(k, see_device, &d, &failure));
	return d;
}

static void see_account(void *arg, const struct kluis_account *account)
{
	*(struct kluis_account *)arg = *account;
}

static void see_access(void *arg, const struct kluis_access *access)
{
	unsigned *n = arg;

	CHECK(access->time_ms > 0 && access->event[0] != 0);
	*n += strcmp(access->event, "registered") == 0;
}

static void see_document(void *arg, const char *json, size_t len)
{
	const char *user = arg;
	char member[128];

	CHECK(strlen(json) == len && json[0] == '{' && strstr(json, "\"keyring\"") != NULL);
	snprintf(member, sizeof member, "\"user\": \"%s\"", user);
	CHECK(strstr(json, member) != NULL);
}

static void contact_calls(struct kluis *k, const char *other)
{
	struct kluis_contact contact;

	CHECK(kluis_contact(k, "nobody-of-this-name", &contact, &failure) == KLUIS_NOT_FOUND);
	MUST(kluis_contact(k, other, &contact, &failure));
	CHECK(!contact.verified && !contact.changed);
	CHECK(strlen(contact.safety_number) + 1 == KLUIS_SAFETY_NUMBER_BYTES);
	CHECK(kluis_contact_verified(k, other, "12345", &failure) == KLUIS_NOT_VERIFIED);
	MUST(kluis_contact(k, other, &contact, &failure));
	CHECK(!contact.verified);
	MUST(kluis_contact_verified(k, other, contact.safety_number, &failure));
	MUST(kluis_contact(k, other, &contact, &failure));
	CHECK(contact.verified && !contact.changed);
}

static void vault_calls(struct kluis *k)
{
	struct kluis_usage usage;
	char id[33];

	MUST(kluis_account_usage(k, &usage, &failure));
	CHECK(usage.vaults == 1 && usage.pages > 0 && usage.bytes > 0 &&
		usage.keyring_versions > 0);
	CHECK(usage.vaults_max == UINT64_MAX || usage.vaults_max >= usage.vaults);
	MUST(kluis_vault_create(k, "spare", id, &failure));
	MUST(kluis_account_usage(k, &usage, &failure));
	CHECK(usage.vaults == 2);
	CHECK(kluis_vault_forget(k, "spare", &failure) == KLUIS_EXISTS);
	MUST(kluis_vault_delete(k, "spare", &failure));
	CHECK(kluis_vault_delete(k, "spare", &failure) == KLUIS_NOT_FOUND);
	CHECK(kluis_vault_forget(k, id, &failure) == KLUIS_NOT_FOUND);
	MUST(kluis_account_usage(k, &usage, &failure));
	CHECK(usage.vaults == 1);
}

struct shares {
	unsigned n;
	char who[64];
};

static void see_shared(void *arg, const struct kluis_shared *shared)
{
	struct shares *seen = arg;

	CHECK(shared->mine && shared->problem_code == 0 && shared->expires_ms > 0);
	CHECK(strlen(shared->who) < sizeof seen->who);
	memcpy(seen->who, shared->who, strlen(shared->who) + 1);
	seen->n++;
}

static void count_push(void *arg, const struct kluis_push *push)
{
	(void)push;
	++*(unsigned *)arg;
}

static void share_calls(struct kluis *k, const char *other)
{
	struct kluis_push_services services;
	struct shares seen = {0, ""};
	char file[33], page[33], id[33], got[64] = "";
	unsigned pushes = 0;

	put(k, "/shared", "x");
	CHECK(kluis_file_share(k, "diary", "/shared", other, 0, file, &failure) == KLUIS_BAD_INPUT);
	CHECK(kluis_file_share(k, "diary", "/no", other, 7, file, &failure) == KLUIS_NOT_FOUND);
	MUST(kluis_file_share(k, "diary", "/shared", other, 7, file, &failure));
	MUST(kluis_page_share(k, "diary", 0, other, 7, page, &failure));
	MUST(kluis_shared_list(k, see_shared, &seen, &failure));
	CHECK(seen.n == 2 && strcmp(seen.who, other) == 0);
	CHECK(kluis_shared_get(k, file, take, got, &failure) == KLUIS_NOT_FOUND); /* Not to us. */
	MUST(kluis_shared_end(k, file, &failure));
	MUST(kluis_shared_end(k, page, &failure));
	seen.n = 0;
	MUST(kluis_shared_list(k, see_shared, &seen, &failure));
	CHECK(seen.n == 0);
	MUST(kluis_push_services(k, &services, &failure));
	CHECK(services.vapid_len == 0 && !services.fcm && !services.apns);
	CHECK(kluis_push_add_token(k, "sms", "1", id, &failure) == KLUIS_BAD_INPUT);
	CHECK(kluis_push_add_token(k, "fcm", "1", id, &failure) != 0);
	MUST(kluis_push_list(k, count_push, &pushes, &failure));
	CHECK(pushes == 0);
	CHECK(kluis_push_remove(k, "none", &failure) == KLUIS_BAD_INPUT);
	MUST(kluis_remove(k, "diary", "/shared", &failure));
}

static void account_calls(struct kluis *k, char *user, const char *other)
{
	struct kluis_account account;
	unsigned registered = 0;

	MUST(kluis_account_show(k, see_account, &account, &failure));
	CHECK(account.devices == 1 && account.keyring_revision > 0 && !account.device_only);
	MUST(kluis_account_policy(k, 1, -1, &failure));
	MUST(kluis_account_show(k, see_account, &account, &failure));
	CHECK(account.no_web_login && !account.device_only);
	MUST(kluis_account_policy(k, 0, -1, &failure));
	MUST(kluis_account_log(k, see_access, &registered, &failure));
	CHECK(registered == 1);
	MUST(kluis_account_export(k, see_document, user, &failure));
	contact_calls(k, other);
	vault_calls(k);
	share_calls(k, other);
}

/* A second device: asked for, compared, approved; it reads before and writes afterwards. */
static struct kluis *second_device(
	struct kluis *one, const struct kluis_person *person, struct human *h)
{
	unsigned char other_key[16] = {1};
	enum kluis_device_state state = KLUIS_DEVICE_REVOKED;
	struct kluis *two = NULL;
	struct devices d;

	CHECK(kluis_join(person, &two, &failure) == 0 && !kluis_is_unlocked(two));
	MUST(kluis_login(two, &failure));
	CHECK(kluis_is_unlocked(two) && h->asked[KLUIS_SECRET_ACCOUNT_KEY] == 1);
	expect(two, "/a", "from one");
	CHECK(kluis_put(two, "diary", "x", 1, "/b", &failure) == KLUIS_NOT_SIGNED_IN);
	MUST(kluis_device_add(two, "phone", &state, &failure));
	CHECK(state == KLUIS_DEVICE_PENDING);
	MUST(kluis_device_begin(two, &state, &failure));
	CHECK(state == KLUIS_DEVICE_PENDING);
	d = look(one);
	CHECK(d.n_pending == 1 && d.n_active == 1 && strcmp(d.pending.name, "phone") == 0);
	CHECK(kluis_device_approve(one, d.pending.id, other_key, &failure) == KLUIS_NOT_VERIFIED);
	MUST(kluis_device_approve(one, d.pending.id, d.pending.key, &failure));
	CHECK(kluis_device_approve(one, d.pending.id, d.pending.key, &failure) == KLUIS_NOT_FOUND);
	MUST(kluis_device_begin(two, &state, &failure));
	CHECK(state == KLUIS_DEVICE_ACTIVE);
	put(two, "/b", "from two");
	MUST(kluis_settle(two, &failure));
	expect(one, "/b", "from two");
	return two;
}

struct factors {
	unsigned n, pending;
};

static void see_factor(void *arg, const struct kluis_factor *factor)
{
	struct factors *f = arg;

	CHECK(strcmp(factor->method, "hotp") == 0 && strcmp(factor->label, "token") == 0);
	f->n++;
	f->pending += factor->pending != 0;
}

static void take_uri(void *arg, const char *uri)
{
	struct human *h = arg;
	const char *at = strstr(uri, "secret=");
	size_t n;

	CHECK(strncmp(uri, "otpauth://hotp/", 15) == 0 && at != NULL);
	n = strcspn(at + 7, "&");
	CHECK(n < sizeof h->seed);
	memcpy(h->seed, at + 7, n);
	h->seed[n] = 0;
	h->counter = 0;
}

static void factor_calls(struct kluis *k, const char *dir, struct human *h)
{
	static const char *const networks[] = {"192.0.2.0/24"};
	struct factors f = {0, 0};
	char id[KLUIS_FACTOR_ID_BYTES], other[KLUIS_FACTOR_ID_BYTES];

	CHECK(kluis_factor_add(k, "push", NULL, id, take_uri, h, &failure) == KLUIS_BAD_INPUT);
	CHECK(kluis_factor_add_places(k, "ip", NULL, networks, 1, other, &failure) != 0);
	MUST(kluis_factor_add(k, "hotp", "token", id, take_uri, h, &failure));
	MUST(kluis_factors(k, see_factor, &f, &failure));
	CHECK(f.n == 1 && f.pending == 1);
	h->wrong = 1;
	CHECK(kluis_factor_confirm(k, id, &failure) == KLUIS_NOT_SIGNED_IN);
	MUST(kluis_factor_confirm(k, id, &failure));
	f = (struct factors){0, 0};
	MUST(kluis_factors(k, see_factor, &f, &failure));
	CHECK(f.n == 1 && f.pending == 0);
	kluis_close(k);
	/* From now on a login asks for a code; a wrong one is asked for again. */
	k = open_as(dir, h);
	h->wrong = 1;
	MUST(kluis_login(k, &failure));
	expect(k, "/a", "from one");
	MUST(kluis_factor_remove(k, id, &failure));
	CHECK(kluis_factor_remove(k, id, &failure) == KLUIS_NOT_FOUND);
	kluis_close(k);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(const unsigned char *from, size_t len, char *to)
{
	size_t n = 0;

	for (size_t bit = 0; bit < 8 * len; bit += 6) {
		unsigned two =
			(unsigned)from[bit / 8] << 8 | (bit / 8 + 1 < len ? from[bit / 8 + 1] : 0u);

		to[n++] = alphabet[two >> (10 - bit % 8) & 63];
	}
	to[n] = 0;
	return n;
}

/* A member of a JSON answer, decoded. */
static size_t decode(const char *json, const char *member, unsigned char *to, size_t max)
{
	const char *at = strstr(json, member), *letter;
	unsigned held = 0, bits = 0;
	size_t n = 0;

	CHECK(at != NULL);
	for (at = strchr(at + strlen(member) + 1, '"') + 1; *at != '"'; at++) {
		letter = strchr(alphabet, *at);
		CHECK(*at != 0 && letter != NULL && n < max);
		held = held << 6 | (unsigned)(letter - alphabet);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			to[n++] = (unsigned char)(held >> bits);
		}
	}
	return n;
}

static size_t hex(const unsigned char *from, size_t len, char *to)
{
	for (size_t i = 0; i < len; i++) {
		snprintf(to + 2 * i, 3, "%02x", from[i]);
	}
	return 2 * len;
}

/* A request in the words of docs/format-fido-helper.md, which the key in software knows. */
static int press(
	void *arg, const struct kluis_key_request *request, struct kluis_key_answer *ret_answer)
{
	char *words[] = {arg, NULL}, said[8192], out[8192], digits[65], text[2048];
	size_t n;

	CHECK(strcmp(request->rp_id, "vault.example.org") == 0);
	hex(request->client_data_hash, 32, digits);
	encode(request->user_id, 16, text);
	n = (size_t)snprintf(said, sizeof said,
		"{\"version\": 1, \"operation\": \"%s\", \"rp_id\": \"%s\", "
		"\"client_data_hash\": \"%s\", \"user_id\": \"%s\", \"user\": \"%s\", "
		"\"credentials\": [",
		request->create ? "create" : "get", request->rp_id, digits, text, request->user);
	for (size_t i = 0; i < request->n_credentials; i++) {
		encode(request->credentials[i].id, request->credentials[i].len, text);
		n += (size_t)snprintf(
			said + n, sizeof said - n, "%s\"%s\"", i == 0 ? "" : ", ", text);
	}
	snprintf(said + n, sizeof said - n, "]}\n");
	CHECK(run(words, said, out, sizeof out) == 0);
	if (strstr(out, "\"excluded\"") != NULL) {
		return KLUIS_EXISTS;
	}
	if (strstr(out, "\"error\"") != NULL) {
		return KLUIS_NOT_FOUND;
	}
	ret_answer->auth_data_len =
		decode(out, "\"auth_data\"", ret_answer->auth_data, sizeof ret_answer->auth_data);
	if (!request->create) {
		ret_answer->signature_len = decode(
			out, "\"signature\"", ret_answer->signature, sizeof ret_answer->signature);
	}
	return 0;
}

static int not_plugged_in(
	void *arg, const struct kluis_key_request *request, struct kluis_key_answer *ret_answer)
{
	(void)arg;
	(void)request;
	(void)ret_answer;
	return KLUIS_NOT_FOUND;
}

static void see_key(void *arg, const struct kluis_factor *factor)
{
	struct factors *f = arg;

	CHECK(strcmp(factor->method, "fido2") == 0 && strcmp(factor->label, "key") == 0);
	f->n++;
	f->pending += factor->pending != 0;
}

/* A key that is touched: enrolled, asked for by every login, and taken away by its own leave. */
static void key_calls(const char *dir, char *program, struct human *h)
{
	struct kluis *k = open_as(dir, h);
	struct factors f = {0, 0};
	char id[KLUIS_FACTOR_ID_BYTES], other[KLUIS_FACTOR_ID_BYTES];

	MUST(kluis_login(k, &failure));
	CHECK(kluis_factor_add_key(k, "key", id, &failure) == KLUIS_BAD_INPUT);
	kluis_set_authenticator(k, not_plugged_in, NULL);
	CHECK(kluis_factor_add_key(k, "key", id, &failure) == KLUIS_NOT_FOUND);
	kluis_set_authenticator(k, press, program);
	MUST(kluis_factor_add_key(k, "key", id, &failure));
	CHECK(kluis_factor_add_key(k, "key", other, &failure) == KLUIS_EXISTS);
	MUST(kluis_factors(k, see_key, &f, &failure));
	CHECK(f.n == 1 && f.pending == 1);
	MUST(kluis_factor_confirm(k, id, &failure));
	f = (struct factors){0, 0};
	MUST(kluis_factors(k, see_key, &f, &failure));
	CHECK(f.n == 1 && f.pending == 0);
	kluis_close(k);
	k = open_as(dir, h);
	CHECK(kluis_login(k, &failure) != 0); /* Nobody can touch it. */
	kluis_set_authenticator(k, press, program);
	MUST(kluis_login(k, &failure));
	expect(k, "/a", "from one");
	MUST(kluis_factor_remove(k, id, &failure));
	kluis_close(k);
}

/* With what `kluis login` gave to the agent, without a password. */
static void agent_calls(char *dir, char *kluis, struct human *h)
{
	char *login[] = {kluis, "-q", "-p", dir, "login", "--password-file=-", NULL};
	char *stop[] = {kluis, "-q", "-p", dir, "agent", "stop", NULL};
	struct kluis *k = open_as(dir, h);
	char typed[128], out[4096];

	CHECK(kluis_unlock_by_agent(k, &failure) == KLUIS_NOT_SIGNED_IN);
	kluis_close(k);
	snprintf(typed, sizeof typed, "%s\n", h->password);
	CHECK(run(login, typed, out, sizeof out) == 0);
	h->password = NULL;
	k = open_as(dir, h);
	MUST(kluis_unlock_by_agent(k, &failure));
	put(k, "/c", "by the agent");
	expect(k, "/c", "by the agent");
	kluis_close(k);
	CHECK(run(stop, "", out, sizeof out) == 0);
}

/* A locked profile does nothing; a password opens it without the cluster, to read. */
static void locked_calls(const char *dir, struct human *h)
{
	struct kluis *k = open_as(dir, h);
	char id[33];

	CHECK(!kluis_is_unlocked(k));
	CHECK(kluis_vault_create(k, "more", id, &failure) == KLUIS_NOT_SIGNED_IN);
	CHECK(kluis_get(k, "diary", "/a", take, id, &failure) == KLUIS_NOT_SIGNED_IN);
	CHECK(kluis_passwd(k, &failure) == KLUIS_NOT_SIGNED_IN);
	h->password = NULL;
	CHECK(kluis_login(k, &failure) == KLUIS_NOT_SIGNED_IN);
	h->password = second_password;
	CHECK(kluis_unlock_offline(k, &failure) == KLUIS_NOT_VERIFIED);
	h->password = first_password;
	MUST(kluis_unlock_offline(k, &failure));
	kluis_set_offline(k, 1);
	expect(k, "/a", "from one");
	CHECK(kluis_put(k, "diary", "x", 1, "/d", &failure) == KLUIS_UNREACHABLE);
	kluis_close(k);
}

static void read_ca(struct kluis_person *person, const char *path)
{
	static char ca[65536];
	FILE *file = fopen(path, "r");

	CHECK(file != NULL);
	person->ca_pem = ca;
	person->ca_pem_len = fread(ca, 1, sizeof ca, file);
	fclose(file);
}

int main(int argc, char **argv)
{
	struct human human = {.password = first_password, .fresh = "short"};
	struct kluis_person person = {.ask = ask, .show = show, .arg = &human, .n_endpoints = 1};
	struct kluis *one = NULL, *two;
	struct devices d;
	char id[33], old_code[KLUIS_CODE_TEXT_BYTES];

	CHECK(argc == 9);
	person.profile_dir = argv[1];
	person.user = argv[3];
	person.endpoints = (const char *const *)&argv[4];
	CHECK(kluis_register(&person, &one, &failure) == KLUIS_BAD_INPUT); /* No CA. */
	read_ca(&person, argv[5]);
	CHECK(kluis_register(&person, &one, &failure) == KLUIS_BAD_INPUT); /* No password. */
	human.fresh = first_password;
	MUST(kluis_register(&person, &one, &failure));
	CHECK(human.recovery[0] != 0 && human.account_key[0] != 0 && kluis_is_unlocked(one));
	MUST(kluis_vault_create(one, "diary", id, &failure));
	put(one, "/a", "from one");
	MUST(kluis_sync(one, "diary", 1, &failure));
	account_calls(one, argv[3], argv[8]);
	person.profile_dir = argv[2];
	two = second_device(one, &person, &human);
	kluis_close(one);
	person.profile_dir = argv[1];
	CHECK(kluis_join(&person, &one, &failure) == KLUIS_EXISTS);
	locked_calls(argv[1], &human);
	agent_calls(argv[1], argv[6], &human);
	human.password = first_password;
	one = open_as(argv[1], &human);
	MUST(kluis_login(one, &failure));
	factor_calls(one, argv[1], &human);
	key_calls(argv[1], argv[7], &human);

	/* A new password on the second device ends the first one's session; its keys open by it. */
	human.fresh = second_password;
	memcpy(old_code, human.recovery, sizeof old_code);
	MUST(kluis_login(two, &failure));
	MUST(kluis_passwd(two, &failure));
	CHECK(strcmp(old_code, human.recovery) != 0);
	one = open_as(argv[1], &human);
	CHECK(kluis_login(one, &failure) == KLUIS_NOT_SIGNED_IN);
	human.password = second_password;
	MUST(kluis_login(one, &failure));
	put(one, "/e", "after");
	d = look(one);
	CHECK(d.n_active == 2 && d.n_revoked == 0);
	MUST(kluis_device_revoke(one, d.active.id, never, NULL, &failure));
	CHECK(kluis_account_show(two, see_account, NULL, &failure) == KLUIS_NOT_SIGNED_IN);
	kluis_close(two);
	expect(one, "/b", "from two"); /* It was vouched for. */

	/* Forgotten: the code that the change has shown. */
	MUST(kluis_logout(one, &failure));
	CHECK(!kluis_is_unlocked(one));
	human.fresh = third_password;
	MUST(kluis_recover(one, &failure));
	human.password = third_password;
	MUST(kluis_login(one, &failure));
	expect(one, "/a", "from one");
	MUST(kluis_account_delete(one, 0, &failure));
	CHECK(kluis_login(one, &failure) != 0);
	kluis_close(one);
	printf("every call of kluis_account.h did what it says\n");
	return 0;
}
