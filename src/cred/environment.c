/* SPDX-License-Identifier: Apache-2.0 */
/* Keys from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. An empty one is unset. */
#include "cred_private.h"

#include <errno.h>

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

int cred_from_environment(struct cred_keys **ret, struct explain *e)
{
	struct s3_keys keys = {
	    .access_key = variable("AWS_ACCESS_KEY_ID"),
	    .secret_key = variable("AWS_SECRET_ACCESS_KEY"),
	    .session_token = variable("AWS_SESSION_TOKEN"),
	};

	if (keys.access_key == NULL && keys.secret_key == NULL)
		return -ENOENT;
	if (keys.access_key == NULL || keys.secret_key == NULL)
		return cred_explain(
		    e, EINVAL, "%s is set in the environment but %s is not; set both or none",
		    keys.access_key != NULL ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
		    keys.access_key != NULL ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	if (keys.session_token == NULL)
		keys.session_token = variable("AWS_SECURITY_TOKEN"); /* its old name */
	return cred_keys_create(&keys, "AWS_ACCESS_KEY_ID", ret, e);
}
