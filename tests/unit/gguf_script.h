/* gguf_script.h: GGUF files, right and wrong ones, written down as short texts.
 *
 * A script is a list of words:
 *   h:T,K      a version 3 header that counts T tensors and K keys      r:TEXT     the bytes of TEXT
 *   u8:N u16:N u32:N u64:N   numbers (decimal, 0x.., or negative)       f32:X f64:X  floats
 *   s:TEXT     a string: length and bytes                               n:N        a string of N letters x
 *   z:N        N zero bytes                                             a:N        zero bytes up to a multiple of N
 *   t:NAME,TYPE,OFFSET,NE0,NE1...   a tensor record
 * The offsets in the sentences that tests expect can be counted from the words.  Used by the unit tests, which own
 * the cases below, and by the generator of the fuzz corpus. */
#ifndef HY_TESTS_GGUF_SCRIPT_H
#define HY_TESTS_GGUF_SCRIPT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sanitizers make time and address space say nothing about the library. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GGUF_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GGUF_SANITIZED 1
#endif
#endif

typedef struct gguf_bytes {
    uint8_t *data; /* by free() */
    size_t len;
    size_t cap;
} gguf_bytes;

static inline void gguf_put(gguf_bytes *b, const void *data, size_t n)
{
    if (n > b->cap - b->len) {
        b->cap = (b->len + n) * 2;
        b->data = realloc(b->data, b->cap);
        if (!b->data) {
            abort();
        }
    }
    if (n > 0) {
        memcpy(b->data + b->len, data, n);
    }
    b->len += n;
}

static inline void gguf_fill(gguf_bytes *b, int byte, size_t n)
{
    for (; n > 0; n--) {
        const uint8_t c = (uint8_t)byte;
        gguf_put(b, &c, 1);
    }
}

static inline void gguf_num(gguf_bytes *b, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        gguf_fill(b, (int)(v >> 8 * i & 0xFF), 1);
    }
}

static inline void gguf_string(gguf_bytes *b, const char *s, size_t n)
{
    gguf_num(b, n, 8);
    gguf_put(b, s, n);
}

static inline uint64_t gguf_parse_num(const char **s)
{
    char *end;
    const uint64_t v = strtoull(*s, &end, 0);
    *s = *end == ',' ? end + 1 : end;
    return v;
}

static inline void gguf_word(gguf_bytes *b, const char *op, const char *arg)
{
    const char *p = arg;
    if (strcmp(op, "h") == 0) {
        const uint64_t tensors = gguf_parse_num(&p);
        gguf_put(b, "GGUF", 4);
        gguf_num(b, 3, 4);
        gguf_num(b, tensors, 8);
        gguf_num(b, gguf_parse_num(&p), 8);
    } else if (strcmp(op, "r") == 0) {
        gguf_put(b, arg, strlen(arg));
    } else if (strcmp(op, "s") == 0) {
        gguf_string(b, arg, strlen(arg));
    } else if (strcmp(op, "n") == 0) {
        const size_t n = (size_t)gguf_parse_num(&p);
        gguf_num(b, n, 8);
        gguf_fill(b, 'x', n);
    } else if (strcmp(op, "z") == 0) {
        gguf_fill(b, 0, (size_t)gguf_parse_num(&p));
    } else if (strcmp(op, "a") == 0) {
        const size_t a = (size_t)gguf_parse_num(&p);
        gguf_fill(b, 0, (a - b->len % a) % a);
    } else if (strcmp(op, "t") == 0) {
        const char *comma = strchr(arg, ',');
        gguf_string(b, arg, (size_t)(comma - arg));
        p = comma + 1;
        const uint64_t type = gguf_parse_num(&p);
        const uint64_t offset = gguf_parse_num(&p);
        uint64_t ne[8];
        unsigned n = 0;
        while (*p && n < 8) {
            ne[n++] = gguf_parse_num(&p);
        }
        gguf_num(b, n, 4);
        for (unsigned i = 0; i < n; i++) {
            gguf_num(b, ne[i], 8);
        }
        gguf_num(b, type, 4);
        gguf_num(b, offset, 8);
    } else if (strcmp(op, "f32") == 0) {
        const float f = strtof(arg, NULL);
        uint32_t bits;
        memcpy(&bits, &f, 4);
        gguf_num(b, bits, 4);
    } else if (strcmp(op, "f64") == 0) {
        const double d = strtod(arg, NULL);
        uint64_t bits;
        memcpy(&bits, &d, 8);
        gguf_num(b, bits, 8);
    } else if (op[0] == 'u') {
        gguf_num(b, gguf_parse_num(&p), (unsigned)atoi(op + 1) / 8);
    } else {
        fprintf(stderr, "unknown word %s:%s\n", op, arg);
        abort();
    }
}

