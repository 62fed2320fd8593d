/* The three kinds of push services, as a node speaks to them: web push (RFC 8030) under a VAPID key
 * (RFC 8292), Firebase Cloud Messaging (HTTP v1) and Apple's APNs. What is sent is the payload that
 * the sending client sealed to the device (crypto/notify.h), wrapped. */
#ifndef KLUIS_NODE_PUSH_SERVICE_H
#define KLUIS_NODE_PUSH_SERVICE_H

#include "base/random.h"
#include "crypto/key.h"
#include "node/push_http.h"
#include "node/push_target.h"
#include "node/secrets.h"

enum {
	PUSH_ATTEMPT_MS = 10000, /* One request, with all that it needs before it. */
	PUSH_TTL_S = 86400,	 /* How long a push service keeps it for a device that sleeps. */
	/* Every web push message has the length of the longest: the service learns none. */
	PUSH_PADDED_BYTES = 2867,
};

/* Settings; all text outlives the service. What is NULL is not spoken. */
struct push_config {
	const char *contact;   /* "mailto:" or "https:" of the operators: web push needs it. */
	const char *web_hosts; /* Of endpoints, with blanks between them. */
	const char *ca_path;   /* PEM: who vouches for push services. */
	const char *fcm_account_path; /* A service account's JSON. */
	const char *fcm_url;	      /* https://fcm.googleapis.com */
	const char *apns_key_path;    /* PKCS#8 PEM, EC P-256. */
	const char *apns_key_id, *apns_team, *apns_topic;
	const char *apns_url; /* https://api.push.apple.com */
	bool private_addresses;
	const struct secrets *secrets; /* The VAPID key is derived of them: one for all sites. */
	struct random *random;
};

struct push_service;

/* Reads the files. KLUIS_EINVAL, e names the setting. Blocking. */
KLUIS_MUST_CHECK int push_service_new(
	const struct push_config *config, struct push_service **ret_service, struct err *e);
void push_service_free(struct push_service *service); /* NULL is fine. */

/* Whether a subscription can be sent to: its kind is spoken here and, of web push, its endpoint is
 * a host that is allowed. KLUIS_ESUITE, KLUIS_EFORBIDDEN. Any thread. */
KLUIS_MUST_CHECK int push_service_takes(
	const struct push_service *service, const struct push_target *target, struct err *e);
bool push_service_speaks(const struct push_service *service, enum push_kind kind);
/* What browsers name as applicationServerKey: an uncompressed point. */
struct bytes push_service_vapid(const struct push_service *service);

/* What became of one attempt. */
enum push_outcome {
	PUSH_SENT,
	PUSH_GONE,  /* The service knows the subscription no more. */
	PUSH_RETRY, /* Later, at the earliest in *ret_after_s. */
	PUSH_LOST,  /* It will not be taken. */
};
/* Sends once. e: why it was not. Any thread but a loop's; several at once. */
enum push_outcome push_service_send(struct push_service *service, const struct push_target *target,
	struct bytes payload, uint64_t *ret_after_s, struct err *e);

#endif
