/* tokenizer_load.c: how long a vocabulary takes from its file to a tokenizer: opening the file, and
 * making the tokenizer, in milliseconds; the least of several rounds, and for 64k entries also the
 * first round, when the memory is new to the process.
 *
 * tokenizer_load FILE.gguf... */
#include <stdio.h>

#include "base/base.h"
#include "halyard/halyard.h"

enum { ROUNDS = 15 };

static double ms_since(const hy_env *env, uint64_t begin)
{
    return (double)(env->clock_ns(env->user) - begin) / 1e6;
}

static bool measure(const hy_env *env, const char *path, hy_error *err)
{
    double open = 1e9, make = 1e9, first = 0;
    uint32_t n = 0;
    for (int i = 0; i < ROUNDS; i++) {
        hy_gguf *g;
        hy_tokenizer *t;
        uint64_t begin = env->clock_ns(env->user);
        if (hy_gguf_open(path, NULL, env, &g, err) != HY_OK) {
            return false;
        }
        open = HY_MIN(open, ms_since(env, begin));
        begin = env->clock_ns(env->user);
        const hy_status status = hy_tokenizer_create(g, env, &t, err);
        make = HY_MIN(make, ms_since(env, begin));
        first = i == 0 ? open + make : first;
        hy_gguf_close(g);
        if (status != HY_OK) {
            return false;
        }
        n = hy_tokenizer_n_tokens(t);
        hy_tokenizer_destroy(t);
    }
    printf("%8u %9.2f %9.2f %9.2f %9.2f  %s\n", n, open, make, (open + make) * 65536 / n,
           first * 65536 / n, path);
    return true;
}

int main(int argc, char **argv)
{
    hy_env env;
    hy__env_resolve(&env, NULL);
    printf("  tokens   open ms   make ms  per 64k     first\n");
    for (int i = 1; i < argc; i++) {
        hy_error err = {HY_OK, ""};
        if (!measure(&env, argv[i], &err)) {
            fprintf(stderr, "tokenizer_load: %s\n", err.text);
            return 1;
        }
    }
    return 0;
}
