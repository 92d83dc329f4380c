/* Which domains die, from what xl prints. */
#include "hypervisor/xen/dying.h"

static void test_rows_with_a_d_are_dying(void) {
    static const char text[] =
        "Name                                        ID   Mem VCPUs\tState\tTime(s) UUID                     "
        "       "
        "Reason-Code\tSecurity Label\n"
        "Domain-0                                     0  1280     2     r-----     520.9 "
        "00000000-0000-0000-0000-000000000000        -                -\n"
        "lodge-55f20d94-4682-4f9c-acb6-0039dad07ca9   7   128     2     ---ss-       4.7 "
        "55f20d94-4682-4f9c-acb6-0039dad07ca9        2                -\n"
        "(null)                                       5     0     1     --ps-d      27.2 "
        "EC8FCECA-2669-4790-9b94-941cdd77323c        0                -\n"
        "lodge-d                                      9   128     1     -b----       4.7 "
        "d5f20d94-4682-4f9c-acb6-0039dad07ca9        -                -\n";
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    xen_dying_parse(text, ids);
    g_assert_cmpuint(g_hash_table_size(ids), ==, 1);
    g_assert_true(g_hash_table_contains(ids, "ec8fceca-2669-4790-9b94-941cdd77323c"));
}

static void test_other_text_says_nothing(void) {
    static const char *const texts[] = {"", "\n\n", "xl: cannot open", "(null) --ps-d", "-----d\tno-uuid\n",
        "ec8fceca-2669-4790-9b94-941cdd77323c -----d\n"};
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        xen_dying_parse(texts[i], ids);
    g_assert_cmpuint(g_hash_table_size(ids), ==, 0);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xen/dying/rows", test_rows_with_a_d_are_dying);
    g_test_add_func("/xen/dying/other-text", test_other_text_says_nothing);
    return g_test_run();
}
