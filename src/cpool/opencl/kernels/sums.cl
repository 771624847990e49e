/* Sums, and how they become averages: divided and rounded once. Compensated where a plain sum would not do. */

/* ---- pairs: a sum, and what its roundings left ------------------------------------------------------ */

#if defined FP64
typedef double real;
#define SCALE 0x1p-256
#define HUGE 0x1p+900
#define TINY 0x1p-700
#define SMALLEST 0x1p-1074
#define NORMAL 0x1p-1022
#else
typedef float real;
#define SCALE 0x1p-64f
#define HUGE 0x1p+80f
#define TINY 0x1p-60f
#define SMALLEST 0x1p-149f
#define NORMAL 0x1p-126f
#endif

typedef struct {
    real high, low;
} pair;

static inline pair pair_of(real high, real low)
{
    pair p;
    p.high = high;
    p.low = low;
    return p;
}

static inline int is_finite(real x) { return x - x == 0; }

/* Knuth's two-sum; what it leaves is only kept while the sum is finite. */
static inline pair pair_add(pair p, real x)
{
    const real sum = p.high + x, part = sum - p.high;
    const real rest = (p.high - (sum - part)) + (x - part);
    return pair_of(sum, p.low + rest);
}

static inline pair pair_tidy(pair p)
{
    const real sum = p.high + p.low;
    return is_finite(sum) ? pair_of(sum, p.low - (sum - p.high)) : pair_of(p.high, 0);
}

static inline pair pair_join(pair a, pair b)
{
    const pair sum = pair_add(a, b.high);
    return pair_tidy(pair_of(sum.high, sum.low + b.low));
}

/* A divisor below 2^53, in as many parts as it takes. */
static inline pair divisor_of(long d)
{
#ifdef FP64
    return pair_of((double)d, 0);
#else
    const ulong a = d < 0 ? -(ulong)d : (ulong)d;
    const float high = (float)(uint)(a >> 30) * 0x1p30f, middle = (float)(uint)(a >> 15 & 0x7fff) * 0x1p15f,
                low = (float)(uint)(a & 0x7fff);
    pair p = pair_add(pair_add(pair_of(high, 0), middle), low);
    p = pair_tidy(p);
    return d < 0 ? pair_of(-p.high, -p.low) : p;
#endif
}

/* The quotient, and what is missing: whatever the device's division does, both together are right. */
static inline pair pair_quotient(pair p, pair d)
{
    const real q = p.high / d.high;
    if (!is_finite(q) || !is_finite(p.low))
        return pair_of(q, 0);
    const real rest = (fma(-q, d.high, p.high) + p.low) - q * d.low;
    return pair_of(q, rest / d.high);
}

/* Sums of pairs in which nothing runs over: what is huge is kept apart, scaled. */
typedef struct {
    pair normal, huge;
#ifdef DIVIDED
    pair tiny;
#endif
} pairs;

static inline pairs pairs_zero(void)
{
    pairs s;
    s.normal = s.huge = pair_of(0, 0);
#ifdef DIVIDED
    s.tiny = s.normal;
#endif
    return s;
}

static inline void pairs_add(pairs *s, real x)
{
    if (fabs(x) < HUGE)
        s->normal = pair_add(s->normal, x);
    else
        s->huge = pair_tidy(pair_add(s->huge, x * SCALE));
}

#ifdef DIVIDED
/* The quotient of x, as a pair; scaled where it might leave something that is too small. */
static inline void pairs_add_quotient(pairs *s, real x, pair d)
{
    const int small = fabs(x) < TINY, large = !(fabs(x) < HUGE);
    const pair q = pair_quotient(pair_of(small ? x / SCALE : large ? x * SCALE : x, 0), d);
    if (small)
        s->tiny = pair_join(s->tiny, q);
    else if (large)
        s->huge = pair_join(s->huge, q);
    else
        s->normal = pair_join(s->normal, q);
}
#endif

static inline void pairs_tidy(pairs *s) { s->normal = pair_tidy(s->normal); }

static inline void pairs_join(pairs *s, pairs more)
{
    s->normal = pair_join(s->normal, more.normal);
    s->huge = pair_join(s->huge, more.huge);
#ifdef DIVIDED
    s->tiny = pair_join(s->tiny, more.tiny);
#endif
}

