/* Gradients of the largest: each is added to the element of the plane that its index names, in the order of the
 * outputs. While no element gets a second one, they are put as they are (run_once), where most get nothing with a table
 * for those that do (run_sparse). Else sums are doubles, or pairs of them for doubles, for as many elements at a time as
 * stay in cache: of several small planes (run_together), or of a frame that slides over the plane, as outputs come more
 * or less in the order of the elements (run_sliding). Where they don't, the plane is gone over piece by piece, by what
 * is known of the indices of each chunk of outputs (run_in_passes). */

#include "cpool_simd.h"
#include "scalar.h"

#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline, aligned(64)))
#define INLINE inline __attribute__((always_inline))
#define RARELY(test) __builtin_expect(test, 0) /* what is then done stands out of the loop's way */
#else
#define NOINLINE
#define INLINE inline
#define RARELY(test) (test)
#endif

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

enum {
    SUMS = 65536,     /* doubles that sums are in: they stay in L2 */
    FEW = 4096,       /* ... in L1, which is tried first */
    TOGETHER = 2048,  /* ... of small planes, beside what comes in and goes out */
    PASS = 16384,     /* sums at a time, where nothing slides */
    CHANNELS = 16,    /* neighbours that are summed together, or a multiple */
    SHARES = 8,       /* pieces of work that there should be */
    SHORTEST = 65536, /* elements of a piece that is worth it */
    SOME = 1024,      /* gradients that become doubles at a time; at least those of one output */
    CHUNK = 64,       /* outputs whose indices have common bounds */
    FAR = 1 << 25,    /* bytes that are more than caches hold */
    ASKED = 512,      /* outputs ahead that are asked for */
    AT_ONCE = 16,     /* ... in one go */
    LINE = 64,        /* bytes */
    SPARSE = 16,      /* elements for each output: most get nothing */
    SMALL = 512,      /* elements of a plane that is not worth the difference */
    TABLED = 4096,    /* gradients of a piece, there */
    SLOTS = 1024      /* elements of a piece that get more than one, where most get nothing */
};

int cpool_scatter_is_sparse(const cpool_scatter *c) { return c->outputs * SPARSE <= c->length && c->length > SMALL; }

void cpool_scatter_cut(cpool_scatter *c)
{
    int64_t shares = least(parts(SHARES, most(c->outer, 1)), c->length * c->inner / SHORTEST), longest = c->length;
    c->group = least(c->inner, SUMS / 4);
    if (shares > 1 && c->inner >= 4 * CHANNELS) /* channels share nothing: split them first */
        c->group = most(parts(parts(c->group, shares), CHANNELS), 4) * CHANNELS;
    if (cpool_scatter_is_sparse(c)) /* few enough that the table of those that meet has room */
        c->group = least(c->group, most(TABLED / most(c->outputs, 1) / CHANNELS, 1) * CHANNELS);
    shares = parts(shares, parts(most(c->inner, 1), most(c->group, 1)));
    if (shares > 1)
        longest = parts(c->length, shares);
    c->segment = most(least(c->length, longest), 1);
    c->segments = most(parts(c->length, c->segment), 1);
    c->groups = parts(c->inner, most(c->group, 1));
    c->parted = c->segments > 1;
    c->chunks = parts(c->outputs, CHUNK);
    c->far = (double)c->outer * (double)c->inner *
                 ((double)c->outputs * (8 + c->size) + (double)c->length * c->size) > FAR;
}

int64_t cpool_scatter_units(const cpool_scatter *c) { return c->outer * c->segments * c->groups; }

/* Elements that get more than one gradient, by where they are. */
typedef struct {
    int64_t at[SLOTS]; /* in the piece, counted with its channels; or -1 */
    double sum[SLOTS], low[SLOTS];
    int64_t used;
    int taken[SLOTS / 2]; /* places of those used */
} table;

int64_t cpool_scatter_scratch(void)
{
    return (int64_t)sizeof(double) * (SUMS + SUMS / 4) + (int64_t)sizeof(table);
}

/* Whether one of n indices is below zero or not below `length`: its sign, or that of what is left, is set. */
static int outside(const int64_t *index, int64_t n, int64_t length)
{
    const uint64_t last = (uint64_t)length - 1;
    uint64_t signs = 0;
    for (int64_t i = 0; i < n; i++)
        signs |= (uint64_t)index[i] | (last - (uint64_t)index[i]);
    return (int)(signs >> 63);
}

