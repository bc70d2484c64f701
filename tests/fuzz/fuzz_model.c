/* fuzz_model.c: any bytes as a model: load it and, if it loads, run two tokens and carry the state
 * over to another session.
 *
 * Input: a GGUF file.  Larger ones than 256 KiB are passed over, and so are models whose state
 * would be out of proportion: the size of a session follows from the hyper-parameters, which a file
 * may choose as its tensors allow. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

#include "base/base.h"
#include "halyard/unstable.h"

#define MAX_BYTES ((size_t)256 * 1024)
#define MAX_STATE ((uint64_t)16 << 20)
#define MAX_OPS 4096

static bool too_much(const hy_model *m)
{
    hy_plan_info plan = {.size = sizeof plan};
    hy_model_plan(m, &plan);
    return plan.n_ops > MAX_OPS || plan.state_bytes > MAX_STATE ||
           plan.kv_bytes_per_token > MAX_STATE / 8 || plan.scratch_bytes_per_token > MAX_STATE ||
           plan.scratch_bytes_per_output > MAX_STATE;
}

/* False after an error, which must have a sentence. */
static bool went_well(hy_status status, const hy_error *err)
{
    if (status != HY_OK) {
        CHECK(err->code == status && err->text[0] != '\0' && status != HY_E_INTERNAL);
    }
    return status == HY_OK;
}

static void run_model(const hy_model *m)
{
    hy_error err;
    hy_session *s, *fork;
    hy_step step;
    hy_model_info info = {.size = sizeof info};
    hy_model_get_info(m, &info);
    const hy_session_opts opts = {.size = sizeof opts, .n_ctx = 3, .n_batch = 2};
    const hy_token ids[] = {0, (hy_token)(info.n_vocab - 1)};
    if (!went_well(hy_session_create(m, &opts, &s, &err), &err)) {
        return;
    }
    CHECK(went_well(hy_session_append(s, ids, 2, &err), &err));
    const hy_status status = hy_session_step(s, &step, &err);
    CHECK(status == HY_OK || status == HY_E_NUMERIC);
    if (went_well(status, &err)) {
        CHECK(step.done == 2 && step.n_logits == 1);
        for (uint32_t i = 0; i < info.n_vocab; i++) {
            CHECK(isfinite(hy_session_logits(s, 0)[i]));
        }
    }
    if (went_well(hy_session_fork(s, &fork, &err), &err)) {
        size_t n;
        (void)hy_session_tokens(fork, &n);
        CHECK(n == (status == HY_OK ? 2 : 0));
        hy_session_destroy(fork);
    }
    hy_session_destroy(s);
}

/* Trees and kernels of every phase; only a kernel may be refused. */
static void look_at(const hy_model *m)
{
    hy_error err;
    hy_plan_info info = {.size = sizeof info};
    hy_plan_tree tree = {.size = sizeof tree};
    hy_model_plan(m, &info);
    for (uint32_t i = 0; i < 2 * info.n_phases; i++) {
        const hy_plan_role role = i % 2 ? HY_PROLOGUE : HY_EPILOGUE;
        hy_status status;
        for (uint32_t k = 0; (status = hy_model_plan_tree(m, i / 2, role, k, &tree, &err)) == HY_OK;
             k++) {
            hy_model_plan_free(m, tree.text);
        }
        CHECK(status == HY_E_NOT_FOUND);
        char *kernel;
        if (went_well(hy_model_plan_kernel(m, i / 2, role, "wgsl", &kernel, &err), &err)) {
            hy_model_plan_free(m, kernel);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hy_error err;
    hy_model *m;
    const hy_model_opts opts = {.size = sizeof opts, .backend = "ref"};
    if (size > MAX_BYTES) {
        return 0;
    }
    if (went_well(hy_model_load_memory(data, size, &opts, NULL, &m, &err), &err)) {
        if (!too_much(m)) {
            look_at(m);
            run_model(m);
        }
        hy_model_destroy(m);
    } else {
        CHECK(m == NULL);
    }
    return 0;
}
