/* Definitions of new VMs. What the request leaves open comes from the template, then from the schema's
 * defaults. */
#include "engine/vm-plan.h"
#include <string.h>
#include "model/cloud-init.h"
#include "model/format.h"
#include "model/guest-os.h"
#include "model/vm-mode.h"

enum { MAX_MAC_TRIES = 1000 };
static const uint64_t default_disk_size = UINT64_C(10) << 30;

char *vm_plan_name(const char *pattern, int64_t i, int64_t n) {
    const char *mark = strstr(pattern, "{n}");
    if (mark)
        return g_strdup_printf(
            "%.*s%" G_GINT64_FORMAT "%s", (int)(mark - pattern), pattern, i, mark + strlen("{n}"));
    return n > 1 ? g_strdup_printf("%s-%" G_GINT64_FORMAT, pattern, i) : g_strdup(pattern);
}

static bool plan_sizes(const VmCreate *request, const Template *source, Vm *vm, Error *err) {
    if (vm_create_has(request, VM_CREATE_FIELD_VCPUS))
        vm_set_vcpus(vm, request->vcpus);
    else if (source && template_has(source, TEMPLATE_FIELD_VCPUS))
        vm_set_vcpus(vm, source->vcpus);
    if (vm_create_has(request, VM_CREATE_FIELD_MEMORY))
        vm_set_memory(vm, request->memory);
    else if (source && template_has(source, TEMPLATE_FIELD_MEMORY))
        vm_set_memory(vm, source->memory);
    else if (!source && guest_os_memory(request->guest_os))
        vm_set_memory(vm, guest_os_memory(request->guest_os));
    model_apply_defaults(&vm_type, vm);
    if (vm_create_has(request, VM_CREATE_FIELD_VCPUS_MAXIMUM))
        vm_set_vcpus_maximum(vm, request->vcpus_maximum);
    if (vm_create_has(request, VM_CREATE_FIELD_MEMORY_MAXIMUM))
        vm_set_memory_maximum(vm, request->memory_maximum);
    if (vm_has(vm, VM_FIELD_VCPUS_MAXIMUM) && vm->vcpus_maximum < vm->vcpus)
        return error_set(err, ERROR_INVALID, "/vcpus_maximum",
            "vcpus_maximum: must not be below vcpus (%" G_GINT64_FORMAT ")", vm->vcpus);
    if (vm_has(vm, VM_FIELD_MEMORY_MAXIMUM) && vm->memory_maximum < vm->memory)
        return error_set(err, ERROR_INVALID, "/memory_maximum",
            "memory_maximum: must not be below memory (%" G_GUINT64_FORMAT " bytes)", vm->memory);
    if (source && template_has(source, TEMPLATE_FIELD_MEMORY_MINIMUM) && vm->memory < source->memory_minimum)
        return error_set(err, ERROR_INVALID, "/memory",
            "memory: the template %s needs at least %" G_GUINT64_FORMAT " bytes", source->name,
            source->memory_minimum);
    return true;
}

static bool has_firmware(const Template *source, Firmware firmware) {
    for (size_t i = 0; i < source->firmware.n; i++)
        if (source->firmware.items[i] == firmware)
            return true;
    return source->firmware.n == 0;
}

static bool plan_machine(const VmCreate *request, const Template *source, Vm *vm, Error *err) {
    if (vm_create_has(request, VM_CREATE_FIELD_FIRMWARE))
        vm_set_firmware(vm, request->firmware);
    else if (source && source->firmware.n > 0)
        vm_set_firmware(vm, source->firmware.items[0]);
    else if (!source)
        vm_set_firmware(vm, guest_os_firmware(request->guest_os));
    if (source && !has_firmware(source, vm->firmware))
        return error_set(
            err, ERROR_INVALID, "/firmware", "firmware: the template %s does not boot with it", source->name);
    if (!guest_os_check(request->guest_os, err))
        return false;
    if (vm_create_has(request, VM_CREATE_FIELD_GUEST_OS))
        vm_set_guest_os(vm, request->guest_os);
    else if (source && template_has(source, TEMPLATE_FIELD_GUEST_OS))
        vm_set_guest_os(vm, source->guest_os);
    if (vm_create_has(request, VM_CREATE_FIELD_CPU))
        vm_set_cpu(vm, request->cpu);
    if (vm_create_has(request, VM_CREATE_FIELD_RUN_POLICY))
        vm_set_run_policy(vm, request->run_policy);
    if (vm_create_has(request, VM_CREATE_FIELD_MODE))
        vm_set_mode(vm, request->mode);
    vm_set_kernel_arguments(vm, request->kernel_arguments);
    for (size_t i = 0; i < request->boot_order.n; i++)
        *vm_add_boot_order(vm) = request->boot_order.items[i];
    if (source && template_has(source, TEMPLATE_FIELD_DIRECT_BOOT))
        direct_boot_copy(vm_put_direct_boot(vm), &source->direct_boot);
    Console *console = vm_put_console(vm);
    if (vm_create_has(request, VM_CREATE_FIELD_GRAPHICS))
        console_set_graphics(console, request->graphics);
    else if (source)
        console_set_graphics(console, source->graphics);
    return true;
}

