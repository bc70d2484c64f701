#include "support/support.h"
static void t(void **s) { (void)s; const char *p = temp_path("a"); write_file(p, "x", 1); size_t n; char *d = read_file(p,&n); assert_int_equal(n,1); free(d); if(!shared_path("nix")) skip(); }
int main(void) { const struct CMUnitTest tests[] = {cmocka_unit_test(t)}; return cmocka_run_group_tests(tests, NULL, NULL); }
