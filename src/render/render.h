/* render.h: phases as the text of kernels, in WGSL.
 *
 * layout.c decides what does not depend on the language: which operations one dispatch computes,
 * over which channels a workgroup sums.  wgsl.c writes trees (what a phase computes around its
 * anchors) as functions, sums and bodies, from a list of formulas, one for each operation
 * (wgsl.inc).  A kernel is put together either from a tree alone (hy__render) or by a backend that
 * adds what an anchor computes.
 *
 * A text knows shapes, but no addresses: it reads where everything begins from a small uniform
 * buffer, in the order of hy__wgsl.places, except what its writer knows to be the same for all
 * layers.  So layers of the same shape have the same text.
 *
 * Pure functions of a graph and its trees, for any thread. */
#ifndef HY_RENDER_RENDER_H
#define HY_RENDER_RENDER_H

#include "fuse/expr.h"

/* An operation of a tree in a dialect.  $0 to $6 are its inputs at the channel at hand, $g how many
 * channels a sum runs over, $e its epsilon, $s a sum, $m.x and $m.y what was made of its sums. */
typedef struct hy__formula {
    const char *value;   /* NULL: it looks at other columns or channels, the renderer knows how */
    const char *term[2]; /* of a first and a second sum; NULL: none */
    const char *stat[2]; /* what is made of each sum */
} hy__formula;

/* Operations with the same number of channels: one dispatch, an invocation per channel and column,
 * or with sums a workgroup per span and column. */
typedef struct hy__part {
    uint32_t n;    /* channels */
    uint32_t span; /* channels of a workgroup; 0: no sums, workgroups of any channels */
} hy__part;

typedef struct hy__layout {
    const hy__graph *g;
    const hy__phase *p;
    const hy__tree *t;
    bool epilogue;
    bool single;    /* for steps of one token: a column before it is always the state */
    bool *called;   /* [t->n] needed at other channels or columns, or in a sum: a function */
    uint32_t *back; /* [t->n] from how many columns before its own an operation is needed */
    uint32_t *part; /* [t->n] of operations */
    hy__part *parts;
    uint32_t n_parts;
    uint32_t n_slots; /* columns whose sums a workgroup keeps: its own, the one before, ... */
    uint32_t n_ops;
} hy__layout;

/* Channels that an operation sums over. */
uint32_t hy__layout_group(const hy__layout *l, uint32_t i);
/* roots: what leaves the tree becomes a function too.  HY_E_UNSUPPORTED: a state would be kept
 * where only some of the columns are computed. */
hy_status hy__layout_make(hy__layout *l, const hy__graph *g, const hy__phase *p,
                          const hy__phase_exprs *x, bool epilogue, bool single, bool roots,
                          hy_error *err);
void hy__layout_finish(hy__layout *l);

extern const hy__formula hy__wgsl_formulas[HY__N_OPS];

/* ---- texts */

/* Buffers: X(name, how it is declared).  A kernel declares those that it uses, at the number that
 * they have here. */
#define HY__WGSL_BUFFERS(X)                                                                        \
    X(step, "var<uniform> step: Step")                                                             \
    X(places, "var<uniform> places: Places")                                                       \
    X(arena, "var<storage, read_write> arena: array<f32>")                                         \
    X(vectors, "var<storage, read> vectors: array<f32>")                                           \
    X(state_old, "var<storage, read> state_old: array<f32>")                                       \
    X(state_new, "var<storage, read_write> state_new: array<f32>")                                 \
    X(angles, "var<storage, read> angles: array<vec2<f32>>")                                       \
    X(weights, "var<storage, read> weights: array<vec4<u32>>")                                     \
    X(words, "var<storage, read> words: array<u32>")                                               \
    X(codes, "var<storage, read_write> codes: array<vec4<u32>>")                                   \
    X(cache, "var<storage, read_write> cache: array<u32>")                                         \
    X(tokens, "var<storage, read> tokens: array<u32>")                                             \
    X(vectors4, "var<storage, read> vectors4: array<vec4<f32>>") /* `vectors` once more */         \
    X(cache4, "var<storage, read_write> cache4: array<vec4<u32>>") /* `cache`, instead of it */    \
    X(state4, "var<storage, read> state4: array<vec4<f32>>")     /* `state_old` once more */       \
    X(coded, "var<storage, read> coded: array<vec4<u32>>")       /* `codes`, only read */
