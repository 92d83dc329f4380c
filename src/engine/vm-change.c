/* One function for each method, by table; then what all have in common: completing and checking. */
#include "engine/vm-change.h"
#include <string.h>
#include "engine/vm-plan.h"
#include "model/guest-os.h"

enum { MAX_DISKS = 64, MAX_NICS = 32 };

/* What the user named: an id, a name, for NICs a MAC. */
static bool is_called(const char *wanted, const char *id, const char *name) {
    return wanted && (g_strcmp0(wanted, id) == 0 || g_strcmp0(wanted, name) == 0);
}

static Disk *disk_called(const Vm *vm, const char *wanted) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (is_called(wanted, vm->disks.items[i].id, vm->disks.items[i].name))
            return &vm->disks.items[i];
    return NULL;
}

static Nic *nic_called(const Vm *vm, const char *wanted) {
    for (size_t i = 0; i < vm->nics.n; i++)
        if (is_called(wanted, vm->nics.items[i].id, vm->nics.items[i].name) ||
            (wanted && g_strcmp0(wanted, vm->nics.items[i].mac) == 0))
            return &vm->nics.items[i];
    return NULL;
}

const Disk *vm_disk_find(const Vm *vm, const char *id) {
    for (size_t i = 0; i < vm->disks.n; i++)
        if (id && g_strcmp0(vm->disks.items[i].id, id) == 0)
            return &vm->disks.items[i];
    return NULL;
}

static bool no_such(const Vm *vm, const char *what, const char *wanted, Error *err) {
    g_autofree char *field = g_strconcat("/", what, NULL);
    return error_set(err, ERROR_NOT_FOUND, field, "%s has no %s %s", vm->name, what, wanted ? wanted : "");
}

/* ---- the methods: each changes *vm, which is a copy of the old definition ---- */

static bool reattach_disk(Vm *vm, const VmDisk *request, Error *err) {
    Disk *disk = disk_called(vm, request->disk);
    if (!disk)
        return no_such(vm, "disk", request->disk, err);
    if (!disk->detached)
        return error_set(err, ERROR_WRONG_STATE, "/disk", "the disk %s is not detached", disk->name);
    disk_set_detached(disk, false);
    if (vm_disk_has(request, VM_DISK_FIELD_BUS))
        disk_set_bus(disk, request->bus);
    if (vm_disk_has(request, VM_DISK_FIELD_READ_ONLY))
        disk_set_read_only(disk, request->read_only);
    return true;
}

static bool attach_disk(Vm *vm, const json_t *parameters, Error *err) {
    g_auto(VmDisk) request = {0};
    if (!vm_disk_decode(parameters, MODEL_STORED, &request, err))
        return false;
    if (request.disk)
        return reattach_disk(vm, &request, err);
    if (request.name && disk_called(vm, request.name))
        return error_set(err, ERROR_EXISTS, "/name", "%s has a disk %s already", vm->name, request.name);
    Disk *disk = vm_add_disks(vm);
    bool is_cd = request.image || request.kind == DISK_KIND_CD;
    disk_set_name(disk, request.name);
    disk_set_kind(disk, is_cd ? DISK_KIND_CD : DISK_KIND_DISK);
    if (vm_disk_has(&request, VM_DISK_FIELD_SIZE))
        disk_set_size(disk, request.size);
    if (vm_disk_has(&request, VM_DISK_FIELD_BUS))
        disk_set_bus(disk, request.bus);
    if (vm_disk_has(&request, VM_DISK_FIELD_FORMAT))
        disk_set_format(disk, request.format);
    disk_set_image(disk, request.image);
    disk_set_read_only(disk, request.read_only);
    return true;
}

static void disk_remove(Vm *vm, Disk *disk) {
    size_t index = (size_t)(disk - vm->disks.items);
    disk_clear(disk);
    memmove(disk, disk + 1, (vm->disks.n - index - 1) * sizeof *disk);
    vm->disks.n--;
}

