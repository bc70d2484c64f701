/* scores.h: what is read off a row of logits or of measurements.  No state; any thread. */
#ifndef HY_CLI_SCORES_H
#define HY_CLI_SCORES_H

#include <stddef.h>
#include <stdint.h>

/* log(sum(exp(row[i]))) in double. */
double scores_log_sum_exp(const float *row, uint32_t n);
/* The k ids with the largest values, best first, ties by the smaller id; NaN counts as the
 * smallest. Returns how many. */
uint32_t scores_top(const float *row, uint32_t n, uint32_t k, uint32_t *top);
/* How far the largest value is above row[id], over the rms of the row; 0: none is larger. */
double scores_lead(const float *row, uint32_t n, uint32_t id);
/* Mean and sample standard deviation (0 for n < 2). */
void scores_mean(const double *x, size_t n, double *mean, double *deviation);
/* The middle one by size, or the mean of the middle two; 0 for n 0.  For some hundred numbers: it
 * compares each with each. */
double scores_median(const double *x, size_t n);

#endif
