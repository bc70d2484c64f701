/* golden.c: see golden.h. */
#include "golden.h"

#include <math.h>

static json_t *parsed(json_t *j, const json_error_t *e, const char *path)
{
    if (!j) {
        fail_msg("%s: line %d: %s", path, e->line, e->text);
    }
    return j;
}

json_t *golden_json(const char *path)
{
    json_error_t e;
    return parsed(json_load_file(path, 0, &e), &e, path);
}

json_t *golden_line(const char *path, size_t line)
{
    size_t len;
    char *text = read_file(path, &len), *at = text;
    for (; line > 0 && at; line--) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    json_t *j = NULL;
    if (at && *at) {
        json_error_t e;
        j = parsed(json_loadb(at, strcspn(at, "\n"), 0, &e), &e, path);
    }
    free(text);
    return j;
}

json_t *golden_get(const json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    assert_non_null(v);
    return v;
}

hy_token *golden_ids(const json_t *array, size_t *n)
{
    *n = json_array_size(array);
    hy_token *ids = calloc(*n + 1, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < *n; i++) {
        ids[i] = (hy_token)json_integer_value(json_array_get(array, i));
    }
    return ids;
}

float *golden_floats(const char *path, size_t *n)
{
    size_t len, skip = 0;
    char *data = read_file(path, &len);
    if (len > 10 && memcmp(data, "\x93NUMPY", 6) == 0) {
        skip = 10 + (size_t)(uint8_t)data[8] + 256 * (size_t)(uint8_t)data[9];
    }
    *n = (len - skip) / sizeof(float);
    memmove(data, data + skip, len - skip);
    return (float *)data;
}

hy_model *load_model(const char *path)
{
    hy_model *m;
    hy_error err;
    const hy_model_opts opts = {.size = sizeof opts, .backend = "ref"};
    assert_ok(hy_model_load(path, &opts, NULL, &m, &err), &err);
    return m;
}

hy_model *load_model_cpu(const char *path, const char *level)
{
    hy_model *m;
    hy_error err;
    const hy_model_opts opts = {.size = sizeof opts, .backend = "cpu", .cpu_level = level};
    const hy_status status = hy_model_load(path, &opts, NULL, &m, &err);
    if (status == HY_E_UNSUPPORTED && level && strstr(err.text, level)) {
        return NULL;
    }
    assert_ok(status, &err);
    return m;
}

uint32_t vocab_of(const hy_model *m)
{
    hy_model_info info = {.size = sizeof info};
    hy_model_get_info(m, &info);
    return info.n_vocab;
}

float *run_all_logits(const hy_model *m, const hy_token *ids, size_t n, uint32_t n_batch,
                      uint32_t n_threads, const char *cache)
{
    hy_error err;
    hy_session *s;
    hy_step step;
    const uint32_t vocab = vocab_of(m);
    const hy_session_opts opts = {.size = sizeof opts,
                                  .n_batch = n_batch,
                                  .n_threads = n_threads,
                                  .all_logits = true,
                                  .cache_type_k = cache,
                                  .cache_type_v = cache};
    float *all = malloc(n * vocab * sizeof *all);
    assert_non_null(all);
    assert_ok(hy_session_create(m, &opts, &s, &err), &err);
    assert_ok(hy_session_append(s, ids, n, &err), &err);
    size_t row = 0;
    do {
        assert_ok(hy_session_step(s, &step, &err), &err);
        assert_int_equal(step.n_logits, step.done);
        for (uint32_t i = 0; i < step.n_logits; i++, row++) {
            memcpy(all + row * vocab, hy_session_logits(s, i), vocab * sizeof *all);
        }
    } while (step.pending > 0);
    assert_int_equal(row, n);
    hy_session_destroy(s);
    return all;
}

void run_greedy(const hy_model *m, const hy_token *ids, size_t n_ids, hy_token *out, size_t n_out)
{
    hy_error err;
    hy_session *s;
    const uint32_t vocab = vocab_of(m);
    const hy_session_opts opts = {.size = sizeof opts, .n_threads = 2};
    assert_ok(hy_session_create(m, &opts, &s, &err), &err);
    assert_ok(hy_session_append(s, ids, n_ids, &err), &err);
    for (size_t i = 0; i < n_out; i++) {
        step_all(s);
        const float *logits = hy_session_logits(s, 0);
        out[i] = 0;
        for (uint32_t t = 1; t < vocab; t++) {
            if (logits[t] > logits[out[i]]) {
                out[i] = (hy_token)t;
            }
        }
        assert_ok(hy_session_append(s, &out[i], 1, &err), &err);
    }
    hy_session_destroy(s);
}

/* ---- how far logits are from exact ones */

/* log of the sum of exp */
static double log_total(const float *logits, uint32_t n)
{
    double most = -HUGE_VAL, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        most = fmax(most, (double)logits[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - most);
    }
    return most + log(sum);
}

static bool flipped(const float *got, const float *exact, uint32_t n)
{
    uint32_t best = 0, best_got = 0;
    double second = -HUGE_VAL;
    for (uint32_t i = 1; i < n; i++) {
        best = exact[i] > exact[best] ? i : best;
        best_got = got[i] > got[best_got] ? i : best_got;
    }
    for (uint32_t i = 0; i < n; i++) {
        second = i == best ? second : fmax(second, (double)exact[i]);
    }
    return best_got != best && (double)exact[best] - second > 0.3;
}

golden_distance golden_compare(const float *got, const float *exact, size_t rows, uint32_t vocab)
{
    golden_distance d = {0, 0, 0};
    double off = 0, size = 0;
    for (size_t r = 0; r < rows; r++, got += vocab, exact += vocab) {
        const double total = log_total(exact, vocab), total_got = log_total(got, vocab);
        for (uint32_t i = 0; i < vocab; i++) {
            const double p = (double)exact[i] - total, q = (double)got[i] - total_got;
            d.kl += exp(p) * (p - q);
            off += (p - q + total - total_got) * (p - q + total - total_got);
            size += (double)exact[i] * (double)exact[i];
        }
        d.flips += flipped(got, exact, vocab);
    }
    d.rms = sqrt(off / size);
    d.kl /= (double)rows;
    return d;
}

void golden_folder(const char *folder, const char *index, size_t n_models, double rms, double kl,
                   double *peer_rms, double *peer_kl,
                   void (*check)(const golden_model *model, void *user), void *user)
{
    json_t *line;
    size_t i = 0;
    for (; (line = golden_line(index, i)); i++) {
        char path[1024];
        size_t n_exact;
        golden_model m = {.most_rms = rms, .most_kl = kl};
        const char *file = json_string_value(golden_get(line, "model"));
        const json_t *peer = json_object_get(line, "llama_cpp_1");
        hy_token *ids = golden_ids(golden_get(line, "ids"), &m.n);
        snprintf(path, sizeof path, "%s/%.*s.logits.f32", folder,
                 (int)(strlen(file) - strlen(".gguf")), file);
        float *exact = golden_floats(path, &n_exact);
        snprintf(path, sizeof path, "%s/%s", folder, file);
        m.path = path;
        m.ids = ids;
        m.exact = exact;
        if (peer) {
            m.peer_kl = json_number_value(golden_get(peer, "mean_kl"));
            const double off = json_number_value(golden_get(peer, "rel_rms"));
            m.most_rms = 1.1 * off;
            m.most_kl = 1.25 * m.peer_kl;
            *peer_rms += off;
            *peer_kl += m.peer_kl;
        }
        check(&m, user);
        free(exact);
        free(ids);
        json_decref(line);
    }
    assert_int_equal(i, n_models);
}
