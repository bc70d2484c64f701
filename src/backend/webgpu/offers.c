/* offers.c: the table of what GPUs have natively and what there is of it through WebGPU: each line
 * is a kernel that is run, whose result is compared with what the CPU computes, and whose pace is
 * measured, beside that of a kernel which does the same work in a plain way. */
#include <stdio.h>

#include "measure.h"
#include "measure/measure_texts.h"
#include "trial.h"

hy__gpu_measure_faults hy__gpu_offer_faults;

hy__gpu_native hy__gpu_native_of(const hy__gpu_caps *caps)
{
    enum { NVIDIA = 0x10de, AMD = 0x1002 };
    return caps->backend == WGPUBackendType_Metal ? HY__NATIVE_METAL
           : caps->vendor == NVIDIA               ? HY__NATIVE_CUDA
           : caps->vendor == AMD                  ? HY__NATIVE_HIP
                                                  : HY__NATIVE_VULKAN;
}

/* ---- what is right */

enum {
    LANES = 256,
    TRY_GROUPS = 2,
    TRY_ROUNDS = 3,
    TILES = 64,        /* of stage.wgsl */
    TILE_WORDS = 2048, /* of 4 bytes */
    /* Numbers that kernels are given. */
    SHIFT_Y = 5,
    SHIFT_Z = 6,
    SHIFT_W = 1
};
static const uint32_t dot_factor = 0x83f17c05;

/* Word i of the result of a workgroup after TRY_ROUNDS rounds. */
typedef uint32_t right_fn(const hy__gpu_caps *caps, uint32_t group, uint32_t i);

static uint32_t right_mul(const hy__gpu_caps *caps, uint32_t group, uint32_t i)
{
    (void)caps;
    (void)group;
    /* 16 numbers; two pairs of steps move each by the difference, twice in a round. */
    return 16 * (i % 8) + 120 + 16 * 2 * TRY_ROUNDS * (SHIFT_Z - SHIFT_Y);
}

static uint32_t next_dot(uint32_t x)
{
    uint32_t sum = x;
    for (uint32_t k = 0; k < 32; k += 8) {
        const int32_t a = (int32_t)(x >> k & 255) - (int32_t)(x >> k & 128) * 2;
        const int32_t b = (int32_t)(dot_factor >> k & 255) - (int32_t)(dot_factor >> k & 128) * 2;
        sum += (uint32_t)(a * b);
    }
    return sum;
}

static uint32_t right_dot(const hy__gpu_caps *caps, uint32_t group, uint32_t i)
{
    (void)caps;
    uint32_t all = 0;
    for (uint32_t chain = 0; chain < 8; chain++) {
        uint32_t x = i * 2654435769u + group + chain;
        for (uint32_t step = 0; step < 4 * TRY_ROUNDS; step++) {
            x = next_dot(x);
        }
        all ^= x;
    }
    return all;
}

static uint32_t right_sum(const hy__gpu_caps *caps, uint32_t group, uint32_t i)
{
    (void)caps;
    uint32_t sum = LANES * (LANES - 1) / 2, last = 0; /* of all lanes' numbers but for `group` */
    uint32_t total = sum + LANES * group;
    for (uint32_t r = 0; r < TRY_ROUNDS; r++) {
        last = total * 3 + r;
        total = LANES * last + sum;
    }
    return last + i;
}

static uint32_t right_atomics(const hy__gpu_caps *caps, uint32_t group, uint32_t i)
{
    (void)caps;
    uint32_t bin = group;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        for (uint32_t r = 0; r < TRY_ROUNDS; r++) {
            const uint32_t at = lane * 5 + r, values[] = {lane, 1, r, 3};
            for (uint32_t k = 0; k < 4; k++) {
                bin += (at + 16 * k) % 64 == i % 64 ? values[k] : 0;
            }
        }
    }
    return bin;
}

static uint32_t right_texture(const hy__gpu_caps *caps, uint32_t group, uint32_t i)
{
    static const float factors[] = {1, 2, 4, 8};
    (void)caps;
    float sum = 0;
    for (uint32_t k = 0; k < 4 * TRY_ROUNDS; k++) {
        const uint32_t x = (i * 3 + k + group) % 63, y = (i / 4 + k * 5) % 63;
        for (uint32_t corner = 0; corner < 4; corner++) {
            uint8_t texel[4];
            hy__gpu_texel(x + corner % 2, y + corner / 2, texel);
            for (uint32_t c = 0; c < 4; c++) {
                sum += factors[c] * (float)texel[c] / 4 / 255;
            }
        }
    }
    uint32_t word;
    memcpy(&word, &sum, sizeof word);
    return word;
}

