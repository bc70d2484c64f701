/* test_quant_file.c: whole files into other encodings: types as llama-quantize chooses them, bytes,
 * failures.
 *
 * `test_quant_file --write-models FOLDER` writes the models of this test;
 * tests/golden/quant/make_mix.py runs llama-quantize on them and records what it does in
 * mix_types.txt and mix_files.txt. */
#include "support/support.h"

#include <math.h>

#include "base/base.h"
#include "golden/quant/data.h"

/* ---- models: small ones that reach every rule of the mixes; the numbers are of no use */

typedef struct model {
    const char *name;
    const char *arch;
    uint32_t layers;
    uint32_t row;      /* elements of most rows */
    uint32_t down_row; /* of ffn_down */
    uint32_t heads, kv_heads;
    uint32_t experts;
    bool tied, fused;
    hy_type type;
} model;

static const model models[] = {
    {"llama-20", "llama", 20, 256, 256, 4, 2, 0, false, false, HY_TYPE_F32},
    {"llama-33-f16", "llama", 33, 256, 256, 4, 2, 0, false, false, HY_TYPE_F16},
    {"llama-gqa4-tied", "llama", 17, 256, 256, 8, 2, 0, true, false, HY_TYPE_F32},
    {"qwen2-fused", "qwen2", 9, 256, 256, 4, 2, 0, false, true, HY_TYPE_BF16},
    {"llama-rows-96", "llama", 9, 96, 96, 4, 2, 0, false, false, HY_TYPE_F32},
    {"llama-rows-80", "llama", 3, 80, 512, 4, 2, 0, false, false, HY_TYPE_F32},
    {"llama-80-layers", "llama", 80, 256, 256, 8, 1, 0, false, false, HY_TYPE_F32},
    {"llama-80-equal-heads", "llama", 80, 256, 256, 4, 4, 0, false, false, HY_TYPE_F32},
    {"qwen2-80-layers", "qwen2", 80, 256, 256, 4, 4, 0, false, false, HY_TYPE_F32},
    {"experts-8", "llama", 17, 256, 256, 4, 2, 8, false, false, HY_TYPE_F32},
    {"experts-4", "llama", 16, 256, 256, 4, 2, 4, false, false, HY_TYPE_F32},
};

enum { MOST_TENSORS = 1200, ROWS = 2 };

typedef struct tensor {
    char name[64];
    uint32_t n_dims;
    uint64_t ne[4];
} tensor;

static void add(tensor *t, size_t *n, const char *name, uint32_t n_dims, uint64_t a, uint64_t b,
                uint64_t c)
{
    assert_true(*n < MOST_TENSORS);
    tensor *it = &t[(*n)++];
    snprintf(it->name, sizeof it->name, "%s", name);
    it->n_dims = n_dims;
    it->ne[0] = a;
    it->ne[1] = b;
    it->ne[2] = c;
}

static size_t tensors_of(const model *m, tensor *t)
{
    static const char *const attention[] = {"attn_q", "attn_k", "attn_v"};
    static const char *const ffn[] = {"ffn_gate", "ffn_up", "ffn_down"};
    char name[64];
    size_t n = 0;
    add(t, &n, "output_norm.weight", 1, m->row, 1, 1);
    if (!m->tied) {
        add(t, &n, "output.weight", 2, m->row, ROWS, 1);
    }
    add(t, &n, "token_embd.weight", 2, m->row, ROWS, 1);
    /* Last layer first: the rules must not count in the order of the file. */
    for (unsigned i = m->layers; i-- > 0;) {
        for (size_t k = 0; k < (m->fused ? 1 : HY_COUNT(attention)); k++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", i,
                     m->fused ? "attn_qkv" : attention[k]);
            add(t, &n, name, 2, m->row, ROWS, 1);
        }
        snprintf(name, sizeof name, "blk.%u.attn_v.bias", i);
        add(t, &n, name, 1, m->row, 1, 1);
        snprintf(name, sizeof name, "blk.%u.attn_output.weight", i);
        add(t, &n, name, 2, m->row, ROWS, 1);
        snprintf(name, sizeof name, "blk.%u.attn_norm.weight", i);
        add(t, &n, name, 1, m->row, 1, 1);
        if (m->experts) {
            snprintf(name, sizeof name, "blk.%u.ffn_gate_inp.weight", i);
            add(t, &n, name, 2, m->row, m->experts, 1);
        }
        for (size_t k = 0; k < HY_COUNT(ffn); k++) {
            snprintf(name, sizeof name, m->experts ? "blk.%u.%s_exps.weight" : "blk.%u.%s.weight",
                     i, ffn[k]);
            add(t, &n, name, m->experts ? 3 : 2, k == 2 ? m->down_row : m->row,
                m->experts ? 1 : ROWS, m->experts ? m->experts : 1);
        }
    }
    return n;
}

