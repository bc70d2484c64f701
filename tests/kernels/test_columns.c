/* test_columns.c: panels of columns and their kernels, beside those of packed panels, bit by bit;
 * and the embedded model with and without them. */
#include <math.h>

#include "backend/cpu/levels.h"
#include "support/support.h"

enum {
    N = 768,
    ROWS = HY__COLUMNS_ROWS,
    MOST_ROW = N / 32 * 34,
    FACTORS = N / 16 * HY__PANEL_ROWS,
    Q8_BYTES = 2 * N + 5 * 64,
    CHOSEN_BYTES = 3 * N
};

/* A level that has kernels for columns. */
typedef struct kernels {
    const char *name;
    hy__packed_table packed;
    const hy__columns_table *columns;
} kernels;

static uint64_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* ---- data: rows of a type as in a file, in panels of 16 and in columns */

typedef struct sample {
    hy_type type;
    uint32_t n, n_rows;
    int index;
    size_t row_bytes;
    uint8_t rows[ROWS * MOST_ROW], panels[ROWS * MOST_ROW];
    uint8_t *columns; /* ends where its memory ends: a sanitizer sees what reads further */
} sample;

static sample s;

static bool is_moderate(const hy_type_info *t, const uint8_t *block)
{
    float decoded[256];
    bool good = true;
    assert_int_equal(hy_dequantize(t->type, block, decoded, t->block_elems, NULL), HY_OK);
    for (uint32_t i = 0; i < t->block_elems; i++) {
        good = good && fabs((double)decoded[i]) < 1e4;
    }
    return good;
}

static void make_sample(hy_type type, uint32_t n, uint32_t n_rows)
{
    const hy_type_info *t = hy_type_find(type);
    s.type = type;
    s.n = n;
    s.n_rows = n_rows;
    s.index = hy__packed_index(type);
    s.row_bytes = (size_t)n / t->block_elems * t->block_bytes;
    assert_true(s.row_bytes <= MOST_ROW);
    for (size_t b = 0; b < n_rows * s.row_bytes; b += t->block_bytes) {
        do {
            for (uint32_t i = 0; i < t->block_bytes; i++) {
                s.rows[b + i] = (uint8_t)(random_u32() >> 8);
            }
        } while (!is_moderate(t, s.rows + b));
    }
    memset(s.panels, 0, sizeof s.panels);
    for (uint32_t r = 0; r < n_rows; r += HY__PANEL_ROWS) {
        hy__pack_panel(type, s.rows + r * s.row_bytes, s.row_bytes,
                       HY_MIN(n_rows - r, (uint32_t)HY__PANEL_ROWS), n, s.panels + r * s.row_bytes);
    }
    uint8_t *exact = malloc(n_rows * s.row_bytes);
    free(s.columns);
    s.columns = malloc(ROWS * s.row_bytes);
    assert_true(exact && s.columns);
    memcpy(exact, s.rows, n_rows * s.row_bytes);
    hy__columns_pack(type, exact, s.row_bytes, n_rows, n, s.columns);
    free(exact);
}

/* Elements first to end - 1 are other than zero with a chance of `percent`. */
static void fill(float *x, uint32_t n, uint32_t percent, uint32_t first, uint32_t end)
{
    for (uint32_t i = 0; i < n; i++) {
        const bool zero = random_u32() % 100 >= percent || i < first || i >= end;
        x[i] = zero ? 0 : (float)(int32_t)random_u32() * 0x1p-30f;
    }
}

/* ---- */

static void check_list(const hy__q8 *x, const hy__chosen *chosen, uint32_t block, uint32_t read)
{
    const uint8_t *cols = chosen->cols;
    const int8_t *q = chosen->q;
    uint32_t n = 0;
    for (uint32_t k = 0; k < s.n; k += block) {
        uint32_t i = 0;
        const uint32_t all = 4u * chosen->groups[k / block];
        for (uint32_t e = 0; e < block; e++) {
            if (x->q[k + e] != 0) {
                assert_true(i < all && cols[i] == e && q[i] == x->q[k + e]);
                i++;
            }
        }
        n += hy__columns_whole(block, all / 4) ? block : i;
        assert_true(all - i < 4);
        for (; i < all; i++) {
            assert_true(cols[i] < block && q[i] == 0);
        }
        cols += all;
        q += all;
    }
    assert_int_equal(read, n);
}

/* All rows, those that are missing included, have the bits of the kernel for panels of 16. */
static void check_gemv(const kernels *k, const float *x)
{
    enum { GUARD = 16 };
    static _Alignas(64) uint8_t q8[Q8_BYTES], list[CHOSEN_BYTES];
    float y[GUARD + ROWS + GUARD], want[HY__PANEL_ROWS];
    assert_true(hy__q8_bytes(s.n, 1) <= sizeof q8 && hy__chosen_bytes(s.n) <= sizeof list);
    k->packed.quantize(x, s.n, q8);
    const hy__q8 q = hy__q8_at(q8, s.n, 1);
    const uint32_t block = hy__packed_block(s.index);
    const uint32_t read = k->columns->choose(&q, s.n, block, list);
    const hy__chosen chosen = hy__chosen_at(list, s.n);
    check_list(&q, &chosen, block, read);
    memset(y, 0xff, sizeof y); /* NaN */
    k->columns->gemv[s.index](s.columns, &q, &chosen, s.n, y + GUARD);
    for (uint32_t r = 0; r < ROWS; r++) {
        if (r % HY__PANEL_ROWS == 0) {
            k->packed.gemv[s.index](s.panels + r * s.row_bytes, &q, s.n, want);
        }
        if (memcmp(&y[GUARD + r], &want[r % HY__PANEL_ROWS], sizeof *y) != 0) {
            fail_msg("%s, level %s, row %u of %u: %a instead of %a", hy_type_find(s.type)->name,
                     k->name, r, s.n_rows, (double)y[GUARD + r], (double)want[r % HY__PANEL_ROWS]);
        }
    }
    for (uint32_t i = 0; i < GUARD; i++) {
        assert_true(isnan(y[i]) && isnan(y[GUARD + ROWS + i])); /* untouched */
    }
}

