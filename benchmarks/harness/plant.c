/* A planted slow-down, to see whether the gate finds it. Only a build with CPOOL_PLANT=10 has this file: it stands
 * between the core and cpool_run (the linker's --wrap), and has so many percent of the units done once more, from the
 * first on: those that left the caches longest ago. Work of less than that is counted until it is a unit. */
#include "simd/cpool_simd.h"

__attribute__((visibility("default"))) int cpool_planted = CPOOL_PLANT;

static _Thread_local int64_t debt; /* hundredths of a unit */

void __real_cpool_run(const cpool_call *c, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
                      void *scratch);
void __wrap_cpool_run(const cpool_call *c, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
                      void *scratch);

void __wrap_cpool_run(const cpool_call *c, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
                      void *scratch)
{
    int64_t again;
    __real_cpool_run(c, x, out, indices, begin, end, scratch);
    debt += (end - begin) * cpool_planted;
    again = debt / 100;
    debt -= 100 * again;
    if (again > 0)
        __real_cpool_run(c, x, out, indices, begin, begin + (again < end - begin ? again : end - begin), scratch);
}
