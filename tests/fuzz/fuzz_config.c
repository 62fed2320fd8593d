/* A node's settings, as kluisd and as kluisctl read the same file, and the texts in it that have a
 * grammar of their own: addresses and SSH host keys. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/ssh_host_key.h"
#include "base/file.h"
#include "cli/ops/node_config.h"
#include "node/config.h"

static char path[64];

static void file_remove(void)
{
	(void)unlink(path);
}

static void check_config(const struct config *config)
{
	char name[CONFIG_SETTING_BYTES];
	const struct config_site *self = config_self(config);

	assert(config->n_sites > 0 && config->n_sites <= SITES_MAX && self != NULL);
	assert(self->id == config->id && strcmp(self->name, config->site) == 0);
	for (size_t i = 0; i < config->n_sites; i++) {
		const struct config_site *site = &config->sites[i];

		assert(site->id > 0 && site->link.port <= 65535);
		for (size_t k = 0; k < i; k++) {
			assert(config->sites[k].id != site->id);
		}
	}
	assert(!config_difference(config, config, name));
}

static void try_file(struct bytes text)
{
	struct config *config = NULL;
	struct node_config *few = NULL;
	struct err e = {0};
	int rc = file_write(path, text, 0600, &e), few_rc;

	assert(rc == 0);
	rc = config_load(&config, path, &e);
	assert(rc == 0 || e.text[0] != '\0');
	few_rc = node_config_load(path, &few, &e);
	if (rc == 0) {
		check_config(config);
		/* Whatever the daemon runs with, its operator's commands can read. */
		assert(few_rc == 0 && few->node == config->id && few->n_sites == config->n_sites);
	}
	config_free(config);
	node_config_free(few);
}

static void try_texts(const char *text)
{
	struct buf wire = BUF_INIT;
	uint8_t fixed[CONFIG_SSH_KEY_BYTES];
	struct address address, again;
	char written[ADDRESS_TEXT_BYTES_MAX + 1];
	int rc;

	if (address_parse(text, &address, NULL) == 0) {
		address_format(&address, written);
		rc = address_parse(written, &again, NULL);
		assert(rc == 0 && again.port == address.port &&
			strcmp(again.host, address.host) == 0);
	}
	rc = ssh_host_key_parse(text, &wire);
	if (config_ssh_key_parse(text, fixed) == 0) {
		/* Both readers of one setting. */
		assert(rc == 0 && bytes_equal(buf_bytes(&wire), bytes_of(fixed, sizeof fixed)));
	}
	buf_release(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	if (path[0] == '\0') {
		(void)snprintf(path, sizeof path, "%s/kluis-fuzz-config-%d",
			access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
		(void)atexit(file_remove);
	}
	buf_append(&text, data, size);
	try_file(buf_bytes(&text));
	try_texts(buf_str(&text));
	return 0;
}
