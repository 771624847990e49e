/* Which instruction sets there are: those of the build, and of them what the processor has and the system saves. */

#include "region.h"

extern const cpool_isa cpool_table_baseline;
#if CPOOL_X86
#include <cpuid.h>

extern const cpool_isa cpool_table_avx2, cpool_table_avx512;

/* What the processor has and the operating system saves. */
static int cpool_asked(void)
{
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    if ((c & (fma | osxsave | avx | f16c)) != (fma | osxsave | avx | f16c))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 0x6u) != 0x6u || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 5)))
        return 0;
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    return (low & 0xe0u) == 0xe0u && (b & avx512) == avx512 ? 2 : 1;
}

/* Asked once: under a hypervisor each question takes microseconds. */
static int cpool_level(void)
{
    static volatile int known = -1;
    if (known < 0)
        known = cpool_asked();
    return known;
}

const cpool_isa *cpool_isa_at(int index)
{
    static const cpool_isa *const all[] = {&cpool_table_avx512, &cpool_table_avx2, &cpool_table_baseline};
    int at = index + 2 - cpool_level();
    return index >= 0 && at < 3 ? all[at] : NULL;
}

#else

const cpool_isa *cpool_isa_at(int index) { return index == 0 ? &cpool_table_baseline : NULL; }

#endif
