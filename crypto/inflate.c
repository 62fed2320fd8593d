#define ZLIB_CONST /* next_in points to const. */
#include "crypto/inflate.h"

#include <assert.h>
#include <limits.h>
#include <zlib.h>

enum { INFLATE_STEP_BYTES = 64 * 1024, DEFLATE_LEVEL = 6 };

int deflate_append(struct bytes content, size_t max, struct buf *ret_stream, struct err *e)
{
	size_t before = ret_stream->len;
	uLongf len = max;
	int rc;

	rc = compress2(buf_extend(ret_stream, max), &len, content.data, content.len, DEFLATE_LEVEL);
	if (rc == Z_MEM_ERROR) {
		abort();
	}
	ret_stream->len = before + (rc == Z_OK ? len : 0);
	if (rc != Z_OK) {
		return err_set(e, KLUIS_ETOOLARGE, "%zu bytes do not compress to %zu or less",
			content.len, max);
	}
	return 0;
}

/* Until the stream ends, fails or gives more than max. */
static int inflate_run(z_stream *z, size_t max, struct buf *ret_content)
{
	size_t given = 0;
	int rc = Z_OK;

	while (rc == Z_OK && given <= max) {
		size_t left = max + 1 - given; /* One more than allowed tells a bomb. */
		size_t step = left < INFLATE_STEP_BYTES ? left : INFLATE_STEP_BYTES;

		z->next_out = buf_extend(ret_content, step);
		z->avail_out = (uInt)step;
		rc = inflate(z, Z_NO_FLUSH);
		ret_content->len -= z->avail_out;
		given += step - z->avail_out;
	}
	return given > max ? Z_BUF_ERROR : rc;
}

int inflate_append(struct bytes stream, size_t max, struct buf *ret_content, struct err *e)
{
	size_t before = ret_content->len;
	z_stream z = {0};
	int rc;

	assert(stream.len <= UINT_MAX && max < SIZE_MAX);
	z.next_in = stream.data;
	z.avail_in = (uInt)stream.len;
	if (inflateInit(&z) != Z_OK) {
		abort();
	}
	rc = inflate_run(&z, max, ret_content);
	(void)inflateEnd(&z); /* Only a damaged z makes it fail. */
	if (rc == Z_STREAM_END && z.avail_in == 0) {
		return 0;
	}
	rc = ret_content->len - before > max ? KLUIS_ETOOLARGE : KLUIS_EINVAL;
	ret_content->len = before;
	return err_set(e, rc, "zlib stream is damaged or too long");
}
