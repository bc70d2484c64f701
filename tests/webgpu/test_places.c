/* test_places.c: where the matrices of large models lie on GPUs of every size, without such a GPU
 * or such a file: the file is a head and zeros that no memory stands behind. */
#define _GNU_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include <math.h>
#include <sys/mman.h>

#include "backend/webgpu/webgpu.h"
#include "model/model.h"
#include "support/support.h"

/* ---- a file of true shapes */

typedef struct shape {
    const char *name;
    uint32_t c, layers, vocab, f, heads, heads_kv, key; /* heads 0: rwkv7 */
    hy_type type, output;                               /* of the large matrices, of the last one */
} shape;

static const shape shapes[] = {
    {"rwkv7-7.2b", 4096, 32, 65536, 16384, 0, 0, 0, HY_TYPE_Q4_K, HY_TYPE_Q6_K},
    {"rwkv7-7.2b", 4096, 32, 65536, 16384, 0, 0, 0, HY_TYPE_F16, HY_TYPE_F16},
    {"llama-8b", 4096, 32, 128256, 14336, 32, 8, 128, HY_TYPE_Q4_K, HY_TYPE_Q6_K},
    {"llama-8b", 4096, 32, 128256, 14336, 32, 8, 128, HY_TYPE_Q8_0, HY_TYPE_Q8_0},
    {"llama-8b", 4096, 32, 128256, 14336, 32, 8, 128, HY_TYPE_F16, HY_TYPE_F32},
};

typedef struct file {
    uint8_t head[1 << 18];
    size_t len;
    uint64_t data; /* bytes of tensors so far */
    uint64_t n_tensors, n_keys;
    uint8_t tensors[1 << 18];
    size_t tensors_len;
} file;

static void put(uint8_t *to, size_t *len, const void *data, size_t n)
{
    assert_true(*len + n <= 1 << 18);
    memcpy(to + *len, data, n);
    *len += n;
}

static void put_text(uint8_t *to, size_t *len, const char *s)
{
    const uint64_t n = strlen(s);
    put(to, len, &n, 8);
    put(to, len, s, n);
}

static void key(file *f, const char *arch, const char *name, uint32_t type, const void *value,
                size_t bytes)
{
    char full[100];
    snprintf(full, sizeof full, "%s%s", arch, name);
    put_text(f->head, &f->len, full);
    put(f->head, &f->len, &type, 4);
    put(f->head, &f->len, value, bytes);
    f->n_keys++;
}

static void key_u32(file *f, const char *arch, const char *name, uint32_t value)
{
    key(f, arch, name, 4, &value, 4);
}

static void key_f32(file *f, const char *arch, const char *name, float value)
{
    key(f, arch, name, 6, &value, 4);
}

static void tensor(file *f, int layer, const char *name, hy_type type, uint64_t n, uint64_t m,
                   uint64_t k)
{
    char full[64];
    const hy_type_info *t = hy_type_find((uint32_t)type);
    const uint64_t ne[4] = {n, m, 1, k};
    const uint32_t n_dims = k > 1 ? 4 : m > 1 ? 2 : 1, id = (uint32_t)type;
    if (layer < 0) {
        snprintf(full, sizeof full, "%s", name);
    } else {
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    }
    put_text(f->tensors, &f->tensors_len, full);
    put(f->tensors, &f->tensors_len, &n_dims, 4);
    put(f->tensors, &f->tensors_len, ne, 8 * n_dims);
    put(f->tensors, &f->tensors_len, &id, 4);
    put(f->tensors, &f->tensors_len, &f->data, 8);
    f->data += (n * m * k / t->block_elems * t->block_bytes + 31) / 32 * 32;
    f->n_tensors++;
}

static void vector(file *f, int layer, const char *name, uint64_t n)
{
    tensor(f, layer, name, HY_TYPE_F32, n, 1, 1);
}

static uint64_t rank(double c, double exponent, double factor)
{
    return 32 * (uint64_t)HY_MAX(1.0, floor(pow(c, exponent) * factor / 32 + 0.5));
}

