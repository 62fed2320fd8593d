/* libkluis: store files in vaults that the cluster cannot read, and know that what comes back is
 * what was stored. Blocking C library; every head and page is verified against the pin in the local
 * profile before a byte of it is handed out.
 *
 * Ownership: a handle that a function gives belongs to the caller until its _close(); strings and
 * bytes handed to a callback live until the callback returns; everything passed in is copied where
 * it is kept. Threads: one handle, one thread at a time; several handles on different profiles are
 * independent. A callback runs on the caller's thread and does not call with the same handle. A
 * profile is locked while it is open, also against other processes.
 * Accounts of persons, whose keys are under a password: kluis_account.h.
 *
 * Errors: functions return 0, or a negative KLUIS_ code and the reason in *error (which may be
 * NULL). Out-parameters are untouched then. Codes keep their numbers for ever; one a program does
 * not know is a failure like KLUIS_FAILED. */
#ifndef KLUIS_H
#define KLUIS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KLUIS_API      __attribute__((visibility("default"), warn_unused_result))
#define KLUIS_API_FREE __attribute__((visibility("default")))
#else
#define KLUIS_API
#define KLUIS_API_FREE
#endif

enum kluis_code {
	KLUIS_DONE = 0,
	KLUIS_BAD_INPUT = -1,
	KLUIS_NOT_SIGNED_IN = -2,
	KLUIS_FORBIDDEN = -4,
	KLUIS_NOT_FOUND = -5,
	KLUIS_GONE = -6,
	KLUIS_CONFLICT = -7,
	KLUIS_PRECONDITION = -8, /* It changed meanwhile. */
	KLUIS_TOO_LARGE = -10,
	KLUIS_QUOTA = -11,
	KLUIS_RATE_LIMITED = -12,
	KLUIS_NO_QUORUM = -13,
	KLUIS_BEHIND = -14,   /* No node is as fresh as was asked for. */
	KLUIS_RESTORED = -15, /* The cluster was restored: kluis_restore_show(), then _accept(). */
	KLUIS_READ_ONLY = -16,
	KLUIS_OUTCOME_UNKNOWN = -18, /* Safe to call again. */
	KLUIS_FAILED = -19,
	KLUIS_TIMED_OUT = -23,
	KLUIS_IO = -24,
	KLUIS_CORRUPT = -25,	  /* A file of the profile was damaged. */
	KLUIS_NOT_VERIFIED = -26, /* What the cluster sent is not what a writer signed. */
	KLUIS_PIN_BROKEN = -27,	  /* Rolled back, forked, or another cluster: do not go on. */
	KLUIS_BUSY = -29,	  /* Another process has the profile. */
	KLUIS_EXISTS = -33,
	KLUIS_UNREACHABLE = -34,
};

struct kluis_failure {
	int code;
	char text[256]; /* English, one line, for a person. */
};

/* What a member of a vault, a group or a conversation may do: each what is above it, too. */
enum kluis_role {
	KLUIS_ROLE_READ = 1,
	KLUIS_ROLE_WRITE = 2,
	KLUIS_ROLE_ADMIN = 3,
};

/* "KLUIS_ENOTFOUND": stable, for logs. */
KLUIS_API_FREE const char *kluis_code_name(int code);
/* What a program should exit with (0 done, 1 failed, 2 usage, 3 partly done, 10 not found, 11 busy
 * or conflict, 12 not authorised, 13 no quorum, 14 verification failed, 15 a pin is broken). */
KLUIS_API_FREE int kluis_exit_code(int code);
/* "0.1.0" */
KLUIS_API_FREE const char *kluis_version(void);

/* Enrolment of a service account on this device: makes keys in a new profile directory (0700), pins
 * the cluster's CA and operator restore key, spends the one-time token. After a lost answer call it
 * again with the same directory and token. */
struct kluis_enrolment {
	const char *profile_dir, *account;
	const char *device_name;      /* NULL: "device". */
	const char *const *endpoints; /* "https://host:port" */
	size_t n_endpoints;
	const char *ca_pem; /* The provider CA, got from the operator; it alone is trusted. */
	size_t ca_pem_len;
	const char *token; /* The caller clears its copy. */
};
KLUIS_API int kluis_enrol(const struct kluis_enrolment *enrolment, struct kluis_failure *error);

struct kluis;

/* Opens and locks a profile; talks to nobody yet. A person's (kluis_account.h) has to be unlocked
 * next: kluis_login(). first_endpoint: which site to ask first, NULL for
 * any. give_up_ms: how long an unreachable cluster is tried, 0 for 20 s. */
