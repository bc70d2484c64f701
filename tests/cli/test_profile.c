/* test_profile.c: the table of phases and the trace, on steps whose times are made up.  One thread.
 */
#include <math.h>

#include "profile.h"
#include "support/support.h"
#include "support/tiny_models.h"

typedef struct fixture {
    void *bytes;
    hy_model *model;
    hy_session *session;
    hy_plan_info plan;
    profile p;
} fixture;

static void set_up(fixture *f, tiny_arch arch, size_t runs, bool keep)
{
    hy_error err;
    size_t len;
    f->bytes = tiny_file(arch, &tiny_usual, &len);
    assert_ok(hy_model_load_memory(f->bytes, len, NULL, NULL, &f->model, &err), &err);
    f->plan = (hy_plan_info){.size = sizeof f->plan};
    hy_model_plan(f->model, &f->plan);
    const hy_session_opts opts = {.size = sizeof opts, .cache_type_k = "f32", .cache_type_v = "f32"};
    assert_ok(hy_session_create(f->model, &opts, &f->session, &err), &err);
    assert_true(profile_init(&f->p, f->session, runs, keep));
}

static void tear_down(fixture *f)
{
    profile_free(&f->p);
    hy_session_destroy(f->session);
    hy_model_destroy(f->model);
    free(f->bytes);
}

/* A step in which phase i takes (i + 1) * unit nanoseconds.  Returns its length. */
static double step(fixture *f, uint32_t n_tokens, bool output, uint64_t unit)
{
    uint64_t now = 1000;
    for (uint32_t i = 0; i < f->plan.n_phases; i++) {
        hy_plan_phase phase = {.size = sizeof phase};
        hy_model_plan_phase(f->model, i, &phase);
        if (output || !phase.per_output) {
            profile_phase(&f->p, i, n_tokens, now, now + (i + 1) * unit);
            now += (i + 1) * unit;
        }
    }
    return (double)(now - 1000);
}

static const profile_row *row_named(const profile *p, const char *name)
{
    for (uint32_t i = 0; i < p->n_rows; i++) {
        if (strcmp(p->rows[i].name, name) == 0) {
            return &p->rows[i];
        }
    }
    fail_msg("there is no row %s", name);
    return NULL;
}

static void layers_share_rows(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, TINY_QWEN3, 1, false);
    uint32_t n = 0;
    for (uint32_t i = 0; i < f.p.n_rows; i++) {
        n += f.p.rows[i].n_phases;
    }
    assert_int_equal(n, f.plan.n_phases);
    assert_int_equal(f.p.n_rows, 7); /* five of a layer, and two outside */
    assert_int_equal(row_named(&f.p, "attn_{q,k,v}")->n_phases, 2);
    assert_string_equal(row_named(&f.p, "attn_{q,k,v}")->kind, "matmul");
    assert_int_equal(row_named(&f.p, "ffn_{gate,up}")->n_phases, 2);
    assert_string_equal(row_named(&f.p, "attention")->kind, "attention");
    assert_int_equal(row_named(&f.p, "output")->n_phases, 1);
    assert_string_equal(row_named(&f.p, "token_embd")->kind, "embed");
    tear_down(&f);
}

static void what_decoding_reads_is_the_plan(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, TINY_RWKV7, 1, false);
    profile_begin(&f.p);
    step(&f, 1, true, 1);
    step(&f, 1, true, 1);
    profile_end(&f.p, 2, 1);
    double bytes = 0;
    double ops = 0;
    for (uint32_t i = 0; i < f.p.n_rows; i++) {
        bytes += profile_bytes(&f.p, &f.p.rows[i]);
        ops += profile_ops(&f.p, &f.p.rows[i]);
    }
    double planned = 0;
    for (uint32_t i = 0; i < f.plan.n_ops; i++) {
        hy_plan_op op = {.size = sizeof op};
        hy_model_plan_op(f.model, i, &op);
        planned += (double)op.weight_bytes + (double)op.state_bytes;
    }
    assert_float_equal(bytes, planned, 1e-6);
    /* F32 matrices: two operations for four bytes. */
    const profile_row *output = row_named(&f.p, "output");
    assert_float_equal(profile_ops(&f.p, output), 2.0 * tiny_usual.rows * tiny_usual.c, 1e-6);
    assert_true(ops > profile_ops(&f.p, output));
    tear_down(&f);
}

static void a_step_of_many_tokens_reads_once(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, TINY_RWKV7, 1, false);
    profile_begin(&f.p);
    step(&f, 4, false, 1);
    step(&f, 4, true, 1);
    profile_end(&f.p, 8, 1);
    const profile_row *output = row_named(&f.p, "output"); /* runs once in eight tokens */
    const double matrix = 4.0 * tiny_usual.rows * tiny_usual.c;
    assert_true(8 * profile_bytes(&f.p, output) >= matrix);
    assert_true(8 * profile_bytes(&f.p, output) < 1.5 * matrix);
    assert_float_equal(8 * profile_ops(&f.p, output), matrix / 2, 1e-6); /* and for one of them */
    const profile_row *ffn = row_named(&f.p, "channel_mix_value"); /* in two steps and two layers */
    assert_true(8 * profile_bytes(&f.p, ffn) >= 16.0 * tiny_usual.c * tiny_usual.f);
    assert_true(8 * profile_bytes(&f.p, ffn) < 20.0 * tiny_usual.c * tiny_usual.f);
    assert_float_equal(profile_ops(&f.p, ffn), 4.0 * tiny_usual.c * tiny_usual.f, 1e-6);
    tear_down(&f);
}

