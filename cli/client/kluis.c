/* The public face of the library: plain types in, plain types out. */
#include "cli/client/kluis_impl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/account.h"
#include "cli/client/get.h"
#include "cli/client/put.h"

/* The public numbers are those of base/err.h, which only ever grow at the end. */
#define SAME(public, own) static_assert((int)(public) == (int)(own), #public)
SAME(KLUIS_BAD_INPUT, KLUIS_EINVAL);
SAME(KLUIS_NOT_SIGNED_IN, KLUIS_EUNAUTHENTICATED);
SAME(KLUIS_FORBIDDEN, KLUIS_EFORBIDDEN);
SAME(KLUIS_NOT_FOUND, KLUIS_ENOTFOUND);
SAME(KLUIS_GONE, KLUIS_EGONE);
SAME(KLUIS_CONFLICT, KLUIS_ECONFLICT);
SAME(KLUIS_PRECONDITION, KLUIS_EPRECONDITION);
SAME(KLUIS_TOO_LARGE, KLUIS_ETOOLARGE);
SAME(KLUIS_QUOTA, KLUIS_EQUOTA);
SAME(KLUIS_RATE_LIMITED, KLUIS_ERATE);
SAME(KLUIS_NO_QUORUM, KLUIS_ENOQUORUM);
SAME(KLUIS_BEHIND, KLUIS_EBEHIND);
SAME(KLUIS_RESTORED, KLUIS_ELINEAGE);
SAME(KLUIS_READ_ONLY, KLUIS_EREADONLY);
SAME(KLUIS_OUTCOME_UNKNOWN, KLUIS_EUNKNOWN_OUTCOME);
SAME(KLUIS_FAILED, KLUIS_EINTERNAL);
SAME(KLUIS_TIMED_OUT, KLUIS_ETIMEOUT);
SAME(KLUIS_IO, KLUIS_EIO);
SAME(KLUIS_CORRUPT, KLUIS_ECORRUPT);
SAME(KLUIS_NOT_VERIFIED, KLUIS_EVERIFY);
SAME(KLUIS_PIN_BROKEN, KLUIS_EPIN);
SAME(KLUIS_BUSY, KLUIS_EBUSY);
SAME(KLUIS_EXISTS, KLUIS_EEXIST);
SAME(KLUIS_UNREACHABLE, KLUIS_ECONNECT);

const char *kluis_code_name(int code)
{
	return err_name(code);
}

int kluis_exit_code(int code)
{
	return err_exit_code(code);
}

const char *kluis_version(void)
{
	return KLUIS_VERSION;
}

int kluis_give(int rc, const struct err *e, struct kluis_failure *error)
{
	if (rc != 0 && error != NULL) {
		error->code = rc;
		(void)snprintf(error->text, sizeof error->text, "%s",
			e->text[0] == 0 ? err_text(rc) : e->text);
	}
	return rc;
}

int kluis_fetch(const char *const *endpoints, size_t n_endpoints, struct bytes ca_pem,
	struct client **ret_client, struct api_cluster *ret_cluster, struct err *e)
{
	struct client_config config = {
		.endpoints = endpoints, .n_endpoints = n_endpoints, .ca_pem = ca_pem};
	int rc;

	if (ca_pem.len == 0) {
		return err_set(e, KLUIS_EINVAL, "the provider CA is needed");
	}
	rc = client_new(&config, ret_client, e);
	rc = rc != 0 ? rc : api_well_known(*ret_client, ret_cluster, e);
	return rc != 0 ? rc : api_cluster_pin_ca(ret_cluster, config.ca_pem, e);
}

static int enrol_profile(const struct kluis_enrolment *n, const struct api_cluster *cluster,
	struct profile **ret_profile, struct err *e)
{
	struct profile *profile;

	if (profile_open(n->profile_dir, &profile, e) != 0) {
		return profile_make(n->profile_dir, cluster, n->account,
			n->device_name == NULL ? "device" : n->device_name, n->endpoints,
			n->n_endpoints, ret_profile, e);
	}
	if (!profile->enrolled && strcmp(profile->account, n->account) == 0 &&
		memcmp(profile->cluster_id, cluster->cluster_id, ID_BYTES) == 0) {
		*ret_profile = profile;
		return 0;
	}
	profile_close(profile);
	return err_set(e, KLUIS_EEXIST, "there is a profile in '%s' already", n->profile_dir);
}

