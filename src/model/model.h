/*
 * The descriptor engine. The schema declares every type; tools/generate makes of it plain structs with
 * presence bits (generated types.h) and the tables below; the functions here decode, validate, encode, copy,
 * compare and clear any of them. Absent, null and default are three things: a field whose bit in `present` is
 * clear is absent, whatever its bytes.
 *
 * A struct owns all it points to. All-zero bytes are a valid empty object. Any thread, one at a time per
 * object.
 */
#pragma once
#include <stdint.h>
#include "model/json.h"

#define MODEL_BIT(field) (UINT64_C(1) << (field))
/* Sizes are integers that every JSON reader keeps exactly. */
#define MODEL_SIZE_MAX ((INT64_C(1) << 53) - 1)

typedef struct EnumValue {
    const char *name, *doc;
} EnumValue;

typedef struct EnumDescriptor {
    const char *name, *doc;
    const EnumValue *values;
    size_t n_values;
} EnumDescriptor;

typedef enum FieldKind {
    FIELD_BOOL,   /* bool */
    FIELD_INT,    /* int64_t */
    FIELD_SIZE,   /* uint64_t bytes, at most MODEL_SIZE_MAX */
    FIELD_STRING, /* char *, UTF-8 */
    FIELD_ENUM,   /* int-sized enum */
    FIELD_TIME,   /* int64_t ns since 1970; RFC 3339 in JSON */
    FIELD_OBJECT, /* struct, embedded */
    FIELD_JSON,   /* json_t *, any value */
} FieldKind;

typedef enum StringFormat {
    FORMAT_LINE,         /* no control characters */
    FORMAT_TEXT,         /* also newline and tab */
    FORMAT_NAME,         /* as a host name (RFC 1123): 1-63 of letters, digits, hyphen, dot */
    FORMAT_NAME_PATTERN, /* a name that may contain `{n}` once */
    FORMAT_TAG,          /* 1-63 of letters, digits, and -_.:/= */
    FORMAT_PATH,         /* absolute, no "..", no control characters */
    FORMAT_UUID,         /* RFC 9562, lower case */
    FORMAT_MAC,          /* six bytes, colons, unicast; kept in lower case */
    FORMAT_MAC_RANGE,    /* the first three bytes of MACs: locally administered, unicast */
    FORMAT_SSH_KEY, /* one line of an OpenSSH public key file (sshd(8), AUTHORIZED_KEYS) without options */
    FORMAT_SUBNET, /* an IPv4 network for private use (RFC 1918, 6598, 2544), "10.0.0.0/24", prefix 8 to 29 */
    FORMAT_INTERFACE, /* name of a Linux network interface */
    FORMAT_MODULE,    /* name of a Linux kernel module; kept with `_` for `-` */
    FORMAT_KEYMAP,    /* a keyboard layout as XKB names it, with a variant or without: "de(nodeadkeys)" */
    FORMAT_REFERENCE, /* a name or an id of another resource */
} StringFormat;

typedef enum FieldFlag {
    FIELD_REQUIRED = 1 << 0,
    FIELD_READ_ONLY = 1 << 1,   /* set by Lodge only */
    FIELD_WRITE_ONLY = 1 << 2,  /* never shown, never stored */
    FIELD_CREATE_ONLY = 1 << 3, /* cannot be changed later */
    FIELD_SECRET = 1 << 4,      /* not in logs, events, vm.json */
    FIELD_TYPED = 1 << 6,       /* a secret that is soon worth nothing: may stand on a command line */
    FIELD_HIDDEN = 1 << 7,      /* stored, never shown to clients */
    FIELD_RUNTIME = 1 << 5,     /* state, not definition: never stored, does not change the ETag */
} FieldFlag;

typedef struct TypeDescriptor TypeDescriptor;
typedef struct FieldDescriptor {
    const char *name, *doc;
    FieldKind kind;
    StringFormat format;
    bool is_list;
    int flags;
    size_t offset;
    int64_t minimum, maximum; /* numbers: their range; strings: maximum is the length in bytes */
    size_t max_items;
    const EnumDescriptor *enumeration;
    const TypeDescriptor *type;
    const char *reference;    /* kind of the resource that a FORMAT_REFERENCE names */
    const char *default_text; /* as in JSON without quotes, or NULL */
    const char *unit;
    const char *when_field, *when_value; /* allowed only while that enum field has that value */
    const char *cli;                     /* flag name, "positional", "none", or NULL for the field's name */
    bool cli_file;                       /* on the command line: the name of a file with the value */
} FieldDescriptor;

