/* The vocabulary in plain C, for every other processor and compiler: eight lanes are an array. */

typedef struct { double v[8]; } FN(vf);
typedef struct { int64_t v[8]; } FN(vq);
typedef struct { int32_t v[8]; } FN(vi);
typedef struct { int16_t v[8]; } FN(vs);
typedef struct { float v[8]; } FN(vh);
#define vh FN(vh)
#define vf FN(vf)
#define vq FN(vq)
#define vi FN(vi)
#define vs FN(vs)
#undef EACH
#define EACH for (int k = 0; k < 8; k++)

static inline vf FN(f_zero)(void) { vf r; EACH r.v[k] = 0.0; return r; }
static inline vf FN(f_add)(vf a, vf b) { EACH a.v[k] += b.v[k]; return a; }
static inline vf FN(f_mul)(vf a, vf b) { EACH a.v[k] *= b.v[k]; return a; }
static inline vf FN(f_sub)(vf a, vf b) { EACH a.v[k] -= b.v[k]; return a; }
static inline vf FN(f_ld)(const double *p) { vf r; EACH r.v[k] = p[k]; return r; }
static inline vf FN(f_ldn)(const double *p, int n) { vf r; EACH r.v[k] = k < n ? p[k] : 0.0; return r; }
static inline vf FN(f_keep)(vf a, int n) { EACH a.v[k] = k < n ? a.v[k] : 0.0; return a; }
static inline void FN(f_st)(double *p, vf a) { EACH p[k] = a.v[k]; }

static inline vq FN(q_zero)(void) { vq r; EACH r.v[k] = 0; return r; }
static inline vq FN(q_add)(vq a, vq b) { EACH a.v[k] += b.v[k]; return a; }
static inline vq FN(q_ld)(const void *p) { vq r; memcpy(&r, p, sizeof r); return r; }
static inline void FN(q_st)(void *p, vq a) { memcpy(p, &a, sizeof a); }

static inline vi FN(i_zero)(void) { vi r; EACH r.v[k] = 0; return r; }
static inline vi FN(i_add)(vi a, vi b) { EACH a.v[k] = (int32_t)((uint32_t)a.v[k] + (uint32_t)b.v[k]); return a; }
static inline vi FN(i_ld)(const void *p) { vi r; memcpy(&r, p, sizeof r); return r; }
static inline void FN(i_st)(void *p, vi a) { memcpy(p, &a, sizeof a); }

static inline vs FN(s_zero)(void) { vs r; EACH r.v[k] = 0; return r; }
static inline vs FN(s_add)(vs a, vs b) { EACH a.v[k] = (int16_t)((uint16_t)a.v[k] + (uint16_t)b.v[k]); return a; }
static inline vi FN(i_of_s)(vs a) { vi r; EACH r.v[k] = a.v[k]; return r; }
static inline vi FN(i_of_us)(vs a) { vi r; EACH r.v[k] = (uint16_t)a.v[k]; return r; }

#define PLAIN_LOAD(name, vector, type, convert) PLAIN_LOADS(x_##name, xn_##name, vector, type, convert)
#define PLAIN_LOADS(whole, some, vector, type, convert)                      \
    static inline vector FN(whole)(const char *p)                         \
    {                                                                        \
        type x[8];                                                           \
        vector r;                                                            \
        memcpy(x, p, sizeof x);                                              \
        EACH r.v[k] = convert(x[k]);                                         \
        return r;                                                            \
    }                                                                        \
    static inline vector FN(some)(const char *p, int n)                      \
    {                                                                        \
        type x[8] = {0};                                                     \
        vector r;                                                            \
        cpool_copy_tail(x, p, n, sizeof(type));                              \
        EACH r.v[k] = convert(x[k]);                                         \
        return r;                                                            \
    }
