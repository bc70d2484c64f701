/* metadata.c: the keys and values of a GGUF file: parsed and checked once, then read in place.
 *
 * The table belongs to the reader that made it and points into the file's bytes.  After parsing it
 * is immutable: any thread may read it. */
#include "gguf.h"

#include <float.h>

static const struct {
    const char *name;
    uint32_t bytes;
} value_types[] = {
#define VALUE_TYPE(name, id, bytes) [id] = {#name, bytes},
    HY_GGUF_TYPE_LIST(VALUE_TYPE)
#undef VALUE_TYPE
};

const char *hy__gguf_type_name(unsigned id)
{
    return id < HY_COUNT(value_types) ? value_types[id].name : "?";
}

uint32_t hy__gguf_type_bytes(uint32_t id)
{
    return id < HY_COUNT(value_types) ? value_types[id].bytes : 0;
}

/* ---- parsing */

/* What is being parsed, for sentences. */
typedef struct parser {
    const hy_env *env;
    hy__gguf_cursor *c;
    hy__gguf_kv *kv;
    hy_error *err;
    size_t index; /* of the key */
    uint64_t at;  /* where its record begins */
    hy_str name;  /* empty until it was read */
} parser;

/* "key 'general.name' at offset 24: WHAT" */
static hy_status bad(const parser *p, hy_status code, const char *what)
{
    char shown[HY__GGUF_SHOWN];
    return hy__fail(p->err, code, "key '%s' at offset %" PRIu64 ": %s",
                    hy__printable(p->name, shown, sizeof shown), p->at, what);
}

static hy_status bad_number(const parser *p, hy_status code, const char *what, uint64_t is,
                            const char *but, uint64_t limit)
{
    char shown[HY__GGUF_SHOWN];
    return hy__fail(p->err, code, "key '%s' at offset %" PRIu64 ": %s %" PRIu64 ", %s %" PRIu64,
                    hy__printable(p->name, shown, sizeof shown), p->at, what, is, but, limit);
}

static hy_status parse_name(parser *p)
{
    const uint8_t *b = hy__gguf_take(p->c, 8);
    if (!b) {
        return hy__fail(p->err, HY_E_TRUNCATED,
                        "key number %zu at offset %" PRIu64
                        ": the file ends inside its name's length",
                        p->index, p->at);
    }
    const uint64_t len = hy__load_u64(b);
    if (len > hy__gguf_left(p->c)) {
        return hy__fail(p->err, HY_E_TRUNCATED,
                        "key number %zu at offset %" PRIu64 ": its name is said to have %" PRIu64
                        " bytes, the file has %" PRIu64 " left",
                        p->index, p->at, len, hy__gguf_left(p->c));
    }
    if (len > HY__GGUF_MAX_KEY_BYTES) {
        return hy__fail(p->err, HY_E_LIMIT,
                        "key number %zu at offset %" PRIu64 ": its name has %" PRIu64
                        " bytes, the limit is %u",
                        p->index, p->at, len, HY__GGUF_MAX_KEY_BYTES);
    }
    if (len == 0) {
        return hy__fail(p->err, HY_E_FORMAT,
                        "key number %zu at offset %" PRIu64 " has an empty name", p->index, p->at);
    }
    p->name = (hy_str){(const char *)hy__gguf_take(p->c, len), (size_t)len};
    if (memchr(p->name.data, 0, p->name.len)) {
        return bad(p, HY_E_FORMAT, "a NUL byte in the name of a key");
    }
    return HY_OK;
}

static hy_status parse_string(parser *p)
{
    const uint64_t at = p->c->pos;
    const uint8_t *b = hy__gguf_take(p->c, 8);
    if (!b) {
        return bad(p, HY_E_TRUNCATED, "the file ends inside the length of a string");
    }
    const uint64_t len = hy__load_u64(b);
    if (len > hy__gguf_left(p->c)) {
        return bad_number(p, HY_E_TRUNCATED, "the length of a string is", len,
                          "more than what the file has left after offset", at + 8);
    }
    if (len > HY__GGUF_MAX_STRING_BYTES) {
        return bad_number(p, HY_E_LIMIT, "the length of a string is", len, "the limit is",
                          HY__GGUF_MAX_STRING_BYTES);
    }
    (void)hy__gguf_take(p->c, len);
    return HY_OK;
}

