/*
 * Joins the body of an upload with a stream to the agent that has the repository. Bytes go through in small
 * blocks: who is slow slows the other one down. Main loop only.
 */
#pragma once
#include "api/api.h"
#include "manager/fleet.h"

typedef struct UploadBridge UploadBridge;

/* How much the agent keeps of it. `done` exactly once, perhaps before this returns. */
void upload_bridge_ask(
    Fleet *fleet, Inventory *inventory, const ApiUpload *upload, ApiUploadFn done, void *done_data);
/* Inside on_headers: takes the request's body. `done` exactly once, with what the agent then keeps; when it
 * is called the bridge is gone. NULL when it was called already. */
UploadBridge *upload_bridge_begin(Fleet *fleet, Inventory *inventory, HttpRequest *request,
    const ApiUpload *upload, ApiUploadFn done, void *done_data);
/* The body is complete. */
void upload_bridge_end(UploadBridge *bridge);
