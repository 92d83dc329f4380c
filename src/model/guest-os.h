/*
 * What guest operating systems can do: a table made at build time from libosinfo's database and our own
 * additions (tools/guest-os, guest-os-own.toml), and the devices that follow from it. Static data; any
 * thread.
 *
 * A VM without guest OS, or with one of which nothing is known (`unknown`), is taken for one of today's:
 * virtio.
 */
#pragma once
#include "types.h"

typedef enum GuestOsFeature { /* what it brings drivers for */
    GUEST_OS_VIRTIO_DISK = 1 << 0,
    GUEST_OS_VIRTIO_NET = 1 << 1,
    GUEST_OS_VIRTIO_SCSI = 1 << 2,
    GUEST_OS_SATA = 1 << 3,
    GUEST_OS_E1000 = 1 << 4,
    GUEST_OS_E1000E = 1 << 5,
    GUEST_OS_RTL8139 = 1 << 6,
    GUEST_OS_TABLET = 1 << 7, /* a pointer that needs no capturing */
    GUEST_OS_UEFI = 1 << 8,   /* boots with it */
} GuestOsFeature;

typedef struct GuestOs {
    const char *id, *name,
        *family; /* libosinfo's short id, name and family ("linux", "winnt", "" for unknown) */
    unsigned features;
    unsigned memory_minimum_mib, memory_recommended_mib; /* 0: nobody says */
} GuestOs;

extern const GuestOs guest_oses[]; /* sorted by id */
extern const size_t n_guest_oses;

/* NULL for NULL and for an id that is not in the table. */
const GuestOs *guest_os_find(const char *id);
/* ERROR_INVALID with the field "/guest_os". */
bool guest_os_check(const char *id, Error *err);

/* All take an id, which may be NULL or not in the table. */
/* A machine of the nineties (IDE, plain PCI) instead of one of today's. */
bool guest_os_needs_old_machine(const char *id);
DiskBus guest_os_disk_bus(const char *id);
DiskBus guest_os_cd_bus(const char *id);
NicModel guest_os_nic_model(const char *id);
Firmware guest_os_firmware(const char *id);
bool guest_os_has_local_clock(const char *id); /* the hardware's clock shows local time, not UTC */
bool guest_os_has_tablet(const char *id);
/* A Linux that hypervisors without a PC's firmware start too: its GRUB reads /boot/grub/grub.cfg, and its
 * kernel (4.11 or later) knows such machines. */
bool guest_os_boots_by_grub(const char *id);
/* Bytes; 0 when nobody says. */
uint64_t guest_os_memory(const char *id);
/* The row as clients see it. */
void guest_os_describe(const GuestOs *row, GuestOsInfo *ret_info);
