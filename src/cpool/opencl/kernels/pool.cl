/* Pooling. A result is an item; so many lanes share its window, and so many results a work-group. Where results are
 * few, work-groups share them, too: `part` leaves what each found, `whole` joins it.
 *
 * `meta` says where everything lies (see layouts.py): a head, the kept axes, the pooled ones, and the tables. */

enum { HEAD = 7, KEPT = 5, LENGTH = 0, MAGIC, SHIFT, X_STRIDE, OUT_STRIDE };
enum { AXIS = 11, TAP_STRIDE = 5, INDEX_START, INDEX_TAP, STARTS, SIZES, COUNTED };

#ifdef MANY
typedef ulong number;
#else
typedef uint number; /* below 2^31: then a product replaces the division */
#endif

static inline number divide(number n, table axis)
{
#ifdef MANY
    return n / (ulong)axis[LENGTH];
#else
    return axis[LENGTH] == 1 ? n : mul_hi(n, (uint)axis[MAGIC]) >> (uint)axis[SHIFT];
#endif
}

/* Where an item takes eight neighbours at a time itself, a compiler that puts items side by side (Intel's) would gather
 * them from afar: told of vectors, it leaves them alone. */
#if defined SIDE || defined ALONG || defined LINE
#define KERNEL __kernel __attribute__((vec_type_hint(float8)))
#else
#define KERNEL __kernel
#endif

typedef struct {
    source x; /* the first tap */
    long out;
    long index; /* of the first tap in its plane */
    long divisor;
    long others; /* the divisor's part of all axes but the innermost */
    extent size[POOLED];
#ifdef SIDE
    long left; /* results from here to the end of the axis of neighbours */
#endif
} window;

static inline number kept_axis(window *w, table axis, number rest)
{
    const number next = divide(rest, axis);
    const long i = (long)(rest - next * (number)axis[LENGTH]);
    w->x += i * axis[X_STRIDE];
    w->out += i * axis[OUT_STRIDE];
    return next;
}

/* Where result number `rest` comes from and where it goes. */
static inline window window_of(source x, table meta, number rest)
{
    const int kept = (int)meta[0], front = (int)meta[1];
    table pooled = meta + HEAD + kept * KEPT;
    window w;
    w.x = x;
    w.out = w.index = 0;
    w.divisor = w.others = 1;
#ifdef SIDE
    const number length = (number)meta[HEAD + LENGTH];
    w.left = meta[3] - SIDE * (long)(rest % length);
#endif
    for (int a = 0; a < front; a++)
        rest = kept_axis(&w, meta + HEAD + a * KEPT, rest);
#pragma unroll
    for (int p = POOLED - 1; p >= 0; p--) {
        table axis = pooled + p * AXIS;
        const number next = divide(rest, axis);
        const long i = (long)(rest - next * (number)axis[LENGTH]), start = meta[axis[STARTS] + i];
        rest = next;
        w.x += start * axis[X_STRIDE];
        w.out += i * axis[OUT_STRIDE];
        w.index += start * axis[INDEX_START];
        w.divisor *= meta[axis[COUNTED] + i];
        if (p < POOLED - 1)
            w.others *= meta[axis[COUNTED] + i];
        w.size[p] = (extent)meta[axis[SIZES] + i];
    }
    for (int a = front; a < kept; a++)
        rest = kept_axis(&w, meta + HEAD + a * KEPT, rest);
    if (meta[2])
        w.divisor = meta[2];
    return w;
}

static inline extent rows_of(const window *w)
{
    extent rows = 1;
#pragma unroll
    for (int p = 0; p < POOLED - 1; p++)
        rows *= w->size[p];
    return rows;
}

/* Bytes from the first tap of the window to the first of row r, or (`field`) elements of its plane. */
static inline long row_at(const window *w, table pooled, extent r, int field)
{
    long at = 0;
#pragma unroll
    for (int p = POOLED - 2; p > 0; p--) {
        const extent next = r / w->size[p];
        at += (long)(r - next * w->size[p]) * pooled[p * AXIS + field];
        r = next;
    }
#if POOLED > 1
    at += (long)r * pooled[field];
#endif
    return at;
}

#if defined SERIES || defined LINE || defined TILE
/* What a processor's item makes, or lanes that share a line: results that follow each other along an axis, and the
 * window of the first. */
typedef struct {
    number first, stop;
    window w;
} series;

