/* fuzz_state.c: any bytes as a state of a tiny model: read it and, if it is one, write it back,
 * restore it and run a step.
 *
 * Input: a byte that chooses the architecture, then a state file.  Checksums and the fingerprint
 * are put right first, as far as the input is long enough: without that nothing would come behind
 * the first checks.  Every other input is left as it is, chosen by the first byte, too. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

#include "base/base.h"
#include "halyard/session.h"
#include "support/tiny_models.h"

#define HEADER 72
#define AT_FINGERPRINT 16
#define AT_HEADER_CRC 64

/* Made at the first input and kept: reachable from here, so no leak. */
static const hy_model *model_of(tiny_arch arch)
{
    static hy_model *models[TINY_N_ARCHS];
    if (!models[arch]) {
        hy_error err;
        size_t len;
        static void *files[TINY_N_ARCHS];
        files[arch] = tiny_file(arch, &tiny_least, &len);
        CHECK(hy_model_load_memory(files[arch], len, NULL, NULL, &models[arch], &err) == HY_OK);
    }
    return models[arch];
}

static void seal(const hy_model *m, uint8_t *file, size_t n)
{
    hy_model_info info = {.size = sizeof info};
    hy_model_get_info(m, &info);
    if (n >= HEADER + 8) {
        hy__store_u64(file + AT_FINGERPRINT, info.fingerprint);
        hy__store_u64(file + AT_HEADER_CRC, hy__crc64(0, file, AT_HEADER_CRC));
        hy__store_u64(file + n - 8, hy__crc64(0, file, n - 8));
    }
}

static void use(const hy_model *m, const hy_state *state, const uint8_t *file, size_t size)
{
    hy_error err;
    void *again;
    size_t n;
    hy_session *s;
    hy_step step;
    const hy_token id = 1;
    const hy_session_opts opts = {.size = sizeof opts, .n_ctx = 64};
    CHECK(hy_state_to_bytes(state, &again, &n, &err) == HY_OK);
    CHECK(n == size && memcmp(again, file, n) == 0);
    hy_state_free_bytes(state, again);
    CHECK(hy_session_create(m, &opts, &s, &err) == HY_OK);
    const hy_status status = hy_session_restore(s, state, &err);
    CHECK(status == HY_OK || (status == HY_E_CONTEXT && hy_state_n_tokens(state) > 64));
    (void)hy_session_tokens(s, &n);
    if (status == HY_OK) {
        CHECK(n == hy_state_n_tokens(state));
    }
    if (n < 64) {
        CHECK(hy_session_append(s, &id, 1, &err) == HY_OK);
        const hy_status stepped = hy_session_step(s, &step, &err);
        CHECK(stepped == HY_OK || stepped == HY_E_NUMERIC);
        CHECK(step.done == (stepped == HY_OK ? 1 : 0));
    }
    hy_session_destroy(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const hy_model *m = model_of((tiny_arch)(data[0] % TINY_N_ARCHS));
    const size_t n = size - 1;
    uint8_t *file = malloc(n + 1);
    CHECK(file != NULL);
    memcpy(file, data + 1, n);
    if (data[0] & 0x80) {
        seal(m, file, n);
    }
    hy_error err;
    hy_state *state;
    const hy_status status = hy_state_from_bytes(m, file, n, &state, &err);
    if (status == HY_OK) {
        use(m, state, file, n);
        hy_state_destroy(state);
    } else {
        CHECK(state == NULL && err.code == status && err.text[0] != '\0');
        CHECK(status == HY_E_CORRUPT || status == HY_E_MISMATCH || status == HY_E_TRUNCATED);
    }
    free(file);
    return 0;
}
