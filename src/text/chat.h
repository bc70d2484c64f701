/* chat.h: what chat_formats.c (the facts) and chat.c (what is done with them) share.  Constant
 * data, any thread. */
#ifndef HY_TEXT_CHAT_H
#define HY_TEXT_CHAT_H

#include "base/base.h"
#include "halyard/chat.h"

enum { HY__CHAT_SYSTEM = 0, HY__CHAT_USER = 1, HY__CHAT_ASSISTANT = 2, HY__CHAT_ROLES = 3 };

enum {
    /* White space at both ends of a body is removed; one bit per role, 1 << role. */
    HY__CHAT_TRIM_SYSTEM = 1,
    HY__CHAT_TRIM_USER = 2,
    HY__CHAT_TRIM_ASSISTANT = 4,
    HY__CHAT_TRIM_ALL = 7,
    /* Bodies without empty lines, which would end a turn: trimmed, CRLF to LF, runs of newlines to
     * one.  If nothing is left, the blank before the body goes too. */
    HY__CHAT_CLEAN = 8,
    /* No system role: its text goes before that of the next user message, with an empty line
       between. */
    HY__CHAT_MERGE_SYSTEM = 16,
    /* Of assistant messages before the last user message only what follows the last "</think>" is
     * kept, and of that not the newlines in front. */
    HY__CHAT_DROP_THINK = 32,
    HY__CHAT_DROP_THINK_NEWLINES = 64,
    /* Every message begins with "<s>", but the first, before which the tokenizer puts its own. */
    HY__CHAT_FIRST_WITHOUT_BOS = 128
};

/* Strings are NULL where a format has none; an open of NULL: the format does not know this role. */
struct hy_chat_format {
    const char *name;
    const char *start;                 /* before the whole conversation */
    const char *turn;                  /* before the first message of the conversation */
    const char *next_turn;             /* before the first message after an answer */
    const char *open[HY__CHAT_ROLES];  /* before a body */
    const char *close[HY__CHAT_ROLES]; /* after it */
    const char *prompt;                /* opens the answer to generate */
    const char *default_system;        /* the system text of a conversation that brings none */
    const char *stop[4];               /* ends with NULL */
    unsigned flags;                    /* HY__CHAT_* */
};

/* First place of the n bytes of needle in text, or NULL. */
const char *hy__find_bytes(const char *text, size_t len, const char *needle, size_t n);

#endif
