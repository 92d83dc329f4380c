/* Files to and from the server. Blocking; one thread. */
#pragma once
#include "cli/session.h"
#include "model/method.h"

/* Sends a regular file, or standard input for "-", as the body. What the server has of a job's file already
 * from a try that broke off is not sent again. */
bool transfer_upload(Session *session, const MethodDescriptor *method, const char *path, const char *file,
    json_t **ret_answer, Error *err);
/* Writes the answer to FILE (mode 0600, whole or not at all; it must not exist) or to standard output for
 * "-". */
bool transfer_download(Session *session, const char *path, const char *file, Error *err);
