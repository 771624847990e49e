/* Gradients of the largest: each is added to the element of the plane that its index names, in the order of the
 * outputs. Planes are worked on in segments that stay in cache; who owns a segment adds everything that falls there. */

#include "cpool_simd.h"
#include "scalar.h"

#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

enum {
    SUMS = 16384,     /* sums at a time */
    CHANNELS = 16,    /* neighbours that are summed together, or a multiple */
    TOGETHER = 2048,  /* sums of small planes that are worked on together: they stay in L1 */
    SEGMENT = 131072, /* elements of a piece of work */
    SHARES = 16,      /* pieces of work that there should be */
    SHORTEST = 16384, /* elements of a piece that is worth it */
    SOME = 1024,      /* gradients that become doubles at a time; a row of sums at least */
    CHUNK = 64,       /* outputs whose indices have common bounds */
    SPARSE = 4,       /* elements for each output: most get nothing */
    SMALL = 512,      /* elements of a plane that is not worth the difference */
    SLOTS = 1024      /* elements of a piece that get more than one, where most get nothing */
};

int cpool_scatter_is_sparse(const cpool_scatter *c)
{
    return c->outputs * SPARSE <= c->length && (c->outputs == 1 || c->length > SMALL);
}

void cpool_scatter_cut(cpool_scatter *c)
{
    int64_t shares = parts(SHARES, most(c->outer, 1)), longest = most(SEGMENT / most(c->inner, 1), 64);
    c->group = c->inner;
    if (shares > 1 && c->inner >= 4 * CHANNELS) /* channels share nothing: split them first */
        c->group = most(parts(parts(c->inner, shares), CHANNELS), 2) * CHANNELS;
    shares = parts(shares, parts(most(c->inner, 1), most(c->group, 1)));
    if (shares > 1)
        longest = least(longest, most(parts(c->length, shares), parts(SHORTEST, most(c->group, 1))));
    c->segment = most(least(c->length, longest), 1);
    c->segments = most(parts(c->length, c->segment), 1);
    c->groups = parts(c->inner, most(c->group, 1));
    c->width = least(most(c->group, 1), most(SUMS / c->segment / CHANNELS, 1) * CHANNELS);
    c->rows = SUMS / c->width;
    c->step = most(SOME / c->width, 1);
    c->parted = c->segments > 1 || c->rows < c->segment;
    c->planes = c->segments == 1 && c->width == c->inner ? most(TOGETHER / c->segment, 1) : 1;
    c->chunks = parts(c->outputs, CHUNK);
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
    return (int64_t)sizeof(double) * 4 * SUMS + (int64_t)sizeof(table);
}