/* The bytes that the script describes; free() data. */
static inline gguf_bytes gguf_script(const char *script)
{
    gguf_bytes b = {0};
    char word[256];
    while (*script) {
        const size_t n = strcspn(script, " ");
        if (n >= sizeof word) {
            abort();
        }
        memcpy(word, script, n);
        word[n] = '\0';
        script += n + strspn(script + n, " ");
        char *colon = strchr(word, ':');
        if (!colon) {
            abort();
        }
        *colon = '\0';
        gguf_word(&b, word, colon + 1);
    }
    return b;
}

/* name, script: files that open */
#define GGUF_GOOD_CASES(X)                                                                                          \
    X(no_keys_no_tensors, "h:0,0")                                                                                  \
    X(version_2, "r:GGUF u32:2 u64:0 u64:1 s:k u32:4 u32:7")                                                        \
    X(every_scalar, "h:0,12 s:u8 u32:0 u8:200 s:i8 u32:1 u8:-2 s:u16 u32:2 u16:60000 s:i16 u32:3 u16:-300 "         \
                    "s:u32 u32:4 u32:4000000000 s:i32 u32:5 u32:-70000 s:f32 u32:6 f32:1.5 s:bool u32:7 u8:1 "      \
                    "s:str u32:8 s:text s:u64 u32:10 u64:-1 s:i64 u32:11 u64:-5000000000 s:f64 u32:12 f64:0.1")     \
    X(every_array, "h:0,13 s:u8 u32:9 u32:0 u64:2 u8:1 u8:255 s:i8 u32:9 u32:1 u64:2 u8:1 u8:-1 "                   \
                   "s:u16 u32:9 u32:2 u64:1 u16:65535 s:i16 u32:9 u32:3 u64:1 u16:-1 "                              \
                   "s:u32 u32:9 u32:4 u64:2 u32:1 u32:-1 s:i32 u32:9 u32:5 u64:1 u32:-1 "                           \
                   "s:f32 u32:9 u32:6 u64:2 f32:0.5 f32:-2 s:bool u32:9 u32:7 u64:3 u8:1 u8:0 u8:1 "                \
                   "s:str u32:9 u32:8 u64:3 s:a s: s:ccc s:u64 u32:9 u32:10 u64:1 u64:-1 "                          \
                   "s:i64 u32:9 u32:11 u64:1 u64:-1 s:f64 u32:9 u32:12 u64:1 f64:1e300 "                            \
                   "s:str2 u32:9 u32:8 u64:2 s:dd s:e")                                                             \
    X(empty_arrays, "h:0,3 s:a u32:9 u32:8 u64:0 s:b u32:9 u32:0 u64:0 s:c u32:9 u32:7 u64:0")                      \
    X(one_tensor, "h:1,0 t:w,0,0,8 a:32 z:32")                                                                      \
    X(tensor_without_tail, "h:1,0 t:w,0,0,3,1,2 a:32 z:24")                                                         \
    X(scalar_tensor, "h:1,0 t:w,0,0 a:32 z:4")                                                                      \
    X(trailing_bytes, "h:1,0 t:w,0,0,8 a:32 z:32 z:5")                                                              \
    X(alignment_8, "h:2,1 s:general.alignment u32:4 u32:8 t:a,24,0,3 t:b,24,8,9 a:8 z:17")                          \
    X(alignment_1024, "h:2,1 s:general.alignment u32:4 u32:1024 t:a,24,0,3 t:b,24,1024,9 a:1024 z:1033")            \
    X(quantized, "h:3,0 t:a,2,0,64,2 t:b,12,96,256 t:c,39,256,32 a:32 z:96 z:160 z:17")                             \
    X(types_of_known_size, "h:4,0 t:a,15,0,256 t:b,27,320,2 t:c,41,352,128 t:d,40,384,64 a:32 z:420")               \
    X(split_of_one, "h:0,2 s:split.no u32:2 u16:0 s:split.count u32:2 u16:1")

