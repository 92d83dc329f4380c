/* Text, and libvirt's calls for metadata. */
#include "hypervisor/libvirt/domain.h"
#include <string.h>
#include "base/log.h"
#include "hypervisor/libvirt/xml-read.h"

enum { LETTERS = 26 };

void domain_add(GString *xml, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_markup_vprintf_escaped(format, arguments);
    va_end(arguments);
    g_string_append(xml, text);
}

char *domain_name(const char *instance, const char *vm_id) {
    return g_strdup_printf("%s-%s", instance, vm_id);
}

char *domain_network_name(const char *instance, const char *network_id) {
    return g_strdup_printf("%s-%.8s", instance, network_id);
}

/* libvirt wants this beginning of names that are not its own. */
char *domain_alias(const char *id) {
    return g_strconcat("ua-", id, NULL);
}

char *domain_letters(const char *prefix, size_t index) {
    if (index < LETTERS)
        return g_strdup_printf("%s%c", prefix, 'a' + (int)index);
    return g_strdup_printf("%s%c%c", prefix, 'a' + (int)(index / LETTERS) - 1, 'a' + (int)(index % LETTERS));
}

uint64_t domain_memory_maximum(const Vm *vm) {
    return vm_has(vm, VM_FIELD_MEMORY_MAXIMUM) ? MAX(vm->memory_maximum, vm->memory) : vm->memory;
}

int64_t domain_vcpus_maximum(const Vm *vm) {
    return vm_has(vm, VM_FIELD_VCPUS_MAXIMUM) ? MAX(vm->vcpus_maximum, vm->vcpus) : vm->vcpus;
}

bool domain_has_serial(const Vm *vm) {
    return !vm_has(vm, VM_FIELD_CONSOLE) || !console_has(&vm->console, CONSOLE_FIELD_SERIAL) ||
           vm->console.serial;
}

bool domain_has_graphics(const Vm *vm) {
    return vm_has(vm, VM_FIELD_CONSOLE) && console_has(&vm->console, CONSOLE_FIELD_GRAPHICS) &&
           vm->console.graphics == GRAPHICS_VNC;
}

bool domain_is_uefi(const Vm *vm) {
    return vm_has(vm, VM_FIELD_FIRMWARE) && vm->firmware == FIRMWARE_UEFI;
}

bool domain_is_connected(const Nic *nic) {
    return !nic_has(nic, NIC_FIELD_CONNECTED) || nic->connected;
}

char *domain_definition_element(const Vm *vm) {
    g_autoptr(json_t) json = vm_encode(vm, MODEL_ENCODE_REPLICA);
    g_autofree char *text = json_to_text(json);
    return g_markup_printf_escaped(
        "<definition:vm xmlns:definition=\"" DOMAIN_DEFINITION_NAMESPACE "\">%s</definition:vm>", text);
}

char *domain_mark_element(const DomainMark *mark) {
    GString *xml = g_string_new(NULL);
    domain_add(xml,
        "<lodge:vm xmlns:lodge=\"" DOMAIN_VM_NAMESPACE
        "\" instance=\"%s\" acceleration=\"%s\" started=\"%s\"",
        mark->instance, mark->acceleration, mark->started);
    if (mark->cpu_level)
        domain_add(xml, " cpu=\"%s\"", mark->cpu_level);
    if (mark->pending && *mark->pending)
        domain_add(xml, " pending=\"%s\"", mark->pending);
    domain_add(xml, "/>");
    return g_string_free(xml, FALSE);
}

void domain_add_head(GString *xml, const Vm *vm, const DomainMark *mark) {
    g_autofree char *name = domain_name(mark->instance, vm->id);
    domain_add(xml, "  <name>%s</name>\n  <uuid>%s</uuid>\n  <title>%s</title>\n", name, vm->id,
        vm->name ? vm->name : vm->id);
    if (!mark->started)
        return;
    g_autofree char *definition = domain_definition_element(vm);
    g_autofree char *element = domain_mark_element(mark);
    g_string_append_printf(xml, "  <metadata>\n    %s\n    %s\n  </metadata>\n", element, definition);
}

