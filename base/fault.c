#include "base/fault.h"

#ifdef KLUIS_TEST_BUILD
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fault_once = PTHREAD_ONCE_INIT;
static _Atomic bool fault_armed;
static char fault_prefix[64];
static uint64_t fault_nth, fault_count;
static bool fault_stay;

static void fault_from_environment(void)
{
	const char *spec = getenv("KLUIS_FAULT");
	const char *colon = spec == NULL ? NULL : strchr(spec, ':');

	if (colon != NULL && (size_t)(colon - spec) < sizeof fault_prefix) {
		char prefix[sizeof fault_prefix];

		(void)snprintf(prefix, sizeof prefix, "%.*s", (int)(colon - spec), spec);
		fault_arm(prefix, strtoull(colon + 1, NULL, 10), strstr(colon, ":stay") != NULL);
	}
}

void fault_arm(const char *prefix, uint64_t nth, bool stay)
{
	(void)pthread_mutex_lock(&fault_lock);
	(void)snprintf(fault_prefix, sizeof fault_prefix, "%s", prefix);
	fault_nth = nth;
	fault_count = 0;
	fault_stay = stay;
	fault_armed = true;
	(void)pthread_mutex_unlock(&fault_lock);
}

void fault_disarm(void)
{
	fault_armed = false;
}

uint64_t fault_hits(void)
{
	uint64_t hits;

	(void)pthread_mutex_lock(&fault_lock);
	hits = fault_count;
	(void)pthread_mutex_unlock(&fault_lock);
	return hits;
}

bool fault_hit(const char *name)
{
	bool fail = false;

	(void)pthread_once(&fault_once, fault_from_environment);
	if (!fault_armed) {
		return false;
	}
	(void)pthread_mutex_lock(&fault_lock);
	if (strncmp(name, fault_prefix, strlen(fault_prefix)) == 0) {
		fault_count++;
		fail = fault_count == fault_nth || (fault_stay && fault_count > fault_nth);
	}
	(void)pthread_mutex_unlock(&fault_lock);
	return fail;
}
#else
typedef int fault_compiled_away; /* ISO C forbids an empty translation unit. */
#endif
