/* The vocabulary of AVX-512 (F, DQ, BW, VL, with F16C and FMA): eight lanes are one register. */

typedef __m512d FN(vf);
typedef __m512i FN(vq);
typedef __m256i FN(vi);
typedef __m128i FN(vs);
typedef __m256 FN(vh);
#define vh FN(vh)
#define vf FN(vf)
#define vq FN(vq)
#define vi FN(vi)
#define vs FN(vs)

static const uint8_t cpool_mask8[9] = {0, 1, 3, 7, 15, 31, 63, 127, 255};
#define MASK8(n) ((__mmask8)cpool_mask8[n])

static inline vf FN(f_zero)(void) { return _mm512_setzero_pd(); }
static inline vf FN(f_add)(vf a, vf b) { return _mm512_add_pd(a, b); }
static inline vf FN(f_mul)(vf a, vf b) { return _mm512_mul_pd(a, b); }
static inline vf FN(f_sub)(vf a, vf b) { return _mm512_sub_pd(a, b); }
static inline vf FN(f_ld)(const double *p) { return _mm512_loadu_pd(p); }
static inline vf FN(f_ldn)(const double *p, int n) { return _mm512_maskz_loadu_pd(MASK8(n), p); }
static inline vf FN(f_keep)(vf a, int n) { return _mm512_maskz_mov_pd(MASK8(n), a); }
static inline void FN(f_st)(double *p, vf a) { _mm512_storeu_pd(p, a); }

/* 64 bytes to memory that is in no cache, and the last of them. */
static inline void FN(stream)(char *to, const char *from) { _mm512_stream_si512((void *)to, _mm512_loadu_si512(from)); }
static inline void FN(streamed)(void) { _mm_sfence(); }

static inline vq FN(q_zero)(void) { return _mm512_setzero_si512(); }
static inline vq FN(q_add)(vq a, vq b) { return _mm512_add_epi64(a, b); }
static inline vq FN(q_ld)(const void *p) { return _mm512_loadu_si512(p); }
static inline void FN(q_st)(void *p, vq a) { _mm512_storeu_si512(p, a); }