/* Where a chunk of outputs begins. */
static int64_t chunk_at(const cpool_scatter *c, int64_t unit)
{
    return (unit / c->chunks * c->outputs + unit % c->chunks * CHUNK) * c->inner;
}

enum { APART = 4 }; /* bounds that don't wait for each other */

int cpool_scatter_look(const cpool_scatter *c, const int64_t *indices, int64_t begin, int64_t end)
{
    if (!c->lowest)
        return outside(indices + chunk_at(c, begin), chunk_at(c, end) - chunk_at(c, begin), c->length);
    int bad = 0;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t *index = indices + chunk_at(c, unit);
        const int64_t n = least(CHUNK, c->outputs - unit % c->chunks * CHUNK) * c->inner;
        int64_t low[APART], high[APART], i = 0;
        for (int k = 0; k < APART; k++) {
            low[k] = c->length;
            high[k] = -1;
        }
        for (; i + APART <= n; i += APART)
            for (int k = 0; k < APART; k++) {
                low[k] = least(low[k], index[i + k]);
                high[k] = most(high[k], index[i + k]);
            }
        for (; i < n; i++) {
            low[0] = least(low[0], index[i]);
            high[0] = most(high[0], index[i]);
        }
        for (int k = 1; k < APART; k++) {
            low[0] = least(low[0], low[k]);
            high[0] = most(high[0], high[k]);
        }
        bad |= low[0] < 0 || high[0] >= c->length;
        c->lowest[unit] = low[0];
        c->highest[unit] = high[0];
    }
    return bad;
}

/* What a thread works on: `b` neighbouring channels of n elements of a plane, from `segment` on. */
typedef struct {
    const char *grad;
    const int64_t *index;
    const int64_t *lowest, *highest; /* of the plane, or NULL */
    int64_t segment, n, b;
    char *to;
} piece;

/* Indices and gradients are read once, in order. What comes behind the next n is asked for. */
static inline void ask(const void *next, int64_t n, int64_t size)
{
    for (int64_t i = 0; i < n * size; i += LINE)
        cpool_prefetch((const char *)next + i, ASKED * size);
}

static int misses(const piece *p, int64_t k)
{
    return p->lowest && (p->highest[k] < p->segment || p->lowest[k] >= p->segment + p->n);
}

/* ---- where no element gets more than one: gradients are put as they are ------------------------------- */

enum outcome { DONE, BAD, TOO_FAR, NOT_FINITE, TWICE };
enum { AHEAD = 16384 }; /* bytes that become zeros at a time, just before something is put there */

/* Elements become zeros from `from` on, at least to `to`, and not behind `end`: AHEAD of them at a time. Up to where. */
static int64_t clear(const cpool_scatter *c, const piece *p, int64_t from, int64_t to, int64_t end)
{
    const int64_t row = c->inner * c->size;
    for (int64_t n; from < to; from += n) {
        n = least(end - from, most(AHEAD / row, 1));
        if (p->b == c->inner)
            memset(p->to + from * row, 0, (size_t)(n * row));
        else
            for (int64_t i = from; i < from + n; i++)
                memset(p->to + i * row, 0, (size_t)(p->b * c->size));
    }
    return from;
}

static INLINE uint64_t bits_at(const char *p, size_t size)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    if (size == 2)
        return memcpy(&two, p, 2), two;
    if (size == 4)
        return memcpy(&four, p, 4), four;
    return memcpy(&eight, p, 8), eight;
}

static INLINE void put_bits(char *p, size_t size, uint64_t bits)
{
    const uint16_t two = (uint16_t)bits;
    const uint32_t four = (uint32_t)bits;
    if (size == 2)
        memcpy(p, &two, 2);
    else if (size == 4)
        memcpy(p, &four, 4);
    else
        memcpy(p, &bits, 8);
}

