#include "tests/lib/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/secret.h"

static bool all_zero(const uint8_t *data, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++) {
		any |= data[i];
	}
	return any == 0;
}

/* The kernel's flags of the mapping that holds this address: "lo" locked, "dd" not dumped. */
static void mapping_flags(const void *address, char *ret_flags, size_t len)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	uintptr_t at = (uintptr_t)address, low = 0, high = 0;
	char line[512];

	assert_non_null(maps);
	ret_flags[0] = '\0';
	while (fgets(line, sizeof line, maps) != NULL) {
		uintptr_t a, b;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &a, &b) == 2) {
			low = a;
			high = b;
		}
		if (strncmp(line, "VmFlags:", 8) == 0 && low <= at && at < high) {
			(void)snprintf(ret_flags, len, "%s", line + 8);
		}
	}
	(void)fclose(maps);
}

static void expect_guarded(const struct secret *s)
{
	char flags[512];

	mapping_flags(s->data, flags, sizeof flags);
	assert_non_null(strstr(flags, " dd"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* They swallow mlock(2). */
	/* Where the limit does not allow the lock, secret_locked() says so. */
	assert_int_equal(strstr(flags, " lo") != NULL, secret_locked());
#endif
}

static void test_guarded_memory(void **state)
{
	static const size_t sizes[] = {1, 32, 128, 129, 5000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct secret s = SECRET_INIT;

		secret_init(&s, sizes[i]);
		assert_int_equal(s.len, sizes[i]);
		assert_true(all_zero(s.data, s.len));
		memset(s.data, 0xa5, s.len);
		expect_guarded(&s);
		secret_release(&s);
		assert_null(s.data);
		assert_int_equal(s.len, 0);
	}
}

static void test_cleared_when_freed(void **state)
{
	struct secret s = SECRET_INIT, again = SECRET_INIT;
	const uint8_t *was;

	(void)state;
	secret_set(&s, bytes_str("a key that must not stay in memory"));
	was = s.data;
	secret_release(&s);
	/* The slab stays mapped; only its link to the next free slot is written there. */
	assert_true(all_zero(was + sizeof(void *), 64 - sizeof(void *)));
	secret_init(&again, 40);
	assert_ptr_equal(again.data, was);
	assert_true(all_zero(again.data, 40));
	secret_release(&again);
}

static void test_set_and_move(void **state)
{
	struct secret a = SECRET_INIT, b = SECRET_INIT;

	(void)state;
	secret_set(&a, bytes_str("one"));
	secret_set(&b, bytes_str("two"));
	secret_set(&a, secret_bytes(&a)); /* From itself. */
	secret_move(&b, &a);
	assert_null(a.data);
	assert_true(bytes_equal(secret_bytes(&b), bytes_str("one")));
	secret_random(&a, 32, &random_system);
	assert_false(all_zero(a.data, 32));
	secret_set(&a, bytes_of(NULL, 0));
	assert_int_equal(a.len, 0);
	secret_release(&a);
	secret_release(&b);
	secret_release(&b);
}

static void test_equal(void **state)
{
	(void)state;
	assert_true(secret_equal(bytes_str("same"), bytes_str("same")));
	assert_true(secret_equal(bytes_of(NULL, 0), bytes_str("")));
	assert_false(secret_equal(bytes_str("same"), bytes_str("sama")));
	assert_false(secret_equal(bytes_str("same"), bytes_str("samesame")));
	assert_false(secret_equal(bytes_str("same"), bytes_of(NULL, 0)));
}

static void test_many(void **state)
{
	enum { MANY = 2000 };
	struct secret *all = x_calloc(MANY, sizeof *all);

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		secret_set(&all[i], bytes_of(&i, sizeof i));
	}
	for (uint32_t i = 0; i < MANY; i++) {
		assert_true(bytes_equal(secret_bytes(&all[i]), bytes_of(&i, sizeof i)));
		secret_release(&all[i]);
	}
	free(all);
}

static void test_buf_release_clears(void **state)
{
	struct buf b = BUF_INIT;
	uint8_t *was;

	(void)state;
	buf_append(&b, "plaintext", 9);
	was = b.data;
	b.len = 0; /* What lies behind the length is cleared, too. */
	secret_clear(was, b.cap);
	assert_true(all_zero(was, b.cap));
	secret_buf_release(&b);
	assert_null(b.data);
}

/* In a child: it cannot be taken back. */
static void test_forbid_dumps(void **state)
{
	struct rlimit limit;
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		secret_forbid_dumps();
		_exit(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 ||
			getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur != 0 ||
			limit.rlim_max != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guarded_memory),
		cmocka_unit_test(test_cleared_when_freed),
		cmocka_unit_test(test_set_and_move),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_buf_release_clears),
		cmocka_unit_test(test_forbid_dumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
