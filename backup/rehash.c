#include "backup/rehash.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/verify.h"
#include "base/file.h"
#include "base/log.h"
#include "base/wire.h"

static const char magic[] = "KBH1";
enum { STATE_BYTES_MAX = 128 + REHASH_DAMAGED_MAX * (34 + REHASH_TEXT_BYTES) };

void rehash_state_encode(const struct rehash_state *state, struct buf *to)
{
	assert(state->n_damaged <= REHASH_DAMAGED_MAX);
	buf_put_str(to, magic);
	buf_put_u8(to, 1);
	buf_put_zeros(to, 3);
	buf_put_u64(to, state->reached);
	buf_put_u64(to, state->reached_ms);
	buf_put_u64(to, state->began_ms);
	buf_put_u64(to, state->ended_ms);
	buf_put_u64(to, state->objects);
	buf_put_u64(to, state->bytes);
	buf_put_u64(to, state->found);
	buf_append(to, state->witness, HASH_BYTES);
	buf_put_u32(to, state->n_damaged);
	for (unsigned i = 0; i < state->n_damaged; i++) {
		buf_append(to, state->damaged[i].manifest_hash, HASH_BYTES);
		buf_put_lp16(to, bytes_str(state->damaged[i].text));
	}
}

/* What a text may hold: it goes into logs and into commands. */
static bool rehash_is_plain(char c)
{
	return c >= ' ' && c <= '~';
}

static void rehash_decode_damage(struct wire *w, struct rehash_damage *damage)
{
	struct bytes text;

	wire_copy(w, damage->manifest_hash, HASH_BYTES);
	text = wire_lp16(w, REHASH_TEXT_BYTES - 1);
	for (size_t i = 0; i < text.len; i++) {
		if (!rehash_is_plain((char)text.data[i])) {
			wire_fail(w);
		}
	}
	if (text.len == 0 || !wire_ok(w)) {
		wire_fail(w);
		return;
	}
	memcpy(damage->text, text.data, text.len);
	damage->text[text.len] = 0;
}

int rehash_state_decode(struct bytes bytes, struct rehash_state *ret_state, struct err *e)
{
	_cleanup_(x_freep) struct rehash_state *state = x_calloc(1, sizeof *state);
	struct wire w = wire_of(bytes);
	bool ours = wire_match(&w, magic);
	unsigned version = wire_u8(&w);

	if (!ours || !wire_ok(&w)) {
		return err_set(e, KLUIS_ECORRUPT, "not a state of re-reading");
	}
	if (version != 1) {
		return err_set(e, KLUIS_EVERSION, "a state of re-reading of another version");
	}
	wire_zeros(&w, 3);
	state->reached = wire_u64(&w);
	state->reached_ms = wire_u64(&w);
	state->began_ms = wire_u64(&w);
	state->ended_ms = wire_u64(&w);
	state->objects = wire_u64(&w);
	state->bytes = wire_u64(&w);
	state->found = wire_u64(&w);
	wire_copy(&w, state->witness, HASH_BYTES);
	state->n_damaged = wire_u32(&w);
	if (state->n_damaged > REHASH_DAMAGED_MAX || state->reached >= REHASH_ALL) {
		wire_fail(&w);
		state->n_damaged = 0;
	}
	for (unsigned i = 0; i < state->n_damaged; i++) {
		rehash_decode_damage(&w, &state->damaged[i]);
	}
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_ECORRUPT, "a damaged state of re-reading");
	}
	*ret_state = *state;
	return 0;
}

static char *rehash_path(struct repository *repository)
{
	return x_asprintf("%s/rehash", repository_path(repository));
}

void rehash_load(struct repository *repository, struct rehash_state *ret_state)
{
	_cleanup_(x_freep) char *path = rehash_path(repository);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct err why = {0};
	int rc = file_read(path, STATE_BYTES_MAX, &bytes, &why);

	memset(ret_state, 0, sizeof *ret_state);
	if (rc == 0) {
		rc = rehash_state_decode(buf_bytes(&bytes), ret_state, &why);
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		log_err("op=rehash file=%s error=\"%s\", everything is read anew", path, why.text);
	}
}

static int rehash_save(
	struct repository *repository, const struct rehash_state *state, struct err *e)
{
	_cleanup_(x_freep) char *path = rehash_path(repository);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	rehash_state_encode(state, &bytes);
	return file_write(path, buf_bytes(&bytes), 0600, e);
}

