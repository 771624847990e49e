/* Columns of lines into windows, for each kind of sum on one instruction set. */

static inline void FN(F_out)(double *sum, int64_t plane, vf a, int64_t n) { (void)plane, (void)n; FN(f_st)(sum, a); }
static inline void FN(D_out)(double *sum, int64_t plane, vd a, int64_t n)
{
    (void)n;
    FN(f_st)(sum, a.hi);
    FN(f_st)(sum + plane, a.lo);
}
static inline void FN(M_out)(double *sum, int64_t plane, vf a, int64_t n) { (void)plane, (void)n; FN(f_st)(sum, a); }
static inline void FN(Q_out)(double *sum, int64_t plane, vq a, int64_t n) { (void)plane, (void)n; FN(q_st)(sum, a); }
static inline void FN(I_out)(double *sum, int64_t plane, vi a, int64_t n) { (void)plane, (void)n; FN(f_st)(sum, FN(f_of_i)(a)); }
static inline void FN(U_out)(double *sum, int64_t plane, vi a, int64_t n)
{
    (void)plane, (void)n;
    FN(f_st)(sum, FN(f_of_u)(FN(i_flip)(a)));
}
static inline void FN(K_out)(double *sum, int64_t plane, vw a, int64_t n)
{
    int64_t low[8], high[8];
    FN(q_st)(low, a.low);
    FN(q_st)(high, a.high);
    for (int64_t k = 0; k < n; k++) {
        cpool_wide wide = cpool_wide_halves(high[k], low[k]);
        memcpy(sum + k, &wide.high, 8);
        memcpy(sum + plane + k, &wide.low, 8);
    }
}

