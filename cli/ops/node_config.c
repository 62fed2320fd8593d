#include "cli/ops/node_config.h"

#include <ini.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

enum { NODE_CONFIG_BYTES_MAX = 256 * 1024 };

void node_config_free(struct node_config *config)
{
	if (config == NULL) {
		return;
	}
	for (size_t i = 0; i < config->n_sites; i++) {
		free(config->sites[i].ssh);
		free(config->sites[i].ssh_user);
		free(config->sites[i].ssh_host_key);
		free(config->sites[i].ssh_path);
	}
	free(config->dir);
	free(config->data_dir);
	free(config->repository);
	free(config->ssh_key);
	free(config->restore_key);
	free(config->secrets);
	free(config);
}

void node_config_freep(struct node_config **config)
{
	node_config_free(*config);
}

static void config_set(char **to, const char *value)
{
	free(*to);
	*to = x_strdup(value);
}

static void config_set_path(const struct node_config *config, char **to, const char *value)
{
	free(*to);
	*to = value[0] == '/' ? x_strdup(value) : x_asprintf("%s%s", config->dir, value);
}

static struct node_config_site *config_site(struct node_config *config, const char *name)
{
	for (size_t i = 0; i < config->n_sites; i++) {
		if (strcmp(config->sites[i].name, name) == 0) {
			return &config->sites[i];
		}
	}
	if (config->n_sites == SITES_MAX || strlen(name) > NODE_NAME_BYTES_MAX) {
		return NULL;
	}
	memcpy(config->sites[config->n_sites].name, name, strlen(name) + 1);
	return &config->sites[config->n_sites++];
}

/* inih's convention: 1 for a good line. */
static int config_site_line(
	struct node_config *config, const char *site_name, const char *key, const char *value)
{
	struct node_config_site *site = config_site(config, site_name);

	if (site == NULL) {
		return 0;
	}
	if (strcmp(key, "id") == 0) {
		return u64_parse(bytes_str(value), UINT32_MAX, &site->id) == 0;
	}
	if (strcmp(key, "backup_key") == 0) {
		site->has_backup_key = hex_decode(value, site->backup_key, 32) == 0;
		return site->has_backup_key;
	}
	if (strcmp(key, "ssh") == 0) {
		config_set(&site->ssh, value);
	} else if (strcmp(key, "ssh_user") == 0) {
		config_set(&site->ssh_user, value);
	} else if (strcmp(key, "ssh_host_key") == 0) {
		config_set(&site->ssh_host_key, value);
	} else if (strcmp(key, "ssh_path") == 0) {
		config_set(&site->ssh_path, value);
	}
	return 1;
}

static int config_line(void *user, const char *section, const char *key, const char *value)
{
	struct node_config *config = user;

	if (strncmp(section, "site ", 5) == 0) {
		return config_site_line(config, section + 5, key, value);
	}
	if (strcmp(section, "node") == 0 && strcmp(key, "data") == 0) {
		config_set_path(config, &config->data_dir, value);
	} else if (strcmp(section, "node") == 0 && strcmp(key, "secrets") == 0) {
		config_set_path(config, &config->secrets, value);
	} else if (strcmp(section, "node") == 0 && strcmp(key, "id") == 0) {
		return u64_parse(bytes_str(value), UINT32_MAX, &config->node) == 0;
	} else if (strcmp(section, "cluster") == 0 && strcmp(key, "id") == 0) {
		config->has_cluster_id = hex_decode(value, config->cluster_id, ID_BYTES) == 0;
		return config->has_cluster_id;
	} else if (strcmp(section, "cluster") == 0 && strcmp(key, "restore_key") == 0) {
		config_set_path(config, &config->restore_key, value);
	} else if (strcmp(section, "backup") == 0 && strcmp(key, "repository") == 0) {
		config_set_path(config, &config->repository, value);
	} else if (strcmp(section, "backup") == 0 && strcmp(key, "ssh_key") == 0) {
		config_set_path(config, &config->ssh_key, value);
	} else if (strcmp(section, "backup") == 0 && strcmp(key, "former_key") == 0) {
		return backup_formers_parse(&config->formers, value) == 0;
	}
	return 1;
}

int node_config_load(const char *path, struct node_config **ret_config, struct err *e)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct node_config *config;
	const char *slash = strrchr(path, '/');
	int rc = file_read(path, NODE_CONFIG_BYTES_MAX, &text, e), line;

	if (rc != 0) {
		return rc;
	}
	config = x_calloc(1, sizeof *config);
	config->dir = slash == NULL ? x_strdup("./") : x_strndup(path, (size_t)(slash - path) + 1);
	line = ini_parse_string(buf_str(&text), config_line, config);
	if (line != 0 || !config->has_cluster_id) {
		rc = line != 0 ? err_set(e, KLUIS_EINVAL, "'%s' line %d: malformed", path, line)
			       : err_set(e, KLUIS_EINVAL, "'%s': no [cluster] id", path);
		node_config_free(config);
		return rc;
	}
	*ret_config = config;
	return 0;
}

int node_config_trust(
	const struct node_config *config, struct backup_trust *ret_trust, struct err *e)
{
	struct backup_trust trust = {.n = 0};
	int rc = 0;

	for (size_t i = 0; i < config->n_sites && rc == 0; i++) {
		const struct node_config_site *site = &config->sites[i];
		_cleanup_(key_pub_freep) struct key_pub *pub = NULL;

		if (!site->has_backup_key) {
			continue;
		}
		rc = key_pub_decode(
			KEY_ED25519, bytes_of(site->backup_key, sizeof site->backup_key), &pub, e);
		rc = rc != 0 ? rc : backup_trust_add(&trust, site->id, site->name, pub, e);
	}
	if (rc == 0 && trust.n == 0) {
		rc = err_set(e, KLUIS_EINVAL, "the settings name no site's backup_key");
	}
	rc = rc != 0 ? rc : backup_trust_add_formers(&trust, &config->formers, e);
	if (rc != 0) {
		backup_trust_release(&trust);
		return rc;
	}
	*ret_trust = trust;
	return 0;
}
