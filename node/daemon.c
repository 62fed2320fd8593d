#include "node/daemon.h"

#include "crypto/secret.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <uv.h>

#include "base/crash.h"
#include "base/log.h"
#include "node/alarm_command.h"
#include "node/api.h"
#include "node/backup_job.h"
#include "node/expiry.h"
#include "node/identity.h"
#include "node/keeper.h"
#include "node/pepper.h"
#include "node/preflight.h"
#include "node/push_service.h"
#include "node/secrets.h"
#include "raft/fsm.h"
#include "raft/replica.h"

enum { DAEMON_SETTINGS_MAX = 48 };

struct daemon {
	const struct config *config;
	const char *config_path;
	struct node_identity identity;
	struct secrets secrets;
	uv_loop_t loop; /* The main thread's: signals, keeper, watchdog. */
	struct mailbox home;
	uv_signal_t on_term, on_int, on_hup;
	uv_timer_t watchdog, expiry_timer, pepper_timer;
	struct expiry_watch expiry;
	struct pool *pool_db, *pool_ship;
	struct replica *replica;
	struct api_backend_replica backend;
	struct api *api;
	struct fido_site fido;
	char *origins; /* What fido.origin points into. */
	struct location *location;
	struct push_service *push;
	struct keeper keeper;
	struct backup_job *backup; /* NULL: this node takes part in no backups. */
	struct alarm_command *alarms;
	unsigned closing; /* Parts on this loop that have not ended yet. */
	struct api_setting settings[DAEMON_SETTINGS_MAX];
	size_t n_settings;
	bool stopping;
};

/* --- what the API shows ---------------------------------------------------------------------- */

static void daemon_setting(struct daemon *d, const char *name, char *value)
{
	assert(d->n_settings < DAEMON_SETTINGS_MAX);
	d->settings[d->n_settings++] = (struct api_setting){name, value};
}

static char *daemon_address_text(const struct address *address)
{
	char text[ADDRESS_TEXT_BYTES_MAX + 1];

	address_format(address, text);
	return x_strdup(text);
}

static char *daemon_number_text(uint64_t number)
{
	return x_asprintf("%llu", (unsigned long long)number);
}

