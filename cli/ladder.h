/* ladder.h: `halyard bench --ladder`: the same tokens of a model by kernels that do one thing more
 * from rung to rung.  One thread. */
#ifndef HY_CLI_LADDER_H
#define HY_CLI_LADDER_H

#include <stdio.h>

#include "greedy.h"
#include "halyard/unstable.h"

/* The first tokens of a rung's text that are compared, as with --check. */
enum { LADDER_CHECKED = 32, LADDER_MOST_KERNELS = 64 };

typedef struct rung {
    const char *name, *what;
    const char *mask;  /* of the GPU; NULL: not through WebGPU */
    bool alone;        /* no fusions */
    const char *needs; /* a word of its kernels' descriptions, or "" */
    double least, most; /* expected speed-up; 0: nothing was */
    bool measured;
    char why[600];     /* it was not, a sentence */
    double speed, deviation; /* tokens per second, median */
    double step, total;      /* over the measured rung before, and the first one; 0: it is that */
    double bytes_per_second, dispatches, submits, cpu_us;
    hy_token text[LADDER_CHECKED + 1];
    size_t n_text;
    greedy_check check;
    char kernels[LADDER_MOST_KERNELS][128]; /* of a token, each once */
    size_t n_kernels;
} rung;

typedef struct ladder {
    const options *o;
    uint32_t n_gen, reps;
    rung *rungs;
    size_t n;
    const char *check; /* backend that judges the texts */
    char model[64];    /* "rwkv7 Q4_K_M" */
    double bytes;      /* that a token needs */
    double read;       /* bytes per second that the GPU reads; 0: unknown */
    hy_webgpu_info gpu;
} ladder;

/* What was expected of all rungs together, and of a native backend over the best of them. */
#define LADDER_ALL_LEAST 1.5
#define LADDER_ALL_MOST 2.0
#define LADDER_NATIVE_LEAST 2.0
#define LADDER_NATIVE_MOST 4.0

/* The best of the rungs of WebGPU over the first; 0: there is none to compare. */
double ladder_all(const ladder *l);

/* The command: measures, prints, writes the chart. An exit code. */
int ladder_run(const options *o);
/* The chart, as SVG that follows a light or dark scheme; false: it could not be written. */
bool ladder_svg(const ladder *l, FILE *out);

#endif