uint64_t rehash_due(const struct rehash_config *config, const struct rehash_state *state,
	uint64_t wall_ms, uint64_t *ret_upto)
{
	uint64_t from_ms = state->reached_ms, most_ms = REHASH_CATCH_UP * config->step_ms, passed;
	uint64_t upto;

	assert(config->period_ms > 0 && config->period_ms < REHASH_ALL && config->step_ms > 0);
	if (from_ms == 0 || from_ms > wall_ms) {
		from_ms = wall_ms;
	} else if (wall_ms - from_ms > config->period_ms) {
		from_ms = wall_ms - config->period_ms; /* All is due, and no more than all. */
	}
	passed = wall_ms - from_ms < most_ms ? wall_ms - from_ms : most_ms;
	if (passed > config->period_ms) {
		passed = config->period_ms;
	}
	upto = state->reached + passed * REHASH_ALL / config->period_ms;
	*ret_upto = upto < REHASH_ALL ? upto : REHASH_ALL;
	return from_ms + passed;
}

/* One step under way. */
struct rehash {
	const struct rehash_config *config;
	struct rehash_state *state;
	uint64_t upto, wall_ms;
};

static bool rehash_is_due(const struct rehash *rh, const uint8_t hash[HASH_BYTES])
{
	uint64_t at = load_u32(hash);

	return at >= rh->state->reached && at < rh->upto;
}

static struct rehash_damage *rehash_find(
	struct rehash_state *state, const uint8_t manifest_hash[32])
{
	for (unsigned i = 0; i < state->n_damaged; i++) {
		if (memcmp(state->damaged[i].manifest_hash, manifest_hash, HASH_BYTES) == 0) {
			return &state->damaged[i];
		}
	}
	return NULL;
}

const char *rehash_damage_of(const struct rehash_state *state, const uint8_t manifest_hash[32])
{
	struct rehash_damage *damage =
		rehash_find((struct rehash_state *)(uintptr_t)state, manifest_hash);

	return damage == NULL ? NULL : damage->text;
}

static void rehash_say(
	const struct rehash *rh, const uint8_t manifest_hash[32], bool ok, const char *text)
{
	if (rh->config->checked_cb != NULL) {
		rh->config->checked_cb(rh->config->data, manifest_hash, ok, text);
	}
}

/* Keeps in mind that this snapshot is not whole; it is looked at again with the next step. */
static void rehash_mark(struct rehash *rh, const uint8_t manifest_hash[32], const char *text)
{
	struct rehash_state *state = rh->state;
	struct rehash_damage *damage;

	assert(text[0] != 0);
	state->found++;
	log_err("op=rehash state=damaged error=\"%s\"", text);
	if (rehash_find(state, manifest_hash) != NULL || state->n_damaged == REHASH_DAMAGED_MAX) {
		return;
	}
	damage = &state->damaged[state->n_damaged++];
	memcpy(damage->manifest_hash, manifest_hash, HASH_BYTES);
	(void)snprintf(damage->text, sizeof damage->text, "%.*s", (int)sizeof damage->text - 1,
		text); /* Cut text is still text. */
	for (char *c = damage->text; *c != 0; c++) {
		*c = rehash_is_plain(*c) ? *c : '?';
	}
	rehash_say(rh, manifest_hash, false, damage->text);
}

static bool rehash_is_damage(int rc)
{
	return rc == KLUIS_EVERIFY || rc == KLUIS_ECORRUPT || rc == KLUIS_ENOTFOUND ||
	       rc == KLUIS_EIO;
}

/* Pruning may take a snapshot away while it is read. */
static bool rehash_is_kept(struct rehash *rh, const uint8_t manifest_hash[32])
{
	struct manifest_name name;

	return repository_find(rh->config->repository, manifest_hash, &name, NULL) !=
	       KLUIS_ENOTFOUND;
}

static int rehash_object(struct rehash *rh, const uint8_t manifest_hash[32],
	const struct manifest_object *object, struct err *e)
{
	struct repository *repository = rh->config->repository;
	struct err why = {0};
	int rc = verify_object(repository, object, 2, &why);

	if (rc == 0) {
		rh->state->objects++;
		rh->state->bytes += object->bytes;
		return 0;
	}
	if (!rehash_is_damage(rc)) {
		return err_set(e, rc, "%s", why.text);
	}
	if (rc == KLUIS_ENOTFOUND && !rehash_is_kept(rh, manifest_hash)) {
		return 0;
	}
	if (rc == KLUIS_EVERIFY) {
		/* Out of the way of a good one. What could not be read may be read again. */
		rc = repository_set_aside(repository, object->hash, e);
		if (rc != 0) {
			return rc;
		}
		rc = KLUIS_EVERIFY;
	}
	(void)repository_object_fault(object->hash, rc, &why);
	rehash_mark(rh, manifest_hash, why.text);
	return 0;
}

