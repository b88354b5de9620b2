/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: a page of a listing. The first byte says in pieces of which size it comes; the outcome
 * must not depend on that, and every entry must hold what s3.h promises.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/s3.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	s3_library_init();
	return 0;
}

static void parse(struct s3_op *op, const uint8_t *data, size_t size, size_t step)
{
	struct http_answer answer = {.status = 200, .content_length = -1};
	int r;

	s3_op_init(op, S3_LIST);
	op->prefix = "a";
	op->prefix_length = 1;
	op->delimiter = true;
	r = s3_op_headers(op, &answer);
	for (size_t at = 0; at < size && r == 0; at += step)
		r = s3_op_data(op, data + at, size - at < step ? size - at : step);
	if (r < 0)
		answer.error = HTTP_REFUSED;
	s3_op_end(op, &answer);
}

static void check_page(const struct s3_page *page)
{
	for (size_t i = 0; i < page->entry_count; i++) {
		const struct s3_entry *e = &page->entries[i];

		assert(e->key_length > 0 && e->key_length <= S3_KEY_MAX && e->key[0] == 'a');
		assert(e->key[e->key_length] == '\0');
		assert(e->size <= INT64_MAX && strlen(e->etag) < S3_ETAG_MAX);
		assert(e->modified.tv_sec >= 0);
		assert(!e->is_prefix || e->key[e->key_length - 1] == '/');
	}
	assert(page->truncated == (page->next_token != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct s3_op whole, pieces;

	if (size < 1)
		return 0;
	parse(&whole, data + 1, size - 1, size);
	parse(&pieces, data + 1, size - 1, (size_t)data[0] + 1);
	if (whole.result.err == 0)
		check_page(&whole.page);
	else
		assert(!whole.page.entries && whole.result.err < 0);
	assert(whole.result.err == pieces.result.err);
	assert(whole.page.entry_count == pieces.page.entry_count);
	assert(whole.page.refused == pieces.page.refused);
	s3_op_finish(&whole);
	s3_op_finish(&pieces);
	return 0;
}
