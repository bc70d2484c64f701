/* model.c: loading a model: file, graph, plan, backend, vocabulary.  A model is immutable once
 * loaded. */
#include "model.h"

#include "builder.h"
#include "gguf/gguf.h"

/* ---- fingerprint */

static uint64_t crc_u64(uint64_t crc, uint64_t v)
{
    uint8_t bytes[8];
    hy__store_u64(bytes, v);
    return hy__crc64(crc, bytes, sizeof bytes);
}

static uint64_t crc_str(uint64_t crc, hy_str s)
{
    return hy__crc64(crc_u64(crc, s.len), s.data, s.len);
}

/* Names, types, shapes and a sample of every tensor, and the hyper-parameters: another model,
 * another encoding of it or a finetune give another number.  Reading all weights for it would cost
 * seconds. */
static uint64_t fingerprint(const hy_gguf *g, const char *arch)
{
    uint64_t crc = hy__crc64(0, arch, strlen(arch));
    for (size_t i = 0; i < hy_gguf_n_keys(g); i++) {
        const hy_str key = hy_gguf_key_name(g, i);
        if (key.len <= strlen(arch) || memcmp(key.data, arch, strlen(arch)) != 0) {
            continue;
        }
        crc = crc_str(crc, key);
        for (size_t k = 0; k < hy_gguf_elem_count(g, i); k++) {
            double number;
            hy_str text;
            if (hy_gguf_elem_float(g, i, k, &number)) {
                uint64_t bits;
                memcpy(&bits, &number, sizeof bits);
                crc = crc_u64(crc, bits);
            } else if (hy_gguf_elem_str(g, i, k, &text)) {
                crc = crc_str(crc, text);
            }
        }
    }
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        crc = crc_u64(crc_str(crc, (hy_str){t->name, strlen(t->name)}), (uint64_t)t->type);
        for (int d = 0; d < 4; d++) {
            crc = crc_u64(crc, t->ne[d]);
        }
        const uint64_t n = HY_MIN(t->bytes, (uint64_t)64);
        crc = hy__crc64(crc, t->data, (size_t)n);
        crc = hy__crc64(crc, (const char *)t->data + t->bytes / 2,
                        (size_t)HY_MIN(t->bytes - t->bytes / 2, n));
        crc = hy__crc64(crc, (const char *)t->data + (t->bytes - n), (size_t)n);
    }
    return crc;
}

/* ---- loading */

static void fill_info(hy_model *m, const hy__builder *b)
{
    hy_model_info *info = &m->info;
    info->n_layer = m->graph.n_layer;
    info->n_embd = b->n_embd;
    info->n_vocab = m->graph.values[m->graph.logits].n;
    info->n_ctx_train = b->recurrent ? 0 : b->n_ctx_train;
    info->recurrent = b->recurrent;
    for (size_t i = 0; i < hy_gguf_n_tensors(m->gguf); i++) {
        info->n_params += hy_gguf_tensor_at(m->gguf, i)->n_elems;
        info->weight_bytes += hy_gguf_tensor_at(m->gguf, i)->bytes;
    }
    info->state_bytes = m->plan.recurrent * sizeof(float);
    info->kv_bytes_per_token = m->plan.per_position * sizeof(float);
    info->token_bytes = m->plan.weight_bytes + 2 * info->state_bytes + info->kv_bytes_per_token;
    info->fingerprint = fingerprint(m->gguf, m->arch);
}

/* A model and its vocabulary must agree, else sampled ids have no text. Padding rows behind the
 * vocabulary are common. */
static hy_status load_tokenizer(hy_model *m, hy_error *err)
{
    hy_error why;
    const hy_status status = hy_tokenizer_create(m->gguf, &m->env, &m->tokenizer, &why);
    if (status == HY_E_NOT_FOUND) {
        return HY_OK;
    }
    if (status != HY_OK) {
        return hy__fail(err, status, "%s", why.text);
    }
    const uint32_t rows = m->graph.values[m->graph.logits].n;
    if (hy_tokenizer_n_tokens(m->tokenizer) > rows) {
        return hy__fail(err, HY_E_FORMAT, "the vocabulary has %u tokens, the model only %u",
                        hy_tokenizer_n_tokens(m->tokenizer), rows);
    }
    return HY_OK;
}

/* The graph into phases, as many operations in each as the options and the backend allow. */
static hy_status fuse(hy_model *m, const char *no_fuse, hy_error *err)
{
    uint32_t rules;
    HY_TRY(hy__rules_without(no_fuse, &rules, err));
    HY_TRY(hy__fuse(&m->fusion, &m->graph, rules, err));
    HY_TRY(hy__fusion_apply(&m->fusion, &m->graph, err));
    if (m->backend->takes) {
        HY_TRY(hy__fusion_decline(&m->fusion, &m->graph, m->backend->takes, err));
    }
    HY_TRY(hy__fusion_verify(&m->fusion, &m->graph, err));
    HY_TRY(hy__exprs_make(&m->exprs, &m->fusion, &m->graph, err));
    return hy__exprs_verify(&m->exprs, &m->fusion, &m->graph, err);
}

/* What m->backend makes of m->gguf, which is open and belongs to m. */
static hy_status prepare(hy_model *m, const hy_model_opts *opts, hy_error *err)
{
    hy__builder b;
    HY_TRY(hy__model_build(m->gguf, &m->graph, &b, err));
    m->arch = b.arch;
    HY_TRY(fuse(m, opts->no_fuse, err));
    HY_TRY(hy__plan_make(&m->plan, &m->graph, &m->fusion, err));
    HY_TRY(load_tokenizer(m, err));
    fill_info(m, &b);
    if (opts->progress && !opts->progress(opts->progress_user, 0, m->info.weight_bytes)) {
        return hy__fail(err, HY_E_CANCELLED, "loading was cancelled");
    }
    return HY_OK;
}

