/*
 * Fetches an image from a URL, in the jail: lodge-fetch (src/fetch) runs as nobody's user with the host's
 * network and can write this one file. HTTP and HTTPS only; what it may connect to stands in
 * src/fetch/address.h. Blocks (worker pools); any thread; needs root.
 */
#pragma once
#include <stdint.h>
#include "base/cancel.h"
#include "image/progress.h"

typedef struct ImageFetch {
    const char *helper;   /* path of the program */
    const char *url;      /* foreign: passed on, never logged */
    const char *path;     /* absolute; made if missing, in a folder of the agent's own */
    uint64_t limit_bytes; /* of the file */
    bool allows_own;      /* this machine's own addresses */
    uint32_t first_id;    /* the jail's id range; 0: default */
} ImageFetch;

/* A file that is there already from a try that was interrupted goes on if the server still has the same
 * version (PATH.version says which). Afterwards the file is root's, mode 0600. ERROR_NOT_FOUND,
 * ERROR_DENIED (an address that is not asked), ERROR_TOO_LARGE, ERROR_NO_SPACE, ERROR_TIMED_OUT,
 * ERROR_INVALID, ERROR_TOOL_FAILED (no answer, or a bad one): field "/source". */
bool image_fetch(const ImageFetch *fetch, const ImageProgress *progress, const Cancel *cancel, Error *err);
