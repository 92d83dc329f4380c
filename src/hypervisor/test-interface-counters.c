/* Proves that an interface's counters are found by its whole name and turned to the guest's side. */
#include "hypervisor/interface-counters.h"
#include "model/model.h"

static const char text[] =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
    "carrier compressed\n"
    "    lo:   70   71    0    0    0     0          0         0      72      73    0    0    0     0       "
    "0    "
    "      0\n"
    " vnet1:    1    2    3    4    5     6          7         8       9      10   11   12   13    14      "
    "15    "
    "     16\n"
    "vnet10:18446744073709551615 20 0 0 0 0 0 0 21 22 0 0 0 0 0 0\n"
    "broken: 1 2 3\n";

static void test_the_guest_receives_what_the_host_sends(void) {
    InterfaceCounters host = {0};
    g_auto(VmNicStatistics) guest = {0};
    g_assert_true(interface_counters_find(text, "vnet1", &host));
    interface_counters_add(&host, &guest);
    g_assert_cmpuint(guest.received_bytes, ==, 9);
    g_assert_cmpint(guest.received_packets, ==, 10);
    g_assert_cmpint(guest.received_errors, ==, 11);
    g_assert_cmpint(guest.received_dropped, ==, 12);
    g_assert_cmpuint(guest.sent_bytes, ==, 1);
    g_assert_cmpint(guest.sent_packets, ==, 2);
    g_assert_cmpint(guest.sent_errors, ==, 3);
    g_assert_cmpint(guest.sent_dropped, ==, 4);
}

static void test_interfaces_of_one_nic_add_up(void) {
    InterfaceCounters one = {0}, other = {0};
    g_auto(VmNicStatistics) guest = {0};
    g_assert_true(interface_counters_find(text, "vnet1", &one));
    g_assert_true(interface_counters_find(text, "lo", &other));
    interface_counters_add(&one, &guest);
    interface_counters_add(&other, &guest);
    g_assert_cmpuint(guest.received_bytes, ==, 9 + 72);
    g_assert_cmpint(guest.sent_packets, ==, 2 + 71);
}

static void test_other_names_and_broken_lines_are_not_taken(void) {
    static const char *const absent[] = {
        "vnet", "vnet100", "net1", "face |bytes", "Inter-|   Receive", "broken", ""};
    for (size_t i = 0; i < G_N_ELEMENTS(absent); i++) {
        InterfaceCounters host = {.sent_bytes = 7};
        g_assert_false(interface_counters_find(text, absent[i], &host));
        g_assert_cmpuint(host.sent_bytes, ==, 7);
    }
}

static void test_a_counter_fits_into_json(void) {
    InterfaceCounters host = {0};
    g_auto(VmNicStatistics) guest = {0}, decoded = {0};
    g_assert_true(interface_counters_find(text, "vnet10", &host));
    interface_counters_add(&host, &guest);
    interface_counters_add(&host, &guest);
    g_autoptr(json_t) json = vm_nic_statistics_encode(&guest, MODEL_ENCODE_ALL);
    g_assert_true(vm_nic_statistics_decode(json, MODEL_STORED, &decoded, NULL));
    g_assert_cmpuint(decoded.sent_bytes, ==, MODEL_SIZE_MAX);
}

static void test_this_machine_has_a_loopback_interface(void) {
    InterfaceCounters host = {0};
    g_autofree char *now = interface_counters_text();
    g_assert_nonnull(now);
    g_assert_true(interface_counters_find(now, "lo", &host));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/interface-counters/sides", test_the_guest_receives_what_the_host_sends);
    g_test_add_func("/interface-counters/sum", test_interfaces_of_one_nic_add_up);
    g_test_add_func("/interface-counters/names", test_other_names_and_broken_lines_are_not_taken);
    g_test_add_func("/interface-counters/limits", test_a_counter_fits_into_json);
    g_test_add_func("/interface-counters/machine", test_this_machine_has_a_loopback_interface);
    return g_test_run();
}
