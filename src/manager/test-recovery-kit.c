/* A kit opens with its passphrase, holds what it should, and says when it is outdated. */
#include <string.h>
#include "base/file.h"
#include "manager/recovery-kit.h"

#define POOL "11111111-1111-4111-8111-111111111111"
#define HOST "33333333-3333-4333-8333-333333333333"
#define PASSPHRASE "correct horse battery staple"

typedef struct World {
    char *folder;
    Store *store;
    Inventory *inventory;
    HostAuthority *authority;
    WorkPool *pool;
    char *kit; /* the last one that was made, as text */
    ErrorCode fault;
    bool is_done;
} World;

static void committed(const Error *err, void *data) {
    g_assert_null(err);
    ((World *)data)->is_done = true;
}

static void wait_for(World *world) {
    while (!world->is_done)
        g_main_context_iteration(NULL, TRUE);
    world->is_done = false;
}

static void put(World *world, ResourceId kind, const void *object) {
    InventoryChange *change = inventory_change_new(world->inventory);
    inventory_change_put(change, kind, object);
    inventory_commit(world->inventory, change, committed, world);
    wait_for(world);
}

static void put_pool(World *world, const char *description) {
    g_auto(Pool) pool = {0};
    pool_set_id(&pool, POOL);
    pool_set_name(&pool, "prod");
    pool_set_enrol_secret(&pool, "a secret of hosts");
    pool_set_description(&pool, description);
    put(world, RESOURCE_POOL, &pool);
}

static void set_up(World *world, const void *data G_GNUC_UNUSED) {
    world->folder = g_dir_make_tmp("lodge-kit-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(world->folder, "store.db", NULL);
    world->store = store_open_sqlite(path, NULL, clock_system(), NULL);
    world->inventory = inventory_new(world->store, clock_system());
    g_assert_true(inventory_load(world->inventory, NULL));
    world->authority = host_authority_new(world->folder, store_uuid(world->store), clock_system(), NULL);
    world->pool = work_pool_new("kits", 1, 8);
    put_pool(world, "first");
    g_auto(Host) host = {0};
    host_set_id(&host, HOST);
    host_set_name(&host, "node-7");
    host_set_address(&host, "192.0.2.7");
    host_set_key(&host, "sha256:77");
    host_set_pool(&host, POOL);
    put(world, RESOURCE_HOST, &host);
}

static void tear_down(World *world, const void *data G_GNUC_UNUSED) {
    work_pool_free(world->pool);
    host_authority_free(world->authority);
    store_close(world->store);
    inventory_free(world->inventory);
    tree_remove(world->folder, NULL);
    g_free(world->folder);
    g_free(world->kit);
}

static void made(const json_t *result, const Error *err, void *data) {
    World *world = data;
    g_free(world->kit);
    world->kit = result ? json_to_text(result) : NULL;
    world->fault = err ? err->code : ERROR_NONE;
    world->is_done = true;
}

static void make(World *world, const char *passphrase) {
    recovery_make(world->inventory, world->authority, world->pool, passphrase, made, world);
    g_assert_false(world->is_done); /* never before it returns */
    wait_for(world);
}

static KitState state_now(World *world) {
    g_auto(RecoveryState) state = {0};
    recovery_fill_state(world->inventory, world->authority, &state);
    return state.state;
}

static void test_it_opens_with_its_passphrase_only(World *world, const void *data G_GNUC_UNUSED) {
    g_auto(OpenedKit) kit = {0}, other = {0};
    g_auto(Error) err = {0};
    make(world, PASSPHRASE);
    g_assert_nonnull(strstr(world->kit, "node-7"));
    g_assert_null(strstr(world->kit, "a secret of hosts"));
    g_assert_null(strstr(world->kit, "PRIVATE KEY"));
    g_assert_true(recovery_open(world->kit, PASSPHRASE, &kit, &err));
    g_assert_cmpstr(kit.manager, ==, store_uuid(world->store));
    g_assert_cmpstr(kit.authority.certificate_pem, ==, host_authority_pem(world->authority));
    g_assert_cmpstr(json_text_at(json_array_get(kit.hosts, 0), "key"), ==, "sha256:77");
    g_assert_cmpstr(json_text_at(json_array_get(kit.pools, 0), "enrol_secret"), ==, "a secret of hosts");
    g_assert_false(recovery_open(world->kit, "another passphrase", &other, &err));
    g_assert_cmpint(err.code, ==, ERROR_DENIED);
    g_assert_cmpstr(err.field, ==, "/passphrase");
}

static void test_what_is_no_kit_is_refused(World *world, const void *data G_GNUC_UNUSED) {
    static const char *const texts[] = {"", "{", "[]", "{}", "{\"format\":\"lodge-recovery-kit/1\"}",
        "{\"format\":\"lodge-recovery-kit/1\",\"sealed\":\"AAAA\",\"checksum\":\"00\"}"};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_auto(OpenedKit) kit = {0};
        g_auto(Error) err = {0};
        g_assert_false(recovery_open(texts[i], PASSPHRASE, &kit, &err));
        g_assert_cmpint(err.code, ==, ERROR_INVALID);
        g_assert_cmpstr(err.field, ==, "/kit");
    }
    make(world, "too short");
    g_assert_cmpint(world->fault, ==, ERROR_INVALID);
    g_assert_cmpint(state_now(world), ==, KIT_STATE_NONE);
}

static void test_it_says_when_it_is_outdated(World *world, const void *data G_GNUC_UNUSED) {
    g_assert_cmpint(state_now(world), ==, KIT_STATE_NONE);
    make(world, PASSPHRASE);
    g_assert_cmpint(state_now(world), ==, KIT_STATE_CURRENT);
    put_pool(world, "second");
    g_assert_cmpint(state_now(world), ==, KIT_STATE_OUTDATED);
    make(world, PASSPHRASE);
    g_assert_cmpint(state_now(world), ==, KIT_STATE_CURRENT);
}

/* Another manager's: what it signs and its key are there after a start, too. */
static void test_an_authority_is_taken_over(World *world, const void *data G_GNUC_UNUSED) {
    g_autofree char *folder = g_build_filename(world->folder, "other", NULL);
    g_auto(Error) err = {0};
    g_assert_true(folder_make(folder, 0700, &err));
    HostAuthority *other = host_authority_new(folder, HOST, clock_system(), &err);
    g_assert_cmpstr(host_authority_pem(other), !=, host_authority_pem(world->authority));
    g_assert_true(host_authority_become(other, host_authority_identity(world->authority), POOL, &err));
    for (int start = 0; start < 2; start++) {
        g_assert_cmpstr(host_authority_manager(other), ==, POOL);
        g_assert_cmpstr(host_authority_pem(other), ==, host_authority_pem(world->authority));
        host_authority_free(other);
        other = host_authority_new(folder, POOL, clock_system(), &err);
        g_assert_nonnull(other);
    }
    host_authority_free(other);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add(name, World, NULL, set_up, function, tear_down)
    ADD("/recovery-kit/opens", test_it_opens_with_its_passphrase_only);
    ADD("/recovery-kit/refused", test_what_is_no_kit_is_refused);
    ADD("/recovery-kit/outdated", test_it_says_when_it_is_outdated);
    ADD("/recovery-kit/authority", test_an_authority_is_taken_over);
    return g_test_run();
}
