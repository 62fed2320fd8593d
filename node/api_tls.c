#include "node/api_tls.h"

#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "crypto/pki.h"

struct loaded {
	struct tls_ctx *ctx;
	struct buf ca_pem;
	uint8_t ca_spki[32];
	uint64_t not_after_ms;
};

static void loaded_release(struct loaded *loaded)
{
	tls_ctx_unref(loaded->ctx);
	buf_release(&loaded->ca_pem);
}

static int tls_read(struct api *api, struct loaded *loaded, struct err *e)
{
	const struct api_config *config = &api->config;
	_cleanup_(pki_identity_release) struct pki_identity identity = {0};
	struct pki_info ca, cert;
	int rc = pki_read(config->cert_path, config->key_path, &identity, e);

	if (rc == 0) {
		rc = file_read(config->ca_path, PKI_PEM_BYTES_MAX, &loaded->ca_pem, e);
	}
	if (rc == 0) {
		rc = pki_info(buf_bytes(&loaded->ca_pem), &ca, e);
	}
	if (rc == 0) {
		rc = pki_info(buf_bytes(&identity.cert_pem), &cert, e);
	}
	if (rc == 0) {
		/* What clients pin must be what signed this: else they would be locked out. */
		rc = pki_verify(buf_bytes(&identity.cert_pem), buf_bytes(&loaded->ca_pem),
			PKI_SERVER, clock_wall_ms(config->clock), e);
	}
	if (rc == 0) {
		rc = tls_ctx_new_api(buf_bytes(&identity.cert_pem), buf_bytes(&identity.key_pem),
			api->tickets, &loaded->ctx, e);
	}
	if (rc != 0) {
		return err_wrap(e, rc, "certificate '%s'", config->cert_path);
	}
	memcpy(loaded->ca_spki, ca.spki_sha256, sizeof loaded->ca_spki);
	loaded->not_after_ms = cert.not_after_ms;
	return 0;
}

static void tls_swap(struct api *api, struct loaded *loaded)
{
	char *old;

	if (api->http != NULL) {
		http_server_set_tls(api->http, loaded->ctx);
	}
	(void)pthread_mutex_lock(&api->ca_lock);
	old = api->ca_pem;
	api->ca_pem = x_strdup(buf_str(&loaded->ca_pem));
	memcpy(api->ca_spki, loaded->ca_spki, sizeof api->ca_spki);
	api->cert_not_after_ms = loaded->not_after_ms;
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

int api_reload(struct api *api, struct err *e)
{
	struct swap swap = {.mail.deliver_cb = swap_cb, .api = api};
	int rc;

	if (api->config.listen_host == NULL) {
		return 0;
	}
	rc = tls_read(api, &swap.loaded, e);
	if (rc != 0) {
		loaded_release(&swap.loaded);
		return rc;
	}
	if (uv_sem_init(&swap.done, 0) != 0) {
		loaded_release(&swap.loaded);
		return err_set(e, KLUIS_EINTERNAL, "no semaphore");
	}
	mailbox_send(&api->mailbox, &swap.mail);
	uv_sem_wait(&swap.done);
	uv_sem_destroy(&swap.done);
	loaded_release(&swap.loaded);
	log_info("certificates=reloaded");
	return 0;
}
