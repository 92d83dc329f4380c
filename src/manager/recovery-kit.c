/* What goes into it; made; whether it is outdated; opened. */
#include "manager/recovery-kit.h"
#include <string.h>
#include "model/format.h"
#include "tls/tls-credentials.h"
#include "tls/tls-seal.h"

#define FORMAT_NAME "lodge-recovery-kit/"
#define FORMAT "lodge-recovery-kit/1"
#define RECOVERY_KEY "meta/recovery-kit"

/* ---- what goes into it ---- */

static json_t *host_row(const Host *host) {
    return json_pack("{ss ss ss ss* ss*}", "id", host->id, "name", host->name, "address", host->address,
        "key", host->key, "pool", host->pool);
}

static json_t *host_rows(Inventory *inventory) {
    const GPtrArray *hosts = inventory_list(inventory, RESOURCE_HOST);
    json_t *rows = json_array();
    for (guint i = 0; i < hosts->len; i++)
        json_array_append_new(rows, host_row(((const Object *)hosts->pdata[i])->data));
    return rows;
}

static json_t *definitions(Inventory *inventory, ResourceId kind) {
    const GPtrArray *objects = inventory_list(inventory, kind);
    json_t *rows = json_array();
    for (guint i = 0; i < objects->len; i++)
        json_array_append_new(rows, model_encode(resources[kind].type,
                                        ((const Object *)objects->pdata[i])->data, MODEL_ENCODE_DEFINITION));
    return rows;
}

/* All but the authority's key. */
static json_t *content_of(Inventory *inventory, const HostAuthority *authority) {
    return json_pack("{ss ss so so so}", "manager", host_authority_manager(authority), "certificate",
        host_authority_pem(authority), "hosts", host_rows(inventory), "pools",
        definitions(inventory, RESOURCE_POOL), "principals", definitions(inventory, RESOURCE_PRINCIPAL));
}

static char *digest_of(const json_t *content) {
    char *text = json_to_text(content);
    char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    tls_sealed_free(text);
    return digest;
}

/* ---- made ---- */

typedef struct Making {
    Inventory *inventory;
    char *text, *passphrase, *digest, *sealed; /* text: what is sealed */
    OpenedKit shown;                           /* manager, time and hosts: what everybody may read */
    RecoveryFn done;
    void *data;
    Error err;
} Making;

static void making_free(Making *self) {
    tls_sealed_free(self->text);
    tls_sealed_free(self->passphrase);
    opened_kit_clear(&self->shown);
    error_clear(&self->err);
    g_free(self->digest);
    g_free(self->sealed);
    g_free(self);
}

static void seal(void *data) {
    Making *self = data;
    if (!error_is_set(&self->err))
        tls_seal(self->passphrase, self->text, &self->sealed, &self->err);
}

static json_t *result_of(const Making *self) {
    g_autofree char *checksum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, self->sealed, -1);
    g_auto(RecoveryKit) kit = {0};
    size_t i;
    json_t *row;
    recovery_kit_set_format(&kit, FORMAT);
    recovery_kit_set_manager(&kit, self->shown.manager);
    recovery_kit_set_made(&kit, self->shown.made_ns);
    json_array_foreach (self->shown.hosts, i, row) {
        RecoveryHost *host = recovery_kit_add_hosts(&kit);
        recovery_host_set_name(host, json_text_at(row, "name"));
        recovery_host_set_address(host, json_text_at(row, "address"));
    }
    recovery_kit_set_checksum(&kit, checksum);
    recovery_kit_set_sealed(&kit, self->sealed);
    return recovery_kit_encode(&kit, MODEL_ENCODE_PUBLIC);
}

static void note_made(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    Making *self = data;
    g_autoptr(json_t) result = err ? NULL : result_of(self);
    self->done(result, err, self->data);
    making_free(self);
}

static void sealed(void *data) {
    Making *self = data;
    if (error_is_set(&self->err)) {
        self->done(NULL, &self->err, self->data);
        making_free(self);
        return;
    }
    g_autoptr(json_t) note =
        json_pack("{sI ss}", "made", (json_int_t)self->shown.made_ns, "digest", self->digest);
    g_autofree char *text = json_to_text(note);
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, RECOVERY_KEY, text, strlen(text), 0);
    store_commit(inventory_store(self->inventory), transaction, note_made, self);
}

static gboolean refuse(void *data) {
    sealed(data);
    return G_SOURCE_REMOVE;
}

void recovery_make(Inventory *inventory, const HostAuthority *authority, WorkPool *pool,
    const char *passphrase, RecoveryFn done, void *data) {
    Making *self = g_new0(Making, 1);
    g_autoptr(json_t) content = content_of(inventory, authority);
    *self = (Making){.inventory = inventory,
        .passphrase = g_strdup(passphrase),
        .digest = digest_of(content),
        .done = done,
        .data = data};
    self->shown = (OpenedKit){.manager = g_strdup(host_authority_manager(authority)),
        .made_ns = clock_realtime_ns(clock_system()),
        .hosts = json_incref(json_object_get(content, "hosts"))};
    json_object_set_new(content, "epoch", json_integer((json_int_t)store_epoch(inventory_store(inventory))));
    json_object_set_new(content, "made", json_integer((json_int_t)self->shown.made_ns));
    json_object_set_new(content, "key", json_string(host_authority_identity(authority)->key_pem));
    self->text = json_to_text(content);
    if (strlen(passphrase) < RECOVERY_PASSPHRASE_LEAST)
        error_set(&self->err, ERROR_INVALID, "/passphrase",
            "passphrase: %d characters at least: it opens all hosts", RECOVERY_PASSPHRASE_LEAST);
    if (error_is_set(&self->err) || !work_pool_add(pool, seal, sealed, self, &self->err))
        g_idle_add(refuse, self);
}

