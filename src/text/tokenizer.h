/* tokenizer.h: the inside of a tokenizer, shared between the files of this folder. */
#ifndef HY_TEXT_TOKENIZER_H
#define HY_TEXT_TOKENIZER_H

#include "halyard/tokenizer.h"
#include "pretokenize.h"
#include "special.h"

typedef enum hy__vocab_model { HY__VOCAB_RWKV, HY__VOCAB_GPT2, HY__VOCAB_LLAMA } hy__vocab_model;

/* n strings one after the other: string i is bytes[offsets[i]] .. bytes[offsets[i + 1]]. */
typedef struct hy__strings {
    char *bytes;
    uint32_t *offsets;
} hy__strings;

/* The 256 printable letters that byte-level BPE writes bytes with. */
typedef struct hy__alphabet {
    char text[256][2]; /* UTF-8 of the letter of each byte */
    uint8_t len[256];
    int16_t byte_of[0x144]; /* by code point; -1: no letter */
} hy__alphabet;

/* Byte-level BPE.  A symbol is a token, or, from n_tokens on, a string that merges need but that is
 * no token. */
typedef struct hy__bpe {
    uint32_t *first; /* by left symbol, n_symbols + 1: where its merges begin */
    struct hy__bpe_merge {
        uint32_t right, rank, result;
    } * merges; /* sorted by left, right, rank */
    uint32_t n_symbols;
    uint32_t byte_symbols[256];
    size_t longest; /* bytes of the longest entry */
    hy__alphabet letters;
} hy__bpe;

typedef struct hy__spm {
    uint32_t *ranks; /* by token: the highest score has the lowest */
    hy_token byte_tokens[256];
    size_t longest; /* bytes of the longest entry */
} hy__spm;

struct hy_tokenizer {
    hy_env env;
    hy__vocab_model model;
    const hy__pre_info *pre; /* gpt2 only */
    char *pre_name;          /* as in the file, NUL-terminated; "" for others */
    uint32_t n_tokens;
    hy__strings entries; /* as in the file */
    hy__strings pieces;  /* what they print */
    uint8_t *kinds;      /* hy_token_kind */
    uint8_t *marks;      /* HY__MARK_* */
    hy_token bos, eos, eot, unknown;
    bool add_bos, add_eos, add_space_prefix;
    hy__strmap ids;           /* gpt2, llama: entry to id; keys are in `entries` */
    hy__special user_defined; /* looked for in every text */
    hy__special special;      /* the same and control and unknown tokens, looked for when asked */
    hy__trie words;           /* rwkv */
    hy__bpe bpe;              /* gpt2 */
    hy__spm spm;              /* llama */
};

enum { HY__MARK_EOG = 1, HY__MARK_NO_SAMPLE = 2 };

/* Growing list of ids. */
typedef struct hy__ids {
    hy_token *data;
    size_t n, cap;
} hy__ids;
hy_status hy__ids_push(const hy_env *env, hy__ids *ids, hy_token id, hy_error *err);

static inline hy_str hy__strings_at(const hy__strings *s, uint32_t i)
{
    return (hy_str){s->bytes + s->offsets[i], s->offsets[i + 1] - s->offsets[i]};
}

/* Control and unknown tokens are never made from ordinary text. */
static inline bool hy__in_text(const hy_tokenizer *t, uint32_t id)
{
    return t->kinds[id] != HY_TOKEN_CONTROL && t->kinds[id] != HY_TOKEN_UNKNOWN;
}

/* What the token prints under these flags of hy_detokenize. id must be in the vocabulary. */
hy_str hy__piece(const hy_tokenizer *t, hy_token id, unsigned flags);
/* Whether the blank in front, which the tokenizer added, is to be dropped from the first of some
 * ids. */
bool hy__drops_blank(const hy_tokenizer *t, hy_token id, hy_str piece);

/* vocabulary.c: what vocabularies of all models have: entries, kinds, special ids, flags.  Reads
 * `g` into the zeroed `t`, whose env, model and pre are set; pieces are left to the model.  On
 * error the caller destroys t. */
hy_status hy__vocab_read(hy_tokenizer *t, const hy_gguf *g, hy_error *err);

/* Each model: what is needed beyond that, pieces included; and one raw fragment of 1..INT32_MAX
 * bytes to ids. */
hy_status hy__rwkv_init(hy_tokenizer *t, hy_error *err);
hy_status hy__rwkv_encode(const hy_tokenizer *t, const char *text, size_t len, hy__ids *out,
                          hy_error *err);
hy_status hy__bpe_init(hy_tokenizer *t, const hy_gguf *g, hy_error *err);
hy_status hy__bpe_encode(const hy_tokenizer *t, const char *text, size_t len, hy__ids *out,
                         hy_error *err);
hy_status hy__spm_init(hy_tokenizer *t, const hy_gguf *g, hy_error *err);
hy_status hy__spm_encode(const hy_tokenizer *t, const char *text, size_t len, hy__ids *out,
                         hy_error *err);

#endif
