/*
 * Free space while a foreign image is unpacked. How much it becomes is known only when it is written, and
 * running VMs whose file system is full stand still: a reserve stays for them. A thread looks while the
 * caller blocks.
 */
#pragma once
#include "base/cancel.h"

typedef struct SpaceWatch SpaceWatch;

/* From now on, on the file system of `folder`. `cancel` (may be NULL) must outlive the watch. */
SpaceWatch *space_watch_new(const char *folder, const Cancel *cancel);
/* For what writes: triggered when `cancel` is, or when the reserve is touched. Belongs to the watch. */
const Cancel *space_watch_cancel(const SpaceWatch *watch);
/* Looks a last time and stops looking. ERROR_NO_SPACE when the reserve was touched at any time. Once. */
bool space_watch_end(SpaceWatch *watch, Error *err);
void space_watch_free(SpaceWatch *watch); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SpaceWatch, space_watch_free)