static void name_disk(Disk *disk, size_t index, const VmPlanWorld *world) {
    g_autofree char *id = world->new_id(world->data);
    disk_set_id(disk, id);
    if (disk_has(disk, DISK_FIELD_NAME))
        return;
    g_autofree char *name = g_strdup_printf("disk%zu", index);
    disk_set_name(disk, name);
}

static void take_template_disks(const Template *source, Vm *vm) {
    for (size_t i = 0; source && i < source->disks.n; i++) {
        Disk *disk = vm_add_disks(vm);
        disk_set_size(disk, source->disks.items[i].size);
    }
}

/* A new disk has a size; one that is made from the template's is at least as large. */
static bool plan_disk_sizes(const Template *source, Vm *vm, Error *err) {
    for (size_t i = 0; i < vm->disks.n; i++) {
        Disk *disk = &vm->disks.items[i];
        uint64_t least = source && i < source->disks.n ? source->disks.items[i].size : 0;
        g_autofree char *place = g_strdup_printf("/disks/%zu/size", i);
        if (disk->kind == DISK_KIND_CD)
            continue;
        if (!disk_has(disk, DISK_FIELD_SIZE) && !least)
            return error_set(err, ERROR_INVALID, place, "size: is required");
        if (!disk_has(disk, DISK_FIELD_SIZE))
            disk_set_size(disk, least);
        if (disk->size < least)
            return error_set(err, ERROR_INVALID, place,
                "size: must not be below the template's %" G_GUINT64_FORMAT " bytes", least);
    }
    return true;
}

static bool has_disk_before(const Vm *vm, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (g_strcmp0(vm->disks.items[i].name, name) == 0)
            return true;
    return false;
}

static bool has_nic_before(const Vm *vm, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (g_strcmp0(vm->nics.items[i].name, name) == 0)
            return true;
    return false;
}

static bool fail_twice(const char *list, size_t index, const char *name, Error *err) {
    g_autofree char *field = g_strdup_printf("/%s/%zu/name", list, index);
    return error_set(err, ERROR_EXISTS, field, "name: two of the %s are called %s", list, name);
}

static bool plan_disks(const VmCreate *request, const VmPlanWorld *world, Vm *vm, Error *err) {
    if (vm_create_has(request, VM_CREATE_FIELD_DISKS))
        for (size_t i = 0; i < request->disks.n; i++)
            disk_copy(vm_add_disks(vm), &request->disks.items[i]);
    else
        take_template_disks(world->source, vm);
    for (size_t i = 0; i < vm->disks.n; i++)
        disk_set_path(&vm->disks.items[i], NULL); /* an adopted VM's only */
    bool is_empty = !world->source && vm->disks.n == 0;
    if (is_empty)
        disk_set_size(vm_add_disks(vm), default_disk_size);
    if (vm_create_has(request, VM_CREATE_FIELD_DISK_SIZE) && vm->disks.n > 0) {
        Disk *first = &vm->disks.items[0];
        if (disk_has(first, DISK_FIELD_SIZE) && !is_empty && request->disk_size < first->size)
            return error_set(err, ERROR_INVALID, "/disk_size",
                "disk_size: must not be below the template's %" G_GUINT64_FORMAT " bytes", first->size);
        disk_set_size(first, request->disk_size);
    }
    if (vm_create_has(request, VM_CREATE_FIELD_ISO)) {
        Disk *drive = vm_add_disks(vm);
        disk_set_kind(drive, DISK_KIND_CD);
        disk_set_image(drive, request->iso);
        disk_set_read_only(drive, true);
    }
    for (size_t i = 0; i < vm->disks.n; i++)
        name_disk(&vm->disks.items[i], i, world);
    for (size_t i = 0; i < vm->disks.n; i++)
        if (has_disk_before(vm, i, vm->disks.items[i].name))
            return fail_twice("disks", i, vm->disks.items[i].name, err);
    return plan_disk_sizes(world->source, vm, err);
}