/* Bools are one byte, 0 or 1: another value would mean different things to different readers. */
static hy_status check_bools(parser *p, const uint8_t *b, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (b[i] > 1) {
            return bad_number(p, HY_E_FORMAT, "a bool is", b[i], "allowed are 0 and", 1);
        }
    }
    return HY_OK;
}

/* Room for n more strings. */
static hy_status grow_strings(parser *p, size_t n)
{
    hy__gguf_kv *kv = p->kv;
    if (n <= kv->cap_strings - kv->n_strings) {
        return HY_OK;
    }
    const size_t cap = HY_MAX(kv->n_strings + n, kv->n_strings + kv->n_strings / 2);
    uint32_t *grown = hy__realloc(p->env, kv->strings, cap, sizeof *grown, p->err);
    if (!grown) {
        return HY_E_NOMEM;
    }
    kv->strings = grown;
    kv->cap_strings = cap;
    return HY_OK;
}

/* `count` strings: checks each and notes where it begins, so that reading one later needs no
 * search. */
static hy_status parse_strings(parser *p, hy__gguf_key *key, uint64_t count)
{
    hy__gguf_kv *kv = p->kv;
    if (count > HY__GGUF_MAX_STRINGS - kv->n_strings) {
        return bad_number(p, HY_E_LIMIT, "an array of strings, number", count,
                          "with those before it over the limit of", HY__GGUF_MAX_STRINGS);
    }
    HY_TRY(grow_strings(p, (size_t)count));
    const uint64_t first = p->c->pos;
    key->strings = (uint32_t)kv->n_strings;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t at = p->c->pos - first;
        if (at > UINT32_MAX) {
            return bad_number(p, HY_E_LIMIT, "the strings of an array take", at, "the limit is",
                              UINT32_MAX);
        }
        kv->strings[kv->n_strings++] = (uint32_t)at;
        HY_TRY(parse_string(p));
    }
    return HY_OK;
}

static hy_status parse_array(parser *p, hy__gguf_key *key)
{
    const uint8_t *b = hy__gguf_take(p->c, 12);
    if (!b) {
        return bad(p, HY_E_TRUNCATED, "the file ends inside the head of an array");
    }
    const uint32_t elem = hy__load_u32(b);
    const uint64_t count = hy__load_u64(b + 4);
    if (elem == HY_GGUF_ARRAY) {
        return bad(p, HY_E_UNSUPPORTED,
                   "an array of arrays, which no model uses and Halyard refuses");
    }
    if (elem >= HY_COUNT(value_types)) {
        return bad_number(p, HY_E_FORMAT, "the element type of an array is", elem,
                          "the last known is", 12);
    }
    key->elem_type = (uint8_t)elem;
    const uint32_t bytes = elem == HY_GGUF_STRING ? 8 : value_types[elem].bytes;
    if (count > hy__gguf_left(p->c) / bytes) {
        return bad_number(p, HY_E_TRUNCATED, "the count of an array is", count,
                          "more than what the file has left after offset", p->c->pos);
    }
    if (elem == HY_GGUF_STRING) {
        return parse_strings(p, key, count);
    }
    if (count > HY__GGUF_MAX_ELEMS) {
        return bad_number(p, HY_E_LIMIT, "the count of an array is", count, "the limit is",
                          HY__GGUF_MAX_ELEMS);
    }
    b = hy__gguf_take(p->c, count * bytes);
    return elem == HY_GGUF_BOOL ? check_bools(p, b, count) : HY_OK;
}

