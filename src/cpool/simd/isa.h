/* Everything of one instruction set: vocabulary included before, ISA set to its name. */

#include "kinds.h"


/* floats: double sums; the order of additions counts, so no batches */
#define TYPE f32
#define SIZE 4
#define A vf
#define ACC double
#define KIND F
#define TREE F
#define X vf
#define XLD FN(x_f32)
#define XLDN FN(xn_f32)
#define TO FN(to_f32)
#define TON FN(ton_f32)
#define ADDX FN(f_add)
#define BATCH 0
#define FAST_FOLD 1
#include "kernels.h"

#define TYPE f16
#define SIZE 2
#define A vf
#define ACC double
#define KIND F
#define TREE F
#define X vf
#define XLD FN(x_f16)
#define XLDN FN(xn_f16)
#define TO FN(to_f16)
#define TON FN(ton_f16)
#define ADDX FN(f_add)
#define BATCH 0
#define FAST_FOLD 1
#include "kernels.h"

#define TYPE bf16
#define SIZE 2
#define A vf
#define ACC double
#define KIND F
#define TREE F
#define X vf
#define XLD FN(x_bf16)
#define XLDN FN(xn_bf16)
#define TO FN(to_bf16)
#define TON FN(ton_bf16)
#define ADDX FN(f_add)
#define BATCH 0
#define FAST_FOLD 1
#include "kernels.h"

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
#define BATCH 0
#define FAST_FOLD 0
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
#define FAST_FOLD 0
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
#define FAST_FOLD 0
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
#define FAST_FOLD 0
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
#define FAST_FOLD 0
#include "kernels.h"

#define TYPE i32
#define SIZE 4
#define A vq
#define ACC int64_t
#define KIND J
#define TREE J
#define X vq
#define XLD FN(x_i32)
#define XLDN FN(xn_i32)
#define ADDX FN(J_add)
#define BATCH 0
#define FAST_FOLD 0
#include "kernels.h"

#define TYPE u32
#define SIZE 4
#define A vq
#define ACC int64_t
#define KIND J
#define TREE J
#define X vq
#define XLD FN(x_u32)
#define XLDN FN(xn_u32)
#define ADDX FN(J_add)
#define BATCH 0
#define FAST_FOLD 0
#include "kernels.h"

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
#define FAST_FOLD 0
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
#define FAST_FOLD 0
#include "kernels.h"

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
#undef STORE_SOME
#endif
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

#define NONE8 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
#define FLOATS(op) {FN3(op, f16), FN3(op, bf16), FN3(op, f32), FN3(op, f64), NONE8}
#define ALL(op) \
    {FN3(op, f16), FN3(op, bf16), FN3(op, f32), FN3(op, f64), FN3(op, i8), FN3(op, u8), FN3(op, i16), FN3(op, u16), \
     FN3(op, i32), FN3(op, u32), FN3(op, i64), FN3(op, u64)}
#define FOLD(k) FN3(cpool_fold, k)
#define SINGLE(op) {FN3(op, f16), FN3(op, bf16), FN3(op, f32), NULL, NONE8}
static const cpool_isa FN(cpool_table) = {
    CPOOL_STRING(ISA),
    ALL(cpool_lines),
    {FOLD(F), FOLD(F), FOLD(F), FOLD(D), FOLD(I), FOLD(U), FOLD(I), FOLD(U), FOLD(J), FOLD(J), FOLD(K), FOLD(K)},
    SINGLE(cpool_direct),
#if HAS_PERM
    SINGLE(cpool_thin),
#else
    {NULL, NULL, NULL, NULL, NONE8},
#endif
    ALL(cpool_lanes),
    {FLOATS(cpool_finish_F), FLOATS(cpool_finish_D), ALL(cpool_finish_I), ALL(cpool_finish_W)},
    {NULL, NULL, FN(cpool_copy_16), NULL, FN(cpool_copy_32), NULL, NULL, NULL, FN(cpool_copy_64)},
    FN(cpool_read),
};
#undef NONE8
#undef FLOATS
#undef ALL
#undef FOLD
#undef SINGLE

#undef vf
#undef vq
#undef vi
#undef vs
#undef vd
#undef vw
#undef HAS_PERM
#undef STRIP
#undef ISA
