/* test_quant.c: the table of types, decoders against vectors, encoders against the reference's
 * bytes, wrong uses.
 *
 * The goldens of tests/golden/quant are made with the reference implementation by make.c there. */
#include "support/support.h"

#include <math.h>

#include "golden/quant/data.h"
#include "quant/k_fit.h"
#include "quant/quant.h"

enum { DECODE_ELEMS = 1024, RAW_ELEMS = 512, MOST_ELEMS = 65536 };

/* Every type of the list; NULL at the end. */
static const char *const type_names[] = {
#define NAME(name, id, elems, bytes, codec) #name,
    HY_TYPE_LIST(NAME)
#undef NAME
        NULL};

static const hy_type_info *info_of(const char *name)
{
    const hy_type_info *t = hy_type_by_name(name);
    assert_non_null(t);
    return t;
}

static size_t bytes_of(const hy_type_info *t, size_t elems)
{
    return elems / t->block_elems * t->block_bytes;
}

static char *golden(const char *sub, const char *name, size_t *len)
{
    char rel[100];
    snprintf(rel, sizeof rel, "tests/golden/quant/%s/%s.bin", sub, name);
    return read_file(source_path(rel), len);
}

/* ---- the table */

static void table_follows_the_list(void **state)
{
    (void)state;
#define CHECK(type_name, id, elems, bytes, codec)                                                  \
    {                                                                                              \
        const hy_type_info *t = hy_type_find(id);                                                  \
        assert_non_null(t);                                                                        \
        assert_string_equal(t->name, #type_name);                                                  \
        assert_int_equal(t->type, HY_TYPE_##type_name);                                            \
        assert_int_equal(t->block_elems, elems);                                                   \
        assert_int_equal(t->block_bytes, bytes);                                                   \
        assert_int_equal(t->can_decode, strcmp(#codec, "SIZE") != 0);                              \
        assert_int_equal(t->can_encode, strcmp(#codec, "FULL") == 0);                              \
        assert_ptr_equal(hy_type_by_name(#type_name), t);                                          \
        const hy__type_traits *traits = hy__type_traits_of(id);                                    \
        assert_int_equal(traits->dequantize_row != NULL, t->can_decode);                           \
        assert_int_equal(traits->quantize_row != NULL, t->can_encode);                             \
    }
    HY_TYPE_LIST(CHECK)
#undef CHECK
}

static void unknown_types(void **state)
{
    (void)state;
    static const uint32_t ids[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 1000, UINT32_MAX};
    for (size_t i = 0; i < HY_COUNT(ids); i++) {
        assert_null(hy_type_find(ids[i]));
        assert_null(hy__type_traits_of(ids[i]));
    }
    static const char *const names[] = {"", "Q4", "Q4_", "Q4_0 ", "Q4_00", "Q4_K_M", "_K", "f"};
    for (size_t i = 0; i < HY_COUNT(names); i++) {
        assert_null(hy_type_by_name(names[i]));
    }
    assert_null(hy_type_by_name(NULL));
    assert_int_equal(info_of("q4_k")->type, HY_TYPE_Q4_K);
    assert_int_equal(info_of("iq2_XxS")->type, HY_TYPE_IQ2_XXS);
}

/* ---- decoding */

static void decoders_equal_the_vectors(void **state)
{
    (void)state;
    static float values[DECODE_ELEMS];
    for (size_t i = 0; type_names[i]; i++) {
        const hy_type_info *t = info_of(type_names[i]);
        if (!t->can_decode) {
            continue;
        }
        size_t len;
        char *file = golden("decode", t->name, &len);
        size_t encoded = bytes_of(t, DECODE_ELEMS);
        assert_int_equal(len, encoded + sizeof values);
        hy_error err;
        assert_ok(hy_dequantize(t->type, file, values, DECODE_ELEMS, &err), &err);
        for (size_t e = 0; e < DECODE_ELEMS; e++) {
            uint32_t want = hy__load_u32(file + encoded + 4 * e);
            if (hy__f32_bits(values[e]) != want) {
                fail_msg("%s: element %zu is %.9g, not %.9g", t->name, e, (double)values[e],
                         (double)hy__f32_from_bits(want));
            }
        }
        free(file);
    }
}

static void decoders_take_any_alignment_and_keep_to_their_range(void **state)
{
    (void)state;
    for (size_t i = 0; type_names[i]; i++) {
        const hy_type_info *t = info_of(type_names[i]);
        if (!t->can_decode) {
            continue;
        }
        size_t len;
        char *file = golden("decode", t->name, &len);
        /* Blocks of their own, so that a sanitizer sees every byte beyond them. */
        char *odd = malloc(t->block_bytes + 1);
        float *out = malloc((t->block_elems + 1) * sizeof *out);
        assert_true(odd && out);
        memcpy(odd + 1, file, t->block_bytes);
        out[t->block_elems] = 123.0f;
        assert_int_equal(hy_dequantize(t->type, odd + 1, out, t->block_elems, NULL), HY_OK);
        assert_memory_equal(out, file + bytes_of(t, DECODE_ELEMS), t->block_elems * sizeof *out);
        assert_true(out[t->block_elems] == 123.0f);
        free(out);
        free(odd);
        free(file);
    }
}

static void every_byte_can_be_decoded(void **state)
{
    (void)state;
    uint8_t block[512];
    float out[256];
    for (size_t i = 0; type_names[i]; i++) {
        const hy_type_info *t = info_of(type_names[i]);
        for (unsigned byte = 0; byte < 256 && t->can_decode; byte++) {
            memset(block, (int)byte, sizeof block);
            assert_int_equal(hy_dequantize(t->type, block, out, t->block_elems, NULL), HY_OK);
        }
    }
}

static void mxfp4_knows_not_a_number(void **state)
{
    (void)state;
    uint8_t block[17] = {255, 0x21};
    float out[32];
    assert_int_equal(hy_dequantize(HY_TYPE_MXFP4, block, out, 32, NULL), HY_OK);
    assert_true(isnan(out[0]) && isnan(out[31]));
    block[0] = 0; /* the smallest scale, 2^-127, times 1/2 and 1 */
    assert_int_equal(hy_dequantize(HY_TYPE_MXFP4, block, out, 32, NULL), HY_OK);
    assert_true(out[0] == ldexpf(1.0f, -128) && out[16] == ldexpf(1.0f, -127));
}

/* ---- encoding */

static size_t fill_case(const char *name, float *x)
{
#define FILL(case_name, n, what)                                                                   \
    if (strcmp(name, #case_name) == 0) {                                                           \
        quant_fill(QUANT_CASE_##case_name, x, n);                                                  \
        return n;                                                                                  \
    }
    QUANT_CASES(FILL)
#undef FILL
    fail_msg("there is no case '%s'", name);
    return 0;
}

static void encoders_equal_the_reference(void **state)
{
    (void)state;
    static float x[MOST_ELEMS];
    static uint8_t out[4 * MOST_ELEMS];
    size_t len;
    char *list = read_file(source_path("tests/golden/quant/encode.txt"), &len);
    char type[20];
    char which[30];
    unsigned long long want;
    size_t checked = 0;
    int used;
    for (const char *p = list; sscanf(p, "%19s %29s %llx %n", type, which, &want, &used) == 3;
         p += used) {
        const hy_type_info *t = info_of(type);
        size_t n = fill_case(which, x);
        hy_error err;
        assert_ok(hy_quantize(t->type, x, out, n, &err), &err);
        uint64_t got = hy__crc64(0, out, bytes_of(t, n));
        if (got != want) {
            fail_msg("%s, case %s: other bytes than the reference's", type, which);
        }
        checked++;
    }
    free(list);
    size_t expected = 0;
    for (size_t i = 0; type_names[i]; i++) {
        expected += info_of(type_names[i])->can_encode ? (size_t)QUANT_CASE_COUNT : 0;
    }
    assert_int_equal(checked, expected);
}

/* The raw blocks say where a difference is; also, blocks do not depend on what is encoded with
 * them. */
static void blocks_can_be_encoded_alone(void **state)
{
    (void)state;
    static float x[RAW_ELEMS];
    uint8_t block[1024];
    quant_fill(QUANT_CASE_mixed, x, RAW_ELEMS);
    for (size_t i = 0; type_names[i]; i++) {
        const hy_type_info *t = info_of(type_names[i]);
        if (!t->can_encode) {
            continue;
        }
        size_t len;
        char *want = golden("encode", t->name, &len);
        assert_int_equal(len, bytes_of(t, RAW_ELEMS));
        for (size_t e = 0; e < RAW_ELEMS; e += t->block_elems) {
            memset(block, 0xA5, sizeof block);
            assert_int_equal(hy_quantize(t->type, x + e, block + 1, t->block_elems, NULL), HY_OK);
            assert_memory_equal(block + 1, want + bytes_of(t, e), t->block_bytes);
            assert_int_equal(block[0], 0xA5);
            assert_int_equal(block[1 + t->block_bytes], 0xA5);
        }
        free(want);
    }
}

/* Root mean square error of encoding normal numbers, as a share of theirs. */
static void encoding_loses_what_it_should(void **state)
{
    (void)state;
    static const struct {
        hy_type type;
        double limit;
    } limits[] = {
        {HY_TYPE_F32, 0.0},     {HY_TYPE_F16, 3e-4},   {HY_TYPE_BF16, 2e-3}, {HY_TYPE_Q8_0, 0.006},
        {HY_TYPE_Q6_K, 0.02},   {HY_TYPE_Q5_K, 0.04},  {HY_TYPE_Q5_1, 0.05}, {HY_TYPE_Q5_0, 0.05},
        {HY_TYPE_Q4_K, 0.08},   {HY_TYPE_Q4_1, 0.1},   {HY_TYPE_Q4_0, 0.1},  {HY_TYPE_IQ4_NL, 0.08},
        {HY_TYPE_IQ4_XS, 0.08}, {HY_TYPE_MXFP4, 0.13}, {HY_TYPE_Q3_K, 0.17}, {HY_TYPE_Q2_K, 0.32},
    };
    static float x[8192];
    static float y[8192];
    static uint8_t out[4 * 8192];
    quant_fill(QUANT_CASE_gaussian, x, 8192);
    double energy = 0;
    for (size_t e = 0; e < 8192; e++) {
        energy += (double)x[e] * x[e];
    }
    for (size_t i = 0; i < HY_COUNT(limits); i++) {
        assert_int_equal(hy_quantize(limits[i].type, x, out, 8192, NULL), HY_OK);
        assert_int_equal(hy_dequantize(limits[i].type, out, y, 8192, NULL), HY_OK);
        double error = 0;
        for (size_t e = 0; e < 8192; e++) {
            error += ((double)y[e] - x[e]) * ((double)y[e] - x[e]);
        }
        double share = sqrt(error / energy);
        if (share > limits[i].limit) {
            fail_msg("%s: %.5f of the magnitude is lost, over %.5f",
                     hy_type_find(limits[i].type)->name, share, limits[i].limit);
        }
    }
}

/* ---- what is refused */

static void wrong_arguments(void **state)
{
    (void)state;
    float x[256] = {0};
    uint8_t out[1024] = {0};
    hy_error err;
    assert_fails(hy_dequantize((hy_type)4, out, x, 32, &err), HY_E_UNSUPPORTED, &err,
                 "no tensor type 4");
    assert_fails(hy_quantize((hy_type)99, x, out, 32, &err), HY_E_UNSUPPORTED, &err,
                 "no tensor type 99");
    assert_fails(hy_dequantize(HY_TYPE_I32, out, x, 32, &err), HY_E_UNSUPPORTED, &err,
                 "I32 cannot be decoded");
    assert_fails(hy_quantize(HY_TYPE_Q8_K, x, out, 256, &err), HY_E_UNSUPPORTED, &err,
                 "Q8_K cannot be encoded");
    assert_fails(hy_quantize(HY_TYPE_IQ2_XS, x, out, 256, &err), HY_E_UNSUPPORTED, &err,
                 "IQ2_XS cannot be encoded");
    assert_fails(hy_dequantize(HY_TYPE_Q4_0, out, x, 33, &err), HY_E_ARG, &err, "33 elements");
    assert_fails(hy_quantize(HY_TYPE_Q4_K, x, out, 128, &err), HY_E_ARG, &err,
                 "no multiple of the 256");
    assert_fails(hy_dequantize(HY_TYPE_Q4_0, NULL, x, 32, &err), HY_E_ARG, &err, "source");
    assert_fails(hy_dequantize(HY_TYPE_Q4_0, out, NULL, 32, &err), HY_E_ARG, &err, "destination");
    assert_fails(hy_quantize(HY_TYPE_Q4_0, NULL, out, 32, &err), HY_E_ARG, &err, "source");
    assert_fails(hy_quantize(HY_TYPE_Q4_0, x, NULL, 32, &err), HY_E_ARG, &err, "destination");
    assert_int_equal(hy_dequantize(HY_TYPE_I32, out, x, 32, NULL), HY_E_UNSUPPORTED);
    assert_int_equal(hy_dequantize(HY_TYPE_Q4_0, NULL, NULL, 0, NULL), HY_OK);
    assert_int_equal(hy_quantize(HY_TYPE_Q4_0, NULL, NULL, 0, NULL), HY_OK);
}

static void numbers_that_are_none(void **state)
{
    (void)state;
    float x[512];
    uint8_t out[4 * 512];
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; type_names[i]; i++) {
        const hy_type_info *t = info_of(type_names[i]);
        for (size_t b = 0; b < HY_COUNT(bad) && t->can_encode; b++) {
            quant_fill(QUANT_CASE_gaussian, x, 512);
            x[300] = bad[b];
            hy_error err;
            assert_fails(hy_quantize(t->type, x, out, 512, &err), HY_E_NUMERIC, &err,
                         "element 300");
        }
    }
}

/* In the second half, so that the block's place can be checked. */
static void numbers_that_do_not_fit(void **state)
{
    (void)state;
    float x[512];
    uint8_t out[4 * 512];
    for (size_t i = 0; type_names[i]; i++) {
        const hy_type_info *t = info_of(type_names[i]);
        if (!t->can_encode || t->type == HY_TYPE_F32 || t->type == HY_TYPE_MXFP4 ||
            t->type == HY_TYPE_BF16) {
            continue;
        }
        for (int sign = -1; sign <= 1; sign += 2) {
            quant_fill(QUANT_CASE_gaussian, x, 512);
            /* Positive and negative numbers of this size overflow a scale or a minimum of every
             * type, also those of types that keep many scales below d. */
            for (size_t e = 256; e < 512; e++) {
                x[e] = (float)sign * 1e12f * (1.0f + (float)(e % 7));
            }
            hy_error err;
            assert_fails(hy_quantize(t->type, x, out, 512, &err), HY_E_NUMERIC, &err,
                         "block at element 256");
            assert_non_null(strstr(err.text, t->name));
        }
    }
    hy_error err;
    x[0] = 65519.0f;
    x[1] = 65520.0f;
    assert_int_equal(hy_quantize(HY_TYPE_F16, x, out, 1, NULL), HY_OK);
    assert_fails(hy_quantize(HY_TYPE_F16, x, out, 2, &err), HY_E_NUMERIC, &err, "element 1");
    x[0] = 3.38e38f;
    x[1] = -3.4028235e38f;
    assert_int_equal(hy_quantize(HY_TYPE_BF16, x, out, 1, NULL), HY_OK);
    assert_fails(hy_quantize(HY_TYPE_BF16, x, out, 2, &err), HY_E_NUMERIC, &err, "element 1");
    assert_int_equal(hy_quantize(HY_TYPE_F32, x, out, 2, NULL), HY_OK);
    /* The exponent byte of this block would be the one for NaN. */
    memset(x, 0, sizeof x);
    x[33] = ldexpf(1.5f, -126);
    assert_fails(hy_quantize(HY_TYPE_MXFP4, x, out, 64, &err), HY_E_NUMERIC, &err,
                 "block at element 32");
    x[33] = ldexpf(1.5f, -125);
    assert_int_equal(hy_quantize(HY_TYPE_MXFP4, x, out, 64, NULL), HY_OK);
}

/* The minimum may be too large where the scale is not. */
static void minimum_that_does_not_fit(void **state)
{
    (void)state;
    static const hy_type types[] = {HY_TYPE_Q4_1, HY_TYPE_Q5_1};
    float x[32];
    uint8_t out[64];
    for (size_t e = 0; e < 32; e++) {
        x[e] = -70000.0f - (float)e;
    }
    for (size_t i = 0; i < HY_COUNT(types); i++) {
        hy_error err;
        assert_fails(hy_quantize(types[i], x, out, 32, &err), HY_E_NUMERIC, &err, "element 0");
    }
}

/* ---- the small steps */

static void rounding_steps(void **state)
{
    (void)state;
    static const float in[] = {0.5f,        1.5f, 2.5f,  -0.5f,      -1.5f,      -2.5f,
                               0.49999997f, 3.7f, -3.7f, 4194303.0f, -4194303.0f};
    static const int32_t out[] = {0, 2, 2, 0, -2, -2, 0, 4, -4, 4194303, -4194303};
    for (size_t i = 0; i < HY_COUNT(in); i++) {
        assert_int_equal(hy__round_even(in[i]), out[i]);
    }
    assert_int_equal(hy__truncate(2.9f), 2);
    assert_int_equal(hy__truncate(-2.9f), -2);
    assert_true(hy__truncate(-2147483648.0f) == INT32_MIN);
    assert_true(hy__truncate(2147483648.0f) == INT32_MIN);
    assert_true(hy__truncate(INFINITY) == INT32_MIN);
    assert_true(hy__truncate(NAN) == INT32_MIN);
    const float x[] = {1.0f, -3.0f, 3.0f, 2.0f};
    assert_true(hy__first_extreme(x, 4) == -3.0f);
    assert_true(hy__first_extreme(x, 0) == 0.0f);
    assert_int_equal(hy__clamp_i32(5, -4, 3), 3);
    assert_int_equal(hy__clamp_i32(-5, -4, 3), -4);
    assert_int_equal(hy__clamp_i32(2, -4, 3), 2);
}

/* Q8_0 rounds halves away from zero, the others to even: 0.5, 1.5 and 2.5 units here. */
static void q8_0_rounds_halves_away(void **state)
{
    (void)state;
    float x[32] = {127.0f, 0.5f, -0.5f, 1.5f, -1.5f, 2.5f, -2.5f, 0.49999997f, -126.5f};
    static const int8_t want[] = {127, 1, -1, 2, -2, 3, -3, 0, -127};
    uint8_t out[34];
    assert_int_equal(hy_quantize(HY_TYPE_Q8_0, x, out, 32, NULL), HY_OK);
    assert_memory_equal(out + 2, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_follows_the_list),
        cmocka_unit_test(unknown_types),
        cmocka_unit_test(decoders_equal_the_vectors),
        cmocka_unit_test(decoders_take_any_alignment_and_keep_to_their_range),
        cmocka_unit_test(every_byte_can_be_decoded),
        cmocka_unit_test(mxfp4_knows_not_a_number),
        cmocka_unit_test(encoders_equal_the_reference),
        cmocka_unit_test(blocks_can_be_encoded_alone),
        cmocka_unit_test(encoding_loses_what_it_should),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(numbers_that_are_none),
        cmocka_unit_test(numbers_that_do_not_fit),
        cmocka_unit_test(minimum_that_does_not_fit),
        cmocka_unit_test(rounding_steps),
        cmocka_unit_test(q8_0_rounds_halves_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