static uint64_t elems_of(const tensor *t)
{
    return t->ne[0] * t->ne[1] * t->ne[2];
}

static void set_number(hy_gguf_writer *w, const char *arch, const char *suffix, uint32_t value)
{
    char key[100];
    snprintf(key, sizeof key, "%s.%s", arch, suffix);
    assert_int_equal(hy_gguf_writer_set_u32(w, key, value, NULL), HY_OK);
}

static hy_gguf_writer *new_writer(const char *arch)
{
    hy_gguf_writer *w = NULL;
    assert_int_equal(hy_gguf_writer_create(NULL, &w, NULL), HY_OK);
    if (arch) {
        assert_int_equal(
            hy_gguf_writer_set_str(w, "general.architecture", (hy_str){arch, strlen(arch)}, NULL),
            HY_OK);
    }
    return w;
}

static void write_model(const model *m, const char *path)
{
    static tensor t[MOST_TENSORS];
    static float x[4096];
    static uint8_t bytes[4 * 4096];
    size_t n = tensors_of(m, t);
    hy_gguf_writer *w = new_writer(m->arch);
    assert_int_equal(hy_gguf_writer_set_u32(w, "general.file_type", 0, NULL), HY_OK);
    set_number(w, m->arch, "block_count", m->layers);
    set_number(w, m->arch, "context_length", 64);
    set_number(w, m->arch, "embedding_length", m->row);
    set_number(w, m->arch, "feed_forward_length", m->down_row);
    set_number(w, m->arch, "attention.head_count", m->heads);
    set_number(w, m->arch, "attention.head_count_kv", m->kv_heads);
    set_number(w, m->arch, "rope.dimension_count", m->row / m->heads);
    set_number(w, m->arch, "vocab_size", ROWS);
    if (m->experts) {
        set_number(w, m->arch, "expert_count", m->experts);
        set_number(w, m->arch, "expert_used_count", 2);
    }
    char key[100];
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", m->arch);
    assert_int_equal(hy_gguf_writer_set_f32(w, key, 1e-5f, NULL), HY_OK);
    hy_error err;
    for (size_t i = 0; i < n; i++) {
        hy_type type = t[i].n_dims == 1 ? HY_TYPE_F32 : m->type;
        assert_ok(hy_gguf_writer_add_tensor(w, t[i].name, type, t[i].n_dims, t[i].ne, &err), &err);
    }
    assert_ok(hy_gguf_writer_begin(w, path, &err), &err);
    for (size_t i = 0; i < n; i++) {
        const hy_type_info *type = hy_type_find(t[i].n_dims == 1 ? HY_TYPE_F32 : (uint32_t)m->type);
        size_t elems = (size_t)elems_of(&t[i]);
        uint64_t seed = i;
        for (size_t e = 0; e < elems; e++) {
            x[e] = 0.05f * quant_normal(&seed);
        }
        assert_ok(hy_quantize(type->type, x, bytes, elems, &err), &err);
        assert_ok(hy_gguf_writer_data(w, bytes, elems * type->block_bytes, &err), &err);
    }
    assert_ok(hy_gguf_writer_finish(w, &err), &err);
    hy_gguf_writer_destroy(w);
}

static const model *model_named(const char *name)
{
    for (size_t i = 0; i < HY_COUNT(models); i++) {
        if (strcmp(models[i].name, name) == 0) {
            return &models[i];
        }
    }
    fail_msg("there is no model '%s'", name);
    return NULL;
}

/* Written once in each run; the path stays valid until the next few calls of temp_path. */
static const char *model_path(const char *name)
{
    static bool written[HY_COUNT(models)];
    const model *m = model_named(name);
    const char *path = temp_path(name);
    if (!written[m - models]) {
        write_model(m, path);
        written[m - models] = true;
    }
    return path;
}

/* ---- types */

typedef struct choice {
    char name[64];
    uint32_t from, to;
} choice;

typedef struct choices {
    choice of[MOST_TENSORS];
    size_t n;
} choices;

