#include "node/api_tls.h"

#include <string.h>

#include "base/log.h"
#include "crypto/pki.h"

struct loaded {
	struct tls_ctx *ctx;
	struct pki_loaded files;
};

static void loaded_release(struct loaded *loaded)
{
	tls_ctx_unref(loaded->ctx);
	pki_loaded_release(&loaded->files);
}

/* What clients pin must be what signed the certificate: else they would be locked out. */
static int tls_read(struct api *api, struct loaded *loaded, struct err *e)
{
	const struct api_config *config = &api->config;
	struct pki_files files = {config->cert_path, config->key_path, config->ca_path};
	int rc = pki_load(&files, PKI_SERVER, clock_wall_ms(config->clock), &loaded->files, e);

	if (rc != 0) {
		return rc;
	}
	rc = tls_ctx_new_api(buf_bytes(&loaded->files.identity.cert_pem),
		buf_bytes(&loaded->files.identity.key_pem), api->tickets, &loaded->ctx, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "certificate '%s'", config->cert_path);
}

static void tls_swap(struct api *api, struct loaded *loaded)
{
	char *old;

	if (api->http != NULL) {
		http_server_set_tls(api->http, loaded->ctx);
	}
	(void)pthread_mutex_lock(&api->ca_lock);
	old = api->ca_pem;
	api->ca_pem = x_strdup(buf_str(&loaded->files.ca_pem));
	memcpy(api->ca_spki, loaded->files.ca.spki_sha256, sizeof api->ca_spki);
	api->cert_not_after_ms = loaded->files.cert.not_after_ms;
	(void)pthread_mutex_unlock(&api->ca_lock);
	free(old);
}

int api_tls_load(struct api *api, struct err *e)
{
	struct loaded loaded = {0};
	int rc = tls_read(api, &loaded, e);

	if (rc == 0) {
		tls_swap(api, &loaded);
	}
	loaded_release(&loaded);
	return rc;
}

struct swap {
	struct mail mail;
	struct api *api;
	struct loaded loaded;
	uv_sem_t done;
};

static void swap_cb(struct mail *mail)
{
	struct swap *swap = CONTAINER_OF(mail, struct swap, mail);

	tls_swap(swap->api, &swap->loaded);
	uv_sem_post(&swap->done);
}

/* On another thread than the loop's, which swaps. */
static int tls_reload(struct api *api, struct err *e)
{
	struct swap swap = {.mail.deliver_cb = swap_cb, .api = api};
	int rc;

	if (api->config.listen_host == NULL) {
		return 0;
	}
	rc = tls_read(api, &swap.loaded, e);
	if (rc == 0 && uv_sem_init(&swap.done, 0) != 0) {
		rc = err_set(e, KLUIS_EINTERNAL, "no semaphore");
	}
	if (rc == 0) {
		mailbox_send(&api->mailbox, &swap.mail);
		uv_sem_wait(&swap.done);
		uv_sem_destroy(&swap.done);
	}
	loaded_release(&swap.loaded);
	return rc;
}

int api_reload(struct api *api, struct err *e)
{
	const struct api_hooks *hooks = &api->config.hooks;
	struct err link = {0}, own = {0}, backup = {0};
	int own_rc = tls_reload(api, &own);
	int link_rc = api->config.backend->reload(api->config.backend, &link);
	int backup_rc = hooks->reload == NULL ? 0 : hooks->reload(hooks->data, &backup);
	int rc = own_rc != 0 ? own_rc : link_rc != 0 ? link_rc : backup_rc;
	/* Each is told, so several share the room; one has all of it, for it may name two files. */
	int room = (own_rc != 0) + (link_rc != 0) + (backup_rc != 0) > 1 ? 80 : (int)sizeof e->text;

	log_info("op=reload api_certificate=%s link_certificate=%s backup_key=%s",
		own_rc == 0 ? "taken" : "refused", link_rc == 0 ? "taken" : "refused",
		hooks->reload == NULL ? "none"
		: backup_rc == 0      ? "taken"
				      : "refused");
	if (rc == 0) {
		return 0;
	}
	return err_set(e, rc, "%.*s%s%.*s%s%.*s", room, own.text,
		own_rc != 0 && (link_rc != 0 || backup_rc != 0) ? "; " : "", room, link.text,
		link_rc != 0 && backup_rc != 0 ? "; " : "", room, backup.text);
}

uint64_t api_certificate_not_after_ms(struct api *api)
{
	uint64_t not_after_ms;

	(void)pthread_mutex_lock(&api->ca_lock);
	not_after_ms = api->cert_not_after_ms;
	(void)pthread_mutex_unlock(&api->ca_lock);
	return not_after_ms;
}
