/* line.c: see line.h.  libedit does the editing; the reader owns its line. */
#include "line.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "term.h"
#include "text.h"

struct line_reader {
    EditLine *el; /* NULL: plain lines */
    History *history;
    text line;
};

static char *prompt(EditLine *el)
{
    static char text_of_prompt[] = "> ";
    (void)el;
    return text_of_prompt;
}

static void open_editor(line_reader *r)
{
    setlocale(LC_CTYPE, ""); /* so that a character of several bytes is one step of the cursor */
    r->el = el_init("halyard", stdin, stdout, stderr);
    if (!r->el) {
        return;
    }
    el_set(r->el, EL_PROMPT, prompt);
    el_set(r->el, EL_EDITOR, "emacs");
    /* While a line is edited, Ctrl-C is a key that empties it, no signal. */
    el_set(r->el, EL_SETTY, "-d", "-isig", NULL);
    el_set(r->el, EL_BIND, "^C", "ed-start-over", NULL);
    r->history = history_init();
    if (r->history) {
        HistEvent event;
        history(r->history, &event, H_SETSIZE, 500);
        history(r->history, &event, H_SETUNIQUE, 1);
        el_set(r->el, EL_HIST, history, r->history);
    }
}

line_reader *line_open(void)
{
    line_reader *r = calloc(1, sizeof *r);
    if (r && term_is_tty(stdin) && term_is_tty(stdout)) {
        open_editor(r);
    }
    return r;
}

void line_close(line_reader *r)
{
    if (!r) {
        return;
    }
    if (r->history) {
        history_end(r->history);
    }
    if (r->el) {
        el_end(r->el);
    }
    text_free(&r->line);
    free(r);
}

bool line_is_edited(const line_reader *r)
{
    return r->el != NULL;
}

static const char *read_edited(line_reader *r)
{
    int n = 0;
    /* The editor's mode first, then its prompt: keys that are typed as soon as the prompt is seen
     * must reach it. */
    el_set(r->el, EL_PREP_TERM, 1);
    const char *line = el_gets(r->el, &n);
    /* A Ctrl-C that came before that is a signal; it means the same as the key. */
    while ((!line || n <= 0) && term_interrupted()) {
        term_clear_interrupt();
        fputc('\n', stdout);
        el_set(r->el, EL_PREP_TERM, 1);
        line = el_gets(r->el, &n);
    }
    if (!line || n <= 0) {
        return NULL;
    }
    term_clear_interrupt();
    size_t len = strlen(line);
    if (r->history && len > 1) {
        HistEvent event;
        history(r->history, &event, H_ENTER, line);
    }
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
        len--;
    }
    r->line.len = 0;
    return text_add(&r->line, line, len) ? r->line.data : NULL;
}

const char *line_read(line_reader *r)
{
    if (r->el) {
        return read_edited(r);
    }
    r->line.len = 0;
    bool any = false;
    for (int c = getc(stdin); c != EOF; c = getc(stdin)) {
        any = true;
        if (c == '\n') {
            break;
        }
        const char byte = (char)c;
        if (!text_add(&r->line, &byte, 1)) {
            return NULL;
        }
    }
    if (!any || !text_add(&r->line, "", 0)) {
        return NULL;
    }
    if (r->line.len > 0 && r->line.data[r->line.len - 1] == '\r') {
        r->line.data[--r->line.len] = '\0';
    }
    return r->line.data;
}