/* The settings in force, without secrets; file names are none. */
static void daemon_collect_settings(struct daemon *d)
{
	const struct config *c = d->config;

	daemon_setting(d, "node.id", daemon_number_text(c->id));
	daemon_setting(d, "node.site", x_strdup(c->site));
	daemon_setting(d, "node.data", x_strdup(c->data_dir));
	daemon_setting(d, "api.listen", daemon_address_text(&c->api_listen));
	daemon_setting(d, "api.stale_ms", daemon_number_text(c->api_stale_ms));
	daemon_setting(
		d, "accounts.registration", x_strdup(config_registration_name(c->registration)));
	daemon_setting(d, "accounts.recovery_delay_s", daemon_number_text(c->recovery_delay_s));
	daemon_setting(d, "accounts.quota_bytes", daemon_number_text(c->quota_bytes));
	daemon_setting(d, "accounts.quota_pages", daemon_number_text(c->quota_pages));
	daemon_setting(d, "accounts.srp_group", daemon_number_text(c->srp_group));
	daemon_setting(d, "accounts.aes_bits", x_strdup(config_choice_name(config_aes, c->aes)));
	daemon_setting(d, "accounts.rsa_bits", daemon_number_text(c->rsa_bits));
	daemon_setting(d, "accounts.curve", x_strdup(config_choice_name(config_curve, c->curve)));
	daemon_setting(d, "mfa.rp_id", x_strdup(c->rp_id == NULL ? "" : c->rp_id));
	daemon_setting(d, "calls.turn_uris", x_strdup(c->turn_uris == NULL ? "" : c->turn_uris));
	daemon_setting(d, "calls.ttl_s", daemon_number_text(c->turn_ttl_s));
	daemon_setting(d, "link.listen", daemon_address_text(&c->link_listen));
	daemon_setting(d, "admin.socket", x_strdup(c->admin_socket));
	daemon_setting(d, "cluster.gone_after_s", daemon_number_text(c->gone_after_s));
	daemon_setting(d, "alarms.pause_s", daemon_number_text(c->alarm_pause_s));
	daemon_setting(d, "alarms.repeat_s", daemon_number_text(c->alarm_repeat_s));
	daemon_setting(d, "storage.write_buffer_mib", daemon_number_text(c->write_buffer_mib));
	daemon_setting(d, "storage.cache_mib", daemon_number_text(c->cache_mib));
	daemon_setting(d, "storage.disk_floor_mib", daemon_number_text(c->disk_floor_mib));
	daemon_setting(d, "storage.disk_floor_percent", daemon_number_text(c->disk_floor_percent));
	daemon_setting(d, "backup.copies", daemon_number_text(c->backup_copies));
	daemon_setting(d, "backup.bandwidth_kib", daemon_number_text(c->backup_bandwidth_kib));
	daemon_setting(d, "backup.busy_kib", daemon_number_text(c->backup_busy_kib));
	daemon_setting(d, "backup.interval_s", daemon_number_text(c->backup_interval_s));
	daemon_setting(d, "backup.offset_s", daemon_number_text(c->backup_offset_s));
	daemon_setting(d, "backup.journal_s", daemon_number_text(c->backup_journal_s));
	daemon_setting(d, "backup.keep_s", daemon_number_text(c->backup_keep_s));
	daemon_setting(d, "backup.drop_quota_mib", daemon_number_text(c->backup_drop_quota_mib));
	daemon_setting(
		d, "backup.drop_quota_files", daemon_number_text(c->backup_drop_quota_files));
	daemon_setting(d, "backup.rehash_s", daemon_number_text(c->backup_rehash_s));
}

static void daemon_release_settings(struct daemon *d)
{
	for (size_t i = 0; i < d->n_settings; i++) {
		char *value;

		memcpy(&value, &d->settings[i].value,
			sizeof value); /* Ours, const only to the API. */
		free(value);
	}
	d->n_settings = 0;
}

/* --- parts ----------------------------------------------------------------------------------- */

static int daemon_start_replica(struct daemon *d, struct err *e)
{
	const struct config *c = d->config;
	struct replica_server servers[SITES_MAX];
	_cleanup_(x_freep) char *listen = daemon_address_text(&c->link_listen);
	struct replica_config config = {.dir = c->data_dir,
		.node_id = c->id,
		.site = c->site,
		.feature_level = FEATURE_LEVEL,
		.listen = listen,
		.ca_path = c->link_ca_file,
		.cert_path = c->link_certificate_file,
		.key_path = c->link_key_file,
		.servers = servers,
		.n_servers = (unsigned)c->n_sites,
		.gone_ms = (unsigned)(c->gone_after_s * 1000),
		.floor_percent = (unsigned)c->disk_floor_percent,
		.floor_bytes = c->disk_floor_mib << 20,
		.store_cache_bytes = (size_t)c->cache_mib << 20,
		.store_write_buffer_bytes = (size_t)c->write_buffer_mib << 20};

	memcpy(config.cluster_id, d->identity.cluster_id, sizeof config.cluster_id);
	memcpy(config.lineage, d->identity.lineage, sizeof config.lineage);
	for (size_t i = 0; i < c->n_sites; i++) {
		servers[i] = (struct replica_server){.id = c->sites[i].id,
			.vote = c->sites[i].standby ? REPLICA_STANDBY : REPLICA_VOTER};
		address_format(&c->sites[i].link, servers[i].address);
	}
	return replica_start(&config, &d->replica, e);
}

