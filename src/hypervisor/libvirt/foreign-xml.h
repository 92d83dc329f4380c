/*
 * What a domain's definition that Lodge did not write means as a VM of Lodge: what can be taken over, what
 * would be otherwise (warnings), and what cannot be (obstacles). Nothing is guessed: what is not known to be
 * harmless is an obstacle. Pure; any thread.
 */
#pragma once
#include "types.h"

enum { FOREIGN_XML_LIMIT = 1 << 20 }; /* bytes */

/* What stands beside the ForeignVm. */
typedef struct ForeignExtra {
    char *loader, *nvram; /* paths of UEFI's code and variables, or NULL */
} ForeignExtra;
void foreign_extra_clear(ForeignExtra *extra);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ForeignExtra, foreign_extra_clear)

/* All but state, tool and autostart. ERROR_CORRUPT for what is no definition with a name and a uuid. */
bool foreign_xml_read(const char *xml, size_t length, ForeignVm *ret_vm, ForeignExtra *ret_extra, Error *err);
/* The text as one line of valid UTF-8 of at most `limit` bytes; newly allocated. */
char *foreign_line(const char *text, size_t limit);
/* For other readers: adds a line of text to the list, unless it is there or the list is full. */
void foreign_add_obstacle(ForeignVm *vm, const char *format, ...) G_GNUC_PRINTF(2, 3);
void foreign_add_warning(ForeignVm *vm, const char *format, ...) G_GNUC_PRINTF(2, 3);
