/* test_matmul.c: a model that is one matrix, of every type that can be decoded, on the CPU backend
 * at every level against the reference backend: types without a kernel too.  Then the same behind a
 * squared ReLU, whose zeros the CPU backend leaves out where it can. */
#include <math.h>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "support/support.h"

enum { N = 768, M = 37, VOCAB = 5, MOST_M = 256 };

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

/* Logits of all tokens, `at_once` in a step, or false if this machine has not got the level. */
static bool run(const hy__backend *backend, const hy__backend_model_opts *model_opts,
                const hy__graph *g, const hy__fusion *f, uint32_t threads, uint32_t at_once,
                float *logits)
{
    static const hy_token ids[VOCAB] = {3, 1, 4, 0, 2};
    hy_error err;
    hy__plan plan;
    void *model, *session;
    atomic_bool cancel;
    atomic_init(&cancel, false);
    assert_ok(hy__plan_make(&plan, g, f, &err), &err);
    const hy_status status =
        backend->model_create(g, f, NULL, &plan, model_opts, &g->env, &model, &err);
    if (status == HY_E_UNSUPPORTED) {
        hy__plan_finish(&plan);
        return false;
    }
    assert_ok(status, &err);
    const hy__backend_opts opts = {.n_batch = VOCAB, .n_threads = threads, .all_logits = true};
    assert_ok(backend->session_create(model, &opts, &session, &err), &err);
    for (uint32_t i = 0; i < VOCAB; i += at_once) {
        const hy__step_args args = {.tokens = ids + i,
                                    .n = at_once,
                                    .n_out = at_once,
                                    .logits = logits + (size_t)i * g->values[g->logits].n,
                                    .cancel = &cancel};
        assert_ok(backend->step(session, &args, &err), &err);
        backend->commit(session);
    }
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

/* A model of one matrix, behind a squared ReLU or not. */
typedef struct one_matrix {
    hy__graph g;
    hy__fusion f;
    hy_gguf_tensor embed, matrix;
    float *table;
    uint8_t *rows;
} one_matrix;

/* Numbers are -1 to 1 less `down`. */
static void make_matrix(one_matrix *o, const hy_type_info *t, uint32_t m, bool relu2, float down)
{
    hy_error err;
    hy_env env;
    const size_t row_bytes = (size_t)N / t->block_elems * t->block_bytes;
    o->table = malloc(sizeof(float) * N * VOCAB);
    o->rows = malloc(row_bytes * m);
    assert_true(o->table && o->rows);
    for (size_t i = 0; i < (size_t)N * VOCAB; i++) {
        o->table[i] = (float)(int32_t)random_u32() / 2147483648.0f - down;
    }
    for (size_t r = 0; r < m; r++) {
        fill_row(t, o->rows + r * row_bytes);
    }
    o->embed = (hy_gguf_tensor){.name = "embed",
                                .type = HY_TYPE_F32,
                                .n_dims = 2,
                                .ne = {N, VOCAB, 1, 1},
                                .n_elems = N * VOCAB,
                                .bytes = sizeof(float) * N * VOCAB,
                                .data = o->table};
    o->matrix = (hy_gguf_tensor){.name = "matrix",
                                 .type = t->type,
                                 .n_dims = 2,
                                 .ne = {N, m, 1, 1},
                                 .n_elems = (uint64_t)N * m,
                                 .bytes = row_bytes * m,
                                 .data = o->rows};
    const hy__params none = {0};
    hy__graph *g = &o->g;
    hy__env_resolve(&env, NULL);
    hy__graph_init(g, &env);
    const hy__id tokens = hy__graph_add_tokens(g, &err);
    const hy__id w_embed = hy__graph_add_weight(g, &o->embed, 0, N, VOCAB, &err);
    const hy__id w = hy__graph_add_weight(g, &o->matrix, 0, N, m, &err);
    hy__id x = hy__graph_add_op(g, HY__OP_EMBED, HY__NO_LAYER, "x",
                                (const hy__id[]){w_embed, tokens}, &none, &err);
    if (relu2) {
        x = hy__graph_add_op(g, HY__OP_RELU2, HY__NO_LAYER, "positive", (const hy__id[]){x}, &none,
                             &err);
    }
    const hy__id out = relu2 ? x
                             : hy__graph_add_op(g, HY__OP_SELECT, HY__NO_LAYER, "out",
                                                (const hy__id[]){x}, &none, &err);
    const hy__id y = hy__graph_add_op(g, HY__OP_MATMUL, HY__NO_LAYER, relu2 ? "y" : "logits",
                                      (const hy__id[]){w, out}, &none, &err);
    g->logits = relu2 ? hy__graph_add_op(g, HY__OP_SELECT, HY__NO_LAYER, "logits",
                                         (const hy__id[]){y}, &none, &err)
                      : y;
    assert_ok(hy__graph_verify(g, &err), &err);
    assert_ok(hy__fuse(&o->f, g, HY__ALL_RULES, &err), &err);
    assert_ok(hy__fusion_apply(&o->f, g, &err), &err);
}

static void free_matrix(one_matrix *o)
{
    hy__fusion_finish(&o->f);
    hy__graph_finish(&o->g);
    free(o->table);
    free(o->rows);
}

static void check_type(const hy_type_info *t)
{
    one_matrix o;
    make_matrix(&o, t, M, false, 0);
    float exact[VOCAB * M], got[VOCAB * M], again[VOCAB * M];
    const hy__backend_model_opts ref = {0};
    assert_true(run(&hy__backend_ref, &ref, &o.g, &o.f, 1, VOCAB, exact));
    /* Columns are rounded to 8 bits only for kernels of that kind. */
    const double bound = hy__packed_index(t->type) < 0 ? 1e-6 : 0.01;
    for (size_t l = 0; hy__level_name(l); l++) {
        const hy__backend_model_opts opts = {.cpu_level = hy__level_name(l)};
        if (!run(&hy__backend_cpu, &opts, &o.g, &o.f, 1, VOCAB, got)) {
            continue;
        }
        const double off = rms(got, exact, VOCAB * M) / rms(exact, NULL, VOCAB * M);
        if (!(off <= bound)) {
            fail_msg("%s, %s: relative rms %.3g (bound %.3g)", t->name, hy__level_name(l), off,
                     bound);
        }
        assert_true(run(&hy__backend_cpu, &opts, &o.g, &o.f, 3, VOCAB, again));
        assert_memory_equal(got, again, sizeof got);
    }
    free_matrix(&o);
}

#define MOSTLY_ZERO 0.8f /* less than this, one in ten is above zero */

/* One token at a time and all at once, with zeros left out and with all. */
static void check_sparse(const hy_type_info *t, uint32_t m)
{
    static float dense[VOCAB * MOST_M], got[VOCAB * MOST_M];
    one_matrix o;
    make_matrix(&o, t, m, true, MOSTLY_ZERO);
    for (size_t l = 0; hy__level_name(l); l++) {
        const hy__backend_model_opts opts = {.cpu_level = hy__level_name(l)};
        hy__backend_model_opts all = opts;
        all.no_sparse = true;
        if (!run(&hy__backend_cpu, &all, &o.g, &o.f, 1, 1, dense)) {
            continue;
        }
        for (uint32_t at_once = 1; at_once <= VOCAB; at_once += VOCAB - 1) {
            for (uint32_t threads = 1; threads <= 3; threads += 2) {
                assert_true(run(&hy__backend_cpu, &opts, &o.g, &o.f, threads, at_once, got));
                assert_memory_equal(got, dense, sizeof(float) * VOCAB * m);
            }
        }
    }
    free_matrix(&o);
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

/* Panels of columns with all their rows and without some. */
static void zeros_can_be_left_out(void **state)
{
    (void)state;
    for (uint32_t id = 0; id < 100; id++) {
        const hy_type_info *t = hy_type_find(id);
        if (t && hy__packed_index(t->type) >= 0) {
            check_sparse(t, MOST_M);
            check_sparse(t, MOST_M - 9);
            check_sparse(t, M); /* too few rows for columns */
        }
    }
}

/* Only where few numbers are not zero. */
static void it_is_measured_whether_zeros_are_left_out(void **state)
{
    (void)state;
    const hy_type_info *t = hy_type_find(HY_TYPE_Q4_K);
    for (size_t l = 0; hy__level_name(l); l++) {
        for (int few = 0; few < 2 && hy__level_here(l); few++) {
            one_matrix o;
            hy_error err;
            hy__plan plan;
            void *model;
            const hy__backend_model_opts opts = {.cpu_level = hy__level_name(l)};
            make_matrix(&o, t, MOST_M, true, few ? MOSTLY_ZERO : 0);
            assert_ok(hy__plan_make(&plan, &o.g, &o.f, &err), &err);
            assert_ok(hy__backend_cpu.model_create(&o.g, &o.f, NULL, &plan, &opts, &o.g.env, &model,
                                                   &err),
                      &err);
            const hy__cpu_model *m = model;
            uint32_t columns = 0;
            for (uint32_t i = 0; i < o.g.n_values; i++) {
                columns += m->matrices[i].columns;
            }
            assert_int_equal(columns, few && hy__level_columns(l) ? 1 : 0);
            hy__backend_cpu.model_destroy(model);
            hy__plan_finish(&plan);
            free_matrix(&o);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(zeros_can_be_left_out),
        cmocka_unit_test(it_is_measured_whether_zeros_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