static hy_status parse_value(parser *p, hy__gguf_key *key)
{
    const uint8_t *b = hy__gguf_take(p->c, 4);
    if (!b) {
        return bad(p, HY_E_TRUNCATED, "the file ends inside the type of the value");
    }
    const uint32_t type = hy__load_u32(b);
    if (type >= HY_COUNT(value_types)) {
        return bad_number(p, HY_E_FORMAT, "the type of the value is", type, "the last known is",
                          12);
    }
    key->offset = p->c->pos;
    key->type = key->elem_type = (uint8_t)type;
    if (type == HY_GGUF_STRING) {
        return parse_string(p);
    }
    if (type == HY_GGUF_ARRAY) {
        return parse_array(p, key);
    }
    b = hy__gguf_take(p->c, value_types[type].bytes);
    if (!b) {
        return bad(p, HY_E_TRUNCATED, "the file ends inside the value");
    }
    return type == HY_GGUF_BOOL ? check_bools(p, b, 1) : HY_OK;
}

hy_status hy__gguf_kv_parse(const hy_env *env, hy__gguf_cursor *c, size_t n_kv, hy__gguf_kv *kv,
                            hy_error *err)
{
    kv->data = c->data;
    kv->keys = hy__calloc(env, n_kv, sizeof *kv->keys, err);
    if (!kv->keys) {
        return HY_E_NOMEM;
    }
    HY_TRY(hy__strmap_init(env, &kv->map, n_kv, err));
    parser p = {env, c, kv, err, 0, 0, {NULL, 0}};
    for (; p.index < n_kv; p.index++) {
        hy__gguf_key *key = &kv->keys[p.index];
        p.at = c->pos;
        p.name = (hy_str){NULL, 0};
        HY_TRY(parse_name(&p));
        key->name_len = (uint16_t)p.name.len;
        if (!hy__strmap_put(&kv->map, p.name.data, p.name.len, (uint32_t)p.index)) {
            uint32_t first = 0;
            (void)hy__strmap_get(&kv->map, p.name.data, p.name.len, &first);
            return bad_number(&p, HY_E_FORMAT, "the same name as key number", first,
                              "whose value is at offset", kv->keys[first].offset);
        }
        HY_TRY(parse_value(&p, key));
        kv->n = p.index + 1;
    }
    return HY_OK;
}

void hy__gguf_kv_finish(const hy_env *env, hy__gguf_kv *kv)
{
    hy__free(env, kv->keys);
    hy__free(env, kv->strings);
    hy__strmap_finish(env, &kv->map);
    memset(kv, 0, sizeof *kv);
}

/* ---- reading what was parsed: no check of the file is left to do here */

ptrdiff_t hy__gguf_kv_find(const hy__gguf_kv *kv, const char *name)
{
    uint32_t i;
    return hy__strmap_get(&kv->map, name, strlen(name), &i) ? (ptrdiff_t)i : -1;
}

static const uint8_t *value_at(const hy__gguf_kv *kv, size_t key)
{
    return kv->data + (size_t)kv->keys[key].offset;
}

hy_str hy__gguf_kv_name(const hy__gguf_kv *kv, size_t key)
{
    const size_t len = kv->keys[key].name_len;
    return (hy_str){(const char *)value_at(kv, key) - 4 - len, len};
}

size_t hy__gguf_kv_count(const hy__gguf_kv *kv, size_t key)
{
    return kv->keys[key].type == HY_GGUF_ARRAY ? (size_t)hy__load_u64(value_at(kv, key) + 4) : 1;
}

/* Element i of key, NULL if there is no such; strings: at their length. */
static const uint8_t *elem_at(const hy__gguf_kv *kv, size_t key, size_t i)
{
    if (key >= kv->n || i >= hy__gguf_kv_count(kv, key)) {
        return NULL;
    }
    const hy__gguf_key *k = &kv->keys[key];
    const uint8_t *p = value_at(kv, key);
    if (k->type != HY_GGUF_ARRAY) {
        return p;
    }
    if (k->elem_type == HY_GGUF_STRING) {
        return p + 12 + kv->strings[k->strings + i];
    }
    return p + 12 + i * value_types[k->elem_type].bytes;
}

