/* What a definition may ask of its machine is a table; the choice goes through it for each mode. */
#include "model/vm-mode.h"
#include "model/guest-os.h"

typedef struct Need {
    bool (*is_asked_for)(const Vm *vm, bool boots_kernel);
    HostModeField ability;
    const char *field, *what;
} Need;

static bool asks_for_kernel(const Vm *vm G_GNUC_UNUSED, bool boots_kernel) {
    return boots_kernel;
}

static bool asks_for_loader(const Vm *vm G_GNUC_UNUSED, bool boots_kernel) {
    return !boots_kernel;
}

static bool has_cd(const Vm *vm) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (vm->disks.items[i].kind == DISK_KIND_CD && !vm->disks.items[i].detached)
            return true;
    return false;
}

/* Known to start by GRUB, and no CD from which another system may be installed. */
static bool asks_for_any(const Vm *vm, bool boots_kernel) {
    return !boots_kernel && (!guest_os_boots_by_grub(vm->guest_os) || has_cd(vm));
}

/* A kernel that is handed over starts whatever the boot order says. */
static bool asks_for_network(const Vm *vm, bool boots_kernel) {
    return !boots_kernel && vm->boot_order.n > 0 && vm->boot_order.items[0] == BOOT_DEVICE_NETWORK;
}

static bool asks_for_uefi(const Vm *vm, bool boots_kernel G_GNUC_UNUSED) {
    return vm_has(vm, VM_FIELD_FIRMWARE) && vm->firmware == FIRMWARE_UEFI;
}

static bool asks_for_graphics(const Vm *vm, bool boots_kernel G_GNUC_UNUSED) {
    return vm_has(vm, VM_FIELD_CONSOLE) && console_has(&vm->console, CONSOLE_FIELD_GRAPHICS) &&
           vm->console.graphics != GRAPHICS_NONE;
}

static bool asks_for_vcpus(const Vm *vm, bool boots_kernel G_GNUC_UNUSED) {
    return vm_has(vm, VM_FIELD_VCPUS_MAXIMUM) && vm->vcpus_maximum > vm->vcpus;
}

static bool asks_for_memory(const Vm *vm, bool boots_kernel G_GNUC_UNUSED) {
    return vm_has(vm, VM_FIELD_MEMORY_MAXIMUM) && vm->memory_maximum > vm->memory;
}

/* A disc that stays in its drive is as good as a disk. */
static bool asks_for_drive(const Vm *vm, bool boots_kernel G_GNUC_UNUSED) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (vm->disks.items[i].kind == DISK_KIND_CD && !vm->disks.items[i].detached &&
            !vm->disks.items[i].image)
            return true;
    return false;
}

static const Need needs[] = {
    {asks_for_kernel, HOST_MODE_FIELD_BOOT_KERNEL, "/direct_boot", "direct start of a kernel"},
    {asks_for_loader, HOST_MODE_FIELD_BOOT_DISK, "/boot_order", "boot loader for disks"},
    {asks_for_any, HOST_MODE_FIELD_BOOT_ANY, "/guest_os",
        "start of other systems than Debian and Ubuntu, or from a CD"},
    {asks_for_network, HOST_MODE_FIELD_BOOT_NETWORK, "/boot_order", "start from the network"},
    {asks_for_uefi, HOST_MODE_FIELD_UEFI, "/firmware", "UEFI firmware"},
    {asks_for_graphics, HOST_MODE_FIELD_GRAPHICS, "/console/graphics", "graphics console"},
    {asks_for_vcpus, HOST_MODE_FIELD_VCPUS_ADD, "/vcpus_maximum", "way to add vCPUs while it runs"},
    {asks_for_memory, HOST_MODE_FIELD_MEMORY_ADD, "/memory_maximum", "way to add memory while it runs"},
    {asks_for_drive, HOST_MODE_FIELD_CD_CHANGE, "/disks", "CD drive that can be empty"},
};

static bool can(const HostMode *mode, HostModeField ability) {
    const FieldDescriptor *field = &host_mode_type.fields[ability];
    return !host_mode_has(mode, ability) || *(const bool *)((const char *)mode + field->offset);
}