/* A gradient that is alone, as its own sum: zeros have no sign. */
static INLINE void put_alone(char *p, const char *grad, size_t size)
{
    const uint64_t bits = bits_at(grad, size);
    double eight;
    if (size == 2) {
        put_bits(p, size, bits == 1u << 15 ? 0 : bits);
    } else if (size == 4) {
        const float four = cpool_f32_bits((uint32_t)bits) + 0.0f;
        memcpy(p, &four, 4);
    } else {
        memcpy(&eight, &bits, 8);
        eight += 0.0;
        memcpy(p, &eight, 8);
    }
}

/* How many of these planes could be done; there are several only if each is one piece. */
static INLINE int64_t once(const cpool_scatter *c, const piece *p, int64_t planes, enum outcome *outcome, size_t size,
                           int64_t inner, int64_t b)
{
    const int64_t n = p->n, segment = p->segment, outputs = c->outputs, bytes = (int64_t)size;
    const int64_t *index = p->index;
    const char *grad = p->grad;
    char *to = p->to;
    uint64_t taken = 0;
    int64_t cleared = 0;
    for (int64_t plane = 0; plane < planes; plane++) {
        const int64_t before = plane * n;
        uint64_t safe = (uint64_t)least(cleared - before, n);
        for (int64_t first = 0; first < outputs; first += CHUNK) {
            const int64_t last = least(first + CHUNK, outputs);
            if (misses(p, first / CHUNK))
                continue;
            if (c->far && inner == 1) {
                ask(index + first, last - first, sizeof *index);
                ask(grad + first * bytes, last - first, bytes);
            }
            for (int64_t o = first; o < last && (inner == 1 || !taken); o++) {
                if (c->far && inner > 1) {
                    ask(index + o * inner, b, sizeof *index);
                    ask(grad + o * inner * bytes, b, bytes);
                }
                for (int64_t ch = 0; ch < b; ch++) {
                    const int64_t element = index[o * inner + ch];
                    const uint64_t i = (uint64_t)element - (uint64_t)segment;
                    if (RARELY(i >= safe)) {
                        if (element < 0 || element >= c->length) {
                            *outcome = BAD;
                            return plane;
                        }
                        if (i >= (uint64_t)n)
                            continue; /* another piece's */
                        cleared = clear(c, p, cleared, before + (int64_t)i + 1, planes * n);
                        safe = (uint64_t)least(cleared - before, n);
                    }
                    char *const place = to + ((int64_t)i * inner + ch) * bytes;
                    taken |= bits_at(place, size);
                    put_alone(place, grad + (o * inner + ch) * bytes, size);
                }
            }
            if (taken) {
                *outcome = TWICE;
                return plane;
            }
        }
        cleared = clear(c, p, cleared, before + n, planes * n);
        index += outputs * inner;
        grad += outputs * inner * bytes;
        to += n * inner * bytes;
    }
    *outcome = DONE;
    return planes;
}

#define RUN_ONCE(SIZE)                                                                                             \
    static NOINLINE int64_t run_once_##SIZE(const cpool_scatter *c, const piece *p, int64_t planes, enum outcome *o) \
    {                                                                                                              \
        return once(c, p, planes, o, SIZE, c->inner, p->b);                                                        \
    }                                                                                                              \
    static NOINLINE int64_t run_once_first_##SIZE(const cpool_scatter *c, const piece *p, int64_t planes,          \
                                                  enum outcome *o)                                                 \
    {                                                                                                              \
        return once(c, p, planes, o, SIZE, 1, 1);                                                                  \
    }
RUN_ONCE(2)
RUN_ONCE(4)
RUN_ONCE(8)
#undef RUN_ONCE

static int64_t run_once(const cpool_scatter *c, const piece *p, int64_t planes, enum outcome *outcome)
{
    if (c->inner == 1)
        return (c->size == 2   ? run_once_first_2
                : c->size == 4 ? run_once_first_4
                               : run_once_first_8)(c, p, planes, outcome);
    return (c->size == 2 ? run_once_2 : c->size == 4 ? run_once_4 : run_once_8)(c, p, planes, outcome);
}

/* ---- where most elements get something: a sum for each ------------------------------------------- */

/* Sums of n elements of b channels, from `first` on, counted in the plane; `low` only for pairs. */
typedef struct {
    double *acc, *low;
    int64_t first, n, b;
    int far; /* beyond the caches */
    int64_t kept, left; /* elements that a frame keeps as it slides, and that it leaves behind: at least as many */
} sums;

