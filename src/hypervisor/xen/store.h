/*
 * Xenstore, whose layout is described in Xen's docs/misc/xenstore-paths.pandoc. Through xenstored's socket
 * only: the kernel's device would block for ever when the daemon is dead. One thread at a time; blocks while
 * xenstored is busy.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct xs_handle XenStore;

XenStore *xen_store_open(void); /* NULL when xenstored does not answer */
void xen_store_close(XenStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(XenStore, xen_store_close)

/* What is written at the path, newly allocated; NULL when nothing is. */
char *xen_store_text(XenStore *store, const char *path);
/* Names of the entries of a folder, NULL-terminated, newly allocated; at most 65,536. Empty when there are
 * none, or when `store` is NULL. */
char **xen_store_names(XenStore *store, const char *folder);
bool xen_store_write(XenStore *store, const char *path, const char *text);
