#include "raft/command_body.h"

#include <string.h>

#include "crypto/statement.h"
#include "raft/configuration.h"
#include "storage/session_store.h"
#include "storage/vault_store.h"

void body_cluster_init(struct codec *c, struct command_cluster_init *body)
{
	codec_fixed(c, body->cluster_id, sizeof body->cluster_id);
	codec_fixed(c, body->lineage, sizeof body->lineage);
	codec_u8(c, &body->n_nodes, 1, SITES_MAX);
	for (unsigned i = 0; i < body->n_nodes && i < SITES_MAX; i++) {
		codec_next_node(c, &body->node[i], i == 0 ? 0 : body->node[i - 1]);
	}
}

void body_node_announce(struct codec *c, struct command_node_announce *body)
{
	codec_u64(c, &body->node, 1);
	codec_u32(c, &body->feature_level, 1, UINT32_MAX);
	codec_text(c, &body->site, NODE_NAME_BYTES_MAX);
	codec_text(c, &body->version, NODE_NAME_BYTES_MAX);
	codec_text(c, &body->api, NODE_TEXT_BYTES_MAX);
	codec_text(c, &body->link, NODE_TEXT_BYTES_MAX);
	codec_text(c, &body->ssh, NODE_TEXT_BYTES_MAX);
	codec_run(c, &body->ssh_host_key, 0, NODE_KEY_BYTES_MAX);
	codec_fixed(c, body->backup_key, sizeof body->backup_key);
}

void body_readonly(struct codec *c, struct command_readonly *body)
{
	codec_u64(c, &body->node, 0);
	codec_bool(c, &body->on);
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
}

void body_time_jump(struct codec *c, struct command_time_jump *body)
{
	codec_u8(c, &body->n_readings, 1, TIME_READINGS_MAX);
	for (unsigned i = 0; i < body->n_readings && i < TIME_READINGS_MAX; i++) {
		codec_next_node(c, &body->reading[i].node, i == 0 ? 0 : body->reading[i - 1].node);
		codec_u64(c, &body->reading[i].wall_ms, 0);
	}
}

void body_hash_report(struct codec *c, struct command_hash_report *body)
{
	codec_u64(c, &body->node, 1);
	codec_u64(c, &body->index, 1);
	codec_fixed(c, body->hash, sizeof body->hash);
}

void body_hash_ask(struct codec *c, struct command_hash_ask *body)
{
	codec_u64(c, &body->node, 1);
}

void body_backup_announce(struct codec *c, struct command_backup_announce *body)
{
	codec_u64(c, &body->node, 1);
	codec_u8(c, &body->copies, 0, SITES_MAX);
	codec_u64(c, &body->interval_s, 0);
	codec_u64(c, &body->offset_s, 0);
	codec_u64(c, &body->keep_s, 0);
	codec_bool(c, &body->drills);
}

void body_expire(struct codec *c, struct command_expire *body)
{
	codec_u32(c, &body->max_rows, 1, EXPIRE_ROWS_MAX);
}

static void codec_incarnation(struct codec *c, uint8_t *incarnation)
{
	static const uint8_t zero[SERVER_INCARNATION_BYTES];

	codec_fixed(c, incarnation, SERVER_INCARNATION_BYTES);
	codec_need(c, memcmp(incarnation, zero, sizeof zero) != 0);
}

void body_servers_begin(struct codec *c, struct command_servers_begin *body)
{
	codec_u8(c, &body->voters, VOTERS_MIN, VOTERS_MAX);
	codec_u8(c, &body->n_servers, 1, SITES_MAX);
	for (unsigned i = 0; i < body->n_servers && i < SITES_MAX; i++) {
		codec_next_node(c, &body->server[i].id, i == 0 ? 0 : body->server[i - 1].id);
		codec_incarnation(c, body->server[i].incarnation);
	}
}

void body_server_add(struct codec *c, struct command_server_add *body)
{
	codec_u64(c, &body->id, 1);
	codec_incarnation(c, body->incarnation);
	codec_u32(c, &body->weight, 0, SERVER_WEIGHT_MAX);
	codec_u64(c, &body->replaces, 0);
	codec_run(c, &body->site, 1, NODE_NAME_BYTES_MAX);
	codec_need(c, member_site_valid(body->site));
	codec_run(c, &body->address, 1, MEMBER_ADDRESS_BYTES_MAX);
	codec_need(c, member_address_valid(body->address));
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
}

