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

/* [page][inner bytes, whole pages][page]; the buffer is somewhere inside. */
static struct block {
    uint8_t *outer, *buffer;
    size_t page, inner, bytes;
} live[MOST_LIVE];
static bool at_end = true;

void guarded_place(bool against_end)
{
    at_end = against_end;
}

static size_t page_bytes(void)
{
#if HAS_PAGES
    return (size_t)sysconf(_SC_PAGESIZE);
#else
    return PAGE_WITHOUT_SYSTEM;
#endif
}

static uint8_t *map(const struct block *b)
{
    const size_t all = b->inner + 2 * b->page;
#if HAS_PAGES
    uint8_t *p = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true((void *)p != MAP_FAILED);
    assert_int_equal(mprotect(p + b->page, b->inner, PROT_READ | PROT_WRITE), 0);
#else
    uint8_t *p = aligned_alloc(b->page, all);
    assert_non_null(p);
#endif
    return p;
}

static void unmap(const struct block *b)
{
#if HAS_PAGES
    assert_int_equal(munmap(b->outer, b->inner + 2 * b->page), 0);
#else
    free(b->outer);
#endif
}

/* A buffer without a byte has no place among the live ones but is valid: it begins a page of its
 * own. */
static struct block *place(size_t bytes, size_t alignment)
{
    struct block *b = live;
    while (b < live + MOST_LIVE && b->outer) {
        b++;
    }
    assert_true(b < live + MOST_LIVE);
    b->page = page_bytes();
    b->inner = HY_MAX((bytes + b->page - 1) / b->page, (size_t)1) * b->page;
    b->bytes = bytes;
    b->outer = map(b);
    const size_t up = (bytes + alignment - 1) / alignment * alignment;
    b->buffer = b->outer + b->page + (at_end ? b->inner - up : 0);
    memset(b->outer + b->page, FILL, b->inner);
    return b;
}

static const void *copy(const void *from, size_t bytes, size_t alignment)
{
    const struct block *b = place(bytes, alignment);
    if (bytes > 0) {
        memcpy(b->buffer, from, bytes);
    }
#if HAS_PAGES
    assert_int_equal(mprotect(b->outer + b->page, b->inner, PROT_READ), 0);
#endif
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

void guarded_free(const char *what, const void *buffer)
{
    struct block *b = live;
    if (!buffer) {
        return;
    }
    while (b < live + MOST_LIVE && !(b->outer && b->buffer == buffer)) {
        b++;
    }
    assert_true(b < live + MOST_LIVE);
    const uint8_t *end = b->outer + b->page + b->inner;
    for (const uint8_t *p = b->outer + b->page; p < end; p++) {
        if (p == b->buffer) {
            p += b->bytes;
            if (p == end) {
                break;
            }
        }
        if (*p != FILL) {
            fail_msg("%s writes outside its memory of %zu bytes, at %td", what, b->bytes,
                     p - b->buffer);
        }
    }
    unmap(b);
    b->outer = NULL;
}