static uint32_t tile_word(uint32_t i)
{
    return i * 2654435769u;
}

static uint32_t right_stage(const hy__gpu_caps *caps, uint32_t group, uint32_t i)
{
    (void)caps;
    const uint32_t lane = i / 4;
    uint32_t sum = 0;
    for (uint32_t r = 0; r < TRY_ROUNDS; r++) {
        const uint32_t first = (group * 7 + r) % TILES * TILE_WORDS;
        sum += tile_word(first + (511 - lane) * 4 + i % 4) ^
               tile_word(first + ((lane * 3 + 1) & 511) * 4 + i % 4);
    }
    return sum;
}

static uint32_t right_matrix(const hy__gpu_caps *caps, uint32_t group, uint32_t i)
{
    (void)group;
    const uint32_t m = caps->matrix_m, n = caps->matrix_n, k = caps->matrix_k;
    const uint32_t which = i / (m * n), row = i % (m * n) / n, col = i % n;
    int32_t sum = 0;
    for (uint32_t x = 0; x < k && which < 4; x++) {
        const uint32_t a = which / 2 * m * k + row * k + x, b = which % 2 * k * n + x * n + col;
        sum += ((int32_t)((a * 7 + 3) % 5) - 2) * ((int32_t)((b * 3 + 1) % 7) - 3);
    }
    return (uint32_t)sum * TRY_ROUNDS;
}

/* ---- the lines */

typedef struct line {
    const char *name, *what;
    const char *unit, *of, *beside;
    const char *absent;       /* why there is no such thing in WGSL, and no `code` */
    const char *code, *entry; /* the thing itself, and what is done without it */
    const char *beside_code, *beside_entry;
    uint32_t uses;           /* of `code` */
    uint32_t numbers[3];     /* y, z and w */
    uint32_t words;          /* of a workgroup's result */
    uint32_t first;          /* word of the first one's */
    uint32_t groups, rounds; /* on a GPU */
    double work;             /* of a workgroup in a round, in the unit; 0: of matrices */
    bool texture, floats;
    right_fn *right;
    const char *native[HY__N_NATIVE];
} line;