/* Which domain and origins authenticators sign for, and what is known of places. */
static int daemon_load_mfa(struct daemon *d, struct err *e)
{
	const struct config *c = d->config;
	const char *databases[LOCATION_DATABASES_MAX] = {c->country_file, c->number_file};
	char *at;
	size_t n = 0;

	d->fido.rp_id = c->rp_id;
	fido_set_native_origin(&d->fido, d->identity.cluster_id);
	d->origins = c->rp_id == NULL	  ? x_strdup("")
		     : c->origins != NULL ? x_strdup(c->origins)
					  : x_asprintf("https://%s", c->rp_id);
	for (at = d->origins + strspn(d->origins, " "); *at != '\0'; at += strspn(at, " ")) {
		if (n == FIDO_ORIGINS_MAX) {
			return err_set(
				e, KLUIS_EINVAL, "[mfa] origins: more than %d", FIDO_ORIGINS_MAX);
		}
		d->fido.origin[n++] = at;
		at += strcspn(at, " ");
		if (*at != '\0') {
			*at++ = '\0';
		}
	}
	return location_open(databases, c->location_table, &d->location, e);
}

/* Which push services are spoken to. */
static int daemon_load_push(struct daemon *d, struct err *e)
{
	const struct config *c = d->config;
	const struct push_config config = {.contact = c->push_contact,
		.web_hosts = c->push_hosts,
		.ca_path = c->push_ca_file,
		.fcm_account_path = c->push_fcm_account_file,
		.fcm_url = c->push_fcm_url,
		.apns_key_path = c->push_apns_key_file,
		.apns_key_id = c->push_apns_key_id,
		.apns_team = c->push_apns_team,
		.apns_topic = c->push_apns_topic,
		.apns_url = c->push_apns_url,
		.private_addresses = c->push_private != 0,
		.secrets = &d->secrets};

	return push_service_new(&config, &d->push, e);
}

static int daemon_start_api(struct daemon *d, struct err *e)
{
	const struct config *c = d->config;
	const struct config_site *self = config_self(c);
	_cleanup_(buf_release) struct buf restore_key = BUF_INIT;
	_cleanup_(secret_buf_release) struct buf turn_secret = BUF_INIT;
	struct api_config config = {.backend = &d->backend.backend,
		.pool_db = d->pool_db,
		.pool_ship = d->pool_ship,
		.node_id = c->id,
		.site = c->site,
		.url = self->url,
		.listen_host = c->api_listen.host,
		.listen_port = c->api_listen.port,
		.cert_path = c->api_certificate_file,
		.key_path = c->api_key_file,
		.ca_path = c->api_ca_file,
		.metrics_host = c->metrics_listen.port == 0 ? NULL : c->metrics_listen.host,
		.metrics_port = c->metrics_listen.port,
		.admin_path = c->admin_socket,
		.admin_group = (gid_t)-1,
		.backup_copies = (unsigned)c->backup_copies,
		.backup_journal_ms = c->backup_journal_s * 1000,
		.stale_ms = c->api_stale_ms,
		.secrets = &d->secrets,
		.registration = c->registration,
		.recovery_delay_ms = c->recovery_delay_s * 1000,
		.srp_group = (unsigned)c->srp_group,
		.aes = (unsigned)c->aes,
		.rsa_bits = (unsigned)c->rsa_bits,
		.curve = (unsigned)c->curve,
		.fido = &d->fido,
		.location = d->location,
		.push = d->push,
		.turn_uris = c->turn_uris,
		.turn_ttl_ms = c->turn_ttl_s * 1000,
		.settings = d->settings,
		.n_settings = d->n_settings};
	int rc = preflight_restore_key(c, &restore_key, e);

	rc = rc != 0 ? rc : preflight_turn_secret(c, &turn_secret, e);
	if (rc != 0) {
		return rc;
	}
	config.turn_secret = buf_bytes(&turn_secret);
	memcpy(config.cluster_id, d->identity.cluster_id, sizeof config.cluster_id);
	memcpy(config.lineage, d->identity.lineage, sizeof config.lineage);
	config.restore_key = buf_bytes(&restore_key);
	if (d->backup != NULL) {
		config.hooks = (struct api_hooks){.data = d->backup,
			.snapshot_claimed = backup_job_claimed,
			.snapshot_verify = backup_job_verify,
			.shipments = backup_job_shipments,
			.deletions = backup_job_deletions,
			.copies = backup_job_copies,
			.reload = backup_job_reload,
			.summary = backup_job_summary};
	}
	backup_claim_rules(c, &config.schedule);
	config.retention = retention_rules_of(c->backup_keep_s * 1000, config.schedule.interval_ms);
	api_backend_replica_init(&d->backend, d->replica);
	return api_start(&config, &d->api, e);
}

