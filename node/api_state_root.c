/* What operators are told of state roots, with the names of sites. */
#include <stdio.h>

#include "node/api_core.h"
#include "node/api_sys_view.h"
#include "node/root_summary.h"

/* Sites in one state, by name. */
static void roots_name(struct buf *to, struct api_call *call, const struct sys_view *view,
	const struct root_summary *roots, enum root_state state, uint64_t now_ms)
{
	bool any = false;

	for (size_t i = 0; i < roots->n; i++) {
		const struct root_site *site = &roots->site[i];

		if (root_site_state(site, now_ms) != state) {
			continue;
		}
		buf_printf(to, "%s'%s' (snapshot %llu%s)", any ? ", " : "",
			sys_site_of(call, view, site->node),
			(unsigned long long)(state == ROOT_LATE ? site->missing_id : site->id),
			state == ROOT_LATE ? ""
			: !site->majority  ? ": no majority agrees on one"
			: site->taker	   ? ", its own: it does not count"
					   : "");
		any = true;
	}
}

bool sys_roots_text(struct api_call *call, const struct sys_view *view,
	const struct root_summary *roots, bool *ret_differs, char *text, size_t size)
{
	uint64_t now_ms = clock_wall_ms(call->api->config.clock);
	_cleanup_(buf_release) struct buf differs = BUF_INIT, late = BUF_INIT;

	roots_name(&differs, call, view, roots, ROOT_DIFFERS, now_ms);
	roots_name(&late, call, view, roots, ROOT_LATE, now_ms);
	*ret_differs = differs.len > 0;
	if (differs.len + late.len > 0) {
		(void)snprintf(text, size, "%s%s%s%s%s",
			differs.len > 0 ? "another state root than the others' at site " : "",
			buf_str(&differs), differs.len > 0 && late.len > 0 ? "; " : "",
			late.len > 0 ? "no word on the state root from site " : "", buf_str(&late));
	}
	return differs.len + late.len == 0;
}
