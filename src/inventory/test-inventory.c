/* Proves that definitions survive a restart, names and MACs stay unique, and every change is one event. */
#include "inventory/inventory.h"
#include <string.h>
#include "base/file.h"
#include "inventory/names.h"
#include "model/format.h"

typedef struct World {
    char *folder, *path;
    Store *store;
    Inventory *inventory;
    GString *events;
    Error result;
    bool is_done;
} World;

static void on_event(const Event *event, void *data) {
    World *world = data;
    g_string_append_printf(world->events, "%s:%s ", event->kind, event->name ? event->name : "-");
}

static void open_world(World *world) {
    g_auto(Error) err = {0};
    world->store = store_open_sqlite(world->path, NULL, clock_system(), &err);
    g_assert_nonnull(world->store);
    world->inventory = inventory_new(world->store, clock_system());
    g_assert_true(inventory_load(world->inventory, &err));
    inventory_subscribe(world->inventory, on_event, world);
}

static void close_world(World *world) {
    store_close(world->store);
    inventory_free(world->inventory);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    world->folder = g_dir_make_tmp("lodge-inventory-XXXXXX", NULL);
    world->path = g_build_filename(world->folder, "store.db", NULL);
    world->events = g_string_new(NULL);
    open_world(world);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    close_world(world);
    tree_remove(world->folder, NULL);
    g_string_free(world->events, TRUE);
    error_clear(&world->result);
    g_free(world->path);
    g_free(world->folder);
}

static void on_done(const Error *err, void *data) {
    World *world = data;
    error_clear(&world->result);
    if (err)
        error_copy(&world->result, err);
    world->is_done = true;
}

static ErrorCode commit(World *world, InventoryChange *take_change) {
    world->is_done = false;
    inventory_commit(world->inventory, take_change, on_done, world);
    g_assert_false(world->is_done);
    while (!world->is_done)
        g_main_context_iteration(NULL, TRUE);
    return world->result.code;
}

static ErrorCode put_vm(World *world, const char *id, const char *name, const char *mac) {
    g_auto(Vm) vm = {0};
    vm_set_id(&vm, id);
    vm_set_name(&vm, name);
    nic_set_mac(vm_add_nics(&vm), mac);
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, RESOURCE_VM, &vm);
    return commit(world, change);
}

static ErrorCode put_vm_on(World *world, const char *id, const char *host) {
    g_auto(Vm) vm = {0};
    vm_copy(&vm, inventory_get(world->inventory, RESOURCE_VM, id)->data);
    vm_set_host(&vm, host);
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, RESOURCE_VM, &vm);
    return commit(world, change);
}

static ErrorCode delete_vm(World *world, const char *id) {
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_delete(change, RESOURCE_VM, id);
    return commit(world, change);
}

#define ID_1 "00000000-0000-4000-8000-000000000001"
#define ID_2 "00000000-0000-4000-8000-000000000002"
#define MAC_1 "52:54:00:00:00:01"
#define MAC_2 "52:54:00:00:00:02"
#define ID_3 "00000000-0000-4000-8000-000000000003"
#define MAC_3 "52:54:00:00:00:03"

static void test_definitions_survive_a_restart_and_runtime_does_not(
    World *world, const void *data G_GNUC_UNUSED) {
    g_assert_cmpint(put_vm(world, ID_1, "web", MAC_1), ==, ERROR_NONE);
    Vm *vm = inventory_runtime(world->inventory, RESOURCE_VM, ID_1);
    vm_status_set_state(vm_put_status(vm), VM_STATE_RUNNING);
    inventory_runtime_changed(world->inventory, RESOURCE_VM, ID_1);
    g_assert_cmpstr(world->events->str, ==, "created:web runtime:web ");
    close_world(world);
    open_world(world);
    const Object *object = inventory_find(world->inventory, RESOURCE_VM, "web", NULL);
    g_assert_nonnull(object);
    g_assert_cmpint(((const Vm *)object->data)->revision, ==, 1);
    g_assert_false(vm_has(object->data, VM_FIELD_STATUS));
}

