/*
 * Whose terminal a console is. Xen's consoles are pseudo terminals (pts(4)), and libvirt opens the one whose
 * number it remembers. While a domain is built again, because its guest rebooted, that number is the one of
 * the run before, whose terminal is closed: by then it may be anybody's, another guest's or that of an
 * administrator's login. Looked at after it was opened: as long as the domain's own terminal is open, its
 * number is nobody else's.
 */
#include <errno.h>
#include <signal.h>
#include "hypervisor/libvirt/xml-read.h"
#include "hypervisor/xen/domain-list.h"
#include "hypervisor/xen/session.h"
#include "hypervisor/xen/store.h"

static char *text_of(XenStore *store, unsigned id, const char *name) {
    g_autofree char *path = g_strdup_printf("/local/domain/%u/%s", id, name);
    return xen_store_text(store, path);
}

/* A device model holds the terminal of a serial port; xenconsoled holds the others. */
static bool lives_device_model(XenStore *store, unsigned id) {
    g_autofree char *text = text_of(store, id, "image/device-model-pid");
    gint64 pid = text ? g_ascii_strtoll(text, NULL, 10) : 0;
    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

/* As the toolstack wrote it down for this very run. */
static bool is_terminal(XenStore *store, unsigned id, const char *opened) {
    g_autofree char *serial = text_of(store, id, "serial/0/tty");
    g_autofree char *console = text_of(store, id, "console/tty");
    if (serial && *serial)
        return g_strcmp0(serial, opened) == 0 && lives_device_model(store, id);
    return g_strcmp0(console, opened) == 0;
}

static bool runs(virDomain *domain) {
    char uuid[VIR_UUID_STRING_BUFLEN];
    g_autoptr(GArray) rows = NULL;
    if (virDomainGetUUIDString(domain, uuid) < 0 || !(rows = xen_domain_list(NULL)))
        return false;
    const XenDomainRow *row = xen_domain_find(rows, uuid);
    return row && !row->is_dying && !row->is_shut;
}

bool xen_owns_console(virDomain *domain, Error *err) {
    g_autofree char *xml = virDomainGetXMLDesc(domain, 0);
    g_autofree char *opened = xml ? xml_attribute(xml, "console", "tty") : NULL;
    g_autofree char *now = xml ? xml_attribute(xml, "domain", "id") : NULL;
    unsigned id = now ? (unsigned)g_ascii_strtoull(now, NULL, 10) : 0;
    g_autoptr(XenStore) store = id ? xen_store_open() : NULL;
    if (opened && store && is_terminal(store, id, opened) && runs(domain))
        return true;
    return error_set(err, ERROR_BUSY, NULL, "the guest is just starting again: its console is not there yet");
}