void body_server_wish(struct codec *c, struct command_server_wish *body)
{
	codec_u64(c, &body->id, 1);
	codec_u8(c, &body->wish, 0, SERVER_WISH_MAX);
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
}

void body_server_weight(struct codec *c, struct command_server_weight *body)
{
	codec_u64(c, &body->id, 1);
	codec_u32(c, &body->weight, 0, SERVER_WEIGHT_MAX);
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
}

void body_server_forget(struct codec *c, struct command_server_forget *body)
{
	codec_u64(c, &body->id, 1);
}

void body_voters_set(struct codec *c, struct command_voters_set *body)
{
	codec_u8(c, &body->voters, VOTERS_MIN, VOTERS_MAX);
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
}

void body_service_create(struct codec *c, struct command_service_create *body)
{
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
	codec_name(c, &body->name);
	codec_fixed(c, body->enrol_hash, sizeof body->enrol_hash);
	codec_once(c, &body->once);
}

void body_service_enrol(struct codec *c, struct command_service_enrol *body)
{
	codec_name(c, &body->name);
	codec_fixed(c, body->enrol_hash, sizeof body->enrol_hash);
	codec_run(c, &body->identity, 1, STATEMENT_BYTES_MAX);
	codec_run(c, &body->device, 1, STATEMENT_BYTES_MAX);
}

void body_service_disable(struct codec *c, struct command_service_disable *body)
{
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
	codec_name(c, &body->name);
}

void body_session_create(struct codec *c, struct command_session_create *body)
{
	codec_fixed(c, body->user_id, sizeof body->user_id);
	codec_fixed(c, body->device_id, sizeof body->device_id);
	codec_fixed(c, body->token_hash, sizeof body->token_hash);
	codec_u8(c, &body->level, SESSION_LOGIN, SESSION_FULL);
	codec_u32(c, &body->ttl_ms, 1, SESSION_MS_MAX);
}

void body_session_end(struct codec *c, struct command_session_end *body)
{
	codec_session(c, &body->session);
	codec_u8(c, &body->which, SESSION_END_ONE, SESSION_END_ALL);
	codec_fixed(c, body->session_id, sizeof body->session_id);
}

void body_identity_append(struct codec *c, struct command_identity_append *body)
{
	codec_session(c, &body->session);
	codec_run(c, &body->statement, 1, STATEMENT_BYTES_MAX);
}

void body_vault_create(struct codec *c, struct command_vault_create *body)
{
	codec_session(c, &body->session);
	codec_once(c, &body->once);
	codec_run(c, &body->create, 1, STATEMENT_BYTES_MAX);
	codec_run(c, &body->head, 1, HEAD_SIGNED_BYTES_MAX);
	codec_run(c, &body->label, 0, VAULT_LABEL_BYTES_MAX);
}

void body_vault_patch(struct codec *c, struct command_vault_patch *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->vault_id, sizeof body->vault_id);
	codec_u64(c, &body->revision, 1);
	codec_run(c, &body->label, 0, VAULT_LABEL_BYTES_MAX);
}

void body_vault_delete(struct codec *c, struct command_vault_delete *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->vault_id, sizeof body->vault_id);
	codec_u64(c, &body->revision, 1);
}

void body_stage_page(struct codec *c, struct command_stage_page *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->vault_id, sizeof body->vault_id);
	codec_fixed(c, body->hash, sizeof body->hash);
	codec_run(c, &body->page, 1, PAGE_BYTES_MAX);
}

void body_commit(struct codec *c, struct command_commit *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->vault_id, sizeof body->vault_id);
	codec_bool(c, &body->purge);
	codec_run(c, &body->head, 1, HEAD_SIGNED_BYTES_MAX);
	codec_run(c, &body->entries, 0, COMMAND_BYTES_MAX);
	codec_need(c, commit_entries_check(body->entries, &body->n_entries, NULL) == 0);
}

