/* state.c: states as values, and their file format (docs/formats/state.md).
 *
 * Writing and reading go through a sink and a source, so that files and memory share every check.
 * States are immutable once made. */
#include "session.h"

#include <math.h>

/* ---- values */

const hy_state *hy__state_hold(const hy_state *state)
{
    /* What is const to the caller is still ours to count. */
    atomic_fetch_add(&((hy_state *)(uintptr_t)state)->holders, 1);
    return state;
}

void hy__state_drop(const hy_state *state)
{
    hy_state_destroy((hy_state *)(uintptr_t)state);
}

void hy_state_destroy(hy_state *state)
{
    if (!state || atomic_fetch_sub(&state->holders, 1) != 1) {
        return;
    }
    const hy_env env = state->env;
    hy__free(&env, state->tokens);
    hy__free(&env, state->logits);
    hy__free(&env, state->data);
    hy__free(&env, state);
}

size_t hy_state_n_tokens(const hy_state *state)
{
    return (size_t)state->n_tokens;
}

static uint64_t data_floats(const hy_state *s)
{
    return s->recurrent + s->n_tokens * s->per_position; /* checked when the state was created */
}

hy_status hy__state_create(const hy_model *m, uint64_t n_tokens, bool logits, hy_state **out,
                           hy_error *err)
{
    uint64_t floats;
    size_t bytes;
    *out = NULL;
    if (n_tokens > INT32_MAX || !hy__mul_u64(n_tokens, m->plan.per_position, &floats) ||
        !hy__add_u64(floats, m->plan.recurrent, &floats)) {
        floats = UINT64_MAX; /* more than any state has */
    }
    HY_TRY(hy__size("the numbers of a state", floats, sizeof(float), &bytes, err));
    hy_state *s = hy__calloc(&m->env, 1, sizeof *s, err);
    if (!s) {
        return HY_E_NOMEM;
    }
    s->env = m->env;
    atomic_init(&s->holders, 1);
    s->fingerprint = m->info.fingerprint;
    s->recurrent = m->plan.recurrent;
    s->per_position = m->plan.per_position;
    s->n_tokens = n_tokens;
    s->n_logits = logits ? m->info.n_vocab : 0;
    s->tokens = hy__alloc(&s->env, (size_t)n_tokens, sizeof *s->tokens, err);
    s->logits = s->tokens ? hy__alloc(&s->env, (size_t)s->n_logits, sizeof *s->logits, err) : NULL;
    s->data = s->logits ? hy__alloc(&s->env, bytes, 1, err) : NULL;
    if (!s->data) {
        hy_state_destroy(s);
        return HY_E_NOMEM;
    }
    *out = s;
    return HY_OK;
}

/* ---- the header */

#define HEADER_BYTES 72
#define FORMAT_VERSION 1
static const char magic[8] = "HYSTATE";

enum { /* offsets */
       AT_MAGIC = 0,
       AT_VERSION = 8,
       AT_RESERVED = 12,
       AT_FINGERPRINT = 16,
       AT_N_TOKENS = 24,
       AT_N_LOGITS = 32,
       AT_RECURRENT = 40,
       AT_PER_POSITION = 48,
       AT_MU = 56,
       AT_RESERVED2 = 60,
       AT_CRC = 64
};

static void write_header(const hy_state *s, uint8_t h[HEADER_BYTES])
{
    memset(h, 0, HEADER_BYTES);
    memcpy(h + AT_MAGIC, magic, sizeof magic);
    hy__store_u32(h + AT_VERSION, FORMAT_VERSION);
    hy__store_u64(h + AT_FINGERPRINT, s->fingerprint);
    hy__store_u64(h + AT_N_TOKENS, s->n_tokens);
    hy__store_u64(h + AT_N_LOGITS, s->n_logits);
    hy__store_u64(h + AT_RECURRENT, s->recurrent);
    hy__store_u64(h + AT_PER_POSITION, s->per_position);
    hy__store_u32(h + AT_MU, hy__f32_bits(s->mu));
    hy__store_u64(h + AT_CRC, hy__crc64(0, h, AT_CRC));
}