/* ---- whether it is outdated ---- */

static json_t *read_note(Inventory *inventory) {
    g_auto(StoreItem) item = {0};
    size_t length = 0;
    if (!store_get(inventory_store(inventory), RECOVERY_KEY, &item, NULL))
        return NULL;
    const char *text = g_bytes_get_data(item.value, &length);
    return json_parse(text, length, NULL);
}

void recovery_fill_state(Inventory *inventory, const HostAuthority *authority, RecoveryState *ret_state) {
    g_autoptr(json_t) note = read_note(inventory);
    if (!note) {
        recovery_state_set_state(ret_state, KIT_STATE_NONE);
        recovery_state_set_reason(ret_state,
            "without one, hosts of a manager that is lost are set free one by one: make one by `lodge system "
            "recovery-kit`");
        return;
    }
    g_autoptr(json_t) content = content_of(inventory, authority);
    g_autofree char *digest = digest_of(content);
    bool is_current = g_strcmp0(digest, json_text_at(note, "digest")) == 0;
    recovery_state_set_state(ret_state, is_current ? KIT_STATE_CURRENT : KIT_STATE_OUTDATED);
    recovery_state_set_made(ret_state, json_integer_value(json_object_get(note, "made")));
    if (!is_current)
        recovery_state_set_reason(
            ret_state, "hosts, pools or principals have changed since: make another one");
}

/* ---- opened ---- */

void opened_kit_clear(OpenedKit *kit) {
    tls_identity_clear(&kit->authority);
    g_free(kit->manager);
    json_decref(kit->hosts);
    json_decref(kit->pools);
    json_decref(kit->principals);
    *kit = (OpenedKit){0};
}

static bool check_form(const json_t *kit, Error *err) {
    const char *format = json_text_at(kit, "format"), *sealed = json_text_at(kit, "sealed"),
               *checksum = json_text_at(kit, "checksum");
    if (!format || !g_str_has_prefix(format, FORMAT_NAME) || !sealed || !checksum)
        return error_set(err, ERROR_INVALID, "/kit", "kit: this is no recovery kit");
    if (strcmp(format, FORMAT) != 0)
        return error_set(err, ERROR_NEWER_FORMAT, "/kit", "kit: it has the form %s", format);
    g_autofree char *found = g_compute_checksum_for_string(G_CHECKSUM_SHA256, sealed, -1);
    return g_str_equal(found, checksum) ||
           error_set(err, ERROR_INVALID, "/kit", "kit: it is damaged: its checksum is another one");
}

/* Its key belongs to its certificate. */
static bool check_authority(const TlsIdentity *authority, Error *err) {
    const TlsCredentialsOptions options = {
        .certificate_pem = authority->certificate_pem, .key_pem = authority->key_pem};
    g_autoptr(TlsCredentials) credentials = tls_credentials_new(&options, err);
    return credentials || error_prefix_field(err, "/kit");
}

static bool take_content(const json_t *content, OpenedKit *kit, Error *err) {
    const char *manager = json_text_at(content, "manager");
    json_t *hosts = json_object_get(content, "hosts"), *pools = json_object_get(content, "pools"),
           *principals = json_object_get(content, "principals");
    kit->epoch = json_integer_value(json_object_get(content, "epoch"));
    kit->made_ns = json_integer_value(json_object_get(content, "made"));
    kit->authority =
        (TlsIdentity){g_strdup(json_text_at(content, "certificate")), g_strdup(json_text_at(content, "key"))};
    bool is_whole = manager && is_uuid(manager) && kit->epoch > 0 &&
                    kit->epoch < INT32_MAX * INT64_C(65536) && kit->authority.certificate_pem &&
                    kit->authority.key_pem && json_is_array(hosts) && json_is_array(pools) &&
                    json_is_array(principals);
    if (!is_whole)
        return error_set(err, ERROR_INVALID, "/kit", "kit: what is in it is not complete");
    kit->manager = g_strdup(manager);
    kit->hosts = json_incref(hosts);
    kit->pools = json_incref(pools);
    kit->principals = json_incref(principals);
    return check_authority(&kit->authority, err);
}

bool recovery_open(const char *text, const char *passphrase, OpenedKit *ret_kit, Error *err) {
    g_autoptr(json_t) kit = json_parse(text, strlen(text), NULL), content = NULL;
    g_auto(OpenedKit) opened = {0};
    char *inner = NULL;
    if (!json_is_object(kit))
        return error_set(err, ERROR_INVALID, "/kit", "kit: this is no recovery kit");
    if (!check_form(kit, err))
        return false;
    if (!tls_unseal(passphrase, json_text_at(kit, "sealed"), &inner, err))
        return error_prefix_field(err, err->code == ERROR_DENIED ? "/passphrase" : "/kit");
    content = json_parse(inner, strlen(inner), err);
    tls_sealed_free(inner);
    if (!json_is_object(content))
        return error_set(err, ERROR_INVALID, "/kit", "kit: what is in it is damaged");
    if (!take_content(content, &opened, err))
        return false;
    *ret_kit = opened;
    opened = (OpenedKit){0};
    return true;
}
