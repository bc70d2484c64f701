/* quantize_file.c: a model file into another encoding, one slab of elements at a time.
 *
 * Memory does not depend on the model: a slab of encoded output, and one piece of decoded floats
 * for each thread.  Blocks are independent of each other, so pieces may be encoded in any order by
 * any thread and the bytes are always the same. hy_quantize_file may be called from several threads
 * at once; each call owns all it allocates. */
#include "halyard/quantize.h"

#include "halyard/gguf.h"
#include "quant/mix.h"
#include "quant/quant.h"

/* Elements; both multiples of every block. */
#define PIECE ((size_t)8192)
#define SLAB ((size_t)1 << 20)
#define MAX_THREADS 1024

/* What one thread found wrong first; `at` counts from the beginning of the slab. */
typedef struct fault {
    size_t at;       /* SIZE_MAX: nothing */
    bool not_finite; /* else: too large for the type */
} fault;

typedef struct converter {
    hy_env env;
    hy_quantize_opts opts;
    uint32_t n_threads;
    hy_gguf *in;
    hy_gguf_writer *out;
    hy__pool *pool;
    const hy_gguf_tensor **tensors; /* [n_tensors], in the order of the mix rules */
    hy_type *types;                 /* [n_tensors], what each becomes */
    size_t n_tensors;
    float *floats;    /* [n_threads][PIECE] */
    fault *faults;    /* [n_threads] */
    uint8_t *encoded; /* SLAB elements of the largest type */
    uint64_t done;    /* bytes of tensor data read */
    uint64_t total;
} converter;

/* A slab at work. */
typedef struct slab {
    converter *c;
    const hy__type_traits *from;
    const hy__type_traits *to; /* NULL: only look for elements that are not finite */
    const uint8_t *src;
    size_t n;
} slab;

static size_t bytes_of(const hy__type_traits *t, size_t elems)
{
    return elems / t->info.block_elems * t->info.block_bytes;
}

/* ---- one slab */

static void convert_piece(slab *s, size_t begin, size_t n, uint32_t thread)
{
    float *x = s->c->floats + PIECE * thread;
    fault *f = &s->c->faults[thread];
    s->from->dequantize_row(s->src + bytes_of(s->from, begin), x, n);
    size_t bad = hy__first_not_finite(x, n);
    bool not_finite = bad < n;
    if (!not_finite && s->to) {
        bad = s->to->quantize_row(x, s->c->encoded + bytes_of(s->to, begin), n);
    }
    if (bad < n && begin + bad < f->at) {
        f->at = begin + bad;
        f->not_finite = not_finite;
    }
}

static void convert_pieces(void *arg, size_t begin, size_t end, uint32_t thread)
{
    slab *s = arg;
    for (size_t i = begin; i < end; i++) {
        convert_piece(s, i * PIECE, HY_MIN(PIECE, s->n - i * PIECE), thread);
    }
}

/* Decodes a slab, checks it, and encodes it to c->encoded if s->to is set.  `first` is its place in
 * the tensor. */
static hy_status convert_slab(slab *s, const hy_gguf_tensor *t, uint64_t first, hy_error *err)
{
    converter *c = s->c;
    for (uint32_t i = 0; i < c->n_threads; i++) {
        c->faults[i].at = SIZE_MAX;
    }
    hy__pool_run(c->pool, (s->n + PIECE - 1) / PIECE, 1, convert_pieces, s);
    const fault *worst = &c->faults[0];
    for (uint32_t i = 1; i < c->n_threads; i++) {
        worst = c->faults[i].at < worst->at ? &c->faults[i] : worst;
    }
    if (worst->at == SIZE_MAX) {
        return HY_OK;
    }
    unsigned long long at = first + worst->at;
    if (worst->not_finite) {
        return hy__fail(err, HY_E_NUMERIC, "tensor '%s': element %llu is not a finite number",
                        t->name, at);
    }
    return hy__fail(err, HY_E_NUMERIC,
                    "tensor '%s': the block at element %llu is too large for type %s", t->name, at,
                    s->to->info.name);
}

