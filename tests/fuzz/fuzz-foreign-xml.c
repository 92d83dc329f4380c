/* Definitions of other tools' domains: whatever they hold, what is made of them can be told to the manager.
 */
#include <string.h>
#include "fuzz.h"
#include "hypervisor/libvirt/foreign-xml.h"

enum { MAX_SIZE = 65536 };

#define HEAD "<domain type='kvm'><name>a</name><uuid>5a1c2b3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d</uuid>"

const char *const fuzz_seeds[] = {HEAD
    "<memory unit='KiB'>65536</memory><vcpu current='1'>2</vcpu><os firmware='efi'><type arch='x86_64' "
    "machine='pc-q35-7.2'>hvm</type><boot dev='hd'/><nvram>/n</nvram></os><clock offset='localtime'/>"
    "</domain>",
    HEAD
    "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a'/><target "
    "dev='vda' bus='virtio'/><serial>1</serial><boot order='1'/></disk><disk device='cdrom'/></devices>"
    "</domain>",
    HEAD
    "<devices><controller type='pci' index='1' model='pcie-root-port'/><interface type='network'><mac "
    "address='52:54:00:6b:3c:58'/><source network='default' bridge='virbr0'/><model type='virtio'/><address "
    "type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></interface><hostdev/></devices>"
    "</domain>",
    "<domain type='xen'><name>&#xfc;&quot;</name><uuid>5a1c2b3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d</uuid><os><type "
    "machine='xenpv'>linux</type><kernel>/k</kernel></os><bootloader/></domain>",
    NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    g_auto(ForeignVm) vm = {0}, again = {0};
    g_auto(ForeignExtra) extra = {0};
    g_auto(Error) err = {0};
    size = MIN(size, MAX_SIZE);
    g_autofree char *text = g_strndup((const char *)data, size);
    if (!foreign_xml_read(text, strlen(text), &vm, &extra, &err)) {
        g_assert_true(error_is_set(&err));
        return 0;
    }
    g_autoptr(json_t) json = foreign_vm_encode(&vm, MODEL_ENCODE_ALL);
    g_assert_true(foreign_vm_decode(json, MODEL_STORED, &again, &err));
    g_assert_true(model_equal(&foreign_vm_type, &vm, &again));
    return 0;
}
