/*
 * What came of what somebody asked for, for the audit; its beginning is told where it was asked. Main loop
 * only.
 */
#pragma once
#include "inventory/inventory.h"

/* Nothing for a job that is part of another one, or that nobody asked for. */
void job_audit_end(Inventory *inventory, const Job *job);
