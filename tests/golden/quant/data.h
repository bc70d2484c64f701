/* data.h: numbers to encode, the same bits in the program that makes the goldens and in the test
 * that checks them.
 *
 * Only integer arithmetic and exact or singly rounded IEEE steps; no library function whose result
 * may differ. */
#ifndef HY_TESTS_GOLDEN_QUANT_DATA_H
#define HY_TESTS_GOLDEN_QUANT_DATA_H

#include <stddef.h>
#include <stdint.h>

/* name, elements (a multiple of 256), what it is */
#define QUANT_CASES(X)                                                                             \
    X(gaussian, 65536, "normal, deviation 0.02, as trained weights are")                           \
    X(zero, 1024, "all 0")                                                                         \
    X(positive, 8192, "uniform in 1..2")                                                           \
    X(negative, 8192, "uniform in -2..-1")                                                         \
    X(tiny, 4096, "normal, times 2^-60: scales below the f16 range, squares below that of f32")    \
    X(subnormal, 4096, "normal, times 2^-140: inverse scales overflow")                            \
    X(small_scale, 8192, "normal, times 2^-20: subnormal f16 scales")                              \
    X(huge, 8192, "normal, times 2^13")                                                            \
    X(constant, 1024, "0.3 everywhere")                                                            \
    X(negative_constant, 1024, "-7 everywhere")                                                    \
    X(outlier, 8192, "normal, one of 256 is 1000")                                                 \
    X(sparse, 8192, "zeros, one of 16 is normal")                                                  \
    X(half_zero, 8192, "every second run of 32 is zero")                                           \
    X(ties, 8192, "small multiples of 1/2: codes fall on ties")                                    \
    X(mixed, 32768, "runs of 16 with magnitudes from 2^-12 to 2^3, some shifted")

enum quant_case {
#define QUANT_CASE_ENUM(name, n, what) QUANT_CASE_##name,
    QUANT_CASES(QUANT_CASE_ENUM)
#undef QUANT_CASE_ENUM
        QUANT_CASE_COUNT
};

static inline uint32_t quant_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 40); /* 24 bits */
}

/* [0, 1), exact. */
static inline float quant_uniform(uint64_t *state)
{
    return (float)quant_random(state) / 16777216.0f;
}

/* Nearly normal: the sum of 12 uniform numbers. */
static inline float quant_normal(uint64_t *state)
{
    float sum = -6.0f;
    for (int i = 0; i < 12; i++) {
        sum += quant_uniform(state);
    }
    return sum;
}

/* 2^e by exact steps. */
static inline float quant_power(int e)
{
    float p = 1.0f;
    for (; e > 0; e--) {
        p *= 2.0f;
    }
    for (; e < 0; e++) {
        p *= 0.5f;
    }
    return p;
}

static inline float quant_value(enum quant_case which, size_t i, uint64_t *state)
{
    float normal = quant_normal(state);
    switch (which) {
    case QUANT_CASE_gaussian: return 0.02f * normal;
    case QUANT_CASE_zero: return 0.0f;
    case QUANT_CASE_positive: return 1.0f + quant_uniform(state);
    case QUANT_CASE_negative: return -1.0f - quant_uniform(state);
    case QUANT_CASE_tiny: return normal * quant_power(-60);
    case QUANT_CASE_subnormal: return normal * quant_power(-120) * quant_power(-20);
    case QUANT_CASE_small_scale: return normal * quant_power(-20);
    case QUANT_CASE_huge: return normal * quant_power(13);
    case QUANT_CASE_constant: return 0.3f;
    case QUANT_CASE_negative_constant: return -7.0f;
    case QUANT_CASE_outlier: return i % 256 == 77 ? 1000.0f : normal;
    case QUANT_CASE_sparse: return quant_random(state) % 16 == 0 ? normal : 0.0f;
    case QUANT_CASE_half_zero: return i / 32 % 2 ? normal : 0.0f;
    case QUANT_CASE_ties: return 0.5f * (float)((int32_t)(quant_random(state) % 33) - 16);
    default: {
        size_t run = i / 16 * 2654435761u % 4096;
        return normal * quant_power((int)(run % 16) - 12) +
               (run / 16 % 4 == 0 ? quant_power((int)(run % 16) - 11) : 0.0f);
    }
    }
}

static inline void quant_fill(enum quant_case which, float *x, size_t n)
{
    uint64_t state = 1000003u * ((uint64_t)which + 1);
    for (size_t i = 0; i < n; i++) {
        x[i] = quant_value(which, i, &state);
    }
}

#endif
