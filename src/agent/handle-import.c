/*
 * Imports: a disk image becomes a template, a CD image an ISO. In order: the bytes (an upload's, or fetched
 * from a URL), their checksum, what they are, the object. What arrived is gone afterwards, whatever came of
 * it; done again after a crash it ends in the same state.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/agent-private.h"
#include "base/file.h"
#include "image/file-hash.h"
#include "image/image-fetch.h"
#include "image/image-inspect.h"

/* What an image may claim of itself; its file is as large as what it holds. */
#define VIRTUAL_LIMIT (UINT64_C(16) << 40)
/* Of what is fetched. */
#define FILE_LIMIT (UINT64_C(8) << 40)
enum { FETCHED = 60, SUMMED = 10 }; /* percent of the work */

typedef struct Import {
    AgentCall *call;
    const AgentImport *request;
    const RepositoryKindOps *kind;
    char *path; /* of what arrived */
    uint64_t size_bytes;
    char *sha256;
    int from, to; /* share of the whole that the present part is, in percent */
    ImageProgress progress;
} Import;

static void import_clear(Import *import) {
    g_free(import->path);
    g_free(import->sha256);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Import, import_clear)

static void report_part(int percent, const char *phase, void *data) {
    const Import *import = data;
    progress_report(
        &import->call->progress, import->from + percent * (import->to - import->from) / 100, phase);
}

static const ImageProgress *part(Import *import, int from, int to) {
    import->from = from;
    import->to = to;
    import->progress = (ImageProgress){report_part, import};
    return &import->progress;
}

static bool import_begin(Import *import, AgentCall *call, Error *err) {
    *import = (Import){.call = call, .request = call->parameters};
    import->kind = repository_kind_find(import->request->repository.kind);
    if (!import->kind)
        return error_set(
            err, ERROR_UNSUPPORTED, "/repository", "a repository that this agent can use is needed");
    return true;
}

/* ---- 1. the bytes ---- */

static bool fetch_bytes(Import *import, const char *path, Error *err) {
    const Agent *agent = import->call->agent;
    const ImageFetch fetch = {.helper = agent->fetch_helper,
        .url = import->request->url,
        .path = path,
        .limit_bytes = FILE_LIMIT,
        .allows_own = agent->fetches_from_itself};
    return image_fetch(&fetch, part(import, 0, FETCHED), import->call->cancel, err);
}

/* Under a name of its own, so that nobody who sends again changes what is worked on. */
static bool take_bytes(Import *import, const char *folder, Error *err) {
    g_autofree char *data = g_build_filename(folder, ASSEMBLY_FILE, NULL);
    if (access(import->path, F_OK) == 0) /* before a crash */
        return true;
    bool is_fetched = agent_import_has(import->request, AGENT_IMPORT_FIELD_URL);
    if (is_fetched && (!folder_make(folder, 0700, err) || !fetch_bytes(import, data, err)))
        return false;
    if (rename(data, import->path) == 0)
        return true;
    if (errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "/source", "the upload is not kept any more: send it again");
    return error_set_errno(err, errno, "taking what arrived");
}

/* *ret_share: how much of the whole it was, in percent. */
static bool find_bytes(Import *import, int *ret_share, Error *err) {
    const AgentImport *request = import->request;
    g_autofree char *folder = NULL;
    struct stat status;
    if (!import->kind->assembly_folder(&request->repository, request->upload, &folder, err))
        return false;
    *ret_share = agent_import_has(request, AGENT_IMPORT_FIELD_URL) ? FETCHED : 0;
    import->path = g_build_filename(folder, "image", NULL);
    utimensat(AT_FDCWD, folder, NULL, 0); /* nobody sweeps away what is worked on */
    if (!take_bytes(import, folder, err))
        return false;
    if (stat(import->path, &status) < 0)
        return error_set_errno(err, errno, "reading what arrived");
    if (status.st_size == 0)
        return error_set(err, ERROR_FOREIGN_IMAGE, "/source", "it is empty");
    import->size_bytes = (uint64_t)status.st_size;
    return true;
}

/* ---- 2. their checksum ---- */

static bool check_sum(Import *import, bool is_needed, Error *err) {
    const char *wanted = import->request->sha256;
    if (!wanted && !is_needed)
        return true;
    fd_auto int fd = open(import->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "opening what arrived");
    if (!file_hash(fd, import->size_bytes, &import->progress, import->call->cancel, &import->sha256, err))
        return false;
    if (wanted && g_ascii_strcasecmp(wanted, import->sha256) != 0)
        return error_set(err, ERROR_CHECKSUM, "/sha256", "its checksum is %s", import->sha256);
    return true;
}

/* ---- 3. and 4. a template ---- */

static void fill_template(const Import *import, const ImageInfo *info, Template *ret_template) {
    template_copy(ret_template, &import->request->template);
    TemplateDisk *disk = template_add_disks(ret_template);
    template_disk_set_format(disk, DISK_FORMAT_RAW);
    template_disk_set_size(disk, info->virtual_bytes);
}

