/* The vocabulary of AVX2 (with F16C and FMA): eight lanes are two registers. */

typedef struct { __m256d a, b; } FN(vf);
typedef struct { __m256i a, b; } FN(vq);
typedef __m256i FN(vi);
typedef __m128i FN(vs);
typedef __m256 FN(vh);
#define vh FN(vh)
#define vf FN(vf)
#define vq FN(vq)
#define vi FN(vi)
#define vs FN(vs)

static inline vf FN(f_zero)(void) { return (vf){_mm256_setzero_pd(), _mm256_setzero_pd()}; }
static inline vf FN(f_add)(vf x, vf y) { return (vf){_mm256_add_pd(x.a, y.a), _mm256_add_pd(x.b, y.b)}; }
static inline vf FN(f_mul)(vf x, vf y) { return (vf){_mm256_mul_pd(x.a, y.a), _mm256_mul_pd(x.b, y.b)}; }
static inline vf FN(f_sub)(vf x, vf y) { return (vf){_mm256_sub_pd(x.a, y.a), _mm256_sub_pd(x.b, y.b)}; }
static inline vf FN(f_ld)(const double *p) { return (vf){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
static inline vf FN(f_keep)(vf v, int n)
{
    const __m256i *mask = (const __m256i *)(cpool_masks + 8 - n), *more = (const __m256i *)(cpool_masks + 12 - n);
    return (vf){_mm256_and_pd(v.a, _mm256_castsi256_pd(_mm256_loadu_si256(mask))),
                _mm256_and_pd(v.b, _mm256_castsi256_pd(_mm256_loadu_si256(more)))};
}
static inline vf FN(f_ldn)(const double *p, int n) { return FN(f_keep)(FN(f_ld)(p), n); }
static inline void FN(f_st)(double *p, vf x)
{
    _mm256_storeu_pd(p, x.a);
    _mm256_storeu_pd(p + 4, x.b);
}

/* 64 bytes to memory that is in no cache, and the last of them. */
static inline void FN(stream)(char *to, const char *from)
{
    _mm256_stream_si256((__m256i *)(void *)to, _mm256_loadu_si256((const __m256i *)(const void *)from));
    _mm256_stream_si256((__m256i *)(void *)to + 1, _mm256_loadu_si256((const __m256i *)(const void *)from + 1));
}
static inline void FN(streamed)(void) { _mm_sfence(); }

static inline vq FN(q_zero)(void) { return (vq){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
static inline vq FN(q_add)(vq x, vq y) { return (vq){_mm256_add_epi64(x.a, y.a), _mm256_add_epi64(x.b, y.b)}; }
static inline vq FN(q_ld)(const void *p)
{
    const __m256i *at = (const __m256i *)p;
    return (vq){_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}
static inline void FN(q_st)(void *p, vq x)
{
    _mm256_storeu_si256((__m256i *)p, x.a);
    _mm256_storeu_si256((__m256i *)p + 1, x.b);
}

static inline vi FN(i_zero)(void) { return _mm256_setzero_si256(); }
static inline vi FN(i_add)(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi FN(i_ld)(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void FN(i_st)(void *p, vi a) { _mm256_storeu_si256((__m256i *)p, a); }

static inline vs FN(s_zero)(void) { return _mm_setzero_si128(); }
static inline vs FN(s_add)(vs a, vs b) { return _mm_add_epi16(a, b); }
static inline vi FN(i_of_s)(vs a) { return _mm256_cvtepi16_epi32(a); }
static inline vi FN(i_of_us)(vs a) { return _mm256_cvtepu16_epi32(a); }

static inline vf FN(f_of_ps)(__m256 x)
{
    return (vf){_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}
static inline __m256i FN(m32)(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline __m128i FN(l16)(const char *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline __m128i FN(n16)(const char *p, int n)
{
    uint64_t part[2] = {0, 0};
    cpool_copy_tail(part, p, n, 2);
    return _mm_loadu_si128((const __m128i *)part);
}
static inline __m128i FN(l8)(const char *p) { return _mm_loadl_epi64((const __m128i *)p); }
static inline __m128i FN(n8)(const char *p, int n)
{
    uint64_t part = 0;
    cpool_copy_tail(&part, p, n, 1);
    return _mm_cvtsi64_si128((int64_t)part);
}
static inline vf FN(x_f32)(const char *p)
{
    return (vf){_mm256_cvtps_pd(_mm_loadu_ps((const float *)p)), _mm256_cvtps_pd(_mm_loadu_ps((const float *)p + 4))};
}
static inline vf FN(xn_f32)(const char *p, int n) { return FN(f_of_ps)(_mm256_maskload_ps((const float *)p, FN(m32)(n))); }
static inline vf FN(x_f64)(const char *p) { return FN(f_ld)((const double *)p); }
static inline vf FN(xn_f64)(const char *p, int n)
{
    __m256i all = FN(m32)(n);
    return (vf){_mm256_maskload_pd((const double *)p, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(all))),
                _mm256_maskload_pd((const double *)p + 4, _mm256_cvtepi32_epi64(_mm256_extracti128_si256(all, 1)))};
}
static inline vf FN(half)(__m128i h) { return FN(f_of_ps)(_mm256_cvtph_ps(h)); }
static inline vf FN(brain)(__m128i h)
{
    return FN(f_of_ps)(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)));
}
static inline vf FN(x_f16)(const char *p) { return FN(half)(FN(l16)(p)); }
static inline vf FN(xn_f16)(const char *p, int n) { return FN(half)(FN(n16)(p, n)); }
static inline vf FN(x_bf16)(const char *p) { return FN(brain)(FN(l16)(p)); }
static inline vf FN(xn_bf16)(const char *p, int n) { return FN(brain)(FN(n16)(p, n)); }
static inline vs FN(x_i8)(const char *p) { return _mm_cvtepi8_epi16(FN(l8)(p)); }
static inline vs FN(xn_i8)(const char *p, int n) { return _mm_cvtepi8_epi16(FN(n8)(p, n)); }
static inline vs FN(x_u8)(const char *p) { return _mm_cvtepu8_epi16(FN(l8)(p)); }
static inline vs FN(xn_u8)(const char *p, int n) { return _mm_cvtepu8_epi16(FN(n8)(p, n)); }
static inline vi FN(x_i16)(const char *p) { return _mm256_cvtepi16_epi32(FN(l16)(p)); }
static inline vi FN(xn_i16)(const char *p, int n) { return _mm256_cvtepi16_epi32(FN(n16)(p, n)); }
static inline vi FN(x_u16)(const char *p) { return _mm256_cvtepu16_epi32(FN(l16)(p)); }
static inline vi FN(xn_u16)(const char *p, int n) { return _mm256_cvtepu16_epi32(FN(n16)(p, n)); }
static inline vi FN(i_some)(const void *p, int n) { return _mm256_maskload_epi32((const int *)p, FN(m32)(n)); }
static inline vf FN(f_of_halves)(__m128i low, __m128i high) { return (vf){_mm256_cvtepi32_pd(low), _mm256_cvtepi32_pd(high)}; }
static inline vf FN(f_of_unsigned)(__m128i low, __m128i high)
{
    const __m128i flip = _mm_set1_epi32(INT32_MIN);
    const vf x = FN(f_of_halves)(_mm_xor_si128(low, flip), _mm_xor_si128(high, flip));
    return (vf){_mm256_add_pd(x.a, _mm256_set1_pd(0x1p31)), _mm256_add_pd(x.b, _mm256_set1_pd(0x1p31))};
}
#define LOAD(TYPE, OF)                                                                                             \
    static inline vf FN(x_##TYPE)(const char *p)                                                                   \
    {                                                                                                              \
        return OF(_mm_loadu_si128((const __m128i *)p), _mm_loadu_si128((const __m128i *)(p + 16)));                \
    }                                                                                                              \
    static inline vf FN(xn_##TYPE)(const char *p, int n)                                                           \
    {                                                                                                              \
        const __m256i some = FN(i_some)(p, n);                                                                     \
        return OF(_mm256_castsi256_si128(some), _mm256_extracti128_si256(some, 1));                                \
    }
LOAD(i32, FN(f_of_halves))
LOAD(u32, FN(f_of_unsigned))
#undef LOAD
static inline vq FN(x_64)(const char *p) { return FN(q_ld)(p); }
static inline vq FN(xn_64)(const char *p, int n)
{
    vf bits = FN(xn_f64)(p, n);
    return (vq){_mm256_castpd_si256(bits.a), _mm256_castpd_si256(bits.b)};
}
static inline vq FN(q_lower)(vq x)
{
    __m256i low = _mm256_set1_epi64x(0xffffffff);
    return (vq){_mm256_and_si256(x.a, low), _mm256_and_si256(x.b, low)};
}
static inline vq FN(q_uhigh)(vq x) { return (vq){_mm256_srli_epi64(x.a, 32), _mm256_srli_epi64(x.b, 32)}; }
static inline __m256i FN(sra32)(__m256i x)
{
    return _mm256_blend_epi32(_mm256_srli_epi64(x, 32), _mm256_srai_epi32(x, 31), 0xaa);
}
static inline vq FN(q_high)(vq x) { return (vq){FN(sra32)(x.a), FN(sra32)(x.b)}; }

static inline __m256d FN(max4)(__m256d a, __m256d b) { return _mm256_or_pd(_mm256_max_pd(a, b), _mm256_max_pd(b, a)); }
static inline __m256i FN(max4q)(__m256i a, __m256i b) { return _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi64(a, b)); }
static inline vf FN(f_max)(vf x, vf y) { return (vf){FN(max4)(x.a, y.a), FN(max4)(x.b, y.b)}; }
static inline vh FN(h_max)(vh a, vh b) { return _mm256_or_ps(_mm256_max_ps(a, b), _mm256_max_ps(b, a)); }
static inline vs FN(s_max)(vs a, vs b) { return _mm_max_epi16(a, b); }
static inline vi FN(i_max)(vi a, vi b) { return _mm256_max_epi32(a, b); }
static inline vq FN(q_max)(vq x, vq y) { return (vq){FN(max4q)(x.a, y.a), FN(max4q)(x.b, y.b)}; }
static inline vh FN(h_low)(void) { return _mm256_set1_ps(-INFINITY); }
static inline vs FN(s_low)(void) { return _mm_set1_epi16(INT16_MIN); }
static inline vi FN(i_low)(void) { return _mm256_set1_epi32(INT32_MIN); }
static inline vf FN(f_low)(void) { return (vf){_mm256_set1_pd(-(double)INFINITY), _mm256_set1_pd(-(double)INFINITY)}; }
static inline vq FN(q_low)(void) { return (vq){_mm256_set1_epi64x(INT64_MIN), _mm256_set1_epi64x(INT64_MIN)}; }
static inline vh FN(h_fill)(vh a, int n) { return _mm256_blendv_ps(FN(h_low)(), a, _mm256_castsi256_ps(FN(m32)(n))); }
static inline vi FN(i_fill)(vi a, int n) { return _mm256_blendv_epi8(FN(i_low)(), a, FN(m32)(n)); }
static inline vs FN(s_fill)(vs a, int n)
{
    __m128i there = _mm_cmpgt_epi16(_mm_set1_epi16((short)n), _mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm_blendv_epi8(FN(s_low)(), a, there);
}
static inline vf FN(f_fill)(vf v, int n)
{
    const double *mask = (const double *)(const void *)(cpool_masks + 8 - n);
    return (vf){_mm256_blendv_pd(FN(f_low)().a, v.a, _mm256_loadu_pd(mask)),
                _mm256_blendv_pd(FN(f_low)().b, v.b, _mm256_loadu_pd(mask + 4))};
}
static inline vq FN(q_fill)(vq v, int n)
{
    const __m256i *mask = (const __m256i *)(cpool_masks + 8 - n), *more = (const __m256i *)(cpool_masks + 12 - n);
    return (vq){_mm256_blendv_epi8(FN(q_low)().a, v.a, _mm256_loadu_si256(mask)),
                _mm256_blendv_epi8(FN(q_low)().b, v.b, _mm256_loadu_si256(more))};
}
static inline vh FN(h_f32)(const char *p) { return _mm256_loadu_ps((const float *)p); }
static inline vh FN(hn_f32)(const char *p, int n) { return _mm256_maskload_ps((const float *)p, FN(m32)(n)); }
static inline vh FN(h_f16)(const char *p) { return _mm256_cvtph_ps(FN(l16)(p)); }
static inline vh FN(hn_f16)(const char *p, int n) { return _mm256_cvtph_ps(FN(n16)(p, n)); }
static inline vh FN(h_of_brain)(__m128i h) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)); }
static inline vh FN(h_bf16)(const char *p) { return FN(h_of_brain)(FN(l16)(p)); }
static inline vh FN(hn_bf16)(const char *p, int n) { return FN(h_of_brain)(FN(n16)(p, n)); }
static inline vi FN(i_flip)(vi a) { return _mm256_xor_si256(a, _mm256_set1_epi32(INT32_MIN)); }
static inline vq FN(q_flip)(vq x)
{
    __m256i sign = _mm256_set1_epi64x(INT64_MIN);
    return (vq){_mm256_xor_si256(x.a, sign), _mm256_xor_si256(x.b, sign)};
}
static inline vf FN(f_of_h)(vh a) { return FN(f_of_ps)(a); }
static inline vf FN(f_of_i)(vi a)
{
    return FN(f_of_halves)(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}
static inline int FN(f_odd)(vf x)
{
    __m256i sign = _mm256_set1_epi64x(INT64_MIN);
    return _mm256_movemask_epi8(_mm256_or_si256(_mm256_cmpeq_epi64(_mm256_castpd_si256(x.a), sign),
                                                _mm256_cmpeq_epi64(_mm256_castpd_si256(x.b), sign)));
}

#define FOLD8(NAME, OP)                                                                                            \
    static inline __m256d FN(NAME##_4)(const vf v[4])                                                              \
    {                                                                                                              \
        __m256d w[4];                                                                                              \
        for (int i = 0; i < 4; i++)                                                                                \
            w[i] = OP(v[i].a, v[i].b);                                                                             \
        __m256d x = OP(_mm256_permute2f128_pd(w[0], w[2], 0x20), _mm256_permute2f128_pd(w[0], w[2], 0x31));        \
        __m256d y = OP(_mm256_permute2f128_pd(w[1], w[3], 0x20), _mm256_permute2f128_pd(w[1], w[3], 0x31));        \
        return OP(_mm256_unpacklo_pd(x, y), _mm256_unpackhi_pd(x, y));                                             \
    }                                                                                                              \
    static inline vf FN(NAME)(const vf v[8]) { return (vf){FN(NAME##_4)(v), FN(NAME##_4)(v + 4)}; }
FOLD8(f_fold8, _mm256_add_pd)
FOLD8(f_max8, FN(max4))
#undef FOLD8

static inline __m256d FN(f_div4)(__m256d s, __m256d d, __m256d r)
{
    __m256d q = _mm256_mul_pd(s, r);
    __m256d rest = _mm256_fnmadd_pd(q, d, s);
    __m256d finite = _mm256_cmp_pd(_mm256_sub_pd(q, q), _mm256_setzero_pd(), _CMP_EQ_OQ);
    q = _mm256_blendv_pd(q, _mm256_fmadd_pd(rest, r, q), finite);
    return _mm256_add_pd(q, _mm256_setzero_pd());
}
static inline vf FN(f_div)(vf s, vf d, vf r) { return (vf){FN(f_div4)(s.a, d.a, r.a), FN(f_div4)(s.b, d.b, r.b)}; }
static inline __m256d FN(power4)(__m256d n) { return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(n), 52)); }
static inline vf FN(f_power)(vf x) { return (vf){FN(power4)(x.a), FN(power4)(x.b)}; }
static inline vf FN(f_over)(vf x, vf y) { return (vf){_mm256_div_pd(x.a, y.a), _mm256_div_pd(x.b, y.b)}; }
/* s - q * d, rounded once */
static inline vf FN(f_rest)(vf q, vf d, vf s)
{
    return (vf){_mm256_fnmadd_pd(q.a, d.a, s.a), _mm256_fnmadd_pd(q.b, d.b, s.b)};
}
static inline __m256d FN(finite)(__m256d x)
{
    return _mm256_cmp_pd(_mm256_sub_pd(x, x), _mm256_setzero_pd(), _CMP_EQ_OQ);
}
static inline vf FN(f_if_finite)(vf test, vf x, vf y)
{
    return (vf){_mm256_blendv_pd(y.a, x.a, FN(finite)(test.a)), _mm256_blendv_pd(y.b, x.b, FN(finite)(test.b))};
}
static inline int FN(f_all_finite)(vf x)
{
    return _mm256_movemask_pd(_mm256_and_pd(FN(finite)(x.a), FN(finite)(x.b))) == 15;
}
/* Rows become columns: four blocks of four by four. */
static inline void FN(turn4)(const __m256d in[4], __m256d out[4])
{
    __m256d a = _mm256_unpacklo_pd(in[0], in[1]), b = _mm256_unpackhi_pd(in[0], in[1]);
    __m256d c = _mm256_unpacklo_pd(in[2], in[3]), d = _mm256_unpackhi_pd(in[2], in[3]);
    out[0] = _mm256_permute2f128_pd(a, c, 0x20);
    out[1] = _mm256_permute2f128_pd(b, d, 0x20);
    out[2] = _mm256_permute2f128_pd(a, c, 0x31);
    out[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
static inline void FN(f_turn8)(vf v[8])
{
    __m256d in[4][4], out[4][4]; /* upper left, upper right, lower left, lower right */
    for (int i = 0; i < 4; i++) {
        in[0][i] = v[i].a;
        in[1][i] = v[i].b;
        in[2][i] = v[i + 4].a;
        in[3][i] = v[i + 4].b;
    }
    for (int k = 0; k < 4; k++)
        FN(turn4)(in[k], out[k]);
    for (int i = 0; i < 4; i++) {
        v[i] = (vf){out[0][i], out[2][i]};
        v[i + 4] = (vf){out[1][i], out[3][i]};
    }
}
static inline vf FN(f_set)(double x) { return (vf){_mm256_set1_pd(x), _mm256_set1_pd(x)}; }

static inline __m256 FN(ps_of_f)(vf x) { return _mm256_set_m128(_mm256_cvtpd_ps(x.b), _mm256_cvtpd_ps(x.a)); }
static inline void FN(to_f64)(char *p, vf x) { FN(f_st)((double *)p, x); }
static inline void FN(to_f32)(char *p, vf x) { _mm256_storeu_ps((float *)p, FN(ps_of_f)(x)); }
static inline void FN(to_f16)(char *p, vf x)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(FN(ps_of_f)(x), _MM_FROUND_TO_NEAREST_INT));
}
static inline void FN(to_bf16)(char *p, vf x)
{
    __m256 value = FN(ps_of_f)(x);
    __m256i bits = _mm256_castps_si256(value);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i round = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    round = _mm256_blendv_epi8(round, _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)), nan);
    round = _mm256_srli_epi32(round, 16);
    round = _mm256_permute4x64_epi64(_mm256_packus_epi32(round, round), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(round));
}

/* As integers: rounded half to even, and no further than the type goes. */
static inline __m128i FN(i32_of)(__m256d x, double least, double most)
{
    return _mm256_cvtpd_epi32(_mm256_min_pd(_mm256_max_pd(x, _mm256_set1_pd(least)), _mm256_set1_pd(most)));
}
#define TO_INTEGER(TYPE, LEAST, MOST, PACK)                                                                        \
    static inline __m128i FN(TYPE##_of)(vf x) { return PACK(FN(i32_of)(x.a, LEAST, MOST), FN(i32_of)(x.b, LEAST, MOST)); }
TO_INTEGER(i8, INT8_MIN, INT8_MAX, _mm_packs_epi32)
TO_INTEGER(u8, 0, UINT8_MAX, _mm_packs_epi32)
TO_INTEGER(i16, INT16_MIN, INT16_MAX, _mm_packs_epi32)
TO_INTEGER(u16, 0, UINT16_MAX, _mm_packus_epi32)
#undef TO_INTEGER
static inline void FN(to_i8)(char *p, vf x) { _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(FN(i8_of)(x), FN(i8_of)(x))); }
static inline void FN(to_u8)(char *p, vf x) { _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(FN(u8_of)(x), FN(u8_of)(x))); }
static inline void FN(to_i16)(char *p, vf x) { _mm_storeu_si128((__m128i *)p, FN(i16_of)(x)); }
static inline void FN(to_u16)(char *p, vf x) { _mm_storeu_si128((__m128i *)p, FN(u16_of)(x)); }

#define HAS_PERM 0
#define STRIP 4
#define STRIPS(OF) OF(1) OF(2) OF(3) OF(4)