static int rehash_objects(struct rehash *rh, const uint8_t manifest_hash[32],
	const struct backup_manifest *m, struct err *e)
{
	const uint8_t *hash = rh->config->suspect;
	bool suspect = hash != NULL && memcmp(hash, manifest_hash, HASH_BYTES) == 0;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < m->n_index + m->n_packs; i++) {
		if (!suspect && !rehash_is_due(rh, m->objects[i].hash)) {
			continue;
		}
		if (rh->config->cancel != NULL && atomic_load(rh->config->cancel)) {
			return err_set(e, KLUIS_ECLOSED, "stopped");
		}
		rc = rehash_object(rh, manifest_hash, &m->objects[i], e);
	}
	return rc;
}

/* A manifest that is no longer what it was stays where it is: it is what says which objects are
 * needed, and a good one takes its place. Signatures of nodes that have left without a former key
 * in the settings cannot be checked. */
static int rehash_read_manifest(struct rehash *rh, const struct manifest_name *name,
	struct backup_manifest *ret_manifest, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint8_t hash[HASH_BYTES];
	int rc = repository_read_manifest(rh->config->repository, name, &bytes, ret_manifest, e);

	if (rc == 0 && rehash_is_due(rh, name->hash) &&
		backup_trust_knows(rh->config->trust, ret_manifest->node)) {
		backup_manifest_release(ret_manifest);
		rc = backup_manifest_open_held(
			buf_bytes(&bytes), rh->config->trust, ret_manifest, hash, NULL, e);
	}
	return rc;
}

/* Nobody else has a copy of this site's own receipt. When it is damaged there is a new one: the
 * snapshot came just now, so that it stays long enough. */
static int rehash_receipt(struct rehash *rh, const struct manifest_name *name,
	const struct backup_manifest *m, struct err *e)
{
	const struct rehash_config *c = rh->config;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct receipt receipt;
	uint8_t fresh[RECEIPT_BYTES];
	struct err why = {0};
	int rc = repository_get_receipt(c->repository, name->hash, c->node, &bytes, &why);

	if (rc == KLUIS_ENOTFOUND) {
		return 0; /* Taken here, or not taken in yet. */
	}
	rc = rc != 0 ? rc : receipt_open(buf_bytes(&bytes), c->trust, &receipt, &why);
	if (rc == 0 && receipt.node == c->node &&
		memcmp(receipt.manifest_hash, name->hash, HASH_BYTES) == 0) {
		return 0;
	}
	rh->state->found++;
	log_warn("op=rehash state=damaged error=\"the receipt of index %llu: %s\", signed anew",
		(unsigned long long)name->index, rc == 0 ? "it is another one's" : why.text);
	receipt = receipt_of(m, name->hash, c->node, rh->wall_ms);
	rc = receipt_encode(&receipt, c->signer, fresh, e);
	return rc != 0 ? rc
		       : repository_put_receipt(
				 c->repository, &receipt, bytes_of(fresh, sizeof fresh), e);
}

static int rehash_snapshot(struct rehash *rh, const struct manifest_name *name, struct err *e)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct err why = {0};
	int rc = rehash_read_manifest(rh, name, &m, &why);

	if (rc == 0) {
		rc = rehash_is_due(rh, name->hash) ? rehash_receipt(rh, name, &m, e) : 0;
		return rc != 0 ? rc : rehash_objects(rh, name->hash, &m, e);
	}
	if (rc == KLUIS_ENOTFOUND) {
		return 0; /* Pruned meanwhile. */
	}
	if (!rehash_is_damage(rc)) {
		return err_set(e, rc, "%s", why.text);
	}
	if (rehash_find(rh->state, name->hash) == NULL) {
		(void)repository_manifest_fault(name, rc, &why);
		rehash_mark(rh, name->hash, why.text);
	}
	return 0;
}

/* The log says that they are here: reading cannot miss what has no manifest. */
static void rehash_missing(struct rehash *rh)
{
	for (size_t i = 0; i < rh->config->n_held; i++) {
		const struct manifest_name *name = &rh->config->held[i];
		_cleanup_(x_closep) int fd = -1;
		struct err why = {0};

		if (rehash_find(rh->state, name->hash) == NULL &&
			repository_open_manifest(rh->config->repository, name, &fd, &why) ==
				KLUIS_ENOTFOUND) {
			(void)repository_manifest_fault(name, KLUIS_ENOTFOUND, &why);
			rehash_mark(rh, name->hash, why.text);
		}
	}
}