/* A pair times SCALE, rounded once, though the result may have fewer bits. */
static inline real scaled_down(pair untidy)
{
    const pair q = pair_tidy(untidy);
    const real result = q.high * SCALE, half_unit = SMALLEST / SCALE / 2;
    const real rest = (q.high - result / SCALE) + q.low;
    if (!(fabs(result) < NORMAL))
        return result;
    return result + (rest > half_unit ? SMALLEST : rest < -half_unit ? -SMALLEST : 0);
}

/* The sum divided and rounded; a zero has no sign. */
static inline real pairs_quotient(pairs s, pair d)
{
    pair sum = pair_tidy(s.normal);
#ifdef DIVIDED
    const pair tiny = s.tiny;
#else
    const pair tiny = pair_of(0, 0);
#endif
    if (s.huge.high == 0 && fabs(sum.high) < TINY && is_finite(tiny.high))
        return scaled_down(pair_quotient(pair_join(tiny, pair_of(sum.high / SCALE, sum.low / SCALE)), d)) + 0;
    sum = pair_join(sum, pair_of(tiny.high * SCALE, tiny.low * SCALE));
    if (s.huge.high == 0) {
        const pair q = pair_quotient(sum, d);
        return q.high + q.low + 0;
    }
    if (!is_finite(sum.high) || !is_finite(s.huge.high))
        return (sum.high + s.huge.high) / d.high;
    sum = pair_join(s.huge, pair_of(sum.high * SCALE, sum.low * SCALE));
    const pair q = pair_quotient(sum, d);
    return (q.high + q.low) / SCALE + 0;
}

/* ---- integers of 128 bits ------------------------------------------------------------------------------- */

typedef struct {
    long high;
    ulong low;
} wide;

static inline wide wide_from(long high, ulong low)
{
    wide w;
    w.high = high;
    w.low = low;
    return w;
}

/* By its bit: llvmpipe's compilers take a sign that they extended for a positive one. */
static inline int is_negative(long x) { return (int)((ulong)x >> 63); }

static inline wide wide_of(long x) { return wide_from(-(long)is_negative(x), (ulong)x); }

static inline wide wide_add(wide a, wide b)
{
    const ulong low = a.low + b.low;
    return wide_from(a.high + b.high + (low < b.low), low);
}

static inline wide wide_minus(wide a) { return wide_from((long)(~(ulong)a.high + (a.low == 0)), -a.low); }

/* What isn't negative, as a pair that is exact or good to twice the bits of a real. */
static inline pair wide_pair(wide a)
{
    pair p = pair_of(0, 0);
    for (int k = 3; k >= 0; k--) { /* exactly: 16 bits fit any real, and a pair takes them in order */
        const ulong part = k >= 2 ? (ulong)a.high : a.low;
        const uint bits = (uint)(part >> 32 * (k & 1));
        real unit = 1;
        for (int i = 0; i < k; i++)
            unit *= (real)4294967296.0f;
        p = pair_tidy(pair_add(p, (real)(bits >> 16) * (unit * 65536)));
        p = pair_tidy(pair_add(p, (real)(bits & 0xffff) * unit));
    }
    return p;
}

static inline real wide_quotient(wide sum, long d)
{
    const int negative = is_negative(sum.high);
    const pair q = pair_quotient(wide_pair(negative ? wide_minus(sum) : sum), divisor_of(d));
    const real result = q.high + q.low;
    return (negative ? -result : result) + 0;
}

static inline real long_quotient(long sum, long d)
{
#ifdef FP64
    if (sum < 1L << 51 && sum > -(1L << 51))
        return (double)sum / (double)d + 0.0;
#endif
    return wide_quotient(wide_of(sum), d);
}