static const line lines[] = {
    {.name = "matrix-units",
     .what = "matrix units",
     .unit = "flop/s",
     .of = "products of f16, sums in f32",
     .code = hy__measure_matrix,
     .entry = "main",
     .uses = HY__GPU_USES_F16 | HY__GPU_USES_SUBGROUPS | HY__GPU_USES_MATRICES,
     .words = 1024,
     .groups = 2048,
     .rounds = 512,
     .right = right_matrix,
     .native = {"mma.sync; wgmma on sm_90a", "MFMA, WMMA (rocWMMA)", "simdgroup_matrix",
                "VK_KHR_cooperative_matrix"}},
    {.name = "subgroups",
     .what = "subgroup operations",
     .unit = "sums/s",
     .of = "sums of 256 numbers",
     .beside = "in workgroup memory",
     .code = hy__measure_sum_subgroup,
     .entry = "main",
     .beside_code = hy__measure_sum_workgroup,
     .beside_entry = "main",
     .uses = HY__GPU_USES_SUBGROUPS,
     .words = LANES,
     .groups = 4096,
     .rounds = 128,
     .work = 1,
     .right = right_sum,
     .native = {"__shfl_sync, __reduce_add_sync", "__shfl, DPP", "simd_sum, simd_shuffle",
                "subgroup operations"}},
    {.name = "async-copy",
     .what = "asynchronous copy",
     .unit = "B/s",
     .of = "copies to workgroup memory",
     .beside = "through registers",
     .absent = "no such thing in WGSL: a copy to workgroup memory is a load and a store of an "
               "invocation, and its registers hold what is under way",
     .beside_code = hy__measure_stage,
     .beside_entry = "main",
     .numbers = {TILES},
     .words = LANES * 4,
     .first = TILES * TILE_WORDS,
     .groups = 2048,
     .rounds = 64,
     .work = 4 * TILE_WORDS,
     .right = right_stage,
     .native = {"cp.async; TMA from sm_90", "loads to LDS (gfx9, gfx950)", "none that is public",
                "none"}},
    {.name = "textures",
     .what = "texture sampling",
     .unit = "samples/s",
     .of = "points between four texels",
     .beside = "four loads and weights",
     .code = hy__measure_texture,
     .entry = "main",
     .beside_code = hy__measure_texture,
     .beside_entry = "by_hand",
     .words = LANES,
     .groups = 4096,
     .rounds = 64,
     .work = 4 * LANES,
     .texture = true,
     .floats = true,
     .right = right_texture,
     .native = {"tex2D, texture units", "tex2D (not on CDNA)", "texture.sample in kernels",
                "sampled images in compute"}},
    {.name = "atomics",
     .what = "shared-memory atomics",
     .unit = "atomics/s",
     .of = "additions to 64 numbers",
     .code = hy__measure_atomics,
     .entry = "main",
     .words = LANES,
     .groups = 4096,
     .rounds = 64,
     .work = 4 * LANES,
     .right = right_atomics,
     .native = {"atomicAdd on __shared__, also f16x2, f32", "atomicAdd on __shared__, also f32",
                "atomic_fetch_add, 32-bit integers", "OpAtomicIAdd; floats by extension"}},
    {.name = "fp16",
     .what = "FP16 arithmetic",
     .unit = "flop/s",
     .of = "multiply-adds of f16",
     .beside = "of f32",
     .code = hy__measure_mul_f16,
     .entry = "main",
     .beside_code = hy__measure_mul_f32,
     .beside_entry = "main",
     .uses = HY__GPU_USES_F16,
     .numbers = {SHIFT_Y, SHIFT_Z, SHIFT_W},
     .words = LANES,
     .groups = 4096,
     .rounds = 64,
     .work = 2 * 64 * LANES,
     .right = right_mul,
     .native = {"half2: __hfma2", "packed halves: v_pk_fma_f16", "half", "shaderFloat16"}},
    {.name = "int8-dot",
     .what = "INT8 dot product",
     .unit = "op/s",
     .of = "packed products of four bytes",
     .beside = "byte by byte",
     .code = hy__measure_dot_packed,
     .entry = "main",
     .beside_code = hy__measure_dot_plain,
     .beside_entry = "main",
     .words = LANES,
     .groups = 4096,
     .rounds = 64,
     .work = 8 * 32 * LANES,
     .right = right_dot,
     .native = {"__dp4a", "v_dot4_i32_i8", "none", "VK_KHR_shader_integer_dot_product"}},
};

/* dot_factor is no constant for lists. */
static void put_numbers(const line *l, uint32_t rounds, uint32_t numbers[4])
{
    numbers[0] = rounds;
    memcpy(numbers + 1, l->numbers, sizeof l->numbers);
    if (l->right == right_dot) {
        numbers[1] = dot_factor;
    }
}

/* What a mask must leave for the line; 0 is nothing. */
static uint32_t families_of(const line *l)
{
    return (l->uses & HY__GPU_USES_F16 ? (uint32_t)HY__GPU_NO_F16 : 0) |
           (l->uses & HY__GPU_USES_SUBGROUPS ? (uint32_t)HY__GPU_NO_SUBGROUPS : 0) |
           (l->uses & HY__GPU_USES_MATRICES ? (uint32_t)HY__GPU_NO_MATRICES : 0) |
           (l->right == right_dot ? (uint32_t)HY__GPU_NO_DOT : 0);
}

static bool is_here(const line *l, const hy__gpu_caps *c)
{
    return (!(l->uses & HY__GPU_USES_F16) || c->f16) &&
           (!(l->uses & HY__GPU_USES_SUBGROUPS) || c->subgroups) &&
           (!(l->uses & HY__GPU_USES_MATRICES) || c->matrix_k > 0) &&
           (l->right != right_dot || c->dot);
}

/* ---- texts */

static hy_status edit(const hy_env *env, hy__buf *text, const char *old, const char *new,
                      hy_error *err)
{
    hy__buf out = {0};
    const char *const at = strstr(text->data, old);
    if (!at) {
        return hy__fail(err, HY_E_INTERNAL, "a kernel has no \"%s\"", old);
    }
    hy_status status = hy__buf_append(env, &out, text->data, (size_t)(at - text->data), err);
    status = status == HY_OK ? hy__buf_append(env, &out, new, strlen(new), err) : status;
    status = status == HY_OK
                 ? hy__buf_append(env, &out, at + strlen(old), strlen(at + strlen(old)) + 1, err)
                 : status;
    hy__buf_finish(env, status == HY_OK ? text : &out);
    if (status == HY_OK) {
        *text = out;
    }
    return status;
}