bool hy__gguf_kv_uint(const hy__gguf_kv *kv, size_t key, size_t i, uint64_t *out)
{
    const uint8_t *p = elem_at(kv, key, i);
    if (!p) {
        return false;
    }
    int64_t v;
    switch (kv->keys[key].elem_type) {
    case HY_GGUF_UINT8:
    case HY_GGUF_BOOL: *out = p[0]; return true;
    case HY_GGUF_UINT16: *out = hy__load_u16(p); return true;
    case HY_GGUF_UINT32: *out = hy__load_u32(p); return true;
    case HY_GGUF_UINT64: *out = hy__load_u64(p); return true;
    case HY_GGUF_INT8: v = (int8_t)p[0]; break;
    case HY_GGUF_INT16: v = (int16_t)hy__load_u16(p); break;
    case HY_GGUF_INT32: v = (int32_t)hy__load_u32(p); break;
    case HY_GGUF_INT64: v = (int64_t)hy__load_u64(p); break;
    default: return false;
    }
    if (v < 0) {
        return false;
    }
    *out = (uint64_t)v;
    return true;
}

static bool kv_int(const hy__gguf_kv *kv, size_t key, size_t i, int64_t *out)
{
    uint64_t u;
    if (hy__gguf_kv_uint(kv, key, i, &u)) {
        if (u > INT64_MAX) {
            return false;
        }
        *out = (int64_t)u;
        return true;
    }
    const uint8_t *p = elem_at(kv, key, i);
    if (!p) {
        return false;
    }
    switch (kv->keys[key].elem_type) { /* what is left are negative numbers */
    case HY_GGUF_INT8: *out = (int8_t)p[0]; return true;
    case HY_GGUF_INT16: *out = (int16_t)hy__load_u16(p); return true;
    case HY_GGUF_INT32: *out = (int32_t)hy__load_u32(p); return true;
    case HY_GGUF_INT64: *out = (int64_t)hy__load_u64(p); return true;
    default: return false;
    }
}

static bool kv_float(const hy__gguf_kv *kv, size_t key, size_t i, double *out)
{
    const uint8_t *p = elem_at(kv, key, i);
    if (!p || kv->keys[key].elem_type == HY_GGUF_BOOL) {
        return false;
    }
    if (kv->keys[key].elem_type == HY_GGUF_FLOAT32) {
        *out = (double)hy__f32_from_bits(hy__load_u32(p));
        return true;
    }
    if (kv->keys[key].elem_type == HY_GGUF_FLOAT64) {
        const uint64_t bits = hy__load_u64(p);
        memcpy(out, &bits, sizeof *out);
        return true;
    }
    uint64_t u;
    int64_t v;
    if (hy__gguf_kv_uint(kv, key, i, &u)) {
        *out = (double)u;
        return true;
    }
    if (kv_int(kv, key, i, &v)) {
        *out = (double)v;
        return true;
    }
    return false;
}

bool hy__gguf_kv_str(const hy__gguf_kv *kv, size_t key, size_t i, hy_str *out)
{
    const uint8_t *p = elem_at(kv, key, i);
    if (!p || kv->keys[key].elem_type != HY_GGUF_STRING) {
        return false;
    }
    *out = (hy_str){(const char *)p + 8, (size_t)hy__load_u64(p)};
    return true;
}

hy_str hy__gguf_kv_value(const hy__gguf_kv *kv, size_t key)
{
    const hy__gguf_key *k = &kv->keys[key];
    const char *begin = (const char *)value_at(kv, key);
    const size_t n = hy__gguf_kv_count(kv, key);
    const size_t head = k->type == HY_GGUF_ARRAY ? 12 : 0;
    if (k->elem_type != HY_GGUF_STRING) {
        return (hy_str){begin, head + n * value_types[k->elem_type].bytes};
    }
    hy_str last;
    if (n == 0 || !hy__gguf_kv_str(kv, key, n - 1, &last)) {
        return (hy_str){begin, head};
    }
    return (hy_str){begin, (size_t)(last.data + last.len - begin)};
}

