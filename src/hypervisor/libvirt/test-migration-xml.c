/* Proves what changes in a running domain's definition when it goes to another host, and that nothing else
 * does. */
#include <string.h>
#include "hypervisor/libvirt/migration-xml.h"

#define SYSTEM_DISK "aaaaaaaa-1111-4222-8333-444455556666"
#define DATA_DISK "bbbbbbbb-1111-4222-8333-444455556666"

typedef struct World {
    Vm vm;
    HypervisorDisk disks[2];
    HypervisorVm there, here;
    MigrationPaths paths;
} World;

static const char running[] =
    "<domain type='qemu'><name>lodge-web &amp; more</name>"
    "<metadata><x:y xmlns:x='urn:lodge'>1</x:y></metadata>"
    "<os><kernel>/srv/old/kernel</kernel><initrd>/srv/old/initrd</initrd></os>"
    "<devices>"
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
    "<source file='/srv/old/disks/a.qcow2'/>"
    "<backingStore type='file'><format type='raw'/><source file='/srv/old/template.raw'/></backingStore>"
    "<target dev='vda' bus='virtio'/><alias name='ua-" SYSTEM_DISK "'/></disk>"
    "<disk type='file' device='cdrom'><source file='/srv/old/vms/seed.iso'/><target dev='sda' bus='sata'/>"
    "<alias name='sata0-0-0'/></disk>"
    "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/old/disks/b.raw'/>"
    "<target dev='vdb' bus='virtio'/><alias name='ua-" DATA_DISK "'/></disk>"
    "<serial type='pty'><log file='/var/lib/old/state/web.log' append='on'/></serial>"
    "<channel type='unix'><source mode='bind' path='/var/lib/old/state/web.agent'/></channel>"
    "<graphics socket='/var/lib/old/statement/vnc'/>"
    "</devices></domain>";

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    static const char *const ids[] = {SYSTEM_DISK, DATA_DISK}, *const paths[] = {
                                                                   "/new/a & b.qcow2", "/new/b.qcow2"};
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++)
        disk_set_id(vm_add_disks(&world->vm), ids[i]);
    for (size_t i = 0; i < world->vm.disks.n; i++) {
        disk_set_format(&world->vm.disks.items[i], DISK_FORMAT_QCOW2);
        world->disks[i] = (HypervisorDisk){.disk = &world->vm.disks.items[i], .path = paths[i]};
    }
    world->there = (HypervisorVm){.vm = &world->vm,
        .disks = world->disks,
        .n_disks = world->vm.disks.n,
        .seed_path = "/new/seed.iso",
        .kernel_path = "/new/kernel"};
    world->here = (HypervisorVm){
        .vm = &world->vm, .seed_path = "/srv/old/vms/seed.iso", .kernel_path = "/srv/old/kernel"};
    world->paths = (MigrationPaths){.vm = &world->there,
        .state_folder = "/var/lib/old/state",
        .state_folder_there = "/new/state",
        .here = &world->here};
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    vm_clear(&world->vm);
}