/* The first that the mode lacks, or NULL. */
static const Need *find_lack(const HostMode *mode, const Vm *vm, bool boots_kernel) {
    for (size_t i = 0; i < G_N_ELEMENTS(needs); i++)
        if (needs[i].is_asked_for(vm, boots_kernel) && !can(mode, needs[i].ability))
            return &needs[i];
    return NULL;
}

static const char *name_of(VmMode mode) {
    return model_enum_name(&vm_mode_enum, (int)mode);
}

/* Modes that have the ability (NULL: all): "hvm, pv", newly allocated. */
static char *names_of(const HostStatus *status, const Need *need) {
    GString *names = g_string_new(NULL);
    for (size_t i = 0; i < status->modes.n; i++)
        if (!need || can(&status->modes.items[i], need->ability))
            g_string_append_printf(
                names, "%s%s", names->len ? ", " : "", name_of(status->modes.items[i].mode));
    return g_string_free(names, FALSE);
}

static bool refuse_named(
    const Vm *vm, const HostStatus *status, const HostMode *named, bool boots_kernel, Error *err) {
    const Need *lack = named ? find_lack(named, vm, boots_kernel) : NULL;
    g_autofree char *names = names_of(status, lack);
    if (!lack)
        return error_set(err, ERROR_UNSUPPORTED, "/mode", "the mode %s is not offered here (modes: %s)",
            name_of(vm->mode), names);
    if (!*names)
        return error_set(err, ERROR_UNSUPPORTED, lack->field,
            "the mode %s has no %s, and no other mode here has it", name_of(vm->mode), lack->what);
    return error_set(err, ERROR_UNSUPPORTED, lack->field, "the mode %s has no %s (modes that have it: %s)",
        name_of(vm->mode), lack->what, names);
}

/* With the field of what no mode has, else of what the preferred one lacks. */
static bool refuse_all(const Vm *vm, const HostStatus *status, bool boots_kernel, Error *err) {
    g_autoptr(GString) lacks = g_string_new(NULL);
    const Need *worst = NULL;
    for (size_t i = 0; i < status->modes.n; i++) {
        const Need *lack = find_lack(&status->modes.items[i], vm, boots_kernel);
        g_autofree char *names = names_of(status, lack);
        if (!*names)
            return error_set(err, ERROR_UNSUPPORTED, lack->field, "no mode of the host has a %s", lack->what);
        worst = worst ? worst : lack;
        g_string_append_printf(
            lacks, "%s%s has no %s", i ? ", " : "", name_of(status->modes.items[i].mode), lack->what);
    }
    return error_set(err, ERROR_UNSUPPORTED, worst->field,
        "no mode of the host has all that is asked for: %s", lacks->str);
}

bool vm_mode_choose(const Vm *vm, const HostStatus *status, bool boots_kernel, VmMode *ret_mode, Error *err) {
    VmMode wanted = vm_has(vm, VM_FIELD_MODE) ? vm->mode : VM_MODE_AUTO;
    const HostMode *named = NULL;
    if (!status->modes.n) {
        *ret_mode = wanted;
        return true;
    }
    for (size_t i = 0; i < status->modes.n; i++) {
        const HostMode *mode = &status->modes.items[i];
        if (wanted != VM_MODE_AUTO && mode->mode != wanted)
            continue;
        named = mode;
        if (find_lack(mode, vm, boots_kernel))
            continue;
        *ret_mode = mode->mode;
        return true;
    }
    return wanted == VM_MODE_AUTO ? refuse_all(vm, status, boots_kernel, err)
                                  : refuse_named(vm, status, named, boots_kernel, err);
}

bool vm_mode_lacks(
    const HostMode *mode, const Vm *vm, bool boots_kernel, const char **ret_field, const char **ret_what) {
    const Need *lack = find_lack(mode, vm, boots_kernel);
    if (!lack)
        return false;
    *ret_field = lack->field;
    *ret_what = lack->what;
    return true;
}
