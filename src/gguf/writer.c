/* writer.c: writing GGUF version 3 files, in one pass and with nothing but the metadata in memory.
 *
 * A writer owns copies of all that it was given and the unfinished file.  One thread at a time may
 * use it.  It refuses whatever the reader would refuse, so that every finished file opens. */
#include "gguf.h"

/* Head and padding are collected up to this before they are handed to the file. */
#define FLUSH_BYTES (64u << 10)

typedef enum writer_state { DECLARING, WRITING, FAILED, DONE } writer_state;

typedef struct writer_key {
    char *name;
    hy__buf value;      /* as in the file, from the value's type on */
    uint32_t n_strings; /* in its array, towards the limit of all arrays */
} writer_key;

typedef struct writer_tensor {
    char *name;
    uint32_t n_dims;
    uint32_t type;
    uint64_t ne[4];
    uint64_t bytes;
} writer_tensor;

struct hy_gguf_writer {
    hy_env env;
    writer_state state;
    writer_key *keys; /* [n_keys], room for cap_keys */
    size_t n_keys;
    size_t cap_keys;
    hy__strmap key_map;
    uint32_t n_strings;
    writer_tensor *tensors; /* [n_tensors], room for cap_tensors */
    size_t n_tensors;
    size_t cap_tensors;
    hy__strmap tensor_map;
    uint32_t alignment;
    hy__out_file file;
    hy__buf pending;       /* bytes that were not yet handed to the file */
    size_t current;        /* tensor that the next data belong to */
    uint64_t current_left; /* bytes that it still lacks */
};

/* ---- declaring */

hy_status hy_gguf_writer_create(const hy_env *env, hy_gguf_writer **out, hy_error *err)
{
    *out = NULL;
    hy_env resolved;
    hy__env_resolve(&resolved, env);
    hy_gguf_writer *w = hy__calloc(&resolved, 1, sizeof *w, err);
    if (!w) {
        return HY_E_NOMEM;
    }
    w->env = resolved;
    w->alignment = HY__GGUF_DEFAULT_ALIGNMENT;
    *out = w;
    return HY_OK;
}

void hy_gguf_writer_destroy(hy_gguf_writer *w)
{
    if (!w) {
        return;
    }
    const hy_env env = w->env;
    hy__out_abandon(&w->file);
    for (size_t i = 0; i < w->n_keys; i++) {
        hy__free(&env, w->keys[i].name);
        hy__buf_finish(&env, &w->keys[i].value);
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        hy__free(&env, w->tensors[i].name);
    }
    hy__free(&env, w->keys);
    hy__free(&env, w->tensors);
    hy__strmap_finish(&env, &w->key_map);
    hy__strmap_finish(&env, &w->tensor_map);
    hy__buf_finish(&env, &w->pending);
    hy__free(&env, w);
}

static hy_status check_declaring(const hy_gguf_writer *w, const char *name, hy_error *err)
{
    if (w->state != DECLARING) {
        return hy__fail(err, HY_E_ARG, "'%s' cannot be declared: writing has begun", name);
    }
    return HY_OK;
}

/* A new map with room for n names, of which *m holds those of the n_old items whose names begin
 * each `stride`. */
static hy_status regrow_map(const hy_env *env, hy__strmap *m, const void *items, size_t n_old,
                            size_t stride, size_t n, hy_error *err)
{
    hy__strmap grown = {0};
    HY_TRY(hy__strmap_init(env, &grown, n, err));
    for (size_t i = 0; i < n_old; i++) {
        char *name;
        memcpy(&name, (const char *)items + i * stride, sizeof name);
        (void)hy__strmap_put(&grown, name, strlen(name), (uint32_t)i);
    }
    hy__strmap_finish(env, m);
    *m = grown;
    return HY_OK;
}

/* Room for one more item in the array and in the map of its names; each item begins with its name's
 * pointer. */
static hy_status grow(const hy_env *env, void **items, size_t n, size_t *cap, size_t stride,
                      hy__strmap *m, hy_error *err)
{
    if (n < *cap) {
        return HY_OK;
    }
    const size_t want = n == 0 ? 32 : n * 2;
    void *grown = hy__realloc(env, *items, want, stride, err);
    if (!grown) {
        return HY_E_NOMEM;
    }
    *items = grown;
    HY_TRY(regrow_map(env, m, grown, n, stride, want, err));
    *cap = want;
    return HY_OK;
}

