/* make_corpus_model.c: writes the stored corpora of fuzz_model and fuzz_state.
 *
 *     make_corpus_model MODEL_FOLDER STATE_FOLDER */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "halyard/session.h"
#include "support/tiny_models.h"

static void write_input(const char *folder, const char *name, const char *what, const void *data,
                        size_t n)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s-%s", folder, name, what);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
}

static void must(hy_status status, const hy_error *err)
{
    if (status != HY_OK) {
        fprintf(stderr, "%s\n", err->text);
        exit(1);
    }
}

/* ---- models: the plain ones, and what only some files have */

typedef void (*variant_fn)(tiny_model *m, tiny_arch arch);

static void plain(tiny_model *m, tiny_arch arch)
{
    (void)m;
    (void)arch;
}

static void half(tiny_model *m, tiny_arch arch)
{
    (void)arch;
    for (size_t i = 0; i < m->n_tensors; i++) {
        m->tensors[i].type = i % 2 ? HY_TYPE_F16 : HY_TYPE_BF16;
    }
}

static void tied(tiny_model *m, tiny_arch arch)
{
    (void)arch;
    tiny_drop(m, "output.weight");
}

static void yarn(tiny_model *m, tiny_arch arch)
{
    (void)arch;
    tiny_set_str(m, ".rope.scaling.type", "yarn");
    tiny_set_f32(m, ".rope.scaling.factor", 4);
    tiny_set_u32(m, ".rope.scaling.original_context_length", 32);
    tiny_set_f32(m, ".attention.scale", 0.5f);
}

static void factors(tiny_model *m, tiny_arch arch)
{
    (void)arch;
    tiny_tensor *t = tiny_add(m, "rope_freqs.weight", 2, 0);
    t->values[0] = 1;
    t->values[1] = 8;
    tiny_set_f32(m, ".rope.scale_linear", 2);
}

static void extras(tiny_model *m, tiny_arch arch)
{
    if (arch == TINY_RWKV7) {
        tiny_add(m, "blk.0.time_mix_v0.weight", 8, 0);
        tiny_add(m, "blk.0.time_mix_v1.weight", 8, 2);
    } else {
        const uint32_t heads[] = {2};
        tiny_set_u32_array(m, ".attention.head_count", heads, 1);
        tiny_add(m, "output.bias", 8, 0);
    }
}

static void fused(tiny_model *m, tiny_arch arch)
{
    (void)arch;
    tiny_drop(m, "blk.0.attn_q.weight");
    tiny_drop(m, "blk.0.attn_k.weight");
    tiny_drop(m, "blk.0.attn_v.weight");
    tiny_add(m, "blk.0.attn_qkv.weight", 8, 16);
}

static void missing(tiny_model *m, tiny_arch arch)
{
    (void)arch;
    tiny_drop(m, "output_norm.weight");
}

static const struct {
    const char *name;
    variant_fn make;
    bool transformers_only;
} variants[] = {
    {"plain", plain, false},     {"half", half, false}, {"extras", extras, false},
    {"missing", missing, false}, {"tied", tied, true},  {"yarn", yarn, true},
    {"factors", factors, true},
};

static void write_models(const char *folder)
{
    size_t len;
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        for (size_t i = 0; i < HY_COUNT(variants); i++) {
            tiny_model m;
            if (variants[i].transformers_only && arch == TINY_RWKV7) {
                continue;
            }
            tiny_make(&m, arch, &tiny_least);
            variants[i].make(&m, arch);
            void *bytes = tiny_bytes(&m, &len);
            write_input(folder, tiny_arch_name(arch), variants[i].name, bytes, len);
            free(bytes);
            tiny_free(&m);
        }
    }
    tiny_model m;
    tiny_make(&m, TINY_LLAMA, &tiny_least);
    fused(&m, TINY_LLAMA);
    void *bytes = tiny_bytes(&m, &len);
    write_input(folder, "llama", "fused", bytes, len);
    free(bytes);
    tiny_free(&m);
}

/* ---- states: of several lengths, as they are and to be sealed by the target */

static void write_states_of(const char *folder, tiny_arch arch)
{
    static const uint32_t lengths[] = {0, 1, 5};
    hy_error err;
    hy_model *m;
    size_t len;
    void *bytes = tiny_file(arch, &tiny_least, &len);
    must(hy_model_load_memory(bytes, len, NULL, NULL, &m, &err), &err);
    for (size_t i = 0; i < HY_COUNT(lengths); i++) {
        const hy_token ids[] = {1, 2, 3, 5, 7};
        hy_session *s;
        hy_step step;
        hy_state *state;
        void *data;
        size_t n;
        must(hy_session_create(m, NULL, &s, &err), &err);
        must(hy_session_append(s, ids, lengths[i], &err), &err);
        must(hy_session_step(s, &step, &err), &err);
        must(hy_session_snapshot(s, &state, &err), &err);
        must(hy_state_to_bytes(state, &data, &n, &err), &err);
        uint8_t *input = malloc(n + 1);
        if (!input) {
            exit(1);
        }
        memcpy(input + 1, data, n);
        for (int sealed = 0; sealed < 2; sealed++) {
            char what[40];
            snprintf(what, sizeof what, "%u%s", lengths[i], sealed ? "-sealed" : "");
            input[0] = (uint8_t)(arch | (sealed ? 0x80 : 0));
            write_input(folder, tiny_arch_name(arch), what, input, n + 1);
        }
        write_input(folder, tiny_arch_name(arch),
                    i == 0   ? "cut"
                    : i == 1 ? "cut-1"
                             : "cut-5",
                    input, n - 3);
        free(input);
        hy_state_free_bytes(state, data);
        hy_state_destroy(state);
        hy_session_destroy(s);
    }
    hy_model_destroy(m);
    free(bytes);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: make_corpus_model MODEL_FOLDER STATE_FOLDER\n");
        return 1;
    }
    write_models(argv[1]);
    for (tiny_arch arch = 0; arch < TINY_N_ARCHS; arch++) {
        write_states_of(argv[2], arch);
    }
    return 0;
}
