#include "tests/unit/backup/lib/paced.h"

#include "tests/lib/test.h"

enum { LOOK_MS = 20, BEGIN_MS = 1000, ENTRIES = 1000 };

static uint64_t paced_now(const struct clock *clock)
{
	struct paced *p = CONTAINER_OF((struct clock *)(uintptr_t)clock, struct paced, clock);

	p->now_ms += LOOK_MS;
	return p->now_ms;
}

static uint64_t paced_entries(void *data)
{
	struct paced *p = data;

	p->entries += ENTRIES;
	return p->entries;
}

void paced_init(struct paced *p)
{
	*p = (struct paced){.clock = {paced_now, paced_now}, .now_ms = 1000 * BEGIN_MS};
}

struct pace *paced_new(struct paced *p, uint64_t bytes_per_second)
{
	struct pace *pace =
		pace_new(&(struct pace_config){bytes_per_second, paced_entries, p, &p->clock});

	p->now_ms += BEGIN_MS;
	assert_true(pace_busy(pace));
	return pace;
}