PLAIN_LOAD(f16, vf, uint16_t, cpool_from_f16)
PLAIN_LOAD(bf16, vf, uint16_t, cpool_from_bf16)
PLAIN_LOAD(f32, vf, float, )
PLAIN_LOAD(f64, vf, double, )
PLAIN_LOAD(i8, vs, int8_t, )
PLAIN_LOAD(u8, vs, uint8_t, )
PLAIN_LOAD(i16, vi, int16_t, )
PLAIN_LOAD(u16, vi, uint16_t, )
PLAIN_LOAD(i32, vq, int32_t, )
PLAIN_LOAD(u32, vq, uint32_t, )
PLAIN_LOAD(64, vq, int64_t, )
PLAIN_LOADS(h_f16, hn_f16, vh, uint16_t, cpool_from_f16)
PLAIN_LOADS(h_bf16, hn_bf16, vh, uint16_t, cpool_from_bf16)
PLAIN_LOADS(h_f32, hn_f32, vh, float, )
#undef PLAIN_LOAD
#undef PLAIN_LOADS
static inline vq FN(q_lower)(vq a) { EACH a.v[k] &= 0xffffffff; return a; }
static inline vq FN(q_high)(vq a) { EACH a.v[k] >>= 32; return a; }
static inline vq FN(q_uhigh)(vq a) { EACH a.v[k] = (int64_t)((uint64_t)a.v[k] >> 32); return a; }

static inline float FN(max_f)(float a, float b)
{
    return cpool_f32_bits(cpool_bits_f32(a > b ? a : b) | cpool_bits_f32(b > a ? b : a));
}
static inline vf FN(f_max)(vf a, vf b) { EACH a.v[k] = cpool_max(a.v[k], b.v[k]); return a; }
static inline vh FN(h_max)(vh a, vh b) { EACH a.v[k] = FN(max_f)(a.v[k], b.v[k]); return a; }
static inline vs FN(s_max)(vs a, vs b) { EACH a.v[k] = a.v[k] > b.v[k] ? a.v[k] : b.v[k]; return a; }
static inline vi FN(i_max)(vi a, vi b) { EACH a.v[k] = a.v[k] > b.v[k] ? a.v[k] : b.v[k]; return a; }
static inline vq FN(q_max)(vq a, vq b) { EACH a.v[k] = a.v[k] > b.v[k] ? a.v[k] : b.v[k]; return a; }
static inline vf FN(f_low)(void) { vf r; EACH r.v[k] = -(double)INFINITY; return r; }
static inline vh FN(h_low)(void) { vh r; EACH r.v[k] = -INFINITY; return r; }
static inline vs FN(s_low)(void) { vs r; EACH r.v[k] = INT16_MIN; return r; }
static inline vi FN(i_low)(void) { vi r; EACH r.v[k] = INT32_MIN; return r; }
static inline vq FN(q_low)(void) { vq r; EACH r.v[k] = INT64_MIN; return r; }
static inline vf FN(f_fill)(vf a, int n) { EACH a.v[k] = k < n ? a.v[k] : -(double)INFINITY; return a; }
static inline vh FN(h_fill)(vh a, int n) { EACH a.v[k] = k < n ? a.v[k] : -INFINITY; return a; }
static inline vs FN(s_fill)(vs a, int n) { EACH a.v[k] = k < n ? a.v[k] : INT16_MIN; return a; }
static inline vi FN(i_fill)(vi a, int n) { EACH a.v[k] = k < n ? a.v[k] : INT32_MIN; return a; }
static inline vq FN(q_fill)(vq a, int n) { EACH a.v[k] = k < n ? a.v[k] : INT64_MIN; return a; }
static inline vi FN(i_flip)(vi a) { EACH a.v[k] = (int32_t)((uint32_t)a.v[k] ^ 0x80000000u); return a; }
static inline vq FN(q_flip)(vq a) { EACH a.v[k] = (int64_t)((uint64_t)a.v[k] ^ (uint64_t)1 << 63); return a; }
static inline vf FN(f_of_h)(vh a) { vf r; EACH r.v[k] = a.v[k]; return r; }
static inline vf FN(f_of_i)(vi a) { vf r; EACH r.v[k] = a.v[k]; return r; }
static inline int FN(f_odd)(vf a) { int odd = 0; EACH odd |= a.v[k] == 0.0 && signbit(a.v[k]); return odd; }

