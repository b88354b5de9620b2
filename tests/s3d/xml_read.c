/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request bodies that are XML (DeleteObjects, CompleteMultipartUpload), read with libxml2 into a
 * tree: no DTD, no entities, no network. The two opaque types are libxml2's in disguise, so that
 * the operations do not see it.
 */
#include "xml_read.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

static xmlDoc *doc_of(struct xml_doc *doc)
{
	return (xmlDoc *)doc;
}

static struct xml_node *find(xmlNode *node, const char *name)
{
	for (; node != NULL; node = node->next)
		if (node->type == XML_ELEMENT_NODE &&
		    (name == NULL || strcmp((const char *)node->name, name) == 0))
			break;
	return (struct xml_node *)node;
}

struct xml_doc *xml_parse(const struct buf *text, const char *root)
{
	xmlDoc *doc;
	xmlNode *top;

	if (text->data == NULL)
		return NULL;
	doc = xmlReadMemory(text->data, (int)text->len, NULL, NULL,
			    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	top = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
	if (top == NULL || doc->intSubset != NULL || strcmp((const char *)top->name, root) != 0) {
		xmlFreeDoc(doc);
		return NULL;
	}
	return (struct xml_doc *)doc;
}

void xml_destroy(struct xml_doc *doc)
{
	if (doc != NULL)
		xmlFreeDoc(doc_of(doc));
}

struct xml_node *xml_child(struct xml_doc *doc, struct xml_node *node, const char *name)
{
	xmlNode *parent = node != NULL ? (xmlNode *)node : xmlDocGetRootElement(doc_of(doc));

	return find(parent->children, name);
}

struct xml_node *xml_next(struct xml_node *node, const char *name)
{
	return find(((xmlNode *)node)->next, name);
}

const char *xml_name(const struct xml_node *node)
{
	return (const char *)((const xmlNode *)node)->name;
}

char *xml_text(const struct xml_node *node)
{
	xmlChar *text = xmlNodeGetContent((const xmlNode *)node);
	char *copy = xstrdup(text != NULL ? (const char *)text : "");

	xmlFree(text);
	return copy;
}

char *xml_child_text(struct xml_doc *doc, struct xml_node *node, const char *name)
{
	struct xml_node *child = xml_child(doc, node, name);

	return child != NULL ? xml_text(child) : NULL;
}
