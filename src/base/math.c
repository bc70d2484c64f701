/* math.c: elementary functions in double precision that give the same bits on every IEEE machine.
 *
 * The C library's differ in the last place between systems, and one differing bit is another token
 * after a while. Here there are only additions, multiplications and divisions in a fixed order (the
 * build forbids fusing them). Reductions are Cody and Waite's; series are Taylor's, long enough for
 * the reduced range. */
#include "base.h"

#include <math.h>

#define LN2_HIGH 0x1.62e42fee00000p-1 /* 33 bits: its products with exponents are exact */
#define LN2_LOW 0x1.a39ef35793c76p-33
#define INV_LN2 0x1.71547652b82fep+0

/* 2^k for -1022 <= k <= 1023 */
static double power_of_two(int k)
{
    const uint64_t bits = (uint64_t)(k + 1023) << 52;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static double round_to_integer(double x)
{
    return x < 0 ? -floor(0.5 - x) : floor(x + 0.5);
}

double hy__exp(double x)
{
    if (x != x) {
        return x;
    }
    if (x > 709.782712893384) {
        return HUGE_VAL;
    }
    if (x < -745.2) {
        return 0.0;
    }
    const double k = round_to_integer(x * INV_LN2);
    const double r = (x - k * LN2_HIGH) - k * LN2_LOW; /* |r| <= 0.347 */
    /* 1/13! r^13 is below 2^-53 of the result */
    static const double c[] = {
        1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
        1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
        1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5,
    };
    double p = c[0];
    for (size_t i = 1; i < HY_COUNT(c); i++) {
        p = p * r + c[i];
    }
    const double e = 1.0 + (r + r * r * p);
    /* In two factors: the result may be subnormal although e is not. */
    const int n = (int)k;
    const int half = n / 2;
    return e * power_of_two(half) * power_of_two(n - half);
}

double hy__log(double x)
{
    if (x == HUGE_VAL || x != x) {
        return x;
    }
    int extra = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        extra = -54;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int k = (int)(bits >> 52) - 1023;
    bits = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000);
    double m; /* in [sqrt(1/2), sqrt(2)) after the next step */
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        k++;
    }
    /* log m = 2 artanh(s), s = (m-1)/(m+1), |s| <= 0.1716: s^22/23 is below 2^-53 */
    const double f = m - 1.0;
    const double s = f / (2.0 + f);
    const double z = s * s;
    double p = 0.0;
    for (int i = 23; i >= 3; i -= 2) {
        p = (p + 1.0 / i) * z;
    }
    const double kd = (double)(k + extra);
    /* 2s = f - s f exactly in spirit: the correction keeps the leading term f free of the
     * division's error. */
    const double series = f - s * (f - 2.0 * p);
    return kd * LN2_HIGH + (series + kd * LN2_LOW);
}

double hy__pow(double x, double y)
{
    return hy__exp(y * hy__log(x));
}

double hy__sigmoid(double x)
{
    if (x >= 0) {
        return 1.0 / (1.0 + hy__exp(-x));
    }
    const double e = hy__exp(x);
    return e / (1.0 + e);
}

double hy__tanh(double x)
{
    const double a = fabs(x);
    double t;
    if (a > 20.0) {
        t = 1.0;
    } else if (a > 0.25) {
        const double e = hy__exp(-2.0 * a);
        t = (1.0 - e) / (1.0 + e);
    } else {
        /* Continued fraction of tanh: no cancellation near zero. */
        const double z = a * a;
        double d = 17.0;
        for (int i = 15; i >= 1; i -= 2) {
            d = i + z / d;
        }
        t = a / d;
    }
    return x < 0 ? -t : t;
}

/* sin and cos for |x| <= pi/4 */
static void sincos_reduced(double x, double *s, double *c)
{
    const double z = x * x;
    double ps = 0.0, pc = 0.0;
    for (int i = 19; i >= 3; i -= 2) {
        ps = -z / (double)(i * (i - 1)) * (1.0 + ps);
    }
    for (int i = 20; i >= 2; i -= 2) {
        pc = -z / (double)(i * (i - 1)) * (1.0 + pc);
    }
    *s = x + x * ps;
    *c = 1.0 + pc;
}

void hy__sincos(double x, double *s, double *c)
{
    /* pi/2 in parts of 22 bits: their products with a quadrant number below 2^31 are exact. */
    const double q = round_to_integer(x * 0x1.45f306dc9c883p-1);
    double r = x - q * 0x1.921fb0p+0;
    r -= q * 0x1.5110b0p-22;
    r -= q * 0x1.184698p-44;
    r -= q * 0x1.3198a2e037073p-69;
    double rs, rc;
    sincos_reduced(r, &rs, &rc);
    switch ((int64_t)q & 3) {
    case 0:
        *s = rs;
        *c = rc;
        break;
    case 1:
        *s = rc;
        *c = -rs;
        break;
    case 2:
        *s = -rs;
        *c = -rc;
        break;
    default:
        *s = -rc;
        *c = rs;
        break;
    }
}