/* Windows of c neighbouring channels, a vector of channels at a time. */
#define FOLD_CHANNELS(K, A, ACC, OPS)                                                                              \
    static inline void FN(K##_channels)(const ACC *line, int64_t plane, const cpool_fold *f, double *sums, int64_t out) \
    {                                                                                                              \
        const int64_t c = f->c, step = f->step * c;                                                                \
        for (int64_t i = 0; i < f->outputs; i++)                                                                   \
            for (int64_t ch = 0; ch < c; ch += 8) {                                                                \
                const A sum = FN(OPS##_folded)(line + f->start[i] * c + ch, plane, step, f->count[i]);             \
                FN(K##_out)(sums + i * c + ch, out, sum, c - ch < 8 ? c - ch : 8);                                 \
            }                                                                                                      \
    }
FOLD_CHANNELS(F, vf, double, F)
FOLD_CHANNELS(D, vd, double, D)
FOLD_CHANNELS(I, vi, int32_t, I)
FOLD_CHANNELS(U, vi, int32_t, I)
FOLD_CHANNELS(K, vw, int64_t, K)
FOLD_CHANNELS(M, vf, double, M)
FOLD_CHANNELS(Q, vq, int64_t, Q)
#undef FOLD_CHANNELS

/* Windows of one size that begin at neighbouring columns: eight outputs are eight neighbouring lanes. */
#define FOLD_SLIDING(K, A, ACC, OPS)                                                                               \
    static inline __attribute__((always_inline)) void FN(K##_sliding)(const ACC *line, int64_t plane, const cpool_fold *f, \
                                                                      double *sums, int64_t out)                   \
    {                                                                                                              \
        const int64_t count = f->count[0];                                                                         \
        for (int64_t i = 0; i < f->outputs; i += 8) {                                                              \
            const A sum = FN(OPS##_folded)(line + f->start[0] + i, plane, 1, count);                               \
            FN(K##_out)(sums + i, out, sum, f->outputs - i < 8 ? f->outputs - i : 8);                              \
        }                                                                                                          \
    }
FOLD_SLIDING(F, vf, double, F)
FOLD_SLIDING(D, vd, double, D)
FOLD_SLIDING(I, vi, int32_t, I)
FOLD_SLIDING(U, vi, int32_t, I)
FOLD_SLIDING(K, vw, int64_t, K)
FOLD_SLIDING(M, vf, double, M)
FOLD_SLIDING(Q, vq, int64_t, Q)
#undef FOLD_SLIDING

/* One window of up to 8, 16 or 32 neighbouring columns as eight lanes; and windows anywhere: eight picked out of
 * sixteen neighbours, or each one a vector, eight vectors folded together. */
#if HAS_PERM
#define FOLD_PICKED(K, ACC)                                                                                        \
    if (f->perm && f->perm_at[i / 8] >= 0) {                                                                       \
        const int64_t *entry = f->perm + f->perm_at[i / 8];                                                        \
        const ACC *p = line + entry[0];                                                                            \
        FN(K##_st)(sums + i, out, FN(K##_picked)(FN(K##_ld)(p, plane), FN(K##_ld)(p + 8, plane), entry));          \
        continue;                                                                                                  \
    }
#else
#define FOLD_PICKED(K, ACC)
#endif
#define EIGHT(WINDOW)                                                                                              \
    for (int k = 0; k < 8; k++)                                                                                    \
        v[k] = FN(WINDOW)(line + f->start[i + k], plane, f->count[i + k]);                                         \
    break
#define FOLD_ANYWHERE(K, ACC, A, FOLD8)                                                                            \
    static inline A FN(K##_window8)(const ACC *p, int64_t plane, int64_t n) { return FN(K##_ldn)(p, plane, (int)n); } \
    static inline A FN(K##_window16)(const ACC *p, int64_t plane, int64_t n)                                       \
    {                                                                                                              \
        return FN(K##_add)(FN(K##_ldn)(p, plane, n < 8 ? (int)n : 8), FN(K##_ldn)(p + 8, plane, n < 8 ? 0 : (int)n - 8)); \
    }                                                                                                              \
    static inline A FN(K##_window32)(const ACC *p, int64_t plane, int64_t n)                                       \
    {                                                                                                              \
        if (n <= 16)                                                                                               \
            return FN(K##_window16)(p, plane, n);                                                                  \
        A a = FN(K##_ld)(p, plane), b = FN(K##_ld)(p + 8, plane);                                                  \
        a = FN(K##_add)(a, FN(K##_ldn)(p + 16, plane, n < 24 ? (int)n - 16 : 8));                                  \
        return FN(K##_add)(a, n <= 24 ? b : FN(K##_add)(b, FN(K##_ldn)(p + 24, plane, (int)n - 24)));              \
    }                                                                                                              \
    static inline __attribute__((always_inline)) void FN(K##_anywhere)(const ACC *line, int64_t plane,             \
                                                                       const cpool_fold *f, double *sums, int64_t out) \
    {                                                                                                              \
        for (int64_t i = 0; i < f->outputs; i += 8) {                                                              \
            FOLD_PICKED(K, ACC)                                                                                    \
            A v[8];                                                                                                \
            switch (f->vectors) {                                                                                  \
            case 1:                                                                                                \
                EIGHT(K##_window8);                                                                                \
            case 2:                                                                                                \
                EIGHT(K##_window16);                                                                               \
            default:                                                                                               \
                EIGHT(K##_window32);                                                                               \
            }                                                                                                      \
            FN(K##_st)(sums + i, out, FN(FOLD8)(v));                                                               \
        }                                                                                                          \
    }
FOLD_ANYWHERE(F, double, vf, f_fold8)
FOLD_ANYWHERE(D, double, vd, D_fold8)
FOLD_ANYWHERE(M, double, vf, f_max8)
FOLD_ANYWHERE(IF, int32_t, vf, f_fold8)
FOLD_ANYWHERE(UF, int32_t, vf, f_fold8)
#undef FOLD_ANYWHERE
#undef EIGHT
#undef FOLD_PICKED

#define FOLD(K, ACC, ANYWHERE)                                                                                     \
    static void FN3(cpool_fold, K)(const cpool_job *lines, int64_t count, const cpool_fold *f, double *sums,       \
                                   int64_t stride, int64_t plane)                                                  \
    {                                                                                                              \
        for (int64_t g = 0; g < count; g++, sums += stride) {                                                      \
            const ACC *line = (const ACC *)lines[g].acc;                                                           \
            int64_t apart = lines[g].plane;                                                                        \
            if (f->c > 1)                                                                                          \
                FN(K##_channels)(line, apart, f, sums, plane);                                                     \
            else if (f->uniform == 1 && f->step == 1 && f->count[0] > 1)                                           \
                FN(K##_sliding)(line, apart, f, sums, plane);                                                      \
            else {                                                                                                 \
                ANYWHERE                                                                                           \
                for (int64_t i = 0; i < f->outputs; i++)                                                           \
                    FN(K##_tree)(line + f->start[i], apart, f->step, f->count[i], sums + i, plane);                \
            }                                                                                                      \
        }                                                                                                          \
    }
#define ANYWHERE(K) if (f->step == 1) { FN(K##_anywhere)(line, apart, f, sums, plane); continue; }
FOLD(F, double, ANYWHERE(F))
FOLD(D, double, ANYWHERE(D))
FOLD(I, int32_t, ANYWHERE(IF))
FOLD(U, int32_t, ANYWHERE(UF))
FOLD(K, int64_t, )
FOLD(M, double, ANYWHERE(M))
FOLD(Q, int64_t, )
#undef FOLD
#undef ANYWHERE
