/* What the files behind the public headers share. */
#ifndef KLUIS_CLI_CLIENT_KLUIS_IMPL_H
#define KLUIS_CLI_CLIENT_KLUIS_IMPL_H

#include "cli/client/agent.h"
#include "cli/client/kluis_account.h"
#include "cli/client/kluis_share.h"
#include "cli/client/session.h"
#include "cli/client/put.h"

struct kluis {
	struct profile *profile;
	struct client *client;
	struct vault_restore restore; /* Shown and not yet accepted. */
	bool restore_shown;
	enum client_level level; /* Of the calls in kluis_api.h. */
	unsigned wait_ms;
	uint64_t staleness_ms; /* Of the last of these calls. */
	kluis_notice_fn *notice;
	void *notice_arg;
	bool offline;
	uint64_t synced_ms;		 /* Of the last offline read. */
	struct kluis_found_in *found_in; /* Of the last search; NULL: none. */
	/* Of a person: */
	struct agent *agent; /* Has unlocked the profile; NULL: a password did, or nobody. */
	kluis_ask_fn *ask;
	kluis_show_fn *show;
	void *ask_arg;
	kluis_key_fn *key; /* NULL: the program reaches no authenticator. */
	void *key_arg;
	struct secret recovering; /* The code, during kluis_recover(). */
	bool unsettled;		  /* Vaults were looked at since pins were put into the keyring. */
};

/* At the begin of a call that needs keys: what other devices did meanwhile. Nothing of a service
 * account. */
KLUIS_MUST_CHECK int kluis_refresh(struct kluis *k, struct err *e);
/* Behind kluis_refresh(), for what is about others. The caller frees *ret_people. */
struct people;
KLUIS_MUST_CHECK int kluis_people(struct kluis *k, struct people **ret_people, struct err *e);
/* What the given CA alone vouches for: the cluster's parameters, to be pinned. */
KLUIS_MUST_CHECK int kluis_fetch(const char *const *endpoints, size_t n_endpoints,
	struct bytes ca_pem, struct client **ret_client, struct api_cluster *ret_cluster,
	struct err *e);

/* Finishes what an earlier run left, opens, syncs; or, offline, takes what the cache has. */
KLUIS_MUST_CHECK int kluis_open_vault(
	struct kluis *k, const char *name, struct vault **ret_vault, struct err *e);
/* With its tree; the caller frees both. */
KLUIS_MUST_CHECK int kluis_open_tree(struct kluis *k, const char *name, struct vault **ret_vault,
	struct tree **ret_tree, struct err *e);
/* One change from opening to commit, which _end() does after rc 0; it is called in any case. */
struct kluis_writing {
	struct vault *vault;
	struct put *put;
	struct err err;
};
KLUIS_MUST_CHECK int kluis_writing_open(
	struct kluis_writing *w, struct kluis *k, const char *vault_name);
int kluis_writing_end(struct kluis_writing *w, int rc, struct kluis_failure *error);
void kluis_forget_search(struct kluis *k);
/* For put_config.notice, with the struct kluis as its arg. */
void kluis_tell(void *arg, const struct change_notice *notice);
/* Fills the caller's failure, if there was one and it wants it; returns rc. */
int kluis_give(int rc, const struct err *e, struct kluis_failure *error);
/* KLUIS_EINVAL: none of the roles. */
KLUIS_MUST_CHECK int kluis_role_check(enum kluis_role role, struct err *e);
/* Around each call of kluis_api.h: its level counts there alone, for what verifies has to see the
 * newest. */
struct client *kluis_api_begin(struct kluis *kluis);
int kluis_api_end(struct kluis *kluis, int rc, const struct err *e, struct kluis_failure *error);
/* KLUIS_EINVAL unless the text may stand in a field of a request's head. */
KLUIS_MUST_CHECK int kluis_api_field(const char *text, struct err *e);

#endif
