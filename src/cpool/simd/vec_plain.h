/* The vocabulary in plain C, for every other processor and compiler. Eight lanes are some parts: vectors of 16 bytes
 * where the compiler has them (gcc and clang make SSE2, NEON and the like of them), single lanes elsewhere. */

#if (defined(__clang__) || __GNUC__ >= 9) && !defined(CPOOL_PLAIN) /* earlier ones can't convert vectors */
#define PART_BYTES(TYPE) (8 * sizeof(TYPE) < 16 ? 8 * sizeof(TYPE) : 16)
#define PART(NAME, TYPE) typedef TYPE NAME __attribute__((vector_size(PART_BYTES(TYPE))))
#define PARTS(TYPE) (8 * sizeof(TYPE) / PART_BYTES(TYPE))
#define PER(a) (sizeof (a).q[0] / sizeof (a).q[0][0])
#define LANE(a, k) ((a).q[(size_t)(k) / PER(a)][(size_t)(k) % PER(a)])
/* One part or the other, lane by lane; B: the lanes' bits as integers. */
#define CHOSEN(L, B, test, a, b) \
    ((FN(L##_part))(((FN(B##_part))(a) & (test)) | ((FN(B##_part))(b) & ~(test))))
/* cpool_max of each lane: neither of them is the smaller, or it is dropped. */
#define LARGER(L, B, MAX, a, b) \
    ((FN(L##_part))(((FN(B##_part))(a) & ~((b) > (a))) | ((FN(B##_part))(b) & ~((a) > (b)))))
#else
#define PART(NAME, TYPE) typedef TYPE NAME
#define PARTS(TYPE) 8
#define LANE(a, k) ((a).q[k])
#define CHOSEN(L, B, test, a, b) ((test) ? (a) : (b))
#define LARGER(L, B, MAX, a, b) MAX(a, b)
#endif
#define EACH for (int k = 0; k < 8; k++)
#define EACH_PART(a) for (size_t k = 0; k < sizeof (a).q / sizeof (a).q[0]; k++)

/* 64 bytes to memory that is in no cache, and the last of them: an ordinary copy. */
static inline void FN(stream)(char *to, const char *from) { memcpy(to, from, 64); }
static inline void FN(streamed)(void) {}

#define LANES(L, TYPE)                                                                                             \
    PART(FN(L##_part), TYPE);                                                                                      \
    typedef struct { FN(L##_part) q[PARTS(TYPE)]; } FN(v##L);
LANES(f, double)
LANES(h, float)
LANES(q, int64_t)
LANES(i, int32_t)
LANES(s, int16_t)
LANES(b, int8_t)
LANES(uq, uint64_t)
LANES(ui, uint32_t)
LANES(us, uint16_t)
LANES(ub, uint8_t)
#undef LANES
#define vf FN(vf)
#define vh FN(vh)
#define vq FN(vq)
#define vi FN(vi)
#define vs FN(vs)

/* Of every type of lanes: memory, the first n of them with zeros behind, all the same. */
#define WORDS(L, V, TYPE)                                                                                          \
    static inline V FN(L##_ld)(const void *p)                                                                      \
    {                                                                                                              \
        V r;                                                                                                       \
        EACH_PART(r) memcpy(&r.q[k], (const char *)p + k * sizeof r.q[0], sizeof r.q[0]);                          \
        return r;                                                                                                  \
    }                                                                                                              \
    static inline V FN(L##_some)(const void *p, int n)                                                             \
    {                                                                                                              \
        TYPE x[8] = {0};                                                                                           \
        cpool_copy_tail(x, p, n, sizeof(TYPE));                                                                    \
        return FN(L##_ld)(x);                                                                                      \
    }                                                                                                              \
    static inline void FN(L##_st)(void *p, V a)                                                                    \
    {                                                                                                              \
        EACH_PART(a) memcpy((char *)p + k * sizeof a.q[0], &a.q[k], sizeof a.q[0]);                                \
    }                                                                                                              \
    static inline V FN(L##_set)(TYPE a) { TYPE x[8]; EACH x[k] = a; return FN(L##_ld)(x); }                            \
    static inline V FN(L##_zero)(void) { return FN(L##_set)(0); }
WORDS(f, vf, double)
WORDS(h, vh, float)
WORDS(q, vq, int64_t)
WORDS(i, vi, int32_t)
WORDS(s, vs, int16_t)
WORDS(b, FN(vb), int8_t)
WORDS(ui, FN(vui), uint32_t)
WORDS(us, FN(vus), uint16_t)
WORDS(ub, FN(vub), uint8_t)
#undef WORDS
/* Accumulators without the detour by `some`. */
static inline vf FN(f_ldn)(const double *p, int n) { vf r = FN(f_zero)(); EACH LANE(r, k) = k < n ? p[k] : 0.0; return r; }

/* Lanes of one type as those of another. */
#ifdef PER
#define CONVERT(NAME, R, TYPE, A)                                                                                  \
    static inline R FN(NAME)(A a)                                                                                  \
    {                                                                                                              \
        typedef TYPE some __attribute__((vector_size(PER(a) * sizeof(TYPE))));                                     \
        R r;                                                                                                       \
        EACH_PART(a)                                                                                               \
        {                                                                                                          \
            const some part = __builtin_convertvector(a.q[k], some);                                               \
            memcpy((char *)r.q + k * sizeof part, &part, sizeof part);                                             \
        }                                                                                                          \
        return r;                                                                                                  \
    }
static inline void FN(to_f32)(char *p, vf a)
{
    typedef float some __attribute__((vector_size(PER(a) * sizeof(float))));
    EACH_PART(a)
    {
        const some part = __builtin_convertvector(a.q[k], some);
        memcpy(p + k * sizeof part, &part, sizeof part);
    }
}
#else
static inline void FN(to_f32)(char *p, vf a) { EACH { const float x = (float)LANE(a, k); memcpy(p + 4 * k, &x, 4); } }
#define CONVERT(NAME, R, TYPE, A) static inline R FN(NAME)(A a) { R r; EACH LANE(r, k) = (TYPE)LANE(a, k); return r; }
#endif
CONVERT(f_of_h, vf, double, vh)
CONVERT(f_of_i, vf, double, vi)
CONVERT(f_of_ui, vf, double, FN(vui))
CONVERT(i_of_s, vi, int32_t, vs)
CONVERT(i_of_unsigned, vi, int32_t, FN(vus))
CONVERT(ui_of_us, FN(vui), uint32_t, FN(vus))
CONVERT(s_of_b, vs, int16_t, FN(vb))
CONVERT(s_of_ub, vs, int16_t, FN(vub))
#undef CONVERT
static inline vi FN(i_of_us)(vs a) { return FN(i_of_unsigned)(FN(us_ld)(&a)); }

static inline vf FN(f_add)(vf a, vf b) { EACH_PART(a) a.q[k] = a.q[k] + b.q[k]; return a; }
static inline vf FN(f_sub)(vf a, vf b) { EACH_PART(a) a.q[k] = a.q[k] - b.q[k]; return a; }
static inline vf FN(f_mul)(vf a, vf b) { EACH_PART(a) a.q[k] = a.q[k] * b.q[k]; return a; }
/* 2^n, whose biased exponent is in the last bits of n. */
static inline vf FN(f_power)(vf n)
{
    double x[8];
    uint64_t bits[8];
    FN(f_st)(x, n);
    memcpy(bits, x, sizeof bits);
    EACH bits[k] <<= 52;
    memcpy(x, bits, sizeof bits);
    return FN(f_ld)(x);
}
static inline vf FN(f_over)(vf a, vf b) { EACH_PART(a) a.q[k] = a.q[k] / b.q[k]; return a; }
static inline vf FN(f_div)(vf a, vf b, vf reciprocal) { (void)reciprocal; return FN(f_add)(FN(f_over)(a, b), FN(f_zero)()); }
static inline vf FN(f_rest)(vf q, vf d, vf s) { EACH LANE(s, k) = fma(-LANE(q, k), LANE(d, k), LANE(s, k)); return s; }

/* Integers wrap: as unsigned ones, part by part. */
#define WRAPS(L, U, OP)                                                                                            \
    { EACH_PART(a) a.q[k] = (FN(L##_part))((FN(U##_part))a.q[k] OP (FN(U##_part))b.q[k]); return a; }
static inline vq FN(q_add)(vq a, vq b) WRAPS(q, uq, +)
static inline vi FN(i_add)(vi a, vi b) WRAPS(i, ui, +)
static inline vs FN(s_add)(vs a, vs b) WRAPS(s, us, +)
#undef WRAPS
static inline vq FN(q_lower)(vq a) { EACH_PART(a) a.q[k] = a.q[k] & 0xffffffff; return a; }
static inline vq FN(q_high)(vq a) { EACH_PART(a) a.q[k] = a.q[k] >> 32; return a; }
static inline vq FN(q_uhigh)(vq a) { EACH_PART(a) a.q[k] = (FN(q_part))((FN(uq_part))a.q[k] >> 32); return a; }
static inline vi FN(i_flip)(vi a) { EACH_PART(a) a.q[k] = a.q[k] ^ INT32_MIN; return a; }
static inline vq FN(q_flip)(vq a) { EACH_PART(a) a.q[k] = a.q[k] ^ INT64_MIN; return a; }

/* Elements as lanes. */
static inline vh FN(h_of_bf16)(FN(vus) a)
{
    FN(vui) bits = FN(ui_of_us)(a);
    EACH_PART(bits) bits.q[k] = bits.q[k] << 16;
    return FN(h_ld)(&bits);
}
/* As if it were a float with another bias, which a product mends; infinities and NaN have all bits of the exponent. */
static inline vh FN(h_of_f16)(FN(vus) a)
{
    const vi x = FN(i_of_unsigned)(a);
    vi bits = x;
    EACH_PART(bits) bits.q[k] = (x.q[k] & 0x7fff) << 13;
    vh value = FN(h_ld)(&bits);
    EACH_PART(value) value.q[k] = value.q[k] * 0x1p112f;
    vi r = FN(i_ld)(&value);
    EACH_PART(r)
    {
        const FN(i_part) sign = (FN(i_part))((FN(ui_part))x.q[k] << 16 & 0x80000000u);
        r.q[k] = sign | CHOSEN(i, i, bits.q[k] < 0x0f800000, r.q[k], r.q[k] | 0x7f800000);
    }
    return FN(h_ld)(&r);
}
#define LOAD(WHOLE, SOME, V, L, OF)                                                                                \
    static inline V FN(WHOLE)(const char *p) { return OF(FN(L##_ld)(p)); }                                         \
    static inline V FN(SOME)(const char *p, int n) { return OF(FN(L##_some)(p, n)); }
LOAD(h_f16, hn_f16, vh, us, FN(h_of_f16))
LOAD(h_bf16, hn_bf16, vh, us, FN(h_of_bf16))
LOAD(h_f32, hn_f32, vh, h, )
LOAD(x_i8, xn_i8, vs, b, FN(s_of_b))
LOAD(x_u8, xn_u8, vs, ub, FN(s_of_ub))
LOAD(x_i16, xn_i16, vi, s, FN(i_of_s))
LOAD(x_u16, xn_u16, vi, us, FN(i_of_unsigned))
LOAD(x_i32, xn_i32, vf, i, FN(f_of_i))
LOAD(x_u32, xn_u32, vf, ui, FN(f_of_ui))
LOAD(x_64, xn_64, vq, q, )
LOAD(x_f64, xn_f64, vf, f, )
#undef LOAD
#define LOAD(TYPE)                                                                                                 \
    static inline vf FN(x_##TYPE)(const char *p) { return FN(f_of_h)(FN(h_##TYPE)(p)); }                           \
    static inline vf FN(xn_##TYPE)(const char *p, int n) { return FN(f_of_h)(FN(hn_##TYPE)(p, n)); }
LOAD(f16)
LOAD(bf16)
LOAD(f32)
#undef LOAD

/* The larger of two, the least of all, and the first lanes with others behind. */
static inline float FN(max_f)(float a, float b)
{
    return cpool_f32_bits(cpool_bits_f32(a > b ? a : b) | cpool_bits_f32(b > a ? b : a));
}
#define MAX_INT(a, b) ((a) > (b) ? (a) : (b))
#define LARGEST(L, V, B, TYPE, LEAST, MAX)                                                                         \
    static inline V FN(L##_max)(V a, V b) { EACH_PART(a) a.q[k] = LARGER(L, B, MAX, a.q[k], b.q[k]); return a; }   \
    static inline V FN(L##_low)(void) { return FN(L##_set)(LEAST); }                                               \
    static inline V FN(L##_first)(V a, int n, V b)                                                                 \
    {                                                                                                              \
        const V end = FN(L##_set)((TYPE)n);                                                                        \
        V at;                                                                                                      \
        EACH LANE(at, k) = (TYPE)k;                                                                                \
        EACH_PART(a) a.q[k] = CHOSEN(L, B, at.q[k] < end.q[k], a.q[k], b.q[k]);                                    \
        return a;                                                                                                  \
    }                                                                                                              \
    static inline V FN(L##_fill)(V a, int n) { return FN(L##_first)(a, n, FN(L##_low)()); }
LARGEST(f, vf, q, double, -(double)INFINITY, cpool_max)
LARGEST(h, vh, i, float, -INFINITY, FN(max_f))
LARGEST(q, vq, q, int64_t, INT64_MIN, MAX_INT)
LARGEST(i, vi, i, int32_t, INT32_MIN, MAX_INT)
LARGEST(s, vs, s, int16_t, INT16_MIN, MAX_INT)
#undef LARGEST
#undef MAX_INT
static inline vf FN(f_keep)(vf a, int n) { return FN(f_first)(a, n, FN(f_zero)()); }

static inline int FN(f_odd)(vf a) { int odd = 0; EACH odd |= LANE(a, k) == 0.0 && signbit(LANE(a, k)); return odd; }
static inline int FN(f_all_finite)(vf a) { int all = 1; EACH all &= LANE(a, k) - LANE(a, k) == 0.0; return all; }
static inline vf FN(f_if_finite)(vf test, vf a, vf b)
{
    EACH_PART(a) a.q[k] = CHOSEN(f, q, test.q[k] - test.q[k] == 0.0, a.q[k], b.q[k]);
    return a;
}

/* Rows become columns. */
static inline void FN(f_turn8)(vf v[8])
{
    vf turned[8];
    for (int i = 0; i < 8; i++)
        EACH LANE(turned[k], i) = LANE(v[i], k);
    for (int i = 0; i < 8; i++)
        v[i] = turned[i];
}
/* Lane i folds the lanes of v[i]: l with l+4, then l with l+2, then l with l+1. */
#ifdef PER
#define FOLD_LAST(OP, i)                                                                                           \
    if (i % 2) {                                                                                                   \
        const FN(f_part) even = {LANE(v[i - 1], 0), LANE(v[i], 0)}, odd = {LANE(v[i - 1], 1), LANE(v[i], 1)};      \
        r.q[i / 2] = OP(even, odd);                                                                                \
    }
#else
#define FOLD_LAST(OP, i) r.q[i] = v[i].q[0];
#endif
#define FOLD8(NAME, OP)                                                                                            \
    static inline vf FN(NAME)(const vf *from)                                                                      \
    {                                                                                                              \
        vf v[8], r;                                                                                                \
        for (int i = 0; i < 8; i++) {                                                                              \
            v[i] = from[i];                                                                                        \
            for (size_t half = PARTS(double) / 2; half; half /= 2)                                                 \
                for (size_t l = 0; l < half; l++)                                                                  \
                    v[i].q[l] = OP(v[i].q[l], v[i].q[l + half]);                                                   \
            FOLD_LAST(OP, i)                                                                                       \
        }                                                                                                          \
        return r;                                                                                                  \
    }
#define PLUS(a, b) ((a) + (b))
#define LARGER_F(a, b) LARGER(f, q, cpool_max, a, b)
FOLD8(f_fold8, PLUS)
FOLD8(f_max8, LARGER_F)
#undef PLUS
#undef LARGER_F
#undef FOLD_LAST
#undef FOLD8

/* Results. */
static inline void FN(to_f64)(char *p, vf a) { FN(f_st)(p, a); }
#define TO(TYPE, CTYPE, CONVERTED)                                                                                 \
    static inline void FN(to_##TYPE)(char *p, vf a)                                                                \
    {                                                                                                              \
        CTYPE x[8];                                                                                                \
        EACH                                                                                                       \
        {                                                                                                          \
            const double value = LANE(a, k);                                                                       \
            x[k] = (CTYPE)(CONVERTED);                                                                             \
        }                                                                                                          \
        memcpy(p, x, sizeof x);                                                                                    \
    }
/* As integers: rounded half to even, and no further than the type goes. */
#define WITHIN(LEAST, MOST) (value < (LEAST) ? (LEAST) : value > (MOST) ? (MOST) : rint(value))
TO(f16, uint16_t, cpool_to_f16((float)value))
TO(bf16, uint16_t, cpool_to_bf16((float)value))
TO(i8, int8_t, WITHIN(INT8_MIN, INT8_MAX))
TO(u8, uint8_t, WITHIN(0, UINT8_MAX))
TO(i16, int16_t, WITHIN(INT16_MIN, INT16_MAX))
TO(u16, uint16_t, WITHIN(0, UINT16_MAX))
#undef TO
#undef WITHIN

#undef PART
#undef PARTS
#undef PART_BYTES
#undef PER
#undef LANE
#undef CHOSEN
#undef LARGER
#undef EACH
#undef EACH_PART
#define HAS_PERM 0
#define STRIP 2
#define STRIPS(OF) OF(1) OF(2)
