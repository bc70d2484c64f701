/* model.h: the inside of a loaded model, for sessions. */
#ifndef HY_MODEL_MODEL_H
#define HY_MODEL_MODEL_H

#include "backend/backend.h"
#include "fuse/expr.h"

struct hy_model {
    hy_env env;
    hy_gguf *gguf;
    hy_tokenizer *tokenizer; /* NULL: the file has no vocabulary */
    const char *arch;        /* static */
    hy__graph graph;
    hy__fusion fusion; /* its phases are ranges of the graph's nodes */
    hy__exprs exprs;   /* of those phases */
    hy__plan plan;
    const hy__backend *backend;
    void *backend_model;
    hy_model_info info;
};

#endif