enum {
#define HY__WGSL_BUFFER(name, how) HY__BUFFER_##name,
    HY__WGSL_BUFFERS(HY__WGSL_BUFFER) HY__N_BUFFERS
#undef HY__WGSL_BUFFER
};

/* What a number of the uniform buffer says. */
typedef enum hy__where {
    HY__AT_VECTOR, /* element of `vectors` where a weight vector begins */
    HY__AT_RESULT, /* element of `arena`: [columns][n] */
    HY__AT_STATE,  /* element of state_old and state_new */
    HY__AT_ANGLES, /* element of `angles`: [position][n] cosines and sines */
    HY__AT_OTHER   /* of the backend; `value` and `part` are its own */
} hy__where;

typedef struct hy__place {
    hy__where where;
    hy__id value;
    uint32_t part;
} hy__place;

enum { HY__MOST_PLACES = 128, HY__RING = 8192 /* tokens in `tokens`, by position modulo this */ };

/* A kernel that is being written.  text: without the head, until hy__wgsl_finish. */
typedef struct hy__wgsl {
    const hy_env *env;
    hy_error *err;
    hy_status status; /* the first failure sticks */
    hy__buf text;
    uint32_t uses;     /* bits (1 << HY__BUFFER_name) */
    uint32_t lanes;    /* invocations of a workgroup */
    uint32_t subgroup; /* lanes that can be relied on to exchange numbers; 0: none */
    /* Whether the number of a place is known already: then it stands in the text. */
    bool (*known)(const void *user, const hy__place *place, uint32_t *out);
    const void *known_user;
    bool sums;         /* the function `total` is there */
    bool quantizes;    /* so are the functions that bring numbers into 8 bits */
    bool wide;         /* trees have functions of four channels */
    bool fresh;        /* nothing else uses the memory of sums before the sums of trees */
    uint32_t n_totals; /* calls of `total_at` so far */
    hy__place places[HY__MOST_PLACES];
    uint32_t n_places;
} hy__wgsl;

void hy__wgsl_init(hy__wgsl *w, uint32_t lanes, const hy_env *env, hy_error *err);
/* Puts the head in front of the text, which belongs to the caller then; hy__buf_finish it, after a
 * failure too. */
hy_status hy__wgsl_finish(hy__wgsl *w);
HY_PRINTF(2, 3) void hy__wgsl_put(hy__wgsl *w, const char *fmt, ...);
void hy__wgsl_text_append(hy__wgsl *w, const char *text); /* of any length, as it is */
void hy__wgsl_use(hy__wgsl *w, uint32_t buffer);
bool hy__wgsl_is_written(uint32_t buffer);

typedef struct hy__wgsl_text {
    char text[120];
} hy__wgsl_text;
/* The number of a place as an expression; the same place is kept once. */
hy__wgsl_text hy__wgsl_place(hy__wgsl *w, hy__where where, hy__id value, uint32_t part);

/* A tree in a kernel: its names begin with `prefix`. */
typedef struct hy__wgsl_tree {
    const hy__layout *l;
    char prefix;
    bool own_anchors;   /* what anchors compute is the caller's: functions PREFIXi(c, t) where they
                           are called, variables vI in bodies */
    const bool *stored; /* [t->n] results that are stored; NULL: every root is */
    const bool *only;   /* [t->n] expressions that bodies compute; NULL: all */
    bool has_leaves;    /* leaves of bodies are there: hy__wgsl_leaf */
} hy__wgsl_tree;

