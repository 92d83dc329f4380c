/*
 * Errors on the wire: {"code":"not-found","field":"/x","message":"…","cause":{…}}. Code by name; a name that
 * this version does not know becomes ERROR_INTERNAL. At most RPC_MAX_CAUSES causes travel. Any thread.
 */
#pragma once
#include "base/error.h"

typedef struct json_t json_t;

#define RPC_MAX_CAUSES 16

json_t *rpc_error_to_json(const Error *error); /* owned by the caller */
/* False with ERROR_PROTOCOL when `json` is not an error; then *ret_error stays untouched. */
bool rpc_error_from_json(const json_t *json, Error *ret_error, Error *err);
