#include "cli/client/search.h"

#include <assert.h>
#include <locale.h>
#include <string.h>
#include <wctype.h>

#include "base/text.h"
#include "base/wire.h"

struct search {
	const struct tree *tree;
	locale_t locale; /* 0: only ASCII is folded. */
	struct buf text; /* Of each item: its name and fields, a line end behind each. */
	size_t *begins;	 /* Where the text of each item begins; one more for the end. */
	size_t n;
};

/* One character of UTF-8 that was checked: its length. */
static size_t fold_decode(const unsigned char *at, wint_t *ret_char)
{
	size_t n = *at < 0x80 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
	wint_t c = n == 1 ? *at : *at & (0xffU >> (n + 1));

	for (size_t i = 1; i < n; i++) {
		c = c << 6 | (at[i] & 0x3fU);
	}
	*ret_char = c;
	return n;
}

static void fold_encode(wint_t c, struct buf *to)
{
	if (c < 0x80) {
		buf_put_u8(to, (uint8_t)c);
		return;
	}
	if (c < 0x800) {
		buf_put_u8(to, (uint8_t)(0xc0 | c >> 6));
	} else if (c < 0x10000) {
		buf_put_u8(to, (uint8_t)(0xe0 | c >> 12));
		buf_put_u8(to, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
	} else {
		buf_put_u8(to, (uint8_t)(0xf0 | c >> 18));
		buf_put_u8(to, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
		buf_put_u8(to, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
	}
	buf_put_u8(to, (uint8_t)(0x80 | (c & 0x3f)));
}

/* text: valid UTF-8. Grows by copying into cleared memory: see search_room(). */
static void fold(const struct search *search, const char *text, struct buf *to)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at != 0) {
		wint_t c;

		if (*at < 0x80) {
			buf_put_u8(to, *at >= 'A' && *at <= 'Z' ? (uint8_t)(*at + 32) : *at);
			at++;
			continue;
		}
		at += fold_decode(at, &c);
		fold_encode(search->locale == 0 ? c : towlower_l(c, search->locale), to);
	}
}

/* A realloc would leave the old text behind in freed memory. */
static void search_room(struct buf *text, size_t more)
{
	struct buf larger = BUF_INIT;

	if (text->cap - text->len >= more) {
		return;
	}
	buf_reserve(&larger, 2 * text->cap + more);
	buf_append_bytes(&larger, buf_bytes(text));
	secret_buf_release(text);
	*text = larger;
}

static void search_add(struct search *search, const char *text)
{
	search_room(&search->text, 2 * strlen(text) + 2); /* A character grows by a byte at most. */
	fold(search, text, &search->text);
	buf_put_u8(&search->text, '\n');
}

struct search *search_new(const struct tree *tree)
{
	struct search *search = x_calloc(1, sizeof *search);

	assert(tree->sorted != NULL);
	search->tree = tree;
	search->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	search->n = tree->n_sorted;
	search->begins = x_calloc(search->n + 1, sizeof *search->begins);
	for (size_t i = 0; i < search->n; i++) {
		const struct tree_item *item = tree->sorted[i];

		search->begins[i] = search->text.len;
		search_add(search, item->name);
		if (item_type_has_fields(item->type)) {
			struct item_fields fields = item_fields_of(item->type, item->body);

			fields.value[ITEM_PASSWORD] = NULL;
			for (size_t k = 0; k < ITEM_FIELDS; k++) {
				if (fields.value[k] != NULL) {
					search_add(search, fields.value[k]);
				}
			}
		}
	}
	search->begins[search->n] = search->text.len;
	return search;
}

void search_free(struct search *search)
{
	if (search == NULL) {
		return;
	}
	if (search->locale != 0) {
		freelocale(search->locale);
	}
	secret_buf_release(&search->text);
	free(search->begins);
	free(search);
}

/* The item whose text this byte lies in. */
static size_t search_item_at(const struct search *search, size_t at)
{
	size_t low = 0, high = search->n;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (search->begins[middle] <= at) {
			low = middle;
		} else {
			high = middle;
		}
	}
	return low;
}

static bool search_has(const struct search *search, size_t item, struct bytes word)
{
	size_t begin = search->begins[item];

	return memmem(search->text.data + begin, search->begins[item + 1] - begin, word.data,
		       word.len) != NULL;
}

/* The longest word is looked for in all the text, the others where it was found. */
static size_t search_all(const struct search *search, const struct buf *words, size_t n,
	size_t most, const struct tree_item **found)
{
	size_t longest = 0, n_found = 0, at = 0;

	for (size_t i = 1; i < n; i++) {
		longest = words[i].len > words[longest].len ? i : longest;
	}
	while (n_found < most && at < search->text.len) {
		const uint8_t *hit = memmem(search->text.data + at, search->text.len - at,
			words[longest].data, words[longest].len);
		size_t item;
		bool all = true;

		if (hit == NULL) {
			break;
		}
		item = search_item_at(search, (size_t)(hit - search->text.data));
		for (size_t i = 0; i < n && all; i++) {
			all = search_has(search, item, buf_bytes(&words[i]));
		}
		if (all) {
			found[n_found++] = search->tree->sorted[item];
		}
		at = search->begins[item + 1];
	}
	return n_found;
}

int search_find(const struct search *search, const char *const *words, size_t n, size_t most,
	const struct tree_item ***ret_items, size_t *ret_n, struct err *e)
{
	struct buf folded[SEARCH_WORDS_MAX + 1] = {{NULL, 0, 0}};
	size_t room = most < search->n ? most : search->n, n_words = 0;
	int rc = n > SEARCH_WORDS_MAX
			 ? err_set(e, KLUIS_EINVAL, "more than %d words", SEARCH_WORDS_MAX)
			 : 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		if (strlen(words[i]) > SEARCH_WORD_BYTES_MAX || !utf8_valid(bytes_str(words[i]))) {
			rc = err_set(e, KLUIS_EINVAL, "a word is UTF-8 of at most %d bytes",
				SEARCH_WORD_BYTES_MAX);
		} else if (words[i][0] != 0) {
			fold(search, words[i], &folded[n_words++]);
		}
	}
	if (rc == 0) {
		*ret_items = x_calloc(room + 1, sizeof **ret_items);
		if (n_words == 0) {
			for (*ret_n = 0; *ret_n < room; (*ret_n)++) {
				(*ret_items)[*ret_n] = search->tree->sorted[*ret_n];
			}
		} else {
			*ret_n = search_all(search, folded, n_words, room, *ret_items);
		}
	}
	for (size_t i = 0; i < n_words; i++) {
		secret_buf_release(&folded[i]);
	}
	return rc;
}