static void test_a_taken_name_or_mac_is_refused_and_free_again_after_deletion(
    World *world, const void *data G_GNUC_UNUSED) {
    g_assert_cmpint(put_vm(world, ID_1, "web", MAC_1), ==, ERROR_NONE);
    g_assert_cmpint(put_vm(world, ID_2, "web", MAC_2), ==, ERROR_EXISTS);
    g_assert_cmpint(put_vm(world, ID_2, "WEB", MAC_2), ==, ERROR_EXISTS); /* host names ignore case */
    g_assert_cmpstr(world->result.field, ==, "/name");
    g_assert_cmpint(put_vm(world, ID_2, "db", MAC_1), ==, ERROR_EXISTS);
    g_assert_cmpstr(world->result.field, ==, "/nics");
    g_assert_cmpint((int)inventory_list(world->inventory, RESOURCE_VM)->len, ==, 1);
    g_assert_cmpint(delete_vm(world, ID_1), ==, ERROR_NONE);
    g_assert_false(inventory_has_mac(world->inventory, MAC_1, NULL));
    g_assert_cmpint(put_vm(world, ID_2, "web", MAC_1), ==, ERROR_NONE);
}

static void test_two_changes_at_once_one_wins(World *world, const void *data G_GNUC_UNUSED) {
    put_vm(world, ID_1, "web", MAC_1);
    g_auto(Vm) vm = {0};
    vm_copy(&vm, inventory_get(world->inventory, RESOURCE_VM, ID_1)->data);
    InventoryChange *first = inventory_change_new(world->inventory),
                    *second = inventory_change_new(world->inventory);
    vm_set_description(&vm, "first");
    inventory_change_put(first, RESOURCE_VM, &vm);
    vm_set_description(&vm, "second");
    inventory_change_put(second, RESOURCE_VM, &vm);
    inventory_commit(world->inventory, first, NULL, NULL);
    g_assert_cmpint(commit(world, second), ==, ERROR_PRECONDITION);
    g_assert_cmpstr(
        ((const Vm *)inventory_get(world->inventory, RESOURCE_VM, ID_1)->data)->description, ==, "first");
}

/* Whoever asks, and however often, in the meantime: one event each, and none of what is gone by then. */
static void test_bursts_are_announced_once(World *world, const void *data G_GNUC_UNUSED) {
    put_vm(world, ID_1, "web", MAC_1);
    g_string_truncate(world->events, 0);
    for (int i = 0; i < 100; i++)
        inventory_runtime_changed_soon(world->inventory, RESOURCE_VM, ID_1);
    inventory_runtime_changed_soon(world->inventory, RESOURCE_VM, ID_2);
    g_assert_cmpstr(world->events->str, ==, "");
    while (world->events->len == 0)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpstr(world->events->str, ==, "runtime:web ");
    inventory_runtime_changed_soon(world->inventory, RESOURCE_VM, ID_1); /* closed before its time has come */
}

static void test_runtime_state_outlives_a_change_of_the_definition(
    World *world, const void *data G_GNUC_UNUSED) {
    put_vm(world, ID_1, "web", MAC_1);
    g_auto(Vm) stale = {0};
    vm_copy(&stale, inventory_get(world->inventory, RESOURCE_VM, ID_1)->data);
    vm_status_set_state(vm_put_status(&stale), VM_STATE_STOPPED);
    vm_status_set_state(
        vm_put_status(inventory_runtime(world->inventory, RESOURCE_VM, ID_1)), VM_STATE_RUNNING);
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, RESOURCE_VM, &stale);
    g_assert_cmpint(commit(world, change), ==, ERROR_NONE);
    g_assert_cmpint(((const Vm *)inventory_get(world->inventory, RESOURCE_VM, ID_1)->data)->status.state, ==,
        VM_STATE_RUNNING);
}

static void count_event(const Event *event G_GNUC_UNUSED, void *data) {
    ++*(int *)data;
}