bool domain_running_definition(virDomain *domain, Vm *ret_vm) {
    g_autofree char *element = virDomainGetMetadata(
        domain, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_DEFINITION_NAMESPACE, VIR_DOMAIN_AFFECT_CURRENT);
    g_autofree char *text = element ? xml_text(element, "vm") : NULL;
    g_autoptr(json_t) json = text ? json_parse(text, strlen(text), NULL) : NULL;
    return json && vm_decode(json, MODEL_STORED, ret_vm, NULL);
}

/* libvirt puts the namespace in by itself and refuses an element that declares it already. */
static char *without_namespace(const char *element) {
    const char *start = strstr(element, " xmlns:"), *colon = strchr(element, ':');
    const char *rest = start ? strchr(start, '"') : NULL;
    rest = rest ? strchr(rest + 1, '"') : NULL;
    const char *end = strrchr(element, '/');
    bool is_closed = end && end[1] == '>';
    g_assert(start && colon && rest && end);
    g_autofree char *name = g_strndup(colon + 1, (size_t)(start - colon - 1));
    g_autofree char *body = is_closed ? g_strdup(rest + 1) : g_strndup(rest + 1, (size_t)(end - rest - 2));
    return is_closed ? g_strdup_printf("<%s%s", name, body) : g_strdup_printf("<%s%s</%s>", name, body, name);
}

static bool write_metadata(
    virDomain *domain, const char *element, const char *prefix, const char *uri, Error *err) {
    g_autofree char *plain = without_namespace(element);
    return virDomainSetMetadata(
               domain, VIR_DOMAIN_METADATA_ELEMENT, plain, prefix, uri, VIR_DOMAIN_AFFECT_LIVE) == 0 ||
           connection_error(err, "what runs cannot be noted");
}

static void set_metadata(virDomain *domain, const char *element, const char *prefix, const char *uri) {
    g_auto(Error) err = {0};
    if (!write_metadata(domain, element, prefix, uri, &err))
        log_warning("%s: %s", virDomainGetName(domain), err.message);
}

bool domain_mark(virDomain *domain, const Vm *vm, const DomainMark *mark, Error *err) {
    g_autofree char *definition = domain_definition_element(vm);
    g_autofree char *element = domain_mark_element(mark);
    return write_metadata(domain, definition, "definition", DOMAIN_DEFINITION_NAMESPACE, err) &&
           write_metadata(domain, element, "lodge", DOMAIN_VM_NAMESPACE, err);
}

static char *pending_text(const AgentVmChanged *changed) {
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < changed->pending.n; i++)
        g_string_append_printf(text, "%s%s", i ? " " : "", changed->pending.items[i]);
    return g_string_free(text, FALSE);
}

void domain_write_back(virDomain *domain, const char *instance, const char *element_before, const Vm *running,
    const AgentVmChanged *changed) {
    g_autofree char *definition = domain_definition_element(running);
    g_autofree char *acceleration = xml_attribute(element_before, "vm", "acceleration");
    g_autofree char *started = xml_attribute(element_before, "vm", "started");
    g_autofree char *cpu_level = xml_attribute(element_before, "vm", "cpu");
    g_autofree char *pending = pending_text(changed);
    g_autofree char *mark = domain_mark_element(&(DomainMark){.instance = instance,
        .acceleration = acceleration ? acceleration : "",
        .started = started ? started : "0",
        .cpu_level = cpu_level,
        .pending = pending});
    set_metadata(domain, definition, "definition", DOMAIN_DEFINITION_NAMESPACE);
    set_metadata(domain, mark, "lodge", DOMAIN_VM_NAMESPACE);
}

void domain_add_boot_devices(GString *xml, const Vm *vm) {
    static const char *const names[BOOT_DEVICE_MAX] = {
        [BOOT_DEVICE_DISK] = "hd", [BOOT_DEVICE_CD] = "cdrom", [BOOT_DEVICE_NETWORK] = "network"};
    static const BootDevice usual[] = {BOOT_DEVICE_DISK, BOOT_DEVICE_CD, BOOT_DEVICE_NETWORK};
    const BootDevice *devices = vm->boot_order.n ? vm->boot_order.items : usual;
    size_t n = vm->boot_order.n ? vm->boot_order.n : G_N_ELEMENTS(usual);
    for (size_t i = 0; i < n; i++)
        domain_add(xml, "    <boot dev='%s'/>\n", names[devices[i]]);
}
