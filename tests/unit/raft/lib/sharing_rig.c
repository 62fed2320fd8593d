#include "tests/unit/raft/lib/sharing_rig.h"

#include <string.h>

#include "storage/object_store.h"
#include "storage/packet_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/person.h"
#include "tests/lib/test.h"

int sharing_setup(void **state)
{
	struct sharing_rig *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->alice);
	fixture_machine_join(&w->m, &w->bob, 2);
	fixture_machine_join(&w->m, &w->carol, 3);
	fixture_machine_level(&w->m);
	fixture_object_vault(&w->vault, &w->alice);
	fixture_object_init(&w->group, MEMBER_OBJECT_GROUP, 1);
	*state = w;
	return 0;
}

int sharing_teardown(void **state)
{
	struct sharing_rig *w = *state;
	struct err e = {0};

	if (fixture_check_store(w->m.kv, &e) != 0) {
		fail_msg("%s", e.text);
	}
	fixture_section_release(&w->s);
	fixture_section_release(&w->t);
	buf_release(&w->space);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

/* A refusal changes nothing. */
void sharing_expect(struct sharing_rig *w, const struct command *command, int rc)
{
	uint8_t before[32];

	memcpy(before, fsm_position(w->m.fsm)->state_hash, 32);
	assert_int_equal(fixture_machine_do(&w->m, command), rc);
	if (rc != 0) {
		assert_memory_equal(before, fsm_position(w->m.fsm)->state_hash, 32);
	}
}

/* The sections of this client end as rc; each begins anew from where the object stands then. */
void sharing_change(struct sharing_rig *w, const struct fixture_client *c, int rc)
{
	struct fixture_section *const sections[] = {&w->s, &w->t};
	struct command command =
		fixture_change(c, sections, w->t.object == NULL ? 1 : 2, &w->space);

	sharing_expect(w, &command, rc);
	fixture_section_release(&w->s);
	fixture_section_release(&w->t);
	w->s = w->t = (struct fixture_section){.object = NULL};
}

void sharing_answer(struct sharing_rig *w, const struct fixture_client *c, const uint8_t *id,
	bool accept, int rc)
{
	struct command command = fixture_answer(c, id, accept);

	sharing_expect(w, &command, rc);
}

/* Alice adds a user to her vault, with its key. */
void sharing_add(
	struct sharing_rig *w, const struct fixture_client *who, unsigned role, bool accept)
{
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, who->user_id, MEMBER_USER, role);
	fixture_give(&w->s, w->alice.user_id, who->user_id, NULL, w->vault.epoch);
	sharing_change(w, &w->alice, 0);
	if (accept) {
		sharing_answer(w, who, w->vault.id, true, 0);
	}
}

/* A commit of one page to alice's vault by c, who knows it as it stands. */
int sharing_commit(struct sharing_rig *w, const struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct fixture_client writer = w->alice;
	int rc;

	memcpy(writer.user_id, c->user_id, 16);
	memcpy(writer.device_id, c->device_id, 16);
	memcpy(writer.token_hash, c->token_hash, 32);
	fixture_entry(&writer, 0, writer.revision[0] + 1, 12, 1, false, &entries);
	fixture_commit(&writer, buf_bytes(&entries), 1, false, &command);
	rc = fixture_machine_run(&w->m, buf_bytes(&command));
	if (rc == 0) {
		fixture_committed(&writer, buf_bytes(&entries));
		w->alice.seq = writer.seq;
		w->alice.page_count = writer.page_count;
		w->alice.revision[0] = writer.revision[0];
		memcpy(w->alice.head_hash, writer.head_hash, 32);
	}
	return rc;
}

/* Alice learns how her vault's chain stands. */
void sharing_learn(struct sharing_rig *w)
{
	w->alice.members_rev = (uint32_t)w->vault.seq;
	w->alice.key_epoch = w->vault.epoch;
	memcpy(w->alice.members_hash, w->vault.hash, 32);
}

unsigned sharing_packets(struct sharing_rig *w, const uint8_t rcpt[16])
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct packet_iter *iter = packet_iter_new(view, rcpt, NULL);
	struct packet_row row;
	unsigned n = 0;

	while (packet_iter_next(iter, &row)) {
		n++;
	}
	assert_int_equal(packet_iter_status(iter, NULL), 0);
	packet_iter_free(iter);
	kv_view_free(view);
	return n;
}

unsigned sharing_role(struct sharing_rig *w, const struct fixture_client *c)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct vault_access access = {.role = 0};
	int rc = vault_access_get(view, w->vault.id, c->user_id, &access, NULL);

	assert_true(rc == 0 || rc == KLUIS_ENOTFOUND);
	kv_view_free(view);
	return access.role;
}

/* Alice's group with bob in it, who accepts; a member of her vault. */
void sharing_group(struct sharing_rig *w, bool accept)
{
	fixture_section_begin(&w->s, &w->group);
	fixture_create(&w->s, w->alice.user_id);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	w->s.section.label = bytes_str("sealed");
	sharing_change(w, &w->alice, 0);
	if (accept) {
		sharing_answer(w, &w->bob, w->group.id, true, 0);
	}
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->group.id, MEMBER_GROUP, MEMBER_WRITE);
	fixture_give(&w->s, w->alice.user_id, w->group.id, &w->group, 1);
	sharing_change(w, &w->alice, 0);
}
