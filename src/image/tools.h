/*
 * The programs of other packages that this floor runs, with the Debian package that brings each (the names
 * are the same in Debian 12 and 13). quickstart installs them, the agent reports what is missing. Any thread;
 * blocks for a moment.
 */
#pragma once
#include <stddef.h>
#include "base/error.h"

typedef struct ImageTool {
    const char *path; /* absolute */
    const char *package;
    const char *reason;
} ImageTool;

extern const ImageTool image_required_tools[];
extern const size_t n_image_required_tools;

/* False with ERROR_UNSUPPORTED that names every missing package. */
bool image_tools_check(Error *err);
