/*
 * The system calls that a jailed program is refused (seccomp). A net below the namespaces: what nobody in a
 * jail needs and what has been a door into the kernel before. Any thread.
 */
#pragma once
#include "image/jail.h"

/* A descriptor that holds the compiled filter, for bubblewrap's --seccomp. *ret_fd is owned by the caller. */
bool jail_filter_open(JailKind kind, int *ret_fd, Error *err);
