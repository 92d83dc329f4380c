/* Devices of some families: today's, old, Windows, BSD; and that the table can be searched. */
#include "model/guest-os.h"
#include <string.h>

typedef struct Expectation {
    const char *id;
    DiskBus disk, cd;
    NicModel nic;
    Firmware firmware;
    bool is_old, has_local_clock;
} Expectation;

static const Expectation expectations[] = {
    {NULL, DISK_BUS_VIRTIO, DISK_BUS_SCSI, NIC_MODEL_VIRTIO, FIRMWARE_BIOS, false, false},
    {"unknown", DISK_BUS_VIRTIO, DISK_BUS_SCSI, NIC_MODEL_VIRTIO, FIRMWARE_BIOS, false, false},
    {"debian12", DISK_BUS_VIRTIO, DISK_BUS_SCSI, NIC_MODEL_VIRTIO, FIRMWARE_BIOS, false, false},
    {"debian8", DISK_BUS_VIRTIO, DISK_BUS_SCSI, NIC_MODEL_VIRTIO, FIRMWARE_BIOS, false, false},
    {"rhel4.0", DISK_BUS_IDE, DISK_BUS_IDE, NIC_MODEL_E1000, FIRMWARE_BIOS, true, false},
    {"win10", DISK_BUS_SATA, DISK_BUS_SATA, NIC_MODEL_E1000E, FIRMWARE_BIOS, false, true},
    {"win11", DISK_BUS_SATA, DISK_BUS_SATA, NIC_MODEL_E1000E, FIRMWARE_UEFI, false, true},
    {"winxp", DISK_BUS_IDE, DISK_BUS_IDE, NIC_MODEL_E1000, FIRMWARE_BIOS, true, true},
    {"msdos6.22", DISK_BUS_IDE, DISK_BUS_IDE, NIC_MODEL_RTL8139, FIRMWARE_BIOS, true, true},
    {"freebsd8.0", DISK_BUS_IDE, DISK_BUS_IDE, NIC_MODEL_E1000, FIRMWARE_BIOS, true, false},
    {"freebsd13.0", DISK_BUS_VIRTIO, DISK_BUS_SATA, NIC_MODEL_VIRTIO, FIRMWARE_BIOS, false, false},
};

static void test_devices_follow(void) {
    if (!guest_os_find("winxp")) {
        g_test_skip("built without osinfo-db");
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(expectations); i++) {
        const Expectation *wanted = &expectations[i];
        g_test_message("%s", wanted->id ? wanted->id : "none");
        g_assert_cmpint(guest_os_disk_bus(wanted->id), ==, wanted->disk);
        g_assert_cmpint(guest_os_cd_bus(wanted->id), ==, wanted->cd);
        g_assert_cmpint(guest_os_nic_model(wanted->id), ==, wanted->nic);
        g_assert_cmpint(guest_os_firmware(wanted->id), ==, wanted->firmware);
        g_assert_cmpint(guest_os_needs_old_machine(wanted->id), ==, wanted->is_old);
        g_assert_cmpint(guest_os_has_local_clock(wanted->id), ==, wanted->has_local_clock);
    }
}

static void test_every_row_is_found(void) {
    for (size_t i = 0; i < n_guest_oses; i++) {
        g_assert_true(guest_os_find(guest_oses[i].id) == &guest_oses[i]);
        g_assert_true(!i || strcmp(guest_oses[i - 1].id, guest_oses[i].id) < 0);
    }
    g_assert_nonnull(guest_os_find("debian13")); /* with every database */
}

static void test_unknown_ids_are_refused(void) {
    g_auto(Error) err = {0};
    g_assert_true(guest_os_check(NULL, &err));
    g_assert_true(guest_os_check("debian12", &err));
    g_assert_false(guest_os_check("debian 12", &err));
    g_assert_cmpstr(err.field, ==, "/guest_os");
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-os/devices-follow", test_devices_follow);
    g_test_add_func("/guest-os/every-row-is-found", test_every_row_is_found);
    g_test_add_func("/guest-os/unknown-ids-are-refused", test_unknown_ids_are_refused);
    return g_test_run();
}
