/* builder.c: hyper-parameters, tensors and operations for the architectures.  See builder.h. */
#include "builder.h"

#include <math.h>
#include <stdio.h>

static bool failed(const hy__builder *b)
{
    return b->status != HY_OK;
}

void hy__build_fail(hy__builder *b, hy_status status, const char *fmt, ...)
{
    if (failed(b)) {
        return;
    }
    char text[sizeof b->error.text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    b->status = hy__fail(&b->error, status, "%s", text);
}

/* ---- hyper-parameters */

static void key_of(const hy__builder *b, const char *name, char *key, size_t cap)
{
    snprintf(key, cap, "%s.%s", b->arch, name);
}

/* A per-layer array stands for its scalar if all its entries are equal: no architecture here has
 * layers that differ. False if the value is no array. */
static bool uniform_array(hy__builder *b, const char *key, uint32_t min, uint32_t max,
                          uint32_t *out)
{
    const ptrdiff_t at = hy_gguf_find_key(b->gguf, key);
    if (at < 0 || hy_gguf_key_type(b->gguf, (size_t)at) != HY_GGUF_ARRAY) {
        return false;
    }
    const size_t n = hy_gguf_elem_count(b->gguf, (size_t)at);
    uint32_t n_layer = 0;
    char block_count[64];
    key_of(b, "block_count", block_count, sizeof block_count);
    if (hy_gguf_get_u32(b->gguf, block_count, 1, UINT32_MAX, &n_layer, NULL) != HY_OK ||
        n != n_layer) {
        hy__build_fail(b, HY_E_FORMAT, "key %s: an array of %zu entries for %u layers", key, n,
                       n_layer);
        return true;
    }
    uint64_t first = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t v;
        if (!hy_gguf_elem_uint(b->gguf, (size_t)at, i, &v)) {
            hy__build_fail(b, HY_E_FORMAT, "key %s: entry %zu is not an unsigned integer", key, i);
            return true;
        }
        if (i > 0 && v != first) {
            hy__build_fail(b, HY_E_UNSUPPORTED, "key %s: layers of different shapes (entry %zu)",
                           key, i);
            return true;
        }
        first = v;
    }
    if (first < min || first > max) {
        hy__build_fail(b, HY_E_FORMAT, "key %s: %llu is not in %u..%u", key,
                       (unsigned long long)first, min, max);
        return true;
    }
    *out = (uint32_t)first;
    return true;
}

static uint32_t read_hparam(hy__builder *b, const char *name, uint32_t min, uint32_t max,
                            bool required, uint32_t absent)
{
    uint32_t value = min;
    char key[128];
    if (failed(b)) {
        return min;
    }
    key_of(b, name, key, sizeof key);
    if (uniform_array(b, key, min, max, &value)) {
        return value;
    }
    const hy_status status = hy_gguf_get_u32(b->gguf, key, min, max, &value, &b->error);
    if (status == HY_E_NOT_FOUND && !required) {
        return absent;
    }
    if (status == HY_E_NOT_FOUND) {
        hy__build_fail(b, HY_E_FORMAT, "key %s is missing", key);
        return min;
    }
    b->status = status;
    return status == HY_OK ? value : min;
}

uint32_t hy__hparam(hy__builder *b, const char *name, uint32_t min, uint32_t max)
{
    return read_hparam(b, name, min, max, true, 0);
}

uint32_t hy__hparam_or(hy__builder *b, const char *name, uint32_t min, uint32_t max,
                       uint32_t absent)
{
    return read_hparam(b, name, min, max, false, absent);
}

