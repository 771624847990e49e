/* Sums into results: divided once, rounded once. For one instruction set. */

/* Of eight sums, at r.sums + i, and their divisor and its reciprocal: the quotients; whether a sum is one to mend. */
#define QUOTIENT_F(odd, r, i, d, q) FN(f_div)(FN(f_ld)(r.sums + i), d, q)
#define QUOTIENT_D(odd, r, i, d, q) (void)q, FN(watched)(&odd, FN(D_ld)(r.sums + i, r.plane), d, (int)(r.n - i))
static inline vf FN(watched)(int *odd, vd sum, vf d, int n)
{
    vf all = FN(f_add)(sum.hi, sum.lo);
    *odd |= !FN(f_all_finite)(n < 8 ? FN(f_keep)(all, n) : all);
    return FN(D_quotient)(sum, d);
}
#define FINISH_FLOAT(KIND, TYPE, CTYPE)                                                                            \
    static int FN3(cpool_finish_##KIND, TYPE)(const cpool_result *rows, int64_t count, int64_t shift)              \
    {                                                                                                              \
        int odd = 0;                                                                                               \
        for (int64_t g = 0; g < count; g++) {                                                                      \
            cpool_result r = rows[g];                                                                              \
            vf d = FN(f_set)(r.divisor[0]), q = FN(f_set)(r.reciprocal[0]);                                        \
            for (int64_t i = 0; i < r.n; i += 8) {                                                                 \
                if (!r.broadcast) {                                                                                \
                    d = FN(f_ld)(r.divisor + i);                                                                   \
                    q = FN(f_ld)(r.reciprocal + i);                                                                \
                }                                                                                                  \
                vf result = (QUOTIENT_##KIND(odd, r, i, d, q));                                                     \
                char *out = r.out + shift + i * (int64_t)sizeof(CTYPE);                                            \
                if (i + 8 <= r.n)                                                                                  \
                    FN(to_##TYPE)(out, result);                                                                    \
                else                                                                                               \
                    FN(ton_##TYPE)(out, result, (int)(r.n - i));                                                   \
            }                                                                                                      \
        }                                                                                                          \
        return odd;                                                                                                \
    }
FINISH_FLOAT(F, f64, double)
FINISH_FLOAT(F, f32, float)
FINISH_FLOAT(F, f16, uint16_t)
FINISH_FLOAT(F, bf16, uint16_t)
FINISH_FLOAT(F, i8, int8_t)
FINISH_FLOAT(F, u8, uint8_t)
FINISH_FLOAT(F, i16, int16_t)
FINISH_FLOAT(F, u16, uint16_t)
FINISH_FLOAT(D, f64, double)
FINISH_FLOAT(D, f32, float)
FINISH_FLOAT(D, f16, uint16_t)
FINISH_FLOAT(D, bf16, uint16_t)
#undef FINISH_FLOAT
#undef QUOTIENT_F
#undef QUOTIENT_D

#define AS_f64(x) (x)
#define AS_f32(x) ((float)(x))
#define AS_f16(x) cpool_to_f16((float)(x))
#define AS_bf16(x) cpool_to_bf16((float)(x))

/* Sums that need more than a double, one by one. */
#define FINISH_ROWS(KIND, TYPE, CTYPE, VALUE)                                                                      \
    static int FN3(cpool_finish_##KIND, TYPE)(const cpool_result *rows, int64_t count, int64_t shift)                            \
    {                                                                                                              \
        for (int64_t g = 0; g < count; g++) {                                                                      \
            cpool_result r = rows[g];                                                                              \
            for (int64_t i = 0; i < r.n; i++) {                                                                    \
                double d = r.divisor[r.broadcast ? 0 : i];                                                         \
                CTYPE value = VALUE;                                                                               \
                memcpy(r.out + shift + i * (int64_t)sizeof(CTYPE), &value, sizeof(CTYPE));                                 \
            }                                                                                                      \
        }                                                                                                          \
        return 0;                                                                                                  \
    }

static inline int64_t FN(sum_i)(const double *p)
{
    int64_t sum;
    memcpy(&sum, p, 8);
    return sum;
}
static inline cpool_wide FN(sum_w)(const cpool_result *r, int64_t i)
{
    cpool_wide wide;
    memcpy(&wide.high, r->sums + i, 8);
    memcpy(&wide.low, r->sums + r->plane + i, 8);
    return wide;
}
#define SMALL(s) ((s) < (INT64_C(1) << 51) && (s) > -(INT64_C(1) << 51))
static inline double FN(quotient_i)(int64_t sum, double d)
{
    return SMALL(sum) ? (double)sum / d + 0.0 : cpool_wide_quotient(cpool_wide_of(sum), d);
}
static inline double FN(quotient_w)(cpool_wide sum, double d)
{
    int64_t low = (int64_t)sum.low;
    return sum.high == (low < 0 ? -1 : 0) ? FN(quotient_i)(low, d) : cpool_wide_quotient(sum, d);
}

#define FINISH_INTEGER_SUMS(TYPE, CTYPE)                                                                           \
    FINISH_ROWS(I, TYPE, CTYPE, AS_##TYPE(FN(quotient_i)(FN(sum_i)(r.sums + i), d)))                               \
    FINISH_ROWS(W, TYPE, CTYPE, AS_##TYPE(FN(quotient_w)(FN(sum_w)(&r, i), d)))
FINISH_INTEGER_SUMS(f64, double)
FINISH_INTEGER_SUMS(f32, float)
FINISH_INTEGER_SUMS(f16, uint16_t)
FINISH_INTEGER_SUMS(bf16, uint16_t)
#undef FINISH_INTEGER_SUMS

/* Below 2^51 the quotient of doubles can't fall on a tie that the exact one misses, nor miss one. */
#define FINISH_INTEGER(TYPE, CTYPE, LEAST, MOST)                                                                   \
    static inline CTYPE FN(round_##TYPE)(cpool_wide sum, double d)                                                 \
    {                                                                                                              \
        int64_t low = (int64_t)sum.low;                                                                            \
        if (sum.high == (low < 0 ? -1 : 0) && SMALL(low)) {                                                        \
            double q = rint((double)low / d);                                                                      \
            if (q < (double)(LEAST))                                                                               \
                return (CTYPE)(LEAST);                                                                             \
            /* compared in the type: its largest value is no double when it has 64 bits */                         \
            if (q > 0 && (uint64_t)q > (uint64_t)(MOST))                                                           \
                return (CTYPE)(MOST);                                                                              \
            return (CTYPE)(int64_t)q;                                                                              \
        }                                                                                                          \
        cpool_wide q = cpool_wide_round(sum, d);                                                                   \
        if (q.high < 0)                                                                                            \
            return q.high < -1 || (int64_t)q.low >= 0 || (int64_t)q.low < (int64_t)(LEAST) ? (CTYPE)(LEAST)        \
                                                                                          : (CTYPE)(int64_t)q.low; \
        return q.high > 0 || q.low > (uint64_t)(MOST) ? (CTYPE)(MOST) : (CTYPE)q.low;                              \
    }                                                                                                              \
    FINISH_ROWS(I, TYPE, CTYPE, FN(round_##TYPE)(cpool_wide_of(FN(sum_i)(r.sums + i)), d))                         \
    FINISH_ROWS(W, TYPE, CTYPE, FN(round_##TYPE)(FN(sum_w)(&r, i), d))
FINISH_INTEGER(i8, int8_t, INT8_MIN, INT8_MAX)
FINISH_INTEGER(u8, uint8_t, 0, UINT8_MAX)
FINISH_INTEGER(i16, int16_t, INT16_MIN, INT16_MAX)
FINISH_INTEGER(u16, uint16_t, 0, UINT16_MAX)
FINISH_INTEGER(i32, int32_t, INT32_MIN, INT32_MAX)
FINISH_INTEGER(u32, uint32_t, 0, UINT32_MAX)
FINISH_INTEGER(i64, int64_t, INT64_MIN, INT64_MAX)
FINISH_INTEGER(u64, uint64_t, 0, UINT64_MAX)
#undef FINISH_INTEGER
FINISH_ROWS(F, i32, int32_t, FN(round_i32)(cpool_wide_of((int64_t)r.sums[i]), d))
FINISH_ROWS(F, u32, uint32_t, FN(round_u32)(cpool_wide_of((int64_t)r.sums[i]), d))
FINISH_ROWS(F, i64, int64_t, FN(round_i64)(cpool_wide_of((int64_t)r.sums[i]), d))
FINISH_ROWS(F, u64, uint64_t, FN(round_u64)(cpool_wide_of((int64_t)r.sums[i]), d))
#undef FINISH_ROWS

/* The largest are there already. Tells whether one of them is -0, and may not be the first of equals. */
#define FINISH_MAX_FLOAT(TYPE, CTYPE)                                                                              \
    static int FN3(cpool_finish_M, TYPE)(const cpool_result *rows, int64_t count, int64_t shift)                   \
    {                                                                                                              \
        int odd = 0;                                                                                               \
        for (int64_t g = 0; g < count; g++) {                                                                      \
            const cpool_result r = rows[g];                                                                        \
            for (int64_t i = 0; i < r.n; i += 8) {                                                                 \
                const vf result = FN(f_ld)(r.sums + i);                                                            \
                char *out = r.out + shift + i * (int64_t)sizeof(CTYPE);                                            \
                odd |= FN(f_odd)(result);                                                                          \
                if (i + 8 <= r.n)                                                                                  \
                    FN(to_##TYPE)(out, result);                                                                    \
                else                                                                                               \
                    FN(ton_##TYPE)(out, result, (int)(r.n - i));                                                   \
            }                                                                                                      \
        }                                                                                                          \
        return odd;                                                                                                \
    }
FINISH_MAX_FLOAT(f64, double)
FINISH_MAX_FLOAT(f32, float)
FINISH_MAX_FLOAT(f16, uint16_t)
FINISH_MAX_FLOAT(bf16, uint16_t)
#undef FINISH_MAX_FLOAT

#define FINISH_MAX(KIND, TYPE, CTYPE, VALUE)                                                                       \
    static int FN3(cpool_finish_##KIND, TYPE)(const cpool_result *rows, int64_t count, int64_t shift)              \
    {                                                                                                              \
        for (int64_t g = 0; g < count; g++) {                                                                      \
            const double *sums = rows[g].sums;                                                                     \
            for (int64_t i = 0; i < rows[g].n; i++) {                                                              \
                CTYPE value = VALUE;                                                                               \
                memcpy(rows[g].out + shift + i * (int64_t)sizeof(CTYPE), &value, sizeof(CTYPE));                   \
            }                                                                                                      \
        }                                                                                                          \
        return 0;                                                                                                  \
    }
FINISH_MAX(M, i8, int8_t, (int8_t)sums[i])
FINISH_MAX(M, u8, uint8_t, (uint8_t)sums[i])
FINISH_MAX(M, i16, int16_t, (int16_t)sums[i])
FINISH_MAX(M, u16, uint16_t, (uint16_t)sums[i])
FINISH_MAX(M, i32, int32_t, (int32_t)sums[i])
FINISH_MAX(M, u32, uint32_t, (uint32_t)sums[i])
FINISH_MAX(Q, i64, int64_t, FN(sum_i)(sums + i))
FINISH_MAX(Q, u64, uint64_t, (uint64_t)FN(sum_i)(sums + i) ^ (uint64_t)1 << 63)
#undef FINISH_MAX
#undef SMALL
#undef AS_f64
#undef AS_f32
#undef AS_f16
#undef AS_bf16