static void test_paths_change_and_nothing_else(World *world, const void *data G_GNUC_UNUSED) {
    static const char expected[] =
        "<domain type='qemu'><name>lodge-web &amp; more</name>"
        "<metadata><x:y xmlns:x='urn:lodge'>1</x:y></metadata>"
        "<os><kernel>/new/kernel</kernel><initrd>/srv/old/initrd</initrd></os>"
        "<devices>"
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'></driver>"
        "<source file='/new/a &amp; b.qcow2'></source>"
        "<target dev='vda' bus='virtio'></target><alias name='ua-" SYSTEM_DISK "'></alias></disk>"
        "<disk type='file' device='cdrom'><source file='/new/seed.iso'></source>"
        "<target dev='sda' bus='sata'></target><alias name='sata0-0-0'></alias></disk>"
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'></driver>"
        "<source file='/new/b.qcow2'></source>"
        "<target dev='vdb' bus='virtio'></target><alias name='ua-" DATA_DISK "'></alias></disk>"
        "<serial type='pty'><log file='/new/state/web.log' append='on'></log></serial>"
        "<channel type='unix'><source mode='bind' path='/new/state/web.agent'></source></channel>"
        "<graphics socket='/var/lib/old/statement/vnc'></graphics>"
        "</devices></domain>";
    g_auto(Error) err = {0};
    g_autofree char *there = migration_xml(running, &world->paths, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    g_assert_cmpstr(there, ==, expected);
}

static void test_a_disk_that_is_not_there_stops_it(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    disk_set_id(&world->vm.disks.items[1], "cccccccc-1111-4222-8333-444455556666");
    disk_set_name(&world->vm.disks.items[1], "data");
    g_assert_null(migration_xml(running, &world->paths, &err));
    g_assert_cmpint(err.code, ==, ERROR_HYPERVISOR);
    g_assert_nonnull(strstr(err.message, "data"));
    error_clear(&err);
    disk_set_detached(&world->vm.disks.items[1], true);
    g_autofree char *there = migration_xml(running, &world->paths, &err);
    g_assert_nonnull(there);
}

static void test_disks_that_both_see_keep_what_lies_below(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    world->paths.same_disks = true;
    g_autofree char *there = migration_xml(running, &world->paths, &err);
    g_assert_nonnull(there);
    g_assert_nonnull(strstr(there, "<backingStore type='file'><format type='raw'></format>"
                                   "<source file='/srv/old/template.raw'></source></backingStore>"));
}

/* "br0" here is "br1" there; other bridges are not ours to name. */
static void test_nics_go_into_the_bridges_of_the_other_host(World *world, const void *data G_GNUC_UNUSED) {
    static const char nics[] = "<interface type='bridge'><source bridge='br0'/></interface>"
                               "<interface type='network'><source network='lan' bridge='virbr7'/></interface>"
                               "</devices>";
    g_auto(Network) here = {0}, there = {0};
    g_auto(Error) err = {0};
    network_set_id(&here, "eeeeeeee-1111-4222-8333-444455556666");
    network_set_kind(&here, NETWORK_KIND_BRIDGE);
    network_copy(&there, &here);
    network_set_bridge(&here, "br0");
    network_set_bridge(&there, "br1");
    const HypervisorNic nic_here = {.network = &here}, nic_there = {.network = &there};
    world->here.nics = &nic_here;
    world->there.nics = &nic_there;
    world->here.n_nics = world->there.n_nics = 1;
    g_auto(GStrv) parts = g_strsplit(running, "</devices>", 2);
    g_autofree char *with_nics = g_strconcat(parts[0], nics, parts[1], NULL);
    g_autofree char *moved = migration_xml(with_nics, &world->paths, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    g_assert_nonnull(strstr(moved, "<source bridge='br1'>"));
    g_assert_nonnull(strstr(moved, "<source network='lan' bridge='virbr7'>"));
}

/* Into a shared repository, within it, and out of it. */
static void test_files_are_libvirts_where_nobody_else_sees_them(
    World *world, const void *data G_GNUC_UNUSED) {
    static const char mark[] = "<seclabel model='dac' relabel='no'></seclabel></source>";
    g_auto(Error) err = {0};
    world->there.shares_files = true;
    g_autofree char *into = migration_xml(running, &world->paths, &err);
    g_assert_nonnull(strstr(into, mark));
    world->here.shares_files = world->paths.same_disks = true;
    g_autofree char *within = migration_xml(into, &world->paths, &err);
    g_auto(GStrv) parts = g_strsplit(within, "<seclabel", -1),
                  parts_before = g_strsplit(into, "<seclabel", -1);
    g_assert_cmpuint(g_strv_length(parts), ==, g_strv_length(parts_before));
    world->there.shares_files = world->paths.same_disks = false;
    g_autofree char *out = migration_xml(into, &world->paths, &err);
    g_assert_null(strstr(out, "seclabel"));
}

static void test_half_a_definition_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    for (size_t length = 0; length < strlen(running); length += 97) {
        g_auto(Error) err = {0};
        g_autofree char *half = g_strndup(running, length);
        g_assert_null(migration_xml(half, &world->paths, &err));
        g_assert_cmpint(err.code, ==, ERROR_HYPERVISOR);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define TEST(name, function) g_test_add("/migration-xml/" name, World, NULL, set_up, function, tear_down)
    TEST("paths-change", test_paths_change_and_nothing_else);
    TEST("same-disks", test_disks_that_both_see_keep_what_lies_below);
    TEST("missing-disk", test_a_disk_that_is_not_there_stops_it);
    TEST("bridges", test_nics_go_into_the_bridges_of_the_other_host);
    TEST("owners", test_files_are_libvirts_where_nobody_else_sees_them);
    TEST("half", test_half_a_definition_is_refused);
    return g_test_run();
}
