/*
 * Files of saved domains, as libvirt's Xen driver writes them: a header of 64 bytes (its libxl_conf.h), the
 * domain's XML, and libxl's stream (Xen's docs/specs/libxl-migration-stream.pandoc), which holds libxc's
 * (libxc-migration-stream.pandoc). Neither writes a mark at the end that the beginning would know of.
 */
#pragma once
#include "hypervisor/libvirt/session.h"

/* Whether the file goes on to the stream's last record. Reads the heads of records only. Any thread. */
bool xen_is_whole_image(int fd);
/* A domain that was stopped to be saved runs on. Any other is left alone. Blocks; any thread. */
bool xen_run_on(virDomain *domain, Error *err);
