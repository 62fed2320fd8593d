/* What people who share do, each as in a run of the program. */
#ifndef KLUIS_TESTS_LIB_ACCOUNT_SHARE_H
#define KLUIS_TESTS_LIB_ACCOUNT_SHARE_H

#include "tests/lib/account_rig/account_three.h"

#include "cli/client/share.h"
#include "storage/packet_store.h"

/* Opened by its name and synced. */
struct vault *opened(struct fixture *f, struct device *d, const char *name);
struct share_with resolved(struct fixture *f, struct people *people, const char *text);
int share(struct fixture *f, struct device *d, const char *name, const char *who, unsigned role);
int take_out(struct fixture *f, struct device *d, const char *name, const char *who);
void id_of(struct fixture *f, struct device *d, const char *name, uint8_t ret_id[ID_BYTES]);
int answer(struct fixture *f, struct device *d, unsigned kind, const uint8_t *id, bool accept);
/* Every page that was ever written opens. */
void read_all(struct fixture *f, struct device *d, const char *name);
void assert_state(struct fixture *f, struct device *d, const char *name, const char *who,
	unsigned role, const char *state);
/* The last error does. */
void assert_says(const struct fixture *f, const char *words);
/* How often the owner's access log has this event. */
unsigned logged(struct fixture *f, struct device *d, const char *event);
/* What waits for this device's user at the node. */
struct packet_use use_of(struct fixture *f, const struct device *d);
/* By herself, of a vault of her own: as many packets as may wait for her. The node checks no
 * signatures here, which is what takes long. */
void fill_box(struct fixture *f, struct device *d);
void empty_box(struct fixture *f, struct device *d);

#endif