KLUIS_API int kluis_open(const char *profile_dir, const char *first_endpoint, uint64_t give_up_ms,
	struct kluis **ret_kluis, struct kluis_failure *error);
KLUIS_API_FREE void kluis_close(struct kluis *kluis); /* NULL is fine. */

/* A new vault; id gets 32 hex digits and NUL. KLUIS_EXISTS. */
KLUIS_API int kluis_vault_create(
	struct kluis *kluis, const char *name, char ret_id[33], struct kluis_failure *error);

/* Deletes it on all sites, for good; a person's keyring drops its key. KLUIS_PIN_BROKEN: the
 * cluster denies it, which is no proof that it is gone: see kluis_vault_forget(). */
KLUIS_API int kluis_vault_delete(
	struct kluis *kluis, const char *vault, struct kluis_failure *error);
/* Gives up a vault (name or 32 hex digits) that the cluster denies, after asking the user: it may
 * be withheld, and once its key is dropped nobody can read it. KLUIS_EXISTS: the cluster has it. */
KLUIS_API int kluis_vault_forget(
	struct kluis *kluis, const char *vault, struct kluis_failure *error);

/* Called with bytes done and in all (0: unknown); may be NULL. */
typedef void kluis_progress_fn(void *arg, uint64_t done, uint64_t total);

/* Stores a local file at path ("/a/b") in a vault, making folders; a file that was there is
 * replaced, one with the same content left alone. Any size in a few MiB of memory. An interrupted
 * put goes on where it was when it is called again. */
KLUIS_API int kluis_put_file(struct kluis *kluis, const char *vault, const char *local_path,
	const char *path, kluis_progress_fn *progress, void *arg, struct kluis_failure *error);
/* The same from memory. */
KLUIS_API int kluis_put(struct kluis *kluis, const char *vault, const void *data, size_t len,
	const char *path, struct kluis_failure *error);

/* Takes bytes in order; another value than 0 ends the call, which then returns KLUIS_FAILED. */
typedef int kluis_write_fn(void *arg, const void *data, size_t len);

/* Hands out a file's bytes, each verified before. That the whole is the file that was stored is
 * known only when this returns 0. KLUIS_CONFLICT: it was replaced meanwhile, get it again. */
KLUIS_API int kluis_get(struct kluis *kluis, const char *vault, const char *path,
	kluis_write_fn *write, void *arg, struct kluis_failure *error);
/* Into a file, which appears, or takes the place of the one that is there, only when all was
 * verified. */
KLUIS_API int kluis_get_file(struct kluis *kluis, const char *vault, const char *path,
	const char *local_path, struct kluis_failure *error);

enum kluis_type { KLUIS_NOTE = 1, KLUIS_LOGIN = 2, KLUIS_FILE = 3, KLUIS_FOLDER = 4 };

struct kluis_entry {
	const char *name;
	int is_folder;
	uint64_t size, mtime_ms;
	unsigned char sha256[32]; /* Of a file's content. */
	enum kluis_type type;
};
typedef void kluis_entry_fn(void *arg, const struct kluis_entry *entry);
/* A folder's entries in order of name. */
KLUIS_API int kluis_list(struct kluis *kluis, const char *vault, const char *path,
	kluis_entry_fn *each, void *arg, struct kluis_failure *error);
/* Anything but a folder that is not empty. */
KLUIS_API int kluis_remove(
	struct kluis *kluis, const char *vault, const char *path, struct kluis_failure *error);
/* Another name or folder (made where it is missing). KLUIS_EXISTS: the place is taken. */
KLUIS_API int kluis_move(struct kluis *kluis, const char *vault, const char *path, const char *to,
	struct kluis_failure *error);

/* Called, from within a call that changes a vault, for each change that met another device's: both
 * versions are there then, or what was changed stays. wanted: the path that was meant; path: where
 * the result is, or NULL; sentence: for a person. NULL: nobody is told. */
typedef void kluis_notice_fn(void *arg, const char *wanted, const char *path, const char *sentence);
KLUIS_API_FREE void kluis_set_notice(struct kluis *kluis, kluis_notice_fn *notice, void *arg);

/* A note has a title and a text; a login all of them. */
struct kluis_item {
	enum kluis_type type;
	const char *title, *user, *password, *url, *text; /* UTF-8. */
	uint64_t revision, mtime_ms;			  /* Not looked at by kluis_item_put(). */
};
/* Stores it at path, making folders. One of that type that is there gets the fields that are not
 * NULL. KLUIS_CONFLICT when something else is there. */
