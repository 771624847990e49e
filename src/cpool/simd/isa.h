/* Everything of one instruction set: vocabulary included before, ISA set to its name. */

#include "kinds.h"

#if !HAS_PERM
/* The first n of eight results. */
#define STORE_SOME(TYPE, CTYPE)                                                                                    \
    static inline void FN(ton_##TYPE)(char *p, vf a, int n)                                                        \
    {                                                                                                              \
        CTYPE all[8];                                                                                              \
        FN(to_##TYPE)((char *)all, a);                                                                             \
        cpool_copy_tail(p, all, n, sizeof(CTYPE));                                                                 \
    }
STORE_SOME(f64, double)
STORE_SOME(f32, float)
STORE_SOME(f16, uint16_t)
STORE_SOME(bf16, uint16_t)
STORE_SOME(i8, int8_t)
STORE_SOME(u8, uint8_t)
STORE_SOME(i16, int16_t)
STORE_SOME(u16, uint16_t)
#undef STORE_SOME
#endif


#define TYPE f32
#define SIZE 4
#define XLD FN(x_f32)
#define XLDN FN(xn_f32)
#define TO FN(to_f32)
#define TON FN(ton_f32)
#include "doubles.h"

#define TYPE f16
#define SIZE 2
#define XLD FN(x_f16)
#define XLDN FN(xn_f16)
#define TO FN(to_f16)
#define TON FN(ton_f16)
#include "doubles.h"

#define TYPE bf16
#define SIZE 2
#define XLD FN(x_bf16)
#define XLDN FN(xn_bf16)
#define TO FN(to_bf16)
#define TON FN(ton_bf16)
#include "doubles.h"

#define TYPE wide
#define SIZE 8
#define XLD FN(x_f64)
#define XLDN FN(xn_f64)
#define TO FN(to_f32)
#define TON FN(ton_f32)
#define TO_SIZE 4
#include "doubles.h"

#define TYPE f64
#define SIZE 8
#define A vd
#define ACC double
#define KIND D
#define TREE D
#define X vf
#define XLD FN(x_f64)
#define XLDN FN(xn_f64)
#define ADDX FN(D_addx)
#define FIRST FN(D_first)
#define BATCH 0
#define FOLD8 FN(D_fold8)
#define DIRECT D
#define DIRECT_A vd
#define WIDE FN(f_same)
#define PLANES
#define QUOTIENT(sum, d, q) FN(D_quotient)(sum, d)
#define ODD(result) !FN(f_all_finite)(result)
#define TO FN(to_f64)
#define TON FN(ton_f64)
#include "kernels.h"

/* bytes: added in 16 bits, 128 rows at a time */
#define TYPE i8
#define SIZE 1
#define A vi
#define ACC int32_t
#define KIND I
#define TREE I
#define X vs
#define XLD FN(x_i8)
#define XLDN FN(xn_i8)
#define ADDX FN(I_adds)
#define BATCH 128
#define XADD FN(s_add)
#define XZERO FN(s_zero)
#define DIRECT IF
#define DIRECT_A vf
#define WIDE FN(f_of_s)
#include "kernels.h"

#define TYPE u8
#define SIZE 1
#define A vi
#define ACC int32_t
#define KIND I
#define TREE U
#define X vs
#define XLD FN(x_u8)
#define XLDN FN(xn_u8)
#define ADDX FN(I_addus)
#define BATCH 128
#define XADD FN(s_add)
#define XZERO FN(s_zero)
#define DIRECT IF
#define DIRECT_A vf
#define WIDE FN(f_of_us)
#include "kernels.h"

#define TYPE i16
#define SIZE 2
#define A vi
#define ACC int32_t
#define KIND I
#define TREE I
#define X vi
#define XLD FN(x_i16)
#define XLDN FN(xn_i16)
#define ADDX FN(I_add)
#define BATCH 0
#define DIRECT IF
#define DIRECT_A vf
#define WIDE FN(f_of_i)
#include "kernels.h"

#define TYPE u16
#define SIZE 2
#define A vi
#define ACC int32_t
#define KIND I
#define TREE U
#define X vi
#define XLD FN(x_u16)
#define XLDN FN(xn_u16)
#define ADDX FN(I_add)
#define BATCH 0
#define DIRECT IF
#define DIRECT_A vf
#define WIDE FN(f_of_i)
#include "kernels.h"

/* blocks of 65536 such integers have sums below 2^48: doubles hold them, and come in by vector */
#define TYPE i32
#define SIZE 4
#define XLD FN(x_i32)
#define XLDN FN(xn_i32)
#include "doubles.h"

#define TYPE u32
#define SIZE 4
#define XLD FN(x_u32)
#define XLDN FN(xn_u32)
#include "doubles.h"

#define TYPE i64
#define SIZE 8
#define A vw
#define ACC int64_t
#define KIND K
#define TREE K
#define X vq
#define XLD FN(x_64)
#define XLDN FN(xn_64)
#define ADDX FN(K_adds)
#define BATCH 0
#include "kernels.h"

#define TYPE u64
#define SIZE 8
#define A vw
#define ACC int64_t
#define KIND K
#define TREE K
#define X vq
#define XLD FN(x_64)
#define XLDN FN(xn_64)
#define ADDX FN(K_addus)
#define BATCH 0
#include "kernels.h"

/* the largest, in the lanes of the elements themselves where they are many */
#define ELEMENT f32
#define SIZE 4
#define X vh
#define LANE(word) FN(h_##word)
#define LOAD FN(h_f32)
#define LOAD_SOME FN(hn_f32)
#define WIDE FN(f_of_h)
#define BATCH (1 << 16)
#define TO FN(to_f32)
#define TON FN(ton_f32)
#include "max.h"

#define ELEMENT f16
#define SIZE 2
#define X vh
#define LANE(word) FN(h_##word)
#define LOAD FN(h_f16)
#define LOAD_SOME FN(hn_f16)
#define WIDE FN(f_of_h)
#define BATCH (1 << 16)
#define TO FN(to_f16)
#define TON FN(ton_f16)
#include "max.h"

#define ELEMENT bf16
#define SIZE 2
#define X vh
#define LANE(word) FN(h_##word)
#define LOAD FN(h_bf16)
#define LOAD_SOME FN(hn_bf16)
#define WIDE FN(f_of_h)
#define BATCH (1 << 16)
#define TO FN(to_bf16)
#define TON FN(ton_bf16)
#include "max.h"

#define ELEMENT f64
#define SIZE 8
#define X vf
#define LANE(word) FN(f_##word)
#define LOAD FN(x_f64)
#define LOAD_SOME FN(xn_f64)
#define WIDE FN(f_same)
#define BATCH 0
#include "max.h"

#define ELEMENT i8
#define SIZE 1
#define X vs
#define LANE(word) FN(s_##word)
#define LOAD FN(x_i8)
#define LOAD_SOME FN(xn_i8)
#define WIDE FN(f_of_s)
#define BATCH (1 << 16)
#include "max.h"

#define ELEMENT u8
#define SIZE 1
#define X vs
#define LANE(word) FN(s_##word)
#define LOAD FN(x_u8)
#define LOAD_SOME FN(xn_u8)
#define WIDE FN(f_of_s)
#define BATCH (1 << 16)
#include "max.h"

#define ELEMENT i16
#define SIZE 2
#define X vi
#define LANE(word) FN(i_##word)
#define LOAD FN(x_i16)
#define LOAD_SOME FN(xn_i16)
#define WIDE FN(f_of_i)
#define BATCH (1 << 16)
#include "max.h"

#define ELEMENT u16
#define SIZE 2
#define X vi
#define LANE(word) FN(i_##word)
#define LOAD FN(x_u16)
#define LOAD_SOME FN(xn_u16)
#define WIDE FN(f_of_i)
#define BATCH (1 << 16)
#include "max.h"

#define ELEMENT i32
#define SIZE 4
#define X vi
#define LANE(word) FN(i_##word)
#define LOAD FN(i_i32)
#define LOAD_SOME FN(in_i32)
#define WIDE FN(f_of_i)
#define BATCH (1 << 16)
#include "max.h"

#define ELEMENT u32
#define SIZE 4
#define X vi
#define LANE(word) FN(i_##word)
#define LOAD FN(i_u32)
#define LOAD_SOME FN(in_u32)
#define WIDE FN(f_of_u)
#define BATCH (1 << 16)
#include "max.h"

#define ELEMENT i64
#define SIZE 8
#define X vq
#define LANE(word) FN(q_##word)
#define LOAD FN(x_64)
#define LOAD_SOME FN(xn_64)
#define BATCH 0
#define LONG
#include "max.h"

#define ELEMENT u64
#define SIZE 8
#define X vq
#define LANE(word) FN(q_##word)
#define LOAD FN(x_u64)
#define LOAD_SOME FN(xn_u64)
#define BATCH 0
#define LONG
#include "max.h"

#include "fold.h"
#include "finish.h"

/* Windows of one element: the average is the element, but a zero is +0. */
#define COPY(BITS)                                                                                                 \
    static void FN(cpool_copy_##BITS)(char *to, const char *from, int64_t n)                                       \
    {                                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                          \
            uint##BITS##_t x;                                                                                      \
            memcpy(&x, from + i * (BITS / 8), BITS / 8);                                                           \
            x = x == (uint##BITS##_t)1 << (BITS - 1) ? 0 : x;                                                      \
            memcpy(to + i * (BITS / 8), &x, BITS / 8);                                                             \
        }                                                                                                          \
    }
COPY(16)
COPY(32)
COPY(64)
#undef COPY

enum { FN(STEP) = 64, FN(LITTLE) = 8192, FN(FAR_LEAST) = 2048 }; /* bytes */
static inline void FN(move)(char *to, const char *from)
{
    char some[FN(STEP)];
    memcpy(some, from, FN(STEP));
    memcpy(to, some, FN(STEP));
}

/* What is repeated goes up to STEP - 1 bytes too far. */
static void FN(cpool_repeat)(char *to, const char *from, int64_t bytes, int64_t times)
{
    for (; times > 0; times--, to += bytes)
        for (int64_t b = 0; b < bytes; b += FN(STEP))
            FN(move)(to + b, from + b);
}

/* To where nothing may be written too far; past the caches, if it goes far and is worth it. */
static void FN(cpool_place)(char *to, const char *from, int64_t bytes, int far)
{
    int64_t b = 0;
    if (far && bytes >= FN(FAR_LEAST)) {
        b = (int64_t)(-(uintptr_t)to % FN(STEP));
        memcpy(to, from, (size_t)b);
        for (; b + FN(STEP) <= bytes; b += FN(STEP))
            FN(stream)(to + b, from + b);
    } else if (bytes < FN(LITTLE)) {
        for (; b + FN(STEP) <= bytes; b += FN(STEP))
            FN(move)(to + b, from + b);
    }
    memcpy(to + b, from + b, (size_t)(bytes - b));
}

/* Elements [first, last): the next one from at[1] on, and so forth. Where none is there often, less is written too far. */
#define FILL(BITS)                                                                                                 \
    static inline __attribute__((always_inline)) void FN(fill_##BITS)(char *to, const char *from, const int64_t *at, \
                                                                      int64_t first, int64_t last, int step)       \
    {                                                                                                              \
        for (int64_t end; first < last; first = end, from += BITS / 8) {                                           \
            uint##BITS##_t x, some[FN(STEP) * 8 / BITS];                                                           \
            end = least(*++at, last);                                                                              \
            memcpy(&x, from, BITS / 8);                                                                            \
            for (int u = 0; u < step * 8 / BITS; u++)                                                              \
                some[u] = x;                                                                                       \
            const int64_t bytes = (end - first) * (BITS / 8);                                                      \
            memcpy(to, some, (size_t)step);                                                                        \
            for (int64_t b = step; b < bytes; b += step)                                                           \
                memcpy(to + b, some, (size_t)step);                                                                \
            to += bytes;                                                                                           \
        }                                                                                                          \
    }                                                                                                              \
    static void FN(cpool_fill_##BITS)(char *to, const char *from, const int64_t *at, int64_t first, int64_t last,   \
                                      int64_t most)                                                                \
    {                                                                                                              \
        if (most <= 16)                                                                                            \
            FN(fill_##BITS)(to, from, at, first, last, 16);                                                        \
        else if (most <= 32)                                                                                       \
            FN(fill_##BITS)(to, from, at, first, last, 32);                                                        \
        else                                                                                                       \
            FN(fill_##BITS)(to, from, at, first, last, FN(STEP));                                                  \
    }
FILL(8)
FILL(16)
FILL(32)
FILL(64)
#undef FILL

/* Elements by their divisors, or all by one. */
#define DIVIDE(TYPE, SIZE)                                                                                         \
    static void FN3(cpool_divide, TYPE)(const char *x, const double *divisor, const double *reciprocal, double *to, \
                                        int64_t n, int one)                                                        \
    {                                                                                                              \
        vf d = FN(f_set)(divisor[0]), r = FN(f_set)(reciprocal[0]);                                                \
        for (int64_t i = 0; i < n; i += 8) {                                                                       \
            const int some = (int)least(n - i, 8);                                                                 \
            if (!one) {                                                                                            \
                d = FN(f_ldn)(divisor + i, some);                                                                  \
                r = FN(f_ldn)(reciprocal + i, some);                                                               \
            }                                                                                                      \
            double quotients[8];                                                                                   \
            if (some == 8) {                                                                                       \
                FN(f_st)(to + i, FN(f_div)(FN(x_##TYPE)(x + i * SIZE), d, r));                                     \
                continue;                                                                                          \
            }                                                                                                      \
            FN(f_st)(quotients, FN(f_div)(FN(xn_##TYPE)(x + i * SIZE, some), d, r));                               \
            memcpy(to + i, quotients, (size_t)some * sizeof *to);                                                  \
        }                                                                                                          \
    }
DIVIDE(f16, 2)
DIVIDE(bf16, 2)
DIVIDE(f32, 4)
#undef DIVIDE

#define WIDEN(TYPE, SIZE)                                                                                          \
    static void FN3(cpool_widen, TYPE)(const char *x, int64_t n, double *to)                                       \
    {                                                                                                              \
        int64_t i = 0;                                                                                             \
        for (; i + 8 <= n; i += 8)                                                                                 \
            FN(f_st)(to + i, FN(x_##TYPE)(x + i * SIZE));                                                          \
        if (i < n) {                                                                                               \
            double last[8];                                                                                        \
            FN(f_st)(last, FN(xn_##TYPE)(x + i * SIZE, (int)(n - i)));                                             \
            memcpy(to + i, last, (size_t)(n - i) * sizeof *to);                                                    \
        }                                                                                                          \
    }
WIDEN(f16, 2)
WIDEN(bf16, 2)
WIDEN(f32, 4)
WIDEN(f64, 8)
#undef WIDEN

#include "layer.h"

/* Pairs as doubles. Whether all are finite. */
static int FN(cpool_join)(const double *high, const double *low, int64_t n, char *to)
{
    int finite = 1;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const vf sum = FN(f_add)(FN(f_ld)(high + i), FN(f_ld)(low + i));
        finite &= FN(f_all_finite)(sum);
        FN(to_f64)(to + i * 8, sum);
    }
    for (; i < n; i++) {
        const double sum = high[i] + low[i];
        finite &= sum - sum == 0.0;
        memcpy(to + i * 8, &sum, sizeof sum);
    }
    return finite;
}

/* Rows by the same factors, or each by its own: multiplied as doubles, and rounded as products of floats are; halves on
 * from there, so that they have the bits of those that NumPy multiplies. */
#define SCALE(TYPE, SIZE, F_SIZE, FACTORS)                                                                         \
    static inline __attribute__((always_inline)) void FN3(scale_eights, TYPE)(const char *x, const char *factor,   \
                                                                              char *out, int64_t n, vf all, int one) \
    {                                                                                                              \
        int64_t i = 0;                                                                                             \
        for (; i + 8 <= n; i += 8) {                                                                               \
            const vf by = one ? all : FN(x_##FACTORS)(factor + i * F_SIZE);                                        \
            FN(to_##TYPE)(out + i * SIZE, FN(f_mul)(FN(x_##TYPE)(x + i * SIZE), by));                              \
        }                                                                                                          \
        if (i < n) {                                                                                               \
            const int left = (int)(n - i);                                                                         \
            const vf by = one ? all : FN(xn_##FACTORS)(factor + i * F_SIZE, left);                                 \
            FN(ton_##TYPE)(out + i * SIZE, FN(f_mul)(FN(xn_##TYPE)(x + i * SIZE, left), by), left);                \
        }                                                                                                          \
    }
SCALE(f16, 2, 4, f32)
SCALE(bf16, 2, 4, f32)
SCALE(f32, 4, 4, f32)
SCALE(f64, 8, 8, f64)
#undef SCALE

#define SCALE(TYPE, SIZE, FACTOR)                                                                                  \
    static void FN3(cpool_scale, TYPE)(const char *x, const char *factor, char *out, int64_t rows, int64_t n, int one) \
    {                                                                                                              \
        for (int64_t r = 0; r < rows; r++, x += n * SIZE, out += n * SIZE)                                         \
            if (one)                                                                                               \
                FN3(scale_eights, TYPE)(x, factor, out, n, FN(f_set)((double)((const FACTOR *)factor)[r]), 1);     \
            else                                                                                                   \
                FN3(scale_eights, TYPE)(x, factor, out, n, FN(f_zero)(), 0);                                       \
    }
SCALE(f16, 2, float)
SCALE(bf16, 2, float)
SCALE(f64, 8, double)
#undef SCALE

/* A product of floats is rounded once, too, so only what is left over is doubles. */
static inline __attribute__((always_inline)) void FN(scale_floats)(const char *x, const float *factor, char *out,
                                                                   int64_t n, int one)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        float some[16];
        memcpy(some, x + i * 4, sizeof some);
        for (int k = 0; k < 16; k++)
            some[k] *= factor[one ? 0 : i + k];
        memcpy(out + i * 4, some, sizeof some);
    }
    const char *rest = (const char *)(factor + (one ? 0 : i));
    FN3(scale_eights, f32)(x + i * 4, rest, out + i * 4, n - i, FN(f_set)((double)factor[0]), one);
}

static void FN3(cpool_scale, f32)(const char *x, const char *factor, char *out, int64_t rows, int64_t n, int one)
{
    const float *by = (const float *)factor;
    for (int64_t r = 0; r < rows; r++, x += n * 4, out += n * 4)
        if (one)
            FN(scale_floats)(x, by + r, out, n, 1);
        else
            FN(scale_floats)(x, by, out, n, 0);
}

/* The memory's own speed: what a plain read of the data takes. */
static void FN(cpool_read)(const char *data, int64_t bytes)
{
    vq a[4];
    for (int u = 0; u < 4; u++)
        a[u] = FN(q_zero)();
    for (int64_t i = 0; i + 256 <= bytes; i += 256)
        for (int u = 0; u < 4; u++)
            a[u] = FN(q_add)(a[u], FN(q_ld)(data + i + 64 * u));
    int64_t sum[8];
    FN(q_st)(sum, FN(q_add)(FN(q_add)(a[0], a[1]), FN(q_add)(a[2], a[3])));
    volatile int64_t keep = sum[0];
    (void)keep;
}

/* The largest of one element is that element. */
#define SAME(BITS)                                                                                                 \
    static void FN(cpool_same_##BITS)(char *to, const char *from, int64_t n) { memcpy(to, from, (size_t)n * (BITS / 8)); }
SAME(8)
SAME(16)
SAME(32)
SAME(64)
#undef SAME

#define FIND(BITS)                                                                                                 \
    static int64_t FN(cpool_find_##BITS)(const char *p, int64_t n, int64_t step, uint64_t mask, uint64_t wanted)   \
    {                                                                                                              \
        const uint##BITS##_t m = (uint##BITS##_t)mask, w = (uint##BITS##_t)wanted;                                 \
        int64_t i = 0;                                                                                             \
        if (step == BITS / 8)                                                                                      \
            for (; i + 16 <= n; i += 16) { /* by sixteen, without a branch inside */                               \
                uint##BITS##_t x[16];                                                                              \
                uint##BITS##_t any = 0;                                                                            \
                memcpy(x, p + i * step, sizeof x);                                                                 \
                for (int k = 0; k < 16; k++)                                                                       \
                    any |= (uint##BITS##_t)((x[k] & m) == w);                                                      \
                if (any)                                                                                           \
                    break;                                                                                         \
            }                                                                                                      \
        for (; i < n; i++) {                                                                                       \
            uint##BITS##_t x;                                                                                      \
            memcpy(&x, p + i * step, sizeof x);                                                                    \
            if ((x & m) == w)                                                                                      \
                break;                                                                                             \
        }                                                                                                          \
        return i;                                                                                                  \
    }
FIND(8)
FIND(16)
FIND(32)
FIND(64)
#undef FIND

/* Of neighbouring columns the largest, as a key that is ordered as the elements are (zeros equal, NaN above all), and
 * the first tap that has it. Plain loops of integers: compilers know what to do. */
#define FIRST(TYPE, BITS, WORD, KEY)                                                                               \
    static inline int##WORD##_t FN3(key, TYPE)(const char *p)                                                      \
    {                                                                                                              \
        BITS x;                                                                                                    \
        memcpy(&x, p, sizeof x);                                                                                   \
        const int##WORD##_t b = (int##WORD##_t)x;                                                                  \
        return KEY;                                                                                                \
    }                                                                                                              \
    static void FN3(cpool_first, TYPE)(const cpool_job *job, void *keys, void *taps)                               \
    {                                                                                                              \
        int##WORD##_t *restrict best = (int##WORD##_t *)keys, *restrict where = (int##WORD##_t *)taps, tap = 0;    \
        const int64_t n = job->n;                                                                                  \
        for (int64_t r = 0; r < job->rows; r++)                                                                    \
            for (int64_t t = 0; t < job->run; t++, tap++) {                                                        \
                const char *restrict p = job->base + job->off[r] + t * job->run_step;                              \
                if (!tap) {                                                                                        \
                    for (int64_t i = 0; i < n; i++) {                                                              \
                        best[i] = FN3(key, TYPE)(p + i * (int64_t)sizeof(BITS));                                   \
                        where[i] = 0;                                                                              \
                    }                                                                                              \
                    continue;                                                                                      \
                }                                                                                                  \
                for (int64_t i = 0; i < n; i++) {                                                                  \
                    const int##WORD##_t key = FN3(key, TYPE)(p + i * (int64_t)sizeof(BITS));                       \
                    const int##WORD##_t old = best[i], at = where[i];                                              \
                    best[i] = key > old ? key : old;                                                               \
                    where[i] = key > old ? tap : at;                                                               \
                }                                                                                                  \
            }                                                                                                      \
    }
/* without a branch: magnitudes of negative numbers turned round, zeros made equal, NaN made the last */
#define FLOAT_KEY(ALL, INFINITE, LAST)                                                                             \
    (((b ^ ((b >> (8 * (int)sizeof b - 1)) & (ALL))) & -((b & (ALL)) != 0) & -((b & (ALL)) <= (INFINITE))) |        \
     ((LAST) & -((b & (ALL)) > (INFINITE))))
FIRST(f16, int16_t, 32, FLOAT_KEY(0x7fff, 0x7c00, INT32_MAX))
FIRST(bf16, int16_t, 32, FLOAT_KEY(0x7fff, 0x7f80, INT32_MAX))
FIRST(f32, int32_t, 32, FLOAT_KEY(INT32_MAX, 0x7f800000, INT32_MAX))
FIRST(f64, int64_t, 64, FLOAT_KEY(INT64_MAX, (int64_t)0x7ff << 52, INT64_MAX))
FIRST(i8, int8_t, 32, b)
FIRST(u8, uint8_t, 32, b)
FIRST(i16, int16_t, 32, b)
FIRST(u16, uint16_t, 32, b)
FIRST(i32, int32_t, 32, b)
FIRST(u32, uint32_t, 32, b ^ INT32_MIN)
FIRST(i64, int64_t, 64, b)
FIRST(u64, uint64_t, 64, b ^ INT64_MIN)
#undef FLOAT_KEY
#undef FIRST

#define NONE8 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
#define FLOATS(op) {FN3(op, f16), FN3(op, bf16), FN3(op, f32), FN3(op, f64), NONE8}
#define FLOATS_AND_WIDE(op) {FN3(op, f16), FN3(op, bf16), FN3(op, f32), FN3(op, f64), NONE8, FN3(op, wide)}
#define ALL(op) \
    {FN3(op, f16), FN3(op, bf16), FN3(op, f32), FN3(op, f64), FN3(op, i8), FN3(op, u8), FN3(op, i16), FN3(op, u16), \
     FN3(op, i32), FN3(op, u32), FN3(op, i64), FN3(op, u64)}
#define ALL_AND_WIDE(op) \
    {FN3(op, f16), FN3(op, bf16), FN3(op, f32), FN3(op, f64), FN3(op, i8), FN3(op, u8), FN3(op, i16), FN3(op, u16), \
     FN3(op, i32), FN3(op, u32), FN3(op, i64), FN3(op, u64), FN3(op, wide)}
#define SHORT(op)                                                                                                  \
    {FN3(op, f16), FN3(op, bf16), FN3(op, f32), FN3(op, f64), FN3(op, i8), FN3(op, u8), FN3(op, i16), FN3(op, u16), \
     FN3(op, i32), FN3(op, u32), NULL, NULL}
#define LONG(op) {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, FN3(op, i64), FN3(op, u64)}
#define SINGLE(op) {FN3(op, f16), FN3(op, bf16), FN3(op, f32), NULL, NONE8, FN3(op, wide)}
#define DIRECT_SUMS(op)                                                                                            \
    {FN3(op, f16), FN3(op, bf16), FN3(op, f32), FN3(op, f64), FN3(op, i8), FN3(op, u8), FN3(op, i16), FN3(op, u16), \
     FN3(op, i32), FN3(op, u32), NULL, NULL, FN3(op, wide)}
#define FLOAT_MAX(op) {FN3(op, f16), FN3(op, bf16), FN3(op, f32), NULL, NONE8}
#define NONE {NULL, NULL, NULL, NULL, NONE8}
#if HAS_PERM
#define THIN(op) SINGLE(op)
#define THIN_MAX(op) FLOAT_MAX(op)
#else
#define THIN(op) NONE
#define THIN_MAX(op) NONE
#endif
#define FOLD(k) FN3(cpool_fold, k)
extern const cpool_isa FN(cpool_table);
const cpool_isa FN(cpool_table) = {
    CPOOL_STRING(ISA),
    {{
         ALL_AND_WIDE(cpool_lines),
         {FOLD(F), FOLD(F), FOLD(F), FOLD(D), FOLD(I), FOLD(U), FOLD(I), FOLD(U), FOLD(F), FOLD(F), FOLD(K), FOLD(K), FOLD(F)},
         DIRECT_SUMS(cpool_direct),
         THIN(cpool_thin),
         ALL_AND_WIDE(cpool_lanes),
         FLOATS_AND_WIDE(cpool_planes),
         FLOATS_AND_WIDE(cpool_pixels),
         {ALL(cpool_finish_F), FLOATS(cpool_finish_D), ALL(cpool_finish_I), ALL(cpool_finish_W)},
         {NULL, NULL, FN(cpool_copy_16), NULL, FN(cpool_copy_32), NULL, NULL, NULL, FN(cpool_copy_64)},
     },
     {
         ALL(cpool_lines_max),
         {FOLD(M), FOLD(M), FOLD(M), FOLD(M), FOLD(M), FOLD(M), FOLD(M), FOLD(M), FOLD(M), FOLD(M), FOLD(Q), FOLD(Q)},
         SHORT(cpool_direct_max),
         THIN_MAX(cpool_thin_max),
         ALL(cpool_lanes_max),
         NONE,
         FLOAT_MAX(cpool_pixels_max),
         {SHORT(cpool_finish_M), NONE, LONG(cpool_finish_Q), NONE},
         {NULL, FN(cpool_same_8), FN(cpool_same_16), NULL, FN(cpool_same_32), NULL, NULL, NULL, FN(cpool_same_64)},
     }},
    {NULL, FN(cpool_find_8), FN(cpool_find_16), NULL, FN(cpool_find_32), NULL, NULL, NULL, FN(cpool_find_64)},
    ALL(cpool_first),
    {FN3(cpool_divide, f16), FN3(cpool_divide, bf16), FN3(cpool_divide, f32)},
    {FN3(cpool_scale, f16), FN3(cpool_scale, bf16), FN3(cpool_scale, f32), FN3(cpool_scale, f64)},
    {FN3(cpool_widen, f16), FN3(cpool_widen, bf16), FN3(cpool_widen, f32), FN3(cpool_widen, f64)},
    FN(cpool_join),
    {NULL, NULL, FN3(cpool_dense, f32), FN3(cpool_dense, f64)},
    FN(cpool_dense_turned),
    FN(cpool_activate),
    FN(cpool_repeat),
    {NULL, FN(cpool_fill_8), FN(cpool_fill_16), NULL, FN(cpool_fill_32), NULL, NULL, NULL, FN(cpool_fill_64)},
    FN(cpool_place),
    FN(streamed),
    FN(cpool_read),
};
#undef NONE8
#undef FLOATS
#undef FLOATS_AND_WIDE
#undef ALL
#undef FOLD
#undef SINGLE
#undef DIRECT_SUMS
#undef NONE
#undef THIN
#undef THIN_MAX
#undef FLOAT_MAX
#undef ALL_AND_WIDE
#undef SHORT
#undef LONG

#undef vf
#undef vq
#undef vi
#undef vs
#undef vh
#undef vd
#undef vw
#undef HAS_PERM
#undef STRIP
#undef STRIPS
#undef ISA
