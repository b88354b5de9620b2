/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deviations of other servers from AWS, one table (--as). A row is what was measured or what
 * the vendor documents; a server that is not like its row is a bug of this table.
 */
#include "dialect.h"
#include "util.h"

#include <string.h>

static const struct dialect table[] = {
    {.name = "aws"},
    {.name = "minio", .complete_once = true},
    {.name = "r2", .equal_parts = true, .throttle_403 = true, .blank_is_percent20 = true},
    {.name = "gcs", .no_upload_part_copy = true},
    {.name = "rgw",
     .any_region = true,
     .any_token = true,
     .quoted_if_match_fails = true,
     .put_conditions_only = true,
     .no_checksums = true,
     .any_part_order = true,
     .blank_is_percent20 = true},
};

const struct dialect *dialect_find(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}