static inline series series_of(source x, table meta, table axis, number item)
{
    const number length = (number)axis[LENGTH], some = (number)meta[5], pieces = (length + some - 1) / some;
    series s;
    s.first = item % pieces * some;
    s.stop = min(length, s.first + some);
    s.w = window_of(x, meta, item / pieces * length + s.first);
    return s;
}
#endif

#if defined SERIES || defined LINE
/* The rows of a window one after the other: the same without a division. */
typedef struct {
    long x, index;
    extent at[POOLED];
} row;

static inline row first_row(void)
{
    row r;
    r.x = r.index = 0;
    for (int p = 0; p < POOLED; p++)
        r.at[p] = 0;
    return r;
}

static inline void next_row(row *r, const window *w, table pooled)
{
#pragma unroll
    for (int p = POOLED - 2; p >= 0; p--) {
        const long x = pooled[p * AXIS + TAP_STRIDE], index = pooled[p * AXIS + INDEX_TAP];
        r->x += x;
        r->index += index;
        if (++r->at[p] < w->size[p])
            return;
        r->x -= (long)w->size[p] * x;
        r->index -= (long)w->size[p] * index;
        r->at[p] = 0;
    }
}
#endif

/* The rows and columns of a window that one item takes. */
typedef struct {
    extent row, rows, row_step, column, columns, column_step;
} share;

#if defined SIDE && defined LARGEST
#define ADD(p, c) consider(&sum, raws_at(p, w->left), r, c)
#define END_OF_ROW
#elif defined SIDE
#define ADD(p, c) sum += values_at(p, w->left)
#define END_OF_ROW
#elif defined LARGEST
#define ADD(p, c) consider(&sum, raw_at(p), r, c)
#define END_OF_ROW
#elif defined DIVIDED
#define ADD(p, c) add_quotient(&sum, value_at(p), by[index + (long)(c) * index_tap])
#define END_OF_ROW tidy(&sum)
#else
#define ADD(p, c) add(&sum, value_at(p))
#define END_OF_ROW tidy(&sum)
#endif

enum { RUN = 256 }; /* columns after which a pair is tidied */

static inline total gather(const window *w, table pooled, share s, table by)
{
    total sum = NOTHING;
#ifdef ALONG
    several many = 0;
#endif
    const long step = pooled[(POOLED - 1) * AXIS + TAP_STRIDE], jump = step * (long)s.column_step;
    const long index_tap = pooled[(POOLED - 1) * AXIS + INDEX_TAP];
#ifdef SERIES
    row here = first_row();
#endif
    for (extent r = s.row; r < s.rows; r += s.row_step) {
#ifdef SERIES
        source p = w->x + here.x;
        const long index = w->index + here.index;
        next_row(&here, w, pooled);
#else
        source p = w->x + row_at(w, pooled, r, TAP_STRIDE) + (long)s.column * step;
        const long index = w->index + row_at(w, pooled, r, INDEX_TAP);
#endif
        extent c = s.column;
#ifdef ALONG
        if (jump == (long)sizeof(raw) && c + ALONG <= s.columns) {
            for (; c + ALONG <= s.columns; c += ALONG, p += ALONG * sizeof(raw))
                many += values_at(p, ALONG);
#ifdef LAST
            if (c < s.columns) { /* the last eight again, but for those that were added */
                const int left = (int)(s.columns - c);
                many += LAST(values_at(p - (ALONG - left) * (int)sizeof(raw), ALONG), left);
            }
            continue;
#endif
        }
#endif
        while (c < s.columns) {
            const extent left = (s.columns - c + s.column_step - 1) / s.column_step, n = min(left, (extent)RUN);
            extent i = 0;
            for (; i + 4 <= n; i += 4, p += 4 * jump, c += 4 * s.column_step) {
                ADD(p, c);
                ADD(p + jump, c + s.column_step);
                ADD(p + 2 * jump, c + 2 * s.column_step);
                ADD(p + 3 * jump, c + 3 * s.column_step);
            }
            for (; i < n; i++, p += jump, c += s.column_step)
                ADD(p, c);
            END_OF_ROW;
        }
        (void)index;
    }
    (void)index_tap;
    (void)by;
#ifdef ALONG
    sum += folded(many);
#endif
    return sum;
}

#ifdef LARGEST
static inline void put_one(target out, __global long *where, const window *w, table pooled, long x, long to, extent row,
                           extent column)
{
    table inner = pooled + (POOLED - 1) * AXIS;
    *(__global raw *)(out + to) =
        raw_at(w->x + x + row_at(w, pooled, row, TAP_STRIDE) + (long)column * inner[TAP_STRIDE]);
#ifdef INDEXED
    where[to / (long)sizeof(raw)] = w->index + row_at(w, pooled, row, INDEX_TAP) + (long)column * inner[INDEX_TAP];
#endif
}
#endif