bool vm_plan_mac(const char *prefix, bool (*is_taken)(const char *mac, void *data), void *data, GRand *random,
    char **ret_mac, Error *err) {
    for (int i = 0; i < MAX_MAC_TRIES; i++) {
        guint32 bits = g_rand_int(random);
        g_autofree char *mac =
            g_strdup_printf("%s:%02x:%02x:%02x", prefix, bits & 0xff, bits >> 8 & 0xff, bits >> 16 & 0xff);
        if (is_taken(mac, data))
            continue;
        *ret_mac = g_steal_pointer(&mac);
        return true;
    }
    return error_set(err, ERROR_NO_CAPACITY, "/nics", "the range of MACs %s is used up", prefix);
}

static bool has_mac_before(const Vm *vm, size_t n, const char *mac) {
    for (size_t i = 0; i < n; i++)
        if (g_strcmp0(vm->nics.items[i].mac, mac) == 0)
            return true;
    return false;
}

/* A MAC that was asked for; `index` is the NIC's. */
static bool check_mac(
    const VmCreate *request, const VmPlanWorld *world, const Vm *vm, size_t index, Error *err) {
    const char *mac = vm->nics.items[index].mac;
    g_autofree char *place =
        index == 0 && request->mac ? g_strdup("/mac") : g_strdup_printf("/nics/%zu/mac", index);
    if (!world->is_mac_taken(mac, world->data) && !has_mac_before(vm, index, mac))
        return true;
    return error_set(err, ERROR_EXISTS, place, "the MAC %s is taken", mac);
}

static bool plan_nics(const VmCreate *request, const VmPlanWorld *world, GRand *random, Vm *vm, Error *err) {
    if (vm_create_has(request, VM_CREATE_FIELD_NICS))
        for (size_t i = 0; i < request->nics.n; i++)
            nic_copy(vm_add_nics(vm), &request->nics.items[i]);
    else if (request->network || world->default_network_id)
        nic_set_network(vm_add_nics(vm), request->network);
    for (size_t i = 0; i < vm->nics.n; i++) {
        Nic *nic = &vm->nics.items[i];
        g_autofree char *id = world->new_id(world->data), *name = g_strdup_printf("nic%zu", i);
        nic_set_id(nic, id);
        if (!nic_has(nic, NIC_FIELD_NAME))
            nic_set_name(nic, name);
        if (has_nic_before(vm, i, nic->name))
            return fail_twice("nics", i, nic->name, err);
        if (!nic_has(nic, NIC_FIELD_NETWORK))
            nic_set_network(nic, world->default_network_id);
        if (!nic->network)
            return error_set(err, ERROR_INVALID, "/nics", "nics: there is no default network; name one");
        if (i == 0 && request->mac)
            nic_set_mac(nic, request->mac);
        if (nic_has(nic, NIC_FIELD_MAC) && !check_mac(request, world, vm, i, err))
            return false;
        g_autofree char *mac = NULL;
        if (!nic_has(nic, NIC_FIELD_MAC) &&
            !vm_plan_mac(world->mac_prefix, world->is_mac_taken, world->data, random, &mac, err))
            return false;
        if (mac)
            nic_set_mac(nic, mac);
    }
    return true;
}

static void plan_cloud_init(const VmCreate *request, const Template *source, Vm *vm) {
    if (!source || !source->has_cloud_init)
        return;
    CloudInit *cloud_init = vm_put_cloud_init(vm);
    for (size_t i = 0; i < request->ssh_keys.n; i++)
        cloud_init_add_ssh_keys(cloud_init, request->ssh_keys.items[i]);
    cloud_init_set_user_data(cloud_init, request->user_data);
    cloud_init_set_network_config(cloud_init, request->network_config);
}

