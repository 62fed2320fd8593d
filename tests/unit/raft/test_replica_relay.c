/* Three replicas: what one passes on comes to the others, once, and to nobody when they are not in
 * touch; and each tells what it applies. */
#include "tests/lib/test.h"

#include <pthread.h>
#include <string.h>

#include "storage/event.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { NODES = 3, TIMEOUT_MS = 60000 };

struct heard {
	struct replica_watch watch;
	pthread_mutex_t lock;
	unsigned relayed, batches;
	uint64_t index;
	struct buf last;
	struct event_list events;
};

static void watch_cb(
	struct replica_watch *watch, const struct event *events, size_t n, uint64_t index, bool all)
{
	struct heard *heard = CONTAINER_OF(watch, struct heard, watch);

	(void)pthread_mutex_lock(&heard->lock);
	assert_false(all);
	assert_true(index > heard->index);
	heard->index = index;
	heard->batches++;
	for (size_t i = 0; i < n; i++) {
		assert_true(events[i].index <= index);
		event_list_add(&heard->events, &events[i]);
	}
	(void)pthread_mutex_unlock(&heard->lock);
}

static void relayed_cb(struct replica_watch *watch, struct bytes message)
{
	struct heard *heard = CONTAINER_OF(watch, struct heard, watch);

	(void)pthread_mutex_lock(&heard->lock);
	heard->relayed++;
	buf_clear(&heard->last);
	buf_append_bytes(&heard->last, message);
	(void)pthread_mutex_unlock(&heard->lock);
}

static unsigned relayed(struct heard *heard)
{
	unsigned n;

	(void)pthread_mutex_lock(&heard->lock);
	n = heard->relayed;
	(void)pthread_mutex_unlock(&heard->lock);
	return n;
}

static void relay(struct replica_rig *rig, unsigned node, size_t bytes)
{
	struct buf message = BUF_INIT;

	memset(buf_extend(&message, bytes), (int)('a' + node), bytes);
	replica_relay(rig->node[node], &message);
	assert_int_equal(message.len, 0);
}

static void propose(struct replica_rig *rig, struct buf *command)
{
	assert_int_equal(replica_rig_propose(rig, 0, command, TIMEOUT_MS, NULL), 0);
}

static void test_relay_and_watch(void **state)
{
	struct heard heard[NODES] = {0};
	struct replica_rig rig;
	struct fixture_client c;
	struct buf command = BUF_INIT;

	(void)state;
	replica_rig_init(&rig, NODES, NODES);
	replica_rig_start_all(&rig);
	(void)replica_rig_leader(&rig);
	for (unsigned i = 0; i < NODES; i++) {
		(void)pthread_mutex_init(&heard[i].lock, NULL);
		heard[i].watch = (struct replica_watch){.cb = watch_cb, .relayed_cb = relayed_cb};
		replica_watch_set(rig.node[i], &heard[i].watch);
	}
	relay(&rig, 0, LINK_RELAY_MESSAGE_BYTES_MAX);
	relay(&rig, 1, 1);
	while (relayed(&heard[0]) < 1 || relayed(&heard[1]) < 1 || relayed(&heard[2]) < 2) {
		replica_rig_run(&rig, 10);
	}
	fixture_client_init(&c, 1);
	fixture_cluster_init(&command, NODES);
	propose(&rig, &command);
	replica_rig_wait_clock(&rig, 0);
	fixture_service_create(&c, &command);
	propose(&rig, &command);
	fixture_service_enrol(&c, &command);
	propose(&rig, &command);
	replica_rig_converge(&rig);
	for (unsigned i = 0; i < NODES; i++) {
		replica_watch_set(rig.node[i], NULL);
	}
	/* Nobody listens any more. */
	relay(&rig, 0, 10);
	replica_rig_run(&rig, 100);
	for (unsigned i = 0; i < NODES; i++) {
		assert_int_equal(relayed(&heard[i]), i == 2 ? 2 : 1);
		assert_true(heard[i].batches > 0 && heard[i].events.n > 0);
		assert_int_equal(heard[i].events.n, heard[0].events.n);
		for (size_t k = 0; k < heard[i].events.n; k++) {
			assert_int_equal(
				heard[i].events.event[k].index, heard[0].events.event[k].index);
			assert_memory_equal(heard[i].events.event[k].object,
				heard[0].events.event[k].object, 16);
		}
	}
	assert_int_equal(heard[1].last.len, LINK_RELAY_MESSAGE_BYTES_MAX);
	assert_int_equal(heard[1].last.data[0], 'a');
	assert_int_equal(heard[0].last.data[0], 'b');
	replica_rig_release(&rig);
	for (unsigned i = 0; i < NODES; i++) {
		buf_release(&heard[i].last);
		event_list_release(&heard[i].events);
		(void)pthread_mutex_destroy(&heard[i].lock);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_relay_and_watch)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