struct TypeDescriptor {
    const char *name, *doc;
    size_t size;
    const FieldDescriptor *fields;
    size_t n_fields;
};

/* Layout of every generated list. */
typedef struct ModelList {
    void *items;
    size_t n;
} ModelList;

typedef enum ModelMode {
    MODEL_INPUT,  /* from a client: unknown and read-only fields and missing required ones are errors; null
                     means absent */
    MODEL_PATCH,  /* as MODEL_INPUT, but create-only fields are errors too and required ones may be absent */
    MODEL_STORED, /* our own: all fields allowed, unknown ones ignored */
} ModelMode;

typedef enum ModelEncoding {
    MODEL_ENCODE_ALL,        /* between Lodge's own processes */
    MODEL_ENCODE_PUBLIC,     /* for clients: without secret and write-only fields */
    MODEL_ENCODE_DEFINITION, /* for the store: without runtime and write-only fields */
    MODEL_ENCODE_REPLICA,    /* for vm.json: without runtime and secret fields */
} ModelEncoding;

/* Decodes into *object, which is overwritten and left empty on failure. The error names the field by JSON
 * pointer. */
bool model_decode(const TypeDescriptor *type, const json_t *json, ModelMode mode, void *object, Error *err);
/* A new JSON object with the present fields in the schema's order. */
json_t *model_encode(const TypeDescriptor *type, const void *object, ModelEncoding encoding);
/* Those of them whose MODEL_BIT is in `fields`. */
json_t *model_encode_some(
    const TypeDescriptor *type, const void *object, ModelEncoding encoding, uint64_t fields);
/* The same as text, without the tree between: several times as fast. */
void model_write(
    const TypeDescriptor *type, const void *object, ModelEncoding encoding, uint64_t fields, GString *text);
/* Removes from JSON without a type of its own (parameters, plans, what steps remember) every member that has
 * the name of a secret field of any type but the agent's own, at any depth. NULL is accepted. */
void model_drop_secrets(json_t *json);
extern const char *const model_secret_names[]; /* generated; NULL-terminated */
/* Checks a single value's format and length; the error's field is the field's name. */
/* The way in which the value is kept (a MAC in lower case); newly allocated. */
char *model_normal_string(const FieldDescriptor *field, const char *value);
bool model_check_string(const FieldDescriptor *field, const char *value, Error *err);

void model_clear(const TypeDescriptor *type, void *object);
void model_free(const TypeDescriptor *type, void *object); /* from g_new0; accepts NULL */
void model_copy(
    const TypeDescriptor *type, void *destination, const void *source); /* destination is overwritten */
bool model_equal(const TypeDescriptor *type, const void *a, const void *b);
/* Sets the schema's defaults where a field is absent; also in present nested objects. */
void model_apply_defaults(const TypeDescriptor *type, void *object);
/* JSON pointers of the top-level fields that differ; NULL-terminated, newly allocated. */
char **model_diff(const TypeDescriptor *type, const void *a, const void *b);
/* A valid random object, for round-trip tests. */
void model_random(const TypeDescriptor *type, GRand *random, void *object);

const FieldDescriptor *model_field(
    const TypeDescriptor *type, const char *name); /* NULL when there is none */
const char *model_enum_name(const EnumDescriptor *enumeration, int value);
char *model_enum_names(const EnumDescriptor *enumeration); /* "one, two", newly allocated */
int model_enum_value(
    const EnumDescriptor *enumeration, const char *name); /* -1 when there is no such value */
size_t model_value_size(const FieldDescriptor *field);    /* bytes of one value, of one item for a list */

/* Whether a field with `when` belongs to the branch that the object has chosen. */
bool model_is_branch_open(const TypeDescriptor *type, const void *object, const FieldDescriptor *field);

/* Used by generated setters. */
void model_string_set(
    uint64_t *present, uint64_t bit, char **field, const char *value); /* NULL makes it absent */
void model_json_set(uint64_t *present, uint64_t bit, json_t **field, json_t *take_value);
void *model_list_add(void *list, size_t item_size); /* a zeroed new last item */
