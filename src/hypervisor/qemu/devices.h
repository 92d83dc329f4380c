/* How QEMU's disks and NICs change while a domain runs. */
#pragma once
#include "hypervisor/libvirt/device-update.h"
#include "hypervisor/qemu/session.h"

extern const DeviceDialect qemu_devices; /* its options are QemuXmlOptions */