/* |sum| / |d|, to the nearest, halves to the even one, as bits of 128. */
static inline wide wide_divide(wide a, ulong d)
{
    wide q = {0, 0};
    ulong rest;
    if (a.high == 0) {
        q.low = a.low / d;
        rest = a.low - q.low * d;
    } else {
        rest = 0;
        for (int i = 127; i >= 0; i--) {
            rest = rest << 1 | ((i >= 64 ? (ulong)a.high >> (i - 64) : a.low >> i) & 1);
            if (rest >= d) {
                rest -= d;
                if (i >= 64)
                    q.high |= (long)(1UL << (i - 64));
                else
                    q.low |= 1UL << i;
            }
        }
    }
    if (2 * rest > d || (2 * rest == d && q.low & 1))
        q = wide_add(q, wide_of(1));
    return q;
}

#ifdef SUM_BITS
/* ---- doubles, where there are none: a whole number times a power of two ------------------------------- */

#define ROOM 32 /* bits below an element's last: what many shifts to the right lose is nothing in a float */
#define NOT_A_NUMBER 1
#define INFINITE 2
#define MINUS_INFINITE 4

typedef struct {
    wide sum;
    int exponent; /* biased as a double's, of the unit of an element whose last bit lies ROOM above the sum's */
    int told;
} bits_sum;

static inline bits_sum bits_zero(void)
{
    bits_sum s;
    s.sum = wide_of(0);
    s.exponent = 1;
    s.told = 0;
    return s;
}

/* a / 2^n, rounded down. */
static inline wide wide_shift(wide a, int n)
{
    const long sign = -(long)is_negative(a.high);
    if (n > 127)
        return wide_from(sign, (ulong)sign);
    if (n > 63) {
        a.low = (ulong)a.high;
        a.high = sign;
        n -= 64;
    }
    if (n == 0)
        return a;
    return wide_from((long)((ulong)a.high >> n | (ulong)sign << (64 - n)), a.low >> n | (ulong)a.high << (64 - n));
}

static inline void bits_join(bits_sum *s, bits_sum more)
{
    const int exponent = max(s->exponent, more.exponent);
    s->sum = wide_add(wide_shift(s->sum, exponent - s->exponent), wide_shift(more.sum, exponent - more.exponent));
    s->exponent = exponent;
    s->told |= more.told;
}

static inline void bits_add(bits_sum *s, ulong x)
{
    const int exponent = (int)(x >> 52) & 0x7ff, negative = (int)(x >> 63);
    const ulong fraction = x & ((1UL << 52) - 1), whole = exponent ? fraction | 1UL << 52 : fraction;
    if (exponent == 0x7ff) {
        s->told |= fraction ? NOT_A_NUMBER : negative ? MINUS_INFINITE : INFINITE;
        return;
    }
    bits_sum more = bits_zero();
    more.sum = wide_from((long)(whole >> (64 - ROOM)), whole << ROOM);
    if (negative)
        more.sum = wide_minus(more.sum);
    more.exponent = max(exponent, 1);
    bits_join(s, more);
}

static inline float bits_quotient(bits_sum s, long d)
{
    if (s.told & NOT_A_NUMBER || s.told == (INFINITE | MINUS_INFINITE))
        return NAN;
    if (s.told)
        return (s.told == INFINITE) == (d > 0) ? INFINITY : -INFINITY;
    return ldexp(wide_quotient(s.sum, d), s.exponent - 1075 - ROOM) + 0;
}
#endif

#ifdef O_INTEGER
static inline void put_integer(target p, wide sum, long d)
{
    const int below = is_negative(sum.high), negative = below != is_negative(d);
    const wide q = wide_divide(below ? wide_minus(sum) : sum, is_negative(d) ? -(ulong)d : (ulong)d);
    if (negative) {
        const wide least = wide_minus(wide_of(LEAST));
        const int beyond = q.high > 0 || (q.high == 0 && q.low > least.low);
        PUT_LONG(p, beyond ? LEAST : (long)(-q.low));
    } else {
        const int beyond = q.high > 0 || q.low > MOST;
        PUT_LONG(p, beyond ? MOST : q.low);
    }
}
#endif

/* ---- the kinds of sums, by one set of names -------------------------------------------------------------- */

#if defined SUM_DOUBLE
static inline void finish(target p, double s, long d) { PUT_FLOAT(p, s / (double)d + 0.0); }
#elif defined SUM_LONG && defined O_INTEGER
static inline void finish(target p, long s, long d) { put_integer(p, wide_of(s), d); }
#elif defined SUM_LONG
static inline void finish(target p, long s, long d) { PUT_FLOAT(p, long_quotient(s, d)); }
#endif

