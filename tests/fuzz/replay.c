/* replay.c: runs a fuzz target over stored inputs and fixed mutations of them, without libFuzzer.
 *
 *     fuzz_NAME [-m MUTATIONS] [-w FILE] PATH...
 *
 * Each PATH is a file or a folder of files.  The same inputs in the same order on every machine:
 * files are sorted by name and the mutations come from a generator seeded with the file's bytes. -w
 * writes each input to FILE before it is run: after a crash, that file is the finding.  No PATH
 * with a file in it is a failure. */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define MAX_INPUT ((size_t)1 << 20)

typedef struct replay {
    unsigned mutations;     /* of each file */
    const char *write_path; /* or NULL */
    unsigned long files;
    unsigned long runs;
} replay;

static void die(const char *what, const char *path)
{
    fprintf(stderr, "replay: %s %s\n", what, path);
    exit(2);
}

static void *checked(void *p)
{
    if (!p) {
        die("out of memory", "");
    }
    return p;
}

/* xorshift64*: small, the same everywhere. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static uint64_t seed_of(const uint8_t *data, size_t n)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < n; i++) {
        h = (h ^ data[i]) * UINT64_C(1099511628211);
    }
    return h | 1;
}

/* Runs a copy of exactly n bytes, so that a sanitizer sees each byte read beyond them. */
static void run(replay *r, const uint8_t *data, size_t n)
{
    uint8_t *copy = checked(malloc(n > 0 ? n : 1));
    memcpy(copy, data, n);
    if (r->write_path) {
        FILE *f = fopen(r->write_path, "wb");
        if (!f || fwrite(copy, 1, n, f) != n || fclose(f) != 0) {
            die("cannot write", r->write_path);
        }
    }
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    r->runs++;
}

/* Overwrites 1, 2, 4 or 8 bytes with a number that parsers get wrong. */
static void put_number(uint8_t *data, size_t n, uint64_t *rng)
{
    static const uint64_t numbers[] = {
        0,
        1,
        2,
        4,
        8,
        9,
        16,
        31,
        63,
        64,
        127,
        128,
        255,
        256,
        65535,
        65536,
        0x7FFFFFFF,
        0x80000000,
        0xFFFFFFFF,
        UINT64_C(0x100000000),
        UINT64_C(0x7FFFFFFFFFFFFFFF),
        UINT64_C(0x8000000000000000),
        UINT64_MAX,
    };
    const size_t width = (size_t)1 << next_random(rng) % 4;
    if (width > n) {
        return;
    }
    const size_t at = (size_t)(next_random(rng) % (n - width + 1));
    const uint64_t v =
        numbers[next_random(rng) % (sizeof numbers / sizeof *numbers)] + next_random(rng) % 3 - 1;
    for (size_t i = 0; i < width; i++) {
        data[at + i] = (uint8_t)(v >> 8 * i);
    }
}

/* One change in place; data has room for 2n + 1 bytes.  Returns the new length. */
static size_t mutate(uint8_t *data, size_t n, uint64_t *rng)
{
    const size_t at = n > 0 ? (size_t)(next_random(rng) % n) : 0;
    const size_t len = n > 0 ? 1 + (size_t)(next_random(rng) % (n - at)) % 64 : 0;
    switch (n == 0 ? 6 : next_random(rng) % 8) {
    case 0: /* a bit */ data[at] ^= (uint8_t)(1u << next_random(rng) % 8); return n;
    case 1: /* a byte */ data[at] = (uint8_t)next_random(rng); return n;
    case 2: /* cut off */ return at;
    case 3: /* some bytes out */ memmove(data + at, data + at + len, n - at - len); return n - len;
    case 4: /* some bytes twice */ memmove(data + at + len, data + at, n - at); return n + len;
    case 5: { /* some bytes over others */
        const size_t to = (size_t)(next_random(rng) % (n - len + 1));
        memmove(data + to, data + at, len);
        return n;
    }
    case 6: /* a byte in */
        memmove(data + at + 1, data + at, n - at);
        data[at] = (uint8_t)next_random(rng);
        return n + 1;
    default: put_number(data, n, rng); return n;
    }
}

static void run_file(replay *r, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        die("cannot open", path);
    }
    uint8_t *data = checked(malloc(MAX_INPUT));
    const size_t n = fread(data, 1, MAX_INPUT, f);
    fclose(f);
    r->files++;
    run(r, data, n);
    uint64_t rng = seed_of(data, n);
    uint8_t *changed = checked(malloc(n * 16 + 64));
    for (unsigned i = 0; i < r->mutations; i++) {
        memcpy(changed, data, n);
        size_t len = n;
        /* At most three changes double the length at most three times. */
        for (uint64_t k = 1 + next_random(&rng) % 3; k > 0; k--) {
            len = mutate(changed, len, &rng);
        }
        run(r, changed, len);
    }
    free(changed);
    free(data);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void run_folder(replay *r, const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        die("cannot open", path);
    }
    char **names = NULL;
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.') {
            continue;
        }
        const size_t len = strlen(path) + strlen(e->d_name) + 2;
        names = checked(realloc(names, (n + 1) * sizeof *names));
        names[n] = checked(malloc(len));
        snprintf(names[n++], len, "%s/%s", path, e->d_name);
    }
    closedir(dir);
    if (n > 0) {
        qsort(names, n, sizeof *names, by_name);
    }
    for (size_t i = 0; i < n; i++) {
        run_file(r, names[i]);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    replay r = {100, NULL, 0, 0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-m") == 0 && i + 1 < argc) {
            r.mutations = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "-w") == 0 && i + 1 < argc) {
            r.write_path = argv[++i];
        } else {
            struct stat st;
            if (stat(argv[i], &st) != 0) {
                die("cannot find", argv[i]);
            }
            if (S_ISDIR(st.st_mode)) {
                run_folder(&r, argv[i]);
            } else {
                run_file(&r, argv[i]);
            }
        }
    }
    if (r.files == 0) {
        fprintf(stderr, "replay: no inputs\n");
        return 2;
    }
    printf("%lu files, %lu runs\n", r.files, r.runs);
    return 0;
}