static void sums_clear(const sums *s, int64_t from, int64_t n)
{
    memset(s->acc + from * s->b, 0, (size_t)(n * s->b) * 8);
    if (s->low)
        memset(s->low + from * s->b, 0, (size_t)(n * s->b) * 8);
}

/* Add gradients [from, count), counted with their channels: `apart` from output to output. One that falls elsewhere is
 * left out; or (STOP) it is where this ends. Up to where it came. On its own, so that the loop has the registers to
 * itself. */
#define ADD(NAME, GRAD, STOP, MORE)                                                                                \
    static NOINLINE int64_t NAME(const int64_t *restrict index, int64_t inner, const char *restrict grad,          \
                                 int64_t apart, int64_t from, int64_t count, const sums *s)                        \
    {                                                                                                              \
        const int64_t first = s->first, b = s->b;                                                                  \
        const uint64_t n = (uint64_t)s->n;                                                                         \
        double *restrict acc = s->acc, *restrict low = s->low;                                                     \
        const int far = s->far;                                                                                    \
        (void)low;                                                                                                 \
        if (inner == 1) {                                                                                          \
            for (int64_t o = from, last; o < count;) {                                                             \
                last = least(o + AT_ONCE, count);                                                                  \
                if (far) {                                                                                         \
                    ask(index + o, last - o, sizeof *index);                                                       \
                    ask(grad + o * (int64_t)sizeof(GRAD), last - o, sizeof(GRAD));                                 \
                }                                                                                                  \
                for (; o < last; o++) {                                                                            \
                    const uint64_t at = (uint64_t)index[o] - (uint64_t)first;                                      \
                    GRAD g;                                                                                        \
                    memcpy(&g, grad + o * (int64_t)sizeof g, sizeof g);                                            \
                    if (at < n)                                                                                    \
                        MORE;                                                                                      \
                    else if (STOP)                                                                                 \
                        return o;                                                                                  \
                }                                                                                                  \
            }                                                                                                      \
            return count;                                                                                          \
        }                                                                                                          \
        int64_t o = from / b, ch = from % b;                                                                       \
        apart *= (int64_t)sizeof(GRAD);                                                                            \
        for (index += o * inner, grad += o * apart; o < count / b; o++, ch = 0, index += inner, grad += apart)     \
            while (ch < b) {                                                                                       \
                const int64_t last = least(ch + AT_ONCE, b);                                                       \
                if (far) {                                                                                         \
                    ask(index + ch, last - ch, sizeof *index);                                                     \
                    ask(grad + ch * (int64_t)sizeof(GRAD), last - ch, sizeof(GRAD));                               \
                }                                                                                                  \
                for (; ch < last; ch++) {                                                                          \
                    const uint64_t i = (uint64_t)index[ch] - (uint64_t)first, at = i * (uint64_t)b + (uint64_t)ch; \
                    GRAD g;                                                                                        \
                    memcpy(&g, grad + ch * (int64_t)sizeof g, sizeof g);                                           \
                    if (i < n)                                                                                     \
                        MORE;                                                                                      \
                    else if (STOP)                                                                                 \
                        return o * b + ch;                                                                         \
                }                                                                                                  \
            }                                                                                                      \
        return count;                                                                                              \
    }
#define MORE_PAIR                                                                                                  \
    do {                                                                                                           \
        cpool_pair sum = {acc[at], low[at]}, one = {g, 0.0};                                                       \
        sum = cpool_pair_add(sum, one);                                                                            \
        acc[at] = sum.hi;                                                                                          \
        low[at] = sum.lo;                                                                                          \
    } while (0)
ADD(add_floats, float, 1, acc[at] += (double)g)
ADD(add_doubles, double, 1, acc[at] += (double)g)
ADD(add_pairs, double, 1, MORE_PAIR)
ADD(add_what_fits, double, 0, acc[at] += (double)g)
ADD(add_pairs_that_fit, double, 0, MORE_PAIR)
#undef ADD
#undef MORE_PAIR

/* Gradients of `count` outputs as doubles, packed. */
static void load(const cpool_scatter *c, const char *grad, int64_t count, int64_t b, double *some)
{
    if (b == c->inner)
        c->isa->widen[c->type](grad, count * b, some);
    else
        for (int64_t o = 0; o < count; o++)
            c->isa->widen[c->type](grad + o * c->inner * c->size, b, some + o * b);
}