static void rwkv7(file *f, const shape *s)
{
    static const char a[] = "rwkv7";
    const uint64_t c = s->c;
    const struct {
        const char *name, *key;
        uint64_t rank;
        hy_type type;
    } low[] = {{"w", "decay", rank(s->c, 0.5, 1.8), HY_TYPE_F32},
               {"a", "iclr", rank(s->c, 0.5, 1.8), HY_TYPE_F16},
               {"v", "value_residual_mix", rank(s->c, 0.5, 1.3), HY_TYPE_F16},
               {"g", "gate", rank(s->c, 0.8, 0.6), HY_TYPE_F16}};
    key_u32(f, a, ".context_length", 1 << 20);
    key_u32(f, a, ".embedding_length", s->c);
    key_u32(f, a, ".block_count", s->layers);
    key_f32(f, a, ".attention.layer_norm_epsilon", 1e-5f);
    key_u32(f, a, ".wkv.head_size", 64);
    for (size_t i = 0; i < HY_COUNT(low); i++) {
        char name[80];
        snprintf(name, sizeof name, ".attention.%s_lora_rank", low[i].key);
        key_u32(f, a, name, (uint32_t)low[i].rank);
    }
    key_u32(f, a, ".feed_forward_length", s->f);
    key_u32(f, a, ".attention.head_count", 0);
    tensor(f, -1, "token_embd.weight", s->type, c, s->vocab, 1);
    vector(f, -1, "token_embd_norm.weight", c);
    vector(f, -1, "token_embd_norm.bias", c);
    static const char *const vectors[] = {
        "attn_norm.weight",         "attn_norm.bias",      "attn_norm_2.weight",
        "attn_norm_2.bias",         "time_mix_w0.weight",  "time_mix_a0.weight",
        "time_mix_v0.weight",       "time_mix_k_k.weight", "time_mix_k_a.weight",
        "time_mix_r_k.weight",      "time_mix_ln.weight",  "time_mix_ln.bias",
        "channel_mix_lerp_k.weight"};
    static const char *const squares[] = {"receptance", "key", "value", "output"};
    for (int i = 0; i < (int)s->layers; i++) {
        char name[60];
        for (size_t k = 0; k < HY_COUNT(vectors); k++) {
            vector(f, i, vectors[k], c);
        }
        tensor(f, i, "time_mix_lerp_fused.weight", HY_TYPE_F32, c, 1, 6);
        for (size_t k = 0; k < HY_COUNT(low); k++) {
            /* The first layer has no value residual; its places hold the gate's ranks. */
            const uint64_t r = k == 2 && i == 0 ? low[1].rank : low[k].rank;
            snprintf(name, sizeof name, "time_mix_%s1.weight", low[k].name);
            tensor(f, i, name, low[k].type, c, r, 1);
            snprintf(name, sizeof name, "time_mix_%s2.weight", low[k].name);
            tensor(f, i, name, low[k].type, r, c, 1);
        }
        for (size_t k = 0; k < HY_COUNT(squares); k++) {
            snprintf(name, sizeof name, "time_mix_%s.weight", squares[k]);
            tensor(f, i, name, s->type, c, c, 1);
        }
        tensor(f, i, "channel_mix_key.weight", s->type, c, s->f, 1);
        tensor(f, i, "channel_mix_value.weight", s->type, s->f, c, 1);
    }
    vector(f, -1, "output_norm.weight", c);
    vector(f, -1, "output_norm.bias", c);
    tensor(f, -1, "output.weight", s->output, c, s->vocab, 1);
}

static void llama(file *f, const shape *s)
{
    static const char a[] = "llama";
    const uint64_t c = s->c, q = (uint64_t)s->heads * s->key, kv = (uint64_t)s->heads_kv * s->key;
    key_u32(f, a, ".context_length", 32768);
    key_u32(f, a, ".embedding_length", s->c);
    key_u32(f, a, ".block_count", s->layers);
    key_u32(f, a, ".feed_forward_length", s->f);
    key_u32(f, a, ".attention.head_count", s->heads);
    key_u32(f, a, ".attention.head_count_kv", s->heads_kv);
    key_u32(f, a, ".attention.key_length", s->key);
    key_u32(f, a, ".attention.value_length", s->key);
    key_f32(f, a, ".attention.layer_norm_rms_epsilon", 1e-5f);
    key_f32(f, a, ".rope.freq_base", 500000.0f);
    key_u32(f, a, ".rope.dimension_count", s->key);
    key_u32(f, a, ".vocab_size", s->vocab);
    tensor(f, -1, "token_embd.weight", s->type, c, s->vocab, 1);
    for (int i = 0; i < (int)s->layers; i++) {
        vector(f, i, "attn_norm.weight", c);
        tensor(f, i, "attn_q.weight", s->type, c, q, 1);
        tensor(f, i, "attn_k.weight", s->type, c, kv, 1);
        tensor(f, i, "attn_v.weight", s->output, c, kv, 1);
        tensor(f, i, "attn_output.weight", s->type, q, c, 1);
        vector(f, i, "ffn_norm.weight", c);
        tensor(f, i, "ffn_gate.weight", s->type, c, s->f, 1);
        tensor(f, i, "ffn_up.weight", s->type, c, s->f, 1);
        tensor(f, i, "ffn_down.weight", s->output, s->f, c, 1);
    }
    vector(f, -1, "output_norm.weight", c);
    tensor(f, -1, "output.weight", s->output, c, s->vocab, 1);
}