static void test_replay_gives_what_was_missed_or_says_too_old(World *world, const void *data G_GNUC_UNUSED) {
    put_vm(world, ID_1, "web", MAC_1);
    int64_t seen = inventory_sequence(world->inventory);
    put_vm(world, ID_2, "db", MAC_2);
    delete_vm(world, ID_1);
    int missed = 0;
    g_assert_true(inventory_replay(world->inventory, seen, count_event, &missed, NULL));
    g_assert_cmpint(missed, ==, 2);
    g_auto(Error) err = {0};
    g_assert_false(inventory_replay(world->inventory, seen + 100, count_event, &missed, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOO_OLD);
}

static void take_name(const Event *event, void *data) {
    *(char **)data = g_strdup(json_text_at(event->data, "name"));
}

static void test_a_replayed_event_holds_the_object(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *name = NULL;
    int64_t seen = inventory_sequence(world->inventory);
    put_vm(world, ID_1, "web", MAC_1);
    g_assert_true(inventory_replay(world->inventory, seen, take_name, &name, NULL));
    g_assert_cmpstr(name, ==, "web");
}

static void test_large_events_are_forgotten_earlier(World *world, const void *data G_GNUC_UNUSED) {
    enum { EVENTS = 3000, TEXT_BYTES = 3000 };
    put_vm(world, ID_1, "web", MAC_1);
    g_autofree char *text = g_strnfill(TEXT_BYTES, 'x');
    vm_set_description(inventory_runtime(world->inventory, RESOURCE_VM, ID_1), text);
    int64_t seen = inventory_sequence(world->inventory);
    for (int i = 0; i < EVENTS; i++)
        inventory_runtime_changed(world->inventory, RESOURCE_VM, ID_1);
    int missed = 0;
    g_auto(Error) err = {0};
    g_assert_false(inventory_replay(world->inventory, seen, count_event, &missed, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOO_OLD);
    g_assert_true(inventory_replay(world->inventory, seen + EVENTS - 1000, count_event, &missed, NULL));
    g_assert_cmpint(missed, ==, 1000);
}

static void test_the_audit_survives_a_restart(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Event) event = {0};
    event_set_principal(&event, "admin");
    event_set_method(&event, "vm.delete");
    inventory_audit(world->inventory, &event);
    put_vm(world, ID_1, "web", MAC_1); /* a later commit is durable: so is the audit line */
    close_world(world);
    open_world(world);
    const GPtrArray *list = inventory_list(world->inventory, RESOURCE_EVENT);
    g_assert_cmpint((int)list->len, ==, 1);
    g_assert_cmpstr(((const Event *)((const Object *)list->pdata[0])->data)->method, ==, "vm.delete");
}

static char *listed_names(World *world) {
    GString *names = g_string_new(NULL);
    const GPtrArray *list = inventory_list(world->inventory, RESOURCE_VM);
    for (guint i = 0; i < list->len; i++)
        g_string_append_printf(names, "%s ", ((const Object *)list->pdata[i])->name);
    return g_string_free(names, FALSE);
}

static void assert_listed(World *world, const char *expected) {
    g_autofree char *names = listed_names(world);
    g_assert_cmpstr(names, ==, expected);
}

static void test_a_list_stays_in_order(World *world, const void *data G_GNUC_UNUSED) {
    put_vm(world, ID_1, "web-10", MAC_1);
    put_vm(world, ID_2, "web-2", MAC_2);
    assert_listed(world, "web-2 web-10 ");
    put_vm(world, ID_3, "web-1", MAC_3); /* into the list that is sorted */
    assert_listed(world, "web-1 web-2 web-10 ");
    put_vm(world, ID_3, "web-3", MAC_3);
    assert_listed(world, "web-2 web-3 web-10 ");
    delete_vm(world, ID_2);
    assert_listed(world, "web-3 web-10 ");
    close_world(world);
    open_world(world);
    assert_listed(world, "web-3 web-10 ");
}

static void test_a_name_leads_to_who_has_it_now(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    put_vm(world, ID_1, "web", MAC_1);
    put_vm(world, ID_2, "db", MAC_2);
    g_assert_cmpint(put_vm(world, ID_1, "mail", MAC_1), ==, ERROR_NONE);
    g_assert_false(inventory_has_name(world->inventory, RESOURCE_VM, "web"));
    g_assert_true(inventory_has_name(world->inventory, RESOURCE_VM, "MAIL"));
    g_assert_null(inventory_find(world->inventory, RESOURCE_VM, "web", &err));
    g_assert_cmpint(err.code, ==, ERROR_NOT_FOUND);
    g_assert_cmpint(put_vm(world, ID_2, "web", MAC_2), ==, ERROR_NONE);
    g_assert_cmpstr(inventory_find(world->inventory, RESOURCE_VM, "web", NULL)->id, ==, ID_2);
    g_assert_cmpstr(inventory_find(world->inventory, RESOURCE_VM, "mail", NULL)->id, ==, ID_1);
    delete_vm(world, ID_1);
    g_assert_null(inventory_find(world->inventory, RESOURCE_VM, "mail", NULL));
}

/* Before it is durable that the other one has it no more. */
static void test_a_name_may_be_taken_over(World *world, const void *data G_GNUC_UNUSED) {
    put_vm(world, ID_1, "web", MAC_1);
    put_vm(world, ID_2, "db", MAC_2);
    g_auto(Vm) vm = {0};
    vm_copy(&vm, inventory_get(world->inventory, RESOURCE_VM, ID_1)->data);
    vm_set_name(&vm, "mail");
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, RESOURCE_VM, &vm);
    inventory_commit(world->inventory, change, NULL, NULL);
    g_assert_cmpint(put_vm(world, ID_2, "web", MAC_2), ==, ERROR_NONE);
    g_assert_cmpstr(inventory_find(world->inventory, RESOURCE_VM, "web", NULL)->id, ==, ID_2);
    assert_listed(world, "mail web ");
}

