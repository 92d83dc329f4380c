/* Reading by GLib's markup parser: libvirt's output is well-formed and small. */
#include <stdbool.h>
#include <string.h>
#include "hypervisor/libvirt/xml-read.h"

typedef struct Search {
    const char *element, *attribute; /* attribute NULL: the text */
    char *found;
} Search;

/* libvirt hands metadata out without its prefix, and whole definitions with it. */
static bool is_named(const char *name, const char *wanted) {
    const char *colon = strchr(name, ':');
    return !strcmp(colon ? colon + 1 : name, wanted);
}

static void element_starts(GMarkupParseContext *context, const char *name, const char **names,
    const char **values, void *data, GError **error) {
    (void)context, (void)error;
    Search *search = data;
    if (search->found || !search->attribute || !is_named(name, search->element))
        return;
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(names[i], search->attribute)) {
            search->found = g_strdup(values[i]);
            return;
        }
}

static void text_comes(
    GMarkupParseContext *context, const char *text, size_t length, void *data, GError **error) {
    (void)error;
    Search *search = data;
    if (!search->found && !search->attribute &&
        is_named(g_markup_parse_context_get_element(context), search->element))
        search->found = g_strndup(text, length);
}

static char *xml_search(const char *xml, const char *element, const char *attribute) {
    static const GMarkupParser parser = {.start_element = element_starts, .text = text_comes};
    Search search = {.element = element, .attribute = attribute};
    g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(&parser, 0, &search, NULL);
    g_markup_parse_context_parse(context, xml, -1, NULL);
    return search.found;
}

char *xml_attribute(const char *xml, const char *element, const char *attribute) {
    return xml_search(xml, element, attribute);
}

char *xml_text(const char *xml, const char *element) {
    return xml_search(xml, element, NULL);
}