static inline vi FN(i_zero)(void) { return _mm256_setzero_si256(); }
static inline vi FN(i_add)(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi FN(i_ld)(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void FN(i_st)(void *p, vi a) { _mm256_storeu_si256((__m256i *)p, a); }

static inline vs FN(s_zero)(void) { return _mm_setzero_si128(); }
static inline vs FN(s_add)(vs a, vs b) { return _mm_add_epi16(a, b); }
static inline vi FN(i_of_s)(vs a) { return _mm256_cvtepi16_epi32(a); }
static inline vi FN(i_of_us)(vs a) { return _mm256_cvtepu16_epi32(a); }

/* Loads of eight elements, or of the first n with zeros behind. */
static inline vf FN(x_f32)(const char *p) { return _mm512_cvtps_pd(_mm256_loadu_ps((const float *)p)); }
static inline vf FN(xn_f32)(const char *p, int n)
{
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(MASK8(n), p));
}
static inline vf FN(x_f64)(const char *p) { return _mm512_loadu_pd(p); }
static inline vf FN(xn_f64)(const char *p, int n) { return _mm512_maskz_loadu_pd(MASK8(n), p); }
static inline vf FN(half)(__m128i h) { return _mm512_cvtps_pd(_mm256_cvtph_ps(h)); }
static inline vf FN(brain)(__m128i h)
{
    return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)));
}
static inline __m128i FN(n16)(const char *p, int n) { return _mm_maskz_loadu_epi16(MASK8(n), p); }
static inline __m128i FN(l16)(const char *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline vf FN(x_f16)(const char *p) { return FN(half)(FN(l16)(p)); }
static inline vf FN(xn_f16)(const char *p, int n) { return FN(half)(FN(n16)(p, n)); }
static inline vf FN(x_bf16)(const char *p) { return FN(brain)(FN(l16)(p)); }
static inline vf FN(xn_bf16)(const char *p, int n) { return FN(brain)(FN(n16)(p, n)); }
static inline __m128i FN(n8)(const char *p, int n) { return _mm_maskz_loadu_epi8((__mmask16)MASK8(n), p); }
static inline __m128i FN(l8)(const char *p) { return _mm_loadl_epi64((const __m128i *)p); }
static inline vs FN(x_i8)(const char *p) { return _mm_cvtepi8_epi16(FN(l8)(p)); }
static inline vs FN(xn_i8)(const char *p, int n) { return _mm_cvtepi8_epi16(FN(n8)(p, n)); }
static inline vs FN(x_u8)(const char *p) { return _mm_cvtepu8_epi16(FN(l8)(p)); }
static inline vs FN(xn_u8)(const char *p, int n) { return _mm_cvtepu8_epi16(FN(n8)(p, n)); }
static inline vi FN(x_i16)(const char *p) { return _mm256_cvtepi16_epi32(FN(l16)(p)); }
static inline vi FN(xn_i16)(const char *p, int n) { return _mm256_cvtepi16_epi32(FN(n16)(p, n)); }
static inline vi FN(x_u16)(const char *p) { return _mm256_cvtepu16_epi32(FN(l16)(p)); }
static inline vi FN(xn_u16)(const char *p, int n) { return _mm256_cvtepu16_epi32(FN(n16)(p, n)); }
static inline __m256i FN(l32)(const char *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline vi FN(i_some)(const void *p, int n) { return _mm256_maskz_loadu_epi32(MASK8(n), p); }
static inline vf FN(x_i32)(const char *p) { return _mm512_cvtepi32_pd(FN(l32)(p)); }
static inline vf FN(xn_i32)(const char *p, int n) { return _mm512_cvtepi32_pd(FN(i_some)(p, n)); }
static inline vf FN(x_u32)(const char *p) { return _mm512_cvtepu32_pd(FN(l32)(p)); }
static inline vf FN(xn_u32)(const char *p, int n) { return _mm512_cvtepu32_pd(FN(i_some)(p, n)); }
static inline vq FN(x_64)(const char *p) { return _mm512_loadu_si512(p); }
static inline vq FN(xn_64)(const char *p, int n) { return _mm512_maskz_loadu_epi64(MASK8(n), p); }
static inline vq FN(q_lower)(vq a) { return _mm512_and_si512(a, _mm512_set1_epi64(0xffffffff)); }
static inline vq FN(q_high)(vq a) { return _mm512_srai_epi64(a, 32); }
static inline vq FN(q_uhigh)(vq a) { return _mm512_srli_epi64(a, 32); }

/* The larger: NaN if one is, and -0 rather than +0, so that a +0 is surely the first of equals. */
static inline vf FN(f_max)(vf a, vf b) { return _mm512_or_pd(_mm512_max_pd(a, b), _mm512_max_pd(b, a)); }
static inline vh FN(h_max)(vh a, vh b) { return _mm256_or_ps(_mm256_max_ps(a, b), _mm256_max_ps(b, a)); }
static inline vs FN(s_max)(vs a, vs b) { return _mm_max_epi16(a, b); }
static inline vi FN(i_max)(vi a, vi b) { return _mm256_max_epi32(a, b); }
static inline vq FN(q_max)(vq a, vq b) { return _mm512_max_epi64(a, b); }
/* What is below everything, and the first n of eight with that behind. */
static inline vf FN(f_low)(void) { return _mm512_set1_pd(-(double)INFINITY); }
static inline vh FN(h_low)(void) { return _mm256_set1_ps(-INFINITY); }
static inline vs FN(s_low)(void) { return _mm_set1_epi16(INT16_MIN); }
static inline vi FN(i_low)(void) { return _mm256_set1_epi32(INT32_MIN); }
static inline vq FN(q_low)(void) { return _mm512_set1_epi64(INT64_MIN); }
static inline vf FN(f_fill)(vf a, int n) { return _mm512_mask_mov_pd(FN(f_low)(), MASK8(n), a); }
static inline vh FN(h_fill)(vh a, int n) { return _mm256_mask_mov_ps(FN(h_low)(), MASK8(n), a); }
/* Without a mask register: gcc 12 folds that into the load that widens bytes, and then fails. */
static inline vs FN(s_fill)(vs a, int n)
{
    __m128i there = _mm_cmpgt_epi16(_mm_set1_epi16((short)n), _mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm_blendv_epi8(FN(s_low)(), a, there);
}
static inline vi FN(i_fill)(vi a, int n) { return _mm256_mask_mov_epi32(FN(i_low)(), MASK8(n), a); }
static inline vq FN(q_fill)(vq a, int n) { return _mm512_mask_mov_epi64(FN(q_low)(), MASK8(n), a); }
static inline vh FN(h_f32)(const char *p) { return _mm256_loadu_ps((const float *)p); }
static inline vh FN(hn_f32)(const char *p, int n) { return _mm256_maskz_loadu_ps(MASK8(n), p); }
static inline vh FN(h_f16)(const char *p) { return _mm256_cvtph_ps(FN(l16)(p)); }
static inline vh FN(hn_f16)(const char *p, int n) { return _mm256_cvtph_ps(FN(n16)(p, n)); }
static inline vh FN(h_of_brain)(__m128i h) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)); }
static inline vh FN(h_bf16)(const char *p) { return FN(h_of_brain)(FN(l16)(p)); }
static inline vh FN(hn_bf16)(const char *p, int n) { return FN(h_of_brain)(FN(n16)(p, n)); }
static inline vi FN(i_flip)(vi a) { return _mm256_xor_si256(a, _mm256_set1_epi32(INT32_MIN)); }
static inline vq FN(q_flip)(vq a) { return _mm512_xor_si512(a, _mm512_set1_epi64(INT64_MIN)); }
static inline vf FN(f_of_h)(vh a) { return _mm512_cvtps_pd(a); }
static inline vf FN(f_of_i)(vi a) { return _mm512_cvtepi32_pd(a); }
static inline int FN(f_odd)(vf a)
{
    return _mm512_cmpeq_epi64_mask(_mm512_castpd_si512(a), _mm512_set1_epi64(INT64_MIN));
}