static hy_status check_key(const char *name, hy_error *err)
{
    const size_t len = strlen(name);
    char shown[HY__GGUF_SHOWN];
    if (len == 0) {
        return hy__fail(err, HY_E_ARG, "the name of a key is empty");
    }
    if (len > HY__GGUF_MAX_KEY_BYTES) {
        return hy__fail(err, HY_E_LIMIT, "key '%s': its name has %zu bytes, the limit is %u",
                        hy__printable((hy_str){name, len}, shown, sizeof shown), len,
                        HY__GGUF_MAX_KEY_BYTES);
    }
    return HY_OK;
}

/* Gives the key `name` the encoded value, which is taken over (and freed on failure). */
static hy_status set_value(hy_gguf_writer *w, const char *name, hy__buf *value, uint32_t n_strings,
                           hy_error *err)
{
    uint32_t i = 0;
    const bool known = hy__strmap_get(&w->key_map, name, strlen(name), &i);
    const uint32_t others = w->n_strings - (known ? w->keys[i].n_strings : 0);
    hy_status status = HY_OK;
    char *copy = NULL;
    if (n_strings > HY__GGUF_MAX_STRINGS - others) {
        status =
            hy__fail(err, HY_E_LIMIT, "key '%s': all arrays together would have over %u strings",
                     name, HY__GGUF_MAX_STRINGS);
    } else if (!known && w->n_keys == HY__GGUF_MAX_KEYS) {
        status =
            hy__fail(err, HY_E_LIMIT, "key '%s': there are %u keys already, which is the limit",
                     name, HY__GGUF_MAX_KEYS);
    } else if (!known) {
        void *keys = w->keys;
        status = grow(&w->env, &keys, w->n_keys, &w->cap_keys, sizeof *w->keys, &w->key_map, err);
        w->keys = keys;
        copy = status == HY_OK ? hy__strndup(&w->env, name, strlen(name), err) : NULL;
        status = status == HY_OK && !copy ? HY_E_NOMEM : status;
    }
    if (status != HY_OK) {
        hy__buf_finish(&w->env, value);
        return status;
    }
    if (known) {
        hy__buf_finish(&w->env, &w->keys[i].value);
    } else {
        i = (uint32_t)w->n_keys++;
        w->keys[i].name = copy;
        (void)hy__strmap_put(&w->key_map, copy, strlen(copy), i);
    }
    w->keys[i].value = *value;
    w->keys[i].n_strings = n_strings;
    w->n_strings = others + n_strings;
    return HY_OK;
}

static hy_status append_u32(const hy_env *env, hy__buf *b, uint32_t v, hy_error *err)
{
    uint8_t bytes[4];
    hy__store_u32(bytes, v);
    return hy__buf_append(env, b, bytes, sizeof bytes, err);
}

static hy_status append_u64(const hy_env *env, hy__buf *b, uint64_t v, hy_error *err)
{
    uint8_t bytes[8];
    hy__store_u64(bytes, v);
    return hy__buf_append(env, b, bytes, sizeof bytes, err);
}

static hy_status append_str(const hy_env *env, hy__buf *b, hy_str s, hy_error *err)
{
    HY_TRY(append_u64(env, b, s.len, err));
    return hy__buf_append(env, b, s.len > 0 ? s.data : "", s.len, err);
}

/* One scalar from memory, in this machine's byte order, or one hy_str. */
static hy_status append_elem(const hy_env *env, hy__buf *b, const char *key, hy_gguf_type type,
                             const void *value, hy_error *err)
{
    if (type == HY_GGUF_STRING) {
        hy_str s;
        memcpy(&s, value, sizeof s);
        if (s.len > HY__GGUF_MAX_STRING_BYTES) {
            return hy__fail(err, HY_E_LIMIT, "key '%s': a string of %zu bytes, the limit is %u",
                            key, s.len, HY__GGUF_MAX_STRING_BYTES);
        }
        return append_str(env, b, s, err);
    }
    if (type == HY_GGUF_BOOL) {
        bool v;
        memcpy(&v, value, sizeof v);
        const uint8_t byte = v ? 1 : 0;
        return hy__buf_append(env, b, &byte, 1, err);
    }
    uint8_t bytes[8];
    const uint32_t n = hy__gguf_type_bytes(type);
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (n) {
    case 2:
        memcpy(&u16, value, sizeof u16);
        hy__store_u16(bytes, u16);
        break;
    case 4:
        memcpy(&u32, value, sizeof u32);
        hy__store_u32(bytes, u32);
        break;
    case 8:
        memcpy(&u64, value, sizeof u64);
        hy__store_u64(bytes, u64);
        break;
    default: memcpy(bytes, value, 1); break;
    }
    return hy__buf_append(env, b, bytes, n, err);
}

