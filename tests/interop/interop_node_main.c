/* A node's API over a state machine in memory, for clients of other people: prints its address,
 * its CA's file and its admin socket, serves until its input ends. INTEROP_LOGIN_RATE: logins a
 * second that one address may begin. INTEROP_NOW: its time begins with the machine's. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/lib/api/node.h"

static char rp_id[] = "vault.example.org";

static void test_serve(void **state)
{
	const char *rate = getenv("INTEROP_LOGIN_RATE");
	struct fido_site site = {.rp_id = rp_id};
	struct api_node node;

	(void)state;
	api_node_prepare(&node);
	node.config.registration = REGISTRATION_OPEN;
	fido_set_native_origin(&site, node.config.cluster_id); /* No page's origin is taken. */
	node.config.fido = &site;
	/* A time that a script knows: it moves a millisecond a command. The first of a TOTP step.
	 */
	node.machine.now_ms =
		getenv("INTEROP_NOW") == NULL ? 1700000010000 : clock_wall_ms(&clock_system);
	if (rate != NULL) {
		node.config.login_rate = (unsigned)strtoul(rate, NULL, 10);
	}
	api_node_run(&node);
	(void)printf(
		"https://127.0.0.1:%u %s %s\n", api_port(node.api), node.ca_path, node.admin_path);
	(void)fflush(stdout);
	while (getchar() != EOF) {
	}
	api_node_stop(&node);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(test_serve)};

	/* cmocka reports on the standard output, too: after the line that the script reads. */
	cmocka_set_message_output(CM_OUTPUT_XML);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
