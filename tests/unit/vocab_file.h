/* vocab_file.h: a small vocabulary made by a test, as a GGUF file in memory and the tokenizer of
 * it. */
#ifndef HY_TESTS_VOCAB_FILE_H
#define HY_TESTS_VOCAB_FILE_H

#include "halyard/halyard.h"

/* Lists of texts are separated by blanks. */
typedef struct vocab_file {
    const char
        *model; /* tokenizer.ggml.model: "gpt2" (the 256 bytes of its alphabet come first, in order
                 * of the code points) or "llama" (then <0x00>.. and printable ASCII) */
    const char *merges;  /* of letters, "h+i l+l"; the results become tokens */
    const char *control; /* tokens of this kind */
    const char *user_defined;
    const char *unused;
    const char *suppressed;    /* texts of tokens */
    const char *bos;           /* text of a control token; then BOS is asked for */
    const char *chat_template; /* NULL: no such key */
} vocab_file;

#define VOCAB_FILE_GPT2                                                                            \
    {                                                                                              \
        .model = "gpt2", .merges = "h+i \xc4\x8a+\xc4\x8a"                                         \
    }

/* Fails the test on errors. */
hy_tokenizer *vocab_tokenizer(const vocab_file *v, const hy_env *env);
/* The file itself; close it and free(*bytes). */
hy_gguf *vocab_gguf(const vocab_file *v, void **bytes);

#endif
