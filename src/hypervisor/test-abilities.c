/* Proves that the generated table has every driver and every ability. */
#include <string.h>
#include "model/abilities.h"
#include "hypervisor/hypervisor.h"

static void test_every_row_says_yes_or_no_to_everything(void) {
    for (size_t i = 0; i < n_abilities_rows; i++)
        for (size_t field = 0; field < host_mode_type.n_fields; field++)
            g_assert_true(host_mode_has(&abilities_rows[i].mode, (HostModeField)field));
}

static void test_every_driver_has_a_mode(void) {
    static const Hypervisor *const drivers[] = {&hypervisor_qemu, &hypervisor_xen, &hypervisor_fake};
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        g_auto(HostStatus) status = {0};
        abilities_report(drivers[i]->name, &status);
        g_assert_cmpuint(status.modes.n, >, 0);
        g_assert_true(model_equal(&host_mode_type, &status.modes.items[0],
            abilities_find(drivers[i]->name, status.modes.items[0].mode)));
    }
}

static void test_what_a_driver_lacks_is_not_reported(void) {
    const HostMode *pc = abilities_find("qemu", VM_MODE_HVM);
    g_assert_true(pc->vcpus_add && !pc->vcpus_remove && pc->migrate_live);
    g_assert_null(abilities_find("qemu", VM_MODE_PVH));
    g_assert_null(abilities_find("none", VM_MODE_HVM));
    g_assert_false(abilities_find("fake", VM_MODE_PV)->boot_disk);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/abilities/every-row-is-complete", test_every_row_says_yes_or_no_to_everything);
    g_test_add_func("/abilities/every-driver-has-a-mode", test_every_driver_has_a_mode);
    g_test_add_func("/abilities/what-is-lacking", test_what_a_driver_lacks_is_not_reported);
    return g_test_run();
}
