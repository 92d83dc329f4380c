/*
 * Folders that nobody but the agent's user can change. The agent is root and follows paths that a service
 * without privileges names: a link or a folder of somebody else's on the way would lead it to any file.
 * Private to src/storage. Blocks; any thread.
 */
#pragma once
#include <sys/types.h>
#include "base/error.h"

/* Walks to the folder from the root. Every folder on the way belongs to root or to the agent's user and
 * cannot be written by others (parents with the sticky bit, as /tmp, can: what is ours there stays ours);
 * symbolic links on the way belong to them too and are followed. With `may_make` the last folder is made
 * (0711) when it is missing; a missing parent may be a disk that is not mounted. Else ERROR_NOT_FOUND;
 * ERROR_INVALID at /repository/path with the path at fault and what to do. *ret_fd (O_PATH) belongs to the
 * caller. */
bool trusted_folder_open(const char *path, bool may_make, int *ret_fd, Error *err);
/* The same of `name` in the folder `parent_fd`, which `parent` names in errors; no link is followed. *ret_fd
 * is -1 when it is missing. */
bool trusted_subfolder_open(int parent_fd, const char *parent, const char *name, int *ret_fd, Error *err);
