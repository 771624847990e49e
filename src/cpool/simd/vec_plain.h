/* The vocabulary in plain C, for every other processor and compiler: eight lanes are an array.
 * On x86-64 the same words in SSE2, where arrays would not become vectors by themselves. */

typedef struct { double v[8]; } FN(vf);
typedef struct { int64_t v[8]; } FN(vq);
typedef struct { int32_t v[8]; } FN(vi);
typedef struct { int16_t v[8]; } FN(vs);
#define vf FN(vf)
#define vq FN(vq)
#define vi FN(vi)
#define vs FN(vs)
#undef EACH
#define EACH for (int k = 0; k < 8; k++)

static inline vf FN(f_zero)(void) { vf r; EACH r.v[k] = 0.0; return r; }
static inline vf FN(f_add)(vf a, vf b) { EACH a.v[k] += b.v[k]; return a; }
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

#define PLAIN_LOAD(name, vector, type, convert)                              \
    static inline vector FN(x_##name)(const char *p)                         \
    {                                                                        \
        type x[8];                                                           \
        vector r;                                                            \
        memcpy(x, p, sizeof x);                                              \
        EACH r.v[k] = convert(x[k]);                                         \
        return r;                                                            \
    }                                                                        \
    static inline vector FN(xn_##name)(const char *p, int n)                 \
    {                                                                        \
        type x[8] = {0};                                                     \
        vector r;                                                            \
        cpool_copy_tail(x, p, n, sizeof(type));                        \
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
#undef PLAIN_LOAD
static inline vq FN(q_low)(vq a) { EACH a.v[k] &= 0xffffffff; return a; }
static inline vq FN(q_high)(vq a) { EACH a.v[k] >>= 32; return a; }
static inline vq FN(q_uhigh)(vq a) { EACH a.v[k] = (int64_t)((uint64_t)a.v[k] >> 32); return a; }

static inline vf FN(f_fold8)(const vf v[8])
{
    vf r;
    for (int i = 0; i < 8; i++) {
        const double *x = v[i].v;
        r.v[i] = ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
    }
    return r;
}

static inline vf FN(f_div)(vf s, vf d, vf r)
{
    (void)r;
    EACH s.v[k] = s.v[k] / d.v[k] + 0.0;
    return s;
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

#define HAS_PERM 0
#define STRIP 2
