/* cmd_quantize.c: `halyard quantize IN OUT TYPE`.  One thread (the library starts its own). */
#include <ctype.h>
#include <string.h>

#include "cli.h"
#include "generate.h"
#include "term.h"

typedef struct report {
    progress bar;
    size_t n;
} report;

static void on_tensor(void *user, const char *name, uint32_t type_from, uint32_t type_to)
{
    report *r = user;
    const hy_type_info *from = hy_type_find(type_from);
    const hy_type_info *to = hy_type_find(type_to);
    if (r->bar.drawn) {
        fprintf(stderr, "\r\033[K");
        r->bar.drawn = false;
        r->bar.drawn_ns = 0; /* the bar is drawn again below this line */
    }
    fprintf(stderr, "[%4zu] %-40s %8s -> %s\n", ++r->n, name, from ? from->name : "?",
            to ? to->name : "?");
}

static bool same_word(const char *a, const char *b)
{
    while (*a && *b && toupper((unsigned char)*a) == toupper((unsigned char)*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

static int unknown_mix(const options *o, const char *mix)
{
    text names = {0};
    bool ok = true;
    for (size_t i = 0; hy_quantize_mix_name(i); i++) {
        ok = ok && text_printf(&names, "%s%s", i ? ", " : "", hy_quantize_mix_name(i));
    }
    const int code = cli_usage(o, "unknown TYPE \"%.40s\"; there are %s", mix,
                               ok && names.data ? names.data : "none");
    text_free(&names);
    return code;
}

int cmd_quantize(const options *o)
{
    const char *in = o->args[0];
    const char *out = o->args[1];
    const char *mix = o->args[2];
    size_t known = 0;
    while (hy_quantize_mix_name(known) && !same_word(hy_quantize_mix_name(known), mix)) {
        known++;
    }
    if (!hy_quantize_mix_name(known)) {
        return unknown_mix(o, mix);
    }
    if (strcmp(in, out) == 0 || term_same_file(in, out)) {
        return cli_usage(o, "IN and OUT are the same file, %s; it would be lost", in);
    }
    report r;
    memset(&r, 0, sizeof r);
    progress_start(&r.bar, "quantizing");
    hy_quantize_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.size = sizeof opts;
    opts.n_threads = engine_threads(OPT(o, THREADS)->i);
    opts.allow_requantize = OPT(o, REQUANTIZE)->on;
    opts.progress = progress_update;
    opts.progress_user = &r.bar;
    opts.on_tensor = on_tensor;
    opts.on_tensor_user = &r;
    hy_error err = {HY_OK, ""};
    const uint64_t start = term_now_ns();
    const hy_status status =
        hy_quantize_file(in, out, hy_quantize_mix_name(known), &opts, NULL, &err);
    progress_end(&r.bar);
    if (status == HY_E_UNSUPPORTED && !opts.allow_requantize) {
        return cli_fail(o, "%s (--allow-requantize)", err.text);
    }
    if (status != HY_OK) {
        return cli_error(o, &err);
    }
    fprintf(stderr, "halyard: wrote %s as %s, %zu tensors, in %.1f s\n", out,
            hy_quantize_mix_name(known), r.n, (double)(term_now_ns() - start) / 1e9);
    return CLI_OK;
}
