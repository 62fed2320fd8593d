/* The agent: a process of `kluis` that holds a person's opened keys, so that the password is typed
 * once. It signs and opens KeyPackets with keys that never leave it, and hands out what bulk work
 * needs: vault keys, the session's token. This is its client. Any number of threads. */
#ifndef KLUIS_CLI_CLIENT_AGENT_H
#define KLUIS_CLI_CLIENT_AGENT_H

#include "cli/client/agent_wire.h"
#include "crypto/key.h"

#define AGENT_SOCKET "agent.sock" /* In the profile directory. */

struct agent;
struct client;
struct profile;

/* The agent of this profile directory; asks nobody yet. */
struct agent *agent_new(const char *profile_dir);
void agent_free(struct agent *agent); /* NULL is fine. */
void agent_freep(struct agent **agent);

/* All below: one request each. KLUIS_ENOTFOUND: no agent runs. KLUIS_EUNAUTHENTICATED: it is
 * locked, or does not hold that. KLUIS_EFORBIDDEN: its socket is not ours. KLUIS_ETIMEOUT,
 * KLUIS_EPROTO, KLUIS_EVERSION. */
KLUIS_MUST_CHECK int agent_status(
	struct agent *agent, struct agent_status *ret_status, struct err *e);
/* Hands it a person's secrets; it drops what it held before, and its clock starts. */
struct agent_unlock {
	uint64_t idle_ms; /* 0: as it is. */
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
	const char *account;
	const struct agent_item *items;
	size_t n_items;
};
KLUIS_MUST_CHECK int agent_unlock(
	struct agent *agent, const struct agent_unlock *unlock, struct err *e);
/* It forgets everything. */
KLUIS_MUST_CHECK int agent_lock(struct agent *agent, struct err *e);
/* It forgets everything and ends. */
KLUIS_MUST_CHECK int agent_stop(struct agent *agent, struct err *e);

/* A key that signs inside the agent (AGENT_DEVICE_KEY, AGENT_SIGNING_KEY): for everything that
 * takes a struct key to sign. The agent must outlive it. */
KLUIS_MUST_CHECK int agent_key(
	struct agent *agent, unsigned kind, struct key **ret_key, struct err *e);
/* The public half of any of the four, or of AGENT_RSA_KEY (KLUIS_ENOTFOUND: the keyring has none).
 */
KLUIS_MUST_CHECK int agent_public(
	struct agent *agent, unsigned kind, struct key_pub **ret_pub, struct err *e);
/* Opens a KeyPacket addressed to the user (AGENT_TRANSFER_KEY) or the device
 * (AGENT_DEVICE_HPKE_KEY); its signature and all that keypacket_open() leaves to its caller was
 * checked before. KLUIS_EFORBIDDEN: what is inside must not leave the agent (purpose 5). */
KLUIS_MUST_CHECK int agent_open(struct agent *agent, unsigned kind, struct bytes packet,
	struct secret *ret_secret, struct err *e);
/* A secret that may leave (AGENT_TOKEN, AGENT_SALT_KEY). */
KLUIS_MUST_CHECK int agent_get(
	struct agent *agent, unsigned kind, struct secret *ret_value, struct err *e);
/* Another value for one of those; an empty one takes it away. */
KLUIS_MUST_CHECK int agent_put(
	struct agent *agent, unsigned kind, struct bytes value, struct err *e);
/* The keyring, opened inside the agent by the key it holds. Its `get` gives vault keys and pins;
 * entries of another type do not leave (KLUIS_EFORBIDDEN). Nothing counts before `load`. The agent
 * must outlive it; ring_free(). */
struct ring *agent_ring_new(struct agent *agent);

/* The secrets of a profile that this process unlocked by a password, and the client's session: from
 * now on the agent holds them. idle_ms 0: as it is. */
KLUIS_MUST_CHECK int agent_take_over(struct agent *agent, const struct profile *profile,
	struct client *client, uint64_t idle_ms, struct err *e);
/* The other way: an open, locked profile is unlocked by the agent, which signs for it, and the
 * client gets its session. The agent must outlive both. KLUIS_EUNAUTHENTICATED: it is locked, or of
 * another person or device. */
KLUIS_MUST_CHECK int agent_attach(
	struct agent *agent, struct profile *profile, struct client *client, struct err *e);

/* Only the device's key, when the agent has that of this profile: profile->device. Whether it was
 * there. */
bool agent_device(struct agent *agent, struct profile *profile);

/* A connected socket to the agent of a directory, its peer checked: of the same user. */
KLUIS_MUST_CHECK int agent_dial(const char *profile_dir, int *ret_fd, struct err *e);

#endif