/* Add the next gradients, floats as they are, others as the doubles that `some` holds of them. Up to where it came. */
static int64_t add_next(const cpool_scatter *c, const int64_t *index, const char *grad, const double *some, int64_t from,
                        int64_t count, const sums *s)
{
    if (c->type == CPOOL_F32)
        return add_floats(index, c->inner, grad, c->inner, from, count, s);
    return (s->low ? add_pairs : add_doubles)(index, c->inner, (const char *)some, s->b, from, count, s);
}

/* Round the first `n` elements of these sums and put them to where they belong. Whether all pairs are finite. */
static int put(const cpool_scatter *c, const piece *p, const sums *s, int64_t n)
{
    const int64_t lines = s->b == c->inner ? 1 : n, length = s->b == c->inner ? n * s->b : s->b;
    int finite = 1;
    for (int64_t i = 0; i < lines; i++) {
        char *to = p->to + (s->first - p->segment + i) * c->inner * c->size;
        if (s->low) {
            finite &= c->isa->join(s->acc + i * length, s->low + i * length, length, to);
            continue;
        }
        const cpool_result line = {s->acc + i * length, 0, NULL, NULL, length, to, 1};
        c->isa->of[CPOOL_MAX].finish[CPOOL_SUM_F][c->type](&line, 1, 0);
    }
    return finite;
}

/* Let the frame go on until it holds element `to`, with what it leaves behind put. */
static enum outcome slide(const cpool_scatter *c, const piece *p, sums *s, int64_t to)
{
    const int64_t kept = s->kept, left = s->left;
    while (to >= s->first + s->n) {
        if (!put(c, p, s, left))
            return NOT_FINITE;
        memcpy(s->acc, s->acc + left * s->b, (size_t)(kept * s->b) * 8);
        if (s->low)
            memcpy(s->low, s->low + left * s->b, (size_t)(kept * s->b) * 8);
        sums_clear(s, kept, left);
        s->first += left;
        s->n = least(kept + left, p->segment + p->n - s->first); /* what lies behind the piece must not be taken */
    }
    return DONE;
}

/* A frame of `room` sums slides over the piece. Some gradient may belong to what it left behind: TOO_FAR. */
static enum outcome run_sliding(const cpool_scatter *c, const piece *p, double *memory, int64_t room, int64_t share)
{
    const int64_t inner = c->inner, b = p->b, last = p->segment + p->n;
    const int pairs = c->type == CPOOL_F64, straight = c->type == CPOOL_F32;
    double *some = memory + SUMS;
    sums s = {memory, pairs ? memory + room / 2 : NULL, p->segment, p->n, b, c->far, 0, 0};
    enum outcome outcome;
    if (p->n * b * (1 + pairs) > room) {
        s.n = room / (1 + pairs) / b;
        s.kept = s.n / share;
        s.left = s.n - s.kept;
        if (!s.kept)
            return TOO_FAR;
    }
    sums_clear(&s, 0, s.n);
    const int64_t chunk = p->lowest ? CHUNK : c->outputs, step = straight ? chunk : most(SOME / b, 1);
    for (int64_t first = 0, count; first < c->outputs; first += count) {
        const int64_t k = first / chunk;
        count = least(least(step, (k + 1) * chunk - first), c->outputs - first);
        if (misses(p, k))
            continue;
        const int64_t *index = p->index + first * inner;
        const char *grad = p->grad + first * inner * c->size;
        if (!straight)
            load(c, grad, count, b, some);
        for (int64_t at = 0;; at++) {
            at = add_next(c, index, grad, some, at, count * b, &s);
            if (at == count * b)
                break;
            const int64_t element = index[at / b * inner + at % b];
            if (element < 0 || element >= c->length)
                return BAD;
            if (element < p->segment || element >= last)
                continue; /* another piece's */
            if (element < s.first)
                return TOO_FAR;
            if ((outcome = slide(c, p, &s, element)) != DONE)
                return outcome;
            at--;
        }
    }
    if ((outcome = slide(c, p, &s, last - 1)) != DONE)
        return outcome;
    return put(c, p, &s, last - s.first) ? DONE : NOT_FINITE;
}

