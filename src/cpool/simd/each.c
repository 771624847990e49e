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

int64_t cpool_divided_scratch(const cpool_call *c, const cpool_division *d)
{
    return cpool_scratch_bytes(c) + planes_at_once(d) * d->length * d->inner * (int64_t)sizeof(double) + 64;
}

static void divide_plane(const cpool_division *d, const char *grad, double *to)
{
    if (d->inner == 1) {
        cpool_load_floats(d->type, grad, d->length, to);
        for (int64_t i = 0; i < d->length; i++)
            to[i] /= d->by[i];
        return;
    }
    for (int64_t i = 0; i < d->length; i++, to += d->inner, grad += d->inner * d->size) {
        cpool_load_floats(d->type, grad, d->inner, to);
        for (int64_t ch = 0; ch < d->inner; ch++)
            to[ch] /= d->by[i];
    }
}

void cpool_divided_run(const cpool_call *c, const cpool_division *d, const char *grad, char *out, int64_t begin,
                       int64_t end, void *scratch)
{
    const int64_t per_plane = c->units / d->planes, size = d->length * d->inner, most = planes_at_once(d);
    double *wide = (double *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    while (begin < end) {
        const int64_t plane = begin / per_plane, stop = (plane + most) * per_plane < end ? (plane + most) * per_plane : end;
        for (int64_t p = plane; p * per_plane < stop; p++)
            divide_plane(d, grad + p * size * d->size, wide + (p - plane) * size);
        /* the call counts its planes from the first of all */
        const char *x = (const char *)((uintptr_t)wide - (uintptr_t)(plane * size) * sizeof(double));
        cpool_run(c, x, out, NULL, begin, stop, wide + most * size);
        begin = stop;
    }
}
