/* The members of the cluster as an entry of the log holds them: what is taken encodes to the bytes
 * it was read from, in order and within the limits. */
#include <assert.h>
#include <string.h>

#include "raft/configuration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes bytes = bytes_of(data, size);
	struct configuration configuration;
	struct buf again = BUF_INIT;
	unsigned voters = 0;

	if (configuration_decode(bytes, &configuration, NULL) != 0) {
		return 0;
	}
	assert(configuration.n <= SITES_MAX);
	for (unsigned i = 0; i < configuration.n; i++) {
		const struct member *member = &configuration.member[i];

		assert(member->id > (i == 0 ? 0 : member[-1].id));
		assert(memchr(member->site, '\0', sizeof member->site) != NULL);
		assert(memchr(member->address, '\0', sizeof member->address) != NULL);
		assert(configuration_member(&configuration, member->id) == member);
		voters += member->role == MEMBER_VOTER;
	}
	assert(configuration_voters(&configuration) == voters);
	configuration_encode(&configuration, &again);
	assert(bytes_equal(buf_bytes(&again), bytes));
	buf_release(&again);
	return 0;
}
