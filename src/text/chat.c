/* chat.c: a conversation written out in a format (chat_formats.c), as text or as token ids.
 *
 * Both come from one composition: the text, and which ranges of it are markers of the format and
 * which are bodies that somebody else wrote.  For ids the text is cut at the control tokens of the
 * markers, and only there; what lies between is tokenized in one piece with special tokens off.  So
 * a body cannot contain a marker, and harmless bodies give the same ids as the whole text tokenized
 * at once.
 *
 * Nothing is kept between calls; any thread may call.  Results belong to the caller
 * (hy_tokenizer_free). */
#include "text/chat.h"
#include "text/tokenizer.h"

/* ---- composition */

typedef struct range {
    size_t end; /* in bytes of the text; begins where the one before ends */
    bool marker;
} range;

typedef struct composer {
    const hy_env *env;
    const hy_chat_format *format;
    const hy_chat_message *messages;
    size_t n;
    hy_error *err;
    hy__buf text;
    range *ranges; /* kinds alternate, none is empty */
    size_t n_ranges;
    size_t cap;
} composer;

static void composer_finish(composer *c)
{
    hy__buf_finish(c->env, &c->text);
    hy__free(c->env, c->ranges);
}

static hy_status put(composer *c, bool marker, const char *s, size_t n)
{
    if (n == 0) {
        return HY_OK;
    }
    HY_TRY(hy__buf_append(c->env, &c->text, s, n, c->err));
    if (c->n_ranges > 0 && c->ranges[c->n_ranges - 1].marker == marker) {
        c->ranges[c->n_ranges - 1].end = c->text.len;
        return HY_OK;
    }
    if (c->n_ranges == c->cap) {
        const size_t cap = c->cap ? 2 * c->cap : 16;
        range *r = hy__realloc(c->env, c->ranges, cap, sizeof *r, c->err);
        if (!r) {
            return HY_E_NOMEM;
        }
        c->ranges = r;
        c->cap = cap;
    }
    c->ranges[c->n_ranges++] = (range){.end = c->text.len, .marker = marker};
    return HY_OK;
}

static hy_status put_marker(composer *c, const char *s)
{
    return s ? put(c, true, s, strlen(s)) : HY_OK;
}

