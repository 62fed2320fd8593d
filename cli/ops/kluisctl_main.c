#include <signal.h>

#include "base/log.h"
#include "cli/ops/ops.h"
#include "crypto/secret.h"

int main(int argc, char **argv)
{
	secret_forbid_dumps();
	(void)signal(SIGPIPE, SIG_IGN); /* A lost connection is an error code, not an end. */
	log_init("kluisctl", LOG_LEVEL_ERR);
	return program_run(&ops_program, argc, argv);
}