int cpool_scatter_look(const cpool_scatter *c, const int64_t *indices, int64_t begin, int64_t end)
{
    int bad = 0;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t first = unit % c->chunks * CHUNK, n = least(CHUNK, c->outputs - first) * c->inner;
        const int64_t *index = indices + (unit / c->chunks * c->outputs + first) * c->inner;
        int64_t low = c->length, high = -1;
        for (int64_t i = 0; i < n; i++) {
            low = least(low, index[i]);
            high = most(high, index[i]);
        }
        bad |= low < 0 || high >= c->length;
        if (c->lowest) {
            c->lowest[unit] = low;
            c->highest[unit] = high;
        }
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

static int misses(const piece *p, int64_t k)
{
    return p->lowest && (p->highest[k] < p->segment || p->lowest[k] >= p->segment + p->n);
}

/* ---- where most elements get something: a sum for each ------------------------------------------- */

typedef struct {
    double *acc, *low, *some, *totals;
    double scale; /* of doubles: below 1 nothing runs over */
} sums;

/* Add `count` outputs of b channels. Whether something fell outside of [segment, segment + n). On its own, so that
 * the loop has the registers to itself. */
static NOINLINE int add_some(const int64_t *restrict index, int64_t inner, const double *restrict some, int64_t count,
                             int64_t b, int64_t segment, int64_t n, double *restrict acc)
{
    uint64_t elsewhere = 0;
    for (int64_t o = 0; o < count; o++, index += inner, some += b)
        for (int64_t ch = 0; ch < b; ch++) {
            const uint64_t at = (uint64_t)index[ch] - (uint64_t)segment;
            if (at < (uint64_t)n)
                acc[at * (uint64_t)b + (uint64_t)ch] += some[ch];
            else
                elsewhere = 1;
        }
    return (int)elsewhere;
}

static NOINLINE int add_one_by_one(const int64_t *restrict index, const double *restrict some, int64_t count,
                                   int64_t segment, int64_t n, double *restrict acc)
{
    uint64_t elsewhere = 0;
    for (int64_t o = 0; o < count; o++) {
        const uint64_t at = (uint64_t)index[o] - (uint64_t)segment;
        if (at < (uint64_t)n)
            acc[at] += some[o];
        else
            elsewhere = 1;
    }
    return (int)elsewhere;
}

static int add_pairs(const int64_t *index, int64_t inner, const double *some, int64_t count, int64_t b,
                     int64_t segment, int64_t n, double *acc, double *low)
{
    int elsewhere = 0;
    for (int64_t o = 0; o < count; o++, index += inner, some += b)
        for (int64_t ch = 0; ch < b; ch++) {
            const uint64_t i = (uint64_t)index[ch] - (uint64_t)segment;
            if (i >= (uint64_t)n) {
                elsewhere = 1;
                continue;
            }
            const int64_t at = (int64_t)i * b + ch;
            cpool_pair sum = {acc[at], low[at]}, one = {some[ch], 0.0};
            sum = cpool_pair_add(sum, one);
            acc[at] = sum.hi;
            low[at] = sum.lo;
        }
    return elsewhere;
}

/* Add all that falls here. Whether something fell elsewhere. */
static int add(const cpool_scatter *c, const piece *p, const sums *s)
{
    const int64_t inner = c->inner, b = p->b;
    int elsewhere = 0;
    for (int64_t k = 0; k < c->chunks; k++) {
        if (misses(p, k))
            continue;
        const int64_t end = least((k + 1) * CHUNK, c->outputs), step = c->step;
        for (int64_t first = k * CHUNK; first < end; first += step) {
            const int64_t count = least(step, end - first);
            const int64_t *index = p->index + first * inner;
            if (b == inner)
                cpool_load_floats(c->type, p->grad + first * inner * c->size, count * b, s->some);
            else
                for (int64_t o = 0; o < count; o++)
                    cpool_load_floats(c->type, p->grad + (first + o) * inner * c->size, b, s->some + o * b);
            if (s->scale != 1.0)
                for (int64_t i = 0; i < count * b; i++)
                    s->some[i] *= s->scale;
            if (c->type == CPOOL_F64)
                elsewhere |= add_pairs(index, inner, s->some, count, b, p->segment, p->n, s->acc, s->low);
            else if (inner == 1)
                elsewhere |= add_one_by_one(index, s->some, count, p->segment, p->n, s->acc);
            else
                elsewhere |= add_some(index, inner, s->some, count, b, p->segment, p->n, s->acc);
        }
    }
    return elsewhere;
}

/* The pairs as doubles. Where one is not finite, all are added again 2^128 times smaller: then nothing runs over on
 * the way, and no bit that matters is lost. */
static void settle_pairs(const cpool_scatter *c, const piece *p, const sums *s)
{
    const int64_t n = p->n * p->b;
    const sums again = {s->acc, s->low, s->some, s->totals, 0x1p-128};
    int odd = 0;
    for (int64_t i = 0; i < n; i++) {
        s->totals[i] = s->acc[i] + s->low[i];
        odd |= !(s->totals[i] - s->totals[i] == 0.0);
    }
    if (odd) {
        memset(s->acc, 0, (size_t)n * 8);
        memset(s->low, 0, (size_t)n * 8);
        add(c, p, &again);
        for (int64_t i = 0; i < n; i++)
            if (!(s->totals[i] - s->totals[i] == 0.0)) {
                const double high = s->acc[i];
                s->totals[i] = high != high ? (double)NAN : high - high == 0.0 ? (high + s->low[i]) * 0x1p128 : high;
            }
    }
    memcpy(s->acc, s->totals, (size_t)n * 8);
}

/* Several planes, if each fits as a whole: what was just written piece by piece is not quickly read in vectors. */
static int run_dense(const cpool_scatter *c, const piece *whole, int64_t planes, const sums *s)
{
    const int64_t inner = c->inner, width = c->width, rows = c->rows;
    const double one = 1.0;
    int elsewhere = 0;
    for (int64_t channel = 0; channel < whole->b; channel += width)
        for (int64_t row = 0; row < whole->n; row += rows) {
            piece p = *whole;
            p.b = least(width, whole->b - channel);
            p.n = least(rows, whole->n - row);
            p.segment += row;
            p.grad += channel * c->size;
            p.index += channel;
            p.to += (row * inner + channel) * c->size;
            const int64_t size = p.n * p.b;
            memset(s->acc, 0, (size_t)(planes * size) * 8);
            if (c->type == CPOOL_F64)
                memset(s->low, 0, (size_t)(planes * size) * 8);
            for (int64_t q = 0; q < planes; q++) {
                const sums here = {s->acc + q * size, s->low + q * size, s->some, s->totals, 1.0};
                elsewhere |= add(c, &p, &here);
                if (c->type == CPOOL_F64)
                    settle_pairs(c, &p, &here);
                p.grad += c->outputs * inner * c->size;
                p.index += c->outputs * inner;
            }
            const int64_t lines = p.b == inner ? 1 : p.n, n = p.b == inner ? planes * size : p.b;
            for (int64_t i = 0; i < lines; i++) {
                const cpool_result line = {s->acc + i * n, 0, &one, &one, n, p.to + i * inner * c->size, 1};
                c->kernels->finish[CPOOL_SUM_F][c->type](&line, 1, 0);
            }
        }
    return elsewhere;
}

/* ---- where most get nothing: zeros, and gradients put among them ---------------------------------- */

/* One more for an element that has something. Whether there was room. */
static int add_again(const cpool_scatter *c, table *t, int64_t at, const char *element, const char *grad)
{
    uint64_t i = ((uint64_t)at * 0x9e3779b97f4a7c15u) >> 54; /* SLOTS is 2^10 */
    double g;
    while (t->at[i] >= 0 && t->at[i] != at)
        i = (i + 1) % SLOTS;
    if (t->at[i] < 0) {
        if (t->used == SLOTS / 2)
            return 0;
        t->taken[t->used++] = (int)i;
        t->at[i] = at;
        t->low[i] = 0.0;
        cpool_load_floats(c->type, element, 1, &t->sum[i]);
    }
    cpool_load_floats(c->type, grad, 1, &g);
    if (c->type == CPOOL_F64) {
        cpool_pair sum = {t->sum[i], t->low[i]}, more = {g, 0.0};
        sum = cpool_pair_add(sum, more);
        t->sum[i] = sum.hi;
        t->low[i] = sum.lo;
    } else
        t->sum[i] += g;
    return 1;
}

static void clear(table *t)
{
    while (t->used)
        t->at[t->taken[--t->used]] = -1;
}

enum { PAGE = 4096 }; /* bytes */

/* Memory that the operating system has yet to clear, about to be read, and then most likely written: asked for to write
 * at once. A page that was read first is taken away again at the first write, from all processors. The page's number. */
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

/* The bits are stored as they come: a gradient that is alone is its own sum, and a zero adds nothing. */
#define PUT(BITS)                                                                                                  \
    for (int64_t o = first; o < last; o++)                                                                         \
        for (int64_t ch = 0; ch < b; ch++) {                                                                       \
            const uint64_t i = (uint64_t)p->index[o * inner + ch] - (uint64_t)p->segment;                          \
            if (i >= (uint64_t)n) {                                                                                \
                *elsewhere = 1;                                                                                    \
                continue;                                                                                          \
            }                                                                                                      \
            const int64_t at = (int64_t)i * inner + ch;                                                            \
            char *const element = p->to + at * (int64_t)sizeof(BITS);                                              \
            BITS there, bits;                                                                                      \
            memcpy(&bits, p->grad + (o * inner + ch) * (int64_t)sizeof(BITS), sizeof(BITS));                       \
            if (!(BITS)(bits << 1))                                                                                \
                continue;                                                                                          \
            if (c->zeros)                                                                                          \
                page = claim(element, page);                                                                       \
            memcpy(&there, element, sizeof(BITS));                                                                 \
            if (!there) {                                                                                          \
                memcpy(element, &bits, sizeof(BITS));                                                              \
                continue;                                                                                          \
            }                                                                                                      \
            if (!add_again(c, t, at, element, p->grad + (o * inner + ch) * c->size)) {                             \
                clear(t);                                                                                          \
                return 0;                                                                                          \
            }                                                                                                      \
        }                                                                                                          \
    break

/* Whether it could be done: not with too many elements that get more than one, nor with sums that are not finite. */
static int run_sparse(const cpool_scatter *c, const piece *p, table *t, int *elsewhere)
{
    const int64_t inner = c->inner, b = p->b, n = p->n;
    const int64_t lines = c->zeros ? 0 : b == inner ? 1 : n;
    uintptr_t page = 0;
    for (int64_t i = 0; i < lines; i++)
        memset(p->to + i * inner * c->size, 0, (size_t)(b == inner ? n * b * c->size : b * c->size));
    for (int64_t k = 0; k < c->chunks; k++) {
        if (misses(p, k))
            continue;
        const int64_t first = k * CHUNK, last = least(first + CHUNK, c->outputs);
        switch (c->size) {
        case 2:
            PUT(uint16_t);
        case 4:
            PUT(uint32_t);
        default:
            PUT(uint64_t);
        }
    }
    for (int64_t k = 0; k < t->used; k++) {
        const int i = t->taken[k];
        const int64_t at = t->at[i];
        const double sum = t->sum[i] + t->low[i];
        if (c->type == CPOOL_F64 && !(sum - sum == 0.0)) {
            clear(t);
            return 0;
        }
        cpool_store_floats(c->type, &sum, 1, p->to + at * c->size);
    }
    clear(t);
    return 1;
}
#undef PUT

int cpool_scatter_run(const cpool_scatter *c, const char *grad, const int64_t *indices, char *out, int64_t begin,
                      int64_t end, void *scratch)
{
    const int64_t inner = c->inner;
    double *const memory = (double *)scratch;
    const sums s = {memory, memory + SUMS, memory + 2 * SUMS, memory + 3 * SUMS, 1.0};
    table *t = (table *)(void *)(memory + 4 * SUMS);
    const int sparse = cpool_scatter_is_sparse(c);
    int elsewhere = 0;
    t->used = 0;
    if (sparse)
        memset(t->at, 255, sizeof t->at);
    int64_t group = begin % c->groups, part = begin / c->groups % c->segments, plane = begin / c->groups / c->segments;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t channel = group * c->group;
        piece p;
        p.segment = part * c->segment;
        p.n = least(c->segment, c->length - p.segment);
        p.b = least(c->group, inner - channel);
        p.lowest = c->lowest ? c->lowest + plane * c->chunks : NULL;
        p.highest = c->highest ? c->highest + plane * c->chunks : NULL;
        p.grad = grad + (plane * c->outputs * inner + channel) * c->size;
        p.index = indices + plane * c->outputs * inner + channel;
        p.to = out + ((plane * c->length + p.segment) * inner + channel) * c->size;
        if (!sparse || !run_sparse(c, &p, t, &elsewhere)) { /* each for itself: how work is cut must not matter */
            const int64_t planes = sparse ? 1 : least(c->planes, end - unit);
            elsewhere |= run_dense(c, &p, planes, &s);
            unit += planes - 1;
            plane += planes - 1;
        }
        if (++group == c->groups) { /* divisions would cost more than a small plane */
            group = 0;
            if (++part == c->segments)
                part = 0, plane++;
        }
    }
    return elsewhere && !c->parted;
}
