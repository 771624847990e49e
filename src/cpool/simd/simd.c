/* One source, every instruction set: the same text in one compiler target region after another.
 * The rest of the module is built for the portable baseline, and reaches these through a table. */

#include "cpool_simd.h"
#include "scalar.h"

#if (defined(__x86_64__) || defined(__amd64__)) && (defined(__GNUC__) || defined(__clang__))
#define CPOOL_X86 1
#include <cpuid.h>
#include <immintrin.h>
#else
#define CPOOL_X86 0
#endif
#if !defined(__GNUC__) && !defined(__clang__)
#define __attribute__(x)
#endif

#define CPOOL_PASTE2(a, b) a##_##b
#define CPOOL_PASTE(a, b) CPOOL_PASTE2(a, b)
#define FN(name) CPOOL_PASTE(name, ISA)
#define FN3(op, type) CPOOL_PASTE(CPOOL_PASTE(op, type), ISA)
#define FN2(glue, a, b) CPOOL_GLUE(glue, a, b)
#define CPOOL_GLUE(glue, a, b) FN(glue(a, b))
#define CPOOL_STRING2(s) #s
#define CPOOL_STRING(s) CPOOL_STRING2(s)

/* What will be read soon, if it is there at all: a prefetch never faults. */
static inline __attribute__((always_inline)) void cpool_prefetch(const char *p, int64_t ahead)
{
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch((const void *)((uintptr_t)p + (uintptr_t)ahead), 0, 2);
#else
    (void)p, (void)ahead;
#endif
}
#define AHEAD 16 /* rows */
#define AHEAD_BYTES 1536

/* The last elements of a row, fewer than eight, without reading or writing one too many. */
static inline __attribute__((always_inline)) void cpool_copy_tail(void *to, const void *from, int n, const size_t size)
{
    char *t = (char *)to;
    const char *f = (const char *)from;
    if (n & 4) {
        memcpy(t, f, 4 * size);
        t += 4 * size, f += 4 * size;
    }
    if (n & 2) {
        memcpy(t, f, 2 * size);
        t += 2 * size, f += 2 * size;
    }
    if (n & 1)
        memcpy(t, f, size);
}

#define ISA baseline
#include "vec_plain.h"
#include "isa.h"

#if CPOOL_X86

/* masks of n leading lanes begin at 8 - n */
static const int64_t cpool_masks[24] = {-1, -1, -1, -1, -1, -1, -1, -1};

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define ISA avx2
#include "vec_avx2.h"
#include "isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl")
#endif
#define ISA avx512
#include "vec_avx512.h"
#include "isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

/* What the processor has and the operating system saves. */
static int cpool_level(void)
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

const cpool_isa *cpool_isa_at(int index)
{
    static const cpool_isa *const all[] = {&cpool_table_avx512, &cpool_table_avx2, &cpool_table_baseline};
    int at = index + 2 - cpool_level();
    return index >= 0 && at < 3 ? all[at] : NULL;
}

#else

const cpool_isa *cpool_isa_at(int index) { return index == 0 ? &cpool_table_baseline : NULL; }

#endif
