/* pretokenize.h: cutting a text into the words that byte-level BPE works on.
 *
 * Each class stands for a list of regular expressions that model makers published; they are written
 * here as scanners over code points.  A byte that is no UTF-8 counts as one character of no class.
 * Pure functions, no memory, any thread. */
#ifndef HY_TEXT_PRETOKENIZE_H
#define HY_TEXT_PRETOKENIZE_H

#include "base/base.h"

#define HY__PRE_CLASSES(X)                                                                         \
    X(GPT2)                                                                                        \
    X(DIGITS1)                                                                                     \
    X(LLAMA3)                                                                                      \
    X(QWEN2)                                                                                       \
    X(QWEN35)                                                                                      \
    X(FALCON)                                                                                      \
    X(DEFAULT)                                                                                     \
    X(DEEPSEEK_CODER)                                                                              \
    X(DEEPSEEK3)                                                                                   \
    X(GPT4O)

typedef enum hy__pre_class {
#define HY__PRE_ENUM(name) HY__PRE_##name,
    HY__PRE_CLASSES(HY__PRE_ENUM)
#undef HY__PRE_ENUM
        HY__PRE_N
} hy__pre_class;

enum {
    HY__PRE_IGNORE_MERGES = 1, /* a word that is a token stays whole, whatever the merges say */
    HY__PRE_ADD_BOS = 2        /* BOS by default */
};

/* What is known of a value of tokenizer.ggml.pre. */
typedef struct hy__pre_info {
    const char *name;
    hy__pre_class cls;
    unsigned flags;
} hy__pre_info;

/* NULL if the name is not known. */
const hy__pre_info *hy__pre_find(hy_str name);

enum { HY__PRE_MAX_STAGES = 5 };

/* A text being cut; the pieces, put together, are the text. */
typedef struct hy__pre_iter {
    const char *s;
    hy__pre_class cls;
    unsigned n_stages;
    size_t end[HY__PRE_MAX_STAGES +
               1]; /* end[0]: of the text; end[i]: of the piece of stage i that is being cut */
    size_t pos;
} hy__pre_iter;

void hy__pre_begin(hy__pre_iter *it, hy__pre_class cls, const char *s, size_t len);
/* The next word, never empty; false at the end. */
bool hy__pre_next(hy__pre_iter *it, hy_str *word);

#endif