/* Lane i of the result folds the lanes of v[i]: l with l+4, then l with l+2, then l with l+1. */
#define FOLD8(NAME, OP)                                                                                            \
    static inline vf FN(NAME)(const vf v[8])                                                                       \
    {                                                                                                              \
        __m512d a[4], b[2];                                                                                        \
        for (int i = 0; i < 4; i++) /* halves of v[i] and v[i+4] */                                                \
            a[i] = OP(_mm512_shuffle_f64x2(v[i], v[i + 4], 0x44), _mm512_shuffle_f64x2(v[i], v[i + 4], 0xee));     \
        for (int i = 0; i < 2; i++) /* quarters of v[i], v[i+2], v[i+4], v[i+6] */                                 \
            b[i] = OP(_mm512_shuffle_f64x2(a[i], a[i + 2], 0x88), _mm512_shuffle_f64x2(a[i], a[i + 2], 0xdd));     \
        __m512d sum = OP(_mm512_unpacklo_pd(b[0], b[1]), _mm512_unpackhi_pd(b[0], b[1]));                          \
        /* lanes now hold v0 v1 v4 v5 v2 v3 v6 v7 */                                                               \
        return _mm512_permutexvar_pd(_mm512_setr_epi64(0, 1, 4, 5, 2, 3, 6, 7), sum);                              \
    }
FOLD8(f_fold8, _mm512_add_pd)
FOLD8(f_max8, FN(f_max))
#undef FOLD8