void body_snapshot_claim(struct codec *c, struct command_snapshot_claim *body)
{
	codec_u64(c, &body->node, 1);
	codec_u8(c, &body->kind, SNAPSHOT_INCREMENT, SNAPSHOT_MANUAL);
	codec_u64(c, &body->slot, 0);
	codec_u32(c, &body->ttl_ms, 1, UINT32_MAX);
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
	codec_once(c, &body->once);
}

void body_snapshot_renew(struct codec *c, struct command_snapshot_renew *body)
{
	codec_u64(c, &body->id, 1);
	codec_u64(c, &body->node, 1);
	codec_u32(c, &body->ttl_ms, 1, UINT32_MAX);
	codec_u64(c, &body->index, 0);
}

void body_snapshot_record(struct codec *c, struct command_snapshot_record *body)
{
	codec_u64(c, &body->id, 1);
	codec_u64(c, &body->node, 1);
	codec_u64(c, &body->index, 1);
	codec_u64(c, &body->term, 0);
	codec_u64(c, &body->objects, 0);
	codec_u64(c, &body->bytes, 0);
	codec_fixed(c, body->manifest_hash, sizeof body->manifest_hash);
	codec_fixed(c, body->state_root, sizeof body->state_root);
}

void body_snapshot_confirm(struct codec *c, struct command_snapshot_confirm *body)
{
	codec_u64(c, &body->id, 1);
	codec_u64(c, &body->node, 1);
	codec_fixed(c, body->manifest_hash, sizeof body->manifest_hash);
	codec_u8(c, &body->needed, 1, SITES_MAX);
}

void body_snapshot_fail(struct codec *c, struct command_snapshot_fail *body)
{
	codec_u64(c, &body->id, 1);
	codec_u64(c, &body->node, 1);
	codec_text(c, &body->error, SNAPSHOT_ERROR_BYTES_MAX);
}

void body_snapshot_damage(struct codec *c, struct command_snapshot_damage *body)
{
	codec_u64(c, &body->id, 1);
	codec_u64(c, &body->node, 1);
	codec_fixed(c, body->manifest_hash, sizeof body->manifest_hash);
	codec_text(c, &body->error, SNAPSHOT_DAMAGE_BYTES_MAX);
}

void body_snapshot_pin(struct codec *c, struct command_snapshot_pin *body)
{
	codec_u64(c, &body->id, 1);
	codec_bool(c, &body->on);
	codec_text(c, &body->actor, COMMAND_ACTOR_BYTES_MAX);
}

void body_snapshot_check(struct codec *c, struct command_snapshot_check *body)
{
	codec_u64(c, &body->id, 1);
	codec_u64(c, &body->node, 1);
	codec_u8(c, &body->level, 1, CHECK_LEVEL_DRILL);
	codec_bool(c, &body->ok);
	codec_text(c, &body->text, CHECK_TEXT_BYTES_MAX);
}

void body_journal_record(struct codec *c, struct command_journal_record *body)
{
	codec_u64(c, &body->base_id, 1);
	codec_u32(c, &body->number, 1, UINT32_MAX);
	codec_u64(c, &body->node, 1);
	codec_u64(c, &body->index, 1);
	codec_u64(c, &body->term, 0);
	codec_u64(c, &body->time_ms, 0);
	codec_fixed(c, body->manifest_hash, sizeof body->manifest_hash);
}

void body_journal_confirm(struct codec *c, struct command_journal_confirm *body)
{
	codec_u64(c, &body->base_id, 1);
	codec_u32(c, &body->number, 1, UINT32_MAX);
	codec_u64(c, &body->node, 1);
	codec_fixed(c, body->manifest_hash, sizeof body->manifest_hash);
	codec_u8(c, &body->needed, 1, SITES_MAX);
}

void body_snapshot_mark(struct codec *c, struct command_snapshot_mark *body)
{
	codec_u64(c, &body->id, 1);
	codec_u64(c, &body->node, 1);
	codec_u64(c, &body->after, 0);
}

void body_state_root(struct codec *c, struct command_state_root *body)
{
	codec_u64(c, &body->id, 1);
	codec_u64(c, &body->node, 1);
	codec_u64(c, &body->index, 1);
	codec_fixed(c, body->root, sizeof body->root);
}