/* The text of a line for this GPU, with what tests bring into it. */
static hy_status edit_all(hy__gpu *gpu, uint32_t i, hy__buf *text, hy_error *err)
{
    const hy__gpu_caps *const c = &gpu->caps;
    const struct {
        const char *old;
        uint32_t value;
    } sizes[] = {{"const M = 16u", c->matrix_m},
                 {"const N = 16u", c->matrix_n},
                 {"const K = 16u", c->matrix_k}};
    for (size_t k = 0; k < HY_COUNT(sizes) && lines[i].uses & HY__GPU_USES_MATRICES; k++) {
        char new[32];
        snprintf(new, sizeof new, "const %c = %uu", sizes[k].old[6], sizes[k].value);
        HY_TRY(edit(&gpu->env, text, sizes[k].old, new, err));
    }
    if (hy__gpu_offer_faults.wrong >> i & 1) {
        HY_TRY(edit(&gpu->env, text, "WRONG = 0u", "WRONG = 1u", err));
    }
    if (hy__gpu_offer_faults.broken >> i & 1) {
        HY_TRY(edit(&gpu->env, text, "fn main(", "fn main no such text", err));
    }
    return HY_OK;
}

static hy_status compile(hy__gpu_trial *t, uint32_t i, bool beside, WGPUComputePipeline *out,
                         hy_error *err)
{
    const line *const l = &lines[i];
    const char *const code = beside ? l->beside_code : l->code;
    hy__buf text = {0};
    hy_status status = hy__buf_append(&t->gpu->env, &text, code, strlen(code) + 1, err);
    if (status == HY_OK && (!beside || !l->code)) {
        status = edit_all(t->gpu, i, &text, err);
    }
    if (status == HY_OK) {
        status = hy__gpu_trial_compile(t, text.data, beside ? 0 : l->uses,
                                       beside ? l->beside_entry : l->entry, l->what, out, err);
    }
    hy__buf_finish(&t->gpu->env, &text);
    return status;
}

/* ---- one line */

/* HY_E_MISMATCH: the result is not right. */
static hy_status try_kernel(hy__gpu_trial *t, const line *l, WGPUComputePipeline pipeline,
                            hy_error *err)
{
    hy__gpu *const gpu = t->gpu;
    /* Samplers may compute with the few bits of a texel's numbers: these may be 1 of 255 off, and
     * count 1, 2, 4 and 8 times.  Texels differ far more. */
    const float most_off = 4 * TRY_ROUNDS * 15 / 255.0f;
    uint32_t numbers[4], got[TRY_GROUPS * 1024];
    const uint32_t n = l->uses & HY__GPU_USES_MATRICES
                           ? 4 * gpu->caps.matrix_m * gpu->caps.matrix_n
                           : l->words;
    put_numbers(l, TRY_ROUNDS, numbers);
    hy__gpu_trial_set(t, numbers);
    HY_TRY(hy__gpu_trial_run(t, pipeline, TRY_GROUPS, 1, NULL, err));
    HY_TRY(hy__gpu_read(gpu, t->buffer, (uint64_t)l->first * 4, got,
                        (size_t)TRY_GROUPS * l->words * 4, err));
    for (uint32_t i = 0; i < TRY_GROUPS * l->words; i++) {
        const uint32_t group = i / l->words, at = i % l->words;
        const uint32_t right = at < n ? l->right(&gpu->caps, group, at) : got[i];
        float a, b;
        memcpy(&a, &got[i], sizeof a);
        memcpy(&b, &right, sizeof b);
        if (got[i] != right && !(l->floats && a > b - most_off && a < b + most_off)) {
            return l->floats ? hy__fail(err, HY_E_MISMATCH, "%g where %g is right, number %u of %u",
                                        (double)a, (double)b, i, TRY_GROUPS * l->words)
                             : hy__fail(err, HY_E_MISMATCH, "%u where %u is right, number %u of %u",
                                        got[i], right, i, TRY_GROUPS * l->words);
        }
    }
    return HY_OK;
}

static double work_of(const line *l, const hy__gpu_caps *c)
{
    /* Of a workgroup of matrix.wgsl, at least. */
    const double subgroups = 128.0 / HY_MAX(c->subgroup_max, 1u);
    return l->work > 0 ? l->work
                       : subgroups * 4 * 2 * c->matrix_m * c->matrix_n * (double)c->matrix_k;
}