static bool fits_memory(const Vm *vm, const Host *host, uint64_t promised, Error *err) {
    uint64_t memory = host->status.memory, reserve = host->memory_reserve;
    uint64_t taken = reserve + MIN(promised, UINT64_MAX - reserve);
    uint64_t left = memory > taken ? memory - taken : 0;
    if (vm->memory <= left)
        return true;
    g_autofree char *wanted = g_format_size_full(vm->memory, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *free = g_format_size_full(left, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *all = g_format_size_full(memory, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *kept = g_format_size_full(reserve, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *given = g_format_size_full(promised, G_FORMAT_SIZE_IEC_UNITS);
    return error_set(err, ERROR_NO_CAPACITY, "/memory",
        "%s needs %s of memory, the host %s has %s left of %s (%s for running VMs, %s kept for itself)",
        vm->name, wanted, host->name, free, all, given, kept);
}

static bool fits_mode(const Vm *vm, const Host *host, Error *err) {
    VmMode mode;
    return vm_mode_choose(vm, &host->status, vm_has(vm, VM_FIELD_DIRECT_BOOT), &mode, err) ||
           error_wrap(err, ERROR_NONE, "%s cannot run on the host %s", vm->name, host->name);
}

bool vm_fits(const Vm *vm, const Host *host, bool starts, uint64_t promised, Error *err) {
    const HostStatus *status = &host->status;
    int64_t vcpus = vm_has(vm, VM_FIELD_VCPUS_MAXIMUM) ? vm->vcpus_maximum : vm->vcpus;
    if (!host_has(host, HOST_FIELD_STATUS))
        return true;
    if (host_status_has(status, HOST_STATUS_FIELD_VCPUS_LIMIT) && vcpus > status->vcpus_limit)
        return error_set(err, ERROR_UNSUPPORTED, vcpus > vm->vcpus ? "/vcpus_maximum" : "/vcpus",
            "one VM on the host %s can have %" G_GINT64_FORMAT " vCPUs, not %" G_GINT64_FORMAT, host->name,
            status->vcpus_limit, vcpus);
    if (!fits_mode(vm, host, err))
        return false;
    return !starts || !host_status_has(status, HOST_STATUS_FIELD_MEMORY) ||
           fits_memory(vm, host, promised, err);
}

/* A request calls some fields by other names than the definition. */
static bool fail_in_request(Error *err) {
    static const struct {
        const char *of_vm, *of_request;
    } names[] = {{"/console/graphics", "/graphics"}, {"/direct_boot", "/template"}};
    for (size_t i = 0; err && i < G_N_ELEMENTS(names); i++)
        if (g_strcmp0(err->field, names[i].of_vm) == 0) {
            g_free(err->field);
            err->field = g_strdup(names[i].of_request);
        }
    return false;
}

bool vm_plan_fits(
    const Vm *vm, const Template *source, const Host *host, bool starts, uint64_t promised, Error *err) {
    g_auto(Vm) other = {0};
    if (source && source->state != TEMPLATE_STATE_READY) {
        vm_copy(&other, vm);
        vm_put_direct_boot(&other);
        if (vm_fits(&other, host, starts, promised, NULL))
            return true;
    }
    return vm_fits(vm, host, starts, promised, err) || fail_in_request(err);
}

static void plan_tags(const VmCreate *request, Vm *vm) {
    for (size_t i = 0; i < request->tags.n; i++)
        vm_add_tags(vm, request->tags.items[i]);
    for (size_t i = 0; i < request->affinity.n; i++)
        vm_add_affinity(vm, request->affinity.items[i]);
    for (size_t i = 0; i < request->anti_affinity.n; i++)
        vm_add_anti_affinity(vm, request->anti_affinity.items[i]);
}

bool vm_plan(
    const VmCreate *request, const VmPlanWorld *world, int64_t i, GRand *random, Vm *ret_vm, Error *err) {
    g_auto(Vm) vm = {0};
    g_autofree char *id = world->new_id(world->data);
    g_autofree char *name = vm_plan_name(request->name, i, request->count);
    vm_set_id(&vm, id);
    vm_set_name(&vm, name);
    vm_set_description(&vm, request->description);
    plan_tags(request, &vm);
    vm_set_pool(&vm, world->pool_id);
    vm_set_host(&vm, world->host_id);
    vm_set_repository(&vm, world->repository_id);
    if (world->source)
        vm_set_template(&vm, world->source->id);
    bool has_first_boot = request->ssh_keys.n > 0 || request->user_data || request->network_config;
    if (has_first_boot && world->source && !world->source->has_cloud_init)
        return error_set(err, ERROR_UNSUPPORTED, "/ssh_keys",
            "the template %s has no cloud-init: it cannot take keys, user data or network settings",
            world->source->name);
    if (request->user_data && !cloud_init_check_user_data(request->user_data, err))
        return false;
    if (request->network_config && !cloud_init_check_network_config(request->network_config, err))
        return false;
    if (!plan_sizes(request, world->source, &vm, err) || !plan_machine(request, world->source, &vm, err) ||
        !plan_disks(request, world, &vm, err) || !plan_nics(request, world, random, &vm, err))
        return false;
    plan_cloud_init(request, world->source, &vm);
    model_apply_defaults(&vm_type, &vm);
    *ret_vm = vm;
    memset(&vm, 0, sizeof vm);
    return true;
}