/* ---- scalars by name */

static const char *class_of(const hy__gguf_kv *kv, size_t key)
{
    return kv->keys[key].type == HY_GGUF_ARRAY ? "an array of " : "";
}

static hy_status wrong_type(const hy__gguf_kv *kv, size_t key, const char *wanted, hy_error *err)
{
    char shown[HY__GGUF_SHOWN];
    return hy__fail(
        err, HY_E_FORMAT, "key '%s' at offset %" PRIu64 ": the value is %s%s, wanted is %s",
        hy__printable(hy__gguf_kv_name(kv, key), shown, sizeof shown), kv->keys[key].offset,
        class_of(kv, key), hy__gguf_type_name(kv->keys[key].elem_type), wanted);
}

hy_status hy__gguf_kv_get_u32(const hy__gguf_kv *kv, const char *name, uint32_t min, uint32_t max,
                              uint32_t *out, hy_error *err)
{
    *out = 0;
    const ptrdiff_t found = hy__gguf_kv_find(kv, name);
    if (found < 0) {
        return HY_E_NOT_FOUND;
    }
    const size_t key = (size_t)found;
    uint64_t u = 0;
    int64_t v = 0;
    const bool is_uint = hy__gguf_kv_uint(kv, key, 0, &u);
    if (kv->keys[key].type == HY_GGUF_ARRAY || kv->keys[key].type == HY_GGUF_BOOL ||
        (!is_uint && !kv_int(kv, key, 0, &v))) {
        return wrong_type(kv, key, "an integer", err);
    }
    if (!is_uint) {
        return hy__fail(err, HY_E_FORMAT,
                        "key '%s' at offset %" PRIu64 ": %" PRId64 " is outside of %" PRIu32
                        "..%" PRIu32,
                        name, kv->keys[key].offset, v, min, max);
    }
    if (u < min || u > max) {
        return hy__fail(err, HY_E_FORMAT,
                        "key '%s' at offset %" PRIu64 ": %" PRIu64 " is outside of %" PRIu32
                        "..%" PRIu32,
                        name, kv->keys[key].offset, u, min, max);
    }
    *out = (uint32_t)u;
    return HY_OK;
}

hy_status hy__gguf_kv_alignment(const hy__gguf_kv *kv, uint32_t *out, hy_error *err)
{
    *out = HY__GGUF_DEFAULT_ALIGNMENT;
    const ptrdiff_t found = hy__gguf_kv_find(kv, "general.alignment");
    if (found < 0) {
        return HY_OK;
    }
    const size_t key = (size_t)found;
    if (kv->keys[key].type != HY_GGUF_UINT32) {
        return wrong_type(kv, key, "UINT32", err);
    }
    const uint32_t a = hy__load_u32(value_at(kv, key));
    if (!hy__gguf_alignment_ok(a)) {
        return hy__fail(err, HY_E_FORMAT,
                        "key 'general.alignment' at offset %" PRIu64 ": %" PRIu32
                        " is not a power of two from %u to %u",
                        kv->keys[key].offset, a, HY__GGUF_MIN_ALIGNMENT, HY__GGUF_MAX_ALIGNMENT);
    }
    *out = a;
    return HY_OK;
}

/* ---- the public side */

size_t hy_gguf_n_keys(const hy_gguf *g)
{
    return hy__gguf_metadata(g)->n;
}

hy_str hy_gguf_key_name(const hy_gguf *g, size_t key)
{
    return hy__gguf_kv_name(hy__gguf_metadata(g), key);
}

hy_gguf_type hy_gguf_key_type(const hy_gguf *g, size_t key)
{
    return (hy_gguf_type)hy__gguf_metadata(g)->keys[key].type;
}

uint64_t hy_gguf_key_offset(const hy_gguf *g, size_t key)
{
    return hy__gguf_metadata(g)->keys[key].offset;
}