static hy_status start(hy_model *m, const hy__backend_model_opts *opts, hy_error *err)
{
    HY_TRY(m->backend->model_create(&m->graph, &m->fusion, &m->exprs, &m->plan, opts, &m->env,
                                    &m->backend_model, err));
    if (opts->progress &&
        !opts->progress(opts->progress_user, m->info.weight_bytes, m->info.weight_bytes)) {
        return hy__fail(err, HY_E_CANCELLED, "loading was cancelled");
    }
    return HY_OK;
}

/* Takes prepare and start back. */
static void stop(hy_model *m)
{
    if (m->backend) {
        m->backend->model_destroy(m->backend_model);
    }
    hy_tokenizer_destroy(m->tokenizer);
    if (m->plan.place) {
        hy__plan_finish(&m->plan);
    }
    hy__exprs_finish(&m->exprs);
    hy__fusion_finish(&m->fusion);
    hy__graph_finish(&m->graph);
    *m = (hy_model){.env = m->env, .gguf = m->gguf};
    hy__graph_init(&m->graph, &m->env);
}

/* With the backend that is named; else with the first one that can. */
static hy_status load(hy_model *m, const hy_model_opts *opts, hy_error *err)
{
    hy__backend_model_opts b = {.cpu_level = opts->cpu_level,
                                .webgpu_lib = opts->webgpu_lib,
                                .webgpu_dir = opts->webgpu_dir,
                                .gpu_mask = opts->gpu_mask,
                                .kernel_cache = opts->kernel_cache,
                                .hardware = !opts->backend || strcmp(opts->backend, "auto") == 0,
                                .no_sparse = opts->no_sparse,
                                .mapped = hy__gguf_is_mapped(m->gguf),
                                .progress = opts->progress,
                                .progress_user = opts->progress_user};
    if (!b.hardware) {
        HY_TRY(hy__backend_find(opts->backend, &m->backend, err));
        HY_TRY(prepare(m, opts, err));
        return start(m, &b, err);
    }
    const hy__backend *backend, *next = NULL;
    hy_error why;
    HY_TRY(hy__backend_choose(NULL, &b, &backend, err));
    for (;; backend = next) {
        m->backend = backend;
        HY_TRY(prepare(m, opts, err));
        const hy_status status = start(m, &b, &why);
        if (status == HY_OK || status == HY_E_CANCELLED || !backend->look ||
            hy__backend_choose(backend, &b, &next, NULL) != HY_OK) {
            return status == HY_OK ? HY_OK : hy__fail(err, status, "%s", why.text);
        }
        if (status != HY_E_NOT_FOUND) {
            hy__message(&m->env, HY_LOG_WARN, "using backend %s, as %s cannot be used: %s",
                        next->name, backend->name, why.text);
        }
        stop(m);
    }
}

static hy_status load_any(const char *path, const void *data, size_t bytes,
                          const hy_model_opts *opts, const hy_env *env, hy_model **out,
                          hy_error *err)
{
    hy_model_opts o = {0};
    hy_env e;
    if (opts) {
        memcpy(&o, opts, HY_MIN(opts->size, sizeof o));
    }
    *out = NULL;
    hy__env_resolve(&e, env);
    hy_model *m = hy__calloc(&e, 1, sizeof *m, err);
    if (!m) {
        return HY_E_NOMEM;
    }
    m->env = e;
    hy__graph_init(&m->graph, &e);
    const hy_gguf_opts gguf_opts = {.size = sizeof gguf_opts, .no_mmap = o.no_mmap};
    hy_status status = path ? hy_gguf_open(path, &gguf_opts, &e, &m->gguf, err)
                            : hy_gguf_open_memory(data, bytes, &e, &m->gguf, err);
    if (status == HY_OK) {
        status = load(m, &o, err);
    }
    if (status != HY_OK) {
        hy_model_destroy(m);
        return status;
    }
    *out = m;
    return HY_OK;
}

hy_status hy_model_load(const char *path, const hy_model_opts *opts, const hy_env *env,
                        hy_model **out, hy_error *err)
{
    return load_any(path, NULL, 0, opts, env, out, err);
}

hy_status hy_model_load_memory(const void *data, size_t bytes, const hy_model_opts *opts,
                               const hy_env *env, hy_model **out, hy_error *err)
{
    return load_any(NULL, data, bytes, opts, env, out, err);
}

void hy_model_destroy(hy_model *m)
{
    if (!m) {
        return;
    }
    const hy_env env = m->env;
    stop(m);
    hy_gguf_close(m->gguf);
    hy__free(&env, m);
}

/* ---- looking at a model */

const hy_gguf *hy_model_gguf(const hy_model *m)
{
    return m->gguf;
}

const hy_tokenizer *hy_model_tokenizer(const hy_model *m)
{
    return m->tokenizer;
}

const char *hy_model_arch(const hy_model *m)
{
    return m->arch;
}

const char *hy_model_backend(const hy_model *m)
{
    return m->backend->name;
}

void hy_model_get_info(const hy_model *m, hy_model_info *info)
{
    const size_t size = HY_MIN(info->size, sizeof *info);
    hy_model_info copy = m->info;
    copy.size = info->size;
    memcpy(info, &copy, size);
}