static bool detach_disk(Vm *vm, const json_t *parameters, Error *err) {
    g_auto(VmDiskDetach) request = {0};
    if (!vm_disk_detach_decode(parameters, MODEL_STORED, &request, err))
        return false;
    Disk *disk = disk_called(vm, request.disk);
    if (!disk)
        return no_such(vm, "disk", request.disk, err);
    if (disk->path && request.purge)
        return error_set(err, ERROR_UNSUPPORTED, "/purge",
            "purge: %s is an adopted VM's file outside of the repository, which Lodge never deletes; take "
            "the "
            "disk away with delete, and the file stays",
            disk->path);
    bool is_kept = disk->kind == DISK_KIND_DISK && !request.delete &&!request.purge;
    if (is_kept && disk->detached)
        return error_set(err, ERROR_WRONG_STATE, "/disk", "the disk %s is detached already", disk->name);
    if (is_kept)
        disk_set_detached(disk, true);
    else
        disk_remove(vm, disk);
    return true;
}

static bool resize_disk(Vm *vm, const json_t *parameters, Error *err) {
    g_auto(VmDiskResize) request = {0};
    if (!vm_disk_resize_decode(parameters, MODEL_STORED, &request, err))
        return false;
    Disk *disk = disk_called(vm, request.disk);
    if (!disk)
        return no_such(vm, "disk", request.disk, err);
    if (disk->kind == DISK_KIND_CD)
        return error_set(err, ERROR_INVALID, "/disk", "a CD drive has no size");
    if (request.size < disk->size)
        return error_set(err, ERROR_INVALID, "/size",
            "size: a disk only grows; %s has %" G_GUINT64_FORMAT " bytes", disk->name, disk->size);
    disk_set_size(disk, request.size);
    return true;
}

static bool attach_nic(Vm *vm, const json_t *parameters, Error *err) {
    g_auto(Nic) request = {0};
    if (!nic_decode(parameters, MODEL_STORED, &request, err))
        return false;
    if (request.name && nic_called(vm, request.name))
        return error_set(err, ERROR_EXISTS, "/name", "%s has a NIC %s already", vm->name, request.name);
    if (request.mac && nic_called(vm, request.mac))
        return error_set(err, ERROR_EXISTS, "/mac", "%s has the MAC %s already", vm->name, request.mac);
    nic_set_id(&request, NULL);
    nic_copy(vm_add_nics(vm), &request);
    return true;
}

static bool detach_nic(Vm *vm, const json_t *parameters, Error *err) {
    g_auto(VmNicDetach) request = {0};
    if (!vm_nic_detach_decode(parameters, MODEL_STORED, &request, err))
        return false;
    Nic *nic = nic_called(vm, request.nic);
    if (!nic)
        return no_such(vm, "nic", request.nic, err);
    size_t index = (size_t)(nic - vm->nics.items);
    nic_clear(nic);
    memmove(nic, nic + 1, (vm->nics.n - index - 1) * sizeof *nic);
    vm->nics.n--;
    return true;
}

static bool change_nic(Vm *vm, const json_t *parameters, Error *err) {
    g_auto(VmNicChange) request = {0};
    if (!vm_nic_change_decode(parameters, MODEL_STORED, &request, err))
        return false;
    Nic *nic = nic_called(vm, request.nic);
    if (!nic)
        return no_such(vm, "nic", request.nic, err);
    if (request.network)
        nic_set_network(nic, request.network);
    if (request.mac)
        nic_set_mac(nic, request.mac);
    if (vm_nic_change_has(&request, VM_NIC_CHANGE_FIELD_MODEL))
        nic_set_model(nic, request.model);
    if (vm_nic_change_has(&request, VM_NIC_CHANGE_FIELD_CONNECTED))
        nic_set_connected(nic, request.connected);
    return true;
}

/* The drive that was named, or the first that will do. */
static Disk *find_drive(Vm *vm, const char *wanted, bool is_filled) {
    if (wanted)
        return disk_called(vm, wanted);
    for (size_t i = 0; i < vm->disks.n; i++) {
        Disk *disk = &vm->disks.items[i];
        if (disk->kind == DISK_KIND_CD && !disk->detached && (disk->image || !is_filled))
            return disk;
    }
    return NULL;
}