static inline void put(target out, __global long *where, const window *w, table meta, total sum)
{
    table pooled = meta + HEAD + meta[0] * KEPT;
#ifdef SIDE
    const long stride = meta[4];
#ifdef LARGEST
    single found[SIDE];
    vstore8(sum.row, 0, found);
    uint columns[SIDE];
    vstore8(sum.column, 0, columns);
    for (int i = 0; i < SIDE && i < w->left; i++)
        put_one(out, where, w, pooled, i * (long)sizeof(raw), w->out + i * stride, found[i], columns[i]);
#else
#ifdef PUT_FLOATS
    if (w->left >= SIDE && stride == O_SIZE) {
        PUT_FLOATS(out + w->out, sum / (double)w->divisor + 0.0);
        return;
    }
#endif
    single found[SIDE];
    vstore8(sum, 0, found);
    for (int i = 0; i < SIDE && i < w->left; i++)
        finish(out + w->out + i * stride, found[i], w->divisor);
#endif
#elif defined LARGEST
    put_one(out, where, w, pooled, 0, w->out, sum.row, sum.column);
#else
    finish(out + w->out, sum, w->divisor);
#endif
}

#if !defined LINE && !defined TILE /* those are in line.cl and tile.cl */
#ifdef SERIES
#if defined SIDE && !defined LARGEST
enum { WIDE = 4, BLOCK = 256, TALL = 64 }; /* of whole pixels, half as many taps are many */
/* The same window of so many channels, by eights: whole lines of cache at a time. Sums stay in registers (one
 * function for this and the next was a fifth slower) ... */
static inline void gather_wide(const window *w, table pooled, several sum[WIDE])
{
    const long step = pooled[(POOLED - 1) * AXIS + TAP_STRIDE];
    const extent rows = rows_of(w), columns = w->size[POOLED - 1];
    several a = 0, b = 0, c = 0, d = 0;
    row here = first_row();
    for (extent r = 0; r < rows; r++, next_row(&here, w, pooled)) {
        source p = w->x + here.x;
        for (extent i = 0; i < columns; i++, p += step) {
            a += values_at(p, SIDE);
            b += values_at(p + SIDE * sizeof(raw), SIDE);
            c += values_at(p + 2 * SIDE * sizeof(raw), SIDE);
            d += values_at(p + 3 * SIDE * sizeof(raw), SIDE);
        }
    }
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
}

/* ... or, where taps are many, in the first cache, for as much as possible of each pixel. */
static inline void gather_block(const window *w, table pooled, several sum[BLOCK], int count)
{
    const long step = pooled[(POOLED - 1) * AXIS + TAP_STRIDE];
    const extent rows = rows_of(w), columns = w->size[POOLED - 1];
    for (int k = 0; k < count; k++)
        sum[k] = 0;
    row here = first_row();
    for (extent r = 0; r < rows; r++, next_row(&here, w, pooled)) {
        source p = w->x + here.x;
        for (extent i = 0; i < columns; i++, p += step)
            for (int k = 0; k < count; k++)
                sum[k] += values_at(p + k * SIDE * (int)sizeof(raw), SIDE);
    }
}
#define CHANNELS
#endif

