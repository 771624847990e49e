/* Plain C shared by all instruction sets: half precision, 128-bit sums, exact quotients. */
#ifndef CPOOL_SCALAR_H
#define CPOOL_SCALAR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Where a line of cache begins, at or behind p: scratch is 64 bytes longer than what it is for. */
static inline void *cpool_aligned(void *p) { return (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63); }

/* What will be read soon, if it is there at all: a prefetch never faults. Into the first cache, or the second only. */
#if defined(__GNUC__) || defined(__clang__)
#define CPOOL_PREFETCH(p, ahead, level) __builtin_prefetch((const void *)((uintptr_t)(p) + (uintptr_t)(ahead)), 0, level)
#else
#define CPOOL_PREFETCH(p, ahead, level) ((void)(p), (void)(ahead))
#endif
static inline void cpool_prefetch(const char *p, int64_t ahead) { CPOOL_PREFETCH(p, ahead, 3); }
static inline void cpool_prefetch_second(const char *p, int64_t ahead) { CPOOL_PREFETCH(p, ahead, 2); }
static inline void cpool_prefetch_into(int second, const char *p, int64_t ahead)
{
    if (second)
        cpool_prefetch_second(p, ahead);
    else
        cpool_prefetch(p, ahead);
}

static inline float cpool_f32_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint32_t cpool_bits_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static inline float cpool_from_bf16(uint16_t half) { return cpool_f32_bits((uint32_t)half << 16); }

