/* test_text.c: the small parts of the program: escapes, clean UTF-8, stop texts, best scores, bars.
 */
#include "support/support.h"

#include <math.h>

#include "scores.h"
#include "stop.h"
#include "text.h"

static void test_unescape(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a\\nb\\tc\\r", "a\nb\tc\r"},
        {"\\\\n", "\\n"},
        {"\\'\\\"", "'\""},
        {"\\x41\\x7e", "A~"},
        {"\\x4", "\\x4"},
        {"\\xg0", "\\xg0"},
        {"\\q", "\\q"},
        {"end\\", "end\\"},
        {"", ""},
        {"\\x41", "A"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buf[32];
        snprintf(buf, sizeof buf, "%s", cases[i][0]);
        const size_t n = text_unescape(buf, strlen(buf));
        assert_int_equal(n, strlen(cases[i][1]));
        assert_memory_equal(buf, cases[i][1], n);
    }
}

static void test_utf8(void **state)
{
    (void)state;
    assert_int_equal(utf8_length("a", 1), 1);
    assert_int_equal(utf8_length("\xC3\xA9", 2), 2);
    assert_int_equal(utf8_length("\xE2\x82\xAC", 3), 3);
    assert_int_equal(utf8_length("\xF0\x9F\x98\x80", 4), 4);
    static const char *const bad[] = {"\x80",
                                      "\xC0\xAF",
                                      "\xC3",
                                      "\xE0\x80\x80",
                                      "\xED\xA0\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF8\x88\x80\x80",
                                      "\xE2\x82z",
                                      "\xF0\x8F\xBF\xBF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(utf8_length(bad[i], strlen(bad[i])), 0);
    }
    text t = {0};
    assert_true(text_add_clean(&t, "a\xFFz\xE2\x82", 5));
    assert_string_equal(t.data, "a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD");
    t.len = 0;
    assert_true(text_add_visible(&t, "a\nb\t\x01\xFF\xC3\xA9", 8));
    assert_string_equal(t.data, "a\\nb\\t\\x01\\xFF\xC3\xA9");
    text_free(&t);
}

static void test_sizes(void **state)
{
    (void)state;
    char buf[32];
    assert_string_equal(bytes_text(0, buf, sizeof buf), "0 B");
    assert_string_equal(bytes_text(1023, buf, sizeof buf), "1023 B");
    assert_string_equal(bytes_text(19505152, buf, sizeof buf), "18.60 MiB");
}

static void test_stop(void **state)
{
    (void)state;
    const char *const stops[] = {"\n\nUser:", "STOP", "OPEN"};
    const char *s = "abc STOP def";
    assert_int_equal(stop_find(s, strlen(s), stops, 3), 4);
    s = "OPEN and STOP";
    assert_int_equal(stop_find(s, strlen(s), stops, 3),
                     0); /* the first in the text, not in the list */
    s = "abc";
    assert_int_equal(stop_find(s, 3, stops, 3), 3);
    assert_int_equal(stop_held("abc\n\nUse", 8, stops, 3), 5);
    assert_int_equal(stop_held("abcSTO", 6, stops, 3), 3);
    assert_int_equal(stop_held("STOPEN", 5, stops, 3), 3); /* "STOPE" ends like "OPE" */
    assert_int_equal(stop_held("abc", 3, stops, 3), 0);
    assert_int_equal(stop_held("", 0, stops, 3), 0);
    assert_int_equal(stop_held("S", 1, stops, 3), 1);
    const char *const empty[] = {""};
    assert_int_equal(stop_find("abc", 3, empty, 1), 3);
    assert_int_equal(stop_held("abc", 3, empty, 1), 0);
}

