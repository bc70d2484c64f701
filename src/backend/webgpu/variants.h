/* variants.h: what kernels may do in more than one way, and what a user may take away.
 *
 * Variants are numbered: those of variants.inc, then two for each format whose weights are codes: a
 * packed dot product with it, and reading it at all (else it is decoded to F16).  A set of them is
 * a hy__gpu_use.  Families of variants are the names of --gpu-mask.
 *
 * Pure functions, but for the faults that tests inject. */
#ifndef HY_BACKEND_WEBGPU_VARIANTS_H
#define HY_BACKEND_WEBGPU_VARIANTS_H

#include "formats.h"

enum {
#define HY_GPU_FAMILY(id, name, above, what) HY__GPU_FAMILY_##id,
#include "variants.inc"
    HY__GPU_N_FAMILIES
};
/* A mask is a set of families, and HY__GPU_FLOOR. */
enum {
#define HY_GPU_FAMILY(id, name, above, what) HY__GPU_NO_##id = 1 << HY__GPU_FAMILY_##id,
#include "variants.inc"
    HY__GPU_FLOOR = 1 << HY__GPU_N_FAMILIES
};
/* How matrices are multiplied: each way lacks what a family more stands for than the one before it.
 * The ways but the first need every operation to be a phase (text_f32.c). */
typedef enum hy__gpu_form {
    HY__GPU_FORM_BEST,  /* activations are brought into 8 bits where weights are codes */
    HY__GPU_FORM_F32,   /* without codes: activations and products in f32 */
    HY__GPU_FORM_RAW,   /* without planes: blocks as in the file */
    HY__GPU_FORM_NAIVE  /* without lanes: an invocation multiplies a row */
} hy__gpu_form;
/* Takes the families of forms out of a mask. */
hy__gpu_form hy__gpu_form_of(uint32_t *mask);
/* Names divided by commas; NULL: none.  HY_E_NOT_FOUND lists the names. */
hy_status hy__gpu_mask_parse(const char *names, uint32_t *mask, hy_error *err);

enum {
#define HY_GPU_VARIANT(id, name, family, what, instead, function, from, to) HY__GPU_VARIANT_##id,
#include "variants.inc"
    HY__GPU_N_PLAIN,
    HY__GPU_MOST_VARIANTS = 64
};
typedef uint64_t hy__gpu_use;
enum {
#define HY_GPU_VARIANT(id, name, family, what, instead, function, from, to)                        \
    HY__GPU_USE_##id = 1 << HY__GPU_VARIANT_##id,
#include "variants.inc"
    HY__GPU_USE_NONE = 0
};
/* 0 for formats without codes, which have no variants. */
hy__gpu_use hy__gpu_use_dot(const hy__gpu_format *f);
hy__gpu_use hy__gpu_use_format(const hy__gpu_format *f);

/* What the tuner changes: variants that are left out, and numbers that are not those of
 * hy__gpu_choose; 0: as there. */
enum {
#define HY_GPU_NUMBER(id, name, field, what, a, b, c) HY__GPU_NUMBER_##id,
#include "variants.inc"
    HY__GPU_N_NUMBERS
};
typedef struct hy__gpu_tuning {
    hy__gpu_use without;
    uint32_t numbers[HY__GPU_N_NUMBERS];
} hy__gpu_tuning;
/* Whether it changes anything. */
bool hy__gpu_tunes(const hy__gpu_tuning *t);

typedef struct hy__gpu_variant {
    char name[32];
    char what[80];       /* "packed dot products with Q4_K" */
    const char *instead; /* "their bytes are multiplied one by one" */
    uint32_t mask;       /* any of these takes it away */
} hy__gpu_variant;
/* Number i = 0.. of all; false behind the last one. */
bool hy__gpu_variant_at(uint32_t i, hy__gpu_variant *v);

/* For tests, while no other thread makes a model: from now on, in this process, kernels that use
 * variants of `wrong` compute something else, and those that use variants of `broken` do not
 * compile. */
void hy__gpu_inject(hy__gpu_use wrong, hy__gpu_use broken);
bool hy__gpu_is_injected(void);
/* Brings the faults into the text of a kernel. */
hy_status hy__gpu_spoil(const hy_env *env, hy__buf *text, hy_error *err);

#endif
