/* Formats of strings that the schema names. Any thread. */
#pragma once
#include "model/model.h"

bool is_uuid(const char *text);
bool is_mac(const char *text);
bool is_object_name(const char *text);
/* A random UUID (version 4); newly allocated. */
char *uuid_new(void);