/* Whatever the pieces, what is handed out is the text before the stop text and never part of it. */
static void test_stop_in_pieces(void **state)
{
    (void)state;
    const char *const stops[] = {"aab", "ba!"};
    static const char source[] = "xaaxaaaxba?aaaab rest";
    const size_t whole = stop_find(source, sizeof source - 1, stops, 2);
    assert_int_equal(whole, 13);
    for (size_t piece = 1; piece < 8; piece++) {
        size_t seen = 0;
        size_t sent = 0;
        bool stopped = false;
        while (!stopped && seen < sizeof source - 1) {
            seen = seen + piece < sizeof source - 1 ? seen + piece : sizeof source - 1;
            const size_t left = seen - sent;
            const size_t at = stop_find(source + sent, left, stops, 2);
            stopped = at < left;
            sent += stopped ? at : left - stop_held(source + sent, left, stops, 2);
            assert_true(sent <= whole);
        }
        assert_true(stopped);
        assert_int_equal(sent, whole);
    }
}

static void test_scores(void **state)
{
    (void)state;
    const float row[] = {1, 5, NAN, 5, -INFINITY, 3, 2, 7};
    uint32_t top[8];
    static const uint32_t order[] = {7, 1, 3, 5, 6, 0};
    for (uint32_t k = 1; k <= 8; k++) {
        assert_int_equal(scores_top(row, 8, k, top), k);
        for (uint32_t i = 0; i < k && i < 6; i++) {
            assert_int_equal(top[i], order[i]);
        }
    }
    assert_int_equal(scores_top(row, 8, 100, top), 8);
    assert_int_equal(scores_top(row, 8, 0, top), 0);
    const float flat[] = {1000, 1000, 1000, 1000};
    assert_true(fabs(scores_log_sum_exp(flat, 4) - (1000 + log(4))) < 1e-9);
    double mean = 0;
    double deviation = 0;
    const double x[] = {2, 4, 4, 4, 5, 5, 7, 9};
    scores_mean(x, 8, &mean, &deviation);
    assert_true(mean == 5);
    assert_true(fabs(deviation - sqrt(32.0 / 7)) < 1e-12);
    scores_mean(x, 1, &mean, &deviation);
    assert_true(mean == 2 && deviation == 0);
    assert_float_equal(scores_median(x, 8), 4.5, 1e-12);
    static const float near[] = {1, 3, -3, 3, 0, 2, 2, 0};
    assert_true(scores_lead(near, 8, 1) == 0 && scores_lead(near, 8, 3) == 0);
    assert_float_equal(scores_lead(near, 8, 5), 1 / sqrt(36.0 / 8), 1e-12);
    assert_float_equal(scores_median(x, 7), 4, 1e-12);
    assert_float_equal(scores_median(x, 1), 2, 1e-12);
    assert_float_equal(scores_median(x, 0), 0, 1e-12);
    const double shuffled[] = {9, -1, 30, 9, 2};
    assert_float_equal(scores_median(shuffled, 5), 9, 1e-12);
    assert_float_equal(scores_median(shuffled, 4), 9, 1e-12);
    assert_float_equal(scores_median(shuffled, 3), 9, 1e-12);
    assert_float_equal(scores_median(shuffled, 2), 4, 1e-12);
}

static void test_progress(void **state)
{
    (void)state;
    static const struct {
        uint64_t done, total, ns;
        const char *text;
    } cases[] = {
        {0, 100, 700000000, "loading [                              ]   0 %"},
        {43, 100, 1500000000, "loading [############                  ]  43 %, 2 s left"},
        {1, 3, 1000000000, "loading [##########                    ]  33 %, 2 s left"},
        {1, 300, 1000000000, "loading [                              ]   0 %, 5 min left"},
        {99, 100, 1000000000, "loading [############################# ]  99 %, 1 s left"},
        {100, 100, 1000000000, "loading [##############################] 100 %, finishing"},
        {101, 100, 1000000000, "loading [##############################] 100 %, finishing"},
        {5, 0, 1000000000, "loading [                              ]   0 %"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buf[120];
        text_progress(buf, sizeof buf, "loading", cases[i].done, cases[i].total, cases[i].ns);
        assert_string_equal(buf, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unescape),       cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_in_pieces), cmocka_unit_test(test_scores),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests_name("cli_text", tests, NULL, NULL);
}