/* Checks a header and makes an empty state for what it announces. `bytes`: of the whole file. */
static hy_status read_header(const hy_model *m, const uint8_t *h, uint64_t bytes, hy_state **out,
                             hy_error *err)
{
    const uint64_t n_tokens = hy__load_u64(h + AT_N_TOKENS),
                   n_logits = hy__load_u64(h + AT_N_LOGITS);
    const uint64_t fingerprint = hy__load_u64(h + AT_FINGERPRINT);
    const float mu = hy__f32_from_bits(hy__load_u32(h + AT_MU));
    if (memcmp(h, magic, sizeof magic) != 0) {
        return hy__fail(err, HY_E_CORRUPT, "offset 0: not a state file");
    }
    if (hy__load_u64(h + AT_CRC) != hy__crc64(0, h, AT_CRC)) {
        return hy__fail(err, HY_E_CORRUPT, "offset %d: the header's checksum is wrong", AT_CRC);
    }
    if (hy__load_u32(h + AT_VERSION) != FORMAT_VERSION) {
        return hy__fail(err, HY_E_MISMATCH, "offset %d: state format %u, this version reads %d",
                        AT_VERSION, hy__load_u32(h + AT_VERSION), FORMAT_VERSION);
    }
    if (fingerprint != m->info.fingerprint) {
        return hy__fail(
            err, HY_E_MISMATCH,
            "offset %d: the state belongs to another model (%016llx, this one is %016llx)",
            AT_FINGERPRINT, (unsigned long long)fingerprint,
            (unsigned long long)m->info.fingerprint);
    }
    /* With the right checksums only a hostile writer comes here with sizes that do not fit the
     * model. */
    if (n_tokens > INT32_MAX || (n_logits != 0 && n_logits != m->info.n_vocab) ||
        hy__load_u64(h + AT_RECURRENT) != m->plan.recurrent ||
        hy__load_u64(h + AT_PER_POSITION) != m->plan.per_position ||
        hy__load_u32(h + AT_RESERVED) != 0 || hy__load_u32(h + AT_RESERVED2) != 0 ||
        !isfinite(mu)) {
        return hy__fail(err, HY_E_CORRUPT, "offset %d: sizes that do not go with the model",
                        AT_N_TOKENS);
    }
    uint64_t want;
    if (!hy__mul_u64(n_tokens, 1 + m->plan.per_position, &want) ||
        !hy__add_u64(want, n_logits + m->plan.recurrent, &want) || !hy__mul_u64(want, 4, &want) ||
        !hy__add_u64(want, HEADER_BYTES + 8, &want)) {
        return hy__fail(err, HY_E_CORRUPT, "offset %d: %llu tokens", AT_N_TOKENS,
                        (unsigned long long)n_tokens);
    }
    if (bytes < want) {
        return hy__fail(err, HY_E_TRUNCATED, "the state has %llu bytes, its header announces %llu",
                        (unsigned long long)bytes, (unsigned long long)want);
    }
    if (bytes > want) {
        return hy__fail(err, HY_E_CORRUPT, "offset %llu: %llu bytes too many",
                        (unsigned long long)want, (unsigned long long)(bytes - want));
    }
    HY_TRY(hy__state_create(m, n_tokens, n_logits > 0, out, err));
    (*out)->mu = mu;
    return HY_OK;
}

/* ---- writing */

typedef struct sink {
    hy_status (*put)(struct sink *k, const void *data, size_t n, hy_error *err);
    const hy_env *env;
    hy__out_file *file;
    hy__buf *buf;
} sink;

static hy_status put_file(sink *k, const void *data, size_t n, hy_error *err)
{
    return hy__out_write(k->file, data, n, err);
}

static hy_status put_buf(sink *k, const void *data, size_t n, hy_error *err)
{
    return hy__buf_append(k->env, k->buf, data, n, err);
}

static hy_status write_state(const hy_state *s, sink *k, hy_error *err)
{
    uint8_t header[HEADER_BYTES], tail[8];
    write_header(s, header);
    const struct {
        const void *data;
        size_t n;
    } parts[] = {
        {header, sizeof header},
        {s->tokens, (size_t)s->n_tokens * sizeof *s->tokens},
        {s->logits, (size_t)s->n_logits * sizeof *s->logits},
        {s->data, (size_t)data_floats(s) * sizeof *s->data},
    };
    uint64_t crc = 0;
    for (size_t i = 0; i < HY_COUNT(parts); i++) {
        crc = hy__crc64(crc, parts[i].data, parts[i].n);
        HY_TRY(k->put(k, parts[i].data, parts[i].n, err));
    }
    hy__store_u64(tail, crc);
    return k->put(k, tail, sizeof tail, err);
}

hy_status hy_state_save(const hy_state *s, const char *path, hy_error *err)
{
    hy__out_file file;
    sink k = {.put = put_file, .env = &s->env, .file = &file};
    HY_TRY(hy__out_open(&file, &s->env, path, err));
    const hy_status status = write_state(s, &k, err);
    if (status != HY_OK) {
        hy__out_abandon(&file);
        return status;
    }
    return hy__out_commit(&file, err);
}