static bool is_space(char ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

static hy_str trimmed(hy_str s)
{
    while (s.len > 0 && is_space(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.data[s.len - 1])) {
        s.len--;
    }
    return s;
}

/* How many bytes at i are newlines, each LF or CRLF. */
static size_t newlines_at(hy_str s, size_t i)
{
    const size_t begin = i;
    while (i < s.len) {
        if (s.data[i] == '\n') {
            i++;
        } else if (s.data[i] == '\r' && i + 1 < s.len && s.data[i + 1] == '\n') {
            i += 2;
        } else {
            break;
        }
    }
    return i - begin;
}

static hy_status put_without_empty_lines(composer *c, hy_str s)
{
    size_t i = 0;
    while (i < s.len) {
        const size_t begin = i;
        size_t gap = 0;
        while (i < s.len && (gap = newlines_at(s, i)) == 0) {
            i++;
        }
        HY_TRY(put(c, false, s.data + begin, i - begin));
        if (gap > 0) {
            HY_TRY(put(c, false, "\n", 1));
            i += gap;
        }
    }
    return HY_OK;
}

/* What of message i is written. */
static hy_str body_of(const composer *c, size_t i, int role, bool earlier)
{
    static const char think_end[] = "</think>";
    const size_t n_end = sizeof think_end - 1;
    const unsigned flags = c->format->flags;
    hy_str s = {c->messages[i].content, strlen(c->messages[i].content)};
    if (role == HY__CHAT_ASSISTANT && earlier && (flags & HY__CHAT_DROP_THINK)) {
        bool dropped = false;
        const char *p;
        while ((p = hy__find_bytes(s.data, s.len, think_end, n_end)) != NULL) {
            s.len -= (size_t)(p - s.data) + n_end;
            s.data = p + n_end;
            dropped = true;
        }
        while (dropped && (flags & HY__CHAT_DROP_THINK_NEWLINES) && s.len > 0 &&
               s.data[0] == '\n') {
            s.data++;
            s.len--;
        }
    }
    if ((flags & HY__CHAT_CLEAN) || (flags & (1u << role))) {
        s = trimmed(s);
    }
    return s;
}

/* An opening marker and the body behind it. */
static hy_status put_turn(composer *c, const char *open, hy_str body)
{
    if (!(c->format->flags & HY__CHAT_CLEAN)) {
        HY_TRY(put_marker(c, open));
        return put(c, false, body.data, body.len);
    }
    size_t n = strlen(open);
    if (body.len == 0 && n > 0 && open[n - 1] == ' ') {
        n--;
    }
    HY_TRY(put(c, true, open, n));
    return put_without_empty_lines(c, body);
}

/* The role of message i. */
static hy_status role_of(const composer *c, size_t i, int *role)
{
    static const char *const names[HY__CHAT_ROLES] = {"system", "user", "assistant"};
    const hy_chat_message *m = &c->messages[i];
    if (!m->role || !m->content) {
        return hy__fail(c->err, HY_E_ARG, "message %zu has no %s", i, m->role ? "content" : "role");
    }
    for (int r = 0; r < HY__CHAT_ROLES; r++) {
        if (strcmp(m->role, names[r]) == 0 && c->format->open[r]) {
            *role = r;
            return HY_OK;
        }
    }
    char shown[40];
    const hy_str name = {m->role, strlen(m->role)};
    return hy__fail(c->err, HY_E_ARG,
                    "message %zu has the role \"%s\", which the chat format %s does not know", i,
                    hy__printable(name, shown, sizeof shown), c->format->name);
}

/* For formats without a system role: the system messages in [from, to), before the user's text. */
static hy_status put_merged_system(composer *c, size_t from, size_t to)
{
    bool any = false;
    for (size_t i = from; i < to; i++) {
        int role;
        HY_TRY(role_of(c, i, &role));
        if (role == HY__CHAT_SYSTEM) {
            const hy_str s = body_of(c, i, role, true);
            HY_TRY(put(c, false, s.data, s.len));
            any = any || s.len > 0;
        }
    }
    return any ? put_marker(c, "\n\n") : HY_OK;
}

static hy_status compose_messages(composer *c, bool first)
{
    const hy_chat_format *f = c->format;
    const bool merge = (f->flags & HY__CHAT_MERGE_SYSTEM) != 0;
    size_t last_user = 0, last_system = 0; /* + 1; 0: none */
    for (size_t i = 0; i < c->n; i++) {
        int role;
        HY_TRY(role_of(c, i, &role));
        last_user = role == HY__CHAT_USER ? i + 1 : last_user;
        last_system = role == HY__CHAT_SYSTEM ? i + 1 : last_system;
    }
    if (merge && last_system > last_user) {
        return hy__fail(
            c->err, HY_E_ARG,
            "message %zu: the chat format %s puts a system text into the user message after it, "
            "and there is none",
            last_system - 1, f->name);
    }

    size_t merged = 0; /* system messages before this one were written */
    bool in_turn = false;
    for (size_t i = 0; i < c->n; i++) {
        int role;
        HY_TRY(role_of(c, i, &role));
        if (role == HY__CHAT_SYSTEM && merge) {
            continue;
        }
        if (!in_turn) {
            HY_TRY(put_marker(c, first && i == 0 ? f->turn : f->next_turn));
            in_turn = true;
        }
        const char *open = f->open[role];
        if (first && i == 0 && (f->flags & HY__CHAT_FIRST_WITHOUT_BOS)) {
            open += strlen("<s>");
        }
        hy_str body = body_of(c, i, role, i < last_user);
        if (role == HY__CHAT_USER && merge) {
            HY_TRY(put_marker(c, open));
            HY_TRY(put_merged_system(c, merged, i));
            merged = i;
            open = "";
        }
        HY_TRY(put_turn(c, open, body));
        HY_TRY(put_marker(c, f->close[role]));
        if (role == HY__CHAT_ASSISTANT) {
            in_turn = false;
        }
    }
    return HY_OK;
}

/* On failure c is to be finished all the same. */
static hy_status compose(composer *c, const hy_chat_format *f, const hy_tokenizer *t,
                         const hy_chat_message *messages, size_t n, bool first, bool prompt,
                         hy_error *err)
{
    *c = (composer){.env = &t->env, .format = f, .messages = messages, .n = n, .err = err};
    if (first) {
        HY_TRY(put_marker(c, f->start));
        const bool own_system =
            n > 0 && messages[0].role && strcmp(messages[0].role, "system") == 0;
        if (f->default_system && !own_system) {
            HY_TRY(put_marker(c, f->open[HY__CHAT_SYSTEM]));
            HY_TRY(put_marker(c, f->default_system));
            HY_TRY(put_marker(c, f->close[HY__CHAT_SYSTEM]));
        }
    }
    HY_TRY(compose_messages(c, first));
    return prompt ? put_marker(c, f->prompt) : HY_OK;
}

hy_status hy_chat_render(const hy_chat_format *f, const hy_tokenizer *t,
                         const hy_chat_message *messages, size_t n, bool add_generation_prompt,
                         char **text, size_t *len, hy_error *err)
{
    *text = NULL;
    *len = 0;
    composer c;
    hy_status s = compose(&c, f, t, messages, n, true, add_generation_prompt, err);
    if (s == HY_OK && !c.text.data) {
        s = hy__buf_append(c.env, &c.text, "", 0, err);
    }
    if (s == HY_OK) {
        *text = c.text.data;
        *len = c.text.len;
        c.text = (hy__buf){0};
    }
    composer_finish(&c);
    return s;
}

/* ---- ids */

typedef struct encoder {
    const hy_tokenizer *t;
    const hy_env *env;
    hy_error *err;
    const char *text;
    size_t pending; /* text from here on is not tokenized yet */
    hy_token *ids;
    size_t n;
    size_t cap;
    /* Turn markers that are "user-defined" tokens are found in every text, special tokens on or
     * off. In bodies they are broken after their first byte. */
    hy_str *guards; /* [n_guards], their bytes are owned by t */
    size_t n_guards;
} encoder;

static hy_status push_ids(encoder *e, const hy_token *ids, size_t n)
{
    if (n > e->cap - e->n) {
        const size_t cap = HY_MAX(e->n + n, 2 * e->cap);
        hy_token *grown = hy__realloc(e->env, e->ids, cap, sizeof *grown, e->err);
        if (!grown) {
            return HY_E_NOMEM;
        }
        e->ids = grown;
        e->cap = cap;
    }
    if (n > 0) {
        memcpy(e->ids + e->n, ids, n * sizeof *ids);
    }
    e->n += n;
    return HY_OK;
}

/* Tokenizes what is pending before `end` as ordinary text. */
static hy_status flush(encoder *e, size_t end)
{
    if (end > e->pending) {
        hy_token *ids;
        size_t n;
        HY_TRY(hy_tokenize(e->t, e->text + e->pending, end - e->pending, 0, &ids, &n, e->err));
        const hy_status s = push_ids(e, ids, n);
        hy_tokenizer_free(e->t, ids);
        HY_TRY(s);
    }
    e->pending = end;
    return HY_OK;
}

/* Cuts the text at the control tokens between begin and end. */
static hy_status cut_marker(encoder *e, size_t begin, size_t end)
{
    hy_token *ids;
    size_t n;
    HY_TRY(hy_tokenize(e->t, e->text + begin, end - begin, HY_TOKENIZE_PARSE_SPECIAL, &ids, &n,
                       e->err));
    hy_status s = HY_OK;
    for (size_t i = 0; s == HY_OK && i < n; i++) {
        const hy_token_kind kind = hy_tokenizer_kind(e->t, ids[i]);
        if (kind != HY_TOKEN_CONTROL && kind != HY_TOKEN_UNKNOWN) {
            continue;
        }
        /* Its text is in the marker as it stands; an unknown token that stands for anything else is
         * not. */
        const hy_str entry = hy_tokenizer_entry(e->t, ids[i]);
        const char *p = hy__find_bytes(e->text + begin, end - begin, entry.data, entry.len);
        if (p && entry.len > 0) {
            begin = (size_t)(p - e->text);
            s = flush(e, begin);
            if (s == HY_OK) {
                s = push_ids(e, &ids[i], 1);
                begin += entry.len;
                e->pending = begin;
            }
        }
    }
    hy_tokenizer_free(e->t, ids);
    return s;
}

static bool is_guard(const hy_str s)
{
    bool blank = true;
    for (size_t i = 0; i < s.len; i++) {
        blank = blank && is_space(s.data[i]);
    }
    return s.len >= 2 && !blank;
}

/* Once each: how many there are is up to the vocabulary, and none may be left out. */
static hy_status add_guard(encoder *e, hy_str entry)
{
    for (size_t g = 0; g < e->n_guards; g++) {
        if (e->guards[g].data == entry.data) {
            return HY_OK;
        }
    }
    hy_str *grown = hy__realloc(e->env, e->guards, e->n_guards + 1, sizeof *grown, e->err);
    if (!grown) {
        return HY_E_NOMEM;
    }
    e->guards = grown;
    e->guards[e->n_guards++] = entry;
    return HY_OK;
}

static hy_status add_guards(encoder *e, const char *marker)
{
    if (!marker || !marker[0]) {
        return HY_OK;
    }
    hy_token *ids;
    size_t n;
    HY_TRY(hy_tokenize(e->t, marker, strlen(marker), HY_TOKENIZE_PARSE_SPECIAL, &ids, &n, e->err));
    hy_status s = HY_OK;
    for (size_t i = 0; i < n && s == HY_OK; i++) {
        const hy_str entry = hy_tokenizer_entry(e->t, ids[i]);
        if (hy_tokenizer_kind(e->t, ids[i]) == HY_TOKEN_USER_DEFINED && is_guard(entry)) {
            s = add_guard(e, entry);
        }
    }
    hy_tokenizer_free(e->t, ids);
    return s;
}

static void cut_guard(const encoder *e, size_t *i, size_t end)
{
    for (; *i < end; ++*i) {
        for (size_t g = 0; g < e->n_guards; g++) {
            const hy_str s = e->guards[g];
            if (s.len <= end - *i && memcmp(e->text + *i, s.data, s.len) == 0) {
                return;
            }
        }
    }
}

static hy_status cut_body(encoder *e, size_t begin, size_t end)
{
    size_t i = begin;
    for (cut_guard(e, &i, end); e->n_guards > 0 && i < end; cut_guard(e, &i, end)) {
        i++;
        HY_TRY(flush(e, i));
    }
    return HY_OK;
}

/* The BOS token, if this vocabulary wants one in front. */
static hy_status push_bos(encoder *e)
{
    hy_token *ids;
    size_t n;
    HY_TRY(hy_tokenize(e->t, "a", 1, HY_TOKENIZE_ADD_SPECIAL, &ids, &n, e->err));
    const hy_token bos = hy_tokenizer_bos(e->t);
    const hy_status s =
        n > 0 && bos != HY_TOKEN_NONE && ids[0] == bos ? push_ids(e, &bos, 1) : HY_OK;
    hy_tokenizer_free(e->t, ids);
    return s;
}

static hy_status encode(encoder *e, const composer *c, bool first)
{
    const hy_chat_format *f = c->format;
    for (int r = 0; r < HY__CHAT_ROLES; r++) {
        HY_TRY(add_guards(e, f->open[r]));
        HY_TRY(add_guards(e, f->close[r]));
    }
    HY_TRY(add_guards(e, f->next_turn));
    if (first) {
        HY_TRY(push_bos(e));
    }
    const size_t n_bos = e->n;
    size_t begin = 0;
    for (size_t i = 0; i < c->n_ranges; i++) {
        const size_t end = c->ranges[i].end;
        HY_TRY(c->ranges[i].marker ? cut_marker(e, begin, end) : cut_body(e, begin, end));
        begin = end;
    }
    HY_TRY(flush(e, begin));
    /* Some formats begin with the BOS text themselves. */
    if (n_bos == 1 && e->n > 1 && e->ids[1] == e->ids[0]) {
        e->n--;
        memmove(e->ids, e->ids + 1, e->n * sizeof *e->ids);
    }
    return HY_OK;
}

hy_status hy_chat_encode(const hy_chat_format *f, const hy_tokenizer *t,
                         const hy_chat_message *messages, size_t n, bool first,
                         bool add_generation_prompt, hy_token **ids, size_t *n_ids, hy_error *err)
{
    *ids = NULL;
    *n_ids = 0;
    composer c;
    hy_status s = compose(&c, f, t, messages, n, first, add_generation_prompt, err);
    encoder e = {.t = t, .env = c.env, .err = err, .text = c.text.data};
    if (s == HY_OK) {
        s = encode(&e, &c, first);
    }
    if (s == HY_OK && !e.ids) {
        e.ids = hy__alloc(e.env, 0, sizeof *e.ids, err);
        s = e.ids ? HY_OK : HY_E_NOMEM;
    }
    composer_finish(&c);
    hy__free(e.env, e.guards);
    if (s != HY_OK) {
        hy__free(e.env, e.ids);
        return s;
    }
    *ids = e.ids;
    *n_ids = e.n;
    return HY_OK;
}
