/* What is done to each element before or after a pooling: gradients divided, channels scaled. */

#include "cpool_simd.h"
#include "scalar.h"

/* ---- channels by their factors --------------------------------------------------------------- */

void cpool_scale_run(const cpool_scaling *c, const char *x, char *out, int64_t begin, int64_t end)
{
    const int64_t n = c->last ? c->channels : c->inner;
    for (int64_t unit = begin; unit < end; unit++) {
        const double *factor = c->factor + (c->last ? unit / c->inner * c->channels : unit);
        c->isa->scale[c->type](x + unit * n * c->size, factor, out + unit * n * c->size, n, !c->last);
    }
}

/* ---- gradients by their divisors --------------------------------------------------------------- */

enum { BATCH = 16384 }; /* quotients at a time: they stay in L2 */

static int64_t planes_at_once(const cpool_division *d)
{
    const int64_t size = d->length * d->inner;
    return size < BATCH ? BATCH / size : 1;
}

/* Where large planes are divided in part, most of this is never touched. */
int64_t cpool_divided_scratch(const cpool_call *c, const cpool_division *d)
{
    return cpool_scratch_bytes(c) + planes_at_once(d) * d->length * d->inner * (int64_t)sizeof(double) + 64;
}

/* Elements [first, last) of a plane; `grad` and `to` are at the first. */
static void divide_some(const cpool_division *d, const char *grad, double *to, int64_t first, int64_t last)
{
    if (d->inner == 1) {
        cpool_load_floats(d->type, grad, last - first, to);
        for (int64_t i = first; i < last; i++)
            to[i - first] /= d->by[i];
        return;
    }
    for (int64_t i = first; i < last; i++, to += d->inner, grad += d->inner * d->size) {
        cpool_load_floats(d->type, grad, d->inner, to);
        for (int64_t ch = 0; ch < d->inner; ch++)
            to[ch] /= d->by[i];
    }
}

/* The elements of one plane that its pieces [begin, end) read: the taps of its outermost axis. */
static void span_of(const cpool_call *c, const cpool_division *d, int64_t begin, int64_t end, int64_t *first, int64_t *last)
{
    *first = 0;
    *last = d->length;
    if (!c->outer || c->lines != d->planes)
        return;
    const cpool_pool *p = &c->pool[0];
    const int64_t per_window = c->units / c->lines / p->m, row = p->x_stride / 8 / d->inner;
    int64_t low = INT64_MAX, high = 0;
    for (int64_t i = begin / per_window % p->m; i <= (end - 1) / per_window % p->m; i++) {
        const int64_t stop = p->start[i] + (p->count[i] - 1) * p->step + 1;
        if (!p->count[i])
            continue;
        low = p->start[i] < low ? p->start[i] : low;
        high = stop > high ? stop : high;
    }
    *first = low < high ? low * row : 0;
    *last = low < high ? high * row : 0;
}

void cpool_divided_run(const cpool_call *c, const cpool_division *d, const char *grad, char *out, int64_t begin,
                       int64_t end, void *scratch)
{
    const int64_t per_plane = c->units / d->planes, size = d->length * d->inner, most = planes_at_once(d);
    double *wide = (double *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    while (begin < end) {
        const int64_t plane = begin / per_plane, stop = (plane + most) * per_plane < end ? (plane + most) * per_plane : end;
        int64_t first = 0, last = d->length;
        if (most == 1)
            span_of(c, d, begin, stop, &first, &last);
        for (int64_t p = plane; p * per_plane < stop; p++) /* the first that is read goes to the start of the scratch */
            divide_some(d, grad + (p * size + first * d->inner) * d->size, wide + (p - plane) * size, first, last);
        /* the call counts its planes from the first of all */
        const uintptr_t behind = (uintptr_t)(plane * size + first * d->inner) * sizeof(double);
        cpool_run(c, (const char *)((uintptr_t)wide - behind), out, NULL, begin, stop, wide + most * size);
        begin = stop;
    }
}
