// main.cpp: a user of the installed library, in C++: the same as main.c with owning pointers and an exception.
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include <halyard/halyard.h>

namespace {

struct deleter {
    void operator()(hy_model *m) const { hy_model_destroy(m); }
    void operator()(hy_session *s) const { hy_session_destroy(s); }
    void operator()(hy_sampler *s) const { hy_sampler_destroy(s); }
    void operator()(hy_detok *d) const { hy_detok_destroy(d); }
};

template <typename T> using owned = std::unique_ptr<T, deleter>;

struct checker {
    hy_error err = {HY_OK, ""};
    void operator()(hy_status status) const
    {
        if (status != HY_OK) {
            throw std::runtime_error(std::string(hy_status_name(status)) + ": " + err.text);
        }
    }
};

std::string continue_text(const char *path, const char *prompt, int n_tokens)
{
    checker check;
    hy_model *m = nullptr;
    check(hy_model_load(path, nullptr, nullptr, &m, &check.err));
    owned<hy_model> model(m);
    const hy_tokenizer *tokenizer = hy_model_tokenizer(m);

    hy_sampler_opts options = {};
    options.size = sizeof options;
    options.greedy = true;
    hy_sampler *sa = nullptr;
    check(hy_sampler_create(&options, tokenizer, nullptr, &sa, &check.err));
    owned<hy_sampler> sampler(sa);
    hy_session *se = nullptr;
    check(hy_session_create(m, nullptr, &se, &check.err));
    owned<hy_session> session(se);
    hy_detok *d = nullptr;
    check(hy_detok_create(tokenizer, 0, &d, &check.err));
    owned<hy_detok> detok(d);

    hy_token *ids = nullptr;
    size_t n_ids = 0;
    check(hy_tokenize(tokenizer, prompt, std::strlen(prompt), HY_TOKENIZE_ADD_SPECIAL, &ids, &n_ids, &check.err));
    const hy_status queued = hy_session_append(se, ids, n_ids, &check.err);
    hy_tokenizer_free(tokenizer, ids);
    check(queued);

    std::string text;
    for (int i = 0; i < n_tokens; i++) {
        hy_step step = {};
        do {
            check(hy_session_step(se, &step, &check.err));
        } while (step.pending > 0);
        hy_token token = HY_TOKEN_NONE;
        hy_str piece = {};
        check(hy_session_sample(se, sa, &token, &check.err));
        check(hy_detok_push(d, token, &piece, &check.err));
        text.append(piece.data ? piece.data : "", piece.len);
        check(hy_session_append(se, &token, 1, &check.err));
    }
    const hy_str rest = hy_detok_flush(d);
    return text.append(rest.data ? rest.data : "", rest.len);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 3) {
        std::fprintf(stderr, "usage: consumer_cpp MODEL PROMPT\n");
        return 2;
    }
    try {
        std::puts(continue_text(argv[1], argv[2], 16).c_str());
    } catch (const std::exception &e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
    return 0;
}
