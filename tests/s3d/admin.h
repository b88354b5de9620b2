/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_ADMIN_H
#define S3D_ADMIN_H

#include "s3d.h"

struct json_object;

/* Applies live settings from a JSON object (absent = unchanged). NULL, or what is wrong. */
const char *admin_config(struct s3d *s3d, struct json_object *json);

#endif
