/* What xl prints, and what it means. */
#include "hypervisor/xen/domain-list.h"

static void test_rows_tell_who_dies_and_who_reboots(void) {
    static const char text[] =
        "Name                                        ID   Mem VCPUs\tState\tTime(s) UUID               "
        "             Reason-Code\tSecurity Label\n"
        "Domain-0                                     0  1280     2     r-----     520.9 "
        "00000000-0000-0000-0000-000000000000        -                -\n"
        "lodge-55f20d94-4682-4f9c-acb6-0039dad07ca9   7   128     2     ---s--       4.7 "
        "55f20d94-4682-4f9c-acb6-0039dad07ca9        1                -\n"
        "lodge-65f20d94-4682-4f9c-acb6-0039dad07ca9   8   128     2     ---ss-       4.7 "
        "65f20d94-4682-4f9c-acb6-0039dad07ca9        2                -\n"
        "(null)                                       5     0     1     --p--d      27.2 "
        "EC8FCECA-2669-4790-9b94-941cdd77323c        0                -\n"
        "lodge-d                                      9   128     1     -b----       4.7 "
        "d5f20d94-4682-4f9c-acb6-0039dad07ca9        -                -\n"
        "lodge-x  3  128  1  ---s-c  3.1 e5f20d94-4682-4f9c-acb6-0039dad07ca9 3  -\n";
    g_autoptr(GArray) rows = xen_domain_list_parse(text);
    g_assert_cmpuint(rows->len, ==, 6);
    const XenDomainRow *row = (const XenDomainRow *)(void *)rows->data;
    for (guint i = 0; i < rows->len; i++) {
        g_assert_cmpint(row[i].is_shut, ==, i == 1 || i == 2 || i == 5);
        g_assert_cmpint(row[i].is_rebooting, ==, i == 1);
        g_assert_cmpint(row[i].is_suspended, ==, i == 2);
        g_assert_cmpint(row[i].is_dying, ==, i == 3);
        g_assert_cmpint(row[i].is_paused, ==, i == 3);
    }
    g_assert_cmpstr(row[3].uuid, ==, "ec8fceca-2669-4790-9b94-941cdd77323c");
    g_assert_true(xen_domain_find(rows, "ec8fceca-2669-4790-9b94-941cdd77323c") == &row[3]);
    g_assert_null(xen_domain_find(rows, "fc8fceca-2669-4790-9b94-941cdd77323c"));
}

static void test_other_text_says_nothing(void) {
    static const char *const texts[] = {"", "\n\n", "xl: cannot open", "(null) --ps-d", "-----d\tno-uuid\n",
        "ec8fceca-2669-4790-9b94-941cdd77323c -----d\n"};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GArray) rows = xen_domain_list_parse(texts[i]);
        g_assert_cmpuint(rows->len, ==, 0);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xen/domain-list/rows", test_rows_tell_who_dies_and_who_reboots);
    g_test_add_func("/xen/domain-list/other-text", test_other_text_says_nothing);
    return g_test_run();
}