static float read_f32(hy__builder *b, const char *name, bool required, float absent)
{
    float value = absent;
    char key[128];
    if (failed(b)) {
        return 1.0f;
    }
    key_of(b, name, key, sizeof key);
    const hy_status status = hy_gguf_get_f32(b->gguf, key, &value, &b->error);
    if (status == HY_E_NOT_FOUND && !required) {
        return absent;
    }
    if (status == HY_E_NOT_FOUND) {
        hy__build_fail(b, HY_E_FORMAT, "key %s is missing", key);
        return 1.0f;
    }
    b->status = status;
    if (status == HY_OK && value == 0 && !required) {
        return absent;
    }
    if (status == HY_OK && !(isfinite(value) && value > 0)) {
        hy__build_fail(b, HY_E_FORMAT, "key %s: %g is not a finite positive number", key,
                       (double)value);
        return 1.0f;
    }
    return value;
}

float hy__hparam_f32(hy__builder *b, const char *name)
{
    return read_f32(b, name, true, 1.0f);
}

float hy__hparam_f32_or(hy__builder *b, const char *name, float absent)
{
    return read_f32(b, name, false, absent);
}

uint32_t hy__hparam_choice(hy__builder *b, const char *name, const char *const *choices,
                           uint32_t absent)
{
    hy_str s;
    char key[128], text[40];
    if (failed(b)) {
        return absent;
    }
    key_of(b, name, key, sizeof key);
    const hy_status status = hy_gguf_get_str(b->gguf, key, &s, &b->error);
    if (status != HY_OK) {
        b->status = status == HY_E_NOT_FOUND ? HY_OK : status;
        return absent;
    }
    for (uint32_t i = 0; choices[i]; i++) {
        if (hy__str_is(s, choices[i])) {
            return i;
        }
    }
    hy__build_fail(b, HY_E_UNSUPPORTED, "key %s: \"%s\" is not supported", key,
                   hy__printable(s, text, sizeof text));
    return absent;
}

/* ---- tensors */

static void full_name(const hy__builder *b, const char *name, char *out, size_t cap)
{
    if (b->layer == HY__NO_LAYER) {
        snprintf(out, cap, "%s", name);
    } else {
        snprintf(out, cap, "blk.%u.%s", b->layer, name);
    }
}

const hy_gguf_tensor *hy__find(hy__builder *b, const char *name)
{
    char full[128];
    full_name(b, name, full, sizeof full);
    return hy_gguf_find_tensor(b->gguf, full);
}

static void mark_used(hy__builder *b, const hy_gguf_tensor *t)
{
    b->used[t - hy_gguf_tensor_at(b->gguf, 0)] = 1;
}

void hy__ignore(hy__builder *b, const char *name)
{
    const hy_gguf_tensor *t = failed(b) ? NULL : hy__find(b, name);
    if (t) {
        mark_used(b, t);
    }
}

/* A tensor that must be there and that some backend can decode. */
static const hy_gguf_tensor *need(hy__builder *b, const char *name)
{
    if (failed(b)) {
        return NULL;
    }
    const hy_gguf_tensor *t = hy__find(b, name);
    if (!t) {
        char full[128];
        full_name(b, name, full, sizeof full);
        hy__build_fail(b, HY_E_FORMAT, "tensor %s is missing", full);
        return NULL;
    }
    const hy_type_info *type = hy_type_find((uint32_t)t->type);
    if (!type || !type->can_decode) {
        hy__build_fail(b, HY_E_UNSUPPORTED, "tensor %s: type %s cannot be decoded", t->name,
                       type ? type->name : "?");
        return NULL;
    }
    mark_used(b, t);
    return t;
}

static void wrong_shape(hy__builder *b, const hy_gguf_tensor *t, uint64_t n, uint64_t m)
{
    hy__build_fail(b, HY_E_FORMAT,
                   "tensor %s has the shape [%llu, %llu, %llu, %llu], [%llu, %llu] is needed",
                   t->name, (unsigned long long)t->ne[0], (unsigned long long)t->ne[1],
                   (unsigned long long)t->ne[2], (unsigned long long)t->ne[3],
                   (unsigned long long)n, (unsigned long long)m);
}

