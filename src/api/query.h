/*
 * Lists: filter, sort, page and choose fields, checked against the type's descriptor. Pure; any thread.
 *
 * filter: conditions joined by commas, all must hold. PATH OP VALUE with OP one of = != ~ < > <= >=. PATH is
 * a field, a dotted path, or a field of `status`. Sizes take KiB, MiB, GiB, TiB. `~` means "contains", in any
 * case. A list matches when one of its items does. A reference matches by id and by name. What is absent
 * differs from everything. cursor: opaque, base64 of the sort keys of the last item; a page goes on behind it
 * even when that item is gone.
 */
#pragma once
#include "http/http-target.h"
#include "model/model.h"

typedef struct Query Query;

/* `default_sort` is a sort expression that must be valid. ERROR_INVALID, ERROR_UNKNOWN_FIELD name the
 * parameter. */
bool query_parse(const TypeDescriptor *type, const HttpTarget *target, const char *default_sort,
    Query **ret_query, Error *err);
void query_free(Query *query); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Query, query_free)

/* No filter, and the default order: a list that is kept in it needs to encode no more than the page. */
bool query_is_plain(const Query *query);
bool query_has_cursor(const Query *query);
size_t query_limit(const Query *query);
/* In the order by name: whether the cursor's item comes before this one; true without a cursor. */
bool query_is_behind(const Query *query, const char *name, const char *id);

/* The fields (MODEL_BIT) that decide about a row: whether it matches, and where it stands. */
uint64_t query_fields(const Query *query);
bool query_matches(const Query *query, const json_t *row);
/* The fields that were asked for. */
uint64_t query_chosen(const Query *query);
/* Where a page goes on that ends with that object, in the order by name; newly allocated. */
char *query_cursor_behind(const char *name, const char *id);
/* What was asked for of a row, a new reference. */
json_t *query_choose(const Query *query, json_t *row);
/* {"items":[…],"next":"…"}; `next` only when more follow. `rows` is an array of json_t that match. Reorders
 * it. */
json_t *query_page(const Query *query, GPtrArray *rows);
