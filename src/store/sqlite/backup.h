/*
 * Copies of the store's file: an online backup and the offline restore (store_restore_file). Blocking; a
 * worker's thread.
 */
#pragma once
#include "base/cancel.h"
#include "store/store.h"

/* Copies the open store `source` to the new file `target`. `cancel` may be NULL. */
bool backup_write(const char *source, const char *target, const Cancel *cancel, Error *err);
