/* detokenize.c: ids to text, whole and as a stream.
 *
 * hy_detok belongs to its caller, one thread at a time; it points to its tokenizer, which must
 * outlive it. */
#include "tokenizer.h"

hy_str hy__piece(const hy_tokenizer *t, hy_token id, unsigned flags)
{
    if (!hy__in_text(t, (uint32_t)id) && !(flags & HY_DETOKENIZE_SPECIAL)) {
        return (hy_str){"", 0};
    }
    return hy__strings_at(&t->pieces, (uint32_t)id);
}

bool hy__drops_blank(const hy_tokenizer *t, hy_token id, hy_str piece)
{
    return t->add_space_prefix && hy__in_text(t, (uint32_t)id) && piece.len && piece.data[0] == ' ';
}

static hy_status check_id(const hy_tokenizer *t, hy_token id, size_t place, hy_error *err)
{
    if (id < 0 || (uint32_t)id >= t->n_tokens) {
        return hy__fail(err, HY_E_ARG,
                        "token %ld at place %zu is not in the vocabulary of %lu tokens", (long)id,
                        place, (unsigned long)t->n_tokens);
    }
    return HY_OK;
}

/* What `id` adds to a text.  Only the first id that is text (a BOS is none) loses the blank that
 * the tokenizer adds there; *begun says whether it came already. */
static hy_str next_piece(const hy_tokenizer *t, hy_token id, unsigned flags, bool *begun)
{
    hy_str piece = hy__piece(t, id, flags);
    if (!*begun && hy__drops_blank(t, id, piece)) {
        piece.data++;
        piece.len--;
    }
    *begun = *begun || hy__in_text(t, (uint32_t)id) || piece.len > 0;
    return piece;
}

hy_status hy_detokenize(const hy_tokenizer *t, const hy_token *ids, size_t n_ids, unsigned flags,
                        char **text, size_t *len, hy_error *err)
{
    *text = NULL;
    *len = 0;
    uint64_t total = 1; /* the NUL */
    bool begun = (flags & HY_DETOKENIZE_CONTINUE) != 0;
    for (size_t i = 0; i < n_ids; i++) {
        HY_TRY(check_id(t, ids[i], i, err));
        total += next_piece(t, ids[i], flags, &begun)
                     .len; /* 2^64 bytes would take more ids than memory holds */
    }
    char *out = total > SIZE_MAX ? NULL : hy__alloc(&t->env, (size_t)total, 1, err);
    if (!out) {
        return hy__fail(err, HY_E_NOMEM, "no memory for a text of %llu bytes",
                        (unsigned long long)total);
    }
    size_t at = 0;
    begun = (flags & HY_DETOKENIZE_CONTINUE) != 0;
    for (size_t i = 0; i < n_ids; i++) {
        const hy_str piece = next_piece(t, ids[i], flags, &begun);
        if (piece.len) {
            memcpy(out + at, piece.data, piece.len);
        }
        at += piece.len;
    }
    out[at] = 0;
    *text = out;
    *len = at;
    return HY_OK;
}

struct hy_detok {
    const hy_tokenizer *t;
    unsigned flags;
    size_t n_pushed;
    bool begun;   /* as of next_piece */
    hy__buf text; /* what was handed out, then what is held back */
    size_t n_handed;
};

hy_status hy_detok_create(const hy_tokenizer *t, unsigned flags, hy_detok **out, hy_error *err)
{
    *out = NULL;
    hy_detok *d = hy__calloc(&t->env, 1, sizeof *d, err);
    if (!d) {
        return HY_E_NOMEM;
    }
    d->t = t;
    d->flags = flags;
    d->begun = (flags & HY_DETOKENIZE_CONTINUE) != 0;
    *out = d;
    return HY_OK;
}

void hy_detok_destroy(hy_detok *d)
{
    if (d) {
        hy__buf_finish(&d->t->env, &d->text);
        hy__free(&d->t->env, d);
    }
}

/* Forgets what was handed out. */
static void drop_handed(hy_detok *d)
{
    if (d->n_handed) {
        d->text.len -= d->n_handed;
        memmove(d->text.data, d->text.data + d->n_handed, d->text.len);
        d->n_handed = 0;
    }
}

hy_status hy_detok_push(hy_detok *d, hy_token id, hy_str *text, hy_error *err)
{
    *text = (hy_str){NULL, 0};
    HY_TRY(check_id(d->t, id, d->n_pushed, err));
    drop_handed(d);
    bool begun = d->begun;
    const hy_str piece = next_piece(d->t, id, d->flags, &begun);
    HY_TRY(hy__buf_append(&d->t->env, &d->text, piece.data, piece.len, err));
    d->n_pushed++;
    d->begun = begun;
    d->n_handed = d->text.len - hy__utf8_tail(d->text.data, d->text.len);
    *text = (hy_str){d->text.data, d->n_handed};
    return HY_OK;
}

hy_str hy_detok_flush(hy_detok *d)
{
    drop_handed(d);
    d->n_handed = d->text.len;
    d->n_pushed = 0;
    d->begun = (d->flags & HY_DETOKENIZE_CONTINUE) != 0;
    return (hy_str){d->text.data, d->text.len};
}
