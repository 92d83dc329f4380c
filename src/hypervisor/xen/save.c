/* Numbers in both streams: record heads are 8 bytes, bodies are padded to 8. */
#include "hypervisor/xen/save.h"
#include <string.h>
#include <unistd.h>
#include "base/process.h"
#include "hypervisor/xen/domain-list.h"

enum {
    LIBVIRT_HEADER = 64,
    LIBVIRT_XML_LENGTH_AT = 20,
    LIBXL_HEADER = 16,
    LIBXL_END = 0,
    LIBXL_LIBXC_CONTEXT = 1,
    LIBXC_HEADERS = 24 + 16, /* image, domain */
    LIBXC_END = 0,
    RECORD_HEAD = 8,
    MAX_RECORDS = 64 * 1024 * 1024, /* beyond any memory: a page or more each */
    TOOL_TIMEOUT_MS = 30000,
};

static const char libvirt_magic[16] = "libvirt-xml\n \0 \r";
static const char libxl_magic[8] = "LibxlFmt";

static bool read_at(int fd, off_t offset, void *ret_bytes, size_t length) {
    return pread(fd, ret_bytes, length, offset) == (ssize_t)length;
}

/* Skips records from *offset on until one that the caller looks for; *offset is behind its head then. */
static bool skip_to(int fd, off_t *offset, uint32_t one, uint32_t other, uint32_t *ret_type) {
    for (int64_t i = 0; i < MAX_RECORDS; i++) {
        uint32_t head[2];
        if (!read_at(fd, *offset, head, sizeof head))
            return false;
        *offset += RECORD_HEAD;
        *ret_type = head[0];
        if (head[0] == one || head[0] == other)
            return true;
        *offset += ((off_t)head[1] + RECORD_HEAD - 1) / RECORD_HEAD * RECORD_HEAD;
    }
    return false;
}

bool xen_is_whole_image(int fd) {
    char bytes[LIBVIRT_HEADER], magic[sizeof libxl_magic];
    uint32_t xml_length = 0, type = LIBXL_LIBXC_CONTEXT;
    if (!read_at(fd, 0, bytes, sizeof bytes) || memcmp(bytes, libvirt_magic, sizeof libvirt_magic) != 0)
        return false;
    memcpy(&xml_length, bytes + LIBVIRT_XML_LENGTH_AT, sizeof xml_length);
    off_t offset = LIBVIRT_HEADER + (off_t)xml_length;
    if (!read_at(fd, offset, magic, sizeof magic) || memcmp(magic, libxl_magic, sizeof magic) != 0)
        return false;
    offset += LIBXL_HEADER;
    while (skip_to(fd, &offset, LIBXL_END, LIBXL_LIBXC_CONTEXT, &type)) {
        if (type == LIBXL_END)
            return true;
        offset += LIBXC_HEADERS;
        if (!skip_to(fd, &offset, LIBXC_END, LIBXC_END, &type))
            return false;
    }
    return false;
}

bool xen_run_on(virDomain *domain, Error *err) {
    char id[VIR_UUID_STRING_BUFLEN] = "";
    const char *const resume[] = {"xl", "resume", virDomainGetName(domain), NULL};
    const ProcessSpec go_on = {.argv = resume, .timeout_ms = TOOL_TIMEOUT_MS};
    if (virDomainGetUUIDString(domain, id) < 0)
        return connection_error(err, "a domain's id cannot be read");
    g_autoptr(GArray) rows = xen_domain_list(err);
    const XenDomainRow *row = rows ? xen_domain_find(rows, id) : NULL;
    return rows && (!row || !row->is_suspended || process_run(&go_on, NULL, err));
}
