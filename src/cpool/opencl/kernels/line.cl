/* Narrow windows on processors. An item makes results that follow each other along the innermost axis: the rows of
 * their windows are made one line, eight columns at a time, and the columns of the line are folded. A few channels,
 * which are neighbours, lie within the line. */

#ifdef LINE

#ifdef LARGEST
/* Eight columns: the largest of each, and its row. */
typedef struct {
    keys best;
    uint8 row;
} eight;
typedef struct {
    key best[LINE];
    uint row[LINE];
} line;

static inline void add_row(eight *e, source p, uint row)
{
    const keys k = keys_of(raws_at(p, 8));
    const int8 better = convert_int8(k > e->best) | (int8)(row ? 0 : -1);
    e->best = choose(e->best, k, better);
    e->row = select(e->row, (uint8)row, better);
}

static inline void keep(line *l, int at, eight e)
{
    vstore8(e.best, 0, l->best + at);
    vstore8(e.row, 0, l->row + at);
}
#else
typedef struct {
    several sum;
} eight;
typedef struct {
    single sum[LINE];
} line;

static inline void add_row(eight *e, source p, uint row) { e->sum += values_at(p, 8); }
static inline void keep(line *l, int at, eight e) { vstore8(e.sum, 0, l->sum + at); }
#endif

/* So many eights over all rows of a window, in registers; from `last` on they lie upon others. */
#define COLUMNS(n)                                                                                                     \
    static inline void columns_##n(const window *w, table pooled, uint rows, int at, int last, line *l)                \
    {                                                                                                                  \
        eight sums[n];                                                                                                 \
        int place[n];                                                                                                  \
        _Pragma("unroll") for (int k = 0; k < n; k++)                                                                  \
        {                                                                                                              \
            const eight zero = {0};                                                                                    \
            sums[k] = zero;                                                                                            \
            place[k] = min(at + 8 * k, last);                                                                          \
        }                                                                                                              \
        row here = first_row();                                                                                        \
        for (uint r = 0; r < rows; r++, next_row(&here, w, pooled)) {                                                  \
            source p = w->x + here.x;                                                                                  \
            _Pragma("unroll") for (int k = 0; k < n; k++) add_row(&sums[k], p + place[k] * (int)sizeof(raw), r);       \
        }                                                                                                              \
        _Pragma("unroll") for (int k = 0; k < n; k++) keep(l, place[k], sums[k]);                                      \
    }
COLUMNS(1)
COLUMNS(2)
COLUMNS(4)

#ifndef LARGEST
/* Which result of a line is the next one. */
typedef struct {
    const single *from;
    table start, size, counted;
    long divisor, others; /* one for all, or 0 */
    int tap, channels, channel;
} place;

static inline single next_fold(place *p, long *divisor)
{
    const single *from = p->from + p->channel;
    const int taps = (int)p->size[0];
    *divisor = p->divisor ? p->divisor : p->others * p->counted[0];
    single sum = from[0];
    for (int t = 1; t < taps; t++)
        sum += from[t * p->tap];
    if (++p->channel == p->channels) {
        p->channel = 0;
        p->from += (int)(p->start[1] - p->start[0]) * p->tap; /* behind the last window: anywhere, and not used */
        p->start++;
        p->size++;
        p->counted++;
    }
    return sum;
}
#endif

KERNEL void pool(source x, ulong x_offset, target out, ulong out_offset, table meta, table by, ulong end,
                   uint lanes, uint columns, uint beside, __local total *totals, __global long *where,
                   ulong where_offset)
{
    const number item = (number)get_global_id(0);
    if (item >= (number)end)
        return;
    table pooled = meta + HEAD + meta[0] * KEPT, inner = pooled + (POOLED - 1) * AXIS;
    const series s = series_of(x + x_offset, meta, inner, item);
    window w = s.w;
    table start = meta + inner[STARTS] + s.first, size = meta + inner[SIZES] + s.first;
    const int windows = (int)(s.stop - s.first), channels = (int)meta[3], tap = (int)(inner[X_STRIDE] / (long)sizeof(raw));
    const int span = (int)(start[windows - 1] + size[windows - 1] - start[0] - 1) * tap + channels;
    const uint rows = (uint)rows_of(&w);
    line l;
    int at = 0;
    for (; at + 24 < span; at += 32)
        columns_4(&w, pooled, rows, at, span - 8, &l);
    if (at + 8 < span) {
        columns_2(&w, pooled, rows, at, span - 8, &l);
        at += 16;
    }
    if (at < span)
        columns_1(&w, pooled, rows, at, span - 8, &l);
    out += out_offset;
#ifdef LARGEST
    where += where_offset / 8;
    for (int i = 0;; i++) {
        for (int c = 0; c < channels; c++) {
            const int from = (int)(start[i] - start[0]) * tap + c, taps = (int)size[i];
            key best = l.best[from];
            uint row = l.row[from], column = 0;
            for (int t = 1; t < taps; t++) {
                const key k = l.best[from + t * tap];
                const uint r = l.row[from + t * tap];
                if (k > best || (k == best && r < row)) {
                    best = k;
                    row = r;
                    column = (uint)t;
                }
            }
            put_one(out, where, &w, pooled, c * (long)sizeof(raw), w.out + c * meta[4], row, column);
        }
        if (i + 1 == windows)
            return;
        w.x += (start[i + 1] - start[i]) * inner[X_STRIDE];
        w.index += (start[i + 1] - start[i]) * inner[INDEX_START];
        w.out += inner[OUT_STRIDE];
    }
#else
    place p = {l.sum, start, size, meta + inner[COUNTED] + s.first, meta[2], w.others, tap, channels, 0};
    long d;
    out += w.out;
#ifdef PUT_FLOATS
    if ((channels == 1 || meta[4] == O_SIZE) && inner[OUT_STRIDE] == O_SIZE * (long)channels) {
#define NEXT(i) sum.s##i = next_fold(&p, &d), divisor.s##i = (double)d
        int left = windows * channels;
        for (; left >= 8; left -= 8, out += 8 * O_SIZE) {
            several sum, divisor;
            NEXT(0), NEXT(1), NEXT(2), NEXT(3), NEXT(4), NEXT(5), NEXT(6), NEXT(7);
            PUT_FLOATS(out, sum / divisor + 0.0);
        }
        for (; left > 0; left--, out += O_SIZE) {
            const single sum = next_fold(&p, &d);
            finish(out, sum, d);
        }
        return;
    }
#endif
    for (int i = 0; i < windows; i++)
        for (int c = 0; c < channels; c++) {
            const single sum = next_fold(&p, &d);
            finish(out + i * inner[OUT_STRIDE] + c * meta[4], sum, d);
        }
#endif
}
#endif