/* Keys that tell how a model is cut into files, which is no property of the model: one file is
 * written here. */
static bool is_split_key(const char *key)
{
    return strcmp(key, "split.no") == 0 || strcmp(key, "split.count") == 0 ||
           strcmp(key, "split.tensors.count") == 0;
}

/* The checks that the reader makes of keys with a meaning to the container. */
static hy_status check_meaning(const char *key, hy_gguf_type type, const void *value, hy_error *err)
{
    if (is_split_key(key)) {
        return hy__fail(err, HY_E_ARG, "key '%s': split files are not written", key);
    }
    if (strcmp(key, "general.alignment") != 0) {
        return HY_OK;
    }
    uint32_t a = 0;
    if (type == HY_GGUF_UINT32) {
        memcpy(&a, value, sizeof a);
    }
    if (!hy__gguf_alignment_ok(a)) {
        return hy__fail(err, HY_E_ARG,
                        "key '%s' must be a UINT32 that is a power of two from %u to %u", key,
                        HY__GGUF_MIN_ALIGNMENT, HY__GGUF_MAX_ALIGNMENT);
    }
    return HY_OK;
}

static hy_status set_scalar(hy_gguf_writer *w, const char *key, hy_gguf_type type,
                            const void *value, hy_error *err)
{
    HY_TRY(check_declaring(w, key, err));
    HY_TRY(check_key(key, err));
    HY_TRY(check_meaning(key, type, value, err));
    hy__buf b = {0};
    hy_status status = append_u32(&w->env, &b, (uint32_t)type, err);
    if (status == HY_OK) {
        status = append_elem(&w->env, &b, key, type, value, err);
    }
    if (status != HY_OK) {
        hy__buf_finish(&w->env, &b);
        return status;
    }
    HY_TRY(set_value(w, key, &b, 0, err));
    if (type == HY_GGUF_UINT32 && strcmp(key, "general.alignment") == 0) {
        memcpy(&w->alignment, value, sizeof w->alignment);
    }
    return HY_OK;
}

hy_status hy_gguf_writer_set_u32(hy_gguf_writer *w, const char *key, uint32_t value, hy_error *err)
{
    return set_scalar(w, key, HY_GGUF_UINT32, &value, err);
}

hy_status hy_gguf_writer_set_f32(hy_gguf_writer *w, const char *key, float value, hy_error *err)
{
    return set_scalar(w, key, HY_GGUF_FLOAT32, &value, err);
}

hy_status hy_gguf_writer_set_bool(hy_gguf_writer *w, const char *key, bool value, hy_error *err)
{
    return set_scalar(w, key, HY_GGUF_BOOL, &value, err);
}

hy_status hy_gguf_writer_set_str(hy_gguf_writer *w, const char *key, hy_str value, hy_error *err)
{
    return set_scalar(w, key, HY_GGUF_STRING, &value, err);
}

/* Appends the n elements one by one; stops as soon as the reader would. */
static hy_status append_elems(const hy_env *env, hy__buf *b, const char *key, hy_gguf_type elem,
                              const void *values, size_t n, hy_error *err)
{
    const size_t stride = elem == HY_GGUF_STRING ? sizeof(hy_str) : hy__gguf_type_bytes(elem);
    const size_t first = b->len;
    for (size_t i = 0; i < n; i++) {
        if (elem == HY_GGUF_STRING && b->len - first > UINT32_MAX) {
            return hy__fail(err, HY_E_LIMIT, "key '%s': the strings of an array take over 4 GiB",
                            key);
        }
        HY_TRY(append_elem(env, b, key, elem, (const char *)values + i * stride, err));
    }
    return HY_OK;
}