hy_gguf_type hy_gguf_elem_type(const hy_gguf *g, size_t key)
{
    return (hy_gguf_type)hy__gguf_metadata(g)->keys[key].elem_type;
}

size_t hy_gguf_elem_count(const hy_gguf *g, size_t key)
{
    return hy__gguf_kv_count(hy__gguf_metadata(g), key);
}

ptrdiff_t hy_gguf_find_key(const hy_gguf *g, const char *name)
{
    return hy__gguf_kv_find(hy__gguf_metadata(g), name);
}

bool hy_gguf_elem_int(const hy_gguf *g, size_t key, size_t i, int64_t *out)
{
    return kv_int(hy__gguf_metadata(g), key, i, out);
}

bool hy_gguf_elem_uint(const hy_gguf *g, size_t key, size_t i, uint64_t *out)
{
    return hy__gguf_kv_uint(hy__gguf_metadata(g), key, i, out);
}

bool hy_gguf_elem_float(const hy_gguf *g, size_t key, size_t i, double *out)
{
    return kv_float(hy__gguf_metadata(g), key, i, out);
}

bool hy_gguf_elem_str(const hy_gguf *g, size_t key, size_t i, hy_str *out)
{
    return hy__gguf_kv_str(hy__gguf_metadata(g), key, i, out);
}

hy_status hy_gguf_get_u32(const hy_gguf *g, const char *name, uint32_t min, uint32_t max,
                          uint32_t *out, hy_error *err)
{
    return hy__gguf_kv_get_u32(hy__gguf_metadata(g), name, min, max, out, err);
}

hy_status hy_gguf_get_f32(const hy_gguf *g, const char *name, float *out, hy_error *err)
{
    const hy__gguf_kv *kv = hy__gguf_metadata(g);
    *out = 0;
    const ptrdiff_t found = hy__gguf_kv_find(kv, name);
    if (found < 0) {
        return HY_E_NOT_FOUND;
    }
    const size_t key = (size_t)found;
    double d = 0;
    if ((kv->keys[key].type != HY_GGUF_FLOAT32 && kv->keys[key].type != HY_GGUF_FLOAT64) ||
        !kv_float(kv, key, 0, &d)) {
        return wrong_type(kv, key, "FLOAT32", err);
    }
    /* A finite number must not turn into an infinite one; infinities and NaN are for the caller to
     * judge. */
    if ((d > FLT_MAX && d <= DBL_MAX) || (d < -FLT_MAX && d >= -DBL_MAX)) {
        return hy__fail(err, HY_E_FORMAT,
                        "key '%s' at offset %" PRIu64 ": %g is outside of the range of FLOAT32",
                        name, kv->keys[key].offset, d);
    }
    *out = (float)d;
    return HY_OK;
}

hy_status hy_gguf_get_bool(const hy_gguf *g, const char *name, bool *out, hy_error *err)
{
    const hy__gguf_kv *kv = hy__gguf_metadata(g);
    *out = false;
    const ptrdiff_t found = hy__gguf_kv_find(kv, name);
    if (found < 0) {
        return HY_E_NOT_FOUND;
    }
    if (kv->keys[found].type != HY_GGUF_BOOL) {
        return wrong_type(kv, (size_t)found, "BOOL", err);
    }
    *out = value_at(kv, (size_t)found)[0] != 0;
    return HY_OK;
}

hy_status hy_gguf_get_str(const hy_gguf *g, const char *name, hy_str *out, hy_error *err)
{
    const hy__gguf_kv *kv = hy__gguf_metadata(g);
    *out = (hy_str){NULL, 0};
    const ptrdiff_t found = hy__gguf_kv_find(kv, name);
    if (found < 0) {
        return HY_E_NOT_FOUND;
    }
    if (kv->keys[found].type != HY_GGUF_STRING) {
        return wrong_type(kv, (size_t)found, "STRING", err);
    }
    (void)hy__gguf_kv_str(kv, (size_t)found, 0, out);
    return HY_OK;
}