static void note_choice(void *user, const char *name, uint32_t from, uint32_t to)
{
    choices *c = user;
    assert_true(c->n < MOST_TENSORS);
    snprintf(c->of[c->n].name, sizeof c->of[c->n].name, "%s", name);
    c->of[c->n].from = from;
    c->of[c->n].to = to;
    c->n++;
}

static bool stop_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)total;
    assert_true(done == 0);
    return false;
}

/* What becomes of each tensor, without encoding anything. */
static void choose_types(const char *model_name, const char *mix, choices *c)
{
    hy_quantize_opts opts = {.size = sizeof opts,
                             .progress = stop_at_once,
                             .on_tensor = note_choice,
                             .on_tensor_user = c};
    c->n = 0;
    hy_error err;
    assert_fails(
        hy_quantize_file(model_path(model_name), temp_path("out.gguf"), mix, &opts, NULL, &err),
        HY_E_CANCELLED, &err, "cancelled");
}

/* "blk.12.attn_v.weight" as "blk.*.attn_v.weight" and 12; -1 for names without a layer. */
static long split_name(const char *name, char *pattern, size_t cap)
{
    if (strncmp(name, "blk.", 4) != 0) {
        snprintf(pattern, cap, "%s", name);
        return -1;
    }
    char *rest;
    long layer = strtol(name + 4, &rest, 10);
    snprintf(pattern, cap, "blk.*%s", rest);
    return layer;
}

/* Is `layer` in "0-3,7,9-12"?  "-" is the list of a tensor without layer. */
static bool in_list(const char *list, long layer)
{
    if (layer < 0) {
        return strcmp(list, "-") == 0;
    }
    for (const char *p = list; *p;) {
        char *end;
        long first = strtol(p, &end, 10);
        long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (layer >= first && layer <= last) {
            return true;
        }
        p = *end == ',' ? end + 1 : end;
    }
    return false;
}

/* Each line of mix_types.txt: model, mix, tensor with * for the layer, type, layers. */
static void types_are_those_of_llama_quantize(void **state)
{
    (void)state;
    static choices c;
    static bool seen[MOST_TENSORS];
    size_t len;
    char *file = read_file(source_path("tests/golden/quant/mix_types.txt"), &len);
    char last[100] = "";
    char name[40], mix[20], tensor_name[64], type[20], layers[400];
    int used;
    size_t pairs = 0;
    for (const char *p = file; sscanf(p, "%39s %19s %63s %19s %399s %n", name, mix, tensor_name,
                                      type, layers, &used) == 5;
         p += used) {
        char pair[100];
        snprintf(pair, sizeof pair, "%s %s", name, mix);
        if (strcmp(pair, last) != 0) {
            for (size_t i = 0; i < c.n; i++) {
                assert_true(seen[i] || c.of[i].from == c.of[i].to);
            }
            strcpy(last, pair);
            choose_types(name, mix, &c);
            memset(seen, 0, sizeof seen);
            pairs++;
        }
        size_t found = 0;
        for (size_t i = 0; i < c.n; i++) {
            char pattern[64];
            long layer = split_name(c.of[i].name, pattern, sizeof pattern);
            if (strcmp(pattern, tensor_name) == 0 && in_list(layers, layer)) {
                if (c.of[i].to != (uint32_t)hy_type_by_name(type)->type) {
                    fail_msg("%s: '%s' becomes %s, not %s", pair, c.of[i].name,
                             hy_type_find(c.of[i].to)->name, type);
                }
                seen[i] = true;
                found++;
            }
        }
        assert_true(found > 0);
    }
    free(file);
    assert_int_equal(pairs, HY_COUNT(models) * 21); /* 22 mixes, but each model is already in one */
}

/* Each line of mix_files.txt: model, mix, crc64 of the file that llama-quantize writes. */
static void files_are_those_of_llama_quantize(void **state)
{
    (void)state;
    size_t len;
    char *file = read_file(source_path("tests/golden/quant/mix_files.txt"), &len);
    char name[40], mix[20];
    unsigned long long want;
    int used;
    size_t checked = 0;
    for (const char *p = file; sscanf(p, "%39s %19s %llx %n", name, mix, &want, &used) == 3;
         p += used) {
        char in[1000];
        char out[1000];
        snprintf(in, sizeof in, "%s", model_path(name));
        snprintf(out, sizeof out, "%s", temp_path("file.gguf"));
        hy_quantize_opts opts = {.size = sizeof opts, .n_threads = 1 + (uint32_t)checked % 3};
        hy_error err;
        assert_ok(hy_quantize_file(in, out, mix, &opts, NULL, &err), &err);
        size_t n;
        char *got = read_file(out, &n);
        if (hy__crc64(0, got, n) != want) {
            fail_msg("%s as %s: another file than llama-quantize's", name, mix);
        }
        free(got);
        checked++;
    }
    free(file);
    assert_true(checked >= 40);
}

