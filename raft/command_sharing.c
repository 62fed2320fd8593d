#include <assert.h>
#include <string.h>

#include "crypto/keypacket.h"
#include "raft/command_body.h"
#include "storage/object_store.h"

bool members_item_next(struct bytes *items, struct bytes *ret_item)
{
	struct wire w = wire_of(*items);
	struct bytes item = wire_lp16(&w, UINT16_MAX);

	if (!wire_ok(&w)) {
		return false;
	}
	*items = wire_rest(&w);
	*ret_item = item;
	return true;
}

void members_item_append(struct buf *items, struct bytes item)
{
	buf_put_lp16(items, item);
}

/* n runs of lp16, each of 1 to max bytes. */
static struct bytes section_items(struct wire *w, unsigned n, size_t max)
{
	struct bytes before = w->left;

	for (unsigned i = 0; i < n; i++) {
		if (wire_lp16(w, max).len == 0) {
			wire_fail(w);
		}
	}
	return wire_ok(w) ? bytes_of(before.data, before.len - w->left.len) : bytes_of(NULL, 0);
}

static bool section_key_valid(size_t bytes)
{
	return bytes == 0 || bytes == 32 || bytes == 65 || bytes == GROUP_KEY_BYTES_MAX;
}

bool members_section_next(struct bytes *sections, struct members_section *ret_section)
{
	struct wire w = wire_of(*sections);
	struct members_section s = {.n_statements = 0};

	wire_copy(&w, s.object_id, sizeof s.object_id);
	s.label = wire_lp32(&w, OBJECT_LABEL_BYTES_MAX);
	s.group_key = wire_lp32(&w, GROUP_KEY_BYTES_MAX);
	s.n_statements = wire_u16(&w);
	s.statements = section_items(&w, s.n_statements, MEMBERS_STATEMENT_BYTES_MAX);
	s.n_packets = wire_u16(&w);
	s.packets = section_items(&w, s.n_packets, KEYPACKET_BYTES_MAX);
	if (!wire_ok(&w) || s.n_statements == 0 || !section_key_valid(s.group_key.len)) {
		return false;
	}
	*sections = wire_rest(&w);
	*ret_section = s;
	return true;
}

void members_section_append(struct buf *sections, const struct members_section *section)
{
	assert(section->n_statements > 0);
	buf_append(sections, section->object_id, sizeof section->object_id);
	buf_put_lp32(sections, section->label);
	buf_put_lp32(sections, section->group_key);
	buf_put_u16(sections, section->n_statements);
	buf_append_bytes(sections, section->statements);
	buf_put_u16(sections, section->n_packets);
	buf_append_bytes(sections, section->packets);
}

int members_sections_check(struct bytes sections, uint32_t *ret_n, struct err *e)
{
	struct members_section section;
	uint32_t n = 0, statements = 0;

	while (n <= MEMBERS_SECTIONS_MAX && members_section_next(&sections, &section)) {
		statements += section.n_statements;
		n++;
	}
	if (n > MEMBERS_SECTIONS_MAX || statements > MEMBERS_STATEMENTS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "a change of too many objects or statements");
	}
	if (sections.len > 0 || n == 0) {
		return err_set(e, KLUIS_EINVAL, "malformed section %u of a change of members", n);
	}
	*ret_n = n;
	return 0;
}

static bool statement_only_removes(struct bytes encoded, bool *removes)
{
	struct statement s;

	if (statement_parse(CHAIN_MEMBERS, encoded, &s, NULL) != 0) {
		return false;
	}
	*removes |= s.type == MEMBER_REMOVE;
	return s.type == MEMBER_REMOVE || s.type == MEMBER_ROTATE;
}

bool members_only_remove(struct bytes sections)
{
	struct members_section section;
	struct bytes statement;
	bool only = true, removes = false;

	while (members_section_next(&sections, &section)) {
		while (members_item_next(&section.statements, &statement)) {
			only &= statement_only_removes(statement, &removes);
		}
	}
	return only && removes;
}

bool command_grant_next(struct bytes *grants, struct command_grant *ret_grant)
{
	struct wire w = wire_of(*grants);
	struct command_grant grant;

	wire_copy(&w, grant.user_id, sizeof grant.user_id);
	wire_copy(&w, grant.vault_id, sizeof grant.vault_id);
	grant.page_no = wire_u64(&w);
	grant.revision = wire_u64(&w);
	if (!wire_ok(&w)) {
		return false;
	}
	*grants = wire_rest(&w);
	*ret_grant = grant;
	return true;
}

void command_grant_append(struct buf *grants, const struct command_grant *grant)
{
	buf_append(grants, grant->user_id, sizeof grant->user_id);
	buf_append(grants, grant->vault_id, sizeof grant->vault_id);
	buf_put_u64(grants, grant->page_no);
	buf_put_u64(grants, grant->revision);
}

bool command_unshared_next(struct bytes *pages, struct command_unshared *ret_page)
{
	struct wire w = wire_of(*pages);
	struct command_unshared page;

	page.page_no = wire_u64(&w);
	page.revision = wire_u64(&w);
	wire_copy(&w, page.packet_id, sizeof page.packet_id);
	if (!wire_ok(&w)) {
		return false;
	}
	*pages = wire_rest(&w);
	*ret_page = page;
	return true;
}

void command_unshared_append(struct buf *pages, const struct command_unshared *page)
{
	buf_put_u64(pages, page->page_no);
	buf_put_u64(pages, page->revision);
	buf_append(pages, page->packet_id, sizeof page->packet_id);
}

void body_members_change(struct codec *c, struct command_members_change *body)
{
	codec_session(c, &body->session);
	codec_once(c, &body->once);
	codec_run(c, &body->sections, 1, COMMAND_BYTES_MAX);
	codec_need(c, members_sections_check(body->sections, &body->n_sections, NULL) == 0);
}

void body_packet_send(struct codec *c, struct command_packet_send *body)
{
	struct bytes packets, packet;

	codec_session(c, &body->session);
	codec_run(c, &body->packets, 1, COMMAND_BYTES_MAX);
	codec_run(c, &body->grants, 0, (size_t)GRANTS_SEND_MAX * COMMAND_GRANT_BYTES);
	packets = body->packets;
	for (body->n_packets = 0; members_item_next(&packets, &packet); body->n_packets++) {
		codec_need(c, packet.len > 0 && packet.len <= KEYPACKET_BYTES_MAX);
	}
	codec_need(c, packets.len == 0 && body->n_packets <= PACKETS_SEND_MAX &&
			      body->grants.len % COMMAND_GRANT_BYTES == 0);
}

void body_pages_unshare(struct codec *c, struct command_pages_unshare *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->user_id, sizeof body->user_id);
	codec_fixed(c, body->vault_id, sizeof body->vault_id);
	codec_run(c, &body->pages, COMMAND_UNSHARED_BYTES,
		(size_t)GRANTS_SEND_MAX * COMMAND_UNSHARED_BYTES);
	codec_need(c, body->pages.len % COMMAND_UNSHARED_BYTES == 0);
}

void body_packet_ack(struct codec *c, struct command_packet_ack *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->packet_id, sizeof body->packet_id);
}

void body_member_answer(struct codec *c, struct command_member_answer *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->object_id, sizeof body->object_id);
	codec_bool(c, &body->accept);
}

void body_object_delete(struct codec *c, struct command_object_delete *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->object_id, sizeof body->object_id);
}