static bool insert_iso(Vm *vm, const json_t *parameters, Error *err) {
    g_auto(VmIsoInsert) request = {0};
    if (!vm_iso_insert_decode(parameters, MODEL_STORED, &request, err))
        return false;
    Disk *drive = find_drive(vm, request.drive, false);
    if (!drive && request.drive)
        return no_such(vm, "drive", request.drive, err);
    if (!drive) {
        drive = vm_add_disks(vm);
        disk_set_kind(drive, DISK_KIND_CD);
    }
    if (drive->kind != DISK_KIND_CD)
        return error_set(err, ERROR_INVALID, "/drive", "%s is no CD drive", drive->name);
    disk_set_image(drive, request.image);
    return true;
}

static bool eject_iso(Vm *vm, const json_t *parameters, Error *err) {
    g_auto(VmIsoEject) request = {0};
    if (!vm_iso_eject_decode(parameters, MODEL_STORED, &request, err))
        return false;
    Disk *drive = find_drive(vm, request.drive, true);
    if (!drive && request.drive)
        return no_such(vm, "drive", request.drive, err);
    if (!drive || !drive->image)
        return error_set(err, ERROR_WRONG_STATE, "/drive", "%s has no ISO in that drive", vm->name);
    disk_set_image(drive, NULL);
    return true;
}

static bool merge(Vm *vm, const json_t *patch, Error *err) {
    g_autoptr(json_t) before = vm_encode(vm, MODEL_ENCODE_DEFINITION);
    g_autoptr(json_t) after = json_merge_patch(before, patch);
    vm_clear(vm);
    return vm_decode(after, MODEL_STORED, vm, err);
}

/* ---- completing, the same for all ---- */

static char *random_id(GRand *random) {
    guint32 a = g_rand_int(random), b = g_rand_int(random), c = g_rand_int(random), d = g_rand_int(random);
    return g_strdup_printf(
        "%08x-%04x-4%03x-%04x-%04x%08x", a, b >> 16, b & 0xfff, 0x8000 | (c >> 16 & 0x3fff), c & 0xffff, d);
}

/* "disk3": the first that is free. */
static char *free_name(const Vm *vm, const char *stem) {
    for (unsigned n = 0;; n++) {
        g_autofree char *name = g_strdup_printf("%s%u", stem, n);
        if (!disk_called(vm, name) && !nic_called(vm, name))
            return g_steal_pointer(&name);
    }
}

static bool take_over_disk(const Disk *old, Disk *disk, Error *err) {
    if (old->kind != disk->kind)
        return error_set(
            err, ERROR_INVALID, "/kind", "kind: a disk cannot become a CD drive or the other way round");
    if (disk_has(old, DISK_FIELD_FORMAT) && disk_has(disk, DISK_FIELD_FORMAT) && old->format != disk->format)
        return error_set(err, ERROR_INVALID, "/format", "format: cannot be changed");
    if (disk_has(disk, DISK_FIELD_SIZE) && disk->size < old->size)
        return error_set(err, ERROR_INVALID, "/size",
            "size: a disk only grows; it has %" G_GUINT64_FORMAT " bytes", old->size);
    disk_set_id(disk, old->id);
    if (!disk->name)
        disk_set_name(disk, old->name);
    if (disk_has(old, DISK_FIELD_FORMAT))
        disk_set_format(disk, old->format);
    if (disk_has(old, DISK_FIELD_CLONE))
        disk_set_clone(disk, old->clone);
    if (!disk_has(disk, DISK_FIELD_SIZE) && disk_has(old, DISK_FIELD_SIZE))
        disk_set_size(disk, old->size);
    if (!disk->serial)
        disk_set_serial(disk, old->serial);
    return true;
}