static void mix_names(void **state)
{
    (void)state;
    size_t n = 0;
    bool has_alias = false;
    for (; hy_quantize_mix_name(n); n++) {
        has_alias = has_alias || strcmp(hy_quantize_mix_name(n), "Q4_K") == 0;
    }
    assert_int_equal(n, 25);
    assert_true(has_alias);
    assert_null(hy_quantize_mix_name(SIZE_MAX));
}

/* ---- special models, written tensor by tensor */

/* A model of tensors of 2 rows of 256 F32 elements, all 0.5 but element 300 of the last one, which
 * is `odd`. */
static const char *write_simple(const char *file, const char *arch, const char *const *names,
                                float odd)
{
    static float x[512];
    const uint64_t ne[2] = {256, 2};
    const char *path = temp_path(file);
    hy_gguf_writer *w = new_writer(arch);
    size_t n = 0;
    for (; names[n]; n++) {
        assert_int_equal(hy_gguf_writer_add_tensor(w, names[n], HY_TYPE_F32, 2, ne, NULL), HY_OK);
    }
    assert_int_equal(hy_gguf_writer_begin(w, path, NULL), HY_OK);
    for (size_t i = 0; i < n; i++) {
        for (size_t e = 0; e < 512; e++) {
            x[e] = 0.5f;
        }
        x[300] = i + 1 == n ? odd : 0.5f;
        assert_int_equal(hy_gguf_writer_data(w, x, sizeof x, NULL), HY_OK);
    }
    assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
    hy_gguf_writer_destroy(w);
    return path;
}

static bool exists(const char *path, const char *suffix)
{
    char full[1100];
    snprintf(full, sizeof full, "%s%s", path, suffix);
    FILE *f = fopen(full, "rb");
    if (f) {
        fclose(f);
    }
    return f != NULL;
}

static void numbers_are_checked(void **state)
{
    (void)state;
    static const char *const converted[] = {"blk.0.a.weight", "blk.0.b.weight", NULL};
    static const char *const copied[] = {"blk.0.a.weight", "blk.0.b_norm.weight", NULL};
    char out[1000];
    snprintf(out, sizeof out, "%s", temp_path("numbers.gguf"));
    hy_error err;
    const char *in = write_simple("nan.gguf", "llama", converted, NAN);
    assert_fails(hy_quantize_file(in, out, "Q8_0", NULL, NULL, &err), HY_E_NUMERIC, &err,
                 "tensor 'blk.0.b.weight': element 300 is not a finite number");
    assert_false(exists(out, "") || exists(out, ".part"));
    in = write_simple("inf.gguf", "llama", copied, INFINITY);
    assert_fails(hy_quantize_file(in, out, "Q8_0", NULL, NULL, &err), HY_E_NUMERIC, &err,
                 "'blk.0.b_norm.weight': element 300");
    in = write_simple("large.gguf", "llama", converted, 1e30f);
    assert_fails(hy_quantize_file(in, out, "Q8_0", NULL, NULL, &err), HY_E_NUMERIC, &err,
                 "the block at element 288 is too large for type Q8_0");
    hy_quantize_opts opts = {.size = sizeof opts, .n_threads = 3};
    assert_fails(hy_quantize_file(in, out, "F16", &opts, NULL, &err), HY_E_NUMERIC, &err,
                 "element 300");
    assert_ok(hy_quantize_file(in, out, "bf16", &opts, NULL, &err), &err);
    assert_true(exists(out, ""));
}

