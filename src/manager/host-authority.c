/* Certificates for both ends of the agent protocol. */
#include "manager/host-authority.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define AUTHORITY "agents"
#define CLIENT "agents-client"

struct HostAuthority {
    const Clock *clock;
    char *folder, *manager; /* `folder` NULL: in memory only */
    TlsIdentity authority, client;
    TlsCredentials *credentials;
};

static bool load_or_make_authority(const char *folder, const char *manager_uuid, const Clock *clock,
    TlsIdentity *ret_authority, Error *err) {
    g_auto(Error) missing = {0};
    if (tls_identity_load(folder, AUTHORITY, ret_authority, &missing))
        return true;
    if (missing.code != ERROR_NOT_FOUND) {
        error_move(err, &missing);
        return false;
    }
    g_autofree char *name = g_strdup_printf("Lodge agents of %s", manager_uuid);
    return tls_authority_make(name, clock, ret_authority, err) &&
           tls_identity_save(ret_authority, folder, AUTHORITY, err);
}

/* Of another manager's name it would be after a backup was restored here. */
static bool is_usable(
    const TlsIdentity *authority, const TlsIdentity *client, const char *name, const Clock *clock) {
    const char *const names[] = {name, NULL};
    bool is_due = true;
    return tls_certificate_is_due(
               client->certificate_pem, authority->certificate_pem, names, clock, &is_due, NULL) &&
           !is_due;
}

static bool load_or_make_client(
    const HostAuthority *self, const char *name, TlsIdentity *ret_client, Error *err) {
    const char *const names[] = {name, NULL};
    if (self->folder && tls_identity_load(self->folder, CLIENT, ret_client, NULL) &&
        is_usable(&self->authority, ret_client, name, self->clock))
        return true;
    tls_identity_clear(ret_client);
    return tls_certificate_make(
               &self->authority, g_get_host_name(), names, TLS_ROLE_CLIENT, self->clock, ret_client, err) &&
           (!self->folder || tls_identity_save(ret_client, self->folder, CLIENT, err));
}

static TlsCredentials *make_credentials(const HostAuthority *self, const TlsIdentity *client, Error *err) {
    const TlsCredentialsOptions options = {.certificate_pem = client->certificate_pem,
        .key_pem = client->key_pem,
        .authority_pem = self->authority.certificate_pem,
        .protocol = RPC_TLS_PROTOCOL,
        .priority = TLS_PRIORITY_1_3};
    return tls_credentials_new(&options, err);
}

bool host_authority_renew(HostAuthority *authority, Error *err) {
    g_autofree char *name = g_strconcat(TLS_URI_PREFIX "manager:", authority->manager, NULL);
    g_auto(TlsIdentity) client = {0};
    if (authority->credentials &&
        is_usable(&authority->authority, &authority->client, name, authority->clock))
        return true;
    TlsCredentials *credentials =
        load_or_make_client(authority, name, &client, err) ? make_credentials(authority, &client, err) : NULL;
    if (!credentials)
        return false;
    tls_credentials_unref(authority->credentials);
    authority->credentials = credentials;
    tls_identity_clear(&authority->client);
    authority->client = client;
    client = (TlsIdentity){0};
    return true;
}

HostAuthority *host_authority_new(
    const char *folder, const char *manager_uuid, const Clock *clock, Error *err) {
    g_autoptr(HostAuthority) self = g_new0(HostAuthority, 1);
    self->clock = clock;
    self->folder = g_strdup(folder);
    self->manager = g_strdup(manager_uuid);
    return load_or_make_authority(folder, manager_uuid, clock, &self->authority, err) &&
                   host_authority_renew(self, err)
               ? g_steal_pointer(&self)
               : NULL;
}

HostAuthority *host_authority_of(
    const TlsIdentity *identity, const char *manager_uuid, const Clock *clock, Error *err) {
    g_autoptr(HostAuthority) self = g_new0(HostAuthority, 1);
    self->clock = clock;
    self->manager = g_strdup(manager_uuid);
    self->authority = (TlsIdentity){g_strdup(identity->certificate_pem), g_strdup(identity->key_pem)};
    return host_authority_renew(self, err) ? g_steal_pointer(&self) : NULL;
}

/* A key never stands beside the certificate of another one. */
static bool replace_authority(const char *folder, const TlsIdentity *identity, Error *err) {
    g_autofree char *path = g_build_filename(folder, AUTHORITY ".pem", NULL);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "%s", path);
    return tls_identity_save(identity, folder, AUTHORITY, err);
}

bool host_authority_become(
    HostAuthority *authority, const TlsIdentity *identity, const char *manager_uuid, Error *err) {
    g_autoptr(HostAuthority) other = host_authority_of(identity, manager_uuid, authority->clock, err);
    if (!other || !replace_authority(authority->folder, identity, err) ||
        !tls_identity_save(&other->client, authority->folder, CLIENT, err))
        return false;
    HostAuthority before = *authority;
    *authority = *other;
    authority->folder = g_steal_pointer(&before.folder);
    *other = before; /* freed with it */
    return true;
}

void host_authority_free(HostAuthority *authority) {
    if (!authority)
        return;
    tls_credentials_unref(authority->credentials);
    tls_identity_clear(&authority->authority);
    tls_identity_clear(&authority->client);
    g_free(authority->folder);
    g_free(authority->manager);
    g_free(authority);
}

TlsCredentials *host_authority_credentials(const HostAuthority *authority) {
    return authority->credentials;
}

const char *host_authority_manager(const HostAuthority *authority) {
    return authority->manager;
}

const char *host_authority_pem(const HostAuthority *authority) {
    return authority->authority.certificate_pem;
}

const TlsIdentity *host_authority_identity(const HostAuthority *authority) {
    return &authority->authority;
}

bool host_authority_sign(const HostAuthority *authority, const char *shown_pem, const char *host_id,
    char **ret_certificate_pem, Error *err) {
    g_autofree char *uri = g_strconcat(TLS_URI_PREFIX "host:", host_id, NULL);
    /* So that another manager that finds the host can say whose it is. */
    g_autofree char *owner = g_strconcat(TLS_URI_PREFIX "owner:", authority->manager, NULL);
    const char *const names[] = {uri, owner, NULL};
    const TlsSubject subject = {host_id, names, TLS_ROLE_BOTH};
    return tls_certificate_sign(
        &authority->authority, shown_pem, &subject, authority->clock, ret_certificate_pem, err);
}

bool host_authority_is_due(const HostAuthority *authority, const char *shown_pem) {
    bool is_due = true;
    return !tls_certificate_is_due(
               shown_pem, authority->authority.certificate_pem, NULL, authority->clock, &is_due, NULL) ||
           is_due;
}

bool host_expected_check(const HostExpected *expected, const TlsShown *shown, Error *err) {
    if (!shown->is_trusted)
        return error_set(err, ERROR_DENIED, NULL, "the host is not believed: %s", shown->flaw);
    if (g_strcmp0(tls_shown_name(shown, TLS_URI_PREFIX "host:"), expected->id) != 0)
        return error_set(err, ERROR_DENIED, NULL, "another host answers at this address");
    return g_strcmp0(shown->key_fingerprint, expected->key) == 0 ||
           error_set(err, ERROR_DENIED, NULL, "the host shows another key than the one that was added");
}