KLUIS_API int kluis_item_put(struct kluis *kluis, const char *vault, const char *path,
	const struct kluis_item *item, struct kluis_failure *error);
typedef void kluis_item_fn(void *arg, const struct kluis_item *item);
/* Hands out a note or a login; fields that its type has not are NULL. */
KLUIS_API int kluis_item_get(struct kluis *kluis, const char *vault, const char *path,
	kluis_item_fn *take, void *arg, struct kluis_failure *error);

struct kluis_found {
	enum kluis_type type;
	const char *path, *title;
	uint64_t mtime_ms; /* 0: unknown. */
};
typedef void kluis_found_fn(void *arg, const struct kluis_found *found);
/* What lies in a folder ("/": all) and has all the words in its name, title, user, URL or text,
 * upper and lower case alike; passwords are not looked at. The vault's text stays in memory until
 * kluis_close() or a search elsewhere, and is used again while the vault has not changed. */
KLUIS_API int kluis_search(struct kluis *kluis, const char *vault, const char *folder,
	const char *const *words, size_t n_words, kluis_found_fn *each, void *arg,
	struct kluis_failure *error);

struct kluis_version {
	char version[48]; /* For kluis_restore_version(). */
	enum kluis_type type;
	const char *path; /* Where it lay then. */
	uint64_t revision, written_ms;
	unsigned char device_id[16]; /* Whose page it is from. */
	int is_current, is_removed;  /* It is like that now; it is not there any more. */
};
typedef void kluis_version_fn(void *arg, const struct kluis_version *version);
/* Earlier versions of what is at path, newest first, as far as the cluster keeps them; with `all`
 * also of what lay there before and was removed. */
KLUIS_API int kluis_history(struct kluis *kluis, const char *vault, const char *path, int all,
	kluis_version_fn *each, void *arg, struct kluis_failure *error);
/* Makes it what it was, as a new version. */
KLUIS_API int kluis_restore_version(struct kluis *kluis, const char *vault, const char *path,
	const char *version, struct kluis_failure *error);

/* Brings the local cache (ciphertext only) up to date; with `files` their content, too. */
KLUIS_API int kluis_sync(
	struct kluis *kluis, const char *vault, int files, struct kluis_failure *error);
/* From now on nobody is asked: reads show what the last sync of the vault saw, and what is not in
 * the cache, or would change something, is KLUIS_UNREACHABLE. */
KLUIS_API_FREE void kluis_set_offline(struct kluis *kluis, int offline);
/* When what the last offline read showed was synced, in Unix milliseconds. */
KLUIS_API_FREE uint64_t kluis_synced_ms(const struct kluis *kluis);

struct kluis_report {
	uint64_t head, files, pages, bytes;
	uint64_t orphans;   /* Pages of uploads that were never finished. */
	uint64_t malformed; /* Items that have no place in the tree. */
};
/* Fetches and checks every page and every file of a vault. */
KLUIS_API int kluis_verify(struct kluis *kluis, const char *vault, struct kluis_report *ret_report,
	struct kluis_failure *error);

/* After KLUIS_RESTORED. What the operator signed, for the user to decide on; only records by the
 * pinned operator restore key come here. KLUIS_PIN_BROKEN: nothing signed explains what happened.
 */
struct kluis_restore {
	uint64_t signed_ms, raft_index;
	unsigned char old_lineage[16], new_lineage[16], manifest_hash[32];
};
typedef void kluis_restore_fn(void *arg, const struct kluis_restore *restore);
KLUIS_API int kluis_restore_show(
	struct kluis *kluis, kluis_restore_fn *each, void *arg, struct kluis_failure *error);
/* The user said yes: pins may move to what the restored cluster has. */
KLUIS_API int kluis_restore_accept(struct kluis *kluis, struct kluis_failure *error);

/* Any call of the API (docs/openapi.yaml), signed in, with failover and retries: for what has no
 * function here. What it answers is not verified. type and body may be NULL. *ret_body is the
 * caller's to free(). */
KLUIS_API int kluis_call(struct kluis *kluis, const char *method, const char *target,
	const char *type, const void *body, size_t len, int *ret_status, void **ret_body,
	size_t *ret_len, struct kluis_failure *error);

#ifdef __cplusplus
}
#endif

#endif
