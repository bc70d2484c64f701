/* make_corpus_gguf.c: writes the stored corpus of fuzz_gguf from the cases of the unit tests.
 *
 *     make_corpus_gguf FOLDER */
#include "unit/gguf_script.h"

/* Files over this make a corpus heavy and teach a fuzzer nothing. */
#define MAX_BYTES 2048

/* Of the malformed cases each third is kept: their neighbours are one mutation away. */
#define KEEP_ONE_IN 3

#define SPLIT_KEYS(no)                                                                             \
    "s:split.no u32:2 u16:" no " s:split.count u32:2 u16:2 s:split.tensors.count u32:5 u32:2 "

static int write_case(const char *folder, const char *name, const gguf_bytes *b)
{
    if (b->len > MAX_BYTES) {
        return 0;
    }
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b->data ? b->data : (const uint8_t *)"", 1, b->len, f) != b->len ||
        fclose(f) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        return 1;
    }
    return 0;
}

static int write_script(const char *folder, const char *name, const char *script)
{
    gguf_bytes b = gguf_script(script);
    const int failed = write_case(folder, name, &b);
    free(b.data);
    return failed;
}

/* The form in which fuzz_gguf takes two files: "HYSP", length of the first, both. */
static int write_split(const char *folder, const char *name, const char *one, const char *two)
{
    gguf_bytes b = {0};
    gguf_bytes first = gguf_script(one);
    gguf_bytes second = gguf_script(two);
    gguf_put(&b, "HYSP", 4);
    gguf_num(&b, first.len, 4);
    gguf_put(&b, first.data, first.len);
    gguf_put(&b, second.data, second.len);
    const int failed = write_case(folder, name, &b);
    free(first.data);
    free(second.data);
    free(b.data);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_corpus_gguf FOLDER\n");
        return 2;
    }
    const char *folder = argv[1];
    int failed = 0;
    unsigned n = 0;
#define GOOD(name, script) failed |= write_script(folder, "good_" #name, script);
    GGUF_GOOD_CASES(GOOD)
#undef GOOD
#define BAD(name, script, status, text)                                                            \
    if (n++ % KEEP_ONE_IN == 0) {                                                                  \
        failed |= write_script(folder, "bad_" #name, script);                                      \
    }
    GGUF_BAD_CASES(BAD)
#undef BAD
    failed |= write_script(
        folder, "good_model",
        "h:3,6 s:general.architecture u32:8 s:rwkv7 s:rwkv7.block_count u32:4 u32:1 "
        "s:rwkv7.attention.layer_norm_epsilon u32:6 f32:1e-5 s:general.quantization_version u32:4 "
        "u32:2 "
        "s:tokenizer.ggml.tokens u32:9 u32:8 u64:4 s:a s:b s:ab s:c "
        "s:tokenizer.ggml.token_type u32:9 u32:5 u64:4 u32:1 u32:1 u32:1 u32:3 "
        "t:token_embd.weight,1,0,4,4 t:output_norm.weight,0,32,4 t:output.weight,8,64,32,2 "
        "a:32 z:32 z:32 z:68");
    failed |= write_split(folder, "split_good", "h:1,3 " SPLIT_KEYS("0") "t:a,0,0,8 a:32 z:32",
                          "h:1,3 " SPLIT_KEYS("1") "t:b,24,0,3 a:32 z:3");
    failed |=
        write_split(folder, "split_same_tensor", "h:1,3 " SPLIT_KEYS("0") "t:a,0,0,8 a:32 z:32",
                    "h:1,3 " SPLIT_KEYS("1") "t:a,24,0,3 a:32 z:3");
    failed |= write_split(folder, "split_alignments",
                          "h:0,4 s:general.alignment u32:4 u32:8 " SPLIT_KEYS("0"),
                          "h:2,4 s:general.alignment u32:4 u32:64 " SPLIT_KEYS(
                              "1") "t:a,0,0,8 t:b,24,64,3 a:64 z:67");
    return failed;
}
