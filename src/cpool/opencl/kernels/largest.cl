/* The largest, by keys: integers in the order of the elements, above all of which stand NaN. No bit of an element
 * goes through arithmetic, so subnormal numbers, NaN and doubles are right on any device. */

#if defined X_F16 || defined X_BF16
typedef int key;
#ifdef X_F16
#define INFINITE 0x7c00
#else
#define INFINITE 0x7f80
#endif
static inline key key_of(raw x)
{
    const int size = x & 0x7fff;
    return size > INFINITE ? INT_MAX : x & 0x8000 ? -size : size;
}
#elif defined X_F32
typedef int key;
static inline key key_of(raw x)
{
    const int size = (int)(x & 0x7fffffff);
    return size > 0x7f800000 ? INT_MAX : x >> 31 ? -size : size;
}
#elif defined X_F64
typedef long key;
static inline key key_of(raw x)
{
    const long size = (long)(x & 0x7fffffffffffffffUL);
    return size > 0x7ff0000000000000L ? LONG_MAX : x >> 63 ? -size : size;
}
#elif defined X_I8
typedef int key;
static inline key key_of(raw x) { return (char)x; }
#elif defined X_I16
typedef int key;
static inline key key_of(raw x) { return (short)x; }
#elif defined X_U8 || defined X_U16
typedef int key;
static inline key key_of(raw x) { return x; }
#elif defined X_I32
typedef int key;
static inline key key_of(raw x) { return (int)x; }
#elif defined X_U32
typedef int key;
static inline key key_of(raw x) { return (int)(x ^ 0x80000000u); }
#elif defined X_I64
typedef long key;
static inline key key_of(raw x) { return (long)x; }
#else
typedef long key;
static inline key key_of(raw x) { return (long)(x ^ 0x8000000000000000UL); }
#endif

#if defined SIDE || defined LINE

#if defined X_F16 || defined X_BF16
typedef int8 keys;
static inline keys keys_of(raw8 x)
{
    const int8 bits = convert_int8(x), size = bits & 0x7fff;
    return select(select(size, -size, bits > 0x7fff), (int8)INT_MAX, size > INFINITE);
}
#elif defined X_F32
typedef int8 keys;
static inline keys keys_of(raw8 x)
{
    const int8 bits = as_int8(x), size = bits & 0x7fffffff;
    return select(select(size, -size, bits < 0), (int8)INT_MAX, size > 0x7f800000);
}
#elif defined X_F64
typedef long8 keys;
static inline keys keys_of(raw8 x)
{
    const long8 bits = as_long8(x), size = bits & 0x7fffffffffffffffL;
    return select(select(size, -size, bits < 0L), (long8)LONG_MAX, size > 0x7ff0000000000000L);
}
#elif defined X_I8
typedef int8 keys;
static inline keys keys_of(raw8 x) { return convert_int8(as_char8(x)); }
#elif defined X_I16
typedef int8 keys;
static inline keys keys_of(raw8 x) { return convert_int8(as_short8(x)); }
#elif defined X_U8 || defined X_U16
typedef int8 keys;
static inline keys keys_of(raw8 x) { return convert_int8(x); }
#elif defined X_I32
typedef int8 keys;
static inline keys keys_of(raw8 x) { return as_int8(x); }
#elif defined X_U32
typedef int8 keys;
static inline keys keys_of(raw8 x) { return as_int8(x ^ 0x80000000u); }
#elif defined X_I64
typedef long8 keys;
static inline keys keys_of(raw8 x) { return as_long8(x); }
#else
typedef long8 keys;
static inline keys keys_of(raw8 x) { return as_long8(x ^ 0x8000000000000000UL); }
#endif

#if defined X_F64 || defined X_I64 || defined X_U64
/* By bits: llvmpipe's select takes wrong lanes by a mask that was converted. */
static inline keys choose(keys a, keys b, int8 which)
{
    const long8 mask = convert_long8(which);
    return (a & ~mask) | (b & mask);
}
#else
static inline keys choose(keys a, keys b, int8 which) { return select(a, b, which); }
#endif

#endif

#ifdef SIDE
/* Eight of what is below, side by side. */
typedef struct {
    keys best;
    uint8 row, column;
} total;
typedef uint single;

static inline total nothing(void)
{
    total t;
    t.best = 0;
    t.row = t.column = (uint8)UINT_MAX;
    return t;
}
#define NOTHING nothing()

static inline void consider(total *t, raw8 x, uint row, uint column)
{
    const keys k = keys_of(x);
    const int8 better = convert_int8(k > t->best) | (t->row == UINT_MAX);
    t->best = choose(t->best, k, better);
    t->row = select(t->row, (uint8)row, better);
    t->column = select(t->column, (uint8)column, better);
}

static inline void join(total *t, total more)
{
    const int8 earlier = more.row < t->row || (more.row == t->row && more.column < t->column);
    const int8 better = convert_int8(more.best > t->best), same = convert_int8(more.best == t->best);
    const int8 there = more.row != UINT_MAX, none = t->row == UINT_MAX;
    const int8 taken = none || (there && (better || (same && earlier)));
    t->best = choose(t->best, more.best, taken);
    t->row = select(t->row, more.row, taken);
    t->column = select(t->column, more.column, taken);
}

#else

/* A key, and the row and the column of the window where it is; behind all others: nothing yet. */
typedef struct {
    key best;
    extent row, column;
} total;

static inline total nothing(void)
{
    total t;
    t.best = 0;
    t.row = t.column = NOWHERE;
    return t;
}
#define NOTHING nothing()

/* To be called in the order of rows and columns. */
static inline void consider(total *t, raw x, extent row, extent column)
{
    const key k = key_of(x);
    if (k > t->best || t->row == NOWHERE) {
        t->best = k;
        t->row = row;
        t->column = column;
    }
}

static inline void join(total *t, total more)
{
    const int earlier = more.row < t->row || (more.row == t->row && more.column < t->column);
    if (t->row == NOWHERE || (more.row != NOWHERE && (more.best > t->best || (more.best == t->best && earlier))))
        *t = more;
}

#endif
