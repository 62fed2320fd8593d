/* A password as it is typed: what is taken is text that is prepared already, and the questions to
 * the filter are parts of it. */
#include <assert.h>

#include "base/text.h"
#include "crypto/bloom.h"
#include "crypto/password.h"

static void ask(struct bytes prepared)
{
	struct secret questions[BLOOM_QUESTIONS] = {SECRET_INIT, SECRET_INIT, SECRET_INIT};

	bloom_questions(prepared, questions);
	assert(questions[1].len == questions[2].len && questions[1].len <= prepared.len);
	for (size_t i = 0; i < BLOOM_QUESTIONS; i++) {
		assert(utf8_valid(secret_bytes(&questions[i])));
		secret_release(&questions[i]);
	}
	assert((password_check(prepared, NULL) == 0) == !bloom_refuses(bloom_common(), prepared));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT, again = SECRET_INIT;

	if (password_prepare(bytes_of(data, size), &prepared, NULL) == 0) {
		int rc = password_prepare(secret_bytes(&prepared), &again, NULL);

		assert(rc == 0);
		assert(secret_equal(secret_bytes(&prepared), secret_bytes(&again)));
		assert(prepared.len >= PASSWORD_BYTES_MIN && prepared.len <= PASSWORD_BYTES_MAX);
		ask(secret_bytes(&prepared));
	}
	return 0;
}
