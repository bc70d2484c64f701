/* hash.c: checksums for files and keyed hash tables for names out of files.
 *
 * Table hashes are keyed with something an author of a file cannot know, so that names cannot be
 * chosen to collide. */
#include "base.h"

#include "halyard/compiler.h"

/* CRC-64/XZ: polynomial 0x42F0E1EBA9EA3693 of ECMA-182, reflected. */
static uint64_t crc_entry(unsigned byte)
{
    /* Four steps at once, for each value of the four bits that they look at: much of what gets a
     * checksum comes in pieces of a few bytes. */
    static const uint64_t steps[16] = {
        UINT64_C(0x0000000000000000), UINT64_C(0x7D9BA13851336649), UINT64_C(0xFB374270A266CC92),
        UINT64_C(0x86ACE348F355AADB), UINT64_C(0x64B62BCAEBC387A1), UINT64_C(0x192D8AF2BAF0E1E8),
        UINT64_C(0x9F8169BA49A54B33), UINT64_C(0xE21AC88218962D7A), UINT64_C(0xC96C5795D7870F42),
        UINT64_C(0xB4F7F6AD86B4690B), UINT64_C(0x325B15E575E1C3D0), UINT64_C(0x4FC0B4DD24D2A599),
        UINT64_C(0xADDA7C5F3C4488E3), UINT64_C(0xD041DD676D77EEAA), UINT64_C(0x56ED3E2F9E224471),
        UINT64_C(0x2B769F17CF112238),
    };
    const uint64_t v = steps[byte & 15] ^ byte >> 4;
    return steps[v & 15] ^ v >> 4;
}

uint64_t hy__crc64(uint64_t crc, const void *data, size_t n)
{
    /* A table per call costs 512 steps: nothing beside the data that is worth a checksum, and
     * needs no initialisation that threads could race for.  Short pieces go without. */
    const uint8_t *p = data;
    crc = ~crc;
    if (n < 256) {
        for (size_t i = 0; i < n; i++) {
            crc = crc_entry((uint8_t)(crc ^ p[i])) ^ crc >> 8;
        }
        return ~crc;
    }
    uint64_t table[256];
    for (unsigned i = 0; i < 256; i++) {
        table[i] = crc_entry(i);
    }
    for (size_t i = 0; i < n; i++) {
        crc = table[(uint8_t)(crc ^ p[i])] ^ crc >> 8;
    }
    return ~crc;
}

/* 64x64 -> 128 bit product, folded: the mixing step of the table hash. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    const uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    const uint64_t mid = a1 * b0 + (a0 * b0 >> 32);
    const uint64_t mid2 = a0 * b1 + (uint32_t)mid;
    const uint64_t high = a1 * b1 + (mid >> 32) + (mid2 >> 32);
    return high ^ a * b;
}

/* The n < 8 bytes at p in one number, different for different bytes; no loop, as names are short.
 */
static uint64_t last_bytes(const uint8_t *p, size_t n)
{
    if (n >= 4) {
        return hy__load_u32(p) | (uint64_t)hy__load_u32(p + n - 4) << 32;
    }
    return n == 0 ? 0 : (uint64_t)p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16;
}

uint64_t hy__hash(uint64_t key, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t h =
        fold(key ^ UINT64_C(0x9E3779B97F4A7C15), (uint64_t)n ^ UINT64_C(0xD6E8FEB86659FD93));
    size_t left = n;
    for (; left >= 8; left -= 8, p += 8) {
        h = fold(h ^ hy__load_u64(p), key | UINT64_C(0x8000000000000001));
    }
    h = fold(h ^ last_bytes(p, left), UINT64_C(0xE7037ED1A0B428DB));
    return h ^ h >> 32;
}

struct hy__strmap_slot {
    const char *key; /* NULL: free */
    size_t len;
    uint32_t value;
    uint32_t check; /* upper bits of the hash: most unequal keys differ here */
};

hy_status hy__strmap_init(const hy_env *env, hy__strmap *m, size_t n, hy_error *err)
{
    memset(m, 0, sizeof *m);
    if (n > UINT32_MAX / 4) {
        return hy__fail(err, HY_E_LIMIT, "a table of %zu names is over the limit of %u", n,
                        (unsigned)(UINT32_MAX / 4));
    }
    size_t slots = 8;
    while (slots < n + n / 2) {
        slots *= 2;
    }
    m->slots = hy__calloc(env, slots, sizeof *m->slots, err);
    if (!m->slots) {
        return HY_E_NOMEM;
    }
    m->n_slots = slots;
    m->key = fold(env->clock_ns(env->user) ^ UINT64_C(0xA0761D6478BD642F),
                  (uint64_t)(uintptr_t)m->slots ^ (uint64_t)(uintptr_t)m);
    return HY_OK;
}

