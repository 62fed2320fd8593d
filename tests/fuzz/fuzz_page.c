/* A page as the node sees it, and what lies behind a right tag: the input as a zlib stream, as
 * items and as a whole page. */
#include <assert.h>

#include "crypto/inflate.h"
#include "crypto/page.h"

static const uint8_t vk[PAGE_KEY_BYTES] = {1};

static void fuzz_items(struct bytes content)
{
	struct page_item item;
	size_t left = content.len + 1;

	while (content.len > 0 && content.len < left && page_item_next(&content, &item) == 0) {
		assert(item.body.len < left);
		left = content.len + 1; /* Each step takes something, or the loop would not end. */
	}
}

/* A page whose tag is right and whose plaintext is the fuzzer's. */
static void fuzz_inside(struct bytes stream)
{
	struct page_spec spec = {.place = {.revision = 1, .key_epoch = 1},
		.sym = SYM_AES_128,
		.flags = PAGE_ZLIB,
		.kind = PAGE_ITEMS};
	_cleanup_(buf_release) struct buf page = BUF_INIT, content = BUF_INIT, again = BUF_INIT;
	int rc;

	if (page_seal_deflated(
		    bytes_of(vk, sizeof vk), &spec, stream, &random_system, &page, NULL) != 0) {
		return;
	}
	rc = page_open(bytes_of(vk, sizeof vk), buf_bytes(&page), &spec.place, &content, NULL);
	assert(rc == 0 || (rc == KLUIS_EVERIFY && content.len == 0));
	assert(content.len <= PAGE_INFLATED_BYTES_MAX);
	if (rc == 0) {
		fuzz_items(buf_bytes(&content));
		assert(inflate_append(stream, PAGE_INFLATED_BYTES_MAX, &again, NULL) == 0);
		assert(bytes_equal(buf_bytes(&again), buf_bytes(&content)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = bytes_of(data, size);
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	struct page_header header;

	if (page_parse(input, &header, NULL) == 0) {
		assert(size == PAGE_TOMBSTONE_BYTES + (size_t)header.ct_bytes);
		assert(page_open(bytes_of(vk, sizeof vk), input, &header.place, &content, NULL) !=
			0);
	}
	fuzz_items(input);
	fuzz_inside(input);
	return 0;
}
