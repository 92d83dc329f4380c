/* Small helpers on names and on fields that many types share. Pure. */
#pragma once
#include "model/model.h"

/* The string field of that name, or NULL when the type or the object has none. Borrowed. */
const char *object_text(const TypeDescriptor *type, const void *data, const char *field);
/* Sets an int, time or string field if the type has it. */
void object_set_int(const TypeDescriptor *type, void *data, const char *field, int64_t value);
/* The int or time field, or 0. */
int64_t object_int(const TypeDescriptor *type, const void *data, const char *field);
/* "web-2" before "web-10". */
int natural_compare(const char *a, const char *b);
