/* test_matmul.c: a model that is one matrix, of every type that can be decoded, on the CPU backend
 * at every level against the reference backend: types without a kernel too. */
#include <math.h>

#include "backend/backend.h"
#include "backend/cpu/levels.h"
#include "support/support.h"

enum { N = 768, M = 37, VOCAB = 5 };

static uint64_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* Any bytes, as long as the row is of moderate finite numbers. */
static void fill_row(const hy_type_info *t, uint8_t *row)
{
    float decoded[N];
    const size_t bytes = (size_t)N / t->block_elems * t->block_bytes;
    for (size_t b = 0; b < bytes; b += t->block_bytes) {
        for (bool good = false; !good;) {
            for (uint32_t i = 0; i < t->block_bytes; i++) {
                row[b + i] = (uint8_t)(random_u32() >> 8);
            }
            assert_int_equal(hy_dequantize(t->type, row + b, decoded, t->block_elems, NULL), HY_OK);
            good = true;
            for (uint32_t i = 0; i < t->block_elems; i++) {
                good = good && fabs((double)decoded[i]) < 1e4;
            }
        }
    }
}

/* Logits of all tokens, or false if this machine has not got the level. */
static bool run(const hy__backend *backend, const char *level, const hy__graph *g,
                const hy__fusion *f, uint32_t threads, float *logits)
{
    static const hy_token ids[VOCAB] = {3, 1, 4, 0, 2};
    hy_error err;
    hy__plan plan;
    void *model, *session;
    atomic_bool cancel;
    atomic_init(&cancel, false);
    assert_ok(hy__plan_make(&plan, g, f, &err), &err);
    const hy__backend_model_opts model_opts = {.cpu_level = level};
    const hy_status status = backend->model_create(g, f, &plan, &model_opts, &g->env, &model, &err);
    if (status == HY_E_UNSUPPORTED) {
        hy__plan_finish(&plan);
        return false;
    }
    assert_ok(status, &err);
    const hy__backend_opts opts = {.n_batch = VOCAB, .n_threads = threads, .all_logits = true};
    assert_ok(backend->session_create(model, &opts, &session, &err), &err);
    const hy__step_args args = {
        .tokens = ids, .n = VOCAB, .n_out = VOCAB, .logits = logits, .cancel = &cancel};
    assert_ok(backend->step(session, &args, &err), &err);
    backend->session_destroy(session);
    backend->model_destroy(model);
    hy__plan_finish(&plan);
    return true;
}

/* Root of the mean square, of x - y or of x. */
static double rms(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (y ? (double)y[i] : 0);
        sum += d * d;
    }
    return sqrt(sum / (double)n);
}

static void check_type(const hy_type_info *t)
{
    hy_error err;
    hy_env env;
    hy__graph g;
    const size_t row_bytes = (size_t)N / t->block_elems * t->block_bytes;
    float *table = malloc(sizeof(float) * N * VOCAB);
    uint8_t *rows = malloc(row_bytes * M);
    assert_true(table && rows);
    for (size_t i = 0; i < (size_t)N * VOCAB; i++) {
        table[i] = (float)(int32_t)random_u32() / 2147483648.0f;
    }
    for (size_t r = 0; r < M; r++) {
        fill_row(t, rows + r * row_bytes);
    }
    const hy_gguf_tensor embed = {.name = "embed",
                                  .type = HY_TYPE_F32,
                                  .n_dims = 2,
                                  .ne = {N, VOCAB, 1, 1},
                                  .n_elems = N * VOCAB,
                                  .bytes = sizeof(float) * N * VOCAB,
                                  .data = table};
    const hy_gguf_tensor matrix = {.name = "matrix",
                                   .type = t->type,
                                   .n_dims = 2,
                                   .ne = {N, M, 1, 1},
                                   .n_elems = N * M,
                                   .bytes = row_bytes * M,
                                   .data = rows};
    const hy__params none = {0};
    hy__env_resolve(&env, NULL);
    hy__graph_init(&g, &env);
    const hy__id tokens = hy__graph_add_tokens(&g, &err);
    const hy__id w_embed = hy__graph_add_weight(&g, &embed, 0, N, VOCAB, &err);
    const hy__id w = hy__graph_add_weight(&g, &matrix, 0, N, M, &err);
    const hy__id x = hy__graph_add_op(&g, HY__OP_EMBED, HY__NO_LAYER, "x",
                                      (const hy__id[]){w_embed, tokens}, &none, &err);
    const hy__id out =
        hy__graph_add_op(&g, HY__OP_SELECT, HY__NO_LAYER, "out", (const hy__id[]){x}, &none, &err);
    g.logits = hy__graph_add_op(&g, HY__OP_MATMUL, HY__NO_LAYER, "logits", (const hy__id[]){w, out},
                                &none, &err);
    assert_ok(hy__graph_verify(&g, &err), &err);
    hy__fusion f;
    assert_ok(hy__fuse(&f, &g, HY__ALL_RULES, &err), &err);
    assert_ok(hy__fusion_apply(&f, &g, &err), &err);

    float exact[VOCAB * M], got[VOCAB * M], again[VOCAB * M];
    assert_true(run(&hy__backend_ref, NULL, &g, &f, 1, exact));
    /* Columns are rounded to 8 bits only for kernels of that kind. */
    const double bound = hy__packed_index(t->type) < 0 ? 1e-6 : 0.01;
    for (size_t l = 0; hy__level_name(l); l++) {
        if (!run(&hy__backend_cpu, hy__level_name(l), &g, &f, 1, got)) {
            continue;
        }
        const double off = rms(got, exact, VOCAB * M) / rms(exact, NULL, VOCAB * M);
        if (!(off <= bound)) {
            fail_msg("%s, %s: relative rms %.3g (bound %.3g)", t->name, hy__level_name(l), off,
                     bound);
        }
        assert_true(run(&hy__backend_cpu, hy__level_name(l), &g, &f, 3, again));
        assert_memory_equal(got, again, sizeof got);
    }
    hy__fusion_finish(&f);
    hy__graph_finish(&g);
    free(table);
    free(rows);
}

static void every_type(void **state)
{
    (void)state;
    size_t n = 0;
    for (uint32_t id = 0; id < 100; id++) {
        const hy_type_info *t = hy_type_find(id);
        if (t && t->can_decode) {
            check_type(t);
            n++;
        }
    }
    assert_int_equal(n, 26);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