#if defined SIDE || defined ALONG || defined LINE
#if defined SUM_DOUBLE
typedef double single;
typedef double8 several;
#if defined X_F16
static inline several values_at(source p, long left)
{
    if (left >= 8)
        return convert_double8(vload_half8(0, (const __global half *)p));
    double some[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < left; i++)
        some[i] = value_at(p + 2 * i);
    return vload8(0, some);
}
#elif defined X_BF16
static inline several values_at(source p, long left)
{
    return convert_double8(as_float8(convert_uint8(raws_at(p, left)) << 16));
}
#else
static inline several values_at(source p, long left) { return convert_double8(as_float8(raws_at(p, left))); }
#endif
#else
typedef long single;
typedef long8 several;
#if defined X_I8
static inline several values_at(source p, long left) { return convert_long8(as_char8(raws_at(p, left))); }
#elif defined X_I16
static inline several values_at(source p, long left) { return convert_long8(as_short8(raws_at(p, left))); }
#elif defined X_I32
static inline several values_at(source p, long left) { return convert_long8(as_int8(raws_at(p, left))); }
#else
static inline several values_at(source p, long left) { return convert_long8(raws_at(p, left)); }
#endif
#endif
#ifdef SUM_DOUBLE
/* The last so many, zeros before. Not of integers: llvmpipe, which has no doubles, picks the wrong ones. */
#define LAST(v, n) select((several)0, v, (long8)(8, 7, 6, 5, 4, 3, 2, 1) <= (long8)(n))
#endif
static inline single folded(several v)
{
    const single x = (v.s0 + v.s4) + (v.s2 + v.s6), y = (v.s1 + v.s5) + (v.s3 + v.s7);
    return x + y;
}
#endif

#if defined SIDE

typedef several total;
#define NOTHING 0
static inline void join(total *s, total more) { *s += more; }

#elif defined SUM_DOUBLE

typedef double total;
#define NOTHING 0.0
static inline void add(total *s, double x) { *s += x; }
#ifdef DIVIDED
static inline void add_quotient(total *s, double x, long d) { *s += x / (double)d; }
#endif
static inline void tidy(total *s) {}
static inline void join(total *s, total more) { *s += more; }

#elif defined SUM_PAIR

typedef pairs total;
#define NOTHING pairs_zero()
static inline void add(total *s, real x) { pairs_add(s, x); }
#ifdef DIVIDED
static inline void add_quotient(total *s, real x, long d) { pairs_add_quotient(s, x, divisor_of(d)); }
#endif
static inline void tidy(total *s) { pairs_tidy(s); }
static inline void join(total *s, total more) { pairs_join(s, more); }
static inline void finish(target p, total s, long d) { PUT_FLOAT(p, pairs_quotient(s, divisor_of(d))); }

#elif defined SUM_BITS

typedef bits_sum total;
#define NOTHING bits_zero()
static inline void add(total *s, ulong x) { bits_add(s, x); }
static inline void tidy(total *s) {}
static inline void join(total *s, total more) { bits_join(s, more); }
static inline void finish(target p, total s, long d) { PUT_FLOAT(p, bits_quotient(s, d)); }

#elif defined SUM_LONG

typedef long total;
#define NOTHING 0L
static inline void add(total *s, long x) { *s += x; }
static inline void tidy(total *s) {}
static inline void join(total *s, total more) { *s += more; }

#elif defined SUM_WIDE

typedef wide total;
#define NOTHING wide_of(0)
#ifdef X_U64
static inline void add(total *s, ulong x)
{
    *s = wide_add(*s, wide_from(0, x));
}
#else
static inline void add(total *s, long x) { *s = wide_add(*s, wide_of(x)); }
#endif
static inline void tidy(total *s) {}
static inline void join(total *s, total more) { *s = wide_add(*s, more); }
#ifdef O_INTEGER
static inline void finish(target p, total s, long d) { put_integer(p, s, d); }
#else
static inline void finish(target p, total s, long d) { PUT_FLOAT(p, wide_quotient(s, d)); }
#endif

#endif
