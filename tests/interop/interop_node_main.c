/* A node's API over a state machine in memory, for clients of other people: prints its address,
 * its CA's file and its admin socket, serves until its input ends. INTEROP_LOGIN_RATE: logins a
 * second that one address may begin. INTEROP_NOW: its time begins with the machine's. INTEROP_TURN:
 * it gives credentials for a TURN server. INTEROP_PUSH_CA: it notifies, by push services on this
 * machine that this CA vouches for. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "node/push_service.h"
#include "tests/lib/api/node.h"

static char rp_id[] = "vault.example.org";

static struct push_service *push_of(const struct api_node *node, const char *ca_path)
{
	const struct push_config config = {.contact = "mailto:ops@example.org",
		.web_hosts = "127.0.0.1",
		.private_addresses = true,
		.ca_path = ca_path,
		.secrets = &node->secrets};
	struct push_service *service = NULL;
	struct err e = {0};

	if (push_service_new(&config, &service, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return service;
}

static void test_serve(void **state)
{
	const char *rate = getenv("INTEROP_LOGIN_RATE");
	const char *push_ca = getenv("INTEROP_PUSH_CA");
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
	if (getenv("INTEROP_TURN") != NULL) {
		node.config.turn_uris = "turn:turn.example.org";
		node.config.turn_secret = bytes_str("north of the border");
		node.config.turn_ttl_ms = 600 * 1000;
	}
	if (push_ca != NULL) {
		node.config.push = push_of(&node, push_ca);
	}
	api_node_run(&node);
	(void)printf(
		"https://127.0.0.1:%u %s %s\n", api_port(node.api), node.ca_path, node.admin_path);
	(void)fflush(stdout);
	while (getchar() != EOF) {
	}
	api_node_stop(&node);
	push_service_free(node.config.push);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(test_serve)};

	/* cmocka reports on the standard output, too: after the line that the script reads. */
	cmocka_set_message_output(CM_OUTPUT_XML);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
