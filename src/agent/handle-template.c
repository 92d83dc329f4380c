/* Templates and ISOs. */
#include <string.h>
#include "agent/agent-private.h"
#include "base/file.h"
#include "image/template-build.h"
#include "storage/repository-kind.h"

static const RepositoryKindOps *kind_of(bool is_given, const Repository *repository, Error *err) {
    const RepositoryKindOps *kind = is_given ? repository_kind_find(repository->kind) : NULL;
    if (!kind)
        error_set(err, is_given ? ERROR_UNSUPPORTED : ERROR_INVALID, "/repository",
            "a repository that this agent can use is needed");
    return kind;
}

/* What the recipe knows; what the definition says already stays. */
static void fill_from_recipe(Template *template, const Recipe *recipe) {
    if (!template_has(template, TEMPLATE_FIELD_GUEST_OS))
        template_set_guest_os(template, recipe->guest_os);
    if (!template_has(template, TEMPLATE_FIELD_MEMORY))
        template_set_memory(template, recipe->memory_default_bytes);
    template_set_memory_minimum(template, recipe->memory_minimum_bytes);
    template_set_has_cloud_init(template, recipe->has_cloud_init);
    template_set_has_guest_agent(template, recipe->has_guest_agent);
    if (template_has(template, TEMPLATE_FIELD_FIRMWARE))
        return;
    if (recipe->boots_bios)
        *template_add_firmware(template) = FIRMWARE_BIOS;
    if (recipe->boots_uefi)
        *template_add_firmware(template) = FIRMWARE_UEFI;
}

bool handle_recipe_list(AgentCall *call, Error *err G_GNUC_UNUSED) {
    AgentRecipeList *list = call->result;
    for (size_t i = 0; i < n_recipes; i++) {
        Template *template = agent_recipe_list_add_recipes(list);
        template_set_name(template, recipes[i].name);
        template_set_description(template, recipes[i].title);
        template_set_recipe(template, recipes[i].name);
        template_set_state(template, TEMPLATE_STATE_BUILDABLE);
        template_set_vcpus(template, 1);
        fill_from_recipe(template, &recipes[i]);
    }
    return true;
}

/* The packages that people ask for: the kernel and what sets the guest up. */
static void fill_packages(Template *template, char *const *packages) {
    static const char *const wanted[] = {"linux-image-", "busybox", "cloud-init ", "qemu-guest-agent "};
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t i = 0; packages && packages[i]; i++)
        for (size_t w = 0; w < G_N_ELEMENTS(wanted); w++)
            if (g_str_has_prefix(packages[i], wanted[w]) && text->len + strlen(packages[i]) + 2 < 256)
                g_string_append_printf(text, "%s%s", text->len ? ", " : "", packages[i]);
    if (text->len > 0)
        template_set_packages(template, text->str);
}

static void forget_disks(Template *template) {
    for (size_t i = 0; i < template->disks.n; i++)
        template_disk_clear(&template->disks.items[i]);
    template->disks.n = 0;
    template->present &= ~MODEL_BIT(TEMPLATE_FIELD_DISKS);
}

static void fill_from_build(Template *template, const TemplateResult *built) {
    forget_disks(template);
    fill_from_recipe(template, built->recipe);
    fill_packages(template, built->packages);
    for (size_t i = 0; i < built->n_files; i++) {
        const TemplateFile *file = &built->files[i];
        if (file->role == TEMPLATE_KERNEL)
            direct_boot_set_command_line(template_put_direct_boot(template), built->recipe->cmdline);
        if (file->role != TEMPLATE_DISK)
            continue;
        TemplateDisk *disk = template_add_disks(template);
        template_disk_set_format(disk, DISK_FORMAT_RAW);
        template_disk_set_size(disk, file->virtual_bytes);
        template_disk_set_sha256(disk, file->sha256);
    }
}

static bool build_in(AgentCall *call, const RepositoryKindOps *kind, const char *work_folder, Error *err) {
    const AgentTemplateBuild *request = call->parameters;
    AgentTemplate *made = call->result;
    g_autofree char *cache = g_build_filename(call->agent->state, "packages", NULL);
    const TemplateOptions options = {.cache = cache};
    g_auto(TemplateResult) built = {0};
    const char *recipe = request->template.recipe ? request->template.recipe : request->template.name;
    if (!template_build(recipe, work_folder, &options, &call->progress, call->cancel, &built, err))
        return false;
    Template *template = agent_template_put_template(made);
    template_copy(template, &request->template);
    fill_from_build(template, &built);
    return kind->template_store(&request->repository, template, work_folder, err);
}

bool handle_template_build(AgentCall *call, Error *err) {
    const AgentTemplateBuild *request = call->parameters;
    const RepositoryKindOps *kind = kind_of(true, &request->repository, err);
    g_autofree char *work_folder = NULL;
    if (!kind || !kind->work_folder(&request->repository, call->operation_id, &work_folder, err))
        return false;
    bool is_built = build_in(call, kind, work_folder, err);
    tree_remove(work_folder, NULL);
    return is_built;
}

/* It is not started meanwhile, by nobody: its disks would be of two moments. */
static bool copy_disks(
    AgentCall *call, const RepositoryKindOps *kind, Template *made, CloneMethod *ret_method, Error *err) {
    const AgentTemplateFromVm *request = call->parameters;
    Held *held = call->agent->held;
    HeldBy by;
    if (!agent_check_vm_stands(call, &request->vm, err) ||
        !held_take(held, request->vm.id, call->cancel, &by, err))
        return false;
    bool is_made = by == HELD_BY_NOBODY ? kind->template_from_vm(request, made, call->cancel, ret_method, err)
                                        : error_set(err, ERROR_WRONG_STATE, NULL,
                                              "%s runs; stop it to copy it", request->vm.name);
    held_release(held, request->vm.id);
    return is_made;
}

bool handle_template_create(AgentCall *call, Error *err) {
    const AgentTemplateFromVm *request = call->parameters;
    const RepositoryKindOps *kind = kind_of(true, &request->repository, err);
    Template *made = agent_template_put_template(call->result);
    CloneMethod method = CLONE_METHOD_AUTO;
    if (!kind)
        return false;
    /* Done before a crash, and only the answer was lost. */
    if (request->template.id && kind->template_read(&request->repository, request->template.id, made, NULL))
        return true;
    template_copy(made, &request->template);
    if (!copy_disks(call, kind, made, &method, err))
        return false;
    if (made->disks.n > 0)
        agent_template_set_clone(call->result, method);
    return true;
}

bool handle_template_write(AgentCall *call, Error *err) {
    const AgentTemplate *request = call->parameters;
    const RepositoryKindOps *kind =
        kind_of(agent_template_has(request, AGENT_TEMPLATE_FIELD_REPOSITORY), &request->repository, err);
    return kind && kind->template_write(&request->repository, &request->template, err);
}

bool handle_template_delete(AgentCall *call, Error *err) {
    const AgentTemplate *request = call->parameters;
    const RepositoryKindOps *kind =
        kind_of(agent_template_has(request, AGENT_TEMPLATE_FIELD_REPOSITORY), &request->repository, err);
    return kind && kind->template_delete(&request->repository, &request->template, err);
}

bool handle_iso_delete(AgentCall *call, Error *err) {
    const AgentIso *request = call->parameters;
    const RepositoryKindOps *kind =
        kind_of(agent_iso_has(request, AGENT_ISO_FIELD_REPOSITORY), &request->repository, err);
    return kind && kind->iso_delete(&request->repository, &request->iso, err);
}
