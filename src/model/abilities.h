/*
 * What VMs can do under each driver in each mode: the table that tools/generate makes of
 * schema/abilities.toml. A driver reports its rows and takes back what this very host lacks. Static data; any
 * thread.
 */
#pragma once
#include "types.h"

typedef struct AbilitiesRow {
    const char *driver;
    HostMode mode; /* every field is present */
} AbilitiesRow;

extern const AbilitiesRow abilities_rows[]; /* a driver's rows in the order of its preference */
extern const size_t n_abilities_rows;

/* NULL when the driver does not have that mode. */
const HostMode *abilities_find(const char *driver, VmMode mode);
/* Adds all modes of the driver, the preferred one first. */
void abilities_report(const char *driver, HostStatus *status);