/* Faults in several slabs, pieces and threads: the first one is named. */
static void the_first_fault_is_named(void **state)
{
    (void)state;
    enum { ELEMS = 3 << 20 };
    const uint64_t ne[2] = {ELEMS / 2, 2};
    float *x = calloc(ELEMS, sizeof *x);
    assert_non_null(x);
    x[(1 << 20) + 70000] = NAN;
    x[(1 << 20) + 500000] = 1e30f;
    x[(2 << 20) + 5] = INFINITY;
    char in[1000];
    snprintf(in, sizeof in, "%s", temp_path("faults.gguf"));
    hy_gguf_writer *w = new_writer("llama");
    assert_int_equal(hy_gguf_writer_add_tensor(w, "big.weight", HY_TYPE_F32, 2, ne, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_begin(w, in, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_data(w, x, ELEMS * sizeof *x, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
    hy_gguf_writer_destroy(w);
    free(x);
    for (uint32_t threads = 1; threads <= 4; threads++) {
        hy_quantize_opts opts = {.size = sizeof opts, .n_threads = threads};
        hy_error err;
        assert_fails(hy_quantize_file(in, temp_path("faults-out.gguf"), "Q4_0", &opts, NULL, &err),
                     HY_E_NUMERIC, &err, "'big.weight': element 1118576 is not a finite number");
    }
}

static void wrong_arguments(void **state)
{
    (void)state;
    hy_error err;
    assert_fails(hy_quantize_file(NULL, "b", "Q8_0", NULL, NULL, &err), HY_E_ARG, &err, "input");
    assert_fails(hy_quantize_file("a", NULL, "Q8_0", NULL, NULL, &err), HY_E_ARG, &err, "output");
    assert_fails(hy_quantize_file("a", "b", NULL, NULL, NULL, &err), HY_E_ARG, &err, "mix");
    assert_fails(hy_quantize_file("a", "b", "Q4_K_X", NULL, NULL, &err), HY_E_ARG, &err,
                 "no mix named 'Q4_K_X'");
    assert_fails(hy_quantize_file("a", "b", "Q4_K_", NULL, NULL, &err), HY_E_ARG, &err, "no mix");
    assert_fails(hy_quantize_file("a", "b", "", NULL, NULL, &err), HY_E_ARG, &err,
                 "no mix named ''");
    assert_fails(hy_quantize_file("a", "a", "Q8_0", NULL, NULL, &err), HY_E_ARG, &err, "same file");
    assert_fails(hy_quantize_file("/nowhere/a", "b", "Q8_0", NULL, NULL, &err), HY_E_IO, &err,
                 NULL);
    assert_fails(
        hy_quantize_file(model_path("llama-rows-80"), "/nowhere/b", "Q8_0", NULL, NULL, &err),
        HY_E_IO, &err, NULL);
}

static void models_that_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.ffn_down.weight", NULL};
    static const char *const no_layer[] = {"ffn_down_exps.weight", NULL};
    static const char *const long_layer[] = {"blk.1234567890.ffn_down_exps.weight", NULL};
    static const char *const no_digits[] = {"blk.x.ffn_down_exps.weight", NULL};
    const uint64_t ne[2] = {256, 2};
    char out[1000];
    snprintf(out, sizeof out, "%s", temp_path("refused.gguf"));
    hy_error err;
    const char *in = write_simple("falcon.gguf", "falcon", names, 0.5f);
    assert_fails(hy_quantize_file(in, out, "Q8_0", NULL, NULL, &err), HY_E_UNSUPPORTED, &err,
                 "'falcon'");

    /* No architecture at all: the rules that need no layers still hold. */
    in = write_simple("bare.gguf", NULL, names, 0.5f);
    assert_ok(hy_quantize_file(in, out, "Q8_0", NULL, NULL, &err), &err);

    const char *const *const strange[] = {no_layer, long_layer, no_digits, names};
    for (size_t i = 0; i < HY_COUNT(strange); i++) {
        /* The last one fails because there are no layers. */
        in = temp_path("experts.gguf");
        hy_gguf_writer *w = new_writer("llama");
        assert_int_equal(hy_gguf_writer_set_u32(w, "llama.expert_count", 4, NULL), HY_OK);
        assert_int_equal(hy_gguf_writer_add_tensor(w, strange[i][0], HY_TYPE_F16, 2, ne, NULL),
                         HY_OK);
        static const uint8_t zeros[1024];
        assert_int_equal(hy_gguf_writer_begin(w, in, NULL), HY_OK);
        assert_int_equal(hy_gguf_writer_data(w, zeros, sizeof zeros, NULL), HY_OK);
        assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
        hy_gguf_writer_destroy(w);
        assert_fails(hy_quantize_file(in, out, "Q4_K_M", NULL, NULL, &err), HY_E_FORMAT, &err,
                     "none of the 0 layers");
    }
}

static void keys_of_a_wrong_type(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"block_count", "expert_count", "attention.head_count",
                                           "attention.head_count_kv"};
    hy_error err;
    for (size_t i = 0; i < HY_COUNT(suffixes) + 1; i++) {
        const char *in = temp_path("keys.gguf");
        hy_gguf_writer *w = new_writer(i < HY_COUNT(suffixes) ? "llama" : NULL);
        char key[100] = "general.architecture";
        if (i < HY_COUNT(suffixes)) {
            snprintf(key, sizeof key, "llama.%s", suffixes[i]);
        }
        assert_int_equal(hy_gguf_writer_set_f32(w, key, 1.5f, NULL), HY_OK);
        assert_int_equal(hy_gguf_writer_begin(w, in, NULL), HY_OK);
        assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
        hy_gguf_writer_destroy(w);
        assert_fails(hy_quantize_file(in, temp_path("keys-out.gguf"), "Q4_K_M", NULL, NULL, &err),
                     HY_E_FORMAT, &err, key);
    }
}

static void types_that_cannot_be_converted(void **state)
{
    (void)state;
    const uint64_t ne[2] = {256, 2};
    static const uint8_t zeros[4 * 512];
    hy_error err;
    const char *in = temp_path("integers.gguf");
    hy_gguf_writer *w = new_writer("llama");
    assert_int_equal(hy_gguf_writer_add_tensor(w, "blk.0.table", HY_TYPE_I32, 2, ne, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_begin(w, in, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_data(w, zeros, sizeof zeros, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
    hy_gguf_writer_destroy(w);
    assert_ok(hy_quantize_file(in, temp_path("integers-out.gguf"), "Q8_0", NULL, NULL, &err),
              &err); /* copied */

    w = new_writer("llama");
    assert_int_equal(hy_gguf_writer_add_tensor(w, "blk.0.table.weight", HY_TYPE_I32, 2, ne, NULL),
                     HY_OK);
    assert_int_equal(hy_gguf_writer_begin(w, in, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_data(w, zeros, sizeof zeros, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
    hy_gguf_writer_destroy(w);
    assert_fails(hy_quantize_file(in, temp_path("integers-out.gguf"), "Q8_0", NULL, NULL, &err),
                 HY_E_UNSUPPORTED, &err, "'blk.0.table.weight' has type I32");
}

static void requantizing_must_be_allowed(void **state)
{
    (void)state;
    char first[1000];
    char second[1000];
    snprintf(first, sizeof first, "%s", temp_path("first.gguf"));
    snprintf(second, sizeof second, "%s", temp_path("second.gguf"));
    hy_error err;
    assert_ok(hy_quantize_file(model_path("llama-rows-80"), first, "Q8_0", NULL, NULL, &err), &err);
    assert_fails(hy_quantize_file(first, second, "Q4_0", NULL, NULL, &err), HY_E_UNSUPPORTED, &err,
                 "already quantized (Q8_0)");
    hy_quantize_opts opts = {.size = sizeof opts, .allow_requantize = true};
    assert_ok(hy_quantize_file(first, second, "Q4_0", &opts, NULL, &err), &err);
    /* To the type it has: nothing is encoded again. */
    assert_ok(hy_quantize_file(first, second, "Q8_0", NULL, NULL, &err), &err);
    size_t n, m;
    char *a = read_file(first, &n);
    char *b = read_file(second, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

/* ---- progress, metadata, split models */

typedef struct progress {
    uint64_t calls, last, total, stop_after;
} progress;

static bool count_progress(void *user, uint64_t done, uint64_t total)
{
    progress *p = user;
    assert_true(done >= p->last && done <= total);
    assert_true(p->calls == 0 || total == p->total);
    p->last = done;
    p->total = total;
    return ++p->calls != p->stop_after;
}

static void progress_can_cancel(void **state)
{
    (void)state;
    char in[1000];
    char out[1000];
    snprintf(in, sizeof in, "%s", model_path("llama-rows-96"));
    snprintf(out, sizeof out, "%s", temp_path("cancelled.gguf"));
    progress p = {0};
    hy_quantize_opts opts = {.size = sizeof opts, .progress = count_progress, .progress_user = &p};
    hy_error err;
    p.stop_after = 5;
    assert_fails(hy_quantize_file(in, out, "Q8_0", &opts, NULL, &err), HY_E_CANCELLED, &err,
                 "cancelled after");
    assert_int_equal(p.calls, 5);
    assert_false(exists(out, "") || exists(out, ".part"));
    p = (progress){0};
    assert_ok(hy_quantize_file(in, out, "Q8_0", &opts, NULL, &err), &err);
    assert_true(p.calls > 5 && p.last == p.total && p.total > 0);
}

/* Older callers have a smaller struct; what they cannot set has its default. */
static void options_of_older_callers(void **state)
{
    (void)state;
    hy_quantize_opts opts = {.size = offsetof(hy_quantize_opts, progress),
                             .progress = stop_at_once};
    hy_error err;
    assert_ok(hy_quantize_file(model_path("llama-rows-80"), temp_path("older.gguf"), "Q8_0", &opts,
                               NULL, &err),
              &err);
}

static void metadata_is_kept(void **state)
{
    (void)state;
    const char *in = temp_path("meta.gguf");
    const char *out = temp_path("meta-out.gguf");
    const hy_str words[2] = {{"one", 3}, {"two", 3}};
    hy_gguf_writer *w = new_writer("llama");
    assert_int_equal(hy_gguf_writer_set_u32(w, "general.quantization_version", 1, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_set_u32(w, "general.file_type", 77, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_set_u32(w, "general.alignment", 64, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_set_array(w, "words", HY_GGUF_STRING, words, 2, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_set_bool(w, "flag", true, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_begin(w, in, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
    hy_gguf_writer_destroy(w);
    hy_error err;
    assert_ok(hy_quantize_file(in, out, "q5_k_m", NULL, NULL, &err), &err);
    hy_gguf *g = NULL;
    assert_ok(hy_gguf_open(out, NULL, NULL, &g, &err), &err);
    uint32_t v = 0;
    hy_str s;
    bool flag = false;
    assert_int_equal(hy_gguf_n_keys(g), 6);
    assert_int_equal(hy_gguf_get_u32(g, "general.quantization_version", 0, 99, &v, &err), HY_OK);
    assert_int_equal(v, 2);
    assert_int_equal(hy_gguf_get_u32(g, "general.file_type", 0, 99, &v, &err), HY_OK);
    assert_int_equal(v, 17);
    assert_int_equal(hy_gguf_alignment(g), 64);
    assert_int_equal(hy_gguf_get_bool(g, "flag", &flag, &err), HY_OK);
    assert_true(flag);
    assert_true(hy_gguf_elem_str(g, (size_t)hy_gguf_find_key(g, "words"), 1, &s));
    assert_memory_equal(s.data, "two", 3);
    hy_gguf_close(g);
}

/* Writes one part of a split model: the writer does not, so its keys get their names afterwards. */
static void write_part(const char *path, uint32_t no, const char *tensor_name, float value)
{
    const uint64_t ne[2] = {32, 2};
    float x[64];
    hy_gguf_writer *w = new_writer("llama");
    assert_int_equal(hy_gguf_writer_set_u32(w, "xplit.no", no, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_set_u32(w, "xplit.count", 2, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_set_u32(w, "xplit.tensors.count", 2, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_add_tensor(w, tensor_name, HY_TYPE_F32, 2, ne, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_begin(w, path, NULL), HY_OK);
    for (size_t e = 0; e < 64; e++) {
        x[e] = value;
    }
    assert_int_equal(hy_gguf_writer_data(w, x, sizeof x, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
    hy_gguf_writer_destroy(w);
    size_t n;
    char *bytes = read_file(path, &n);
    for (size_t i = 0; i + 6 <= n; i++) {
        if (memcmp(bytes + i, "xplit.", 6) == 0) {
            bytes[i] = 's';
        }
    }
    write_file(path, bytes, n);
    free(bytes);
}

static void split_models_become_one_file(void **state)
{
    (void)state;
    const char *in = temp_path("model-00001-of-00002.gguf");
    const char *out = temp_path("joined.gguf");
    write_part(temp_path("model-00002-of-00002.gguf"), 1, "blk.1.a.weight", 2.0f);
    write_part(in, 0, "blk.2.b.weight", 1.0f);
    hy_error err;
    assert_ok(hy_quantize_file(in, out, "Q8_0", NULL, NULL, &err), &err);
    hy_gguf *g = NULL;
    assert_ok(hy_gguf_open(out, NULL, NULL, &g, &err), &err);
    assert_int_equal(hy_gguf_n_files(g), 1);
    assert_int_equal(hy_gguf_find_key(g, "split.count"), -1);
    assert_int_equal(hy_gguf_n_tensors(g), 2);
    static const char *const names[] = {"blk.1.a.weight", "blk.2.b.weight"};
    for (size_t i = 0; i < 2; i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        float x[64];
        assert_string_equal(t->name, names[i]);
        assert_int_equal(t->type, HY_TYPE_Q8_0);
        assert_int_equal(hy_dequantize(t->type, t->data, x, 64, NULL), HY_OK);
        assert_true(fabsf(x[0] - (i == 0 ? 2.0f : 1.0f)) < 0.01f);
    }
    hy_gguf_close(g);
}

/* ---- failures of the system */

static void every_failure_is_an_error(void **state)
{
    (void)state;
    static const char *const names[] = {"output.weight", "blk.0.attn_v.weight",
                                        "blk.0.attn_norm.weight", NULL};
    char in[1000];
    char out[1000];
    snprintf(in, sizeof in, "%s", write_simple("fail.gguf", "llama", names, 0.5f));
    snprintf(out, sizeof out, "%s", temp_path("fail-out.gguf"));
    hy_quantize_opts opts = {.size = sizeof opts, .n_threads = 3};
    failing_env f;
    failing_env_init(&f, 0);
    hy_error err;
    assert_ok(hy_quantize_file(in, out, "Q4_K_M", &opts, &f.env, &err), &err);
    uint64_t calls = f.calls;
    assert_int_equal(f.live_blocks, 0);
    assert_true(calls > 20);
    uint64_t refused = 0;
    for (uint64_t at = 1; at <= calls; at++) {
        failing_env_init(&f, at);
        err.text[0] = '\0';
        hy_status status = hy_quantize_file(in, out, "Q4_K_M", &opts, &f.env, &err);
        assert_int_equal(f.live_blocks, 0);
        assert_false(exists(out, ".part"));
        /* A failed mapping is replaced by reading; any other failure is the caller's to know. */
        if (status != HY_OK) {
            assert_true(err.text[0] != '\0');
            refused++;
        }
    }
    assert_true(refused + 2 >= calls);
}

/* What the encoder holds does not grow with the model: here 8 MiB of one tensor, with a row of a
 * million elements. */
static void memory_is_bounded(void **state)
{
    (void)state;
    enum { ROW = 1 << 20 };
    const uint64_t ne[2] = {ROW, 2};
    char in[1000];
    snprintf(in, sizeof in, "%s", temp_path("long.gguf"));
    float *x = calloc(ROW, sizeof *x);
    assert_non_null(x);
    hy_gguf_writer *w = new_writer("llama");
    assert_int_equal(hy_gguf_writer_add_tensor(w, "long.weight", HY_TYPE_F32, 2, ne, NULL), HY_OK);
    assert_int_equal(hy_gguf_writer_begin(w, in, NULL), HY_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hy_gguf_writer_data(w, x, ROW * sizeof *x, NULL), HY_OK);
    }
    assert_int_equal(hy_gguf_writer_finish(w, NULL), HY_OK);
    hy_gguf_writer_destroy(w);
    free(x);
    failing_env f;
    failing_env_init(&f, 0);
    hy_error err;
    assert_ok(hy_quantize_file(in, temp_path("long-out.gguf"), "Q4_0", NULL, &f.env, &err), &err);
    assert_true(f.peak_bytes < 5u << 20);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write-models") == 0) {
        for (size_t i = 0; i < HY_COUNT(models); i++) {
            char path[1000];
            snprintf(path, sizeof path, "%s/%s.gguf", argv[2], models[i].name);
            write_model(&models[i], path);
        }
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_those_of_llama_quantize),
        cmocka_unit_test(files_are_those_of_llama_quantize),
        cmocka_unit_test(mix_names),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(the_first_fault_is_named),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(models_that_are_refused),
        cmocka_unit_test(keys_of_a_wrong_type),
        cmocka_unit_test(types_that_cannot_be_converted),
        cmocka_unit_test(requantizing_must_be_allowed),
        cmocka_unit_test(progress_can_cancel),
        cmocka_unit_test(options_of_older_callers),
        cmocka_unit_test(metadata_is_kept),
        cmocka_unit_test(split_models_become_one_file),
        cmocka_unit_test(every_failure_is_an_error),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