static bool check_disk(Disk *disk, Error *err) {
    bool is_cd = disk->kind == DISK_KIND_CD;
    if (is_cd && disk_has(disk, DISK_FIELD_SIZE))
        return error_set(err, ERROR_INVALID, "/size", "size: a CD drive has none");
    if (is_cd && disk_has(disk, DISK_FIELD_BUS) && disk->bus == DISK_BUS_VIRTIO)
        return error_set(
            err, ERROR_UNSUPPORTED, "/bus", "bus: a CD drive cannot be on virtio; use scsi or sata");
    if (!is_cd && disk->image)
        return error_set(err, ERROR_INVALID, "/image", "image: only a CD drive takes an ISO");
    if (!is_cd && !disk_has(disk, DISK_FIELD_SIZE))
        return error_set(err, ERROR_INVALID, "/size", "size: is required for a new disk");
    if (is_cd)
        disk_set_read_only(disk, true);
    return true;
}

static bool complete_disk(const Vm *before, Vm *vm, size_t index, GRand *random, Error *err) {
    Disk *disk = &vm->disks.items[index];
    const Disk *old = disk->id     ? vm_disk_find(before, disk->id)
                      : disk->name ? disk_called(before, disk->name)
                                   : NULL;
    if (disk->id && !old)
        return error_set(err, ERROR_INVALID, "/id", "id: %s has no disk with this id", before->name);
    model_apply_defaults(&disk_type, disk);
    disk_set_path(disk, old ? old->path : NULL);
    if (old ? !take_over_disk(old, disk, err) : false)
        return false;
    if (!disk->id) {
        g_autofree char *id = random_id(random);
        disk_set_id(disk, id);
    }
    if (!disk->name) {
        g_autofree char *name = free_name(vm, disk->kind == DISK_KIND_CD ? "cd" : "disk");
        disk_set_name(disk, name);
    }
    for (size_t i = 0; i < index; i++)
        if (is_called(disk->name, vm->disks.items[i].id, vm->disks.items[i].name) ||
            g_strcmp0(disk->id, vm->disks.items[i].id) == 0)
            return error_set(err, ERROR_EXISTS, "/name", "name: two disks are called %s", disk->name);
    return check_disk(disk, err);
}

static bool choose_mac(const VmChangeWorld *world, GRand *random, Nic *nic, Error *err) {
    g_autofree char *mac = NULL;
    if (nic->mac)
        return !world->is_mac_taken(nic->mac, world->data) ||
               error_set(err, ERROR_EXISTS, "/mac", "the MAC %s is taken", nic->mac);
    if (!vm_plan_mac(world->mac_prefix, world->is_mac_taken, world->data, random, &mac, err))
        return false;
    nic_set_mac(nic, mac);
    return true;
}

static const Nic *old_nic(const Vm *before, const Nic *nic) {
    const char *wanted = nic->id ? nic->id : nic->mac ? nic->mac : nic->name;
    const Nic *found = nic_called(before, wanted);
    return found || nic->id || !nic->name ? found : nic_called(before, nic->name);
}

static bool complete_nic(
    const Vm *before, Vm *vm, size_t index, const VmChangeWorld *world, GRand *random, Error *err) {
    Nic *nic = &vm->nics.items[index];
    const Nic *old = old_nic(before, nic);
    if (nic->id && !old)
        return error_set(err, ERROR_INVALID, "/id", "id: %s has no NIC with this id", before->name);
    model_apply_defaults(&nic_type, nic);
    g_autofree char *id = old ? NULL : random_id(random);
    nic_set_id(nic, old ? old->id : id);
    nic_set_pci(nic, old ? old->pci : NULL);
    if (!nic->mac && old)
        nic_set_mac(nic, old->mac);
    if (!nic->name && old)
        nic_set_name(nic, old->name);
    if (!nic->name) {
        g_autofree char *name = free_name(vm, "nic");
        nic_set_name(nic, name);
    }
    if (!nic->network)
        nic_set_network(nic, old ? old->network : world->default_network_id);
    if (!nic->network)
        return error_set(err, ERROR_INVALID, "/network", "network: there is no default network; name one");
    if (!choose_mac(world, random, nic, err))
        return false;
    for (size_t i = 0; i < index; i++) {
        const Nic *other = &vm->nics.items[i];
        if (!strcmp(nic->name, other->name) || !strcmp(nic->id, other->id))
            return error_set(err, ERROR_EXISTS, "/name", "name: two NICs are called %s", nic->name);
        if (!strcmp(nic->mac, other->mac))
            return error_set(err, ERROR_EXISTS, "/mac", "the MAC %s is there twice", nic->mac);
    }
    return true;
}

