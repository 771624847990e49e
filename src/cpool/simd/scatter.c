/* Gradients of the largest: each is added to the element of the plane that its index names, in the order of the
 * outputs. Planes are worked on in segments that stay in cache; who owns a segment adds everything that falls there. */

#include "cpool_simd.h"
#include "scalar.h"

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

enum { SEGMENT = 16384, CHUNK = CPOOL_SCATTER_CHUNK, CHANNELS = 16 };

static int64_t channels_of(const cpool_scatter *c) { return least(c->inner, CHANNELS); }
static int64_t segment_of(const cpool_scatter *c) { return least(c->length, SEGMENT / channels_of(c)); }
static int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

int64_t cpool_scatter_units(const cpool_scatter *c)
{
    return c->outer * parts(c->inner, channels_of(c)) * parts(c->length, segment_of(c));
}

int64_t cpool_scatter_scratch(const cpool_scatter *c)
{
    return (int64_t)sizeof(double) * (2 * segment_of(c) * channels_of(c) + CHUNK * CHANNELS);
}

static double load(const cpool_scatter *c, const char *p)
{
    double wide;
    float single;
    uint16_t half;
    switch (c->type) {
    case CPOOL_F64:
        memcpy(&wide, p, 8);
        return wide;
    case CPOOL_F32:
        memcpy(&single, p, 4);
        return single;
    default:
        memcpy(&half, p, 2);
        return c->type == CPOOL_F16 ? cpool_from_f16(half) : cpool_from_bf16(half);
    }
}

/* Neighbouring gradients as doubles, and sums as what they are stored as: one loop for each type, for the compiler. */
#define EACH(CTYPE, SIZE, BODY)                                                                                    \
    for (int64_t i = 0; i < n; i++) {                                                                              \
        CTYPE x;                                                                                                   \
        BODY;                                                                                                      \
    }                                                                                                              \
    break

static void load_some(const cpool_scatter *c, const char *p, int64_t n, double *to)
{
    switch (c->type) {
    case CPOOL_F64:
        EACH(double, 8, memcpy(&x, p + 8 * i, 8); to[i] = x);
    case CPOOL_F32:
        EACH(float, 4, memcpy(&x, p + 4 * i, 4); to[i] = x);
    case CPOOL_F16:
        EACH(uint16_t, 2, memcpy(&x, p + 2 * i, 2); to[i] = cpool_from_f16(x));
    default:
        EACH(uint16_t, 2, memcpy(&x, p + 2 * i, 2); to[i] = cpool_from_bf16(x));
    }
}

static void store_some(const cpool_scatter *c, const double *from, int64_t n, char *p)
{
    switch (c->type) {
    case CPOOL_F64:
        EACH(double, 8, x = from[i]; memcpy(p + 8 * i, &x, 8));
    case CPOOL_F32:
        EACH(float, 4, x = (float)from[i]; memcpy(p + 4 * i, &x, 4));
    case CPOOL_F16:
        EACH(uint16_t, 2, x = cpool_to_f16((float)from[i]); memcpy(p + 2 * i, &x, 2));
    default:
        EACH(uint16_t, 2, x = cpool_to_bf16((float)from[i]); memcpy(p + 2 * i, &x, 2));
    }
}
#undef EACH

int cpool_scatter_check(const cpool_scatter *c, const int64_t *indices, int64_t begin, int64_t end)
{
    const int64_t per_plane = c->outputs * c->inner;
    const uint64_t last = (uint64_t)c->length - 1;
    uint64_t bad = 0; /* its sign: an index or what is left above it was negative */
    for (int64_t i = begin * per_plane; i < end * per_plane; i++)
        bad |= (uint64_t)indices[i] | (last - (uint64_t)indices[i]);
    return (int)(bad >> 63);
}

/* A sum of doubles that is not finite: what it is, or what it would be had nothing run over on the way. */
static double rescued(const cpool_scatter *c, const char *grad, const int64_t *indices, int64_t place)
{
    cpool_pair sum = {0.0, 0.0};
    int up = 0, down = 0;
    for (int64_t o = 0; o < c->outputs; o++) {
        if (indices[o * c->inner] != place)
            continue;
        double g = load(c, grad + o * c->inner * c->size);
        if (g != g)
            return g;
        up |= g == (double)INFINITY;
        down |= g == -(double)INFINITY;
        cpool_pair one = {g * 0x1p-128, 0.0};
        sum = cpool_pair_add(sum, one);
    }
    if (up || down)
        return up ? (down ? (double)NAN : (double)INFINITY) : -(double)INFINITY;
    return (sum.hi + sum.lo) * 0x1p128;
}

void cpool_scatter_run(const cpool_scatter *c, const char *grad, const int64_t *indices, char *out, int64_t begin,
                       int64_t end, void *scratch)
{
    const int64_t width = channels_of(c), length = segment_of(c);
    const int64_t blocks = parts(c->inner, width), segments = parts(c->length, length), chunks = parts(c->outputs, CHUNK);
    double *acc = (double *)scratch, *low = acc + length * width, *some = low + length * width;
    const int pairs = c->type == CPOOL_F64;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t segment = unit % segments * length, channel = unit / segments % blocks * width;
        const int64_t plane = unit / segments / blocks;
        const int64_t n = least(length, c->length - segment), b = least(width, c->inner - channel);
        const char *g = grad + (plane * c->outputs * c->inner + channel) * c->size;
        const int64_t *index = indices + plane * c->outputs * c->inner + channel;
        memset(acc, 0, (size_t)(n * b) * 8);
        if (pairs)
            memset(low, 0, (size_t)(n * b) * 8);
        for (int64_t k = 0; k < chunks; k++) {
            if (c->lowest && (c->highest[plane * chunks + k] < segment || c->lowest[plane * chunks + k] >= segment + n))
                continue;
            const int64_t first = k * CHUNK, count = least(CHUNK, c->outputs - first);
            if (b == c->inner)
                load_some(c, g + first * c->inner * c->size, count * b, some);
            else
                for (int64_t o = 0; o < count; o++)
                    load_some(c, g + (first + o) * c->inner * c->size, b, some + o * b);
            if (b == 1 && !pairs) {
                for (int64_t o = 0; o < count; o++) {
                    int64_t at = index[(first + o) * c->inner] - segment;
                    if ((uint64_t)at < (uint64_t)n)
                        acc[at] += some[o];
                }
                continue;
            }
            for (int64_t o = 0; o < count; o++)
                for (int64_t ch = 0; ch < b; ch++) {
                    int64_t at = index[(first + o) * c->inner + ch] - segment;
                    if ((uint64_t)at >= (uint64_t)n)
                        continue;
                    at = at * b + ch;
                    if (pairs) {
                        cpool_pair sum = {acc[at], low[at]}, one = {some[o * b + ch], 0.0};
                        sum = cpool_pair_add(sum, one);
                        acc[at] = sum.hi;
                        low[at] = sum.lo;
                    } else
                        acc[at] += some[o * b + ch];
                }
        }
        if (pairs)
            for (int64_t i = 0; i < n * b; i++) {
                acc[i] += low[i];
                if (acc[i] - acc[i] != 0.0)
                    acc[i] = rescued(c, g + i % b * c->size, index + i % b, segment + i / b);
            }
        char *to = out + ((plane * c->length + segment) * c->inner + channel) * c->size;
        if (b == c->inner)
            store_some(c, acc, n * b, to);
        else
            for (int64_t i = 0; i < n; i++)
                store_some(c, acc + i * b, b, to + i * c->inner * c->size);
    }
}