hy_status hy_state_to_bytes(const hy_state *s, void **data, size_t *bytes, hy_error *err)
{
    hy__buf buf = {0};
    sink k = {.put = put_buf, .env = &s->env, .buf = &buf};
    *data = NULL;
    *bytes = 0;
    const hy_status status = write_state(s, &k, err);
    if (status != HY_OK) {
        hy__buf_finish(&s->env, &buf);
        return status;
    }
    *data = buf.data;
    *bytes = buf.len;
    return HY_OK;
}

void hy_state_free_bytes(const hy_state *s, void *data)
{
    hy__free(&s->env, data);
}

/* ---- reading */

typedef struct source {
    const hy_env *env;
    void *file; /* or */
    const uint8_t *mem;
    uint64_t at, bytes;
    uint64_t crc; /* of everything got so far */
} source;

static hy_status get(source *src, void *buf, size_t n, hy_error *err)
{
    if (n == 0) {
        return HY_OK;
    }
    if (src->mem) {
        memcpy(buf, src->mem + src->at, n);
    } else {
        HY_TRY(src->env->file_read(src->env->user, src->file, src->at, buf, n, err));
    }
    src->crc = hy__crc64(src->crc, buf, n);
    src->at += n;
    return HY_OK;
}

static hy_status read_body(const hy_model *m, source *src, hy_state *s, hy_error *err)
{
    uint8_t tail[8];
    HY_TRY(get(src, s->tokens, (size_t)s->n_tokens * sizeof *s->tokens, err));
    HY_TRY(get(src, s->logits, (size_t)s->n_logits * sizeof *s->logits, err));
    HY_TRY(get(src, s->data, (size_t)data_floats(s) * sizeof *s->data, err));
    const uint64_t crc = src->crc;
    HY_TRY(get(src, tail, sizeof tail, err));
    if (hy__load_u64(tail) != crc) {
        return hy__fail(err, HY_E_CORRUPT, "offset %llu: the state's checksum is wrong",
                        (unsigned long long)(src->bytes - sizeof tail));
    }
    for (uint64_t i = 0; i < s->n_tokens; i++) {
        if (s->tokens[i] < 0 || (uint32_t)s->tokens[i] >= m->info.n_vocab) {
            return hy__fail(err, HY_E_CORRUPT, "offset %llu: token %d is not in the vocabulary",
                            (unsigned long long)(HEADER_BYTES + i * sizeof *s->tokens),
                            (int)s->tokens[i]);
        }
    }
    for (uint64_t i = 0; i < s->n_logits; i++) {
        if (!isfinite(s->logits[i])) { /* no step leaves such logits */
            return hy__fail(
                err, HY_E_CORRUPT, "offset %llu: the logit of token %llu is not a finite number",
                (unsigned long long)(HEADER_BYTES + (s->n_tokens + i) * sizeof *s->logits),
                (unsigned long long)i);
        }
    }
    return HY_OK;
}

static hy_status read_state(const hy_model *m, source *src, hy_state **out, hy_error *err)
{
    uint8_t header[HEADER_BYTES];
    hy_state *s;
    if (src->bytes < HEADER_BYTES + 8) {
        return hy__fail(err, HY_E_TRUNCATED, "a state has at least %d bytes, this file has %llu",
                        HEADER_BYTES + 8, (unsigned long long)src->bytes);
    }
    HY_TRY(get(src, header, sizeof header, err));
    HY_TRY(read_header(m, header, src->bytes, &s, err));
    const hy_status status = read_body(m, src, s, err);
    if (status != HY_OK) {
        hy_state_destroy(s);
        return status;
    }
    *out = s;
    return HY_OK;
}

hy_status hy_state_load(const hy_model *m, const char *path, hy_state **out, hy_error *err)
{
    source src = {.env = &m->env};
    *out = NULL;
    HY_TRY(m->env.file_open(m->env.user, path, HY_FILE_READ, &src.file, &src.bytes, err));
    hy_status status = read_state(m, &src, out, err);
    (void)m->env.file_close(m->env.user, src.file,
                            NULL); /* opened for reading: nothing can be lost */
    if (status != HY_OK) {
        status = hy__wrap(err, status, "%s", path);
    }
    return status;
}

hy_status hy_state_from_bytes(const hy_model *m, const void *data, size_t bytes, hy_state **out,
                              hy_error *err)
{
    source src = {.env = &m->env, .mem = data, .bytes = bytes};
    *out = NULL;
    return read_state(m, &src, out, err);
}
