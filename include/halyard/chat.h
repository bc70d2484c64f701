/* halyard/chat.h: a conversation into the form that a model was trained on.
 *
 * A model's chat template is data of a stranger: it is recognised, never run.  Role markers are
 * tokenized with special tokens parsed, message bodies without, so that a body cannot forge a turn.
 */
#ifndef HALYARD_CHAT_H
#define HALYARD_CHAT_H

#include "tokenizer.h"

HY_BEGIN_DECLS

typedef struct hy_chat_format hy_chat_format; /* static storage, one per known format */

typedef struct hy_chat_message {
    const char *role;    /* "system", "user" or "assistant" */
    const char *content; /* UTF-8 */
} hy_chat_message;

/* Known formats, index 0.. until NULL; and their names: "chatml", "llama3", "rwkv-world", ... */
HY_API const hy_chat_format *hy_chat_format_at(size_t i);
HY_API const char *hy_chat_format_name(const hy_chat_format *f);
HY_API const hy_chat_format *hy_chat_format_by_name(const char *name); /* or NULL */
/* Recognises a template from its text; NULL if none fits. tokenizer_model as of hy_tokenizer_model.
 */
HY_API const hy_chat_format *hy_chat_format_detect(const char *text, size_t len,
                                                   const char *tokenizer_model);
/* The format of a model file.  HY_E_NOT_FOUND: the file has no template; HY_E_UNSUPPORTED: an
 * unknown one (the sentence names --chat-template). */
HY_API hy_status hy_chat_format_of(const hy_gguf *g, const hy_tokenizer *t,
                                   const hy_chat_format **out, hy_error *err);

/* The text of a conversation, with the opening of the assistant's answer if add_generation_prompt.
 * *text is freed by hy_tokenizer_free(t, ...).  Errors: HY_E_ARG (role not known to the format,
 * with the index). */
HY_API HY_CHECK hy_status hy_chat_render(const hy_chat_format *f, const hy_tokenizer *t,
                                         const hy_chat_message *messages, size_t n,
                                         bool add_generation_prompt, char **text, size_t *len,
                                         hy_error *err);
/* The same as ids, bodies never parsed for special tokens, BOS in front where the model wants it
 * and `first` is true (first: the conversation starts here; false: these messages continue one). */
HY_API HY_CHECK hy_status hy_chat_encode(const hy_chat_format *f, const hy_tokenizer *t,
                                         const hy_chat_message *messages, size_t n, bool first,
                                         bool add_generation_prompt, hy_token **ids, size_t *n_ids,
                                         hy_error *err);
/* Text that ends an answer in this format although no end token was sampled ("\n\nUser:"), index
 * 0.. until NULL. */
HY_API const char *hy_chat_stop_text(const hy_chat_format *f, size_t i);
/* What hy_chat_encode would put after an answer before the next turn ("<|im_end|>\n", "\n\n"). */
HY_API const char *hy_chat_turn_end(const hy_chat_format *f);

HY_END_DECLS

#endif