/* Only a merge patch has lists to point into; the other methods name their field themselves. */
static bool point_at(bool is_patch, const char *list, size_t index, Error *err) {
    g_autofree char *field = g_strdup_printf("/%s/%zu", list, index);
    return err && is_patch ? error_prefix_field(err, field) : false;
}

static bool complete_devices(
    const Vm *before, Vm *vm, const VmChangeWorld *world, GRand *random, bool is_patch, Error *err) {
    if (vm->disks.n > MAX_DISKS)
        return error_set(err, ERROR_INVALID, "/disks", "disks: at most %d", MAX_DISKS);
    if (vm->nics.n > MAX_NICS)
        return error_set(err, ERROR_INVALID, "/nics", "nics: at most %d", MAX_NICS);
    for (size_t i = 0; i < vm->disks.n; i++)
        if (!complete_disk(before, vm, i, random, err))
            return point_at(is_patch, "disks", i, err);
    for (size_t i = 0; i < vm->nics.n; i++)
        if (!complete_nic(before, vm, i, world, random, err))
            return point_at(is_patch, "nics", i, err);
    return true;
}

static bool check_machine(const Vm *before, const Vm *vm, Error *err) {
    if (g_strcmp0(before->guest_os, vm->guest_os) != 0 && !guest_os_check(vm->guest_os, err))
        return false;
    if (vm_has(vm, VM_FIELD_VCPUS_MAXIMUM) && vm->vcpus_maximum < vm->vcpus)
        return error_set(err, ERROR_INVALID, "/vcpus",
            "vcpus: must not be above vcpus_maximum (%" G_GINT64_FORMAT ")", vm->vcpus_maximum);
    if (vm_has(vm, VM_FIELD_MEMORY_MAXIMUM) && vm->memory_maximum < vm->memory)
        return error_set(err, ERROR_INVALID, "/memory",
            "memory: must not be above memory_maximum (%" G_GUINT64_FORMAT " bytes)", vm->memory_maximum);
    return true;
}

static const struct {
    MethodId method;
    bool (*apply)(Vm *vm, const json_t *parameters, Error *err);
} changes[] = {
    {METHOD_VM_UPDATE, merge},
    {METHOD_VM_ATTACH_DISK, attach_disk},
    {METHOD_VM_DETACH_DISK, detach_disk},
    {METHOD_VM_RESIZE_DISK, resize_disk},
    {METHOD_VM_ATTACH_NIC, attach_nic},
    {METHOD_VM_DETACH_NIC, detach_nic},
    {METHOD_VM_CHANGE_NIC, change_nic},
    {METHOD_VM_INSERT_ISO, insert_iso},
    {METHOD_VM_EJECT_ISO, eject_iso},
};

bool vm_change_is_known(MethodId method) {
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        if (changes[i].method == method)
            return true;
    return false;
}

bool vm_change(MethodId method, const Vm *before, const json_t *parameters, const VmChangeWorld *world,
    guint32 seed, Vm *ret_vm, Error *err) {
    g_auto(Vm) vm = {0};
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    vm_copy(&vm, before);
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        if (changes[i].method == method && !changes[i].apply(&vm, parameters, err))
            return false;
    model_apply_defaults(&vm_type, &vm);
    if (!check_machine(before, &vm, err) ||
        !complete_devices(before, &vm, world, random, method == METHOD_VM_UPDATE, err))
        return false;
    *ret_vm = vm;
    memset(&vm, 0, sizeof vm);
    return true;
}

bool vm_change_purges(MethodId method, const json_t *parameters) {
    return method == METHOD_VM_DETACH_DISK && json_is_true(json_object_get(parameters, "purge"));
}