static hy__id add_weight(hy__builder *b, const hy_gguf_tensor *t, uint64_t first, uint32_t n,
                         uint32_t m)
{
    const hy__id id = hy__graph_add_weight(b->graph, t, first, n, m, &b->error);
    if (id == 0) {
        b->status = b->error.code;
    }
    return id;
}

hy__id hy__vector_part(hy__builder *b, uint32_t n, uint32_t first, uint32_t all, const char *name)
{
    const hy_gguf_tensor *t = need(b, name);
    if (!t) {
        return 0;
    }
    if (t->n_elems != all) {
        wrong_shape(b, t, all, 1);
        return 0;
    }
    return add_weight(b, t, first, n, 1);
}

hy__id hy__matrix_part(hy__builder *b, uint32_t n, uint32_t m, uint32_t first, uint32_t all,
                       const char *name)
{
    const hy_gguf_tensor *t = need(b, name);
    if (!t) {
        return 0;
    }
    if (t->ne[0] != n || t->ne[1] != all || t->ne[2] != 1 || t->ne[3] != 1) {
        wrong_shape(b, t, n, all);
        return 0;
    }
    return add_weight(b, t, (uint64_t)n * first, n, m);
}

hy__id hy__vector(hy__builder *b, uint32_t n, const char *fmt, ...)
{
    char name[96];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return hy__vector_part(b, n, 0, n, name);
}

hy__id hy__matrix(hy__builder *b, uint32_t n, uint32_t m, const char *fmt, ...)
{
    char name[96];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return hy__matrix_part(b, n, m, 0, m, name);
}

hy__id hy__plane(hy__builder *b, uint32_t n, uint32_t planes, uint32_t plane, const char *name)
{
    const hy_gguf_tensor *t = need(b, name);
    if (!t) {
        return 0;
    }
    if (t->ne[0] != n || t->n_elems != (uint64_t)n * planes) {
        wrong_shape(b, t, n, planes);
        return 0;
    }
    return add_weight(b, t, (uint64_t)n * plane, n, 1);
}

uint32_t hy__dim(hy__builder *b, const char *name, uint32_t dim, uint32_t min, uint32_t max)
{
    const hy_gguf_tensor *t = need(b, name);
    if (!t) {
        return min;
    }
    if (t->ne[dim] < min || t->ne[dim] > max) {
        hy__build_fail(b, HY_E_FORMAT, "tensor %s: dimension %u is %llu, not in %u..%u", t->name,
                       dim, (unsigned long long)t->ne[dim], min, max);
        return min;
    }
    return (uint32_t)t->ne[dim];
}

/* ---- operations */

hy__id hy__op(hy__builder *b, hy__opcode op, const char *name, const hy__params *params,
              const hy__id *in)
{
    if (failed(b)) {
        return 0;
    }
    char full[128];
    full_name(b, name, full, sizeof full);
    const hy__id id = hy__graph_add_op(b->graph, op, b->layer, full, in, params, &b->error);
    if (id == 0) {
        b->status = b->error.code;
    }
    return id;
}

hy__id hy__op1(hy__builder *b, hy__opcode op, const char *name, hy__id a)
{
    return hy__op(b, op, name, NULL, (const hy__id[]){a});
}

hy__id hy__op2(hy__builder *b, hy__opcode op, const char *name, hy__id a, hy__id c)
{
    return hy__op(b, op, name, NULL, (const hy__id[]){a, c});
}

hy__id hy__op3(hy__builder *b, hy__opcode op, const char *name, hy__id a, hy__id c, hy__id d)
{
    return hy__op(b, op, name, NULL, (const hy__id[]){a, c, d});
}

hy__id hy__tokens(hy__builder *b)
{
    if (failed(b)) {
        return 0;
    }
    const hy__id id = hy__graph_add_tokens(b->graph, &b->error);
    if (id == 0) {
        b->status = b->error.code;
    }
    return id;
}