/* HY_E_UNSUPPORTED: an operation has no formula. */
hy_status hy__wgsl_check(const hy__wgsl_tree *t, hy_error *err);
/* Functions of all that is called, and workgroup memory of sums.  wide: also of four channels at
 * once, in steps of one token, for hy__wgsl_call4. */
void hy__wgsl_functions(hy__wgsl *w, const hy__wgsl_tree *t, bool wide);
/* The function total(lane, x), the sum of all invocations' numbers, and its memory; once. */
void hy__wgsl_total(hy__wgsl *w);
/* Statements that sum over channels first to first + span of column t (u: where later columns are
 * read); whole workgroups run them. */
void hy__wgsl_sums(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t part);
/* Statements that compute channel c of column t; HY__ALL_PARTS: of every part. */
#define HY__ALL_PARTS UINT32_MAX
void hy__wgsl_body(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t part);
/* The leaves that the bodies of a tree read: how many, and the first `cap` of them; one as variable
 * vID, at channel c and column t, to be read long before the body is computed. */
uint32_t hy__wgsl_leaf_ids(const hy__wgsl_tree *t, uint32_t *ids, uint32_t cap);
void hy__wgsl_leaf(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t id);
/* An expression: operation or leaf i of the tree, which is called, at channel `channel` of column
 * `column`. */
hy__wgsl_text hy__wgsl_call(const hy__wgsl_tree *t, uint32_t i, const char *channel,
                            const char *column);
/* A vec4 of the same at four channels from `channel` on, a multiple of 4; the functions must be
 * there, and the value's length must be a multiple of 4. */
hy__wgsl_text hy__wgsl_call4(const hy__wgsl_tree *t, uint32_t i, const char *channel,
                             const char *column);
/* An entry point partK that computes a part of a tree; one dispatch is [parts of
 * channels][columns]. */
void hy__wgsl_part(hy__wgsl *w, const hy__wgsl_tree *t, uint32_t part);
/* Workgroups that it needs for a column. */
uint32_t hy__wgsl_part_groups(const hy__layout *l, uint32_t part, uint32_t lanes);
/* ---- trees in registers: each invocation computes some channels of a tree and keeps them */

typedef struct hy__wgsl_regs {
    const hy__wgsl_tree *t;
    bool four;           /* groups of four neighbouring channels (the functions of four must be
                            there), else of one */
    uint32_t each;       /* groups of an invocation */
    uint32_t stride;     /* channels from group to group */
    uint32_t n;          /* channels of what is summed over */
    const char *channel; /* of the first group, relative to what is summed over or not */
    bool across;         /* sums are made by a function across(x), else by the total of the workgroup */
    const bool *needed;  /* [t->n] operations that are computed; NULL: all */
} hy__wgsl_regs;

/* Whether all operations that are needed can be computed in this way. */
bool hy__wgsl_regs_can(const hy__wgsl_regs *r);
/* Whether expression i is read from memory: then hy__wgsl_regs_leaf reads it, in any order; the
 * operations follow in their order. */
bool hy__wgsl_regs_reads(const hy__wgsl_regs *r, uint32_t i);
void hy__wgsl_regs_leaf(hy__wgsl *w, const hy__wgsl_regs *r, uint32_t i);
void hy__wgsl_regs_op(hy__wgsl *w, const hy__wgsl_regs *r, uint32_t i);
/* The variable of expression i, and the channel, of a group. */
hy__wgsl_text hy__wgsl_register(const hy__wgsl_regs *r, uint32_t i, uint32_t group);
hy__wgsl_text hy__wgsl_regs_channel(const hy__wgsl_regs *r, uint32_t group);

uint32_t hy__wgsl_tree_lanes(const hy__layout *l);

/* The kernel of a prologue or epilogue alone; text stays empty if there is no operation. */
hy_status hy__render(const hy__graph *g, const hy__phase *p, const hy__phase_exprs *x,
                     bool epilogue, hy__buf *text, hy_error *err);

#endif