/* The whole file, *bytes of address space. */
static void *make_file(const shape *s, size_t *bytes)
{
    static file f;
    f = (file){.len = 24};
    const char *arch = s->heads ? "llama" : "rwkv7";
    put_text(f.head, &f.len, "general.architecture");
    put(f.head, &f.len, &(uint32_t){8}, 4);
    put_text(f.head, &f.len, arch);
    f.n_keys++;
    if (s->heads) {
        llama(&f, s);
    } else {
        rwkv7(&f, s);
    }
    const uint32_t version = 3;
    memcpy(f.head, "GGUF", 4);
    memcpy(f.head + 4, &version, 4);
    memcpy(f.head + 8, &f.n_tensors, 8);
    memcpy(f.head + 16, &f.n_keys, 8);
    put(f.head, &f.len, f.tensors, f.tensors_len);
    *bytes = (f.len + 31) / 32 * 32 + (size_t)f.data;
    uint8_t *all = mmap(NULL, *bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(all != MAP_FAILED);
    memcpy(all, f.head, f.len);
    return all;
}

/* ---- what must hold */

static void check_matrices(const hy__gpu_model *m)
{
    uint64_t end[HY__GPU_MOST_SLABS] = {0}, sum = 0;
    for (uint32_t i = 0; i < m->n_slabs; i++) {
        assert_true(m->slab_bytes[i] <= HY_MIN(m->gpu.caps.max_buffer, UINT64_C(1) << 30));
    }
    for (uint32_t i = 0; i < m->g->n_values; i++) {
        const hy__gpu_matrix *x = &m->matrices[i];
        uint32_t rows = 0;
        for (uint32_t k = 0; k < x->n_chunks; k++) {
            const hy__gpu_chunk *c = &x->chunks[k];
            const uint32_t n = HY_MIN(x->m - rows, x->chunk_rows);
            const uint64_t bytes = hy__gpu_format_bytes(x->format, x->n, n);
            assert_true(c->slab < m->n_slabs && c->offset % 256 == 0);
            assert_true(c->offset + bytes <= m->slab_bytes[c->slab]);
            assert_true(bytes <= m->gpu.caps.max_binding);
            end[c->slab] += (bytes + 255) / 256 * 256;
            sum += bytes;
            rows += n;
        }
        assert_int_equal(rows, x->chunks ? x->m : 0);
    }
    for (uint32_t i = 0; i < m->n_slabs; i++) {
        assert_int_equal(end[i], m->slab_bytes[i]); /* and so no two lie in one place */
    }
    print_message("  %u slabs, %.2f GiB\n", m->n_slabs, (double)sum / (1 << 30));
}

static void check_program(const hy__gpu_model *m, const hy__gpu_program *p)
{
    uint32_t windows = 0;
    assert_true(p->n > 0);
    for (uint32_t i = 0; i < p->n; i++) {
        const hy__gpu_dispatch *d = &p->dispatches[i];
        assert_true(d->groups >= 1 && d->groups <= m->gpu.caps.max_workgroups);
        if (d->window_bytes > 0) {
            assert_true(d->window_bytes <= m->gpu.caps.max_binding && d->window_bytes % 4 == 0);
            assert_int_equal(d->window % m->gpu.caps.storage_align, 0);
            assert_true(d->window + d->window_bytes <= m->slab_bytes[d->slab]);
            windows++;
        }
    }
    assert_true(windows > 4 * m->g->n_layer);
}

static void check_on(const hy_model *model, const hy__gpu_caps *caps)
{
    hy_error err;
    hy__gpu_model m = {.env = model->env,
                       .g = &model->graph,
                       .f = &model->fusion,
                       .x = &model->exprs,
                       .p = &model->plan,
                       .workers = 1 << 17,
                       .lanes = 256};
    m.gpu.caps = *caps;
    assert_ok(hy__gpu_weights_place(&m, &err), &err);
    check_matrices(&m);
    assert_ok(hy__gpu_program_make(&m, &err), &err);
    check_program(&m, &m.decode);
    check_program(&m, &m.prefill);
    hy__gpu_program_finish(&m);
    hy__gpu_weights_finish(&m);
}

/* The least that WebGPU allows; a browser's usual limits; NVIDIA's. */
static void large_models_have_a_place(void **state)
{
    (void)state;
    if (sizeof(size_t) < 8) {
        skip(); /* no such file fits into the address space */
    }
    const hy__gpu_caps least = {.max_buffer = 256 << 20,
                                .max_binding = 128 << 20,
                                .storage_buffers = 8,
                                .workgroup_bytes = 16384,
                                .invocations = 256,
                                .max_workgroups = 65535,
                                .storage_align = 256,
                                .uniform_align = 256};
    hy__gpu_caps browser = least, large = least;
    browser.max_buffer = browser.max_binding = 1 << 30;
    browser.storage_buffers = 10;
    large.max_buffer = 1 << 30;
    large.max_binding = (UINT64_C(1) << 31) - 4;
    large.storage_buffers = 16;
    large.storage_align = 16;
    for (size_t i = 0; i < HY_COUNT(shapes); i++) {
        hy_error err;
        hy_model *m;
        size_t bytes;
        void *all = make_file(&shapes[i], &bytes);
        const hy_model_opts opts = {.size = sizeof opts, .backend = "null"};
        print_message("%s, %s: %.2f GiB\n", shapes[i].name,
                      hy_type_find((uint32_t)shapes[i].type)->name, (double)bytes / (1 << 30));
        assert_ok(hy_model_load_memory(all, bytes, &opts, NULL, &m, &err), &err);
        check_on(m, &least);
        check_on(m, &browser);
        check_on(m, &large);
        hy_model_destroy(m);
        munmap(all, bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_models_have_a_place),
    };
    return cmocka_run_group_tests_name("webgpu_places", tests, NULL, NULL);
}
