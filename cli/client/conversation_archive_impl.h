/* Between the files of cli/client/conversation_archive. */
#ifndef KLUIS_CLI_CLIENT_CONVERSATION_ARCHIVE_IMPL_H
#define KLUIS_CLI_CLIENT_CONVERSATION_ARCHIVE_IMPL_H

#include "cli/client/conversation_archive.h"

/* Notes it as c->archive_trouble, unless that holds something as bad. */
void archive_trouble(struct conversation *c, const struct err *why);
/* The index as the synced vault has it. KLUIS_ENOTFOUND: the vault is empty. */
KLUIS_MUST_CHECK int archive_read_index(
	struct conversation *c, struct conversation_archive *archive, struct err *e);
/* Into archive->segment. KLUIS_EAGAIN: another writer moved it, the vault is synced. */
KLUIS_MUST_CHECK int archive_read_segment(
	struct conversation *c, struct conversation_archive *archive, size_t row, struct err *e);
/* The first pages of a vault that was just made. */
KLUIS_MUST_CHECK int archive_begin(
	struct conversation *c, struct conversation_archive *archive, bool history, struct err *e);
KLUIS_MUST_CHECK int archive_set_history(struct conversation *c, bool on, struct err *e);
/* Whether the profile's owner is an admin of it. */
bool archive_is_managed(const struct vault *vault);
/* By an admin of it: who was signed into the conversation comes into it, who was signed out goes,
 * in the same roles. What keeps it from that is trouble. */
void archive_follow_members(struct conversation *c, struct vault *vault);

#endif
