/* What VMs can do on this host: all that the driver can, without UEFI where no firmware is installed. */
#include "hypervisor/abilities.h"
#include "hypervisor/libvirt/session.h"

void session_report_modes(HypervisorSession *session, HostStatus *status) {
    const HypervisorVm any = {0};
    abilities_report("qemu", status);
    if (session_xml_options(session, &any).uefi_code)
        return;
    for (size_t i = 0; i < status->modes.n; i++)
        host_mode_set_uefi(&status->modes.items[i], false);
}
