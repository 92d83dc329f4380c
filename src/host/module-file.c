/* Reads ELF (elf(5)) from memory, every offset checked; nothing is mapped or trusted. */
#include "host/module-file.h"
#include <elf.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>
#include "image/packed-file.h"

enum { MAX_ENTRIES = 4096, FILE_LIMIT = 64 * 1024 * 1024, MAX_FIRMWARE_NAME = 255 };

typedef struct Elf {
    const char *data;
    size_t length;
    Elf64_Ehdr header;
} Elf;

static bool elf_get(const Elf *elf, uint64_t offset, void *ret_item, size_t size) {
    if (offset > elf->length || elf->length - offset < size)
        return false;
    memcpy(ret_item, elf->data + offset, size);
    return true;
}

static bool elf_open(Elf *elf) {
    if (!elf_get(elf, 0, &elf->header, sizeof elf->header))
        return false;
    const unsigned char *ident = elf->header.e_ident;
    int order = G_BYTE_ORDER == G_LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB;
    return memcmp(ident, ELFMAG, SELFMAG) == 0 && ident[EI_CLASS] == ELFCLASS64 && ident[EI_DATA] == order &&
           elf->header.e_shentsize == sizeof(Elf64_Shdr);
}

static bool elf_section(const Elf *elf, unsigned number, Elf64_Shdr *ret_section) {
    uint64_t offset = elf->header.e_shoff;
    return offset <= elf->length &&
           elf_get(elf, offset + (uint64_t)number * sizeof *ret_section, ret_section, sizeof *ret_section);
}

static bool has_name(const Elf *elf, const Elf64_Shdr *names, const Elf64_Shdr *section, const char *name) {
    size_t size = strlen(name) + 1;
    g_autofree char *found = g_malloc0(size);
    return section->sh_name < names->sh_size && names->sh_offset <= elf->length &&
           elf_get(elf, names->sh_offset + section->sh_name, found, size) && memcmp(found, name, size) == 0;
}

static bool find_section(const Elf *elf, const char *name, Elf64_Shdr *ret_section) {
    Elf64_Shdr names;
    if (!elf_section(elf, elf->header.e_shstrndx, &names))
        return false;
    for (unsigned i = 0; i < elf->header.e_shnum; i++)
        if (elf_section(elf, i, ret_section) && has_name(elf, &names, ret_section, name))
            return ret_section->sh_offset <= elf->length &&
                   elf->length - ret_section->sh_offset >= ret_section->sh_size;
    return false;
}

/* Texts with a NUL behind each. */
static char **split(const char *text, size_t length) {
    GPtrArray *entries = g_ptr_array_new();
    for (size_t at = 0; at < length && entries->len < MAX_ENTRIES;) {
        size_t size = strnlen(text + at, length - at);
        g_autofree char *entry = g_strndup(text + at, size);
        if (size > 0 && g_utf8_validate(entry, -1, NULL))
            g_ptr_array_add(entries, g_steal_pointer(&entry));
        at += size + 1;
    }
    g_ptr_array_add(entries, NULL);
    return (char **)g_ptr_array_free(entries, FALSE);
}

bool module_file_entries(const void *data, size_t length, char ***ret_entries, Error *err) {
    Elf elf = {.data = data, .length = length};
    Elf64_Shdr section = {0};
    if (!elf_open(&elf))
        return error_set(err, ERROR_CORRUPT, NULL, "this is no kernel module of this machine");
    bool has_section = find_section(&elf, ".modinfo", &section);
    *ret_entries = split(elf.data + (has_section ? section.sh_offset : 0), has_section ? section.sh_size : 0);
    return true;
}

bool module_file_read(const char *path, char ***ret_entries, Error *err) {
    g_autofree char *data = NULL;
    size_t length = 0;
    return packed_file_read(path, FILE_LIMIT, &data, &length, err) &&
           module_file_entries(data, length, ret_entries, err);
}

/* ---- firmware ---- */

static bool is_path_there(const char *path) {
    if (!strpbrk(path, "*?["))
        return access(path, F_OK) == 0;
    glob_t found = {0};
    bool is_there = glob(path, GLOB_NOSORT, NULL, &found) == 0;
    globfree(&found);
    return is_there;
}

bool firmware_exists(const char *root, const char *release, const char *name) {
    static const char *const endings[] = {"", ".xz", ".zst"};
    g_autofree char *updates = g_strconcat("updates/", release, NULL);
    const char *const places[] = {updates, "updates", release, "."};
    if (strlen(name) > MAX_FIRMWARE_NAME || strstr(name, "..") || *name == '/')
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
        for (size_t j = 0; j < G_N_ELEMENTS(endings); j++) {
            g_autofree char *path =
                g_strconcat(root, "/lib/firmware/", places[i], "/", name, endings[j], NULL);
            if (is_path_there(path))
                return true;
        }
    return false;
}
