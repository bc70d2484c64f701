/* k_fit.c: see k_fit.h.
 *
 * The order of every addition and multiplication is part of the result; expressions are written so
 * that C's rules for evaluation give the reference order, and the build forbids contraction. */
#include "quant/k_fit.h"

static float magnitude(float x)
{
    return hy__f32_from_bits(hy__f32_bits(x) & 0x7FFFFFFFu);
}

/* ---- scale and minimum */

typedef struct affine {
    float scale;
    float low; /* the value of code 0; <= 0 */
} affine;

/* codes[e] = nearest code of x[e] if 1 / inverse is the distance of codes and code 0 is at low. */
static void assign_codes(size_t n, const float *x, float inverse, float low, int32_t top,
                         uint8_t *codes)
{
    for (size_t e = 0; e < n; e++) {
        codes[e] = (uint8_t)hy__clamp_i32(hy__round_even(inverse * (x[e] - low)), 0, top);
    }
}

static float affine_error(size_t n, const float *x, const float *weights, affine fit,
                          const uint8_t *codes, bool absolute)
{
    float sum = 0.0f;
    for (size_t e = 0; e < n; e++) {
        float diff = fit.scale * (float)codes[e] + fit.low - x[e];
        sum += weights[e] * (absolute ? magnitude(diff) : diff * diff);
    }
    return sum;
}

/* Weighted least squares of x over the codes.  False if the codes do not determine a line. */
static bool solve_affine(size_t n, const float *x, const float *weights, float sum_w, float sum_wx,
                         const uint8_t *codes, affine *fit)
{
    float sum_wq = 0.0f;
    float sum_wqq = 0.0f;
    float sum_wqx = 0.0f;
    for (size_t e = 0; e < n; e++) {
        float q = (float)codes[e];
        float wq = weights[e] * q;
        sum_wq += wq;
        sum_wqq += wq * q;
        sum_wqx += wq * x[e];
    }
    float det = sum_w * sum_wqq - sum_wq * sum_wq;
    if (!(det > 0.0f)) {
        return false;
    }
    fit->scale = (sum_w * sum_wqx - sum_wx * sum_wq) / det;
    fit->low = (sum_wqq * sum_wx - sum_wq * sum_wqx) / det;
    if (fit->low > 0.0f) {
        fit->low = 0.0f;
        fit->scale = sum_wqx / sum_wqq;
    }
    return true;
}

float hy__fit_affine(size_t n, const float *x, const float *weights, int32_t top,
                     const hy__affine_search *search, uint8_t *codes, float *minimum)
{
    float low = x[0];
    float high = x[0];
    float sum_w = weights[0];
    float sum_wx = weights[0] * x[0];
    for (size_t e = 1; e < n; e++) {
        low = x[e] < low ? x[e] : low;
        high = x[e] > high ? x[e] : high;
        sum_w += weights[e];
        sum_wx += weights[e] * x[e];
    }
    low = low > 0.0f ? 0.0f : low;
    if (high == low) {
        memset(codes, 0, n);
        *minimum = -low;
        return 0.0f;
    }

    float inverse = (float)top / (high - low);
    affine best = {1.0f / inverse, low};
    assign_codes(n, x, inverse, low, top, codes);
    float best_error = affine_error(n, x, weights, best, codes, search->absolute);

    for (int32_t s = 0; s <= search->last; s++) {
        uint8_t trial_codes[HY__FIT_MAX];
        affine trial;
        /* The range is that of the best fit so far, not of the data: later trials build on it. */
        inverse = (search->first + search->step * (float)s + (float)top) / (high - best.low);
        assign_codes(n, x, inverse, best.low, top, trial_codes);
        if (!solve_affine(n, x, weights, sum_w, sum_wx, trial_codes, &trial)) {
            continue;
        }
        float error = affine_error(n, x, weights, trial, trial_codes, search->absolute);
        if (error < best_error) {
            memcpy(codes, trial_codes, n);
            best = trial;
            best_error = error;
        }
    }
    *minimum = -best.low;
    return best.scale;
}