static hy_status report(converter *c, hy_error *err)
{
    if (c->opts.progress && !c->opts.progress(c->opts.progress_user, c->done, c->total)) {
        return hy__fail(err, HY_E_CANCELLED, "cancelled after %llu of %llu bytes",
                        (unsigned long long)c->done, (unsigned long long)c->total);
    }
    return HY_OK;
}

/* ---- one tensor */

/* Same type in and out: the bytes are copied, decoded only to find damage. */
static hy_status write_tensor(converter *c, const hy_gguf_tensor *t, hy_type type, hy_error *err)
{
    bool copy = t->type == type;
    slab s = {c, hy__type_traits_of((uint32_t)t->type),
              copy ? NULL : hy__type_traits_of((uint32_t)type), t->data, 0};
    for (uint64_t first = 0; first < t->n_elems; first += s.n) {
        s.n = (size_t)HY_MIN(SLAB, t->n_elems - first);
        size_t bytes = bytes_of(s.from, s.n);
        if (s.from->dequantize_row) {
            HY_TRY(convert_slab(&s, t, first, err));
        }
        if (copy) {
            HY_TRY(hy_gguf_writer_data(c->out, s.src, bytes, err));
        } else {
            HY_TRY(hy_gguf_writer_data(c->out, c->encoded, bytes_of(s.to, s.n), err));
        }
        s.src += bytes;
        c->done += bytes;
        HY_TRY(report(c, err));
    }
    return HY_OK;
}

static hy_status check_tensor(const converter *c, const hy_gguf_tensor *t, hy_type type,
                              hy_error *err)
{
    const hy_type_info *from = hy_type_find((uint32_t)t->type);
    if (t->type == type) {
        return HY_OK;
    }
    if (!from->can_decode) {
        return hy__fail(err, HY_E_UNSUPPORTED, "tensor '%s' has type %s, which cannot be decoded",
                        t->name, from->name);
    }
    if (from->block_elems > 1 && !c->opts.allow_requantize) {
        return hy__fail(
            err, HY_E_UNSUPPORTED,
            "tensor '%s' is already quantized (%s); encoding it again needs allow_requantize",
            t->name, from->name);
    }
    return HY_OK;
}

/* ---- the file */

/* Shell sort: tensors are mostly in order, and no recursion or library's allocation is wanted. */
static void sort_tensors(const hy_gguf_tensor **t, size_t n)
{
    size_t gap = 1;
    while (gap < n / 3) {
        gap = 3 * gap + 1;
    }
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < n; i++) {
            const hy_gguf_tensor *moving = t[i];
            size_t k = i;
            for (; k >= gap && hy__mix_before(moving, t[k - gap]); k -= gap) {
                t[k] = t[k - gap];
            }
            t[k] = moving;
        }
    }
}

static hy_status plan(converter *c, const hy__mix *mix, hy_error *err)
{
    hy__mix_state state;
    HY_TRY(hy__mix_begin(&state, mix, c->in, err));
    c->n_tensors = hy_gguf_n_tensors(c->in);
    c->tensors = hy__calloc(&c->env, c->n_tensors, sizeof(const hy_gguf_tensor *), err);
    c->types = c->tensors ? hy__calloc(&c->env, c->n_tensors, sizeof *c->types, err) : NULL;
    if (!c->types) {
        return HY_E_NOMEM;
    }
    for (size_t i = 0; i < c->n_tensors; i++) {
        c->tensors[i] = hy_gguf_tensor_at(c->in, i);
        c->total += c->tensors[i]->bytes;
    }
    sort_tensors(c->tensors, c->n_tensors);
    for (size_t i = 0; i < c->n_tensors; i++) {
        const hy_gguf_tensor *t = c->tensors[i];
        HY_TRY(hy__mix_next(&state, t, &c->types[i], err));
        HY_TRY(check_tensor(c, t, c->types[i], err));
        if (c->opts.on_tensor) {
            c->opts.on_tensor(c->opts.on_tensor_user, t->name, (uint32_t)t->type,
                              (uint32_t)c->types[i]);
        }
    }
    return HY_OK;
}

