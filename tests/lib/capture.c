#include "tests/lib/capture.h"

#include <unistd.h>

#include "tests/lib/test.h"

void capture_begin(struct capture *c)
{
	*c = (struct capture){
		.file = tmpfile(), .out = dup(STDOUT_FILENO), .err = dup(STDERR_FILENO)};
	assert_non_null(c->file);
	(void)fflush(stdout);
	assert_true(dup2(fileno(c->file), STDOUT_FILENO) >= 0);
	assert_true(dup2(fileno(c->file), STDERR_FILENO) >= 0);
}

void capture_end(struct capture *c, char *ret_text, size_t max)
{
	(void)fflush(stdout);
	assert_true(dup2(c->out, STDOUT_FILENO) >= 0);
	assert_true(dup2(c->err, STDERR_FILENO) >= 0);
	(void)close(c->out);
	(void)close(c->err);
	rewind(c->file);
	ret_text[fread(ret_text, 1, max - 1, c->file)] = 0;
	(void)fclose(c->file);
}