/* ---- scale only */

static int32_t symmetric_code(float x, float inverse, int32_t half)
{
    return hy__clamp_i32(hy__round_even(inverse * x), -half, half - 1);
}

/* With weights w = x^2 and codes q of this inverse scale: *xq = sum w x q, *qq = sum w q q. The
 * best scale for them is xq / qq. */
static void symmetric_sums(size_t n, const float *x, float inverse, int32_t half, float *xq,
                           float *qq)
{
    float sum_xq = 0.0f;
    float sum_qq = 0.0f;
    for (size_t e = 0; e < n; e++) {
        float q = (float)symmetric_code(x[e], inverse, half);
        float w = x[e] * x[e];
        sum_xq += w * x[e] * q;
        sum_qq += w * q * q;
    }
    *xq = sum_xq;
    *qq = sum_qq;
}

float hy__fit_symmetric(size_t n, const float *x, int32_t half, uint8_t *codes)
{
    float extreme = hy__first_extreme(x, n);
    if (magnitude(extreme) < HY__FIT_EPSILON) {
        memset(codes, 0, n);
        return 0.0f;
    }
    float best_inverse = (float)-half / extreme;
    float xq;
    float qq;
    symmetric_sums(n, x, best_inverse, half, &xq, &qq);
    float scale = qq != 0.0f ? xq / qq : 0.0f;
    float best = scale * xq;
    for (int32_t s = -9; s <= 9; s++) {
        if (s == 0) {
            continue;
        }
        float inverse = -((float)half + 0.1f * (float)s) / extreme;
        symmetric_sums(n, x, inverse, half, &xq, &qq);
        if (qq > 0.0f && xq * xq > best * qq) {
            scale = xq / qq;
            best = scale * xq;
            best_inverse = inverse;
        }
    }
    for (size_t e = 0; e < n; e++) {
        codes[e] = (uint8_t)(symmetric_code(x[e], best_inverse, half) + half);
    }
    return scale;
}

float hy__fit_symmetric_descent(size_t n, const float *x, int32_t half, uint8_t *codes)
{
    enum { SWEEPS = 5 };
    int32_t q[HY__FIT_MAX];
    float extreme = hy__first_extreme(x, n);
    if (magnitude(extreme) < HY__FIT_EPSILON) {
        memset(codes, 0, n);
        return 0.0f;
    }
    float inverse = (float)-half / extreme;
    float xq;
    float qq;
    symmetric_sums(n, x, inverse, half, &xq, &qq);
    for (size_t e = 0; e < n; e++) {
        q[e] = symmetric_code(x[e], inverse, half);
    }
    bool changed = true;
    for (int sweep = 0; sweep < SWEEPS && changed; sweep++) {
        changed = false;
        for (size_t e = 0; e < n; e++) {
            float w = x[e] * x[e];
            float old_q = (float)q[e];
            float others_xq = xq - w * x[e] * old_q;
            if (!(others_xq > 0.0f)) {
                continue;
            }
            float others_qq = qq - w * old_q * old_q;
            int32_t trial =
                hy__clamp_i32(hy__round_even(x[e] * others_qq / others_xq), -half, half - 1);
            if (trial == q[e]) {
                continue;
            }
            float trial_xq = others_xq + w * x[e] * (float)trial;
            float trial_qq = others_qq + w * (float)trial * (float)trial;
            if (trial_qq > 0.0f && trial_xq * trial_xq * qq > xq * xq * trial_qq) {
                q[e] = trial;
                xq = trial_xq;
                qq = trial_qq;
                changed = true;
            }
        }
    }
    for (size_t e = 0; e < n; e++) {
        codes[e] = (uint8_t)(q[e] + half);
    }
    return qq > 0.0f ? xq / qq : 0.0f;
}
