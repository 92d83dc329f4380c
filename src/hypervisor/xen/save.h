/*
 * Files of saved domains, as libvirt's Xen driver writes them: a header of 64 bytes (its libxl_conf.h), the
 * domain's XML, and libxl's stream (Xen's docs/specs/libxl-migration-stream.pandoc), which holds libxc's
 * (libxc-migration-stream.pandoc). Neither writes a mark at the end that the beginning would know of.
 */
#pragma once
#include "hypervisor/libvirt/session.h"

/* Whether the file goes on to the stream's last record. Reads the heads of records only. Any thread. */
bool xen_is_whole_image(int fd);
/* What `xl list -v DOMAIN` prints: "NAME ID MEM VCPUS STATE TIME UUID REASON LABEL" below a line of titles.
 * REASON is a number once the domain is shut down: 2 for "to be saved" (SHUTDOWN_suspend in Xen's
 * public/sched.h). */
bool xen_is_stopped_to_be_saved(const char *list);
/* A domain that was stopped to be saved runs on. Any other is left alone. Blocks; any thread. */
bool xen_run_on(virDomain *domain, Error *err);
