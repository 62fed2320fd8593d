#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "crypto/identity.h"
#include "raft/chat_check.h"
#include "tests/unit/raft/lib/chat_rig.h"

/* Whatever members, devices, receipts and the clock do in whatever order: seq is dense, and no
 * message goes before every device of the epoch has it, or before its 30 days are over. */
enum { STEPS = 1500, DEVICES = 40, MESSAGES = STEPS + 2 };

struct history {
	struct chat_rig *w;
	struct random_seeded random;
	uint64_t time_ms[MESSAGES]; /* Of each seq. */
	uint64_t last;
	uint32_t index, epoch;
	uint8_t device[DEVICES][16];
	struct fixture_person *owner[DEVICES];
	bool revoked[DEVICES];
	unsigned devices, sent, dropped, epochs;
};

static unsigned pick(struct history *h, unsigned n)
{
	return (unsigned)random_below(&h->random.random, n);
}

static struct fixture_person *anyone(struct history *h)
{
	struct fixture_person *const all[] = {&h->w->base.p, &h->w->base.q, &h->w->r};

	return all[pick(h, ARRAY_SIZE(all))];
}

static void step_send(struct history *h)
{
	const struct fixture_person *by = pick(h, 2) == 0 ? &h->w->base.p : &h->w->base.q;
	bool again = pick(h, 8) == 0; /* An index that was used, by one of them. */
	struct command command;
	int rc;

	h->w->epoch = h->epoch;
	command = chat_message(h->w, by, again ? h->index : ++h->index);
	rc = fixture_machine_do(&h->w->base.m, &command);
	assert_true(rc == 0 || rc == KLUIS_ECONFLICT || rc == KLUIS_EPRECONDITION);
	if (rc == 0) {
		uint64_t seq = fixture_machine_reply(&h->w->base.m).number;

		assert_true(seq == h->last + 1 || (again && seq <= h->last));
		if (seq > h->last) {
			h->last = seq;
			h->time_ms[seq] = h->w->base.m.now_ms;
			h->sent++;
		}
		assert_true(chat_reply_ms(h->w) == h->time_ms[seq]);
	}
}

static void step_receipt(struct history *h)
{
	uint64_t delivered = pick(h, (unsigned)h->last + 2);
	struct command command = chat_receipt(anyone(h), delivered, delivered / 2);
	int rc = fixture_machine_do(&h->w->base.m, &command);

	assert_int_equal(rc, delivered > h->last ? KLUIS_EINVAL
			     : h->epoch == 0	 ? KLUIS_ECONFLICT
						 : 0);
}

/* As a client does it: for the devices that there are. */
static void step_epoch(struct history *h)
{
	struct kv_view *view = kv_view_new(h->w->base.m.kv);
	struct command command = chat_epoch(h->w, &h->w->base.p, h->epoch + 1 + pick(h, 3));
	struct chat_devices devices;

	assert_int_equal(chat_devices_get(view, chat_conv, &devices, NULL), 0);
	kv_view_free(view);
	buf_clear(&h->w->packets);
	for (size_t i = 0; i < devices.n; i++) {
		chat_packet(
			h->w, &h->w->base.p, command.chat_epoch.epoch, devices.device[i].device_id);
	}
	chat_devices_release(&devices);
	command.chat_epoch.packets = buf_bytes(&h->w->packets);
	chat_expect(h->w, &command, 0);
	h->epoch = command.chat_epoch.epoch;
	h->epochs++;
}

static unsigned token_of(const struct history *h, unsigned device)
{
	return h->owner[device] == &h->w->base.p   ? TOKEN_P
	       : h->owner[device] == &h->w->base.q ? TOKEN_Q
						   : TOKEN_R;
}

static void step_device(struct history *h)
{
	unsigned i = pick(h, DEVICES);

	if (h->devices < DEVICES && pick(h, 2) == 0) {
		i = h->devices++;
		h->device[i][0] = 0xd0;
		h->device[i][15] = (uint8_t)i;
		h->owner[i] = anyone(h);
		chat_add_device(h->w, h->owner[i], token_of(h, i), h->device[i]);
	} else if (i < h->devices && !h->revoked[i]) {
		h->revoked[i] = true;
		chat_revoke_device(h->w, h->owner[i], token_of(h, i), h->device[i]);
	}
}

/* Sessions do not last as long as messages. */
static void step_time(struct history *h)
{
	const struct fixture_person *const all[] = {&h->w->base.p, &h->w->base.q, &h->w->r};

	chat_expire(h->w, pick(h, 10) == 0 ? CHAT_KEPT_MS / 2 : pick(h, 20000));
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		struct command login = fixture_login(all[i], TOKEN_P + i, true);

		chat_expect(h->w, &login, 0);
	}
}

static void step(struct history *h)
{
	unsigned what = pick(h, 100);

	if (what < 55) {
		step_send(h);
	} else if (what < 80) {
		step_receipt(h);
	} else if (what < 88 || h->epoch == 0) {
		step_epoch(h);
	} else if (what < 91) {
		step_device(h);
	} else {
		step_time(h);
	}
}

/* What went since: all devices had it, or it was old. */
static void check_dropped(struct history *h, uint64_t first_before)
{
	struct chat_row chat = chat_state(h->w);
	struct kv_view *view = kv_view_new(h->w->base.m.kv);
	struct chat_device_row rows[DEVICES + 3];
	uint64_t had = UINT64_MAX;
	size_t n = 0;

	assert_int_equal(
		chat_device_store_list(view, chat_conv, NULL, rows, ARRAY_SIZE(rows), &n, NULL), 0);
	kv_view_free(view);
	for (size_t i = 0; i < n; i++) {
		had = rows[i].delivered < had ? rows[i].delivered : had;
	}
	assert_true(chat.last == h->last);
	for (uint64_t seq = first_before; seq < chat.first; seq++) {
		assert_true(seq <= had || h->time_ms[seq] + CHAT_KEPT_MS <= h->w->base.m.now_ms);
		h->dropped++;
	}
}

static void test_nothing_is_lost(void **state)
{
	struct history *h = x_calloc(1, sizeof *h);

	h->w = *state;
	random_seeded_init(&h->random, 11);
	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t first = chat_state(h->w).first;

		step(h);
		check_dropped(h, first);
	}
	/* It was about something. */
	assert_true(h->sent > 300 && h->dropped > 100 && h->epochs > 50 && h->devices > 10);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_nothing_is_lost, chat_rig_setup, chat_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
