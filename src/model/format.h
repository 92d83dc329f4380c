/* Formats of strings that the schema names. Any thread. */
#pragma once
#include "model/model.h"

bool is_uuid(const char *text);
bool is_mac(const char *text);
bool is_object_name(const char *text);
/* Of a Linux kernel module; `-` and `_` are the same to the kernel. */
bool is_module_name(const char *text);
/* A random UUID (version 4); newly allocated. */
char *uuid_new(void);