/* name, script, status without HY_, part of the sentence: files that do not.  The comments name the attacks of which
 * a case is an instance. */
#define GGUF_BAD_CASES(X)                                                                                           \
    /* header */                                                                                                    \
    X(empty, "", E_TRUNCATED, "the file has 0 bytes")                                                               \
    X(half_header, "r:GGUF u32:3 u64:0", E_TRUNCATED, "the file has 16 bytes")                                      \
    X(header_less_one, "r:GGUF u32:3 u64:0 z:7", E_TRUNCATED, "the file has 23 bytes")                              \
    X(wrong_magic, "r:GGML u32:3 u64:0 u64:0", E_FORMAT, "47 47 4d 4c")                                             \
    X(reversed_magic, "r:FUGG u32:3 u64:0 u64:0", E_FORMAT, "not a GGUF file")                                      \
    X(version_0, "r:GGUF u32:0 u64:0 u64:0", E_FORMAT, "version 0 at offset 4")                                     \
    X(version_1, "r:GGUF u32:1 u64:0 u64:0", E_UNSUPPORTED, "version 1 at offset 4 is obsolete")                    \
    X(version_4, "r:GGUF u32:4 u64:0 u64:0", E_UNSUPPORTED, "version 4 at offset 4")                                \
    X(version_max, "r:GGUF u32:0xFFFFFFFF u64:0 u64:0", E_UNSUPPORTED, "version 4294967295 at offset 4")            \
    X(big_endian_3, "r:GGUF u32:0x03000000 u64:0 u64:0", E_UNSUPPORTED, "wrong endianness: the version at offset 4") \
    X(big_endian_2, "r:GGUF u32:0x02000000 u64:0 u64:0", E_UNSUPPORTED, "wrong endianness")                         \
    /* counts: CVE-2024-23605, CVE-2024-21836 */                                                                    \
    X(keys_2_63, "h:0,0x8000000000000000", E_TRUNCATED, "9223372036854775808 keys (offset 16)")                     \
    X(keys_max, "h:0,0xFFFFFFFFFFFFFFFF z:64", E_TRUNCATED, "18446744073709551615 keys (offset 16)")                \
    X(keys_times_48_wraps, "h:0,0x0555555555555556 z:64", E_TRUNCATED, "keys (offset 16), too many for the 64 bytes") \
    X(keys_one_byte_short, "h:0,1 z:13", E_TRUNCATED, "1 keys (offset 16), too many for the 13 bytes")              \
    X(keys_over_limit, "h:0,65537 z:917518", E_LIMIT, "65537 keys (offset 16), the limit is 65536")                 \
    X(tensors_max, "h:0xFFFFFFFFFFFFFFFF,0 z:64", E_TRUNCATED, "18446744073709551615 tensors (offset 8)")           \
    X(tensors_2_63, "h:0x8000000000000000,0 z:64", E_TRUNCATED, "9223372036854775808 tensors (offset 8)")           \
    X(tensors_times_88_wraps, "h:0x02E8BA2E8BA2E8BB,0 z:64", E_TRUNCATED, "tensors (offset 8), too many for the 64") \
    X(tensors_one_byte_short, "h:1,0 z:24", E_TRUNCATED, "1 tensors (offset 8), too many for the 24 bytes")         \
    X(tensors_over_limit, "h:65537,0 z:1638425", E_LIMIT, "65537 tensors (offset 8), the limit is 65536")           \
    X(counts_fit_only_alone, "h:1,1 z:30", E_TRUNCATED, "1 tensors (offset 8), too many for the 30 bytes")          \
    X(tensors_without_room, "h:2,1 s:k u32:0 u8:1 z:60", E_TRUNCATED, "2 tensors do not fit into the 60 bytes")     \
    X(alignment_without_room, "h:2,1 s:general.alignment u32:4 u32:1048576 t:a,0,0,1 t:b,0,1048576,1 a:32 z:64",    \
      E_TRUNCATED, "2 tensors do not fit into the")                                                                 \
    /* names of keys: CVE-2024-23496 */                                                                             \
    X(key_length_cut, "h:0,2 s:k u32:4 u32:1 n:2 u32:0", E_TRUNCATED, "the file ends inside the value")             \
    X(second_key_cut, "h:0,2 s:k u32:8 n:20 u32:5", E_TRUNCATED, "key number 1 at offset 65: the file ends inside") \
    X(key_length_max, "h:0,1 u64:-1 z:32", E_TRUNCATED, "key number 0 at offset 24: its name is said to have 18446744073709551615") \
    X(key_length_one_over, "h:0,1 u64:7 z:6", E_TRUNCATED, "key number 0 at offset 24: its name is said to have 7") \
    X(key_too_long, "h:0,1 n:65536 u32:4 u32:1", E_LIMIT, "key number 0 at offset 24: its name has 65536 bytes")    \
    X(key_empty, "h:0,1 s: u32:4 u32:1", E_FORMAT, "key number 0 at offset 24 has an empty name")                   \
    X(key_with_nul, "h:0,1 u64:3 u8:97 u8:0 u8:98 u32:4 u32:1", E_FORMAT, "key 'a?b' at offset 24: a NUL byte")     \
    X(key_twice, "h:0,2 s:k u32:0 u8:1 s:k u32:0 u8:1", E_FORMAT, "key 'k' at offset 38: the same name as key number 0") \
    /* values: types, lengths, counts: CVE-2024-21825, CVE-2024-32878 */                                            \
    X(value_type_cut, "h:0,1 n:5 u8:0", E_TRUNCATED, "key 'xxxxx' at offset 24: the file ends inside the type")     \
    X(value_type_13, "h:0,1 s:k u32:13 u32:0", E_FORMAT, "key 'k' at offset 24: the type of the value is 13")       \
    X(value_type_max, "h:0,1 s:k u32:-1 u32:0", E_FORMAT, "key 'k' at offset 24: the type of the value is 4294967295") \
    X(value_type_bad_in_second, "h:0,2 s:k u32:8 s:v s:l u32:99 u32:0", E_FORMAT, "key 'l' at offset 46: the type") \
    X(value_u32_cut, "h:0,1 s:k u32:4 u8:1 u8:1 u8:1", E_TRUNCATED, "key 'k' at offset 24: the file ends inside the value") \
    X(value_u64_cut, "h:0,1 s:k u32:10 u32:1", E_TRUNCATED, "key 'k' at offset 24: the file ends inside the value") \
    X(string_length_cut, "h:0,1 s:k u32:8 u32:1", E_TRUNCATED, "key 'k' at offset 24: the file ends inside the length") \
    X(string_length_max, "h:0,1 s:k u32:8 u64:-1 z:9", E_TRUNCATED, "key 'k' at offset 24: the length of a string is 18446744073709551615") \
    X(string_length_one_over, "h:0,1 s:k u32:8 u64:4 r:abc", E_TRUNCATED, "the length of a string is 4, more than what the file has left after offset 45") \
    X(bool_2, "h:0,1 s:k u32:7 u8:2", E_FORMAT, "key 'k' at offset 24: a bool is 2")                                \
    X(bool_255_in_array, "h:0,1 s:k u32:9 u32:7 u64:2 u8:1 u8:255", E_FORMAT, "key 'k' at offset 24: a bool is 255") \
    X(array_head_cut, "h:0,1 s:k u32:9 u32:4 u32:0", E_TRUNCATED, "key 'k' at offset 24: the file ends inside the head of an array") \
    X(array_of_arrays, "h:0,1 s:k u32:9 u32:9 u64:1 u32:4 u64:1 u32:1", E_UNSUPPORTED, "key 'k' at offset 24: an array of arrays") \
    X(array_type_13, "h:0,1 s:k u32:9 u32:13 u64:1 u32:1", E_FORMAT, "key 'k' at offset 24: the element type of an array is 13") \
    X(array_type_max, "h:0,1 s:k u32:9 u32:-1 u64:1 u32:1", E_FORMAT, "the element type of an array is 4294967295") \
    X(array_count_max, "h:0,1 s:k u32:9 u32:4 u64:-1 u32:1", E_TRUNCATED, "key 'k' at offset 24: the count of an array is 18446744073709551615") \
    X(array_count_times_8_wraps, "h:0,1 s:k u32:9 u32:10 u64:0x2000000000000001 u64:1", E_TRUNCATED, "the count of an array is 2305843009213693953") \
    X(array_count_one_over, "h:0,1 s:k u32:9 u32:2 u64:3 u16:1 u16:2 u8:3", E_TRUNCATED, "the count of an array is 3, more than what the file has left after offset 49") \
    X(bytes_count_one_over, "h:0,1 s:k u32:9 u32:0 u64:4 r:abc", E_TRUNCATED, "the count of an array is 4")         \
    X(strings_count_wraps, "h:0,1 s:k u32:9 u32:8 u64:0x2000000000000001 s:", E_TRUNCATED, "the count of an array is 2305843009213693953") \
    X(strings_count_one_over, "h:0,1 s:k u32:9 u32:8 u64:2 s: r:1234567", E_TRUNCATED, "the count of an array is 2") \
    X(strings_run_out, "h:0,1 s:k u32:9 u32:8 u64:2 s:abcdefgh", E_TRUNCATED, "key 'k' at offset 24: the file ends inside the length of a string") \
    X(strings_one_too_long, "h:0,1 s:k u32:9 u32:8 u64:2 s:a u64:9 r:12345678", E_TRUNCATED, "the length of a string is 9, more than what the file has left after offset 66") \
    /* alignment: llama.cpp PR 24997 and the like */                                                                \
    X(alignment_0, "h:0,1 s:general.alignment u32:4 u32:0", E_FORMAT, "'general.alignment' at offset 53: 0 is not a power of two") \
    X(alignment_4, "h:0,1 s:general.alignment u32:4 u32:4", E_FORMAT, "'general.alignment' at offset 53: 4 is not a power of two") \
    X(alignment_24, "h:0,1 s:general.alignment u32:4 u32:24", E_FORMAT, "'general.alignment' at offset 53: 24 is not") \
    X(alignment_2_MiB, "h:0,1 s:general.alignment u32:4 u32:2097152", E_FORMAT, "from 8 to 1048576")                \
    X(alignment_2_31, "h:0,1 s:general.alignment u32:4 u32:0x80000000", E_FORMAT, "2147483648 is not a power of two") \
    X(alignment_u64, "h:0,1 s:general.alignment u32:10 u64:32", E_FORMAT, "'general.alignment' at offset 53: the value is UINT64") \
    X(alignment_i32, "h:0,1 s:general.alignment u32:5 u32:32", E_FORMAT, "the value is INT32, wanted is UINT32")    \
    X(alignment_string, "h:0,1 s:general.alignment u32:8 s:32", E_FORMAT, "the value is STRING, wanted is UINT32")  \
    X(alignment_array, "h:0,1 s:general.alignment u32:9 u32:4 u64:1 u32:32", E_FORMAT, "the value is an array of UINT32") \
    /* tensor records: CVE-2024-21802 */                                                                            \
    X(name_length_max, "h:1,0 u64:-1 z:32", E_TRUNCATED, "tensor number 0 at offset 24: its name is said to have 18446744073709551615") \
    X(name_too_long, "h:1,0 n:64 u32:1 u64:8 u32:0 u64:0 a:32 z:32", E_LIMIT, "tensor number 0 at offset 24: its name has 64 bytes, the limit is 63") \
    X(name_empty, "h:1,0 t:,0,0,8 a:32 z:32", E_FORMAT, "tensor number 0 at offset 24 has an empty name")           \
    X(name_with_nul, "h:1,0 u64:2 u8:97 u8:0 u32:1 u64:8 u32:0 u64:0 a:32 z:32", E_FORMAT, "tensor number 0 at offset 24: a NUL byte") \
    X(name_twice, "h:2,0 t:w,0,0,8 t:w,0,32,8 a:32 z:64", E_FORMAT, "tensor 'w' at offset 57: the same name as tensor number 0") \
    X(second_name_cut, "h:2,0 n:63 u32:4 u64:1 u64:1 u64:1 u64:1 u32:0 u64:0 u32:0", E_TRUNCATED, "tensor number 1 at offset 143: the file ends inside its name's length") \
    X(n_dims_cut, "h:1,0 n:22 u16:0", E_TRUNCATED, "at offset 24: the file ends inside the number of dimensions")   \
    X(n_dims_5, "h:1,0 t:w,0,0,1,1,1,1,1 a:32 z:32", E_FORMAT, "tensor 'w' at offset 24: 5 dimensions")             \
    X(n_dims_max, "h:1,0 s:w u32:-1 u64:1 u64:1 u32:0 u64:0 z:64", E_FORMAT, "tensor 'w' at offset 24: 4294967295 dimensions") \
    X(dims_cut, "h:1,0 s:w u32:4 u64:1 u64:1", E_TRUNCATED, "tensor 'w' at offset 24: the file ends inside the dimensions") \
    X(type_cut, "h:1,0 s:w u32:2 u64:1 u64:1 u32:0 u32:0", E_TRUNCATED, "tensor 'w' at offset 24: the file ends inside the type and offset") \
    /* shapes and sizes: CVE-2026-33298, llama.cpp PR 18674 */                                                      \
    X(dim_0, "h:1,0 t:w,0,0,8,0 a:32 z:32", E_FORMAT, "tensor 'w' at offset 24: dimension 1 is 0")                  \
    X(dim_minus_1, "h:1,0 t:w,0,0,-1 a:32 z:32", E_LIMIT, "tensor 'w' at offset 24: dimension 0 is 18446744073709551615") \
    X(dim_2_63, "h:1,0 t:w,0,0,8,0x8000000000000000 a:32 z:32", E_LIMIT, "dimension 1 is 9223372036854775808")      \
    X(dim_over_2_40, "h:1,0 t:w,0,0,0x10000000001 a:32 z:32", E_LIMIT, "dimension 0 is 1099511627777, the limit is 1099511627776") \
    X(dim_2_42_plus_1, "h:1,0 t:w,0,0,0x40000000001,4194304 a:32 z:32", E_LIMIT, "dimension 0 is 4398046511105")    \
    X(product_wraps, "h:1,0 t:w,24,0,0x10000000000,0x10000000000 a:32 z:32", E_FORMAT, "tensor 'w' at offset 24: the product of the dimensions") \
    X(product_2_63, "h:1,0 t:w,24,0,0x10000000000,0x800000 a:32 z:32", E_FORMAT, "the product of the dimensions is over") \
    X(product_wraps_to_small, "h:1,0 t:w,24,0,0x100000000,0x100000000,1,8 a:32 z:32", E_FORMAT, "the product of the dimensions is over") \
    X(bytes_wrap, "h:1,0 t:w,0,0,0x10000000000,0x400000 a:32 z:32", E_FORMAT, "tensor 'w' at offset 24: the size in bytes of 4611686018427387904 elements") \
    X(bytes_wrap_by_8, "h:1,0 t:w,27,0,0x10000000000,0x200000 a:32 z:32", E_FORMAT, "elements of I64 does not fit") \
    /* types */                                                                                                     \
    X(type_4_removed, "h:1,0 t:w,4,0,32 a:32 z:32", E_UNSUPPORTED, "tensor 'w' at offset 24: tensor type 4")        \
    X(type_5_removed, "h:1,0 t:w,5,0,32 a:32 z:32", E_UNSUPPORTED, "tensor type 5 is unknown or was removed")       \
    X(type_31_removed, "h:1,0 t:w,31,0,32 a:32 z:32", E_UNSUPPORTED, "tensor type 31 is unknown or was removed")    \
    X(type_38_removed, "h:1,0 t:w,38,0,32 a:32 z:32", E_UNSUPPORTED, "tensor type 38 is unknown or was removed")    \
    X(type_43_unknown, "h:1,0 t:w,43,0,32 a:32 z:32", E_UNSUPPORTED, "tensor type 43 is unknown or was removed")    \
    X(type_max, "h:1,0 t:w,-1,0,32 a:32 z:32", E_UNSUPPORTED, "tensor type 4294967295 is unknown")                  \
    X(row_of_33_q4_0, "h:1,0 t:w,2,0,33,32 a:32 z:600", E_FORMAT, "tensor 'w' at offset 24: rows of 33 elements are no multiple of the 32 in a block of Q4_0") \
    X(row_of_128_q4_k, "h:1,0 t:w,12,0,128,2 a:32 z:160", E_FORMAT, "rows of 128 elements are no multiple of the 256") \
    X(scalar_q8_0, "h:1,0 t:w,8,0 a:32 z:64", E_FORMAT, "rows of 1 elements are no multiple of the 32")             \
    /* places: CVE-2025-53630, CVE-2026-27940, CVE-2026-7482 */                                                     \
    X(offset_unaligned, "h:1,0 t:w,0,1,8 a:32 z:64", E_FORMAT, "tensor 'w' at offset 24: its data offset 1 is no multiple of the alignment 32") \
    X(offset_aligned_for_other, "h:1,1 s:general.alignment u32:4 u32:64 t:w,0,32,8 a:64 z:64", E_FORMAT, "its data offset 32 is no multiple of the alignment 64") \
    X(first_offset_not_0, "h:1,0 t:w,0,32,8 a:32 z:64", E_FORMAT, "tensor 'w' at offset 24: its data offset is 32, right behind the tensor before it would be 0") \
    X(offset_huge, "h:1,0 t:w,0,0xFFFFFFFFFFFFFFE0,8 a:32 z:64", E_FORMAT, "tensor 'w' at offset 24: its data offset is 18446744073709551584") \
    X(tensors_overlap, "h:2,0 t:v,0,0,8 t:w,0,0,8 a:32 z:64", E_FORMAT, "tensor 'w' at offset 57: its data offset is 0, right behind the tensor before it would be 32") \
    X(gap_between_tensors, "h:2,0 t:v,0,0,8 t:w,0,64,8 a:32 z:96", E_FORMAT, "tensor 'w' at offset 57: its data offset is 64") \
    X(sizes_wrap, "h:2,0 t:v,25,0,0x10000000000,0x400000 t:w,25,0x8000000000000000,0x10000000000,0x400000 a:32 z:64", \
      E_FORMAT, "tensor 'w' at offset 65: the sizes of the tensors up to here add up to over 2^64")                 \
    X(padding_wraps, "h:2,0 t:v,25,0,0x10000000000,0x400000 t:w,24,0x8000000000000000,60247241209,153092023 a:32 z:64", \
      E_FORMAT, "tensor 'w' at offset 65: the sizes of the tensors up to here add up")                              \
    X(data_missing, "h:1,0 t:w,0,0,8 z:6", E_TRUNCATED, "tensor 'w': 32 bytes of data at 0 behind offset 64, but the file ends at offset 63") \
    X(data_one_byte_short, "h:1,0 t:w,0,0,8 a:32 z:31", E_TRUNCATED, "tensor 'w': 32 bytes of data at 0 behind offset 64, but the file ends at offset 95") \
    X(second_data_missing, "h:2,0 t:v,0,0,8 t:w,0,32,8 a:32 z:32", E_TRUNCATED, "tensor 'w': 32 bytes of data at 32 behind offset 96") \
    X(shape_larger_than_file, "h:1,0 t:w,0,0,4096,4096 a:32 z:32", E_TRUNCATED, "tensor 'w': 67108864 bytes of data at 0 behind offset 96") \
    /* split models in one piece of memory */                                                                       \
    X(split_in_memory, "h:0,2 s:split.no u32:2 u16:0 s:split.count u32:2 u16:2", E_UNSUPPORTED, "key 'split.count' says 2 files") \
    X(split_of_1001, "h:0,1 s:split.count u32:2 u16:1001", E_FORMAT, "key 'split.count' at offset 47: 1001 is outside of 0..1000") \
    X(split_of_minus_1, "h:0,1 s:split.count u32:5 u32:-1", E_FORMAT, "key 'split.count' at offset 47: -1 is outside") \
    X(split_count_string, "h:0,1 s:split.count u32:8 s:2", E_FORMAT, "key 'split.count' at offset 47: the value is STRING")

/* The script of a good case. */
static inline const char *gguf_good(const char *name)
{
#define GGUF_GOOD(known, script)                                                                                    \
    if (strcmp(name, #known) == 0) {                                                                                \
        return script;                                                                                              \
    }
    GGUF_GOOD_CASES(GGUF_GOOD)
#undef GGUF_GOOD
    fprintf(stderr, "no good case %s\n", name);
    abort();
}

#endif
