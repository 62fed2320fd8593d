#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "tests/unit/node/lib/share_rig.h"

/* Made once: their RSA keys take longest. Each test begins with what they were then. */
static struct person people[PEOPLE];

int share_rig_people(void **state)
{
	static const char *const names[PEOPLE] = {"owner", "bob", "carol"};

	(void)state;
	for (unsigned i = 0; i < PEOPLE; i++) {
		person_init(&people[i], names[i]);
	}
	return 0;
}

int share_rig_people_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PEOPLE; i++) {
		person_release(&people[i]);
	}
	return 0;
}

int share_rig_setup(void **state)
{
	struct share_rig *f = x_calloc(1, sizeof *f);

	api_node_start(&f->node);
	for (unsigned i = 0; i < PEOPLE; i++) {
		f->person[i] = people[i];
		api_node_connect(&f->node, "http/1.1", &f->http[i]);
		api_node_join(&f->node, &f->person[i], &f->http[i]);
	}
	api_node_vault(&f->node, &f->person[OWNER], &f->http[OWNER]);
	memcpy(f->vault.id, f->person[OWNER].vault_id, 16);
	memcpy(f->vault.hash, f->person[OWNER].members_hash, 32);
	f->vault.seq = f->vault.epoch = 1;
	*state = f;
	return 0;
}

int share_rig_teardown(void **state)
{
	struct share_rig *f = *state;

	for (unsigned i = 0; i < PEOPLE; i++) {
		http_client_release(&f->http[i]);
	}
	buf_release(&f->statements);
	buf_release(&f->packet_texts);
	buf_release(&f->more);
	api_node_stop(&f->node);
	free(f);
	return 0;
}

/* --- what clients make --- */

void share_rig_text(struct buf *list, struct bytes item)
{
	buf_printf(list, "%s\"", list->len == 0 ? "" : ",");
	base64_append(list, item);
	buf_printf(list, "\"");
}

/* The next statement of a chain, into the request; the chain moves with it. */
void share_rig_state(struct share_rig *f, struct share_chain *c, unsigned type, struct bytes body,
	const struct key *device)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct statement s = {.chain = CHAIN_MEMBERS,
		.type = (uint8_t)type,
		.seq = c->seq + 1,
		.unix_ms = 2000,
		.body = body};
	struct err e = {0};

	memcpy(s.object_id, c->id, 16);
	memcpy(s.prev_hash, c->hash, 32);
	assert_int_equal(statement_sign(&s, device, &encoded, &e), 0);
	assert_int_equal(statement_parse(CHAIN_MEMBERS, buf_bytes(&encoded), &s, &e), 0);
	c->seq = s.seq;
	memcpy(c->hash, s.hash, 32);
	share_rig_text(&f->statements, buf_bytes(&encoded));
}

void share_rig_add(struct share_rig *f, struct share_chain *c, const uint8_t id[16], unsigned kind,
	unsigned role)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_append(&body, id, 16);
	buf_put_u8(&body, kind);
	buf_put_u16(&body, role);
	share_rig_state(f, c, MEMBER_ADD, buf_bytes(&body), f->person[OWNER].device);
}

void share_rig_remove(struct share_rig *f, struct share_chain *c, const uint8_t id[16])
{
	share_rig_state(f, c, MEMBER_REMOVE, bytes_of(id, 16), f->person[OWNER].device);
}

void share_rig_rotate(struct share_rig *f, struct share_chain *c, const struct key *group_key)
{
	static const uint8_t none[16];
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_put_u32(&body, ++c->epoch);
	buf_append(&body, group_key == NULL ? none : key_pub_kid(key_public(group_key)), 16);
	share_rig_state(f, c, MEMBER_ROTATE, buf_bytes(&body), f->person[OWNER].device);
}

/* A create statement, apart: it has a member of its own. */
void share_rig_create(
	struct share_rig *f, struct share_chain *c, unsigned kind, const struct key *group_key)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct statement s;
	struct err e = {0};

	random_fill(&random_system, c->id, 16);
	assert_int_equal(members_create(c->id, kind, f->person[OWNER].user_id,
				 group_key == NULL ? NULL : key_pub_kid(key_public(group_key)),
				 f->person[OWNER].device, 2000, &encoded, &e),
		0);
	assert_int_equal(statement_parse(CHAIN_MEMBERS, buf_bytes(&encoded), &s, &e), 0);
	c->seq = c->epoch = 1;
	memcpy(c->hash, s.hash, 32);
	buf_printf(&f->more, ",\"create\":\"");
	base64_append(&f->more, buf_bytes(&encoded));
	buf_printf(&f->more, "\"");
}

void share_rig_group_key(struct buf *to, const struct key *key)
{
	buf_printf(to, ",\"group_key\":\"");
	base64_append(to, key_pub_bytes(key_public(key)));
	buf_printf(to, "\"");
}

