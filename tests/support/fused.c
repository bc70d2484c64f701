/* fused.c: see fused.h. */
#include "support/fused.h"

#include "model/builder.h"

const fused_file fused_files[FUSED_N_FILES] = {
    {"models/halyard-tiny-rwkv7-Q4_K_M.gguf", 6, 3},
    {"tests/golden/mini/tiny-rwkv7-Q4_K_M.gguf", 6, 3},
    {"tests/golden/arwkv7/arwkv7-gate-norm-Q4_0.gguf", 6, 3},
    {"tests/golden/arwkv7/arwkv7-plain-Q8_0.gguf", 6, 3},
    {"tests/golden/mini/llama-mini-Q3_K_M.gguf", 6, 3},
    {"tests/golden/mini/qwen3-mini-Q4_K_M.gguf", 6, 3},
    {"tests/golden/qwen2/qwen2.gguf", 6, 3},
};

void fused_load(fused *l, const char *path, uint32_t rules)
{
    hy_env env;
    hy_error err;
    hy__builder b;
    hy__env_resolve(&env, NULL);
    assert_ok(hy_gguf_open(source_path(path), NULL, NULL, &l->gguf, &err), &err);
    hy__graph_init(&l->graph, &env);
    assert_ok(hy__model_build(l->gguf, &l->graph, &b, &err), &err);
    assert_ok(hy__fuse(&l->fusion, &l->graph, rules, &err), &err);
    assert_ok(hy__fusion_verify(&l->fusion, &l->graph, &err), &err);
    assert_ok(hy__fusion_apply(&l->fusion, &l->graph, &err), &err);
    assert_ok(hy__fusion_verify(&l->fusion, &l->graph, &err), &err);
    assert_ok(hy__graph_verify(&l->graph, &err), &err);
    assert_ok(hy__exprs_make(&l->exprs, &l->fusion, &l->graph, &err), &err);
    assert_ok(hy__exprs_verify(&l->exprs, &l->fusion, &l->graph, &err), &err);
}

void fused_unload(fused *l)
{
    hy__exprs_finish(&l->exprs);
    hy__fusion_finish(&l->fusion);
    hy__graph_finish(&l->graph);
    hy_gguf_close(l->gguf);
}