static bool convert(Import *import, const char *work_folder, ImageInfo *ret_info, Error *err) {
    const AgentImport *request = import->request;
    ImageFormat declared = IMAGE_FORMAT_UNKNOWN;
    if (agent_import_has(request, AGENT_IMPORT_FIELD_FORMAT))
        declared = image_format_from_name(model_enum_name(&import_format_enum, (int)request->format));
    const ImageSource source = {
        .path = import->path, .declared = declared, .virtual_limit_bytes = VIRTUAL_LIMIT};
    g_autofree char *disk = g_build_filename(work_folder, "disk", NULL);
    if (image_convert(
            &source, disk, IMAGE_FORMAT_RAW, &import->progress, import->call->cancel, ret_info, err))
        return true;
    if (err && !err->field && (err->code == ERROR_FOREIGN_IMAGE || err->code == ERROR_TOO_LARGE))
        err->field = g_strdup("/source");
    return false;
}

static bool make_template(Import *import, const char *work_folder, Error *err) {
    ImageInfo info;
    int share = 0;
    if (!find_bytes(import, &share, err))
        return false;
    part(import, share, share + SUMMED);
    if (!check_sum(import, false, err))
        return false;
    part(import, share + SUMMED, 100);
    if (!convert(import, work_folder, &info, err))
        return false;
    Template *template = agent_template_put_template(import->call->result);
    fill_template(import, &info, template);
    return import->kind->template_store(&import->request->repository, template, work_folder, err);
}

/* Whether it was done before a crash and only the answer was lost. */
static bool is_template_made(const Import *import) {
    const AgentImport *request = import->request;
    AgentTemplate *made = import->call->result;
    g_auto(Template) stored = {0};
    if (!import->kind->template_read(&request->repository, request->template.id, &stored, NULL))
        return false;
    template_copy(agent_template_put_template(made), &stored);
    return true;
}

bool handle_template_import(AgentCall *call, Error *err) {
    g_auto(Import) import;
    g_autofree char *work_folder = NULL;
    if (!import_begin(&import, call, err))
        return false;
    const Repository *repository = &import.request->repository;
    if (!agent_import_has(import.request, AGENT_IMPORT_FIELD_TEMPLATE) || !import.request->template.id)
        return error_set(err, ERROR_INVALID, "/template/id", "a template needs an id");
    bool is_made = is_template_made(&import);
    if (!is_made && import.kind->work_folder(repository, call->operation_id, &work_folder, err)) {
        is_made = make_template(&import, work_folder, err);
        tree_remove(work_folder, NULL);
    }
    upload_remove(import.kind, repository, import.request->upload);
    return is_made;
}

/* ---- 3. and 4. an ISO ---- */

static bool check_disc(const Import *import, Error *err) {
    fd_auto int fd = open(import->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "opening what arrived");
    if (image_check_disc(fd, err))
        return true;
    return err && !err->field ? error_prefix_field(err, "/source") : false;
}

/* A second name, so that what arrived is still there when this is done again. */
static bool make_iso(Import *import, const char *work_folder, Error *err) {
    g_autofree char *name = g_build_filename(work_folder, "iso", NULL);
    int share = 0;
    if (!find_bytes(import, &share, err) || !check_disc(import, err))
        return false;
    part(import, share, 100);
    if (!check_sum(import, true, err))
        return false;
    if (link(import->path, name) < 0)
        return error_set_errno(err, errno, "naming the ISO");
    Iso *iso = agent_iso_put_iso(import->call->result);
    iso_copy(iso, &import->request->iso);
    iso_set_sha256(iso, import->sha256);
    return import->kind->iso_store(&import->request->repository, iso, work_folder, err);
}

static bool is_iso_made(const Import *import) {
    const AgentImport *request = import->request;
    AgentIso *made = import->call->result;
    g_auto(Iso) stored = {0};
    if (!import->kind->iso_read(&request->repository, request->iso.id, &stored, NULL))
        return false;
    iso_copy(agent_iso_put_iso(made), &stored);
    return true;
}

bool handle_iso_import(AgentCall *call, Error *err) {
    g_auto(Import) import;
    g_autofree char *work_folder = NULL;
    if (!import_begin(&import, call, err))
        return false;
    const Repository *repository = &import.request->repository;
    if (!agent_import_has(import.request, AGENT_IMPORT_FIELD_ISO) || !import.request->iso.id)
        return error_set(err, ERROR_INVALID, "/iso/id", "an ISO needs an id");
    bool is_made = is_iso_made(&import);
    if (!is_made && import.kind->work_folder(repository, call->operation_id, &work_folder, err)) {
        is_made = make_iso(&import, work_folder, err);
        tree_remove(work_folder, NULL);
    }
    upload_remove(import.kind, repository, import.request->upload);
    return is_made;
}

void abandon_import(AgentCall *call) {
    const AgentImport *request = call->parameters;
    const RepositoryKindOps *kind = repository_kind_of(&request->repository, NULL);
    if (kind)
        upload_remove(kind, &request->repository, request->upload);
}
