/* GLib's markup parser over the whole definition; only what lies in a disk, interface or controller counts.
 */
#include "hypervisor/libvirt/live-devices.h"
#include <string.h>

typedef struct Reading {
    LiveDevices *devices;
    LiveDevice *now; /* in which element we are */
} Reading;

static const char *value_of(const char *wanted, const char **names, const char **values) {
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(names[i], wanted))
            return values[i];
    return NULL;
}

static void device_free(void *data) {
    LiveDevice *device = data;
    g_free(device->alias);
    g_free(device->target);
    g_free(device->mac);
    g_free(device);
}

static bool is_device(const char *element) {
    return !strcmp(element, "disk") || !strcmp(element, "interface");
}

static void element_starts(GMarkupParseContext *context, const char *name, const char **names,
    const char **values, void *data, GError **error) {
    (void)error;
    Reading *reading = data;
    const GSList *stack = g_markup_parse_context_get_element_stack(context);
    const char *parent = stack->next ? stack->next->data : "";
    if (is_device(name) && !strcmp(parent, "devices")) {
        reading->now = g_new0(LiveDevice, 1);
        g_ptr_array_add(reading->devices->list, reading->now);
    } else if (reading->now && is_device(parent) && !strcmp(name, "alias")) {
        reading->now->alias = g_strdup(value_of("name", names, values));
    } else if (reading->now && is_device(parent) && !strcmp(name, "target") && !reading->now->target) {
        reading->now->target = g_strdup(value_of("dev", names, values));
    } else if (reading->now && is_device(parent) && !strcmp(name, "mac") && !reading->now->mac) {
        reading->now->mac = g_strdup(value_of("address", names, values));
    } else if (!strcmp(name, "controller") && g_strcmp0(value_of("type", names, values), "scsi") == 0) {
        reading->devices->has_scsi = true;
    }
}

static void element_ends(GMarkupParseContext *context, const char *name, void *data, GError **error) {
    (void)error;
    const GSList *stack = g_markup_parse_context_get_element_stack(context);
    if (is_device(name) && stack->next && !strcmp(stack->next->data, "devices"))
        ((Reading *)data)->now = NULL;
}

LiveDevices *live_devices_read(const char *xml) {
    static const GMarkupParser parser = {.start_element = element_starts, .end_element = element_ends};
    LiveDevices *devices = g_new0(LiveDevices, 1);
    devices->list = g_ptr_array_new_with_free_func(device_free);
    Reading reading = {.devices = devices};
    g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(&parser, 0, &reading, NULL);
    g_markup_parse_context_parse(context, xml, -1, NULL);
    return devices;
}

void live_devices_free(LiveDevices *devices) {
    if (!devices)
        return;
    g_ptr_array_unref(devices->list);
    g_free(devices);
}

const LiveDevice *live_device_find(const LiveDevices *devices, const char *alias) {
    for (guint i = 0; i < devices->list->len; i++) {
        const LiveDevice *device = devices->list->pdata[i];
        if (g_strcmp0(device->alias, alias) == 0)
            return device;
    }
    return NULL;
}

bool live_devices_has_target(const LiveDevices *devices, const char *target) {
    for (guint i = 0; i < devices->list->len; i++)
        if (g_strcmp0(((const LiveDevice *)devices->list->pdata[i])->target, target) == 0)
            return true;
    return false;
}
