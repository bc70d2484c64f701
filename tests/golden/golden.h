/* golden.h: reading reference data and running models over it. */
#ifndef HY_TESTS_GOLDEN_H
#define HY_TESTS_GOLDEN_H

#include <jansson.h>

#include "support/support.h"

/* A JSON file, or line number `line` of a JSON-lines file (NULL behind the last). Fails the test if
 * malformed. */
json_t *golden_json(const char *path);
json_t *golden_line(const char *path, size_t line);
/* Member that must be there. */
json_t *golden_get(const json_t *object, const char *key);
/* An array of integers as tokens; free() it. */
hy_token *golden_ids(const json_t *array, size_t *n);
/* Little-endian f32, or a .npy file of them; free() it. n: how many. */
float *golden_floats(const char *path, size_t *n);

/* Logits after every token, [n][vocab], evaluated n_batch tokens at a time; free() it.  cache: the
 * type of keys and values in the KV cache, NULL for the backend's own. */
float *run_all_logits(const hy_model *m, const hy_token *ids, size_t n, uint32_t n_batch,
                      uint32_t n_threads, const char *cache);
/* Greedy continuation of n_ids tokens. */
void run_greedy(const hy_model *m, const hy_token *ids, size_t n_ids, hy_token *out, size_t n_out);
/* On the reference backend; on the CPU backend at a level (NULL: the best), NULL if this machine
 * has not got it. */
hy_model *load_model(const char *path);
hy_model *load_model_cpu(const char *path, const char *level);
uint32_t vocab_of(const hy_model *m);

/* How far rows of logits [rows][vocab] are from exact ones. */
typedef struct golden_distance {
    double rms;   /* of the difference, relative to that of the exact logits */
    double kl;    /* mean over positions, from the exact distribution */
    size_t flips; /* positions with another best token although the exact lead is above 0.3 */
} golden_distance;
golden_distance golden_compare(const float *got, const float *exact, size_t rows, uint32_t vocab);

/* A model with exact logits of all tokens, and how far off a backend may be that rounds
 * activations: a tenth more than llama.cpp is (mean KL: a quarter). */
typedef struct golden_model {
    const char *path;
    const hy_token *ids;
    size_t n;
    const float *exact; /* [n][vocab] */
    double most_rms, most_kl;
    double peer_kl; /* of llama.cpp; 0: the index has no figures of it */
} golden_model;
/* Calls check for every model of an index, of which there must be n_models.  rms, kl: bounds where
 * it has no figures of llama.cpp, whose sums are added to *peer_rms and *peer_kl. */
void golden_folder(const char *folder, const char *index, size_t n_models, double rms, double kl,
                   double *peer_rms, double *peer_kl,
                   void (*check)(const golden_model *model, void *user), void *user);

#endif
