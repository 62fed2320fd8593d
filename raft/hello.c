#include "raft/hello.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

#define HELLO_MAGIC "KLNK"

void hello_write(const struct hello *hello, uint8_t to[HELLO_BYTES])
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	assert(hello->node_id > 0 && hello->starts > 0);
	buf_put_str(&b, HELLO_MAGIC);
	buf_put_u8(&b, HELLO_VERSION);
	buf_append(&b, hello->cluster_id, sizeof hello->cluster_id);
	buf_append(&b, hello->lineage, sizeof hello->lineage);
	buf_put_u64(&b, hello->node_id);
	buf_append(&b, hello->incarnation, sizeof hello->incarnation);
	buf_put_u64(&b, hello->starts);
	buf_put_u64(&b, hello->boot);
	buf_put_u64(&b, hello->dial);
	buf_put_u32(&b, hello->feature_level);
	buf_put_u64(&b, hello->wall_ms);
	assert(b.len == HELLO_BYTES);
	memcpy(to, b.data, HELLO_BYTES);
}

int hello_read(const uint8_t from[HELLO_BYTES], struct hello *ret_hello)
{
	struct wire w = wire_of(bytes_of(from, HELLO_BYTES));
	static const uint8_t zero[16];
	struct hello hello;
	uint8_t version;

	if (!wire_match(&w, HELLO_MAGIC)) {
		return KLUIS_EPROTO;
	}
	version = wire_u8(&w);
	if (version != HELLO_VERSION) {
		return KLUIS_EVERSION;
	}
	wire_copy(&w, hello.cluster_id, sizeof hello.cluster_id);
	wire_copy(&w, hello.lineage, sizeof hello.lineage);
	hello.node_id = wire_u64(&w);
	wire_copy(&w, hello.incarnation, sizeof hello.incarnation);
	hello.starts = wire_u64(&w);
	hello.boot = wire_u64(&w);
	hello.dial = wire_u64(&w);
	hello.feature_level = wire_u32(&w);
	hello.wall_ms = wire_u64(&w);
	if (!wire_end(&w) || hello.node_id == 0 || hello.starts == 0 ||
		memcmp(hello.incarnation, zero, sizeof zero) == 0) {
		return KLUIS_EPROTO;
	}
	*ret_hello = hello;
	return 0;
}

const char *hello_answer_text(uint8_t answer)
{
	static const char *const text[] = {
		[HELLO_ACCEPTED] = "accepted",
		[HELLO_OTHER_VERSION] = "hello of an unknown version",
		[HELLO_OTHER_CLUSTER] = "another cluster",
		[HELLO_OTHER_LINEAGE] = "another lineage of the cluster",
		[HELLO_NOT_YOU] = "the certificate names another node than the hello",
		[HELLO_NO_MEMBER] = "not among the peers",
		[HELLO_STALE] = "an older dial than the one that stands",
		[HELLO_MALFORMED] = "malformed hello",
		[HELLO_OTHER_INCARNATION] = "the node was initialised anew: a wiped node must come "
					    "back under a new id",
		[HELLO_OLD_COPY] = "the node's directory is an old copy of itself",
		[HELLO_REMOVED] = "the cluster has removed the node",
	};

	return answer < ARRAY_SIZE(text) && text[answer] != NULL ? text[answer]
								 : "an unknown answer";
}