static void test_vms_are_known_by_their_host(World *world, const void *data G_GNUC_UNUSED) {
    put_vm(world, ID_1, "web", MAC_1);
    put_vm(world, ID_2, "db", MAC_2);
    g_assert_cmpint((int)inventory_vms_on(world->inventory, "one")->len, ==, 0);
    put_vm_on(world, ID_1, "one");
    put_vm_on(world, ID_2, "one");
    g_assert_cmpint((int)inventory_vms_on(world->inventory, "one")->len, ==, 2);
    put_vm_on(world, ID_1, "two");
    close_world(world);
    open_world(world);
    const GPtrArray *vms = inventory_vms_on(world->inventory, "two");
    g_assert_cmpint((int)vms->len, ==, 1);
    g_assert_cmpstr(((const Object *)vms->pdata[0])->id, ==, ID_1);
    delete_vm(world, ID_2);
    g_assert_cmpint((int)inventory_vms_on(world->inventory, "one")->len, ==, 0);
    g_assert_cmpint((int)inventory_vms_on(world->inventory, NULL)->len, ==, 0);
}

static void test_names_are_ordered_as_people_count(
    World *world G_GNUC_UNUSED, const void *data G_GNUC_UNUSED) {
    g_assert_cmpint(natural_compare("web-2", "web-10"), <, 0);
    g_assert_cmpint(natural_compare("web-10", "web-10a"), <, 0);
    g_assert_cmpint(natural_compare("b", "a9"), >, 0);
    g_assert_cmpint(natural_compare("a", "a"), ==, 0);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add(name, World, NULL, set_up, function, tear_down)
    ADD("/inventory/restart", test_definitions_survive_a_restart_and_runtime_does_not);
    ADD("/inventory/unique", test_a_taken_name_or_mac_is_refused_and_free_again_after_deletion);
    ADD("/inventory/race", test_two_changes_at_once_one_wins);
    ADD("/inventory/bursts", test_bursts_are_announced_once);
    ADD("/inventory/runtime", test_runtime_state_outlives_a_change_of_the_definition);
    ADD("/inventory/replay", test_replay_gives_what_was_missed_or_says_too_old);
    ADD("/inventory/replay-data", test_a_replayed_event_holds_the_object);
    ADD("/inventory/large-events", test_large_events_are_forgotten_earlier);
    ADD("/inventory/audit", test_the_audit_survives_a_restart);
    ADD("/inventory/order", test_names_are_ordered_as_people_count);
    ADD("/inventory/list", test_a_list_stays_in_order);
    ADD("/inventory/names", test_a_name_leads_to_who_has_it_now);
    ADD("/inventory/name-taken-over", test_a_name_may_be_taken_over);
    ADD("/inventory/hosts", test_vms_are_known_by_their_host);
    return g_test_run();
}