/* A packet, into the request; its id is its number. */
void share_rig_pack(struct share_rig *f, const struct share_packet *spec)
{
	const struct person *sender = spec->sender == NULL ? &f->person[OWNER] : spec->sender;
	struct keypacket p = {.aead = AEAD_AES_256_GCM,
		.purpose = (uint8_t)spec->purpose,
		.epoch = spec->object->epoch,
		.unix_ms = 2000,
		.expires_ms =
			spec->expires_ms == 0 ? f->node.machine.now_ms + DAY_MS : spec->expires_ms};
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	static const uint8_t secret[32] = {7};
	struct err e = {0};

	store_u32(p.packet_id, ++f->packets);
	memcpy(p.sender_user, sender->user_id, 16);
	memcpy(p.rcpt_id, spec->rcpt, 16);
	memcpy(p.object_id, spec->object->id, 16);
	assert_int_equal(keypacket_seal(&p, spec->key, bytes_of(secret, sizeof secret),
				 sender->signing, &random_system, &encoded, &e),
		0);
	share_rig_text(&f->packet_texts, buf_bytes(&encoded));
}

void share_rig_pack_for(struct share_rig *f, unsigned purpose, const struct share_chain *object,
	const struct person *p)
{
	struct share_packet spec = {.purpose = purpose,
		.object = object,
		.rcpt = p->user_id,
		.key = key_public(p->transfer)};

	share_rig_pack(f, &spec);
}

/* What was made becomes a section of "also". */
void share_rig_also(struct share_rig *f, const struct share_chain *c)
{
	buf_printf(&f->more, ",\"also\":[{\"object\":\"");
	hex_append(&f->more, bytes_of(c->id, 16));
	buf_printf(&f->more, "\",\"statements\":[%s],\"packets\":[%s]}]", buf_str(&f->statements),
		buf_str(&f->packet_texts));
	buf_clear(&f->statements);
	buf_clear(&f->packet_texts);
}

const char *share_rig_path(char to[96], const char *kind, const uint8_t id[16], const char *rest)
{
	char hex[33];

	hex_encode(bytes_of(id, 16), hex);
	(void)snprintf(to, 96, "/v1/%s/%s%s", kind, hex, rest);
	return to;
}

/* Sends the request that was made, and begins another one. */
struct answer share_rig_send(struct share_rig *f, unsigned who, const char *target)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	char field[64];
	struct answer answer;

	buf_printf(&body, "{\"packets\":[%s]%s", buf_str(&f->packet_texts), buf_str(&f->more));
	if (f->statements.len > 0) {
		buf_printf(&body, ",\"statements\":[%s]", buf_str(&f->statements));
	}
	buf_printf(&body, "}");
	(void)snprintf(field, sizeof field, "Idempotency-Key: k%u\r\n", ++f->keys);
	for (unsigned i = 0; i < 2; i++) { /* The same again is answered as the first. */
		if (i == 1) {
			int first = answer.status;

			answer_release(&answer);
			answer = http_client_json(
				&f->http[who], "POST", target, field, buf_str(&body));
			assert_int_equal(answer.status, first);
		} else {
			answer = http_client_json(
				&f->http[who], "POST", target, field, buf_str(&body));
		}
	}
	buf_clear(&f->statements);
	buf_clear(&f->packet_texts);
	buf_clear(&f->more);
	return answer;
}

struct answer share_rig_change(
	struct share_rig *f, unsigned who, const char *kind, const struct share_chain *c)
{
	char target[96];

	return share_rig_send(f, who, share_rig_path(target, kind, c->id, "/members"));
}

void share_rig_expect(struct answer answer, int status)
{
	if (answer.status != status) {
		fail_msg("%d, wanted %d: %s", answer.status, status, buf_str(&answer.body));
	}
	answer_release(&answer);
}

/* Refused with that status, and words that say what about. */
void share_rig_refused(struct answer answer, int status, const char *words)
{
	if (answer.status != status || strstr(answer_text(&answer, "detail"), words) == NULL) {
		fail_msg("%d, wanted %d '%s': %s", answer.status, status, words,
			buf_str(&answer.body));
	}
	answer_release(&answer);
}

struct answer share_rig_ask(struct share_rig *f, unsigned who, const char *verb, const char *kind,
	const uint8_t id[16], const char *rest)
{
	char target[96];

	return http_client_call(
		&f->http[who], verb, share_rig_path(target, kind, id, rest), "", bytes_of(NULL, 0));
}

struct answer share_rig_list(struct share_rig *f, unsigned who, const char *target)
{
	struct answer answer =
		http_client_call(&f->http[who], "GET", target, "", bytes_of(NULL, 0));

	assert_int_equal(answer.status, 200);
	return answer;
}

json_t *share_rig_item(struct answer *answer, size_t i)
{
	return json_array_get(json_object_get(answer->json, "items"), i);
}

size_t share_rig_count(struct share_rig *f, unsigned who, const char *target)
{
	struct answer answer = share_rig_list(f, who, target);
	size_t n = json_array_size(json_object_get(answer.json, "items"));

	answer_release(&answer);
	return n;
}

const char *share_rig_member(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* What this one sees of herself in a list of her vaults or conversations. */
void share_rig_listed(
	struct share_rig *f, unsigned who, const char *target, const char *state, const char *role)
{
	struct answer answer = share_rig_list(f, who, target);

	assert_string_equal(share_rig_member(share_rig_item(&answer, 0), "state"), state);
	assert_string_equal(share_rig_member(share_rig_item(&answer, 0), "role"), role);
	answer_release(&answer);
}
