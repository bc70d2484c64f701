/* tune.h: which of the ways of computing that are right is the fastest on a GPU.
 *
 * The tuner times steps of models whose layers have the sizes of real ones (layers.h), with all that
 * the self-test left and with one thing changed at a time, in turns.  What is clearly faster twice,
 * and was timed wherever it makes a difference, is chosen; all that was chosen is timed together
 * once more, else nothing is chosen.  The choice is kept in the folder of the self-test's results,
 * and looked up by every model that is loaded; the tuner runs only when asked to.
 *
 * One thread, which starts others and waits for them. */
#ifndef HY_BACKEND_WEBGPU_TUNE_H
#define HY_BACKEND_WEBGPU_TUNE_H

#include "selftest.h"

/* One thing that may be changed: a variant that is left out, or a number that is multiplied. */
typedef struct hy__gpu_option {
    char name[40];       /* "dot-Q4_K", "lanes/2" */
    char what[96];       /* "packed dot products with Q4_K", "half the lanes of ..." */
    hy__gpu_use without; /* 0: it is a number */
    uint32_t number, quarters;
} hy__gpu_option;
enum { HY__GPU_MOST_OPTIONS = HY__GPU_MOST_VARIANTS + 3 * HY__GPU_N_NUMBERS };
/* Number i = 0..; false behind the last one. */
bool hy__gpu_option_at(uint32_t i, hy__gpu_option *o);

/* X(ID, name, what): what is timed. */
#define HY__GPU_PLACES(X)                                                                          \
    X(RWKV_ONE, "rwkv7-token", "a token of RWKV-7")                                                \
    X(RWKV_MANY, "rwkv7-prompt", "a prompt of RWKV-7")                                             \
    X(LLAMA_ONE, "llama-token", "a token of Llama")                                                \
    X(LLAMA_MANY, "llama-prompt", "a prompt of Llama")                                             \
    X(FORMAT_ONE, "format-token", "a token of Llama in that format")                               \
    X(FORMAT_MANY, "format-prompt", "a prompt of Llama in that format")                            \
    X(NOWHERE, "nowhere", "")
/* X(ID, name): what came of an option. */
#define HY__GPU_OUTCOMES(X)                                                                        \
    X(KEPT, "kept")                                                                                \
    X(CHANGED, "changed")                                                                          \
    X(WRONG, "wrong")                                                                              \
    X(UNUSED, "unused")                                                                            \
    X(UNTIMED, "untimed")
enum {
#define HY__GPU_PLACE(id, name, what) HY__GPU_AT_##id,
    HY__GPU_PLACES(HY__GPU_PLACE)
#undef HY__GPU_PLACE
        HY__GPU_N_PLACES
};
enum {
#define HY__GPU_OUTCOME(id, name) HY__GPU_##id,
    HY__GPU_OUTCOMES(HY__GPU_OUTCOME)
#undef HY__GPU_OUTCOME
        HY__GPU_N_OUTCOMES
};
extern const char *const hy__gpu_place_names[], *const hy__gpu_outcome_names[],
    *const hy__gpu_number_names[];

/* What an option does at a place: nanoseconds of a step as it is, and with the option. */
typedef struct hy__gpu_gain {
    uint32_t option, place, outcome;
    double ns, other_ns;
} hy__gpu_gain;

enum { HY__GPU_MOST_GAINS = 5 * HY__GPU_MOST_OPTIONS };

typedef struct hy__gpu_choice {
    bool made;       /* the tuner has run */
    char when[32];   /* as its caller said, one word */
    double seconds;  /* that it took */
    hy__gpu_tuning tuning;
    hy__gpu_gain gains[HY__GPU_MOST_GAINS];
    uint32_t n_gains;
} hy__gpu_choice;

/* Whether anything was; else there is nothing that is worth keeping. */
bool hy__gpu_choice_is_timed(const hy__gpu_choice *c);

/* gpu, opts: as for hy__gpu_selftest; passed: what that left.  c->when is set; fills in the rest. */
hy_status hy__gpu_tune(const hy__gpu *gpu, const hy__gpu_opts *opts, hy__gpu_use passed,
                       hy__gpu_choice *c, hy_error *err);

/* What tests put in the place of time, which they cannot rely on. */
typedef struct hy__gpu_tune_test {
    double (*ns)(const hy__gpu_tuning *tuning, uint32_t tokens); /* of a step; NULL: it is measured */
    bool idle;     /* with ns: nothing is compiled or run */
    uint32_t many; /* tokens of prompts on GPUs that are made of software; 0: they are not timed */
    void (*caps)(hy__gpu_caps *caps);             /* with idle: changes what GPUs can do; or NULL */
    void (*writes)(const hy__gpu_tuning *tuning); /* before kernels are written; or NULL */
} hy__gpu_tune_test;
extern hy__gpu_tune_test hy__gpu_tune_tested;

/* ---- in a file (verdicts.c); name, key: of hy__gpu_key */

void hy__gpu_choice_path(char *path, size_t cap, const char *folder, uint64_t name);
/* Nothing if there is no such file or it cannot be used. */
void hy__gpu_choice_load(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                         hy__gpu_choice *c);
hy_status hy__gpu_choice_save(const hy_env *env, const char *folder, uint64_t name, uint64_t key,
                              const hy__gpu_choice *c, hy_error *err);

#endif
