/* How Xen's disks and NICs change while a domain runs. */
#pragma once
#include "hypervisor/libvirt/device-update.h"
#include "hypervisor/xen/session.h"

extern const DeviceDialect xen_devices; /* its options are XenXmlOptions */
