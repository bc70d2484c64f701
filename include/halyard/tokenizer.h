/* halyard/tokenizer.h: text to token ids and back.
 *
 * A tokenizer is immutable and may be used from several threads.  It copies what it needs from the
 * file. */
#ifndef HALYARD_TOKENIZER_H
#define HALYARD_TOKENIZER_H

#include "gguf.h"

HY_BEGIN_DECLS

typedef int32_t hy_token;
#define HY_TOKEN_NONE ((hy_token)-1)

typedef struct hy_tokenizer hy_tokenizer;

/* Kinds of tokens, as in tokenizer.ggml.token_type. */
typedef enum hy_token_kind {
    HY_TOKEN_UNDEFINED = 0,
    HY_TOKEN_NORMAL = 1,
    HY_TOKEN_UNKNOWN = 2,
    HY_TOKEN_CONTROL = 3,
    HY_TOKEN_USER_DEFINED = 4,
    HY_TOKEN_UNUSED = 5,
    HY_TOKEN_BYTE = 6
} hy_token_kind;

enum {
    HY_TOKENIZE_ADD_SPECIAL = 1, /* BOS and EOS where the model asks for them */
    HY_TOKENIZE_PARSE_SPECIAL =
        2 /* texts of control tokens become those tokens; never use it on user input */
};

enum {
    HY_DETOKENIZE_SPECIAL = 1, /* control tokens print their text; otherwise they print nothing */
    HY_DETOKENIZE_CONTINUE =
        2 /* the ids go on with a text: a blank in front of them belongs to it.  Without it, the
             blank that a SentencePiece tokenizer puts before a text is taken away again */
};

/* The tokenizer of an open file.  g is not needed afterwards.
 * Errors: HY_E_NOT_FOUND (the file has no vocabulary), HY_E_UNSUPPORTED (tokenizer or pre-tokenizer
 * not known, named), HY_E_FORMAT (with the key and index), HY_E_LIMIT (the same; also a token of
 * an rwkv vocabulary of over 1024 bytes), HY_E_NOMEM. */
HY_API HY_CHECK hy_status hy_tokenizer_create(const hy_gguf *g, const hy_env *env,
                                              hy_tokenizer **out, hy_error *err);
HY_API void hy_tokenizer_destroy(hy_tokenizer *t);

/* "rwkv", "gpt2" or "llama"; and the pre-tokenizer of a gpt2 vocabulary ("" otherwise). Static or
 * owned by t. */
HY_API const char *hy_tokenizer_model(const hy_tokenizer *t);
HY_API const char *hy_tokenizer_pre(const hy_tokenizer *t);
HY_API uint32_t hy_tokenizer_n_tokens(const hy_tokenizer *t);
/* Special ids, or HY_TOKEN_NONE. */
HY_API hy_token hy_tokenizer_bos(const hy_tokenizer *t);
HY_API hy_token hy_tokenizer_eos(const hy_tokenizer *t);
HY_API hy_token hy_tokenizer_eot(const hy_tokenizer *t);
/* The entry of the vocabulary as written in the file (escaped, in the byte alphabet, ...). */
HY_API hy_str hy_tokenizer_entry(const hy_tokenizer *t, hy_token id);
HY_API hy_token_kind hy_tokenizer_kind(const hy_tokenizer *t, hy_token id);
/* End of generation: eos, eot and the other tokens that end a text (specs: EOG set). */
HY_API bool hy_tokenizer_is_eog(const hy_tokenizer *t, hy_token id);
/* False for ids without an entry, unused ones, and those of tokenizer.ggml.suppress_tokens: never
 * sample them. */
HY_API bool hy_tokenizer_can_sample(const hy_tokenizer *t, hy_token id);

/* Text (any bytes) to ids.  *ids belongs to the caller: free it with hy_tokenizer_free.  flags:
 * HY_TOKENIZE_*. Time is linear in len, up to a logarithm. Errors: HY_E_NOMEM, HY_E_LIMIT (more
 * than 2^31 - 1 bytes), HY_E_FORMAT (BOS asked for but the model has none). */
HY_API HY_CHECK hy_status hy_tokenize(const hy_tokenizer *t, const char *text, size_t len,
                                      unsigned flags, hy_token **ids, size_t *n_ids, hy_error *err);
/* Ids to text. *text belongs to the caller (hy_tokenizer_free), is NUL-terminated and may hold any
 * bytes. Errors: HY_E_ARG (an id that is not in the vocabulary, with its place), HY_E_NOMEM. */
HY_API HY_CHECK hy_status hy_detokenize(const hy_tokenizer *t, const hy_token *ids, size_t n_ids,
                                        unsigned flags, char **text, size_t *len, hy_error *err);
HY_API void hy_tokenizer_free(const hy_tokenizer *t, void *ids_or_text);

/* Streaming: one id in, the bytes that are complete out.  A UTF-8 character is never split: its
 * first bytes are held back until the rest came or cannot come any more.  Bytes that are no UTF-8
 * pass through unchanged. */
typedef struct hy_detok hy_detok;
HY_API HY_CHECK hy_status hy_detok_create(const hy_tokenizer *t, unsigned flags, hy_detok **out,
                                          hy_error *err);
HY_API void hy_detok_destroy(hy_detok *d);
/* *text is valid until the next call on d. */
HY_API HY_CHECK hy_status hy_detok_push(hy_detok *d, hy_token id, hy_str *text, hy_error *err);
/* What is still held back; then d is as new. */
HY_API hy_str hy_detok_flush(hy_detok *d);

HY_END_DECLS

#endif
