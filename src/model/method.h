/*
 * Resources, REST methods, agent methods and roles as tables, generated from the schema. They drive the API's
 * routes and permission checks, the agent's dispatch, and the command line. Static data; any thread.
 */
#pragma once
#include "methods.h"

typedef struct ColumnDescriptor {
    const char *title, *path; /* path as for json_at; a row with NULLs ends a list */
} ColumnDescriptor;

typedef struct ResourceDescriptor {
    const char *name, *plural, *doc;
    const TypeDescriptor *type;
    bool is_singleton;
    const ColumnDescriptor *columns, *wide; /* what a list shows; what `-o wide` adds */
} ResourceDescriptor;

typedef enum MethodKind {
    METHOD_KIND_LIST,
    METHOD_KIND_GET,
    METHOD_KIND_READ, /* GET of something that belongs to one object and is not stored */
    METHOD_KIND_CREATE,
    METHOD_KIND_UPDATE,
    METHOD_KIND_DELETE,
    METHOD_KIND_ACTION,            /* POST on one object */
    METHOD_KIND_COLLECTION_ACTION, /* POST beside the objects */
    METHOD_KIND_STREAM,            /* server-sent events */
    METHOD_KIND_FEED,              /* POST beside the objects; rows as they are found, one JSON a line */
    METHOD_KIND_WEBSOCKET,
    METHOD_KIND_SINGLETON_GET,
    METHOD_KIND_SINGLETON_ACTION,
    METHOD_KIND_DOWNLOAD,
} MethodKind;

typedef struct MethodDescriptor {
    const char *name; /* "vm.start" */
    ResourceId resource;
    ResourceId rows;  /* what a list or a read shows; `resource` unless it belongs to one object of that */
    const char *verb; /* on the command line */
    MethodKind kind;
    const char *http, *path; /* "POST", "/v1/vms/{id}/start" */
    const char *doc;
    const TypeDescriptor *parameters, *result;
    const char *permission; /* "vm.operate"; "anyone" needs no log-in */
    bool is_job, has_dry_run, needs_confirmation, is_upload, is_in_cli;
    const char *confirm_for;  /* asked for only when this parameter is true; NULL: always */
    AgentMethodId host_local; /* serves it on a host without its manager; AGENT_METHOD_MAX: none does */
} MethodDescriptor;

typedef struct AgentMethodDescriptor {
    const char *name, *doc;
    const TypeDescriptor *parameters, *result;
    bool is_free;       /* answered to anybody whom the transport lets in */
    bool is_local;      /* on the machine's own socket only */
    bool is_root;       /* and there to root only */
    bool is_peer;       /* asked by another host of the same owner that is expected */
    bool is_change;     /* needs an operation id */
    const char *object; /* kind of the object whose claim it needs, or NULL */
} AgentMethodDescriptor;

typedef struct RoleDescriptor {
    const char *const *permissions; /* NULL-terminated patterns: "vm.view", "*.view", "*" */
} RoleDescriptor;

extern const ResourceDescriptor resources[RESOURCE_MAX];
extern const MethodDescriptor methods[METHOD_MAX];
extern const AgentMethodDescriptor agent_methods[AGENT_METHOD_MAX];
extern const RoleDescriptor role_permissions[ROLE_MAX];

/* RESOURCE_MAX, METHOD_MAX, AGENT_METHOD_MAX when there is none. */
ResourceId resource_find(const char *name);
AgentMethodId agent_method_find(const char *name);
/* The method behind a verb of the command line. */
MethodId method_find(ResourceId resource, const char *verb);
bool role_permits(Role role, const char *permission);