hy_status hy_gguf_writer_set_array(hy_gguf_writer *w, const char *key, hy_gguf_type elem,
                                   const void *values, size_t n, hy_error *err)
{
    HY_TRY(check_declaring(w, key, err));
    HY_TRY(check_key(key, err));
    HY_TRY(check_meaning(key, HY_GGUF_ARRAY, values, err));
    if (elem != HY_GGUF_STRING && hy__gguf_type_bytes((uint32_t)elem) == 0) {
        return hy__fail(err, HY_E_ARG, "key '%s': there are no arrays of type %u", key,
                        (unsigned)elem);
    }
    const size_t limit = elem == HY_GGUF_STRING ? HY__GGUF_MAX_STRINGS : HY__GGUF_MAX_ELEMS;
    if (n > limit) {
        return hy__fail(err, HY_E_LIMIT, "key '%s': %zu elements, the limit is %zu", key, n, limit);
    }
    hy__buf b = {0};
    hy_status status = append_u32(&w->env, &b, HY_GGUF_ARRAY, err);
    status = status == HY_OK ? append_u32(&w->env, &b, (uint32_t)elem, err) : status;
    status = status == HY_OK ? append_u64(&w->env, &b, n, err) : status;
    status = status == HY_OK ? append_elems(&w->env, &b, key, elem, values, n, err) : status;
    if (status != HY_OK) {
        hy__buf_finish(&w->env, &b);
        return status;
    }
    return set_value(w, key, &b, elem == HY_GGUF_STRING ? (uint32_t)n : 0, err);
}

hy_status hy_gguf_writer_copy_key(hy_gguf_writer *w, const hy_gguf *from, size_t key, hy_error *err)
{
    if (key >= hy_gguf_n_keys(from)) {
        return hy__fail(err, HY_E_ARG, "there is no key number %zu to copy", key);
    }
    const hy_str given = hy_gguf_key_name(from, key);
    char *name = hy__strndup(&w->env, given.data, given.len,
                             err); /* NUL-terminated; it holds no NUL itself */
    if (!name) {
        return HY_E_NOMEM;
    }
    hy_status status = check_declaring(w, name, err);
    if (status != HY_OK || is_split_key(name)) { /* the copy is one file: these are left out */
        hy__free(&w->env, name);
        return status;
    }
    const hy_str value = hy__gguf_kv_value(hy__gguf_metadata(from), key);
    const hy_gguf_type type = hy_gguf_key_type(from, key);
    hy__buf b = {0};
    status = append_u32(&w->env, &b, (uint32_t)type, err);
    if (status == HY_OK) {
        status = hy__buf_append(&w->env, &b, value.data, value.len, err);
    }
    if (status != HY_OK) {
        hy__buf_finish(&w->env, &b);
    } else {
        const bool strings =
            type == HY_GGUF_ARRAY && hy_gguf_elem_type(from, key) == HY_GGUF_STRING;
        status = set_value(w, name, &b, strings ? (uint32_t)hy_gguf_elem_count(from, key) : 0, err);
    }
    if (status == HY_OK && strcmp(name, "general.alignment") == 0) {
        w->alignment = hy__load_u32(value.data); /* checked by the reader */
    }
    hy__free(&w->env, name);
    return status;
}

