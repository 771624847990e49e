/* What dense.c makes a small layer of: products, and functions of their sums. Included once per instruction set. */

/* Products of `r` rows of n weights with `b` rows of x, a sum for each pair, in eight lanes; what is less than r and b is
 * filled up by what is there. */
#define MULTIPLY(LD, LOAD, ...)                                                                                    \
    for (int k = 0; k < b; k++)                                                                                    \
        v[k] = LD((const char *)(from[k] + i) __VA_ARGS__);                                                        \
    for (int j = 0; j < r; j++) {                                                                                  \
        const vf weight = LOAD(row[j] + i * size __VA_ARGS__);                                                     \
        for (int k = 0; k < b; k++)                                                                                \
            acc[r * k + j] = FN(f_add)(acc[r * k + j], FN(f_mul)(v[k], weight));                                   \
    }
#define DENSE(TYPE, SIZE)                                                                                          \
    static inline __attribute__((always_inline)) void FN3(products, TYPE)(                                         \
        const double *x, int64_t images, const char *w, int64_t rows, int64_t n, double *sums, int b, int r)       \
    {                                                                                                              \
        const int64_t size = SIZE;                                                                                 \
        const double *from[4];                                                                                     \
        const char *row[8];                                                                                        \
        vf acc[16], v[4];                                                                                          \
        int64_t i = 0;                                                                                             \
        for (int k = 0; k < b; k++)                                                                                \
            from[k] = x + least(k, images - 1) * n;                                                                \
        for (int j = 0; j < r; j++)                                                                                \
            row[j] = w + least(j, rows - 1) * n * SIZE;                                                            \
        for (int k = 0; k < b * r; k++)                                                                            \
            acc[k] = FN(f_zero)();                                                                                 \
        for (; i + 8 <= n; i += 8) {                                                                               \
            MULTIPLY(FN(x_f64), FN(x_##TYPE))                                                                      \
        }                                                                                                          \
        if (i < n) {                                                                                               \
            MULTIPLY(FN(xn_f64), FN(xn_##TYPE), , (int)(n - i))                                                    \
        }                                                                                                          \
        for (int k = 0; k < b * r; k += 8)                                                                         \
            FN(f_st)(sums + k, FN(f_fold8)(acc + k));                                                              \
    }                                                                                                              \
    static void FN3(cpool_dense, TYPE)(const double *x, int64_t images, const char *w, int64_t rows, int64_t n,    \
                                       double sums[16])                                                            \
    {                                                                                                              \
        if (images == 1) {                                                                                         \
            FN3(products, TYPE)(x, 1, w, rows, n, sums, 1, 8);                                                     \
        } else if (HAS_PERM) { /* and so many registers */                                                         \
            FN3(products, TYPE)(x, images, w, rows, n, sums, 4, 4);                                                \
        } else {                                                                                                   \
            for (int64_t k = 0; k < images; k += 2)                                                                \
                FN3(products, TYPE)(x + k * n, least(images - k, 2), w, rows, n, sums + 4 * k, 2, 4);              \
        }                                                                                                          \
    }
DENSE(f32, 4)
DENSE(f64, 8)
#undef DENSE
#undef MULTIPLY

/* The same sums with a row in each lane: `w` is eight rows of n weights, turned, as doubles. What is a lane above is a
 * vector here, one for each row of x, and is folded in the same order. */
typedef struct {
    vf of[4];
} FN(four);
#define EACH_OF_FOUR(k) for (int k = 0; k < b; k++)
static inline __attribute__((always_inline)) FN(four) FN(turned_lane)(const double *const *x, const double *w,
                                                                      int64_t n, int b, int lane)
{
    FN(four) sum;
    EACH_OF_FOUR(k)
        sum.of[k] = FN(f_zero)();
    for (int64_t i = lane; i < n; i += 8) {
        const vf weight = FN(f_ld)(w + 8 * i);
        EACH_OF_FOUR(k)
            sum.of[k] = FN(f_add)(sum.of[k], FN(f_mul)(FN(f_set)(x[k][i]), weight));
    }
    return sum;
}
#define FOLDED(NAME, OF, APART)                                                                                    \
    static inline __attribute__((always_inline)) FN(four) FN(NAME)(const double *const *x, const double *w, int64_t n, \
                                                                   int b, int lane)                                \
    {                                                                                                              \
        FN(four) sum = FN(OF)(x, w, n, b, lane);                                                                   \
        const FN(four) more = FN(OF)(x, w, n, b, lane + APART);                                                    \
        EACH_OF_FOUR(k)                                                                                            \
            sum.of[k] = FN(f_add)(sum.of[k], more.of[k]);                                                          \
        return sum;                                                                                                \
    }
FOLDED(turned_two, turned_lane, 4)
FOLDED(turned_four, turned_two, 2)
FOLDED(turned_eight, turned_four, 1)
#undef FOLDED
static void FN(cpool_dense_turned)(const double *x, int64_t images, const double *w, int64_t n, const double bias[8],
                                   double *sums, int64_t step)
{
    enum { b = HAS_PERM ? 4 : 2 }; /* so many registers */
    for (int64_t first = 0; first < images; first += b) {
        const double *from[b];
        EACH_OF_FOUR(k)
            from[k] = x + least(first + k, images - 1) * n;
        const FN(four) sum = FN(turned_eight)(from, w, n, b, 0);
        EACH_OF_FOUR(k)
            if (first + k < images)
                FN(f_st)(sums + (first + k) * step, FN(f_add)(sum.of[k], FN(f_ld)(bias)));
    }
}
#undef EACH_OF_FOUR

/* e^x to an ULP or two, with the same bits everywhere: 2^n times a polynomial of what is left, at most half of log 2. 2^n in
 * two steps, so that only the last one runs over or under. */
static vf FN(exponential)(vf x)
{
    static const double terms[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                   1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5};
    const vf one = FN(f_set)(1.0), negative = FN(f_set)(-1.0), least = FN(f_set)(-800.0), magic = FN(f_set)(0x1.8p52);
    const vf biased = FN(f_set)(0x1.8p52 + 1023); /* its last bits are a whole number and the bias of an exponent */
    x = FN(f_mul)(FN(f_max)(FN(f_mul)(FN(f_max)(x, least), negative), least), negative);
    const vf n = FN(f_sub)(FN(f_add)(FN(f_mul)(x, FN(f_set)(0x1.71547652b82fep+0)), magic), magic);
    const vf high = FN(f_sub)(x, FN(f_mul)(n, FN(f_set)(0x1.62e42fee00000p-1)));
    const vf r = FN(f_sub)(high, FN(f_mul)(n, FN(f_set)(0x1.a39ef35793c76p-33)));
    vf p = FN(f_set)(1.0 / 6227020800);
    for (size_t k = 0; k < sizeof terms / sizeof *terms; k++)
        p = FN(f_add)(FN(f_mul)(p, r), FN(f_set)(terms[k]));
    p = FN(f_add)(FN(f_add)(FN(f_mul)(FN(f_mul)(p, r), r), r), one);
    const vf half = FN(f_sub)(FN(f_add)(FN(f_mul)(n, FN(f_set)(0.5)), magic), magic);
    p = FN(f_mul)(p, FN(f_power)(FN(f_add)(half, biased)));
    return FN(f_mul)(p, FN(f_power)(FN(f_add)(FN(f_sub)(n, half), biased)));
}

static inline vf FN(sigmoid)(vf x) /* e^-x may be infinite, which gives the right zero */
{
    const vf one = FN(f_set)(1.0);
    return FN(f_over)(one, FN(f_add)(one, FN(exponential)(FN(f_mul)(x, FN(f_set)(-1.0)))));
}

static inline vf FN(relu6)(vf x)
{
    const vf negative = FN(f_set)(-1.0), least = FN(f_mul)(FN(f_max)(x, FN(f_zero)()), negative);
    return FN(f_mul)(FN(f_max)(least, FN(f_set)(-6.0)), negative);
}

static inline vf FN(hardsigmoid)(vf x)
{
    return FN(f_over)(FN(relu6)(FN(f_add)(x, FN(f_set)(3.0))), FN(f_set)(6.0));
}

static inline __attribute__((always_inline)) vf FN(function_of)(int function, vf x)
{
    switch (function) {
    case CPOOL_RELU:
        return FN(f_max)(x, FN(f_zero)());
    case CPOOL_RELU6:
        return FN(relu6)(x);
    case CPOOL_SIGMOID:
        return FN(sigmoid)(x);
    case CPOOL_SILU:
        return FN(f_mul)(x, FN(sigmoid)(x));
    case CPOOL_HARDSIGMOID:
        return FN(hardsigmoid)(x);
    case CPOOL_HARDSWISH:
        return FN(f_mul)(x, FN(hardsigmoid)(x));
    case CPOOL_TANH: {
        double lanes[8];
        FN(f_st)(lanes, x);
        for (int k = 0; k < 8; k++)
            lanes[k] = tanh(lanes[k]);
        return FN(f_ld)(lanes);
    }
    default:
        return x;
    }
}

/* A function of each of n doubles, as doubles or (`single`) floats. NaN stays. */
static void FN(cpool_activate)(int function, const double *x, int64_t n, char *to, int single)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const vf y = FN(function_of)(function, FN(f_ld)(x + i));
        if (single)
            FN(to_f32)(to + i * 4, y);
        else
            FN(to_f64)(to + i * 8, y);
    }
    if (i < n) {
        const vf y = FN(function_of)(function, FN(f_ldn)(x + i, (int)(n - i)));
        if (single)
            FN(ton_f32)(to + i * 4, y, (int)(n - i));
        else
            FN(ton_f64)(to + i * 8, y, (int)(n - i));
    }
}
