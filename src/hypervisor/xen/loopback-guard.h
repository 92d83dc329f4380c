/*
 * libvirt's Xen driver carries a guest's memory over TCP only, and takes whoever connects first. The
 * addresses that are used for that are this machine's own, a block of 127.0.0.0/8, and a rule of the
 * kernel's packet filter lets nobody but root connect there. Any thread.
 */
#pragma once
#include "base/error.h"

/* Of one migration, the same on both hosts: "127.64.1.2:7445"; newly allocated. */
char *loopback_guard_address(const char *migration_id);
/* Sees to it that the rule is there; `instance` is part of its table's name. ERROR_UNSUPPORTED. Blocks for a
 * moment. */
bool loopback_guard_close(const char *instance, Error *err);
