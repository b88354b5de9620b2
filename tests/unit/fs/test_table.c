/* SPDX-License-Identifier: Apache-2.0 */
/* The table of inodes: who is found by parent and name, and how many buckets there are for it. */
#include "../test.h"

#include <stdio.h>

#include "inode.h"

#define MANY 20000

static struct inode *inode_of(struct inode *parent, const char *name)
{
	struct inode *i = calloc(1, sizeof(*i) + strlen(name) + 1);

	assert_non_null(i);
	i->parent = parent;
	i->name_length = (uint8_t)strlen(name);
	memcpy(i->text, name, strlen(name));
	return i;
}

static struct inode *find(const struct inode_table *t, const struct inode *parent, const char *name)
{
	return table_find(t, parent, name, strlen(name));
}

static void names_are_told_apart_by_parent_text_and_length(void **state)
{
	struct inode dirs[2] = {{.is_dir = true, .dir_ino = 1}, {.is_dir = true, .dir_ino = 2}};
	struct inode *a = inode_of(&dirs[0], "a"), *ab = inode_of(&dirs[0], "ab");
	struct inode_table t;

	assert_int_equal(table_init(&t), 0);
	table_insert(&t, a);
	table_insert(&t, ab);
	assert_ptr_equal(find(&t, &dirs[0], "a"), a);
	assert_ptr_equal(find(&t, &dirs[0], "ab"), ab);
	assert_null(find(&t, &dirs[0], "abc"));
	assert_null(find(&t, &dirs[1], "a"));
	a->retired = true;
	assert_null(find(&t, &dirs[0], "a"));
	table_remove(&t, a);
	table_remove(&t, ab);
	assert_null(find(&t, &dirs[0], "ab"));
	table_finish(&t);
	free(a);
	free(ab);
}

static void buckets_come_and_go_with_the_inodes(void **state)
{
	static struct inode *all[MANY];
	struct inode dir = {.is_dir = true, .dir_ino = 1};
	struct inode_table t;
	size_t few;
	char name[16];

	assert_int_equal(table_init(&t), 0);
	few = t.bucket_count;
	for (int k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), "f%d", k);
		all[k] = inode_of(&dir, name);
		table_insert(&t, all[k]);
		assert_true(t.count <= 2 * t.bucket_count);
	}
	assert_true(t.bucket_count <= MANY);
	for (int k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), "f%d", k);
		assert_ptr_equal(find(&t, &dir, name), all[k]);
		table_remove(&t, all[k]);
		assert_null(find(&t, &dir, name));
		free(all[k]);
	}
	assert_int_equal(t.count, 0);
	assert_int_equal(t.bucket_count, few);
	table_finish(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_told_apart_by_parent_text_and_length),
	    cmocka_unit_test(buckets_come_and_go_with_the_inodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
