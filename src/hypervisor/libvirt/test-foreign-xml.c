/*
 * Other tools' definitions against what is made of them. LODGE_UPDATE_GOLDEN=1 rewrites the latter: look at
 * the difference before you keep it.
 */
#include <string.h>
#include "hypervisor/libvirt/foreign-xml.h"
#include "model/json.h"

static const char *const samples[] = {
    "qemu-bios", "qemu-uefi", "xen-pv", "xen-hvm", "xen-pvh", "odd-names", "obstacles"};

static char *text_of(const char *name, const char *ending) {
    g_autofree char *path = g_strdup_printf(FOREIGN_FOLDER "/%s.%s", name, ending);
    char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void test_sample(const void *data) {
    const char *name = data;
    g_autofree char *xml = text_of(name, "xml");
    g_autofree char *path = g_strdup_printf(FOREIGN_FOLDER "/%s.json", name);
    g_auto(ForeignVm) vm = {0}, again = {0};
    g_auto(ForeignExtra) extra = {0};
    g_auto(Error) err = {0};
    g_assert_true(foreign_xml_read(xml, strlen(xml), &vm, &extra, &err));
    g_autoptr(json_t) json = foreign_vm_encode(&vm, MODEL_ENCODE_ALL);
    g_autofree char *plain = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
    g_autofree char *found = g_strconcat(plain, "\n", NULL);
    if (g_getenv("LODGE_UPDATE_GOLDEN"))
        g_assert_true(g_file_set_contents(path, found, -1, NULL));
    g_autofree char *golden = text_of(name, "json");
    g_assert_cmpstr(found, ==, golden);
    g_assert_true(foreign_vm_decode(json, MODEL_STORED, &again, &err)); /* the manager believes it */
}

static void test_uefi_paths(void) {
    g_autofree char *xml = text_of("qemu-uefi", "xml");
    g_auto(ForeignVm) vm = {0};
    g_auto(ForeignExtra) extra = {0};
    g_assert_true(foreign_xml_read(xml, strlen(xml), &vm, &extra, NULL));
    g_assert_cmpstr(extra.loader, ==, "/usr/share/OVMF/OVMF_CODE_4M.fd");
    g_assert_cmpstr(extra.nvram, ==, "/var/lib/libvirt/qemu/nvram/uefi_VARS.fd");
}

static void assert_refused(const char *xml, size_t length) {
    g_auto(ForeignVm) vm = {0};
    g_auto(ForeignExtra) extra = {0};
    g_auto(Error) err = {0};
    g_assert_false(foreign_xml_read(xml, length, &vm, &extra, &err));
    g_assert_true(err.code == ERROR_CORRUPT || err.code == ERROR_TOO_LARGE);
    g_assert_cmpuint(vm.present, ==, 0);
    g_assert_null(extra.nvram);
}

static void test_malformed(void) {
    static const char *const texts[] = {"", "x", "<domain>", "<domain/>", "<network><name>a</name></network>",
        "<domain type='kvm'><name>a</name></domain>", "<domain><name>a</name><uuid>1</uuid></domain>",
        "<domain><name>\xff</name><uuid>5a1c2b3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d</uuid></domain>",
        "<domain><name>a</name><uuid>5a1c2b3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d</uuid>"};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        assert_refused(texts[i], strlen(texts[i]));
    g_autofree char *whole = text_of("qemu-bios", "xml");
    for (size_t n = 0; n + 2 < strlen(whole); n += 37)
        assert_refused(whole, n);
}

static void test_limits(void) {
    g_autoptr(GString) deep = g_string_new(NULL);
    for (int i = 0; i < 1000; i++)
        g_string_append(deep, i ? "<a>" : "<domain>");
    assert_refused(deep->str, deep->len);
    g_autofree char *large = g_strnfill(FOREIGN_XML_LIMIT + 1, ' ');
    assert_refused(large, FOREIGN_XML_LIMIT + 1);
    g_autoptr(GString) many = g_string_new(
        "<domain type='kvm'><name>a</name><uuid>5a1c2b3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d</uuid><devices>");
    for (int i = 0; i < 500; i++)
        g_string_append_printf(many, "<disk type='file'/><interface type='x%d'/><thing%d/>", i, i);
    g_string_append(many, "</devices></domain>");
    g_auto(ForeignVm) vm = {0};
    g_auto(ForeignExtra) extra = {0};
    g_assert_true(foreign_xml_read(many->str, many->len, &vm, &extra, NULL));
    g_assert_cmpuint(vm.disks.n, ==, 64);
    g_assert_cmpuint(vm.nics.n, ==, 32);
    g_assert_cmpuint(vm.obstacles.n, ==, 64);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        g_autofree char *path = g_strconcat("/foreign-xml/", samples[i], NULL);
        g_test_add_data_func(path, samples[i], test_sample);
    }
    g_test_add_func("/foreign-xml/uefi-paths", test_uefi_paths);
    g_test_add_func("/foreign-xml/malformed", test_malformed);
    g_test_add_func("/foreign-xml/limits", test_limits);
    return g_test_run();
}