/* --- signals --------------------------------------------------------------------------------- */

static void daemon_stop_cb(uv_signal_t *handle, int signal_number)
{
	struct daemon *d = handle->data;

	if (d->stopping) {
		return;
	}
	d->stopping = true;
	log_info("op=daemon state=stopping signal=%d", signal_number);
	(void)sd_notify(0, "STOPPING=1"); /* No supervisor, nobody to tell. */
	uv_stop(&d->loop);
}

/* A setting that was changed but only counts after a restart: else nobody sees why it does nothing.
 */
static void daemon_tell_changed(const struct config *config, const struct config *fresh)
{
	char name[CONFIG_SETTING_BYTES];

	if (config_difference(config, fresh, name)) {
		log_warn("op=reload setting=\"%s\" msg=\"changed, and perhaps others: they count "
			 "after a restart\"",
			name);
	}
}

/* What may change while running: the log level, and the certificates, keys and CAs in their files.
 * The rest needs a restart and is said. */
static void daemon_reload_cb(uv_signal_t *handle, int signal_number)
{
	struct daemon *d = handle->data;
	struct config *fresh = NULL;
	struct err e = {0};
	int rc;

	(void)signal_number;
	(void)sd_notify(0, "RELOADING=1"); /* As above. */
	rc = config_load(&fresh, d->config_path, &e);
	if (rc == 0) {
		log_set_level(fresh->log_level);
		daemon_tell_changed(d->config, fresh);
		rc = api_reload(d->api, &e);
	}
	config_free(fresh);
	if (rc != 0) {
		log_err("op=reload rc=%s error=\"%s\", keeping what is in force", err_name(rc),
			e.text);
	} else {
		log_info("op=reload state=done");
	}
	(void)sd_notify(0, "READY=1"); /* As above. */
}

static void daemon_expiry_cb(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	struct replica_status status;
	struct expiry_certificate certificates[] = {
		{"api", api_certificate_not_after_ms(d->api)}, {"link", 0}};

	replica_status(d->replica, &status);
	certificates[1].not_after_ms = status.certificate_not_after_ms;
	(void)expiry_tick(&d->expiry, certificates, ARRAY_SIZE(certificates)); /* It logs. */
}

/* Store reads may block here: nothing waits for this loop. */
static void daemon_pepper_cb(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	struct pepper_look look;
	struct err e = {0};
	struct kv_view *view;
	struct kv *kv;
	int rc = replica_read_begin(d->replica, &kv);

	if (rc != 0) {
		return; /* The store is being replaced: the next time. */
	}
	view = kv_view_new(kv);
	rc = pepper_look(view, &d->secrets, &look, &e);
	kv_view_free(view);
	replica_read_end(d->replica);
	if (rc == 0) {
		api_set_pepper(d->api, &look);
	} else if (rc == KLUIS_ECORRUPT) {
		replica_doubt(d->replica, e.text);
	}
}

static void daemon_watchdog_cb(uv_timer_t *timer)
{
	(void)timer;
	(void)sd_notify(0, "WATCHDOG=1"); /* As above. */
}

static void daemon_signal(struct daemon *d, uv_signal_t *handle, int number, uv_signal_cb cb)
{
	int rv = uv_signal_init(&d->loop, handle);

	handle->data = d;
	rv = rv != 0 ? rv : uv_signal_start(handle, cb, number);
	assert(rv == 0); /* Valid signal numbers on a new loop. */
}

