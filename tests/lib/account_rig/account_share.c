#include "tests/lib/account_rig/account_share.h"

#include <string.h>

#include "cli/client/json_reader.h"
#include "tests/lib/fixture/sharing.h"

struct vault *opened(struct fixture *f, struct device *d, const char *name)
{
	struct vault *vault;

	MUST(f, account_refresh(d->profile, d->client, &f->err));
	MUST(f, vault_open(d->profile, d->client, name, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	return vault;
}

struct share_with resolved(struct fixture *f, struct people *people, const char *text)
{
	struct share_with with;

	MUST(f, share_resolve(people, text, &with, &f->err));
	return with;
}

int share(struct fixture *f, struct device *d, const char *name, const char *who, unsigned role)
{
	struct vault *vault = opened(f, d, name);
	struct share_with with = resolved(f, vault->people, who);
	int rc;

	f->err = (struct err){0};
	rc = share_add(vault, &with, role, &f->err);
	vault_close(vault);
	return rc;
}

int take_out(struct fixture *f, struct device *d, const char *name, const char *who)
{
	struct vault *vault = opened(f, d, name);
	struct share_with with = resolved(f, vault->people, who);
	int rc;

	f->err = (struct err){0};
	rc = share_remove(vault, &with, &f->err);
	vault_close(vault);
	return rc;
}

void id_of(struct fixture *f, struct device *d, const char *name, uint8_t ret_id[ID_BYTES])
{
	MUST(f, vault_find(d->profile, d->client, name, ret_id, &f->err));
}

int answer(struct fixture *f, struct device *d, unsigned kind, const uint8_t *id, bool accept)
{
	struct people *people = people_new(d->profile, d->client);
	int rc;

	f->err = (struct err){0};
	rc = account_refresh(d->profile, d->client, &f->err);
	rc = rc != 0 ? rc : share_answer(people, kind, id, accept, &f->err);
	people_free(people);
	return rc;
}

/* Every page that was ever written opens. */
void read_all(struct fixture *f, struct device *d, const char *name)
{
	struct vault *vault = opened(f, d, name);
	size_t n = 0;

	for (uint64_t i = 0; i < vault->head.page_count; i++) {
		_cleanup_(buf_release) struct buf content = BUF_INIT;
		bool moved = false;

		if (vault_page_written(vault, i)) {
			MUST(f, vault_read_page(vault, i, false, &content, &moved, &f->err));
			assert_false(moved);
			n++;
		}
	}
	assert_true(n > 0);
	vault_close(vault);
}

void assert_state(struct fixture *f, struct device *d, const char *name, const char *who,
	unsigned role, const char *state)
{
	struct vault *vault = opened(f, d, name);
	struct share_member *members;
	bool found = false;
	size_t n;

	MUST(f, vault_members_refresh(vault, &f->err));
	MUST(f, share_members(vault->people, vault->membership, &members, &n, &f->err));
	for (size_t i = 0; i < n; i++) {
		if (strcmp(members[i].who.name, who) == 0) {
			assert_int_equal(members[i].role, role);
			assert_string_equal(members[i].state, state);
			found = true;
		}
	}
	assert_true(found);
	free(members);
	vault_close(vault);
}

void assert_says(const struct fixture *f, const char *words)
{
	if (strstr(f->err.text, words) == NULL) {
		fail_msg("'%s' lacks '%s'", f->err.text, words);
	}
}

unsigned logged(struct fixture *f, struct device *d, const char *event)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	unsigned n = 0;

	MUST(f, api_list(d->client, "/v1/account/access-log", CLIENT_AUTH | CLIENT_READ, 10000,
			&items, &f->err));
	for (size_t i = 0; i < json_array_size(items); i++) {
		const char *name =
			json_string_value(json_object_get(json_array_get(items, i), "event"));

		n += name != NULL && strcmp(name, event) == 0;
	}
	return n;
}

struct packet_use use_of(struct fixture *f, const struct device *d)
{
	struct kv_view *view;
	struct packet_use use;

	(void)pthread_mutex_lock(&f->node.lock);
	view = kv_view_new(f->node.machine.kv);
	assert_int_equal(packet_use_get(view, d->profile->user_id, &use, NULL), 0);
	kv_view_free(view);
	(void)pthread_mutex_unlock(&f->node.lock);
	return use;
}

/* Under the token that the device's client has. */
static void run_as(struct fixture *f, const struct device *d, struct command *command,
	struct command_session *session)
{
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	int rc;

	client_token(d->client, token);
	hash_sha256(bytes_str(token), session->token_hash);
	(void)pthread_mutex_lock(&f->node.lock);
	rc = fixture_machine_do(&f->node.machine, command);
	(void)pthread_mutex_unlock(&f->node.lock);
	assert_int_equal(rc, 0);
}

void fill_box(struct fixture *f, struct device *d)
{
	uint8_t vault_id[ID_BYTES];
	unsigned number = 0;

	put_note(f, d, "filler");
	MUST(f, vault_find(d->profile, d->client, "filler", vault_id, &f->err));
	while (use_of(f, d).packets < PACKETS_MAX) {
		_cleanup_(buf_release) struct buf packets = BUF_INIT;
		struct command command = {.type = COMMAND_PACKET_SEND};

		for (unsigned left = PACKETS_MAX - use_of(f, d).packets, i = 0;
			i < left && i < PACKETS_SEND_MAX; i++) {
			const struct fixture_packet p = {.purpose = KEYPACKET_PAGE,
				.number = ++number,
				.sender = d->profile->user_id,
				.rcpt = d->profile->user_id,
				.object = vault_id,
				.epoch = 1,
				.expires_ms = f->node.machine.now_ms + 3600 * 1000};
			_cleanup_(buf_release) struct buf packet = BUF_INIT;

			fixture_packet(&p, &packet);
			members_item_append(&packets, buf_bytes(&packet));
		}
		command.packet_send.packets = buf_bytes(&packets);
		run_as(f, d, &command, &command.packet_send.session);
	}
}

void empty_box(struct fixture *f, struct device *d)
{
	for (unsigned number = 1; use_of(f, d).packets > 0; number++) {
		struct command command = {.type = COMMAND_PACKET_ACK};

		fixture_made_up("packet", number, command.packet_ack.packet_id, 16);
		run_as(f, d, &command, &command.packet_ack.session);
	}
}
