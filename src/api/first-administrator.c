/* The account that a new installation starts with. */
#include "api/api-internal.h"
#include "api/password.h"

enum { FIRST_PASSWORD_BYTES = 12 };

typedef struct FirstWork {
    Api *api;
    char *password, *hash;
    Error err;
    void (*done)(const char *password, const Error *err, void *data);
    void *data;
} FirstWork;

static void finish(FirstWork *work, const Error *err) {
    work->done(err ? NULL : work->password, err, work->data);
    if (--work->api->references == 0)
        g_free(work->api);
    secret_free(work->password);
    g_free(work->hash);
    error_clear(&work->err);
    g_free(work);
}

static void first_stored(const Error *err, void *data) {
    finish(data, err);
}

static gboolean nothing_to_do(void *data) {
    finish(data, NULL);
    return G_SOURCE_REMOVE;
}

static void run_first(void *data) {
    FirstWork *work = data;
    password_hash(work->password, &work->hash, &work->err);
}

static void first_hashed(void *data) {
    FirstWork *work = data;
    if (error_is_set(&work->err) || work->api->is_closed) {
        g_auto(Error) ending = {0};
        error_set(&ending, ERROR_UNREACHABLE, NULL, "the manager ends");
        finish(work, error_is_set(&work->err) ? &work->err : &ending);
        return;
    }
    g_auto(Principal) principal = {0};
    g_autofree char *id = g_uuid_string_random();
    principal_set_id(&principal, id);
    principal_set_name(&principal, "admin");
    principal_set_role(&principal, ROLE_ADMINISTRATOR);
    principal_set_password_hash(&principal, work->hash);
    model_apply_defaults(&principal_type, &principal);
    InventoryChange *change = inventory_change_new(work->api->inventory);
    inventory_change_put(change, RESOURCE_PRINCIPAL, &principal);
    inventory_change_by(change, ACCESS_LOCAL_NAME, NULL);
    inventory_commit(work->api->inventory, change, first_stored, work);
}

void api_first_administrator(
    Api *api, void (*done)(const char *password, const Error *err, void *data), void *data) {
    FirstWork *work = g_new0(FirstWork, 1);
    *work = (FirstWork){.api = api, .done = done, .data = data};
    api->references++;
    if (inventory_list(api->inventory, RESOURCE_PRINCIPAL)->len > 0) {
        g_idle_add(nothing_to_do, work);
        return;
    }
    work->password = secret_make("", FIRST_PASSWORD_BYTES);
    if (!work_pool_add(api->hashes, run_first, first_hashed, work, &work->err))
        g_assert_not_reached(); /* at start the pool is empty */
}
