/* guarded.c: buffers between pages that cannot be accessed (guarded.h).  One thread. */
#define _GNU_SOURCE        /* MAP_ANONYMOUS */
#define _DARWIN_C_SOURCE 1 /* the same */

#include "guarded.h"

#include "base/base.h"
#include "support.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#define HAS_PAGES 1
#else
#define HAS_PAGES 0
#endif

enum { MOST_LIVE = 64, FILL = 0xff, PAGE_WITHOUT_SYSTEM = 4096 };

/* [page][inner bytes, whole pages][page]; the buffer is somewhere inside.  Pages of buffers given
 * back are kept for those of the same size. */
static struct block {
    uint8_t *outer;  /* NULL: no pages */
    uint8_t *buffer; /* NULL: given back */
    size_t page, inner, bytes;
    bool read_only;
} blocks[MOST_LIVE];
static size_t oldest; /* where to begin to look for pages to be replaced */
static bool at_end = true;

void guarded_place(bool against_end)
{
    at_end = against_end;
    for (size_t i = 0; i < MOST_LIVE; i++) {
        blocks[i].buffer = NULL;
    }
}

static size_t page_bytes(void)
{
#if HAS_PAGES
    return (size_t)sysconf(_SC_PAGESIZE);
#else
    return PAGE_WITHOUT_SYSTEM;
#endif
}

static void map(struct block *b)
{
    const size_t all = b->inner + 2 * b->page;
#if HAS_PAGES
    b->outer = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true((void *)b->outer != MAP_FAILED);
#else
    b->outer = aligned_alloc(b->page, all);
    assert_non_null(b->outer);
#endif
    b->read_only = true;
}

static void unmap(const struct block *b)
{
#if HAS_PAGES
    assert_int_equal(munmap(b->outer, b->inner + 2 * b->page), 0);
#else
    free(b->outer);
#endif
}

static void protect(struct block *b, bool read_only)
{
#if HAS_PAGES
    if (read_only != b->read_only) {
        const int access = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
        assert_int_equal(mprotect(b->outer + b->page, b->inner, access), 0);
    }
#endif
    b->read_only = read_only;
}

/* Pages that nobody uses: of this size if there are some, else new ones. */
static struct block *pages_of(size_t inner)
{
    for (size_t i = 0; i < MOST_LIVE; i++) {
        if (blocks[i].outer && !blocks[i].buffer && blocks[i].inner == inner) {
            return &blocks[i];
        }
    }
    for (size_t i = 0; i < MOST_LIVE; i++, oldest++) {
        struct block *b = &blocks[oldest % MOST_LIVE];
        if (!b->buffer) {
            if (b->outer) {
                unmap(b);
            }
            *b = (struct block){.page = page_bytes(), .inner = inner};
            map(b);
            oldest++;
            return b;
        }
    }
    fail_msg("more than %d guarded buffers at a time", MOST_LIVE);
    return NULL;
}

static struct block *place(size_t bytes, size_t alignment)
{
    const size_t page = page_bytes();
    struct block *b = pages_of(HY_MAX((bytes + page - 1) / page, (size_t)1) * page);
    const size_t up = (bytes + alignment - 1) / alignment * alignment;
    protect(b, false);
    b->bytes = bytes;
    b->buffer = b->outer + b->page + (at_end ? b->inner - up : 0);
    memset(b->outer + b->page, FILL, b->inner);
    return b;
}

static const void *copy(const void *from, size_t bytes, size_t alignment)
{
    struct block *b = place(bytes, alignment);
    if (bytes > 0) {
        memcpy(b->buffer, from, bytes);
    }
    protect(b, true);
    return b->buffer;
}

void *guarded(size_t bytes)
{
    return place(bytes, 1)->buffer;
}

void *guarded_64(size_t bytes)
{
    return place(bytes, 64)->buffer;
}

const void *guarded_copy(const void *from, size_t bytes)
{
    return copy(from, bytes, 1);
}

const void *guarded_copy_64(const void *from, size_t bytes)
{
    return copy(from, bytes, 64);
}

static bool filled(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == FILL && memcmp(p, p + 1, n - 1) == 0);
}

void guarded_free(const char *what, const void *buffer)
{
    struct block *b = blocks;
    if (!buffer) {
        return;
    }
    while (b < blocks + MOST_LIVE && b->buffer != buffer) {
        b++;
    }
    assert_true(b < blocks + MOST_LIVE);
    const size_t before = (size_t)(b->buffer - b->outer) - b->page;
    const bool same = filled(b->buffer - before, before);
    if (!same || !filled(b->buffer + b->bytes, b->inner - before - b->bytes)) {
        fail_msg("%s writes %s its memory of %zu bytes", what, same ? "behind" : "before",
                 b->bytes);
    }
    b->buffer = NULL;
}
