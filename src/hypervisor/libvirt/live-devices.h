/*
 * The disks and NICs that a domain has at this moment, from its live XML. Pure; any thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct LiveDevice {
    char *alias;  /* as domain_alias makes it, where it is ours */
    char *target; /* "vda"; of NICs the host's end */
    char *mac;    /* of NICs, else NULL */
} LiveDevice;

typedef struct LiveDevices {
    GPtrArray *list; /* LiveDevice, owned */
    bool has_scsi;   /* there is a SCSI controller */
} LiveDevices;

LiveDevices *live_devices_read(const char *xml);
void live_devices_free(LiveDevices *devices); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LiveDevices, live_devices_free)
/* NULL when there is none. */
const LiveDevice *live_device_find(const LiveDevices *devices, const char *alias);
bool live_devices_has_target(const LiveDevices *devices, const char *target);
