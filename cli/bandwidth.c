/* bandwidth.c: see bandwidth.h.  Frees its buffer before it returns. */
#include "bandwidth.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "term.h"

enum { PASSES = 15, LANES = 32 };

typedef struct job {
    uint64_t *words;
    size_t n; /* words in all */
    uint32_t n_threads;
    uint64_t sums[512]; /* what each thread found: keeps the reads from being optimised away */
} job;

static void part_of(const job *j, uint32_t i, size_t *from, size_t *to)
{
    const size_t part = j->n / j->n_threads / LANES * LANES;
    *from = part * i;
    *to = *from + part;
}

/* Each thread writes its own part first, so that a page lies where it is read. */
static void fill(void *arg, uint32_t i)
{
    job *j = arg;
    size_t from = 0;
    size_t to = 0;
    part_of(j, i, &from, &to);
    for (size_t k = from; k < to; k++) {
        j->words[k] = k * UINT64_C(0x9E3779B97F4A7C15);
    }
}

static void read_all(void *arg, uint32_t i)
{
    job *j = arg;
    size_t from = 0;
    size_t to = 0;
    part_of(j, i, &from, &to);
    uint64_t lanes[LANES] = {0};
    for (size_t k = from; k < to; k += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            lanes[l] ^= j->words[k + l];
        }
    }
    uint64_t sum = 0;
    for (size_t l = 0; l < LANES; l++) {
        sum ^= lanes[l];
    }
    j->sums[i] = sum;
}

double bandwidth_measure(uint32_t n_threads)
{
    const uint64_t cache = term_cache_bytes();
    uint64_t bytes = (cache ? cache : UINT64_C(64) << 20) * 3 + (UINT64_C(64) << 20);
    const uint64_t most = term_memory_bytes() / 4;
    if (most > 0 && bytes > most) {
        bytes = most;
    }
    job *j = calloc(1, sizeof *j);
    if (!j || bytes > SIZE_MAX / 2) {
        free(j);
        return 0;
    }
    j->n_threads = n_threads < 1 ? 1 : n_threads > 512 ? 512 : n_threads;
    j->n = (size_t)bytes / sizeof *j->words;
    j->words = malloc(j->n * sizeof *j->words);
    double best = 0;
    if (j->words && term_parallel(j->n_threads, fill, j)) {
        const double read =
            (double)(j->n / j->n_threads / LANES * LANES) * j->n_threads * sizeof *j->words;
        for (int pass = 0; pass < PASSES; pass++) {
            const uint64_t start = term_now_ns();
            const bool ok = term_parallel(j->n_threads, read_all, j);
            const uint64_t ns = term_now_ns() - start;
            const double speed = ok && ns ? read * 1e9 / (double)ns : 0;
            best = speed > best ? speed : best;
        }
    }
    free(j->words);
    free(j);
    return best;
}
