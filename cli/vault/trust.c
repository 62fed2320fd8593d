#include "cli/vault/trust.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/vault/app.h"
#include "crypto/pki.h"

enum { TRUST_HOST_BYTES_MAX = 64 };

int trust_client(const struct trust *trust, struct bytes ca_pem, struct client **ret_client)
{
	struct client_config config = {.endpoints = (const char *const *)trust->endpoints,
		.n_endpoints = trust->n_endpoints,
		.ca_pem = ca_pem};
	int rc = app_give_up_ms(trust->inv, &config.give_up_ms);

	return rc != 0 ? rc : client_new(&config, ret_client, &trust->inv->err);
}

static int trust_add(struct trust *trust, char *url)
{
	if (trust->n_endpoints == CLIENT_ENDPOINTS_MAX) {
		free(url);
		return err_set(&trust->inv->err, KLUIS_EINVAL, "more than %d end points",
			CLIENT_ENDPOINTS_MAX);
	}
	trust->endpoints[trust->n_endpoints++] = url;
	return 0;
}

static int trust_endpoints(struct trust *trust)
{
	struct invocation *inv = trust->inv;
	const char *first = invocation_value(inv, "endpoint"), *list;
	int rc = first == NULL ? 0 : trust_add(trust, x_strdup(first));

	for (size_t n = 0; rc == 0 && (list = invocation_value_at(inv, "endpoints", n)); n++) {
		while (rc == 0 && *list != 0) {
			size_t len = strcspn(list, ",");

			rc = len == 0 ? 0 : trust_add(trust, x_strndup(list, len));
			list += len + (list[len] == ',');
		}
	}
	if (rc == 0 && trust->n_endpoints == 0) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "--endpoints https://host:port is needed");
	}
	return rc;
}

/* Asks the cluster for what is to be pinned, over a connection that trusts ca_pem alone; nothing
 * secret has been sent before. */
static int trust_fetch(struct trust *trust, struct bytes ca_pem)
{
	struct client *client;
	int rc = trust_client(trust, ca_pem, &client);

	if (rc != 0) {
		return rc;
	}
	api_cluster_release(&trust->cluster);
	rc = api_well_known(client, &trust->cluster, &trust->inv->err);
	client_free(client);
	return rc;
}

static int trust_info(struct trust *trust, const struct buf *pem, struct pki_info *ret_info)
{
	int rc = pki_info(buf_bytes(pem), ret_info, &trust->inv->err);

	if (rc == 0) {
		base64_encode(bytes_of(ret_info->spki_sha256, HASH_BYTES), trust->pin);
	}
	return rc;
}

/* Of what the cluster shows, the one CA whose pin was given. */
static int trust_given(struct trust *trust, const char *wanted)
{
	struct invocation *inv = trust->inv;
	uint8_t spki[HASH_BYTES];
	int rc = KLUIS_ENOTFOUND;

	if (base64_decode_exact(bytes_str(wanted), spki, sizeof spki) == 0) {
		rc = pki_select(buf_bytes(&trust->cluster.ca_pem), spki, &trust->ca_pem, &inv->err);
	}
	return rc == KLUIS_ENOTFOUND
		       ? err_set(&inv->err, KLUIS_EPIN,
				 "the cluster's CA has the pin %s, not the one you gave",
				 trust->pin)
		       : rc;
}

/* The one CA that the cluster shows, if the user says that it is the right one. */
static int trust_asked(struct trust *trust, const struct pki_info *info)
{
	struct invocation *inv = trust->inv;
	_cleanup_(x_freep) char *question = NULL;

	if (pki_count(buf_bytes(&trust->cluster.ca_pem)) != 1) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"the cluster shows several CAs: say by --ca-pin which is to be trusted");
	}
	question = x_asprintf("The cluster shows the CA '%s' with the pin\n  %s\nCompare it with "
			      "what the operator gave you. Trust it?",
		info->subject, trust->pin);
	return invocation_confirm(inv, question)
		       ? pki_select(buf_bytes(&trust->cluster.ca_pem), info->spki_sha256,
				 &trust->ca_pem, &inv->err)
		       : inv->err.code;
}

/* First use: the CA as the cluster shows it, judged by its pin. Whatever stands beside it is not
 * trusted. */
static int trust_shown(struct trust *trust)
{
	const char *wanted = invocation_value(trust->inv, "ca-pin");
	struct pki_info info;
	int rc = trust_fetch(trust, bytes_of(NULL, 0));

	rc = rc != 0 ? rc : trust_info(trust, &trust->cluster.ca_pem, &info);
	if (rc != 0) {
		return rc;
	}
	return wanted != NULL ? trust_given(trust, wanted) : trust_asked(trust, &info);
}

/* What is trusted from now on: the file as the user has it, or one CA that was judged. */
static int trust_ca(struct trust *trust)
{
	struct invocation *inv = trust->inv;
	const char *file = invocation_value(inv, "ca");
	struct pki_info info;
	int rc = file != NULL ? file_read(file, API_PEM_BYTES_MAX, &trust->ca_pem, &inv->err)
			      : trust_shown(trust);

	rc = rc != 0 ? rc : trust_info(trust, &trust->ca_pem, &info);
	if (rc == 0 && !info.is_ca) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "this certificate is not a CA's");
	}
	return rc != 0 && file != NULL ? err_wrap(&inv->err, rc, "'%s'", file) : rc;
}

int trust_cluster(struct trust *trust)
{
	int rc = trust_endpoints(trust);

	rc = rc != 0 ? rc : trust_ca(trust);
	/* Once more, now over a connection that proves it: this answer is what gets pinned, but for
	 * the CA. */
	rc = rc != 0 ? rc : trust_fetch(trust, buf_bytes(&trust->ca_pem));
	return rc != 0 ? rc
		       : api_cluster_pin_ca(
				 &trust->cluster, buf_bytes(&trust->ca_pem), &trust->inv->err);
}

void trust_release(struct trust *trust)
{
	api_cluster_release(&trust->cluster);
	buf_release(&trust->ca_pem);
	for (size_t i = 0; i < trust->n_endpoints; i++) {
		free(trust->endpoints[i]);
	}
	trust->n_endpoints = 0;
}

char *trust_device_name(const struct invocation *inv)
{
	const char *given = invocation_value(inv, "device");
	char host[TRUST_HOST_BYTES_MAX + 1] = {0};

	if (given != NULL) {
		return x_strdup(given);
	}
	return x_strdup(
		gethostname(host, TRUST_HOST_BYTES_MAX) == 0 && host[0] != 0 ? host : "device");
}