hy__id hy__state(hy__builder *b, const char *name, uint32_t n, bool per_position)
{
    if (failed(b)) {
        return 0;
    }
    char full[128];
    full_name(b, name, full, sizeof full);
    const hy__id id = hy__graph_add_state(b->graph, full, n, per_position, &b->error);
    if (id == 0) {
        b->status = b->error.code;
    }
    return id;
}

hy__id hy__linear(hy__builder *b, const char *name, uint32_t n, uint32_t m, hy__id x, bool bias)
{
    char bias_name[96];
    snprintf(bias_name, sizeof bias_name, "%s.bias", name);
    const hy__id w = hy__matrix(b, n, m, "%s.weight", name);
    const hy__id y = hy__op2(b, HY__OP_MATMUL, name, w, x);
    if (!bias || failed(b) || !hy__find(b, bias_name)) {
        return y;
    }
    return hy__op2(b, HY__OP_ADD, bias_name, y, hy__vector(b, m, "%s", bias_name));
}

hy__id hy__rms_norm(hy__builder *b, const char *name, uint32_t group, float eps, hy__id x)
{
    const hy__params p = {.eps = eps, .group = group};
    return hy__op(b, HY__OP_RMS_NORM, name, &p,
                  (const hy__id[]){x, hy__vector(b, group, "%s.weight", name)});
}

/* ---- the whole graph */

static const struct {
    const char *name;
    hy__build_fn build;
} archs[] = {
#define HY_ARCH(name) {#name, hy__build_##name},
#include "arch.inc"
#undef HY_ARCH
};

static hy_status find_arch(const hy_gguf *g, size_t *out, hy_error *err)
{
    hy_str arch;
    const hy_status status = hy_gguf_get_str(g, "general.architecture", &arch, err);
    if (status == HY_E_NOT_FOUND) {
        return hy__fail(err, HY_E_FORMAT, "key general.architecture is missing");
    }
    HY_TRY(status);
    for (size_t i = 0; i < HY_COUNT(archs); i++) {
        if (hy__str_is(arch, archs[i].name)) {
            *out = i;
            return HY_OK;
        }
    }
    char known[200] = "", text[64];
    for (size_t i = 0; i < HY_COUNT(archs); i++) {
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", archs[i].name);
    }
    return hy__fail(err, HY_E_UNSUPPORTED, "architecture \"%s\" is not supported; these are: %s",
                    hy__printable(arch, text, sizeof text), known);
}

/* A model with tensors that the architecture does not know is another model: it would run and be
 * wrong. */
static hy_status refuse_unknown(const hy__builder *b, hy_error *err)
{
    for (size_t i = 0; i < hy_gguf_n_tensors(b->gguf); i++) {
        if (!b->used[i]) {
            return hy__fail(err, HY_E_UNSUPPORTED,
                            "tensor %s does not belong to the architecture %s",
                            hy_gguf_tensor_at(b->gguf, i)->name, b->arch);
        }
    }
    return HY_OK;
}

hy_status hy__model_build(const hy_gguf *g, hy__graph *graph, hy__builder *b, hy_error *err)
{
    size_t arch = 0;
    memset(b, 0, sizeof *b);
    HY_TRY(find_arch(g, &arch, err));
    b->gguf = g;
    b->arch = archs[arch].name;
    b->graph = graph;
    b->layer = HY__NO_LAYER;
    b->used = hy__calloc(&graph->env, hy_gguf_n_tensors(g), 1, err);
    if (!b->used) {
        return HY_E_NOMEM;
    }
    hy_status status = archs[arch].build(b);
    if (status != HY_OK) {
        hy__fail(err, status, "%s", b->error.text);
    } else {
        status = refuse_unknown(b, err);
    }
    if (status == HY_OK) {
        status = hy__graph_verify(graph, err);
    }
    hy__free(&graph->env, b->used);
    b->used = NULL;
    return status;
}
