/* A job's end as a line of the audit. */
#include "jobs/job-audit.h"

enum { TEXT_LENGTH = 250 };

void job_audit_end(Inventory *inventory, const Job *job) {
    if (job->parent || !job->principal)
        return;
    g_auto(Event) event = {0};
    bool has_failed = job->state == JOB_STATE_FAILED && job_has(job, JOB_FIELD_ERROR);
    event_set_time(&event, job->ended);
    event_set_principal(&event, job->principal);
    event_set_source(&event, job->source);
    event_set_method(&event, job->kind);
    event_set_object(&event, job->target);
    event_set_name(&event, job->target_name);
    event_set_job(&event, job->id);
    event_set_outcome(&event, has_failed                          ? job->error.code
                              : job->state == JOB_STATE_SUCCEEDED ? "ok"
                                                                  : "cancelled");
    if (has_failed && job->error.detail) {
        g_autofree char *text =
            g_utf8_substring(job->error.detail, 0, MIN(g_utf8_strlen(job->error.detail, -1), TEXT_LENGTH));
        event_set_text(&event, text);
    }
    inventory_audit(inventory, &event);
}
