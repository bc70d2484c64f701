/* gguf_facts.c: see gguf_facts.h.  No state. */
#include "gguf_facts.h"

#include <stdlib.h>
#include <string.h>

static int larger_first(const void *a, const void *b)
{
    const type_share *x = a;
    const type_share *y = b;
    return x->bytes < y->bytes   ? 1
           : x->bytes > y->bytes ? -1
                                 : (int)x->type->type - (int)y->type->type;
}

void gguf_count(const hy_gguf *g, gguf_facts *f)
{
    memset(f, 0, sizeof *f);
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        const hy_type_info *type = hy_type_find((uint32_t)t->type);
        size_t k = 0;
        while (k < f->n_types && f->types[k].type != type) {
            k++;
        }
        if (!type || k == MAX_TYPES) {
            continue;
        }
        f->n_types = k == f->n_types ? k + 1 : f->n_types;
        f->types[k].type = type;
        f->types[k].n++;
        f->types[k].elems += t->n_elems;
        f->types[k].bytes += t->bytes;
        f->elems += t->n_elems;
        f->bytes += t->bytes;
    }
    qsort(f->types, f->n_types, sizeof f->types[0], larger_first);
}

const char *gguf_file_type(const hy_gguf *g)
{
    uint32_t value = 0;
    if (hy_gguf_get_u32(g, "general.file_type", 0, UINT32_MAX, &value, NULL) != HY_OK) {
        return "";
    }
    switch (value) {
#define X(number, name)                                                                            \
    case number:                                                                                   \
        return name;
#include "file_types.inc"
#undef X
    default:
        return "";
    }
}

static const char *type_name(hy_gguf_type type)
{
    switch (type) {
#define X(name, id, bytes)                                                                         \
    case HY_GGUF_##name:                                                                           \
        return #name;
        HY_GGUF_TYPE_LIST(X)
#undef X
    }
    return "?";
}

bool gguf_value_text(const hy_gguf *g, size_t key, text *out)
{
    enum { SHOWN = 72 };
    if (hy_gguf_key_type(g, key) == HY_GGUF_ARRAY) {
        return text_printf(out, "[%zu x %s]", hy_gguf_elem_count(g, key),
                           type_name(hy_gguf_elem_type(g, key)));
    }
    hy_str s = {NULL, 0};
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    switch (hy_gguf_elem_type(g, key)) {
    case HY_GGUF_STRING:
        if (!hy_gguf_elem_str(g, key, 0, &s)) {
            return true;
        }
        return text_add_visible(out, s.data, s.len < SHOWN ? s.len : SHOWN)
               && (s.len <= SHOWN || text_printf(out, "... (%zu bytes)", s.len));
    case HY_GGUF_FLOAT32:
        return !hy_gguf_elem_float(g, key, 0, &d) || text_printf(out, "%.7g", d);
    case HY_GGUF_FLOAT64:
        return !hy_gguf_elem_float(g, key, 0, &d) || text_printf(out, "%.15g", d);
    case HY_GGUF_BOOL:
        return !hy_gguf_elem_int(g, key, 0, &i) || text_puts(out, i ? "true" : "false");
    case HY_GGUF_UINT64:
        return !hy_gguf_elem_uint(g, key, 0, &u) || text_printf(out, "%llu", (unsigned long long)u);
    default:
        return !hy_gguf_elem_int(g, key, 0, &i) || text_printf(out, "%lld", (long long)i);
    }
}

static json_t *element_json(const hy_gguf *g, size_t key, size_t index)
{
    hy_str s = {NULL, 0};
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    switch (hy_gguf_elem_type(g, key)) {
    case HY_GGUF_STRING:
        return hy_gguf_elem_str(g, key, index, &s) ? json_bytes(s.data, s.len) : json_null();
    case HY_GGUF_FLOAT32:
    case HY_GGUF_FLOAT64:
        return hy_gguf_elem_float(g, key, index, &d) ? json_number(d) : json_null();
    case HY_GGUF_BOOL:
        return hy_gguf_elem_int(g, key, index, &i) ? json_boolean(i != 0) : json_null();
    case HY_GGUF_UINT64:
        if (!hy_gguf_elem_uint(g, key, index, &u)) {
            return json_null();
        }
        /* JSON numbers of this library end at 2^63 - 1; the rest keeps its digits as a string. */
        if (u > INT64_MAX) {
            char digits[24];
            snprintf(digits, sizeof digits, "%llu", (unsigned long long)u);
            return json_string(digits);
        }
        return json_integer((json_int_t)u);
    default:
        return hy_gguf_elem_int(g, key, index, &i) ? json_integer((json_int_t)i) : json_null();
    }
}

json_t *gguf_value_json(const hy_gguf *g, size_t key)
{
    enum { WHOLE = 16 };
    if (hy_gguf_key_type(g, key) != HY_GGUF_ARRAY) {
        return element_json(g, key, 0);
    }
    const size_t n = hy_gguf_elem_count(g, key);
    if (n > WHOLE || hy_gguf_elem_type(g, key) == HY_GGUF_ARRAY) {
        return json_pack("{s:s, s:I}", "array", type_name(hy_gguf_elem_type(g, key)), "count",
                         (json_int_t)n);
    }
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        if (json_array_append_new(array, element_json(g, key, i)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}