static void check_expand(const kernels *k)
{
    enum { MOST = 4 };
    static uint8_t u[MOST][N * HY__PANEL_ROWS], want_u[N * HY__PANEL_ROWS];
    static float a[MOST][FACTORS], c[MOST][FACTORS], want_a[FACTORS], want_c[FACTORS];
    const size_t factors = (size_t)s.n / hy__packed_block(s.index) * HY__PANEL_ROWS * sizeof **a;
    for (uint32_t first = 0; first < HY__COLUMNS_PANELS; first++) {
        hy__panel out[MOST];
        const uint32_t count = MOST - first % MOST;
        for (uint32_t i = 0; i < count; i++) {
            out[i] = (hy__panel){u[i], a[i], c[i]};
        }
        k->columns->expand[s.index](s.columns, s.n, first, count, out);
        for (uint32_t i = 0; i < count; i++) {
            k->packed.expand[s.index](s.panels + (first + i) * HY__PANEL_ROWS * s.row_bytes, s.n,
                                      &(hy__panel){want_u, want_a, want_c});
            assert_memory_equal(u[i], want_u, (size_t)s.n * HY__PANEL_ROWS);
            assert_memory_equal(a[i], want_a, factors);
            assert_memory_equal(c[i], want_c, factors);
        }
    }
}

/* Levels that have kernels for the sample's type. */
static bool next_level(size_t *level, kernels *k)
{
    while (hy__level_name(*level)) {
        const size_t l = (*level)++;
        k->name = hy__level_name(l);
        k->columns = hy__level_here(l) ? hy__level_columns(l) : NULL;
        if (k->columns && k->columns->gemv[s.index]) {
            hy__level_packed(l, &k->packed);
            return true;
        }
    }
    return false;
}

static void check_type(hy_type type, uint32_t n)
{
    static const uint32_t percents[] = {0, 8, 50, 100};
    float x[N];
    kernels k;
    for (uint32_t less = 0; less < HY__PANEL_ROWS; less++) {
        make_sample(type, n, ROWS - less);
        for (size_t level = 0; next_level(&level, &k);) {
            for (size_t i = 0; i < HY_COUNT(percents); i++) {
                fill(x, n, percents[i], 0, n);
                check_gemv(&k, x);
            }
        }
    }
    make_sample(type, n, 1 + random_u32() % ROWS);
    for (size_t level = 0; next_level(&level, &k);) {
        fill(x, n, 8, 40, n - 40); /* nothing at both ends */
        check_gemv(&k, x);
        fill(x, n, 100, n - 1, n); /* the last alone */
        check_gemv(&k, x);
        check_expand(&k);
    }
}

static void products_have_the_bits_of_packed_panels(void **state)
{
    (void)state;
#define CHECK(type, block, elems, factors, bits, more)                                             \
    check_type(HY_TYPE_##type, N);                                                                 \
    check_type(HY_TYPE_##type, elems);
    HY__COLUMNS_TYPES(CHECK)
#undef CHECK
    check_type(HY_TYPE_Q8_0, 160);
    check_type(HY_TYPE_Q5_1, 96);
    free(s.columns);
}

/* ---- a model */

/* Logits of each token, one at a time behind a prompt of several. */
static float *logits_of(bool no_sparse, const hy_token *ids, size_t n, size_t *bytes)
{
    enum { PROMPT = 7 };
    hy_error err;
    hy_model *m;
    hy_session *session;
    hy_step step;
    hy_model_info info = {.size = sizeof info};
    const hy_model_opts opts = {.size = sizeof opts, .backend = "cpu", .no_sparse = no_sparse};
    assert_ok(
        hy_model_load(source_path("models/halyard-tiny-rwkv7-Q4_K_M.gguf"), &opts, NULL, &m, &err),
        &err);
    assert_ok(hy_session_create(m, NULL, &session, &err), &err);
    hy_model_get_info(m, &info);
    const size_t row = info.n_vocab * sizeof(float);
    *bytes = (n - PROMPT + 1) * row;
    char *out = malloc(*bytes);
    assert_non_null(out);
    for (size_t done = 0, i = 0; done < n; i++) {
        const size_t now = done == 0 ? PROMPT : 1;
        assert_ok(hy_session_append(session, ids + done, now, &err), &err);
        assert_ok(hy_session_step(session, &step, &err), &err);
        memcpy(out + i * row, hy_session_logits(session, 0), row);
        done += now;
    }
    hy_session_destroy(session);
    hy_model_destroy(m);
    return (float *)(void *)out;
}

static void a_model_computes_the_same(void **state)
{
    (void)state;
    hy_token ids[60];
    size_t bytes, same;
    for (size_t i = 0; i < HY_COUNT(ids); i++) {
        ids[i] = (hy_token)(random_u32() % 4000);
    }
    float *sparse = logits_of(false, ids, HY_COUNT(ids), &bytes);
    float *dense = logits_of(true, ids, HY_COUNT(ids), &same);
    assert_int_equal(bytes, same);
    assert_memory_equal(sparse, dense, bytes);
    free(sparse);
    free(dense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_have_the_bits_of_packed_panels),
        cmocka_unit_test(a_model_computes_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
