/* Pages from the cluster or from the cache of ciphertext, and reading without the cluster. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/vault.h"
#include "cli/client/vault_copy.h"

static char *cache_path(const struct vault *vault, uint64_t page_no)
{
	_cleanup_(x_freep) char *number = x_asprintf("page-%" PRIu64, page_no);
	_cleanup_(x_freep) char *name = vault_file(vault, number);

	return vault->copy != NULL ? vault_copy_page(vault->copy, page_no)
				   : profile_path(vault->profile, name);
}

int vault_cached_page(
	const struct vault *vault, uint64_t page_no, struct buf *ret_page, struct err *e)
{
	_cleanup_(x_freep) char *path = cache_path(vault, page_no);
	int rc = file_read(path, PAGE_BYTES_MAX, ret_page, e);

	if (rc == 0 && vault_check_page(vault, page_no, buf_bytes(ret_page), e) != 0) {
		rc = KLUIS_EAGAIN;
	}
	if (rc != 0) {
		buf_clear(ret_page);
	}
	return rc == 0 ? 0 : KLUIS_EAGAIN;
}

/* Not synced: what a power cut tears is no leaf any more and is fetched again. */
void vault_cache_page(const struct vault *vault, uint64_t page_no, struct bytes page)
{
	_cleanup_(x_freep) char *path = cache_path(vault, page_no);
	_cleanup_(x_closep) int fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0 && file_write_all(fd, page) != 0) {
		(void)unlink(path); /* Only a cache. */
	}
}

/* Whether a node that has the page does not answer so, unless somebody wrote meanwhile. */
static bool page_denied(int rc)
{
	return rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE || rc == KLUIS_EFORBIDDEN ||
	       rc == KLUIS_EPROTO || rc == KLUIS_ETOOLARGE || rc == KLUIS_EVERIFY;
}

int vault_judge_page(struct vault *vault, uint64_t page_no, int rc, bool *ret_moved, struct err *e)
{
	struct err synced = {0};
	uint64_t seq = vault->head.seq;
	int now;

	*ret_moved = false;
	if (!page_denied(rc)) {
		return rc;
	}
	now = vault_sync(vault, &synced);
	if (now != 0) {
		*e = synced;
		return now;
	}
	*ret_moved = vault->head.seq != seq;
	if (*ret_moved) {
		return 0;
	}
	if (rc == KLUIS_EVERIFY) {
		return rc;
	}
	synced = *e;
	return err_set(e, KLUIS_EVERIFY,
		"vault '%s': the cluster withholds page %" PRIu64
		", which its signed head names: %.100s",
		vault->name, page_no, synced.text);
}

int vault_take_page(struct vault *vault, uint64_t page_no, struct bytes page, bool cache,
	struct buf *ret_content, bool *ret_moved, struct err *e)
{
	struct page_header header;
	int rc = vault_check_page(vault, page_no, page, e);

	*ret_moved = false;
	if (rc != 0) {
		return vault_judge_page(vault, page_no, KLUIS_EVERIFY, ret_moved, e);
	}
	if (cache) {
		vault_cache_page(vault, page_no, page);
	}
	rc = page_parse(page, &header, e);
	if (rc == 0) {
		vault_set_proven(vault, page_no, header.place.revision, header.place.key_epoch);
		rc = vault_open_page(vault, page_no, page, ret_content, e);
	}
	return rc;
}

int vault_read_page(struct vault *vault, uint64_t page_no, bool cached, struct buf *ret_content,
	bool *ret_moved, struct err *e)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct err why = {0};
	int rc = KLUIS_EAGAIN;

	if (cached || vault->offline) {
		rc = vault_cached_page(vault, page_no, &page, &why);
	}
	if (rc == 0) {
		return vault_take_page(
			vault, page_no, buf_bytes(&page), false, ret_content, ret_moved, e);
	}
	if (vault->offline) {
		return vault_refuse_offline(vault, e);
	}
	rc = api_page(vault->client, vault->id, page_no, &page, e);
	return rc != 0 ? vault_judge_page(vault, page_no, rc, ret_moved, e)
		       : vault_take_page(vault, page_no, buf_bytes(&page), cached, ret_content,
				 ret_moved, e);
}

static char *stamp_path(const struct vault *vault)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "synced");

	return profile_path(vault->profile, name);
}

/* The time of the file is all that it says. */
void vault_stamp(const struct vault *vault)
{
	_cleanup_(x_freep) char *path = stamp_path(vault);
	_cleanup_(x_closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0) {
		(void)futimens(fd, NULL); /* Then it looks older than it is. */
	}
}

int vault_refuse_offline(const struct vault *vault, struct err *e)
{
	if (vault->copy != NULL) {
		return err_set(e, KLUIS_EVERIFY, "vault '%s': the copy in '%s' is not whole",
			vault->name, vault->copy);
	}
	return err_set(e, KLUIS_ECONNECT,
		"vault '%s': not all that is asked for is in the local cache ('kluis sync' brings "
		"items, 'kluis sync --files' files, too)",
		vault->name);
}

int vault_go_offline(struct vault *vault, uint64_t *ret_synced_ms, struct err *e)
{
	_cleanup_(x_freep) char *path = stamp_path(vault);
	struct err why = {0};
	struct stat st;

	if (stat(path, &st) != 0 || vault_load_leaves(vault, &why) != 0) {
		return err_set(e, KLUIS_ECONNECT,
			"vault '%s' was not read on this device before: nothing of it is in the "
			"local cache",
			vault->name);
	}
	vault->offline = true;
	*ret_synced_ms = (uint64_t)st.st_mtim.tv_sec * 1000;
	return 0;
}

/* By its header alone; what is wrong with the rest shows when it is read. */
static bool cache_is_stale(const struct vault *vault, int dir_fd, const char *name)
{
	_cleanup_(x_closep) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t header[PAGE_HEADER_BYTES];
	uint64_t page_no;

	return fd < 0 || u64_parse(bytes_str(name + 5), UINT64_MAX, &page_no) != 0 ||
	       page_no >= vault->head.page_count ||
	       pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header ||
	       load_u64(header + 32) != vault->leaves[page_no].revision;
}

size_t vault_drop_stale_cache(const struct vault *vault)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "");
	_cleanup_(x_freep) char *dir_path = profile_path(vault->profile, name);
	DIR *dir = opendir(dir_path);
	struct dirent *entry;
	size_t n = 0;

	assert(vault->tree != NULL);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, "page-", 5) == 0 &&
			cache_is_stale(vault, dirfd(dir), entry->d_name)) {
			n += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return n;
}

uint64_t *vault_uncached(
	const struct vault *vault, const uint64_t *page_nos, size_t n, size_t *ret_n)
{
	uint64_t *missing = x_calloc(n + 1, sizeof *missing);
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct err ignored = {0};

	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		buf_clear(&page);
		if (vault_cached_page(vault, page_nos[i], &page, &ignored) != 0) {
			missing[(*ret_n)++] = page_nos[i];
		}
	}
	return missing;
}