hy_status hy_gguf_writer_add_tensor(hy_gguf_writer *w, const char *name, hy_type type,
                                    uint32_t n_dims, const uint64_t *ne, hy_error *err)
{
    HY_TRY(check_declaring(w, name, err));
    const size_t len = strlen(name);
    char shown[HY__GGUF_SHOWN];
    hy__printable((hy_str){name, len}, shown, sizeof shown);
    if (len == 0 || len > HY__GGUF_MAX_NAME_BYTES) {
        return hy__fail(err, HY_E_ARG, "tensor '%s': its name has %zu bytes, allowed are 1 to %u",
                        shown, len, HY__GGUF_MAX_NAME_BYTES);
    }
    writer_tensor t = {NULL, n_dims, (uint32_t)type, {1, 1, 1, 1}, 0};
    if (n_dims > HY_COUNT(t.ne)) {
        return hy__fail(err, HY_E_ARG, "tensor '%s': %" PRIu32 " dimensions, the limit is 4", shown,
                        n_dims);
    }
    for (uint32_t i = 0; i < n_dims; i++) {
        t.ne[i] = ne[i];
    }
    hy_type checked;
    uint64_t n_elems;
    const hy_status sized =
        hy__gguf_tensor_size((uint32_t)type, n_dims, t.ne, &checked, &n_elems, &t.bytes, err);
    if (sized != HY_OK) {
        return hy__wrap(err, sized, "tensor '%s'", shown);
    }
    uint32_t first;
    if (hy__strmap_get(&w->tensor_map, name, len, &first)) {
        return hy__fail(err, HY_E_ARG, "tensor '%s' was added before, as number %" PRIu32, shown,
                        first);
    }
    if (w->n_tensors == HY__GGUF_MAX_TENSORS) {
        return hy__fail(err, HY_E_LIMIT,
                        "tensor '%s': there are %u tensors already, which is the limit", shown,
                        HY__GGUF_MAX_TENSORS);
    }
    void *tensors = w->tensors;
    const hy_status grown = grow(&w->env, &tensors, w->n_tensors, &w->cap_tensors,
                                 sizeof *w->tensors, &w->tensor_map, err);
    w->tensors = tensors;
    HY_TRY(grown);
    t.name = hy__strndup(&w->env, name, len, err);
    if (!t.name) {
        return HY_E_NOMEM;
    }
    (void)hy__strmap_put(&w->tensor_map, t.name, len, (uint32_t)w->n_tensors);
    w->tensors[w->n_tensors++] = t;
    return HY_OK;
}

/* ---- writing */

static hy_status flush(hy_gguf_writer *w, hy_error *err)
{
    HY_TRY(hy__out_write(&w->file, w->pending.data, w->pending.len, err));
    w->pending.len = 0;
    return HY_OK;
}

static hy_status emit(hy_gguf_writer *w, const void *data, size_t n, hy_error *err)
{
    if (n >= FLUSH_BYTES) {
        HY_TRY(flush(w, err));
        return hy__out_write(&w->file, data, n, err);
    }
    if (w->pending.len >= FLUSH_BYTES) {
        HY_TRY(flush(w, err));
    }
    return hy__buf_append(&w->env, &w->pending, data, n, err);
}

/* Zero bytes up to the next multiple of the alignment behind `at`. */
static hy_status emit_padding(hy_gguf_writer *w, uint64_t at, hy_error *err)
{
    static const uint8_t zeros[256];
    uint64_t left = (w->alignment - at % w->alignment) % w->alignment;
    while (left > 0) {
        const size_t n = (size_t)HY_MIN(left, sizeof zeros);
        HY_TRY(emit(w, zeros, n, err));
        left -= n;
    }
    return HY_OK;
}

static hy_status emit_u32(hy_gguf_writer *w, uint32_t v, hy_error *err)
{
    uint8_t bytes[4];
    hy__store_u32(bytes, v);
    return emit(w, bytes, sizeof bytes, err);
}

static hy_status emit_u64(hy_gguf_writer *w, uint64_t v, hy_error *err)
{
    uint8_t bytes[8];
    hy__store_u64(bytes, v);
    return emit(w, bytes, sizeof bytes, err);
}

static hy_status emit_name(hy_gguf_writer *w, const char *name, uint64_t *at, hy_error *err)
{
    const size_t len = strlen(name);
    HY_TRY(emit_u64(w, len, err));
    *at += 8 + len;
    return emit(w, name, len, err);
}

static hy_status emit_key(hy_gguf_writer *w, const writer_key *k, uint64_t *at, hy_error *err)
{
    HY_TRY(emit_name(w, k->name, at, err));
    *at += k->value.len;
    return emit(w, k->value.data, k->value.len, err);
}

/* Everything before the tensor data. */
static hy_status emit_head(hy_gguf_writer *w, hy_error *err)
{
    uint64_t at = HY__GGUF_HEADER_BYTES;
    HY_TRY(emit(w, "GGUF", 4, err));
    HY_TRY(emit_u32(w, 3, err));
    HY_TRY(emit_u64(w, w->n_tensors, err));
    HY_TRY(emit_u64(w, w->n_keys, err));
    /* The architecture comes first by custom, so that tools find it early. */
    uint32_t first = UINT32_MAX;
    if (hy__strmap_get(&w->key_map, "general.architecture", 20, &first)) {
        HY_TRY(emit_key(w, &w->keys[first], &at, err));
    }
    for (size_t i = 0; i < w->n_keys; i++) {
        if (i != first) {
            HY_TRY(emit_key(w, &w->keys[i], &at, err));
        }
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        const writer_tensor *t = &w->tensors[i];
        HY_TRY(emit_name(w, t->name, &at, err));
        HY_TRY(emit_u32(w, t->n_dims, err));
        for (uint32_t j = 0; j < t->n_dims; j++) {
            HY_TRY(emit_u64(w, t->ne[j], err));
        }
        HY_TRY(emit_u32(w, t->type, err));
        HY_TRY(emit_u64(w, offset, err));
        at += 16 + 8 * (uint64_t)t->n_dims;
        (void)hy__gguf_align(offset + t->bytes, w->alignment, &offset); /* checked in begin */
    }
    return w->n_tensors > 0 ? emit_padding(w, at, err) : HY_OK;
}

