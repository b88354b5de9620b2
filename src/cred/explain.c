/* SPDX-License-Identifier: Apache-2.0 */
/* The one line that tells the user what is wrong with his keys. Never holds a secret. */
#include "cred_private.h"

#include <stdarg.h>
#include <stdio.h>

int cred_explain(struct explain *e, int err, const char *fmt, ...)
{
	va_list args;

	if (e == NULL || e->size == 0)
		return -err;
	va_start(args, fmt);
	vsnprintf(e->text, e->size, fmt, args);
	va_end(args);
	return -err;
}
