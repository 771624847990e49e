/* Windows of medium width on other devices. Lanes make a line of the sums of columns, each of which is read once though
 * several windows may hold it, and then of the line the results that follow each other along the innermost axis. A few
 * channels, which are neighbours, lie within the line. */

#ifdef TILE

#ifdef LARGEST
#define TAP(k) consider(&sum[k], raw_at(p + place[k]), r, 0)
#define TIDY(k) sum[k].column = at[k] / channels
#else
#define TAP(k) add(&sum[k], value_at(p + place[k]))
#define TIDY(k) tidy(&sum[k])
#endif

/* The sums of so many columns that lie `apart` from each other, over all rows of the window; those behind the last
 * one are the last one again. */
static inline void add_columns(const window *w, table pooled, uint from, uint apart, uint last, uint channels, total *line)
{
    const extent rows = rows_of(w), tall = w->size[POOLED - 2];
    const long step = pooled[(POOLED - 2) * AXIS + TAP_STRIDE];
    total sum[TILE];
    uint at[TILE];
    long place[TILE];
#pragma unroll
    for (int k = 0; k < TILE; k++) {
        sum[k] = NOTHING;
        at[k] = min(from + (uint)k * apart, last);
        place[k] = (long)at[k] * (long)sizeof(raw);
    }
    for (extent r = 0; r < rows;) {
        source p = w->x + row_at(w, pooled, r, TAP_STRIDE);
        const extent stop = r + min(tall - r % tall, (extent)RUN);
#if !(defined SUM_PAIR || defined SUM_BITS) /* which branch */
#pragma unroll 4
#endif
        for (; r < stop; r++, p += step) {
#pragma unroll
            for (int k = 0; k < TILE; k++)
                TAP(k);
        }
#pragma unroll
        for (int k = 0; k < TILE; k++)
            TIDY(k);
    }
#pragma unroll
    for (int k = 0; k < TILE; k++)
        line[k] = sum[k];
}

__kernel void pool(source x, ulong x_offset, target out, ulong out_offset, table meta, table by, ulong end,
                   uint lanes, uint columns, uint beside, __local total *totals, __global long *where,
                   ulong where_offset)
{
    const uint me = (uint)get_local_id(0), lane = me % lanes, own = me / lanes, teams = (uint)get_local_size(0) / lanes;
    const number item = (number)get_group_id(0) * teams + own;
    const int mine = own < teams && item < (number)end;
    table pooled = meta + HEAD + meta[0] * KEPT, inner = pooled + (POOLED - 1) * AXIS;
    const uint channels = (uint)meta[3];
    __local total *line = totals + own * (uint)meta[6];
    series s;
    table start = meta, size = meta;
    uint windows = 0;
    if (mine) {
        s = series_of(x + x_offset, meta, inner, item);
        start = meta + inner[STARTS] + s.first;
        size = meta + inner[SIZES] + s.first;
        windows = (uint)(s.stop - s.first);
        const uint span = (uint)(start[windows - 1] + size[windows - 1] - start[0]) * channels;
        for (uint from = lane; from < span; from += TILE * lanes) {
            total sum[TILE];
            add_columns(&s.w, pooled, from, lanes, span - 1, channels, sum);
#pragma unroll
            for (int k = 0; k < TILE; k++)
                if (from + (uint)k * lanes < span)
                    line[from + (uint)k * lanes] = sum[k];
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint result = lane; result < windows * channels; result += lanes) {
        const uint i = result / channels, c = result % channels, before = (uint)(start[i] - start[0]);
        const uint first = before * channels + c, taps = (uint)size[i];
        total sum = line[first];
        for (uint t = 1; t < taps; t++)
            join(&sum, line[first + t * channels]);
#ifdef LARGEST
        sum.column -= before;
#endif
        window w = s.w;
        w.x += before * inner[X_STRIDE] + c * (long)sizeof(raw);
        w.index += before * inner[INDEX_START];
        w.out += i * inner[OUT_STRIDE] + c * meta[4];
        if (!meta[2])
            w.divisor = w.others * meta[inner[COUNTED] + s.first + i];
        put(out + out_offset, where + where_offset / 8, &w, meta, sum);
    }
}
#endif