/* Several planes at once, that small ones don't cost more to get to than to add up. All of them must be whole. */
static enum outcome run_together(const cpool_scatter *c, const piece *p, int64_t planes, double *memory)
{
    const int64_t b = c->inner, size = c->length * b, n = c->outputs * b;
    const int pairs = c->type == CPOOL_F64;
    double *some = memory + SUMS;
    sums all = {memory, pairs ? memory + TOGETHER / 2 : NULL, 0, planes * c->length, b, c->far, 0, 0};
    sums_clear(&all, 0, all.n);
    for (int64_t plane = 0; plane < planes; plane++) {
        const int64_t *index = p->index + plane * n;
        const char *grad = p->grad + plane * n * c->size;
        const sums s = {all.acc + plane * size, pairs ? all.low + plane * size : NULL, 0, c->length, b, c->far, 0, 0};
        if (c->type != CPOOL_F32)
            c->isa->widen[c->type](grad, n, some);
        if (add_next(c, index, grad, some, 0, n, &s) < n)
            return BAD;
    }
    return put(c, p, &all, all.n) ? DONE : NOT_FINITE;
}

/* Add all that falls here, `scale` times as large. */
static void add(const cpool_scatter *c, const piece *p, const sums *s, double *some, double scale)
{
    const int64_t inner = c->inner, b = s->b, step = most(SOME / b, 1);
    for (int64_t k = 0; k < c->chunks; k++) {
        if (misses(p, k))
            continue;
        const int64_t end = least((k + 1) * CHUNK, c->outputs);
        for (int64_t first = k * CHUNK; first < end; first += step) {
            const int64_t count = least(step, end - first);
            load(c, p->grad + first * inner * c->size, count, b, some);
            if (scale != 1.0)
                for (int64_t i = 0; i < count * b; i++)
                    some[i] *= scale;
            (s->low ? add_pairs_that_fit : add_what_fits)(p->index + first * inner, inner, (const char *)some, b, 0,
                                                          count * b, s);
        }
    }
}

/* The pairs as doubles, where one is not finite: all are added again 2^128 times smaller. Then nothing runs over on the
 * way, and no bit that matters is lost. */
static void settle_pairs(const cpool_scatter *c, const piece *p, sums *s, double *some, double *totals)
{
    const int64_t n = s->n * s->b;
    c->isa->join(s->acc, s->low, n, (char *)totals);
    sums_clear(s, 0, s->n);
    add(c, p, s, some, 0x1p-128);
    for (int64_t i = 0; i < n; i++) {
        const double high = s->acc[i];
        if (totals[i] - totals[i] == 0.0)
            s->acc[i] = totals[i];
        else
            s->acc[i] = high != high ? (double)NAN : high - high == 0.0 ? (high + s->low[i]) * 0x1p128 : high;
    }
    s->low = NULL;
}

/* As many elements at a time as there is room for, each time from all outputs. */
static void run_in_passes(const cpool_scatter *c, const piece *p, double *memory)
{
    const int64_t width = most(PASS / p->n / CHANNELS, 1) * CHANNELS, rows = PASS / least(width, p->b);
    double *some = memory + SUMS;
    for (int64_t channel = 0; channel < p->b; channel += width)
        for (int64_t row = 0; row < p->n; row += rows) {
            piece q = *p;
            q.segment += row;
            q.n = least(rows, p->n - row);
            q.grad += channel * c->size;
            q.index += channel;
            q.to += (row * c->inner + channel) * c->size;
            sums s = {memory, c->type == CPOOL_F64 ? memory + PASS : NULL, q.segment, q.n,
                            least(width, p->b - channel), c->far, 0, 0};
            sums_clear(&s, 0, s.n);
            add(c, &q, &s, some, 1.0);
            if (put(c, &q, &s, s.n))
                continue;
            settle_pairs(c, &q, &s, some, memory + 2 * PASS);
            put(c, &q, &s, s.n);
        }
}

/* ---- where most get nothing: zeros, and gradients put among them ---------------------------------- */