/* s / d with its correctly rounded quotient: the residual of s * (1/d) is exact, and divided away. */
static inline vf FN(f_div)(vf s, vf d, vf r)
{
    __m512d q = _mm512_mul_pd(s, r);
    __m512d rest = _mm512_fnmadd_pd(q, d, s);
    __mmask8 finite = _mm512_cmp_pd_mask(_mm512_sub_pd(q, q), _mm512_setzero_pd(), _CMP_EQ_OQ);
    q = _mm512_mask3_fmadd_pd(rest, r, q, finite);
    return _mm512_add_pd(q, _mm512_setzero_pd());
}
static inline vf FN(f_set)(double a) { return _mm512_set1_pd(a); }
/* 2^n, whose biased exponent is in the last bits of n. */
static inline vf FN(f_power)(vf n) { return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(n), 52)); }
static inline vf FN(f_over)(vf a, vf b) { return _mm512_div_pd(a, b); }
/* s - q * d, rounded once */
static inline vf FN(f_rest)(vf q, vf d, vf s) { return _mm512_fnmadd_pd(q, d, s); }
static inline __mmask8 FN(finite)(vf a) { return _mm512_cmp_pd_mask(_mm512_sub_pd(a, a), _mm512_setzero_pd(), _CMP_EQ_OQ); }
static inline vf FN(f_if_finite)(vf test, vf a, vf b) { return _mm512_mask_mov_pd(b, FN(finite)(test), a); }
static inline int FN(f_all_finite)(vf a) { return FN(finite)(a) == 0xff; }
/* Rows become columns. */
static inline void FN(f_turn8)(vf v[8])
{
    __m512d a[8], b[8];
    for (int i = 0; i < 8; i += 2) { /* pairs */
        a[i] = _mm512_unpacklo_pd(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_pd(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) /* quarters: even ones, odd ones */
        for (int k = 0; k < 2; k++) {
            b[i + k] = _mm512_shuffle_f64x2(a[i + k], a[i + k + 2], 0x88);
            b[i + k + 2] = _mm512_shuffle_f64x2(a[i + k], a[i + k + 2], 0xdd);
        }
    for (int k = 0; k < 4; k++) {
        v[k] = _mm512_shuffle_f64x2(b[k], b[k + 4], 0x88);
        v[k + 4] = _mm512_shuffle_f64x2(b[k], b[k + 4], 0xdd);
    }
}

static inline __m128i FN(as_bf16)(vf a)
{
    __m256i bits = _mm256_castps_si256(_mm512_cvtpd_ps(a));
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i round = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __mmask8 nan = _mm256_cmp_ps_mask(_mm256_castsi256_ps(bits), _mm256_castsi256_ps(bits), _CMP_UNORD_Q);
    round = _mm256_mask_or_epi32(round, nan, bits, _mm256_set1_epi32(0x400000));
    return _mm256_cvtepi32_epi16(_mm256_srli_epi32(round, 16));
}
static inline __m128i FN(as_f16)(vf a) { return _mm256_cvtps_ph(_mm512_cvtpd_ps(a), _MM_FROUND_TO_NEAREST_INT); }

static inline void FN(to_f64)(char *p, vf a) { _mm512_storeu_pd(p, a); }
static inline void FN(to_f32)(char *p, vf a) { _mm256_storeu_ps((float *)p, _mm512_cvtpd_ps(a)); }
static inline void FN(to_f16)(char *p, vf a) { _mm_storeu_si128((__m128i *)p, FN(as_f16)(a)); }
static inline void FN(to_bf16)(char *p, vf a) { _mm_storeu_si128((__m128i *)p, FN(as_bf16)(a)); }
/* The first n of them. */
static inline void FN(ton_f64)(char *p, vf a, int n) { _mm512_mask_storeu_pd(p, MASK8(n), a); }
static inline void FN(ton_f32)(char *p, vf a, int n) { _mm256_mask_storeu_ps(p, MASK8(n), _mm512_cvtpd_ps(a)); }
static inline void FN(ton_f16)(char *p, vf a, int n) { _mm_mask_storeu_epi16(p, MASK8(n), FN(as_f16)(a)); }
static inline void FN(ton_bf16)(char *p, vf a, int n) { _mm_mask_storeu_epi16(p, MASK8(n), FN(as_bf16)(a)); }

/* As integers: rounded half to even, and no further than the type goes. */
static inline __m256i FN(i32_of)(vf a, double least, double most)
{
    return _mm512_cvtpd_epi32(_mm512_min_pd(_mm512_max_pd(a, _mm512_set1_pd(least)), _mm512_set1_pd(most)));
}
#define TO_INTEGER(TYPE, BITS, LEAST, MOST, STORE)                                                                 \
    static inline void FN(to_##TYPE)(char *p, vf a)                                                                \
    {                                                                                                              \
        STORE((__m128i *)p, _mm256_cvtepi32_epi##BITS(FN(i32_of)(a, LEAST, MOST)));                                \
    }                                                                                                              \
    static inline void FN(ton_##TYPE)(char *p, vf a, int n)                                                        \
    {                                                                                                              \
        _mm_mask_storeu_epi##BITS(p, MASK8(n), _mm256_cvtepi32_epi##BITS(FN(i32_of)(a, LEAST, MOST)));             \
    }
TO_INTEGER(i8, 8, INT8_MIN, INT8_MAX, _mm_storel_epi64)
TO_INTEGER(u8, 8, 0, UINT8_MAX, _mm_storel_epi64)
TO_INTEGER(i16, 16, INT16_MIN, INT16_MAX, _mm_storeu_si128)
TO_INTEGER(u16, 16, 0, UINT16_MAX, _mm_storeu_si128)
#undef TO_INTEGER

#define HAS_PERM 1
/* Eight of the sixteen neighbours in a and b; where an index lacks its sign, zero. */
static inline vf FN(f_pick)(vf a, vf b, const int64_t *index)
{
    __m512i at = _mm512_loadu_si512(index);
    return _mm512_maskz_permutex2var_pd(_mm512_movepi64_mask(at), a, at, b);
}
/* The same where the sixteenth is a zero, which absent ones are then. */
static inline vf FN(f_pick_any)(vf a, vf b, const int64_t *index)
{
    return _mm512_permutex2var_pd(a, _mm512_loadu_si512(index), b);
}
#define STRIP 8 /* vectors of a line that stay in registers */
#define STRIPS(OF) OF(1) OF(2) OF(3) OF(4) OF(5) OF(6) OF(7) OF(8)