static int daemon_open_loop(struct daemon *d, struct err *e)
{
	uint64_t watchdog_us = 0;

	if (uv_loop_init(&d->loop) != 0 || mailbox_init(&d->home, &d->loop) != 0 ||
		uv_timer_init(&d->loop, &d->watchdog) != 0 ||
		uv_timer_init(&d->loop, &d->expiry_timer) != 0 ||
		uv_timer_init(&d->loop, &d->pepper_timer) != 0) {
		return err_set(e, KLUIS_EIO, "cannot make an event loop");
	}
	d->watchdog.data = d->expiry_timer.data = d->pepper_timer.data = d;
	d->expiry.clock = &clock_system;
	if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
		(void)uv_timer_start(&d->watchdog, daemon_watchdog_cb, 0, watchdog_us / 3000);
	}
	(void)signal(
		SIGPIPE, SIG_IGN); /* A peer that goes away is an error of write(2), not our end. */
	daemon_signal(d, &d->on_term, SIGTERM, daemon_stop_cb);
	daemon_signal(d, &d->on_int, SIGINT, daemon_stop_cb);
	daemon_signal(d, &d->on_hup, SIGHUP, daemon_reload_cb);
	return 0;
}

static void daemon_close_loop(struct daemon *d)
{
	int rv;

	uv_close((uv_handle_t *)&d->on_term, NULL);
	uv_close((uv_handle_t *)&d->on_int, NULL);
	uv_close((uv_handle_t *)&d->on_hup, NULL);
	uv_close((uv_handle_t *)&d->watchdog, NULL);
	uv_close((uv_handle_t *)&d->expiry_timer, NULL);
	uv_close((uv_handle_t *)&d->pepper_timer, NULL);
	mailbox_close(&d->home, NULL);
	rv = uv_run(&d->loop, UV_RUN_DEFAULT);
	assert(rv == 0);
	rv = uv_loop_close(&d->loop);
	assert(rv == 0);
}

/* --- life ------------------------------------------------------------------------------------ */

static int daemon_prepare(struct daemon *d, struct err *e)
{
	const struct config *c = d->config;
	int rc = preflight_config(c, clock_wall_ms(&clock_system), NULL, e);

	rc = rc != 0 ? rc : preflight_places(c, e);
	rc = rc != 0 ? rc : preflight_identity(c, &d->identity, e);
	rc = rc != 0 ? rc : secrets_read(c->secrets_file, c->cluster_id, &d->secrets, e);
	if (rc == 0 && !secret_locked()) {
		log_warn("op=daemon secrets=not_locked reason=\"RLIMIT_MEMLOCK is too low\"");
	}
	return rc;
}

static void daemon_part_closed(struct daemon *d)
{
	assert(d->closing > 0);
	if (--d->closing == 0) {
		uv_stop(&d->loop);
	}
}

static void daemon_keeper_closed_cb(struct keeper *keeper)
{
	daemon_part_closed(CONTAINER_OF(keeper, struct daemon, keeper));
}

static void daemon_closed_cb(void *data)
{
	daemon_part_closed(data);
}

/* What proposes by itself ends before the replica does. */
static void daemon_close_parts(struct daemon *d, bool keeper)
{
	d->closing += (keeper ? 1U : 0U) + (d->backup != NULL ? 1U : 0U);
	if (keeper) {
		keeper_close(&d->keeper, daemon_keeper_closed_cb);
	}
	if (d->backup != NULL) {
		backup_job_close(d->backup, daemon_closed_cb, d);
	}
	if (d->closing > 0) {
		(void)uv_run(&d->loop, UV_RUN_DEFAULT); /* Until the last has closed. */
	}
}

static int daemon_start_parts(struct daemon *d, struct err *e)
{
	const struct config *c = d->config;
	int rc = daemon_start_replica(d, e);

	if (rc == 0 && c->backup_public_key_file != NULL) {
		rc = backup_job_start(&d->backup, c, &d->identity, d->replica, d->pool_ship,
			&d->loop, &d->home, e);
	}
	rc = rc != 0 ? rc : daemon_load_mfa(d, e);
	rc = rc != 0 ? rc : daemon_load_push(d, e);
	return rc != 0 ? rc : daemon_start_api(d, e);
}