int kluis_enrol(const struct kluis_enrolment *n, struct kluis_failure *error)
{
	struct api_cluster cluster = {.n_records = 0};
	struct profile *profile = NULL;
	struct client *client = NULL;
	struct err e = {0};
	int rc;

	rc = identity_name_valid(bytes_str(n->account))
		     ? 0
		     : err_set(&e, KLUIS_EINVAL, "'%s' is no account name", n->account);
	rc = rc != 0 ? rc
		     : kluis_fetch(n->endpoints, n->n_endpoints, bytes_of(n->ca_pem, n->ca_pem_len),
			       &client, &cluster, &e);
	rc = rc != 0 ? rc : enrol_profile(n, &cluster, &profile, &e);
	rc = rc != 0 ? rc : session_enrol(profile, client, n->token, &e);
	profile_close(profile);
	client_free(client);
	api_cluster_release(&cluster);
	return kluis_give(rc, &e, error);
}

int kluis_open(const char *profile_dir, const char *first_endpoint, uint64_t give_up_ms,
	struct kluis **ret_kluis, struct kluis_failure *error)
{
	struct kluis *k = x_calloc(1, sizeof *k);
	struct err e = {0};
	int rc = profile_open(profile_dir, &k->profile, &e);

	if (rc == 0 && k->profile->person == NULL && !k->profile->enrolled) {
		rc = err_set(&e, KLUIS_EUNAUTHENTICATED, "the enrolment was not finished");
	}
	rc = rc != 0 ? rc : session_client(k->profile, first_endpoint, give_up_ms, &k->client, &e);
	if (rc != 0) {
		kluis_close(k);
		return kluis_give(rc, &e, error);
	}
	*ret_kluis = k;
	return 0;
}

void kluis_close(struct kluis *k)
{
	struct err ignored = {0};

	if (k != NULL) {
		if (k->unsettled && !k->offline && k->profile->person->ring != NULL &&
			vault_person_store_pins(k->profile, k->client, &ignored) != 0) {
			ignored.code = 0; /* The pins are in the profile: the next run does it. */
		}
		kluis_forget_search(k);
		client_free(k->client);
		profile_close(k->profile);
		agent_free(k->agent);
		free(k);
	}
}

int kluis_refresh(struct kluis *k, struct err *e)
{
	struct profile *profile = k->profile;

	if (profile->person == NULL) {
		return 0;
	}
	if (profile->person->ring == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
			profile->account);
	}
	return k->offline ? 0 : account_refresh(profile, k->client, e);
}

int kluis_people(struct kluis *k, struct people **ret_people, struct err *e)
{
	int rc = kluis_refresh(k, e);

	if (rc == 0) {
		*ret_people = people_new(k->profile, k->client);
	}
	return rc;
}

int kluis_vault_create(
	struct kluis *k, const char *name, char ret_id[33], struct kluis_failure *error)
{
	uint8_t id[ID_BYTES];
	struct err e = {0};
	int rc = kluis_refresh(k, &e);

	rc = rc != 0 ? rc : vault_finish_creating(k->profile, k->client, &e);
	rc = rc != 0 ? rc : vault_create(k->profile, k->client, name, id, &e);
	if (rc == 0) {
		hex_encode(bytes_of(id, ID_BYTES), ret_id);
	}
	return kluis_give(rc, &e, error);
}

int kluis_open_vault(struct kluis *k, const char *name, struct vault **ret_vault, struct err *e)
{
	struct vault *vault;
	int rc = kluis_refresh(k, e);

	rc = rc != 0 || k->offline ? rc : vault_finish_creating(k->profile, k->client, e);
	rc = rc != 0 ? rc : vault_open(k->profile, k->client, name, &vault, e);
	if (rc != 0) {
		return rc;
	}
	rc = k->offline ? vault_go_offline(vault, &k->synced_ms, e) : vault_sync(vault, e);
	if (rc != 0) {
		vault_close(vault);
		return rc;
	}
	k->unsettled = k->profile->person != NULL && k->profile->enrolled;
	*ret_vault = vault;
	return 0;
}

int kluis_vault_delete(struct kluis *k, const char *name, struct kluis_failure *error)
{
	struct vault *vault;
	struct err e = {0};
	int rc = kluis_open_vault(k, name, &vault, &e);

	if (rc == 0) {
		rc = vault->offline ? vault_refuse_offline(vault, &e) : vault_delete(vault, &e);
		vault_close(vault);
		kluis_forget_search(k);
	}
	return kluis_give(rc, &e, error);
}

int kluis_vault_forget(struct kluis *k, const char *name, struct kluis_failure *error)
{
	uint8_t id[ID_BYTES];
	struct err e = {0};
	int rc = kluis_refresh(k, &e);

	if (rc == 0 && k->offline) {
		rc = err_set(&e, KLUIS_ECONNECT, "a vault is not given up offline");
	}
	rc = rc != 0 ? rc : vault_find(k->profile, k->client, name, id, &e);
	rc = rc != 0 ? rc : vault_check_denied(k->client, id, &e);
	rc = rc != 0 ? rc : vault_give_up(k->profile, k->client, id, &e);
	kluis_forget_search(k);
	return kluis_give(rc, &e, error);
}