static inline uint16_t cpool_to_bf16(float value)
{
    uint32_t bits = cpool_bits_f32(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* The exponent is moved by a multiplication, which also makes subnormals right. */
static inline float cpool_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = (uint32_t)(half & 0x7fffu) << 13;
    float value = cpool_f32_bits(rest) * cpool_f32_bits(0x77800000u); /* 2^112 */
    if (rest >= 0x0f800000u)
        value = cpool_f32_bits(rest | 0x7f800000u);
    return cpool_f32_bits(cpool_bits_f32(value) | sign);
}

static inline uint16_t cpool_to_f16(float value)
{
    uint32_t bits = cpool_bits_f32(value), sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (bits >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x38800000u) { /* below 2^-14: adding 0.5 rounds at the right bit */
        float tiny = cpool_f32_bits(bits) + 0.5f;
        return (uint16_t)(sign | (cpool_bits_f32(tiny) - 0x3f000000u));
    }
    bits += 0xfffu + (bits >> 13 & 1u);
    return (uint16_t)(sign | (bits - 0x38000000u) >> 13);
}

/* The larger of two: NaN if one is, and -0 rather than +0. */
static inline double cpool_max(double a, double b)
{
    double one = a > b ? a : b, other = b > a ? b : a;
    uint64_t x, y;
    memcpy(&x, &one, 8);
    memcpy(&y, &other, 8);
    x |= y;
    memcpy(&one, &x, 8);
    return one;
}

/* ---- 128-bit sums ------------------------------------------------------------------------ */

typedef struct {
    int64_t high;
    uint64_t low;
} cpool_wide;

static inline cpool_wide cpool_wide_of(int64_t value)
{
    cpool_wide w = {value < 0 ? -1 : 0, (uint64_t)value};
    return w;
}

static inline cpool_wide cpool_wide_add(cpool_wide a, cpool_wide b)
{
    cpool_wide sum;
    sum.low = a.low + b.low;
    sum.high = (int64_t)((uint64_t)a.high + (uint64_t)b.high + (sum.low < a.low));
    return sum;
}

/* high*2^32 + low, both 64-bit sums of halves. */
static inline cpool_wide cpool_wide_halves(int64_t high, int64_t low)
{
    cpool_wide shifted = {high >> 32, (uint64_t)high << 32};
    return cpool_wide_add(shifted, cpool_wide_of(low));
}

/* |value| = quotient*divisor + rest for 0 < divisor < 2^53; bit by bit, for the rare large sums. */
static inline void cpool_wide_divide(cpool_wide value, uint64_t divisor, cpool_wide *quotient, uint64_t *rest)
{
    uint64_t high = (uint64_t)value.high, low = value.low, left = 0;
    if (value.high < 0) {
        low = ~low + 1;
        high = ~high + (low == 0);
    }
    uint64_t qh = high / divisor, ql = 0;
    left = high % divisor;
    for (int bit = 63; bit >= 0; bit--) {
        left = left << 1 | (low >> bit & 1u);
        ql <<= 1;
        if (left >= divisor) {
            left -= divisor;
            ql |= 1u;
        }
    }
    quotient->high = (int64_t)qh;
    quotient->low = ql;
    *rest = left;
}

/* The quotient as a double whose last bit is sticky enough to round to double or less, once. */
static inline double cpool_wide_quotient(cpool_wide value, double divisor)
{
    int negative = (value.high < 0) != (divisor < 0);
    uint64_t d = (uint64_t)fabs(divisor), rest;
    if (value.high == ((int64_t)value.low < 0 ? -1 : 0)) { /* 64 bits: one division */
        uint64_t size = value.high < 0 ? ~value.low + 1 : value.low, whole = size / d;
        rest = size % d;
        double found = -1.0;
        if (whole >> 54)
            found = (double)(whole | (rest != 0));
        else if (whole >> 20 && !(whole >> 53)) /* the fraction's own error is far below the last bit */
            found = (double)whole + (double)rest / (double)d;
        if (found >= 0.0)
            return negative ? -found : found;
    }
    cpool_wide q;
    cpool_wide_divide(value, d, &q, &rest);
    /* Bring the quotient to 62 bits and a sticky one: shift in more bits, or out. */
    int shift = 0;
    uint64_t high = (uint64_t)q.high, low = q.low;
    int sticky = 0;
    while (high || low >> 62) {
        sticky |= (int)(low & 1u);
        low = low >> 1 | high << 63;
        high >>= 1;
        shift++;
    }
    sticky |= rest && shift;
    if (low == 0 && rest == 0)
        return 0.0;
    while (!shift && !(low >> 61) && rest) {
        /* fewer than 61 bits: divide on */
        int down = 0;
        while (!(low >> 61) && down < 120) {
            rest <<= 1;
            low <<= 1;
            if (rest >= d) {
                rest -= d;
                low |= 1u;
            }
            down++;
        }
        sticky = rest != 0;
        double q62 = (double)(int64_t)(low | (uint64_t)sticky);
        q62 = ldexp(q62, -down);
        return negative ? -q62 : q62;
    }
    double result = ldexp((double)(int64_t)(low | (uint64_t)sticky), shift);
    return negative ? -result : result;
}

/* The quotient rounded half to even, saturated to [least, most]. */
static inline cpool_wide cpool_wide_round(cpool_wide value, double divisor)
{
    int negative = (value.high < 0) != (divisor < 0);
    uint64_t d = (uint64_t)fabs(divisor), rest;
    cpool_wide q;
    cpool_wide_divide(value, d, &q, &rest);
    if (rest > d - rest || (rest == d - rest && (q.low & 1u))) {
        cpool_wide one = {0, 1};
        q = cpool_wide_add(q, one);
    }
    if (negative) {
        q.low = ~q.low + 1;
        q.high = (int64_t)(~(uint64_t)q.high + (q.low == 0));
    }
    return q;
}

/* ---- double and its error ---------------------------------------------------------------- */

typedef struct {
    double hi, lo;
} cpool_pair;

static inline cpool_pair cpool_pair_add(cpool_pair a, cpool_pair b)
{
    double sum = a.hi + b.hi, part = sum - a.hi;
    double error = (a.hi - (sum - part)) + (b.hi - part);
    cpool_pair result = {sum, (a.lo + b.lo) + error};
    return result;
}

/* (hi + lo) / divisor, rounded nearly once: the residual of the first quotient is exact. */
static inline double cpool_pair_quotient(double hi, double lo, double divisor)
{
    double sum = hi + lo, error = lo - (sum - hi);
    double quotient = sum / divisor;
    double more = (fma(-quotient, divisor, sum) + error) / divisor;
    /* Infinities and quotients out of range have no residual. */
    return more - more == 0.0 ? (quotient + more) + 0.0 : quotient;
}

/* A float of any type as a double, and a double as what it is stored as. */
static inline double cpool_load_float(int type, const char *p)
{
    double eight;
    float four;
    uint16_t two;
    if (type == CPOOL_F64)
        return memcpy(&eight, p, 8), eight;
    if (type == CPOOL_F32)
        return memcpy(&four, p, 4), four;
    memcpy(&two, p, 2);
    return type == CPOOL_F16 ? cpool_from_f16(two) : cpool_from_bf16(two);
}

static inline void cpool_store_float(int type, double x, char *p)
{
    const float four = (float)x;
    if (type == CPOOL_F64) {
        memcpy(p, &x, 8);
    } else if (type == CPOOL_F32) {
        memcpy(p, &four, 4);
    } else {
        const uint16_t two = type == CPOOL_F16 ? cpool_to_f16(four) : cpool_to_bf16(four);
        memcpy(p, &two, 2);
    }
}

#endif