/* GPUs made of software do a small part of it. */
static bool is_soft(const hy__gpu *gpu)
{
    return gpu->caps.type == WGPUAdapterType_CPU;
}

static uint32_t groups_of(const line *l, const hy__gpu *gpu)
{
    return is_soft(gpu) ? 16 : l->groups;
}

static hy_status time_kernel(hy__gpu_trial *t, const line *l, WGPUComputePipeline pipeline,
                             double *rate, hy_error *err)
{
    const uint32_t groups = groups_of(l, t->gpu), rounds = is_soft(t->gpu) ? 16 : l->rounds;
    uint32_t numbers[4];
    double ns = 0;
    put_numbers(l, rounds, numbers);
    hy__gpu_trial_set(t, numbers);
    HY_TRY(hy__gpu_trial_time(t, pipeline, groups, &ns, err));
    *rate = work_of(l, &t->gpu->caps) * groups * rounds * 1e9 / ns;
    return HY_OK;
}

static hy_status try_and_time(hy__gpu_trial *t, uint32_t i, bool beside, double *rate,
                              hy_error *err)
{
    WGPUComputePipeline pipeline = NULL;
    HY_TRY(compile(t, i, beside, &pipeline, err));
    hy_status status = try_kernel(t, &lines[i], pipeline, err);
    if (status == HY_OK) {
        status = time_kernel(t, &lines[i], pipeline, rate, err);
    }
    t->gpu->lib.ComputePipelineRelease(pipeline);
    return status;
}

static hy_status open_trial(hy__gpu_trial *t, const line *l, hy_error *err)
{
    t->numbers = true;
    t->texture = l->texture;
    t->bytes = ((uint64_t)l->first + (uint64_t)groups_of(l, t->gpu) * l->words) * 4;
    HY_TRY(hy__gpu_trial_open(t, l->what, err));
    uint32_t tile[TILE_WORDS];
    for (uint32_t i = 0; i < l->first; i += TILE_WORDS) {
        for (uint32_t k = 0; k < TILE_WORDS; k++) {
            tile[k] = tile_word(i + k);
        }
        t->gpu->lib.QueueWriteBuffer(t->gpu->queue, t->buffer, 4 * (uint64_t)i, tile, sizeof tile);
    }
    return HY_OK;
}

bool hy__gpu_offer_at(uint32_t i, const char **name)
{
    if (i < HY_COUNT(lines) && name) {
        *name = lines[i].name;
    }
    return i < HY_COUNT(lines);
}

/* which: the plain way that is meant, or "". */
static void explain(hy_webgpu_offer *o, const char *state, const char *which, const char *why)
{
    o->state = state;
    snprintf(o->why, sizeof o->why, "%s%s%s", which, which[0] ? ": " : "", why);
}

hy_status hy__gpu_try_offer(hy__gpu *gpu, uint32_t i, hy_webgpu_offer *o, hy_error *err)
{
    const line *const l = &lines[i];
    hy_error local;
    *o = (hy_webgpu_offer){.size = sizeof *o,
                           .name = l->name,
                           .what = l->what,
                           .state = "works",
                           .unit = l->unit,
                           .of = l->of,
                           .beside = l->beside,
                           .native = l->native[hy__gpu_native_of(&gpu->caps)]};
    hy__gpu_trial t = {.gpu = gpu};
    hy_status status = open_trial(&t, l, err);
    if (status != HY_OK) {
        hy__gpu_trial_close(&t);
        return status;
    }
    if (!l->code) {
        explain(o, "none", "", l->absent);
    } else if (!is_here(l, &gpu->caps)) {
        const bool masked = gpu->mask & (families_of(l) | HY__GPU_FLOOR);
        explain(o, masked ? "masked" : "missing", "",
                masked ? "it is to be taken as missing" : "this GPU does not have it in WebGPU");
    } else {
        status = try_and_time(&t, i, false, &o->rate, &local);
        if (status != HY_OK) {
            explain(o, status == HY_E_MISMATCH ? "wrong" : "failed", "", local.text);
        }
    }
    if (l->beside && hy__gpu_check(gpu, NULL) == HY_OK) {
        status = try_and_time(&t, i, true, &o->beside_rate, &local);
        if (status != HY_OK) {
            explain(o, status == HY_E_MISMATCH ? "wrong" : "failed", l->beside, local.text);
        }
    }
    hy__gpu_trial_close(&t);
    return hy__gpu_check(gpu, err);
}