void hy__strmap_finish(const hy_env *env, hy__strmap *m)
{
    hy__free(env, m->slots);
    memset(m, 0, sizeof *m);
}

static struct hy__strmap_slot *slot_at(const hy__strmap *m, uint64_t i)
{
    return &m->slots[i & (m->n_slots - 1)];
}

/* The slot that holds the key, or the free one where it belongs. */
static struct hy__strmap_slot *find_slot(const hy__strmap *m, hy_str key, uint64_t hash)
{
    const uint32_t check = (uint32_t)(hash >> 32);
    for (uint64_t i = hash;; i++) {
        struct hy__strmap_slot *s = slot_at(m, i);
        if (!s->key || (s->check == check && s->len == key.len &&
                        memcmp(s->key, key.data ? key.data : "", key.len) == 0)) {
            return s;
        }
    }
}

static uint64_t hash_of(const hy__strmap *m, hy_str key)
{
    return hy__hash(m->key, key.data ? key.data : "", key.len);
}

static bool put(hy__strmap *m, hy_str key, uint64_t hash, uint32_t value)
{
    if (m->n + 1 >= m->n_slots) { /* one slot stays free, so that every search ends */
        return false;
    }
    struct hy__strmap_slot *s = find_slot(m, key, hash);
    if (s->key) {
        return false;
    }
    *s = (struct hy__strmap_slot){key.data ? key.data : "", key.len, value, (uint32_t)(hash >> 32)};
    m->n++;
    return true;
}

bool hy__strmap_put(hy__strmap *m, const char *key, size_t len, uint32_t value)
{
    const hy_str k = {key, len};
    return m->n_slots > 0 && put(m, k, hash_of(m, k), value);
}

bool hy__strmap_get(const hy__strmap *m, const char *key, size_t len, uint32_t *value)
{
    if (m->n == 0) {
        return false;
    }
    const hy_str k = {key, len};
    const struct hy__strmap_slot *s = find_slot(m, k, hash_of(m, k));
    if (!s->key) {
        return false;
    }
    *value = s->value;
    return true;
}

/* ---- many keys: first their slots, then the keys in these are asked for, then both are there */

enum { TOGETHER = 32 };

static void hash_some(const hy__strmap *m, const hy_str *keys, size_t n, uint64_t *hashes)
{
    for (size_t i = 0; i < n; i++) {
        hashes[i] = hash_of(m, keys[i]);
        HY_PREFETCH(slot_at(m, hashes[i]));
    }
}

size_t hy__strmap_put_all(hy__strmap *m, const hy_str *keys, const uint32_t *values, size_t n)
{
    uint64_t hashes[TOGETHER];
    for (size_t at = 0; at < n; at += TOGETHER) {
        const size_t some = m->n_slots ? HY_MIN(n - at, (size_t)TOGETHER) : 0;
        hash_some(m, keys + at, some, hashes);
        for (size_t i = 0; i < some; i++) {
            if (!put(m, keys[at + i], hashes[i], values[at + i])) {
                return at + i;
            }
        }
        if (some == 0) { /* a map without room */
            return 0;
        }
    }
    return n;
}

void hy__strmap_get_all(const hy__strmap *m, const hy_str *keys, size_t n, uint32_t missing,
                        uint32_t *values)
{
    uint64_t hashes[TOGETHER];
    for (size_t at = 0; at < n; at += TOGETHER) {
        const size_t some = m->n ? HY_MIN(n - at, (size_t)TOGETHER) : 0;
        hash_some(m, keys + at, some, hashes);
        for (size_t i = 0; i < some; i++) {
            HY_PREFETCH(slot_at(m, hashes[i])->key);
        }
        for (size_t i = 0; i < some; i++) {
            const struct hy__strmap_slot *s = find_slot(m, keys[at + i], hashes[i]);
            values[at + i] = s->key ? s->value : missing;
        }
        for (size_t i = some; i < HY_MIN(n - at, (size_t)TOGETHER); i++) {
            values[at + i] = missing; /* the map is empty */
        }
    }
}
