/*
 * The little that is read from libvirt's XML: one attribute, or the text of one element. Any thread.
 */
#pragma once
#include <glib.h>

/* The attribute of the first element of that name (any namespace prefix is passed over) that has it, newly
 * allocated, or NULL. */
char *xml_attribute(const char *xml, const char *element, const char *attribute);
/* The text of the first element of that name, newly allocated, or NULL. */
char *xml_text(const char *xml, const char *element);
