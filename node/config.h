/* The settings of one node: an INI file, every key checked, relative paths taken from the file's
 * own directory. */
#ifndef KLUIS_NODE_CONFIG_H
#define KLUIS_NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "backup/keys.h"
#include "base/address.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"

enum {
	CONFIG_BYTES_MAX = 256 * 1024,
	CONFIG_SSH_KEY_BYTES = 51, /* lp32 "ssh-ed25519" | lp32 key32 (RFC 8709). */
};

/* Of web push: Chrome and its kin, Firefox, Edge, Safari. */
#define CONFIG_PUSH_HOSTS \
	"fcm.googleapis.com push.services.mozilla.com notify.windows.com push.apple.com"

/* Who may make an account for herself; the same at all nodes. */
enum config_registration { REGISTRATION_CLOSED, REGISTRATION_INVITE, REGISTRATION_OPEN };

/* One [site NAME] section: every member of the cluster, this node's own site too. */
struct config_site {
	char name[NODE_NAME_BYTES_MAX + 1];
	uint64_t id;
	struct address link;
	bool standby;	    /* role = voter | standby, as the cluster is first made */
	char *url;	    /* https://host:port of its API, told to clients; NULL: none */
	struct address ssh; /* Its backup receiver; port 0: none */
	char *ssh_user;
	char *ssh_host_key;				 /* "ssh-ed25519 AAAA...", pinned */
	uint8_t ssh_host_key_wire[CONFIG_SSH_KEY_BYTES]; /* The same, as SSH sends it; zero: none */
	char *ssh_path; /* Holds a drop directory per sending site, as that SFTP server shows it */
	uint8_t backup_key[32]; /* Its public Ed25519 backup key (64 hex digits); zero: none */
};

/* Cycles that [backup] keep_s may ask for: of more there are no records, which manual, pinned and
 * failed snapshots need, too. */
enum { CONFIG_KEEP_CYCLES_MAX = SNAPSHOTS_KEPT - 16 };

struct config {
	/* [node] */
	uint64_t id;
	char site[NODE_NAME_BYTES_MAX + 1];
	char *data_dir, *secrets_file;
	enum log_level log_level;
	/* [cluster] */
	uint8_t cluster_id[16];
	char *restore_key_file; /* Operator restore public key, PEM */
	uint64_t gone_after_s;	/* A voter silent for so long is replaced by one that stands by */
	/* [api] */
	struct address api_listen;
	char *api_certificate_file, *api_key_file, *api_ca_file;
	uint64_t api_stale_ms; /* Stale reads stop when the leader was last heard before that. */
	/* [accounts] */
	enum config_registration registration;
	uint64_t recovery_delay_s; /* A session that a recovery code made may act after so long. */
	uint64_t quota_bytes, quota_pages; /* Of a person's vaults; 0: none. */
	uint64_t srp_group;		   /* That new verifiers are of. */
	/* That clients make new keys and pages of: SYM_AES_*, bits of user keys, KEY_KEM_*. */
	uint64_t aes, rsa_bits, curve;
	/* [mfa] */
	char *rp_id;   /* The domain that authenticators sign for; NULL: no FIDO2 */
	char *origins; /* Where browsers load our pages from, with blanks between */
	char *country_file, *number_file; /* MMDB: countries, ASNs */
	char *location_table;		  /* "NETWORK LABEL" a line */
	/* [push]; what is not set is not spoken (struct push_config) */
	char *push_contact, *push_hosts, *push_ca_file;
	char *push_fcm_account_file, *push_fcm_url;
	char *push_apns_key_file, *push_apns_key_id, *push_apns_team, *push_apns_topic;
	char *push_apns_url;
	uint64_t push_private; /* 1: tests send to this machine. */
	/* [calls] */
	char *turn_uris; /* With blanks between; NULL: none. */
	char *turn_secret_file;
	uint64_t turn_ttl_s;
	/* [link] */
	struct address link_listen;
	char *link_certificate_file, *link_key_file, *link_ca_file;
	/* [admin] */
	char *admin_socket;
	/* [metrics]; port 0: none */
	struct address metrics_listen;
	/* [alarms] */
	char *alarm_command; /* A program that is told of each; NULL: none. */
	uint64_t alarm_pause_s, alarm_repeat_s;
	/* [storage] */
	uint64_t write_buffer_mib, cache_mib, disk_floor_mib, disk_floor_percent;
	/* [backup]; public_key_file NULL: this node takes no snapshots */
	char *backup_public_key_file, *backup_sign_key_file, *backup_ssh_key_file;
	char *backup_repository_dir, *backup_drop_dir;
	/* The private backup key, and the one before it; NULL: no weekly drill here. */
	char *backup_drill_key_file, *backup_drill_key_old_file;
	struct backup_formers backup_formers; /* Keys that nodes signed with before. */
	uint64_t backup_copies, backup_bandwidth_kib;
	uint64_t backup_busy_kib; /* A second, while clients are at work; 0: no limit. */
	uint64_t backup_interval_s,
		backup_offset_s;   /* Of cycles; interval 0: none by themselves. */
	uint64_t backup_journal_s; /* Between journal increments; 0: none. */
	uint64_t backup_keep_s;	   /* Younger snapshots are not forgotten. */
	uint64_t backup_drop_quota_mib, backup_drop_quota_files; /* Of each; 0: see the example */
	uint64_t
		backup_rehash_s; /* All copies are read again in so long; 0: only in tests, never */
	uint64_t backup_stall_ms; /* Of tests: schedule_stall_ms() else, and
				   * BACKUP_JOB_DELETIONS_LATE_MS; 0: these. */
	uint64_t backup_claim_ms; /* The same of schedule_claim_ms(). */
	uint64_t backup_haste;	  /* Of tests: pauses are so many times shorter; 0: as they are */

	struct config_site sites[SITES_MAX];
	size_t n_sites;
	char *file; /* As config_load() was given it. */
	char *dir;  /* Of the file, with "/" */
};

/* Reads and checks; on failure e->text names file, line, key and limit, and *ret_config is
 * untouched. Blocking. */
KLUIS_MUST_CHECK int config_load(struct config **ret_config, const char *path, struct err *e);
void config_free(struct config *config); /* NULL is fine. */
/* This node's own row of sites. */
const struct config_site *config_self(const struct config *config);
/* The first setting that differs, as "[section] name", other than the log level; false: none does.
 */
enum { CONFIG_SETTING_BYTES = 160 };
bool config_difference(
	const struct config *a, const struct config *b, char ret_name[CONFIG_SETTING_BYTES]);
/* A setting there is, for what documents them all. */
struct config_setting {
	const char *section, *name; /* "site" stands for each [site NAME]. */
	bool required, number;
	uint64_t low, high; /* Of a number. */
};
/* The nth, from 0; false behind the last. */
bool config_setting_at(size_t n, struct config_setting *ret_setting);
/* What a setting may be, by name; ends with one without. */
struct config_choice {
	const char *name;
	uint64_t value;
};
extern const struct config_choice config_aes[], config_rsa[], config_curve[];
/* The name of one of them (asserted). */
const char *config_choice_name(const struct config_choice *choices, uint64_t value);
/* "open", "invite", "closed". */
const char *config_registration_name(enum config_registration registration);
/* The wire form of "ssh-ed25519 AAAA... [comment]". KLUIS_EINVAL for any other key. */
KLUIS_MUST_CHECK int config_ssh_key_parse(const char *text, uint8_t ret_wire[CONFIG_SSH_KEY_BYTES]);

#endif