/* All keys but those about the encoding, which come last. */
static hy_status declare(converter *c, const hy__mix *mix, hy_error *err)
{
    static const char version[] = "general.quantization_version";
    static const char file_type[] = "general.file_type";
    enum { QUANTIZATION_VERSION = 2 };
    HY_TRY(hy_gguf_writer_create(&c->env, &c->out, err));
    for (size_t k = 0; k < hy_gguf_n_keys(c->in); k++) {
        hy_str name = hy_gguf_key_name(c->in, k);
        if (!hy__str_is(name, version) && !hy__str_is(name, file_type)) {
            HY_TRY(hy_gguf_writer_copy_key(c->out, c->in, k, err));
        }
    }
    HY_TRY(hy_gguf_writer_set_u32(c->out, version, QUANTIZATION_VERSION, err));
    HY_TRY(hy_gguf_writer_set_u32(c->out, file_type, hy__mix_file_type(mix), err));
    for (size_t i = 0; i < c->n_tensors; i++) {
        const hy_gguf_tensor *t = c->tensors[i];
        HY_TRY(hy_gguf_writer_add_tensor(c->out, t->name, c->types[i], t->n_dims, t->ne, err));
    }
    return HY_OK;
}

static hy_status allocate(converter *c, hy_error *err)
{
    c->n_threads = HY_MIN(HY_MAX(c->opts.n_threads, 1), MAX_THREADS);
    HY_TRY(hy__pool_create(&c->env, c->n_threads, &c->pool, err));
    c->floats = hy__alloc(&c->env, c->n_threads * PIECE, sizeof *c->floats, err);
    c->faults = c->floats ? hy__alloc(&c->env, c->n_threads, sizeof *c->faults, err) : NULL;
    c->encoded = c->faults ? hy__alloc(&c->env, SLAB, sizeof(float), err) : NULL;
    return c->encoded ? HY_OK : HY_E_NOMEM;
}

static hy_status convert(converter *c, const char *in, const char *out, const hy__mix *mix,
                         hy_error *err)
{
    HY_TRY(hy_gguf_open(in, NULL, &c->env, &c->in, err));
    HY_TRY(plan(c, mix, err));
    HY_TRY(declare(c, mix, err));
    HY_TRY(allocate(c, err));
    HY_TRY(hy_gguf_writer_begin(c->out, out, err));
    HY_TRY(report(c, err));
    for (size_t i = 0; i < c->n_tensors; i++) {
        HY_TRY(write_tensor(c, c->tensors[i], c->types[i], err));
    }
    return hy_gguf_writer_finish(c->out, err);
}

hy_status hy_quantize_file(const char *in, const char *out, const char *mix,
                           const hy_quantize_opts *opts, const hy_env *env, hy_error *err)
{
    if (!in || !out || !mix) {
        return hy__fail(err, HY_E_ARG, "the name of the %s is NULL",
                        !in    ? "input"
                        : !out ? "output"
                               : "mix");
    }
    const hy__mix *m = hy__mix_by_name(mix);
    if (!m) {
        char shown[40];
        return hy__fail(err, HY_E_ARG, "there is no mix named '%s'",
                        hy__printable((hy_str){mix, strlen(mix)}, shown, sizeof shown));
    }
    if (strcmp(in, out) == 0) {
        return hy__fail(err, HY_E_ARG, "input and output are the same file");
    }
    converter c = {0};
    hy__env_resolve(&c.env, env);
    if (opts) {
        memcpy(&c.opts, opts, HY_MIN(opts->size, sizeof c.opts));
    }
    hy_status status = convert(&c, in, out, m, err);
    hy_gguf_writer_destroy(c.out);
    hy__free(&c.env, c.encoded);
    hy__free(&c.env, c.faults);
    hy__free(&c.env, c.floats);
    hy__free(&c.env, c.types);
    hy__free(&c.env, (void *)c.tensors);
    hy__pool_destroy(c.pool);
    hy_gguf_close(c.in);
    return status;
}