/* Results of an item, one after the other: what they share is found once. */
KERNEL void pool(source x, ulong x_offset, target out, ulong out_offset, table meta, table by, ulong end,
                   uint lanes, uint columns, uint beside, __local total *totals, __global long *where,
                   ulong where_offset)
{
    const number item = (number)get_global_id(0);
    if (item >= (number)end)
        return;
    table pooled = meta + HEAD + meta[0] * KEPT, inner = pooled + (POOLED - 1) * AXIS;
    table axis = meta[1] ? meta + HEAD : inner;
    const series s = series_of(x + x_offset, meta, axis, item);
    const number stop = s.stop;
    window w = s.w;
    out += out_offset;
    where += where_offset / 8;
    for (number i = s.first;;) {
#ifdef CHANNELS
        const int whole = (int)min((long)(stop - i), min(w.left / SIDE, (long)BLOCK));
        if (whole >= WIDE) {
            several sum[BLOCK];
            const int all = (whole + 1) * SIDE > meta[3];
            const int block = whole > WIDE && rows_of(&w) * w.size[POOLED - 1] >= (all ? TALL / 2 : TALL);
            const int count = block ? whole : WIDE;
            if (block)
                gather_block(&w, pooled, sum, count);
            else
                gather_wide(&w, pooled, sum);
            for (int k = 0; k < count; k++) {
                put(out, where, &w, meta, sum[k]);
                w.x += axis[X_STRIDE];
                w.out += axis[OUT_STRIDE];
                w.left -= SIDE;
            }
            i += count;
            if (i == stop)
                return;
            continue;
        }
#endif
        const share all = {0, rows_of(&w), 1, 0, w.size[POOLED - 1], 1};
        put(out, where, &w, meta, gather(&w, pooled, all, by));
        if (++i == stop)
            return;
        w.out += axis[OUT_STRIDE];
        if (axis != inner) {
            w.x += axis[X_STRIDE];
#ifdef SIDE
            w.left -= SIDE;
#endif
            continue;
        }
        table start = meta + inner[STARTS] + i;
        w.x += (start[0] - start[-1]) * inner[X_STRIDE];
        w.index += (start[0] - start[-1]) * inner[INDEX_START];
        w.size[POOLED - 1] = (extent)meta[inner[SIZES] + i];
        if (!meta[2])
            w.divisor = w.others * meta[inner[COUNTED] + i];
    }
}
#else
/* Add up what the lanes of each result found, half by half; the first lane gets it. */
static inline total tree(total sum, __local total *totals, uint lane, uint lanes, uint distance)
{
    const uint me = (uint)get_local_id(0);
    totals[me] = sum;
    for (uint half_of = lanes >> 1; half_of > 0; half_of >>= 1) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < half_of) {
            join(&sum, totals[me + half_of * distance]);
            totals[me] = sum;
        }
    }
    return sum;
}

/* Lanes next to each other where elements of a window are neighbours; else results next to each other. */
#define PLACE                                                                                                          \
    const uint me = (uint)get_local_id(0), results = (uint)get_local_size(0) / lanes;                                  \
    const uint lane = beside ? me % lanes : me / results, own = beside ? me / lanes : me % results;                    \
    const number item = (number)get_group_id(0) * results + own;                                                       \
    const int mine = item < (number)end;                                                                               \
    table pooled = meta + HEAD + meta[0] * KEPT;                                                                       \
    total sum = NOTHING;                                                                                               \
    window w

KERNEL void pool(source x, ulong x_offset, target out, ulong out_offset, table meta, table by, ulong end,
                   uint lanes, uint columns, uint beside, __local total *totals, __global long *where,
                   ulong where_offset)
{
    PLACE;
    if (mine) {
        w = window_of(x + x_offset, meta, item);
        const share s = {lane / columns,  rows_of(&w),         lanes / columns,
                         lane % columns, w.size[POOLED - 1], columns};
        sum = gather(&w, pooled, s, by);
    }
    if (lanes > 1)
        sum = tree(sum, totals, lane, lanes, beside ? 1 : results);
    if (mine && lane == 0)
        put(out + out_offset, where + where_offset / 8, &w, meta, sum);
}

/* The same for a part of each window: of its rows, and of its columns. */
KERNEL void part(source x, ulong x_offset, table meta, table by, ulong end, uint lanes, uint columns,
                   uint beside, uint row_parts, uint column_parts, __local total *totals, __global total *found)
{
    PLACE;
    const uint number_of = (uint)get_group_id(1), parts = row_parts * column_parts;
    if (mine) {
        w = window_of(x + x_offset, meta, item);
        const extent rows = rows_of(&w), across = w.size[POOLED - 1];
        const extent some = (rows + row_parts - 1) / row_parts, wide_part = (across + column_parts - 1) / column_parts;
        const extent row = number_of / column_parts * some, column = number_of % column_parts * wide_part;
        const share s = {row + lane / columns,    min(rows, row + some),           lanes / columns,
                         column + lane % columns, min(across, column + wide_part), columns};
        sum = gather(&w, pooled, s, by);
    }
    if (lanes > 1)
        sum = tree(sum, totals, lane, lanes, beside ? 1 : results);
    if (mine && lane == 0)
        found[item * parts + number_of] = sum;
}

KERNEL void whole(source x, ulong x_offset, target out, ulong out_offset, table meta, ulong end,
                    uint parts, const __global total *found, __global long *where, ulong where_offset)
{
    const number item = (number)get_global_id(0);
    if (item >= (number)end)
        return;
    const window w = window_of(x + x_offset, meta, item);
    total sum = found[item * parts];
    for (uint i = 1; i < parts; i++)
        join(&sum, found[item * parts + i]);
    put(out + out_offset, where + where_offset / 8, &w, meta, sum);
}
#endif
#endif
