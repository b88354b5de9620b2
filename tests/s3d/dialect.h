/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_DIALECT_H
#define S3D_DIALECT_H

#include <stdbool.h>

/* Where a server differs from AWS; all false is AWS. */
struct dialect {
	const char *name;
	bool any_region;	    /* the scope may name any region */
	bool any_token;		    /* session tokens are not compared */
	bool quoted_if_match_fails; /* PutObject If-Match works only without quotes */
	bool put_conditions_only;   /* Complete, Copy, Delete ignore conditions */
	bool no_checksums;	    /* x-amz-checksum-* and x-amz-mp-object-size are ignored */
	bool any_part_order;	    /* Complete sorts the parts */
	bool equal_parts;	    /* all parts but the last have one size */
	bool complete_once;	    /* a repeated Complete is NoSuchUpload */
	bool no_upload_part_copy;   /* 501 NotImplemented */
	bool throttle_403;	    /* SlowDown comes as 403 */
	bool blank_is_percent20;    /* in encoding-type=url; AWS writes + */
};

/* The row of a name, or NULL. */
const struct dialect *dialect_find(const char *name);

#endif
