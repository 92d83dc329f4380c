/*
 * What root may do with a VM on the host itself while its manager is away: pure. A VM never runs twice,
 * whatever the manager has decided meanwhile: what may have gone to another host, or may be coming from one,
 * is left alone until the manager is back (docs/many-hosts.md, "Without the manager").
 */
#pragma once
#include "base/error.h"
#include "hypervisor/migration-rules.h"

typedef enum LocalAction { LOCAL_START, LOCAL_STOP, LOCAL_KILL } LocalAction;

/* What the agent knows by itself. */
typedef struct LocalAdmission {
    bool is_manager_connected;
    const char *operation; /* the manager's that works on the VM now, by its method; NULL: none */
    const char *migration; /* what the journal remembers of a move of it, in words; NULL: nothing */
} LocalAdmission;
/* Before anything is looked at. ERROR_WRONG_STATE, ERROR_CLAIMED. */
bool local_admits(LocalAction action, const LocalAdmission *admission, Error *err);

/* What its files and its hypervisor show. */
typedef struct LocalView {
    const char *host;            /* this one's id */
    bool has_definition;         /* it lies in a repository of this host */
    const char *definition_host; /* the host that it names, or NULL */
    MigrationHere here;          /* MIGRATION_NOTHING where the driver moves no VMs */
    bool is_running;             /* as a VM of this instance */
} LocalView;
/* ERROR_WRONG_STATE, ERROR_NOT_FOUND. */
bool local_may(LocalAction action, const LocalView *view, Error *err);
