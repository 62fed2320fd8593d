/* The frame of a statement, of either chain. */
#include <assert.h>

#include "crypto/statement.h"

static void fuzz_chain(enum statement_chain chain, struct bytes input)
{
	struct statement s;

	if (statement_parse(chain, input, &s, NULL) == 0) {
		assert(s.seq > 0 && input.len <= STATEMENT_BYTES_MAX);
		assert(s.body.len == 0 ||
			(s.body.data > input.data &&
				s.body.data + s.body.len <= input.data + input.len));
		assert(s.signature.data + s.signature.len == input.data + input.len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_chain(CHAIN_IDENTITY, bytes_of(data, size));
	fuzz_chain(CHAIN_MEMBERS, bytes_of(data, size));
	return 0;
}