/* One more for an element that has something. Whether there was room. */
static int add_again(const cpool_scatter *c, table *t, int64_t at, const char *element, const char *grad)
{
    uint64_t i = ((uint64_t)at * 0x9e3779b97f4a7c15u) >> 54; /* SLOTS is 2^10 */
    const double g = cpool_load_float(c->type, grad);
    while (t->at[i] >= 0 && t->at[i] != at)
        i = (i + 1) % SLOTS;
    if (t->at[i] < 0) {
        if (t->used == SLOTS / 2)
            return 0;
        t->taken[t->used++] = (int)i;
        t->at[i] = at;
        t->low[i] = 0.0;
        t->sum[i] = cpool_load_float(c->type, element);
    }
    if (c->type == CPOOL_F64) {
        cpool_pair sum = {t->sum[i], t->low[i]}, more = {g, 0.0};
        sum = cpool_pair_add(sum, more);
        t->sum[i] = sum.hi;
        t->low[i] = sum.lo;
    } else
        t->sum[i] += g;
    return 1;
}

static void empty(table *t)
{
    while (t->used)
        t->at[t->taken[--t->used]] = -1;
}

enum { PAGE = 4096 }; /* bytes */

/* Memory that the operating system has yet to clear, about to be read, and then most likely written: asked for to write
 * at once. A page that was read first is taken away again at the first write, from all processors. The page it was. */
static inline uintptr_t claim(char *p, uintptr_t last)
{
    const uintptr_t page = (uintptr_t)p / PAGE;
#if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
    if (page != last)
        __asm__ volatile("addb $0, %0" : "+m"(*p) : : "cc");
#else
    (void)last;
#endif
    return page;
}

/* Outputs [first, last): a gradient that is alone is its own sum, and a zero adds nothing. Whether the table had room. */
static INLINE int put_some(const cpool_scatter *c, const piece *p, table *t, int64_t first, int64_t last,
                           uintptr_t *page, int *elsewhere, size_t size, int64_t inner, int64_t b)
{
    const int64_t *const index = p->index, segment = p->segment, bytes = (int64_t)size;
    const uint64_t n = (uint64_t)p->n;
    const int zeros = c->zeros;
    const char *const grads = p->grad;
    char *const to = p->to;
    for (int64_t o = first; o < last; o++)
        for (int64_t ch = 0; ch < b; ch++) {
            const uint64_t i = (uint64_t)index[o * inner + ch] - (uint64_t)segment;
            const char *const grad = grads + (o * inner + ch) * bytes;
            if (RARELY(i >= n)) {
                *elsewhere = 1;
                continue;
            }
            const int64_t at = (int64_t)i * inner + ch;
            if (RARELY(!(bits_at(grad, size) << (64 - 8 * size + 1))))
                continue;
            char *const element = to + at * bytes;
            if (zeros)
                *page = claim(element, *page);
            if (!bits_at(element, size))
                put_alone(element, grad, size);
            else if (!add_again(c, t, at, element, grad))
                return 0;
        }
    return 1;
}

#define PUT_AMONG(SIZE)                                                                                            \
    static NOINLINE int put_among_##SIZE(const cpool_scatter *c, const piece *p, table *t, int64_t first, int64_t last, \
                                         uintptr_t *page, int *elsewhere)                                          \
    {                                                                                                              \
        if (c->inner == 1)                                                                                         \
            return put_some(c, p, t, first, last, page, elsewhere, SIZE, 1, 1);                                    \
        return put_some(c, p, t, first, last, page, elsewhere, SIZE, c->inner, p->b);                              \
    }
PUT_AMONG(2)
PUT_AMONG(4)
PUT_AMONG(8)
#undef PUT_AMONG

/* Whether it could be done: not with too many elements that get more than one, nor with sums that are not finite. */
static int run_sparse(const cpool_scatter *c, const piece *p, table *t, int *elsewhere)
{
    int (*const put_among)(const cpool_scatter *, const piece *, table *, int64_t, int64_t, uintptr_t *, int *) =
        c->size == 2 ? put_among_2 : c->size == 4 ? put_among_4 : put_among_8;
    uintptr_t page = 0;
    if (!c->zeros)
        clear(c, p, 0, p->n, p->n);
    for (int64_t k = 0; k < c->chunks; k++) {
        if (misses(p, k))
            continue;
        const int64_t first = k * CHUNK, last = least(first + CHUNK, c->outputs);
        if (!put_among(c, p, t, first, last, &page, elsewhere)) {
            empty(t);
            return 0;
        }
    }
    for (int64_t k = 0; k < t->used; k++) {
        const int i = t->taken[k];
        const int64_t at = t->at[i];
        const double sum = t->sum[i] + t->low[i];
        if (c->type == CPOOL_F64 && !(sum - sum == 0.0)) {
            empty(t);
            return 0;
        }
        cpool_store_float(c->type, sum, p->to + at * c->size);
    }
    empty(t);
    return 1;
}