static int daemon_alarms(void *data, json_t **ret_items, struct err *e)
{
	return api_alarms(data, ret_items, e);
}

static int daemon_start_alarms(struct daemon *d, struct err *e)
{
	const struct config *c = d->config;
	const struct alarm_command_config config = {.path = c->alarm_command,
		.site = c->site,
		.node = c->id,
		.look_ms = ALARM_LOOK_MS,
		.run_ms = ALARM_RUN_MS,
		.pause_ms = c->alarm_pause_s * 1000,
		.repeat_ms = c->alarm_repeat_s * 1000,
		.alarms = daemon_alarms,
		.data = d->api};

	return alarm_command_start(&d->alarms, &config, &d->loop, &d->home, d->pool_db, e);
}

/* It asks the API, and ends before that. */
static void daemon_close_alarms(struct daemon *d)
{
	if (d->alarms != NULL) {
		d->closing = 1;
		alarm_command_close(d->alarms, daemon_closed_cb, d);
		(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	}
}

static int daemon_serve(struct daemon *d, struct err *e)
{
	int rc = daemon_start_parts(d, e);
	bool keeper = false;

	if (rc == 0) {
		keeper = keeper_start(&d->keeper, &d->loop, &d->home, d->replica, d->config,
				 &d->identity) == 0;
		rc = keeper ? 0 : err_set(e, KLUIS_EIO, "cannot start a timer");
	}
	rc = rc != 0 ? rc : daemon_start_alarms(d, e);
	if (rc == 0) {
		log_info("op=daemon state=running version=%s api_port=%u link_port=%u",
			KLUIS_VERSION, api_port(d->api), replica_port(d->replica));
		(void)uv_timer_start(&d->expiry_timer, daemon_expiry_cb, 0, DAEMON_EXPIRY_MS);
		(void)uv_timer_start(&d->pepper_timer, daemon_pepper_cb, 0, DAEMON_PEPPER_MS);
		(void)sd_notify(0, "READY=1");		/* As above. */
		(void)uv_run(&d->loop, UV_RUN_DEFAULT); /* Until a signal stops it. */
	}
	(void)uv_timer_stop(&d->expiry_timer); /* Always 0. */
	daemon_close_alarms(d);
	(void)uv_timer_stop(&d->pepper_timer);
	api_stop(d->api, DAEMON_DRAIN_MS);
	daemon_close_parts(d, keeper);
	replica_stop(d->replica, rc == 0 ? DAEMON_HAND_OVER_MS : 0);
	return rc;
}

int daemon_run(const struct config *config, const char *config_path, struct err *e)
{
	struct daemon d = {.config = config, .config_path = config_path};
	int rc;

	crash_report_install("kluisd");
	log_init(config->site, config->log_level);
	rc = daemon_prepare(&d, e);
	if (rc != 0) {
		return rc;
	}
	rc = daemon_open_loop(&d, e);
	if (rc != 0) {
		secrets_release(&d.secrets);
		return rc;
	}
	d.pool_db = pool_new("db", DAEMON_POOL_DB_THREADS, DAEMON_POOL_DB_QUEUE_MAX);
	d.pool_ship = pool_new_background(
		"ship", BACKUP_JOB_THREADS(config->n_sites - 1), DAEMON_POOL_SHIP_QUEUE_MAX);
	daemon_collect_settings(&d);
	rc = daemon_serve(&d, e);
	pool_free(d.pool_ship);
	pool_free(d.pool_db);
	daemon_close_loop(&d);
	daemon_release_settings(&d);
	push_service_free(d.push);
	location_free(d.location);
	free(d.origins);
	secrets_release(&d.secrets);
	if (rc == 0) {
		log_info("op=daemon state=stopped");
	}
	return rc;
}
