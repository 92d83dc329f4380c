#include "agent/cpu-note.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"

enum { NOTE_LIMIT = 1024 * 1024 };

static char *note_path(const Agent *agent) {
    return g_build_filename(agent->state, "cpu-level.json", NULL);
}

static bool is_same(const char *path, const char *text) {
    g_autofree char *present = NULL;
    return file_read(path, NOTE_LIMIT, &present, NULL, NULL) && strcmp(present, text) == 0;
}

void cpu_note_take(const Agent *agent, const AgentVm *started) {
    g_auto(Error) err = {0};
    g_autofree char *path = note_path(agent);
    if (vm_has(&started->vm, VM_FIELD_CPU)) /* it decided for itself */
        return;
    if (!agent_vm_has(started, AGENT_VM_FIELD_CPU)) {
        if (unlink(path) < 0 && errno != ENOENT)
            log_warning("%s: %s", path, g_strerror(errno));
        return;
    }
    g_autoptr(json_t) json = cpu_level_encode(&started->cpu, MODEL_ENCODE_ALL);
    g_autofree char *text = json_to_text(json);
    if (!is_same(path, text) && !file_replace(path, text, strlen(text), 0600, &err))
        log_warning("what guests get of the processor cannot be noted: %s", err.message);
}

void cpu_note_give(const Agent *agent, AgentVm *request) {
    g_autofree char *path = note_path(agent), *text = NULL;
    size_t length = 0;
    if (vm_has(&request->vm, VM_FIELD_CPU) && request->vm.cpu == GUEST_CPU_HOST)
        return;
    if (!file_read(path, NOTE_LIMIT, &text, &length, NULL))
        return;
    g_autoptr(json_t) json = json_parse(text, length, NULL);
    g_auto(CpuLevel) level = {0};
    if (json && cpu_level_decode(json, MODEL_STORED, &level, NULL))
        cpu_level_copy(agent_vm_put_cpu(request), &level);
}