static bool rehash_is_held(const struct rehash *rh, const uint8_t manifest_hash[32])
{
	for (size_t i = 0; i < rh->config->n_held; i++) {
		if (memcmp(rh->config->held[i].hash, manifest_hash, HASH_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

static bool rehash_is_whole(struct rehash *rh, const uint8_t manifest_hash[32])
{
	struct verify_report report;

	return verify_snapshot(rh->config->repository, manifest_hash, rh->config->trust, 2, NULL,
		       NULL, &report, NULL) == 0;
}

static const struct manifest_name *rehash_newest(struct rehash *rh)
{
	for (size_t i = rh->config->n_held; i > 0; i--) {
		if (rehash_is_kept(rh, rh->config->held[i - 1].hash)) {
			return &rh->config->held[i - 1];
		}
	}
	return NULL;
}

/* Of what is gone nothing good can be said: of what is still here it can. */
static void rehash_say_newest(struct rehash *rh)
{
	const struct manifest_name *newest = rehash_newest(rh);

	if (newest != NULL && rehash_is_whole(rh, newest->hash)) {
		rehash_say(rh, newest->hash, true, "");
	}
}

/* Damaged ones that are whole again, or gone by age, are forgotten. The sizes tell most at once. */
static void rehash_look_again(struct rehash *rh)
{
	struct rehash_state *state = rh->state;
	bool gone = false;

	for (unsigned i = 0; i < state->n_damaged;) {
		struct rehash_damage was = state->damaged[i];
		bool kept = rehash_is_kept(rh, was.manifest_hash);

		if (kept ? !rehash_is_whole(rh, was.manifest_hash)
			 : rehash_is_held(rh, was.manifest_hash)) {
			i++;
			continue;
		}
		state->n_damaged--;
		memmove(&state->damaged[i], &state->damaged[i + 1],
			(state->n_damaged - i) * sizeof state->damaged[i]);
		log_info("op=rehash state=%s was=\"%s\"", kept ? "whole" : "gone", was.text);
		gone = !kept;
		if (kept && state->n_damaged == 0) {
			rehash_say(rh, was.manifest_hash, true, "");
		}
	}
	if (gone && state->n_damaged == 0) {
		rehash_say_newest(rh);
	}
}

/* The newest that is here: all of it will have been read when the round ends. */
static void rehash_begin(struct rehash *rh)
{
	const struct manifest_name *newest = rehash_newest(rh);

	memset(rh->state->witness, 0, sizeof rh->state->witness);
	if (newest != NULL) {
		memcpy(rh->state->witness, newest->hash, HASH_BYTES);
	}
}

static void rehash_end(struct rehash *rh)
{
	static const uint8_t none[HASH_BYTES];
	struct rehash_state *state = rh->state;

	log_info("op=rehash state=round objects=%llu bytes=%llu damaged=%u",
		(unsigned long long)state->objects, (unsigned long long)state->bytes,
		state->n_damaged);
	if (state->n_damaged == 0 && memcmp(state->witness, none, HASH_BYTES) != 0 &&
		rehash_is_kept(rh, state->witness)) {
		rehash_say(rh, state->witness, true, "");
	}
}

static int rehash_run(struct rehash *rh, struct err *e)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	size_t n = 0;
	int rc;

	if (rh->state->reached == 0) {
		rehash_begin(rh);
	}
	rc = repository_list(rh->config->repository, &names, &n, NULL, e);
	if (rc == 0) {
		rehash_look_again(rh);
		rehash_missing(rh);
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = rehash_snapshot(rh, &names[i], e);
	}
	return rc;
}

int rehash_step(const struct rehash_config *config, struct rehash_state *state, uint64_t wall_ms,
	struct err *e)
{
	_cleanup_(x_freep) struct rehash_state *next = x_memdup(state, sizeof *state);
	struct rehash rh = {.config = config, .state = next, .wall_ms = wall_ms};
	uint64_t reached_ms = rehash_due(config, state, wall_ms, &rh.upto);
	int rc = rehash_run(&rh, e);

	if (rc != 0) {
		return rc;
	}
	next->reached = rh.upto;
	next->reached_ms = reached_ms;
	next->began_ms = next->began_ms == 0 ? wall_ms : next->began_ms;
	if (next->reached == REHASH_ALL) {
		rehash_end(&rh);
		next->reached = 0;
		next->began_ms = next->ended_ms = wall_ms;
	}
	rc = rehash_save(config->repository, next, e);
	if (rc == 0) {
		*state = *next;
	}
	return rc;
}