static void attention_reads_the_positions_before(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, TINY_LLAMA, 2, false);
    profile_begin(&f.p);
    const profile_row *attention = row_named(&f.p, "attention");
    step(&f, 1, true, 1);
    const double first = attention->bytes;
    step(&f, 1, true, 1);
    const double second = attention->bytes - first;
    assert_float_equal(second - first, (double)f.plan.kv_bytes_per_token, 1e-6);
    step(&f, 3, true, 1);
    assert_float_equal(attention->bytes - second - first - first,
                       4 * (double)f.plan.kv_bytes_per_token, 1e-6);
    profile_end(&f.p, 5, 1);
    const double before = attention->bytes;
    profile_begin(&f.p); /* the next run begins at position 0 */
    step(&f, 1, true, 1);
    assert_float_equal(attention->bytes - before, first, 1e-6);
    profile_end(&f.p, 1, 1);
    tear_down(&f);
}

static void times_are_those_of_the_median_run(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, TINY_LLAMA, 3, false);
    static const uint64_t units[] = {10, 5000, 30};
    for (size_t r = 0; r < 3; r++) {
        profile_begin(&f.p);
        double ns = step(&f, 1, true, units[r]);
        ns += step(&f, 1, true, units[r]);
        profile_end(&f.p, 2, ns + 8 + 2 * (double)r);
    }
    assert_float_equal(profile_ns(&f.p, row_named(&f.p, "token_embd")), 30, 1e-9);
    const uint32_t n = f.plan.n_phases;
    assert_float_equal(profile_ns(&f.p, row_named(&f.p, "output")), 30.0 * n, 1e-9);
    double sum = 0;
    for (uint32_t i = 0; i < f.p.n_rows; i++) {
        sum += profile_ns(&f.p, &f.p.rows[i]);
    }
    assert_float_equal(sum, 30.0 * n * (n + 1) / 2, 1e-6);
    assert_float_equal(profile_rest_ns(&f.p), 5, 1e-6);
    tear_down(&f);
}

static size_t count(const char *where, const char *part)
{
    size_t n = 0;
    for (const char *at = strstr(where, part); at; at = strstr(at + 1, part)) {
        n++;
    }
    return n;
}

static void the_trace_has_the_last_run(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, TINY_LLAMA, 2, true);
    for (int r = 0; r < 2; r++) {
        profile_begin(&f.p);
        step(&f, 7, false, 1500);
        step(&f, 2, true, 1500);
        profile_end(&f.p, 9, 1);
    }
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("trace.json"));
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    bool first = true;
    profile_trace(&f.p, out, 3, "tg9", &first);
    profile_trace(&f.p, out, 4, "pp9", &first);
    assert_int_equal(fclose(out), 0);
    char *trace = read_file(path, NULL);
    assert_int_equal(count(trace, "\"ph\":\"X\""), 2 * (2 * f.plan.n_phases - 1));
    assert_int_equal(count(trace, "\"ph\":\"M\""), 2);
    assert_int_equal(count(trace, "\n"), 2 * (2 * f.plan.n_phases - 1) + 1);
    assert_int_equal(count(trace, "\"tid\":3"), 2 * f.plan.n_phases);
    assert_int_equal(count(trace, "\"tokens\":7"), 2 * (f.plan.n_phases - 1));
    assert_non_null(strstr(trace, "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":3,"
                                  "\"args\":{\"name\":\"tg9\"}},\n"
                                  "{\"name\":\"token_embd\",\"cat\":\"embed\",\"ph\":\"X\","
                                  "\"pid\":1,\"tid\":3,\"ts\":0.000,\"dur\":1.500,"
                                  "\"args\":{\"phase\":0,\"layer\":-1,\"tokens\":7}}"));
    assert_non_null(strstr(trace, "\"name\":\"attn_{q,k,v}\",\"cat\":\"matmul\",\"ph\":\"X\","
                                  "\"pid\":1,\"tid\":3,\"ts\":1.500,\"dur\":3.000,"
                                  "\"args\":{\"phase\":1,\"layer\":0,\"tokens\":7}}"));
    free(trace);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_share_rows),
        cmocka_unit_test(what_decoding_reads_is_the_plan),
        cmocka_unit_test(a_step_of_many_tokens_reads_once),
        cmocka_unit_test(attention_reads_the_positions_before),
        cmocka_unit_test(times_are_those_of_the_median_run),
        cmocka_unit_test(the_trace_has_the_last_run),
    };
    return cmocka_run_group_tests_name("cli_profile", tests, NULL, NULL);
}
