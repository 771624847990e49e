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

/* A key, and the row and the column of the window where it is; behind all others: nothing yet. */
typedef struct {
    key best;
    uint row, column;
} total;

static inline total nothing(void)
{
    total t;
    t.best = 0;
    t.row = t.column = UINT_MAX;
    return t;
}
#define NOTHING nothing()

/* To be called in the order of rows and columns. */
static inline void consider(total *t, raw x, uint row, uint column)
{
    const key k = key_of(x);
    if (k > t->best || t->row == UINT_MAX) {
        t->best = k;
        t->row = row;
        t->column = column;
    }
}

static inline void join(total *t, total more)
{
    const int earlier = more.row < t->row || (more.row == t->row && more.column < t->column);
    if (t->row == UINT_MAX || (more.row != UINT_MAX && (more.best > t->best || (more.best == t->best && earlier))))
        *t = more;
}
