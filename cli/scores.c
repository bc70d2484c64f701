/* scores.c: see scores.h.  No state; any thread. */
#include "scores.h"

#include <math.h>
#include <stdbool.h>

double scores_log_sum_exp(const float *row, uint32_t n)
{
    double most = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        most = (double)row[i] > most ? (double)row[i] : most;
    }
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)row[i] - most);
    }
    return most + log(sum);
}

/* Whether id a stands behind id b in the order of scores_top. */
static bool behind(const float *row, uint32_t a, uint32_t b)
{
    const float x = isnan(row[a]) ? -INFINITY : row[a];
    const float y = isnan(row[b]) ? -INFINITY : row[b];
    return x < y || (x == y && a > b);
}

/* Heap with the last one at its root. */
static void sift(const float *row, uint32_t *heap, uint32_t n, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= n) {
            return;
        }
        if (child + 1 < n && behind(row, heap[child + 1], heap[child])) {
            child++;
        }
        if (!behind(row, heap[child], heap[at])) {
            return;
        }
        const uint32_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

uint32_t scores_top(const float *row, uint32_t n, uint32_t k, uint32_t *top)
{
    const uint32_t count = k < n ? k : n;
    if (count == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        top[i] = i;
    }
    for (uint32_t i = count / 2; i-- > 0;) {
        sift(row, top, count, i);
    }
    for (uint32_t i = count; i < n; i++) {
        if (behind(row, top[0], i)) {
            top[0] = i;
            sift(row, top, count, 0);
        }
    }
    for (uint32_t left = count; left-- > 1;) {
        const uint32_t last = top[0];
        top[0] = top[left];
        top[left] = last;
        sift(row, top, left, 0);
    }
    return count;
}

double scores_lead(const float *row, uint32_t n, uint32_t id)
{
    double squares = 0;
    float best = row[id];
    for (uint32_t i = 0; i < n; i++) {
        squares += (double)row[i] * (double)row[i];
        best = row[i] > best ? row[i] : best;
    }
    return best > row[id] ? ((double)best - (double)row[id]) / sqrt(squares / n) : 0;
}

void scores_mean(const double *x, size_t n, double *mean, double *deviation)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    *mean = n ? sum / (double)n : 0;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (x[i] - *mean) * (x[i] - *mean);
    }
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

/* The number that has place k, from 0, in the order by size. */
static double in_place(const double *x, size_t n, size_t k)
{
    for (size_t i = 0; i < n; i++) {
        size_t less = 0;
        size_t equal = 0;
        for (size_t j = 0; j < n; j++) {
            less += x[j] < x[i];
            equal += x[j] == x[i];
        }
        if (less <= k && k < less + equal) {
            return x[i];
        }
    }
    return 0;
}

double scores_median(const double *x, size_t n)
{
    return n % 2 ? in_place(x, n, n / 2)
           : n   ? (in_place(x, n, n / 2 - 1) + in_place(x, n, n / 2)) / 2
                 : 0;
}
