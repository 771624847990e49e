/* The accumulators: eight lanes of each kind of sum, and how an element gets in. Included once per instruction set. */

/* double and error: two-sum of every element, errors beside it */
typedef struct { vf hi, lo; } FN(vd);
/* 64-bit integers by halves, so that no block can wrap */
typedef struct { vq low, high; } FN(vw);
#define vd FN(vd)
#define vw FN(vw)

static inline vf FN(F_zero)(void) { return FN(f_zero)(); }
static inline vf FN(F_ld)(const double *p, int64_t plane) { (void)plane; return FN(f_ld)(p); }
static inline void FN(F_st)(double *p, int64_t plane, vf a) { (void)plane; FN(f_st)(p, a); }
static inline vf FN(F_ldn)(const double *p, int64_t plane, int n) { (void)plane; return FN(f_ldn)(p, n); }
static inline vf FN(F_add)(vf a, vf b) { return FN(f_add)(a, b); }
/* What kernels of one row need of sums that are doubles: as D_of, D_fold8 and D_fold8_of below. */
#define DOUBLES(K, FOLD8)                                                                                          \
    static inline vf FN(K##_of)(vf a) { return a; }                                                                \
    static inline vf FN(K##_fold8)(const vf v[8]) { return FN(FOLD8)(v); }                                         \
    static inline vf FN(K##_fold8_of)(const vf v[8]) { return FN(FOLD8)(v); }
DOUBLES(F, f_fold8)

static inline vd FN(D_zero)(void) { return (vd){FN(f_zero)(), FN(f_zero)()}; }
static inline vd FN(D_ld)(const double *p, int64_t plane) { return (vd){FN(f_ld)(p), FN(f_ld)(p + plane)}; }
static inline vd FN(D_ldn)(const double *p, int64_t plane, int n)
{
    return (vd){FN(f_ldn)(p, n), FN(f_ldn)(p + plane, n)};
}
static inline void FN(D_st)(double *p, int64_t plane, vd a)
{
    FN(f_st)(p, a.hi);
    FN(f_st)(p + plane, a.lo);
}
static inline vf FN(two_sum)(vf a, vf b, vf *error)
{
    vf sum = FN(f_add)(a, b), part = FN(f_sub)(sum, a);
    *error = FN(f_add)(FN(f_sub)(a, FN(f_sub)(sum, part)), FN(f_sub)(b, part));
    return sum;
}
static inline vd FN(D_first)(vf x) { return (vd){FN(f_add)(FN(f_zero)(), x), FN(f_zero)()}; }
static inline vd FN(D_of)(vf a) { return (vd){a, FN(f_zero)()}; }
static inline vd FN(D_addx)(vd a, vf x)
{
    vf error;
    a.hi = FN(two_sum)(a.hi, x, &error);
    a.lo = FN(f_add)(a.lo, error);
    return a;
}
static inline vd FN(D_add)(vd a, vd b)
{
    vf error;
    a.hi = FN(two_sum)(a.hi, b.hi, &error);
    a.lo = FN(f_add)(FN(f_add)(a.lo, b.lo), error);
    return a;
}

/* Lane i folds the lanes of v[i]: l with l+4, then l with l+2, then l with l+1. */
static inline vd FN(D_fold8)(const vd v[8])
{
    vf hi[8], lo[8];
    vd lane[8];
    for (int i = 0; i < 8; i++) {
        hi[i] = v[i].hi;
        lo[i] = v[i].lo;
    }
    FN(f_turn8)(hi);
    FN(f_turn8)(lo);
    for (int i = 0; i < 8; i++)
        lane[i] = (vd){hi[i], lo[i]};
    for (int half = 4; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = FN(D_add)(lane[l], lane[l + half]);
    return lane[0];
}
/* The same of doubles. */
static inline vd FN(D_fold8_of)(const vf v[8])
{
    vf turned[8];
    vd lane[4];
    for (int i = 0; i < 8; i++)
        turned[i] = v[i];
    FN(f_turn8)(turned);
    for (int l = 0; l < 4; l++)
        lane[l].hi = FN(two_sum)(turned[l], turned[l + 4], &lane[l].lo);
    for (int half = 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = FN(D_add)(lane[l], lane[l + half]);
    return lane[0];
}
/* (hi + lo) / d, rounded nearly once, as cpool_pair_quotient does it. */
static inline vf FN(D_quotient)(vd a, vf d)
{
    vf sum = FN(f_add)(a.hi, a.lo), error = FN(f_sub)(a.lo, FN(f_sub)(sum, a.hi)), quotient = FN(f_over)(sum, d);
    vf more = FN(f_over)(FN(f_add)(FN(f_rest)(quotient, d, sum), error), d);
    return FN(f_add)(FN(f_if_finite)(more, FN(f_add)(quotient, more), quotient), FN(f_zero)());
}

static inline vi FN(I_zero)(void) { return FN(i_zero)(); }
static inline vi FN(I_ld)(const int32_t *p, int64_t plane) { (void)plane; return FN(i_ld)(p); }
static inline void FN(I_st)(int32_t *p, int64_t plane, vi a) { (void)plane; FN(i_st)(p, a); }
static inline vi FN(I_add)(vi a, vi b) { return FN(i_add)(a, b); }
static inline vi FN(I_adds)(vi a, vs x) { return FN(i_add)(a, FN(i_of_s)(x)); }
static inline vi FN(I_addus)(vi a, vs x) { return FN(i_add)(a, FN(i_of_us)(x)); }

static inline vf FN(f_of_u)(vi a) { return FN(f_add)(FN(f_of_i)(a), FN(f_set)(0x1p31)); } /* of a flipped one */
/* Sums of small integers as doubles, which hold them all; UF: of integers without a sign */
static inline vf FN(IF_ld)(const int32_t *p, int64_t plane) { (void)plane; return FN(f_of_i)(FN(i_ld)(p)); }
static inline vf FN(UF_ld)(const int32_t *p, int64_t plane) { (void)plane; return FN(f_of_u)(FN(i_flip)(FN(i_ld)(p))); }
static inline vf FN(IF_ldn)(const int32_t *p, int64_t plane, int n) { return FN(f_keep)(FN(IF_ld)(p, plane), n); }
static inline vf FN(UF_ldn)(const int32_t *p, int64_t plane, int n) { return FN(f_keep)(FN(UF_ld)(p, plane), n); }
static inline vf FN(IF_zero)(void) { return FN(f_zero)(); }
DOUBLES(IF, f_fold8)
static inline vf FN(IF_add)(vf a, vf b) { return FN(f_add)(a, b); }
static inline vf FN(UF_add)(vf a, vf b) { return FN(f_add)(a, b); }
static inline void FN(IF_st)(double *p, int64_t plane, vf a) { (void)plane; FN(f_st)(p, a); }
static inline void FN(UF_st)(double *p, int64_t plane, vf a) { (void)plane; FN(f_st)(p, a); }

static inline vw FN(K_zero)(void) { return (vw){FN(q_zero)(), FN(q_zero)()}; }
static inline vw FN(K_ld)(const int64_t *p, int64_t plane) { return (vw){FN(q_ld)(p), FN(q_ld)(p + plane)}; }
static inline void FN(K_st)(int64_t *p, int64_t plane, vw a)
{
    FN(q_st)(p, a.low);
    FN(q_st)(p + plane, a.high);
}
static inline vw FN(K_add)(vw a, vw b) { return (vw){FN(q_add)(a.low, b.low), FN(q_add)(a.high, b.high)}; }
static inline vw FN(K_adds)(vw a, vq x) { return (vw){FN(q_add)(a.low, FN(q_lower)(x)), FN(q_add)(a.high, FN(q_high)(x))}; }
static inline vw FN(K_addus)(vw a, vq x) { return (vw){FN(q_add)(a.low, FN(q_lower)(x)), FN(q_add)(a.high, FN(q_uhigh)(x))}; }

/* the larger: of doubles, into which every type but the longest integers fits, and of 64-bit integers */
static inline vf FN(M_zero)(void) { return FN(f_low)(); }
static inline vf FN(M_ld)(const double *p, int64_t plane) { (void)plane; return FN(f_ld)(p); }
static inline void FN(M_st)(double *p, int64_t plane, vf a) { (void)plane; FN(f_st)(p, a); }
static inline vf FN(M_ldn)(const double *p, int64_t plane, int n) { (void)plane; return FN(f_fill)(FN(f_ldn)(p, n), n); }
static inline vf FN(M_add)(vf a, vf b) { return FN(f_max)(a, b); }
DOUBLES(M, f_max8)
#undef DOUBLES
static inline vf FN(f_same)(vf a) { return a; }
static inline vf FN(f_of_s)(vs a) { return FN(f_of_i)(FN(i_of_s)(a)); }
static inline vf FN(f_of_us)(vs a) { return FN(f_of_i)(FN(i_of_us)(a)); }

static inline vq FN(Q_zero)(void) { return FN(q_low)(); }
static inline vq FN(Q_ld)(const int64_t *p, int64_t plane) { (void)plane; return FN(q_ld)(p); }
static inline void FN(Q_st)(int64_t *p, int64_t plane, vq a) { (void)plane; FN(q_st)(p, a); }
static inline vq FN(Q_add)(vq a, vq b) { return FN(q_max)(a, b); }

/* the words that loads of other signs need */
static inline vi FN(i_i32)(const char *p) { return FN(i_ld)(p); }
static inline vi FN(i_u32)(const char *p) { return FN(i_flip)(FN(i_ld)(p)); }
static inline vi FN(in_i32)(const char *p, int n) { return FN(i_some)(p, n); }
static inline vi FN(in_u32)(const char *p, int n) { return FN(i_flip)(FN(i_some)(p, n)); }
static inline vq FN(x_u64)(const char *p) { return FN(q_flip)(FN(x_64)(p)); }
static inline vq FN(xn_u64)(const char *p, int n) { return FN(q_flip)(FN(xn_64)(p, n)); }

/* The tree of plan.py: `count` columns that lie `step` apart, each a vector, folded by halves. */
#define FOLDED(K, A, ACC)                                                                                          \
    static inline __attribute__((always_inline)) A FN(K##_folded)(const ACC *p, int64_t plane, int64_t step, int64_t count) \
    {                                                                                                              \
        A a[CPOOL_LANES];                                                                                          \
        switch (count) {                                                                                           \
        case 0:                                                                                                    \
            return FN(K##_zero)();                                                                                 \
        case 1:                                                                                                    \
            return FN(K##_ld)(p, plane);                                                                           \
        case 2:                                                                                                    \
            return FN(K##_add)(FN(K##_ld)(p, plane), FN(K##_ld)(p + step, plane));                                 \
        case 3:                                                                                                    \
        case 4:                                                                                                    \
            a[0] = FN(K##_add)(FN(K##_ld)(p, plane), FN(K##_ld)(p + 2 * step, plane));                             \
            a[1] = FN(K##_ld)(p + step, plane);                                                                    \
            return FN(K##_add)(a[0], count == 3 ? a[1] : FN(K##_add)(a[1], FN(K##_ld)(p + 3 * step, plane)));      \
        }                                                                                                          \
        int64_t half = 4; /* the first halving straight from memory: only what has a partner is added */           \
        while (2 * half < count)                                                                                   \
            half *= 2;                                                                                             \
        for (int64_t l = 0; l < half; l++)                                                                         \
            a[l] = FN(K##_ld)(p + l * step, plane);                                                                \
        for (int64_t l = 0; l + half < count; l++)                                                                 \
            a[l] = FN(K##_add)(a[l], FN(K##_ld)(p + (l + half) * step, plane));                                    \
        for (half /= 2; half; half /= 2)                                                                           \
            for (int64_t l = 0; l < half; l++)                                                                     \
                a[l] = FN(K##_add)(a[l], a[l + half]);                                                             \
        return a[0];                                                                                               \
    }
FOLDED(F, vf, double)
FOLDED(D, vd, double)
FOLDED(I, vi, int32_t)
FOLDED(K, vw, int64_t)
FOLDED(M, vf, double)
FOLDED(Q, vq, int64_t)
#undef FOLDED

/* ---- folding: one scalar sum out of a few columns, by halves: l + (l+16), l + (l+8), ... l + (l+1) --------- */

static inline void FN(F_tree)(const double *line, int64_t plane, int64_t step, int64_t count, double *sum, int64_t out)
{
    double a[CPOOL_LANES] = {0.0};
    (void)plane, (void)out;
    for (int64_t i = 0; i < count; i++)
        a[i] = line[i * step];
    for (int64_t half = CPOOL_LANES / 2; half; half /= 2)
        for (int64_t l = 0; l < half && l + half < count; l++)
            a[l] += a[l + half];
    *sum = a[0];
}
static inline void FN(D_tree)(const double *line, int64_t plane, int64_t step, int64_t count, double *sum, int64_t out)
{
    cpool_pair a[CPOOL_LANES] = {{0.0, 0.0}};
    for (int64_t i = 0; i < count; i++)
        a[i] = (cpool_pair){line[i * step], line[i * step + plane]};
    for (int64_t half = CPOOL_LANES / 2; half; half /= 2)
        for (int64_t l = 0; l < half && l + half < count; l++)
            a[l] = cpool_pair_add(a[l], a[l + half]);
    sum[0] = a[0].hi;
    sum[out] = a[0].lo;
}
/* Integers are exact in any order. Sums of 8 and 16 bits are 32 bits wide, and a block of them fits; a double holds it. */
static inline void FN(I_tree)(const int32_t *line, int64_t plane, int64_t step, int64_t count, double *sum, int64_t out)
{
    int64_t total = 0;
    (void)plane, (void)out;
    for (int64_t i = 0; i < count; i++)
        total += line[i * step];
    *sum = (double)total;
}
static inline void FN(U_tree)(const int32_t *line, int64_t plane, int64_t step, int64_t count, double *sum, int64_t out)
{
    int64_t total = 0;
    (void)plane, (void)out;
    for (int64_t i = 0; i < count; i++)
        total += (uint32_t)line[i * step];
    *sum = (double)total;
}
static inline void FN(K_tree)(const int64_t *line, int64_t plane, int64_t step, int64_t count, double *sum, int64_t out)
{
    int64_t low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        low += line[i * step];
        high += line[i * step + plane];
    }
    cpool_wide wide = cpool_wide_halves(high, low);
    memcpy(sum, &wide.high, 8);
    memcpy(sum + out, &wide.low, 8);
}

static inline void FN(M_tree)(const double *line, int64_t plane, int64_t step, int64_t count, double *sum, int64_t out)
{
    double most = line[0];
    (void)plane, (void)out;
    for (int64_t i = 1; i < count; i++)
        most = cpool_max(most, line[i * step]);
    *sum = most;
}
static inline void FN(Q_tree)(const int64_t *line, int64_t plane, int64_t step, int64_t count, double *sum, int64_t out)
{
    int64_t most = line[0];
    (void)plane, (void)out;
    for (int64_t i = 1; i < count; i++)
        most = line[i * step] > most ? line[i * step] : most;
    memcpy(sum, &most, 8);
}

#if HAS_PERM
/* Eight windows of a few columns out of sixteen neighbours: term t of each is one pick, and terms fold by halves. */
static inline vd FN(D_pick)(vd a, vd b, const int64_t *index)
{
    return (vd){FN(f_pick)(a.hi, b.hi, index), FN(f_pick)(a.lo, b.lo, index)};
}
#define PICKED(NAME, A, PICK, ADD, NONE)                                                                           \
    static inline __attribute__((always_inline)) A FN(NAME)(A a, A b, const int64_t *entry)                        \
    {                                                                                                              \
        const int64_t terms = entry[1];                                                                            \
        entry += 2;                                                                                                \
        A t[8];                                                                                                    \
        t[0] = FN(PICK)(a, b, entry);                                                                              \
        if (terms <= 2)                                                                                            \
            return terms == 2 ? FN(ADD)(t[0], FN(PICK)(a, b, entry + 8)) : t[0];                                   \
        if (terms <= 4) {                                                                                          \
            t[0] = FN(ADD)(t[0], FN(PICK)(a, b, entry + 16));                                                      \
            t[1] = FN(PICK)(a, b, entry + 8);                                                                      \
            return FN(ADD)(t[0], terms == 4 ? FN(ADD)(t[1], FN(PICK)(a, b, entry + 24)) : t[1]);                   \
        }                                                                                                          \
        for (int64_t k = 1; k < 8; k++)                                                                            \
            t[k] = k < terms ? FN(PICK)(a, b, entry + 8 * k) : NONE;                                               \
        for (int64_t half = 4; half; half /= 2)                                                                    \
            for (int64_t k = 0; k < half; k++)                                                                     \
                t[k] = FN(ADD)(t[k], t[k + half]);                                                                 \
        return t[0];                                                                                               \
    }
PICKED(F_picked, vf, f_pick, f_add, FN(f_zero)())
PICKED(F_picked_any, vf, f_pick_any, f_add, FN(f_zero)())
PICKED(IF_picked, vf, f_pick, f_add, FN(f_zero)())
PICKED(UF_picked, vf, f_pick, f_add, FN(f_zero)())
PICKED(D_picked, vd, D_pick, D_add, FN(D_zero)())
PICKED(M_picked, vf, f_pick_any, f_max, t[0]) /* absent terms repeat the first */
PICKED(M_picked_any, vf, f_pick_any, f_max, t[0])
#undef PICKED
#endif