hy_status hy_gguf_writer_begin(hy_gguf_writer *w, const char *path, hy_error *err)
{
    HY_TRY(check_declaring(w, path, err));
    uint64_t sum = 0;
    bool quantized = false;
    for (size_t i = 0; i < w->n_tensors; i++) {
        if (!hy__add_u64(sum, w->tensors[i].bytes, &sum) ||
            !hy__gguf_align(sum, w->alignment, &sum)) {
            return hy__fail(err, HY_E_LIMIT,
                            "tensor '%s': the sizes of the tensors up to here add up to over 2^64",
                            w->tensors[i].name);
        }
        quantized |= hy_type_find(w->tensors[i].type)->block_elems > 1;
    }
    uint32_t unused;
    if (quantized && !hy__strmap_get(&w->key_map, "general.quantization_version", 28, &unused)) {
        HY_TRY(hy_gguf_writer_set_u32(w, "general.quantization_version", 2,
                                      err)); /* the format demands it */
    }
    HY_TRY(hy__out_open(&w->file, &w->env, path, err));
    const hy_status status = emit_head(w, err);
    if (status != HY_OK) {
        hy__out_abandon(&w->file);
        w->state = FAILED;
        return status;
    }
    w->state = WRITING;
    w->current_left = w->n_tensors > 0 ? w->tensors[0].bytes : 0;
    return HY_OK;
}

static hy_status check_writing(const hy_gguf_writer *w, hy_error *err)
{
    static const char *const what[] = {"before writing has begun", "", "after an error",
                                       "after the end"};
    if (w->state != WRITING) {
        return hy__fail(err, HY_E_ARG, "tensor data cannot be written %s", what[w->state]);
    }
    return HY_OK;
}

static hy_status write_data(hy_gguf_writer *w, const uint8_t *data, size_t bytes, hy_error *err)
{
    while (bytes > 0) {
        if (w->current == w->n_tensors) {
            return hy__fail(err, HY_E_ARG, "%zu bytes of data more than the tensors have", bytes);
        }
        const size_t n = (size_t)HY_MIN(w->current_left, bytes);
        HY_TRY(emit(w, data, n, err));
        data += n;
        bytes -= n;
        w->current_left -= n;
        if (w->current_left == 0) {
            HY_TRY(emit_padding(w, w->tensors[w->current].bytes, err));
            w->current++;
            w->current_left = w->current < w->n_tensors ? w->tensors[w->current].bytes : 0;
        }
    }
    return HY_OK;
}

hy_status hy_gguf_writer_data(hy_gguf_writer *w, const void *data, size_t bytes, hy_error *err)
{
    HY_TRY(check_writing(w, err));
    const hy_status status = write_data(w, data, bytes, err);
    if (status != HY_OK) {
        hy__out_abandon(&w->file);
        w->state = FAILED;
    }
    return status;
}

hy_status hy_gguf_writer_finish(hy_gguf_writer *w, hy_error *err)
{
    HY_TRY(check_writing(w, err));
    if (w->current < w->n_tensors) { /* the data may still come */
        return hy__fail(err, HY_E_ARG, "tensor '%s' lacks %" PRIu64 " bytes of its data",
                        w->tensors[w->current].name, w->current_left);
    }
    hy_status status = flush(w, err);
    if (status == HY_OK) {
        status = hy__out_commit(&w->file, err);
    }
    if (status != HY_OK) {
        hy__out_abandon(&w->file);
        w->state = FAILED;
        return status;
    }
    w->state = DONE;
    return HY_OK;
}
