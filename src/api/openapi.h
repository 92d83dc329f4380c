/* The API's description for machines (OpenAPI 3.1), generated from the schema. Static; any thread. */
#pragma once

extern const char openapi_json[];
