#include "crypto/ossl.h"

#include <openssl/err.h>

int ossl_err(struct err *e, int code, const char *what)
{
	unsigned long first = ERR_get_error();
	const char *reason = first == 0 ? NULL : ERR_reason_error_string(first);

	ERR_clear_error();
	if (reason == NULL) {
		return err_set(e, code, "%s", what);
	}
	return err_set(e, code, "%s: %s", what, reason);
}

void ossl_bio_freep(BIO **bio)
{
	BIO_free_all(*bio);
}

void ossl_x509_freep(X509 **cert)
{
	X509_free(*cert);
}

void ossl_x509s_freep(STACK_OF(X509) * *certs)
{
	sk_X509_pop_free(*certs, X509_free);
}

void ossl_key_freep(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}
