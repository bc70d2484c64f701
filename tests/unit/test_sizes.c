/* test_sizes.c: sizes of memory that a model or an option decides: none may wrap around where sizes
 * have 32 bits.
 *
 * The sums are compared with their exact values; a model whose rows are far too wide then has to be
 * refused.  No memory of such a size is touched, and blocks above a bound are not given at all. */
#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "support/support.h"

static void sizes_that_fit(void **state)
{
    (void)state;
    hy_error err;
    size_t bytes = 7;
    assert_ok(hy__size("x", 0, UINT64_MAX, &bytes, &err), &err);
    assert_int_equal(bytes, 0);
    assert_ok(hy__size("x", 1000, 24, &bytes, &err), &err);
    assert_int_equal(bytes, 24000);
    assert_ok(hy__size("x", PTRDIFF_MAX, 1, &bytes, &err), &err);
    assert_true(bytes == PTRDIFF_MAX);
}

static void sizes_that_do_not(void **state)
{
    (void)state;
    hy_error err;
    size_t bytes = 7;
    assert_fails(hy__size("a thing", (uint64_t)PTRDIFF_MAX + 1, 1, &bytes, &err), HY_E_NOMEM, &err,
                 "out of memory: a thing would take ");
    assert_fails(hy__size("a thing", (uint64_t)1 << 33, (uint64_t)1 << 30, &bytes, &err),
                 HY_E_NOMEM, &err, "a thing would take 9223372036854775808 bytes");
    assert_fails(hy__size("a thing", UINT64_MAX, 2, &bytes, &err), HY_E_NOMEM, &err,
                 "take more than 18446744073709551615 bytes");
    assert_int_equal(bytes, 7);
}

/* n elements in `columns` of 8 bits: q, three numbers per block, one per half a block. */
static uint64_t q8(uint64_t n, uint64_t columns)
{
    return columns * (n + 3 * n / 8 + n / 4);
}

static void sums_for_wide_rows(void **state)
{
    (void)state;
    const uint32_t n = (uint32_t)1 << 30; /* padding has no part in it */
    assert_true(hy__q8_bytes(n, 1) == q8(n, 1));
    assert_true(hy__q8_bytes(n, HY__TILE_COLS) == q8(n, HY__TILE_COLS));
    const hy__cpu_input both = {.q8 = true, .f32 = true};
    const uint64_t tile = q8(n, HY__TILE_COLS) + 4 * (uint64_t)n * HY__TILE_COLS;
    assert_true(hy__cpu_input_bytes(&both, n, 1) == q8(n, 1));
    assert_true(hy__cpu_input_bytes(&both, n, 4096) == 342 * tile);
    /* a panel and a row in f32 */
    assert_true(hy__cpu_matmul_scratch(n) == 4 * (uint64_t)n * (HY__PANEL_ROWS + 1));
    assert_true(hy__cpu_attention_scratch(1, n, n) >= (uint64_t)HY__ATTENTION_BLOCK * n);
    assert_true(hy__kv_bytes((hy__kv_form){HY__KV_F32, true, n}) ==
                4 * (uint64_t)HY__ATTENTION_BLOCK * n);
}

/* ---- a session of a model whose rows are too wide */

enum { N = 1 << 26, MOST = 1 << 29 };

static void *give_little(void *user, size_t bytes)
{
    (void)user;
    return bytes <= MOST ? malloc(bytes) : NULL;
}

/* A matrix of one row: an activation takes 256 MiB that nobody touches, a panel of 16 decoded rows
 * takes 2^32 bytes. */
static void a_row_that_is_too_wide(void **state)
{
    (void)state;
    hy_error err;
    hy_env env;
    hy__graph g;
    hy__fusion f;
    hy__plan plan;
    void *model, *session;
    const hy_type_info *t = hy_type_find(HY_TYPE_IQ1_S); /* of few bits, and without a kernel */
    const size_t row_bytes = (size_t)N / t->block_elems * t->block_bytes;
    assert_int_equal(hy__packed_index(t->type), -1);
    void *zeros = calloc(row_bytes, 1);
    assert_non_null(zeros);
    const hy_gguf_tensor row = {.name = "row",
                                .type = t->type,
                                .n_dims = 2,
                                .ne = {N, 1, 1, 1},
                                .n_elems = N,
                                .bytes = row_bytes,
                                .data = zeros};
    const hy__params none = {0};
    hy__env_resolve(&env, NULL);
    env.mem_alloc = give_little;
    hy__graph_init(&g, &env);
    const hy__id tokens = hy__graph_add_tokens(&g, &err);
    const hy__id w = hy__graph_add_weight(&g, &row, 0, N, 1, &err);
    const hy__id x = hy__graph_add_op(&g, HY__OP_EMBED, HY__NO_LAYER, "x",
                                      (const hy__id[]){w, tokens}, &none, &err);
    const hy__id out =
        hy__graph_add_op(&g, HY__OP_SELECT, HY__NO_LAYER, "out", (const hy__id[]){x}, &none, &err);
    g.logits = hy__graph_add_op(&g, HY__OP_MATMUL, HY__NO_LAYER, "logits", (const hy__id[]){w, out},
                                &none, &err);
    assert_ok(hy__graph_verify(&g, &err), &err);
    assert_ok(hy__fuse(&f, &g, HY__ALL_RULES, &err), &err);
    assert_ok(hy__fusion_apply(&f, &g, &err), &err);
    assert_ok(hy__plan_make(&plan, &g, &f, &err), &err);
    const hy__backend *b = &hy__backend_cpu;
    const hy__backend_model_opts model_opts = {0};
    assert_ok(b->model_create(&g, &f, NULL, &plan, &model_opts, &env, &model, &err), &err);

    hy__backend_opts opts = {.n_batch = 1, .n_threads = 1};
    const uint64_t scratch = 4 * (uint64_t)N * (HY__PANEL_ROWS + 1);
    const char *sentence = sizeof(size_t) == 4 ? "the threads' scratch memory would take 4563402752"
                                               : "out of memory: ";
    assert_true(scratch == 4563402752u);
    assert_fails(b->session_create(model, &opts, &session, &err), HY_E_NOMEM, &err, sentence);
    assert_null(session);
    /* So many columns that the sizes of all of them are multiples of 2^32. */
    opts.n_batch = 4096;
    opts.all_logits = true;
    sentence = sizeof(size_t) == 4 ? "the activations of tokens would take " : "out of memory: ";
    assert_fails(b->session_create(model, &opts, &session, &err), HY_E_NOMEM, &err, sentence);
    b->model_destroy(model);
    b = &hy__backend_ref;
    assert_ok(b->model_create(&g, &f, NULL, &plan, &model_opts, &env, &model, &err), &err);
    assert_fails(b->session_create(model, &opts, &session, &err), HY_E_NOMEM, &err, sentence);
    b->model_destroy(model);
    hy__plan_finish(&plan);
    hy__fusion_finish(&f);
    hy__graph_finish(&g);
    free(zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_fit),
        cmocka_unit_test(sizes_that_do_not),
        cmocka_unit_test(sums_for_wide_rows),
        cmocka_unit_test(a_row_that_is_too_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
