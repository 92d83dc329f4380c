/* Definitions as they are read at the start, perhaps a hundred thousand: threads decode them, page by page,
 * while the store is read on. They are taken in the order of the store. */
#include "inventory/change.h"

enum { MOST_THREADS = 4, PAGES_AHEAD = 8 };

typedef struct Loading {
    Inventory *inventory;
    ResourceId kind;
    GThreadPool *threads;
    GQueue *pages; /* Page, not taken yet */
    GMutex lock;   /* guards `is_decoded` */
    GCond decoded;
} Loading;

typedef struct Page {
    StoreRange range;
    void **objects; /* as many as decoded well */
    size_t n_objects;
    Error err;
    bool is_decoded;
} Page;

/* ---- in threads ---- */

static void *decode_item(const TypeDescriptor *type, const StoreItem *item, Error *err) {
    size_t length = 0;
    const char *text = g_bytes_get_data(item->value, &length);
    g_autoptr(json_t) json = json_parse(text, length, err);
    void *object = g_malloc0(type->size);
    if (json && model_decode(type, json, MODEL_STORED, object, err))
        return object;
    g_free(object);
    error_wrap(err, ERROR_CORRUPT, "the store's item %s cannot be read", item->key);
    return NULL;
}

static void decode_page(void *data, void *loading) {
    Page *page = data;
    Loading *self = loading;
    const TypeDescriptor *type = resources[self->kind].type;
    page->objects = g_new0(void *, page->range.n_items);
    for (size_t i = 0; i < page->range.n_items && !error_is_set(&page->err); i++) {
        page->objects[i] = decode_item(type, &page->range.items[i], &page->err);
        page->n_objects += page->objects[i] != NULL;
    }
    g_mutex_lock(&self->lock);
    page->is_decoded = true;
    g_cond_broadcast(&self->decoded);
    g_mutex_unlock(&self->lock);
}

/* ---- on the main thread ---- */

/* The oldest one; nothing of it is taken once *err is set. */
static void take_page(Loading *self, Error *err) {
    Page *page = g_queue_pop_head(self->pages);
    g_mutex_lock(&self->lock);
    while (!page->is_decoded)
        g_cond_wait(&self->decoded, &self->lock);
    g_mutex_unlock(&self->lock);
    bool is_wanted = !error_is_set(err);
    for (size_t i = 0; i < page->n_objects; i++) {
        if (is_wanted)
            inventory_apply(self->inventory, self->kind, page->objects[i], page->range.items[i].mod_revision);
        else
            model_free(resources[self->kind].type, page->objects[i]);
    }
    if (is_wanted)
        error_move(err, &page->err);
    error_clear(&page->err);
    store_range_clear(&page->range);
    g_free(page->objects);
    g_free(page);
}

/* False at the end, or with *err. */
static bool read_page(Loading *self, const char *prefix, char **last, Error *err) {
    Page *page = g_new0(Page, 1);
    if (!store_range(inventory_store(self->inventory), prefix, *last, STORE_MAX_RANGE, &page->range, err) ||
        page->range.n_items == 0) {
        store_range_clear(&page->range);
        g_free(page);
        return false;
    }
    bool has_more = page->range.has_more;
    g_free(*last);
    *last = g_strdup(page->range.items[page->range.n_items - 1].key);
    g_queue_push_tail(self->pages, page);
    g_thread_pool_push(self->threads, page, NULL);
    return has_more;
}

bool inventory_load_kind(Inventory *inventory, ResourceId kind, Error *err) {
    Loading self = {.inventory = inventory, .kind = kind, .pages = g_queue_new()};
    g_autofree char *prefix = g_strconcat(resources[kind].name, "/", NULL), *last = NULL;
    g_auto(Error) fault = {0};
    g_mutex_init(&self.lock);
    g_cond_init(&self.decoded);
    self.threads =
        g_thread_pool_new(decode_page, &self, (int)MIN(g_get_num_processors(), MOST_THREADS), FALSE, NULL);
    while (!error_is_set(&fault) && read_page(&self, prefix, &last, &fault))
        if (g_queue_get_length(self.pages) > PAGES_AHEAD)
            take_page(&self, &fault);
    while (!g_queue_is_empty(self.pages))
        take_page(&self, &fault);
    g_thread_pool_free(self.threads, FALSE, TRUE);
    g_queue_free(self.pages);
    g_cond_clear(&self.decoded);
    g_mutex_clear(&self.lock);
    if (!error_is_set(&fault))
        return true;
    error_move(err, &fault);
    return false;
}
