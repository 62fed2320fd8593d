#include <malloc.h>
#include <signal.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/log.h"
#include "cli/vault/app.h"
#include "crypto/secret.h"

/* Notes, logins and answers of the cluster are JSON in memory for a while. */
static void clear_and_free(void *memory)
{
	if (memory != NULL) {
		secret_clear(memory, malloc_usable_size(memory));
	}
	free(memory);
}

int main(int argc, char **argv)
{
	secret_forbid_dumps();
	json_set_alloc_funcs(malloc, clear_and_free);
	(void)signal(SIGPIPE, SIG_IGN); /* A lost connection is an error code, not an end. */
	log_init("kluis", LOG_LEVEL_ERR);
	return program_run(&kluis_program, argc, argv);
}
