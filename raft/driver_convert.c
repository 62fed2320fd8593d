#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "raft/driver_impl.h"

static_assert(RAFT_VERSION_NUMBER == 2201,
	"libraft 0.22.1 exactly: later versions changed who frees what");
static_assert((int)ENTRY_COMMAND == RAFT_COMMAND && (int)ENTRY_BARRIER == RAFT_BARRIER &&
		      (int)ENTRY_CONFIGURATION == RAFT_CHANGE,
	"entry types");
static_assert((int)MEMBER_STANDBY == RAFT_STANDBY && (int)MEMBER_VOTER == RAFT_VOTER, "roles");

struct raft_configuration convert_to_raft(const struct configuration *configuration)
{
	struct raft_configuration raft;

	raft_configuration_init(&raft);
	for (unsigned i = 0; i < configuration->n; i++) {
		const struct member *member = &configuration->member[i];
		char text[NODE_NAME_BYTES_MAX + MEMBER_ADDRESS_BYTES_MAX + 2];
		int rv;

		(void)snprintf(text, sizeof text, "%s %s", member->site, member->address);
		rv = raft_configuration_add(&raft, member->id, text, (int)member->role);
		assert(rv == 0); /* configuration_add() refused all that could fail here. */
	}
	return raft;
}

void convert_from_raft(
	const struct raft_configuration *raft, struct configuration *ret_configuration)
{
	ret_configuration->n = 0;
	for (unsigned i = 0; i < raft->n; i++) {
		const struct raft_server *server = &raft->servers[i];
		const char *blank = strchr(server->address, ' ');
		char site[NODE_NAME_BYTES_MAX + 1];
		int rc;

		assert(blank != NULL && blank - server->address <= NODE_NAME_BYTES_MAX);
		(void)snprintf(
			site, sizeof site, "%.*s", (int)(blank - server->address), server->address);
		rc = configuration_add(ret_configuration, server->id,
			(enum member_role)server->role, site, blank + 1);
		assert(rc == 0);
	}
}

struct raft_configuration convert_copy(const struct raft_configuration *raft)
{
	struct raft_configuration copy;

	raft_configuration_init(&copy);
	for (unsigned i = 0; i < raft->n; i++) {
		int rv = raft_configuration_add(&copy, raft->servers[i].id,
			raft->servers[i].address, raft->servers[i].role);

		assert(rv == 0);
	}
	return copy;
}

struct raft_snapshot_metadata convert_snapshot(const struct driver_snapshot *snapshot)
{
	return (struct raft_snapshot_metadata){.index = snapshot->index,
		.term = snapshot->term,
		.configuration = convert_to_raft(&snapshot->configuration),
		.configuration_index = snapshot->configuration_index};
}

/* libraft's own bytes of the configuration that entry holds; checked when it was received or read.
 */
static struct raft_buffer convert_configuration_entry(const struct entry *entry)
{
	struct configuration configuration;
	struct raft_configuration raft;
	struct raft_buffer buffer;
	int rc = configuration_decode(entry_bytes(entry), &configuration, NULL);

	assert(rc == 0);
	raft = convert_to_raft(&configuration);
	rc = raft_configuration_encode(&raft, &buffer);
	assert(rc == 0);
	raft_configuration_close(&raft);
	return buffer;
}

static bool convert_any_configuration(struct entry *const *entries, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (entries[i]->type == ENTRY_CONFIGURATION) {
			return true;
		}
	}
	return false;
}

/* Gathers the configurations' bytes in one batch and points their entries into it. */
static void *convert_batch(struct entry *const *entries, unsigned n, struct raft_entry *to)
{
	struct buf all = BUF_INIT;
	void *batch;

	for (unsigned i = 0; i < n; i++) {
		if (entries[i]->type == ENTRY_CONFIGURATION) {
			struct raft_buffer one = convert_configuration_entry(entries[i]);

			to[i].buf.len = one.len;
			buf_append(&all, one.base, one.len); /* A multiple of 8: stays aligned. */
			raft_free(one.base);
		}
	}
	batch = raft_malloc(all.len);
	assert(batch != NULL);
	memcpy(batch, all.data, all.len);
	buf_release(&all);
	return batch;
}

void *convert_entries(struct entry *const *entries, unsigned n, struct raft_entry *to)
{
	uint8_t *batch, *at;

	assert(n > 0);
	for (unsigned i = 0; i < n; i++) {
		to[i] = (struct raft_entry){.term = entries[i]->term,
			.type = (enum raft_entry_type)entries[i]->type,
			.buf = {NULL, 0}};
	}
	if (convert_any_configuration(entries, n)) {
		batch = convert_batch(entries, n, to);
	} else {
		batch = raft_malloc(sizeof(uint64_t));
		assert(batch != NULL);
	}
	at = batch;
	for (unsigned i = 0; i < n; i++) {
		to[i].batch = batch;
		to[i].buf.base = at;
		at += to[i].buf.len;
	}
	return batch;
}
