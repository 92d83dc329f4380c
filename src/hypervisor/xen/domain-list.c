/* Words, not columns: names and numbers may be wider than theirs. */
#include "hypervisor/xen/domain-list.h"
#include <string.h>
#include "base/process.h"

enum {
    TOOL_TIMEOUT_MS = 10000,
    OUTPUT_LIMIT = 4 << 20,
    STATE_LETTERS = 6,
    PAUSED = 2,
    SHUT_DOWN = 3,
    DYING = 5
};

#define REASON_REBOOT "1"
#define REASON_SUSPEND "2"

static bool is_state(const char *word) {
    return strlen(word) == STATE_LETTERS && strspn(word, "rbpscd-") == STATE_LETTERS;
}

/* The state stands two words before the UUID, the reason behind it. */
static bool parse_row(char **words, XenDomainRow *ret_row) {
    const char *state = NULL;
    for (char **word = words; *word; word++) {
        if (is_state(*word)) {
            state = *word;
        } else if (state && g_uuid_string_is_valid(*word)) {
            g_autofree char *small = g_ascii_strdown(*word, -1);
            g_strlcpy(ret_row->uuid, small, sizeof ret_row->uuid);
            ret_row->is_paused = state[PAUSED] == 'p';
            ret_row->is_dying = state[DYING] == 'd';
            ret_row->is_shut = state[SHUT_DOWN] == 's';
            ret_row->is_rebooting = ret_row->is_shut && g_strcmp0(word[1], REASON_REBOOT) == 0;
            ret_row->is_suspended = ret_row->is_shut && g_strcmp0(word[1], REASON_SUSPEND) == 0;
            return true;
        }
    }
    return false;
}

GArray *xen_domain_list_parse(const char *text) {
    GArray *rows = g_array_new(FALSE, TRUE, sizeof(XenDomainRow));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        XenDomainRow row = {0};
        g_autoptr(GPtrArray) words = g_ptr_array_new();
        g_auto(GStrv) parts = g_strsplit_set(*line, " \t", -1);
        for (char **part = parts; *part; part++)
            if (**part)
                g_ptr_array_add(words, *part);
        g_ptr_array_add(words, NULL);
        if (parse_row((char **)words->pdata, &row))
            g_array_append_val(rows, row);
    }
    return rows;
}

const XenDomainRow *xen_domain_find(const GArray *rows, const char *uuid) {
    for (guint i = 0; i < rows->len; i++) {
        const XenDomainRow *row = &g_array_index(rows, XenDomainRow, i);
        if (!strcmp(row->uuid, uuid))
            return row;
    }
    return NULL;
}

GArray *xen_domain_list(Error *err) {
    static const char *const list[] = {"xl", "list", "-v", NULL};
    const ProcessSpec spec = {.argv = list, .timeout_ms = TOOL_TIMEOUT_MS, .output_limit = OUTPUT_LIMIT};
    g_autofree char *text = NULL;
    g_auto(Error) fault = {0};
    if (process_run(&spec, &text, &fault))
        return xen_domain_list_parse(text);
    error_set(err, ERROR_UNREACHABLE, NULL, "Xen does not tell which domains there are: %s", fault.message);
    return NULL;
}