#define FOLD8(NAME, OP)                                                                                            \
    static inline vf FN(NAME)(const vf v[8])                                                                       \
    {                                                                                                              \
        vf r;                                                                                                      \
        for (int i = 0; i < 8; i++) {                                                                              \
            const double *x = v[i].v;                                                                              \
            r.v[i] = OP(OP(OP(x[0], x[4]), OP(x[2], x[6])), OP(OP(x[1], x[5]), OP(x[3], x[7])));                    \
        }                                                                                                          \
        return r;                                                                                                  \
    }
#define PLUS(a, b) ((a) + (b))
FOLD8(f_fold8, PLUS)
FOLD8(f_max8, cpool_max)
#undef PLUS
#undef FOLD8

static inline vf FN(f_div)(vf s, vf d, vf r)
{
    (void)r;
    EACH s.v[k] = s.v[k] / d.v[k] + 0.0;
    return s;
}
static inline vf FN(f_over)(vf a, vf b) { EACH a.v[k] /= b.v[k]; return a; }
static inline vf FN(f_rest)(vf q, vf d, vf s) { EACH s.v[k] = fma(-q.v[k], d.v[k], s.v[k]); return s; }
static inline vf FN(f_if_finite)(vf test, vf a, vf b) { EACH b.v[k] = test.v[k] - test.v[k] == 0.0 ? a.v[k] : b.v[k]; return b; }
static inline int FN(f_all_finite)(vf a) { int all = 1; EACH all &= a.v[k] - a.v[k] == 0.0; return all; }
/* Rows become columns. */
static inline void FN(f_turn8)(vf v[8])
{
    double x[8][8];
    for (int i = 0; i < 8; i++)
        EACH x[k][i] = v[i].v[k];
    for (int i = 0; i < 8; i++)
        EACH v[i].v[k] = x[i][k];
}
static inline vf FN(f_set)(double a) { vf r; EACH r.v[k] = a; return r; }
static inline void FN(to_f64)(char *p, vf a) { memcpy(p, &a, sizeof a); }
static inline void FN(to_f32)(char *p, vf a)
{
    float x[8];
    EACH x[k] = (float)a.v[k];
    memcpy(p, x, sizeof x);
}
static inline void FN(to_f16)(char *p, vf a)
{
    uint16_t x[8];
    EACH x[k] = cpool_to_f16((float)a.v[k]);
    memcpy(p, x, sizeof x);
}
static inline void FN(to_bf16)(char *p, vf a)
{
    uint16_t x[8];
    EACH x[k] = cpool_to_bf16((float)a.v[k]);
    memcpy(p, x, sizeof x);
}

/* As integers: rounded half to even, and no further than the type goes. */
#define TO_INTEGER(TYPE, CTYPE, LEAST, MOST)                                 \
    static inline void FN(to_##TYPE)(char *p, vf a)                          \
    {                                                                        \
        CTYPE x[8];                                                          \
        EACH                                                                 \
        {                                                                    \
            const double q = rint(a.v[k]);                                   \
            x[k] = (CTYPE)(q < (LEAST) ? (LEAST) : q > (MOST) ? (MOST) : q); \
        }                                                                    \
        memcpy(p, x, sizeof x);                                              \
    }
TO_INTEGER(i8, int8_t, INT8_MIN, INT8_MAX)
TO_INTEGER(u8, uint8_t, 0, UINT8_MAX)
TO_INTEGER(i16, int16_t, INT16_MIN, INT16_MAX)
TO_INTEGER(u16, uint16_t, 0, UINT16_MAX)
#undef TO_INTEGER

#define HAS_PERM 0
#define STRIP 2
#define STRIPS(OF) OF(1) OF(2)