int kluis_open_tree(struct kluis *k, const char *name, struct vault **ret_vault,
	struct tree **ret_tree, struct err *e)
{
	int rc = kluis_open_vault(k, name, ret_vault, e);

	if (rc != 0) {
		return rc;
	}
	rc = tree_load(*ret_vault, ret_tree, e);
	if (rc != 0) {
		vault_close(*ret_vault);
	}
	return rc;
}

struct put_caller {
	struct kluis *k;
	kluis_progress_fn *progress;
	void *arg;
};

static void put_progress(void *arg, uint64_t bytes)
{
	struct put_caller *caller = arg;

	if (caller->progress != NULL) {
		caller->progress(caller->arg, bytes, 0);
	}
}

static void put_notice(void *arg, const struct change_notice *notice)
{
	const struct put_caller *caller = arg;

	kluis_tell(caller->k, notice);
}

int kluis_put_file(struct kluis *k, const char *vault_name, const char *local_path,
	const char *path, kluis_progress_fn *progress, void *arg, struct kluis_failure *error)
{
	struct put_caller caller = {k, progress, arg};
	const struct put_config config = {
		.progress = put_progress, .notice = put_notice, .arg = &caller};
	struct put_result result;
	struct vault *vault;
	struct put *put = NULL;
	struct err e = {0};
	bool is_local;
	int rc = kluis_open_vault(k, vault_name, &vault, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	rc = put_new(vault, &config, &put, &e);
	rc = rc != 0 ? rc : put_file(put, local_path, path, &is_local, &e);
	rc = rc != 0 ? rc : put_finish(put, &result, &e);
	put_free(put);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_put(struct kluis *k, const char *vault, const void *data, size_t len, const char *path,
	struct kluis_failure *error)
{
	_cleanup_(x_closep) int fd = memfd_create("kluis", MFD_CLOEXEC);
	char local_path[64];
	struct err e = {0};

	if (fd < 0 || file_write_all(fd, bytes_of(data, len)) != 0) {
		return kluis_give(err_set(&e, KLUIS_EIO, "no memory for '%s'", path), &e, error);
	}
	(void)snprintf(local_path, sizeof local_path, "/proc/self/fd/%d", fd);
	return kluis_put_file(k, vault, local_path, path, NULL, NULL, error);
}

struct get_caller {
	kluis_write_fn *write;
	void *arg;
};

static int get_write(void *arg, struct bytes bytes, struct err *e)
{
	struct get_caller *caller = arg;

	return caller->write(caller->arg, bytes.data, bytes.len) == 0
		       ? 0
		       : err_set(e, KLUIS_EINTERNAL, "the caller took no more");
}

/* local_path NULL: to the caller's function. */
static int get_any(struct kluis *k, const char *vault_name, const char *path,
	const char *local_path, struct get_caller *caller, struct kluis_failure *error)
{
	const struct get_config config = {.write = get_write, .arg = caller};
	struct vault *vault;
	struct tree *tree;
	struct tree_item *item;
	struct err e = {0};
	bool moved, local;
	int rc = kluis_open_tree(k, vault_name, &vault, &tree, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	rc = tree_find(tree, path, &item, &e);
	if (rc == 0 && (item == NULL || item->type != ITEM_FILE)) {
		rc = err_set(&e, KLUIS_EINVAL, "'%s' is no file", path);
	}
	if (rc == 0) {
		rc = local_path == NULL ? get_file(tree, item, &config, &moved, &e)
					: get_file_to(tree, item, local_path, true, &config, &local,
						  &moved, &e);
	}
	tree_free(tree);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_get(struct kluis *k, const char *vault, const char *path, kluis_write_fn *write,
	void *arg, struct kluis_failure *error)
{
	struct get_caller caller = {write, arg};

	return get_any(k, vault, path, NULL, &caller, error);
}

int kluis_get_file(struct kluis *k, const char *vault, const char *path, const char *local_path,
	struct kluis_failure *error)
{
	return get_any(k, vault, path, local_path, NULL, error);
}

static void list_one(const struct tree_item *item, kluis_entry_fn *each, void *arg)
{
	struct kluis_entry entry = {.name = item->name,
		.is_folder = item->type == ITEM_FOLDER,
		.type = (enum kluis_type)item->type};
	struct tree_file file;
	struct err ignored = {0};

	if (!entry.is_folder && tree_file_stat(item, &file, &ignored) == 0) {
		entry.size = file.size;
		entry.mtime_ms = file.mtime_ms;
		memcpy(entry.sha256, file.sha256, sizeof entry.sha256);
	}
	each(arg, &entry);
}

int kluis_list(struct kluis *k, const char *vault_name, const char *path, kluis_entry_fn *each,
	void *arg, struct kluis_failure *error)
{
	struct vault *vault;
	struct tree *tree;
	struct tree_item *item, **children;
	struct err e = {0};
	size_t n;
	int rc = kluis_open_tree(k, vault_name, &vault, &tree, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	rc = tree_find(tree, path, &item, &e);
	if (rc == 0 && item != NULL && item->type != ITEM_FOLDER) {
		rc = err_set(&e, KLUIS_EINVAL, "'%s' is no folder", path);
	}
	if (rc == 0) {
		children = tree_children(tree, item, &n);
		for (size_t i = 0; i < n; i++) {
			list_one(children[i], each, arg);
		}
		free(children);
	}
	tree_free(tree);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_remove(
	struct kluis *k, const char *vault_name, const char *path, struct kluis_failure *error)
{
	const struct put_config config = {.notice = kluis_tell, .arg = k};
	struct put_result result;
	struct tree_item *item;
	struct vault *vault;
	struct put *put = NULL;
	struct err e = {0};
	int rc = kluis_open_vault(k, vault_name, &vault, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	rc = put_new(vault, &config, &put, &e);
	rc = rc != 0 ? rc : tree_find(put_tree(put), path, &item, &e);
	if (rc == 0 && item == NULL) {
		rc = err_set(&e, KLUIS_EINVAL, "the root of a vault cannot be removed");
	}
	rc = rc != 0 ? rc : put_remove(put, path, &e);
	rc = rc != 0 ? rc : put_finish(put, &result, &e);
	put_free(put);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_verify(struct kluis *k, const char *vault_name, struct kluis_report *ret_report,
	struct kluis_failure *error)
{
	const struct get_config config = {.write = NULL};
	struct get_report report;
	struct vault *vault;
	struct tree *tree;
	struct err e = {0};
	bool moved;
	int rc = k->offline ? err_set(&e, KLUIS_ECONNECT, "offline: the cache proves nothing") : 0;

	rc = rc != 0 ? rc : kluis_open_tree(k, vault_name, &vault, &tree, &e);
	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	rc = get_verify_all(tree, &config, &report, &moved, &e);
	if (rc == 0) {
		*ret_report = (struct kluis_report){vault->head.seq, report.files, report.pages,
			report.bytes, report.orphans, report.malformed};
	}
	tree_free(tree);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_restore_show(
	struct kluis *k, kluis_restore_fn *each, void *arg, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = vault_restore_check(k->profile, k->client, &k->restore, &e);

	for (size_t i = 0; rc == 0 && i < k->restore.n; i++) {
		const struct restore_record *r = &k->restore.records[i];
		struct kluis_restore shown = {.signed_ms = r->unix_ms, .raft_index = r->raft_index};

		memcpy(shown.old_lineage, r->old_lineage, ID_BYTES);
		memcpy(shown.new_lineage, r->new_lineage, ID_BYTES);
		memcpy(shown.manifest_hash, r->manifest_hash, HASH_BYTES);
		each(arg, &shown);
	}
	k->restore_shown = rc == 0;
	return kluis_give(rc, &e, error);
}

int kluis_restore_accept(struct kluis *k, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = k->restore_shown ? vault_restore_accept(k->profile, k->client, &k->restore, &e)
				  : err_set(&e, KLUIS_EINVAL, "no restore was shown to accept");

	k->restore_shown = k->restore_shown && rc != 0;
	return kluis_give(rc, &e, error);
}

int kluis_call(struct kluis *k, const char *method, const char *target, const char *type,
	const void *body, size_t len, int *ret_status, void **ret_body, size_t *ret_len,
	struct kluis_failure *error)
{
	struct client_request request = {.method = method,
		.target = target,
		.type = type,
		.body = bytes_of(body, len),
		.flags = CLIENT_AUTH};
	struct http_answer answer = {0};
	struct err e = {0};
	int rc;

	if (target[0] != '/' || strpbrk(target, " \r\n") != NULL ||
		strpbrk(method, " \r\n") != NULL ||
		(type != NULL && strpbrk(type, "\r\n") != NULL)) {
		return kluis_give(err_set(&e, KLUIS_EINVAL, "malformed request"), &e, error);
	}
	rc = client_call(k->client, &request, &answer, &e);
	if (rc == 0) {
		*ret_status = answer.status;
		*ret_len = answer.body.len;
		*ret_body = x_memdup(answer.body.data, answer.body.len);
	}
	http_answer_release(&answer);
	return kluis_give(rc, &e, error);
}
