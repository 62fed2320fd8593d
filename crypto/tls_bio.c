#include "crypto/tls_bio.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

static BIO_METHOD *tls_bio_method;
static pthread_once_t tls_bio_once = PTHREAD_ONCE_INIT;

static int tls_bio_read(BIO *bio, char *to, size_t max, size_t *ret_len)
{
	struct tls_bio *io = BIO_get_data(bio);
	size_t len = io->in.len < max ? io->in.len : max;

	BIO_clear_retry_flags(bio);
	if (len == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(to, io->in.data, len);
	io->in = bytes_of(io->in.data + len, io->in.len - len);
	*ret_len = len;
	return 1;
}

static int tls_bio_write(BIO *bio, const char *data, size_t len, size_t *ret_len)
{
	struct tls_bio *io = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	tls_output_append(io->out, bytes_of(data, len));
	*ret_len = len;
	return 1;
}

static long tls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static void tls_bio_make_method(void)
{
	tls_bio_method =
		BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kluis tls stream");
	if (tls_bio_method == NULL || BIO_meth_set_read_ex(tls_bio_method, tls_bio_read) != 1 ||
		BIO_meth_set_write_ex(tls_bio_method, tls_bio_write) != 1 ||
		BIO_meth_set_ctrl(tls_bio_method, tls_bio_ctrl) != 1) {
		abort(); /* Only memory can be short. */
	}
}

BIO *tls_bio_new(struct tls_bio *io)
{
	BIO *bio;

	(void)pthread_once(&tls_bio_once, tls_bio_make_method);
	bio = BIO_new(tls_bio_method);
	if (bio == NULL) {
		abort(); /* Only memory can be short. */
	}
	assert(io->out != NULL);
	BIO_set_data(bio, io);
	BIO_set_init(bio, 1);
	return bio;
}
