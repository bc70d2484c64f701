/* ladder_svg.c: the ladder as a chart of bars, a row for each rung, and what table and chart both
 * say.  No state. */
#include <string.h>

#include "ladder.h"

enum { WIDTH = 860, LEFT = 110, BAR = 400, TOP = 84, ROW = 46, HEIGHT_OF_BAR = 18 };

double ladder_all(const ladder *l)
{
    double best = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->rungs[i].measured && l->rungs[i].mask && l->rungs[i].total > best) {
            best = l->rungs[i].total;
        }
    }
    return best;
}

static const char head[] =
    "  <style>\n"
    "    text { font: 14px system-ui, sans-serif; fill: #1f2328; }\n"
    "    .title { font-size: 17px; font-weight: 600; }\n"
    "    .small { font-size: 11px; fill: #59636e; }\n"
    "    .bar { fill: #2f6fde; } .native { fill: #2f9e58; } .none { fill: #b8bfc7; }\n"
    "    .ground { fill: #ffffff; }\n"
    "    @media (prefers-color-scheme: dark) {\n"
    "      text { fill: #e6edf3; } .small { fill: #9198a1; } .ground { fill: #0d1117; }\n"
    "      .bar { fill: #5b93f5; } .native { fill: #4cc27a; } .none { fill: #4a525c; }\n"
    "    }\n"
    "  </style>\n";

/* What XML takes for itself is written as a reference; control characters are left out. */
static void put_text(FILE *out, const char *s)
{
    for (; *s; s++) {
        const char *name = *s == '&'   ? "&amp;"
                           : *s == '<' ? "&lt;"
                           : *s == '>' ? "&gt;"
                           : *s == '"' ? "&quot;"
                                          : NULL;
        if (name) {
            fputs(name, out);
        } else if ((unsigned char)*s >= ' ') {
            fputc(*s, out);
        }
    }
}

static void put_row(FILE *out, const rung *r, double best, int y)
{
    fprintf(out, "  <text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 12, y + 14);
    put_text(out, r->name);
    fprintf(out, "</text>\n");
    const double width = r->measured && best > 0 ? BAR * r->speed / best : 0;
    fprintf(out,
            "  <rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n",
            !r->measured ? "none" : r->mask ? "bar" : "native", LEFT, y, width > 2 ? width : 2.0,
            HEIGHT_OF_BAR);
    fprintf(out, "  <text x=\"%.1f\" y=\"%d\">", LEFT + width + 10, y + 14);
    if (r->measured) {
        fprintf(out, "%.1f tokens/s", r->speed);
    } else {
        fprintf(out, "missing");
    }
    if (r->step > 0) {
        fprintf(out, ", \xC3\x97 %.2f", r->step);
    }
    if (r->most > 0) {
        fprintf(out, " (expected \xC3\x97 %.1f to %.1f)", r->least, r->most);
    }
    fprintf(out, "</text>\n  <text class=\"small\" x=\"%d\" y=\"%d\">", LEFT, y + 33);
    put_text(out, r->what);
    fprintf(out, "</text>\n");
}

bool ladder_svg(const ladder *l, FILE *out)
{
    const int height = TOP + ROW * (int)l->n + 16;
    double best = 0;
    for (size_t i = 0; i < l->n; i++) {
        best = l->rungs[i].measured && l->rungs[i].speed > best ? l->rungs[i].speed : best;
    }
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" role=\"img\">\n  <title>tokens per second from rung to rung</title>\n%s"
            "  <rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n",
            WIDTH, height, WIDTH, height, head, WIDTH, height);
    fprintf(out, "  <text class=\"title\" x=\"16\" y=\"30\">");
    put_text(out, l->model);
    fprintf(out, ": tokens per second, and each rung over the one before</text>\n"
                 "  <text class=\"small\" x=\"16\" y=\"50\">");
    put_text(out, l->gpu.adapter);
    fprintf(out, ", ");
    put_text(out, l->gpu.library);
    fprintf(out, "; %.1f MB for a token", l->bytes / 1e6);
    if (ladder_all(l) > 0) {
        fprintf(out, "; all of WebGPU \xC3\x97 %.2f (expected \xC3\x97 %.1f to %.1f)",
                ladder_all(l), LADDER_ALL_LEAST, LADDER_ALL_MOST);
    }
    fprintf(out, "</text>\n");
    for (size_t i = 0; i < l->n; i++) {
        put_row(out, &l->rungs[i], best, TOP + ROW * (int)i);
    }
    fprintf(out, "</svg>\n");
    return !ferror(out);
}