/* The frames of sums that are tried, in turn: how many sums they hold, and what part of them they keep as they slide:
 * one of so many. */
static const struct {
    int64_t room, share;
} frames[] = {{FEW, 8}, {FEW, 2}, {SUMS, 2}};
enum { LARGEST = sizeof frames / sizeof *frames - 1 };

static piece piece_at(const cpool_scatter *c, const char *grad, const int64_t *indices, char *out, int64_t unit)
{
    int64_t plane = unit, part = 0, group = 0;
    if (c->groups > 1 || c->segments > 1) { /* divisions would cost more than a small plane */
        group = unit % c->groups;
        part = unit / c->groups % c->segments;
        plane = unit / c->groups / c->segments;
    }
    const int64_t inner = c->inner, channel = group * c->group, first = plane * c->outputs * inner + channel;
    piece p;
    p.segment = part * c->segment;
    p.n = least(c->segment, c->length - p.segment);
    p.b = least(c->group, inner - channel);
    p.lowest = c->lowest ? c->lowest + plane * c->chunks : NULL;
    p.highest = c->highest ? c->highest + plane * c->chunks : NULL;
    p.grad = grad + first * c->size;
    p.index = indices + first;
    p.to = out + ((plane * c->length + p.segment) * inner + channel) * c->size;
    return p;
}

enum cpool_scattered cpool_scatter_run(const cpool_scatter *c, const char *grad, const int64_t *indices, char *out,
                                       int64_t begin, int64_t end, void *scratch)
{
    double *const memory = (double *)scratch;
    table *t = (table *)(void *)(memory + SUMS + SUMS / 4);
    const int sparse = cpool_scatter_is_sparse(c), whole = c->groups == 1 && c->segments == 1 && !c->lowest;
    enum outcome outcome = DONE;
    int elsewhere = 0;
    int64_t unit = begin;
    const int64_t accumulators = (c->type == CPOOL_F64 ? 2 : 1) * c->length * c->inner;
    size_t frame = accumulators <= PASS ? LARGEST : 0; /* what fits need not slide */
    /* Planes are alike: what doesn't do for one is not tried for the next. */
    while (!c->zeros && unit < end && outcome == DONE) {
        const piece p = piece_at(c, grad, indices, out, unit);
        unit += run_once(c, &p, whole ? end - unit : 1, &outcome);
    }
    t->used = 0;
    if (sparse)
        memset(t->at, 255, sizeof t->at);
    const int64_t size = most(c->length, c->outputs) * c->inner;
    const int64_t together = whole && size ? TOGETHER / (c->type == CPOOL_F64 ? 2 : 1) / size : 0;
    for (; unit < end && outcome != BAD; unit++) {
        const piece p = piece_at(c, grad, indices, out, unit);
        const int64_t planes = least(together, end - unit);
        if (planes > 1) {
            outcome = run_together(c, &p, planes, memory);
            if (outcome == DONE)
                unit += planes - 1;
            if (outcome != NOT_FINITE)
                continue;
        }
        if (sparse && run_sparse(c, &p, t, &elsewhere)) /* each for itself: how work is cut must not matter */
            continue;
        for (outcome = TOO_FAR; frame <= LARGEST; frame++)
            if ((outcome = run_sliding(c, &p, memory, frames[frame].room, frames[frame].share)) != TOO_FAR)
                break;
        if (outcome == DONE || outcome == BAD)
            continue;
        if (!p.lowest)
            return CPOOL_SCATTERED_BLIND;
        run_in_passes(c, &p, memory);
    }
    return outcome == BAD || (elsewhere && !c->parted) ? CPOOL_SCATTERED_BAD : CPOOL_SCATTERED;
}
