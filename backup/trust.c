/* The list of nodes whose signatures count: second half of keys.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backup/keys.h"
#include "base/file.h"
#include "base/text.h"

enum { ED25519_PUBLIC_BYTES = 32 };

void backup_trust_release(struct backup_trust *trust)
{
	assert(trust->n <= SITES_MAX);
	for (unsigned i = 0; i < trust->n; i++) {
		key_pub_free(trust->nodes[i].pub);
	}
	memset(trust, 0, sizeof *trust);
}

static bool trust_site_valid(const char *site)
{
	size_t len = strlen(site);

	return len > 0 && len <= NODE_NAME_BYTES_MAX &&
	       strspn(site, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

int backup_trust_add(struct backup_trust *trust, uint64_t node, const char *site,
	struct key_pub *pub, struct err *e)
{
	struct backup_trusted *row;

	if (node == 0 || !trust_site_valid(site) || key_pub_alg(pub) != KEY_ED25519) {
		return err_set(e, KLUIS_EINVAL, "not a node id, site name and Ed25519 key");
	}
	for (unsigned i = 0; i < trust->n; i++) {
		row = &trust->nodes[i];
		if (row->node == node || strcmp(row->site, site) == 0 ||
			key_pub_equal(row->pub, pub)) {
			return err_set(e, KLUIS_EEXIST,
				"node %llu, site '%s' or its key is there twice",
				(unsigned long long)node, site);
		}
	}
	if (trust->n == SITES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d nodes", SITES_MAX);
	}
	row = &trust->nodes[trust->n++];
	row->node = node;
	(void)snprintf(row->site, sizeof row->site, "%s", site); /* Fits: checked above. */
	row->pub = key_pub_ref(pub);
	return 0;
}

const struct backup_trusted *backup_trust_node(const struct backup_trust *trust, uint64_t node)
{
	for (unsigned i = 0; i < trust->n; i++) {
		if (trust->nodes[i].node == node) {
			return &trust->nodes[i];
		}
	}
	return NULL;
}

/* The next word of line, behind one space; empty at the end. */
static struct bytes trust_word(struct bytes *line)
{
	const uint8_t *space = line->len == 0 ? NULL : memchr(line->data, ' ', line->len);
	size_t len = space == NULL ? line->len : (size_t)(space - line->data);
	struct bytes word = bytes_of(line->data, len);

	len += space != NULL;
	*line = bytes_of(line->data + len, line->len - len);
	return word;
}

static int trust_line(struct backup_trust *trust, struct bytes line, struct err *e)
{
	struct bytes head = trust_word(&line), version = trust_word(&line);
	struct bytes node = trust_word(&line), site = trust_word(&line), hex = trust_word(&line);
	char name[NODE_NAME_BYTES_MAX + 1] = "", text[HEX_LEN(ED25519_PUBLIC_BYTES) + 1] = "";
	uint8_t raw[ED25519_PUBLIC_BYTES];
	struct key_pub *pub = NULL;
	uint64_t id = 0;
	int rc;

	if (!bytes_equal(head, bytes_str("kluis-node")) || !bytes_equal(version, bytes_str("1")) ||
		line.len != 0 || u64_parse(node, UINT64_MAX, &id) != 0 || site.len >= sizeof name ||
		hex.len != sizeof text - 1) {
		return err_set(e, KLUIS_ECORRUPT, "not 'kluis-node 1 NODE SITE KEY'");
	}
	memcpy(name, site.data, site.len);
	memcpy(text, hex.data, hex.len);
	if (hex_decode(text, raw, sizeof raw) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "the key is not 64 hex digits");
	}
	rc = key_pub_decode(KEY_ED25519, bytes_of(raw, sizeof raw), &pub, e);
	if (rc == 0) {
		rc = backup_trust_add(trust, id, name, pub, e);
		key_pub_free(pub);
	}
	return rc;
}

int backup_trust_parse(struct bytes text, struct backup_trust *trust, struct err *e)
{
	for (unsigned number = 1; text.len > 0; number++) {
		const uint8_t *end = memchr(text.data, '\n', text.len);
		size_t len = end == NULL ? text.len : (size_t)(end - text.data);
		struct bytes line = bytes_of(text.data, len);
		int rc;

		len += end != NULL;
		text = bytes_of(text.data + len, text.len - len);
		if (line.len == 0 || line.data[0] == '#') {
			continue;
		}
		rc = trust_line(trust, line, e);
		if (rc != 0) {
			return err_wrap(e, rc, "line %u", number);
		}
	}
	return 0;
}

int backup_trust_load(const char *path, struct backup_trust *trust, struct err *e)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	int rc = file_read(path, TRUST_FILE_BYTES_MAX, &text, e);

	if (rc != 0) {
		return rc;
	}
	rc = backup_trust_parse(buf_bytes(&text), trust, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "trust file '%s'", path);
}

void backup_trust_format(const struct backup_trust *trust, struct buf *to)
{
	for (unsigned i = 0; i < trust->n; i++) {
		const struct backup_trusted *row = &trust->nodes[i];

		buf_printf(to, "kluis-node 1 %llu %s ", (unsigned long long)row->node, row->site);
		hex_append(to, key_pub_bytes(row->pub));
		buf_append(to, "\n", 1);
	}
}
