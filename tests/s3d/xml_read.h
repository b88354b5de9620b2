/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_XML_READ_H
#define S3D_XML_READ_H

#include "util.h"

/* A request body as a tree; elements by local name, whatever the namespace. */
struct xml_doc;
struct xml_node;

/* Parses; NULL when it is no XML, has a DTD, or its root is not called so. Caller destroys. */
struct xml_doc *xml_parse(const struct buf *text, const char *root);
/* Takes NULL. */
void xml_destroy(struct xml_doc *doc);
/* The first child of a node (or of the root, node NULL) of this name, NULL for none; and the next
 * sibling of the same name. name NULL: any element. */
struct xml_node *xml_child(struct xml_doc *doc, struct xml_node *node, const char *name);
struct xml_node *xml_next(struct xml_node *node, const char *name);
/* The local name of an element, borrowed. */
const char *xml_name(const struct xml_node *node);
/* The text of a child element, or NULL without one. The caller frees it. */
char *xml_child_text(struct xml_doc *doc, struct xml_node *node, const char *name);
/* The text of the element itself. The caller frees it. */
char *xml_text(const struct xml_node *node);

#endif
