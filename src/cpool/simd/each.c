/* What is done to each element before or after a pooling: gradients divided, channels scaled, results repeated. */

#include "cpool_simd.h"
#include "scalar.h"

/* ---- channels by their factors --------------------------------------------------------------- */

void cpool_scale_run(const cpool_scaling *c, const char *x, char *out, int64_t begin, int64_t end)
{
    const int64_t n = c->last ? c->channels : c->inner, size = c->type == CPOOL_F64 ? 8 : 4;
    while (begin < end) { /* at once: the pixels of an image, or all planes */
        const int64_t image = begin / c->inner;
        const int64_t rows = c->last ? least(end, (image + 1) * c->inner) - begin : end - begin;
        const char *factor = c->factor + (c->last ? image * c->channels : begin) * size;
        c->isa->scale[c->type](x + begin * n * c->size, factor, out + begin * n * c->size, rows, n, !c->last);
        begin += rows;
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
static int64_t divided_scratch(const cpool_call *c, const cpool_division *d)
{
    return cpool_scratch_bytes(c) + planes_at_once(d) * d->length * d->inner * (int64_t)sizeof(double) + 64;
}

/* Elements [first, last) of a plane; `grad` and `to` are at the first. */
static void divide_some(const cpool_call *c, const cpool_division *d, const char *grad, double *to, int64_t first, int64_t last)
{
    const cpool_divide_fn divide = c->isa->divide[d->type];
    if (d->inner == 1)
        divide(grad, d->by + first, d->reciprocal + first, to, last - first, 0);
    else
        for (int64_t i = first; i < last; i++, to += d->inner, grad += d->inner * d->size)
            divide(grad, d->by + i, d->reciprocal + i, to, d->inner, 1);
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

static void run_divided(const cpool_call *c, const cpool_division *d, const char *grad, char *out, int64_t begin,
                        int64_t end, void *scratch)
{
    const int64_t per_plane = c->units / d->planes, size = d->length * d->inner, most = planes_at_once(d);
    double *wide = (double *)cpool_aligned(scratch);
    while (begin < end) {
        const int64_t plane = begin / per_plane, stop = (plane + most) * per_plane < end ? (plane + most) * per_plane : end;
        int64_t first = 0, last = d->length;
        if (most == 1)
            span_of(c, d, begin, stop, &first, &last);
        for (int64_t p = plane; p * per_plane < stop; p++) /* the first that is read goes to the start of the scratch */
            divide_some(c, d, grad + (p * size + first * d->inner) * d->size, wide + (p - plane) * size, first, last);
        /* the call counts its planes from the first of all */
        const uintptr_t behind = (uintptr_t)(plane * size + first * d->inner) * sizeof(double);
        cpool_run(c, (const char *)((uintptr_t)wide - behind), out, NULL, begin, stop, wide + most * size);
        begin = stop;
    }
}

/* ---- results that are like their neighbours ------------------------------------------------------ */

enum { ROW = 262144, ONCE = 16384 }; /* bytes: of a row that is built at once, of results at a time */

/* Elements [first, last) of a row of results; `from` is where its windows are. What is built may go 63 bytes too far:
 * what comes next is written later. */
static char *build_row(const cpool_call *c, const cpool_spread *s, const char *from, int64_t first, int64_t last, char *to)
{
    const int64_t *at = s->at[s->axes - 1], block = s->block;
    int64_t low = 0, high = s->m[s->axes - 1];
    while (high - low > 1) { /* the window that holds the first */
        const int64_t middle = low + (high - low) / 2;
        *(at[middle] <= first ? &low : &high) = middle;
    }
    from += low * block;
    if (block <= 8 && c->isa->fill[block]) {
        c->isa->fill[block](to, from, at + low, first, last, s->most);
        return to + (last - first) * block;
    }
    for (int64_t times; first < last; low++, first += times, from += block, to += times * block) {
        times = least(at[low + 1], last) - first;
        c->isa->repeat(to, from, block, times);
    }
    return to;
}

/* All of the axes from `axis` on; `from` moves on. */
static char *build(const cpool_call *c, const cpool_spread *s, int axis, const char **from, char *to)
{
    const int64_t m = s->m[axis], *at = s->at[axis];
    if (axis == s->axes - 1) {
        to = build_row(c, s, *from, 0, at[m], to);
        *from += m * s->block;
        return to;
    }
    for (int64_t i = 0; i < m; i++) {
        char *first = to;
        to = build(c, s, axis + 1, from, to);
        const int64_t bytes = to - first, more = at[i + 1] - at[i] - 1;
        c->isa->repeat(to, first, bytes, more);
        to += more * bytes;
    }
    return to;
}

/* What was built, to where it belongs: once for each result of the axes outside that are alike. */
static void put(const cpool_call *c, const cpool_spread *s, int axis, int64_t piece, char *out, const char *tile,
                int64_t bytes)
{
    if (axis < 0) {
        c->isa->place(out, tile, bytes, s->far);
        return;
    }
    const int64_t i = piece % s->m[axis];
    for (int64_t k = s->at[axis][i]; k < s->at[axis][i + 1]; k++)
        put(c, s, axis - 1, piece / s->m[axis], out + k * s->stride[axis], tile, bytes);
}

/* Bytes of what is built as one; where that is one row that is too long, of a part of it. */
static int64_t built_at_once(const cpool_spread *s)
{
    const int64_t bytes = s->inside ? s->stride[s->inside - 1] : s->at[0][s->m[0]] * s->stride[0];
    const int64_t most = s->block < ROW ? ROW / s->block * s->block : s->block;
    return s->inside < s->axes - 1 || bytes < most ? bytes : most;
}

/* How many small pieces are built together, as they lie one behind the other. */
static int64_t neighbours(const cpool_call *c, const cpool_spread *s, int64_t bytes)
{
    int64_t step = bytes;
    for (int a = c->kept - 1; a >= 0; step *= c->kept_len[a--])
        if (s->kept_out[a] != step)
            return 1;
    return s->inside || bytes > ONCE ? 1 : ONCE / bytes;
}

static int64_t pieces_at_once(const cpool_spread *s) { return s->bytes < ONCE ? ONCE / s->bytes : 1; }

static int64_t spread_scratch(const cpool_spread *s)
{
    return built_at_once(s) + ONCE + pieces_at_once(s) * s->bytes + 320;
}

/* The call, its gradients divided first where they are to be. */
static void run_call(const cpool_work *w, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
                     void *scratch)
{
    if (w->division)
        run_divided(w->call, w->division, x, out, begin, end, scratch);
    else
        cpool_run(w->call, x, out, indices, begin, end, scratch);
}

/* Pieces [begin, end), of the lines one after the other. */
static void run_spread(const cpool_work *w, const char *x, char *out, int64_t begin, int64_t end, void *scratch)
{
    const cpool_call *c = w->call;
    const cpool_spread *s = w->spread;
    const int last = s->axes - 1;
    const int64_t units = c->units / (c->lines * s->pieces), at_once = pieces_at_once(s), most = built_at_once(s);
    const int64_t length = s->at[last][s->m[last]], step = least(length, most / s->block), together = neighbours(c, s, most);
    char *tile = (char *)cpool_aligned(scratch), *once = tile + most + ONCE + 64;
    char *rest = once + at_once * s->bytes + 64;
    for (int64_t some; begin < end; begin += some) {
        some = least(end - begin, at_once);
        /* the call counts its results from the first of all */
        char *to = (char *)((uintptr_t)once - (uintptr_t)(begin * s->bytes));
        run_call(w, x, to, NULL, begin * units, (begin + some) * units, rest);
        const char *from = once;
        for (int64_t piece = begin, n; piece < begin + some; piece += n) {
            n = least(begin + some - piece, together);
            int64_t line = piece / s->pieces;
            to = out;
            for (int a = c->kept - 1; a >= 0 && line; a--) {
                to += line % c->kept_len[a] * s->kept_out[a];
                line /= c->kept_len[a];
            }
            if (s->inside == last && s->m[last] == length) { /* only rows are like their neighbours */
                put(c, s, last - 1, piece % s->pieces, to, from, s->bytes);
                from += s->bytes;
                continue;
            }
            if (s->inside < last || step == length) {
                char *built = tile;
                for (int64_t i = 0; i < n; i++)
                    built = build(c, s, s->inside, &from, built);
                put(c, s, s->inside - 1, piece % s->pieces, to, tile, built - tile);
                continue;
            }
            for (int64_t k = 0, stop; k < length; k = stop) {
                stop = least(k + step, length);
                build_row(c, s, from, k, stop, tile);
                put(c, s, last - 1, piece % s->pieces, to + k * s->block, tile, (stop - k) * s->block);
            }
            from += s->bytes;
        }
    }
    c->isa->placed();
}

/* ---- a whole call -------------------------------------------------------------------------------- */

int64_t cpool_work_scratch(const cpool_work *w)
{
    return (w->division ? divided_scratch(w->call, w->division) : cpool_scratch_bytes(w->call)) +
           (w->spread ? spread_scratch(w->spread) : 0);
}

void cpool_work_run(const cpool_work *w, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
                    void *scratch)
{
    if (w->spread)
        run_spread(w, x, out, begin, end, scratch);
    else
        run_call(w, x, out, indices, begin, end, scratch);
}
