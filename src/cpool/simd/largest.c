/* Where the largest of each window is: found with it, or looked for afterwards. */

#include "walk.h"

#if defined(__GNUC__)
#define FORCED inline __attribute__((always_inline))
#else
#define FORCED inline
#endif

enum { NARROW = 12 /* columns that are compared one by one */ };

static FORCED uint64_t bits_of(const char *p, int size, int swap)
{
    uint64_t all = 0;
    uint32_t four;
    uint16_t two;
    if (swap) {
        for (int b = 0; b < size; b++)
            all |= (uint64_t)(unsigned char)p[size - 1 - b] << 8 * b;
        return all;
    }
    switch (size) {
    case 1:
        return (unsigned char)*p;
    case 2:
        memcpy(&two, p, 2);
        return two;
    case 4:
        memcpy(&four, p, 4);
        return four;
    default:
        memcpy(&all, p, 8);
        return all;
    }
}

static FORCED void put_bits(char *p, uint64_t all, int size)
{
    const uint32_t four = (uint32_t)all;
    const uint16_t two = (uint16_t)all;
    switch (size) {
    case 1:
        *p = (char)all;
        break;
    case 2:
        memcpy(p, &two, 2);
        break;
    case 4:
        memcpy(p, &four, 4);
        break;
    default:
        memcpy(p, &all, 8);
    }
}

/* The bits of a float of this type without its sign, and an infinity's; for integers, all and none. */
static uint64_t magnitude(const cpool_call *c, uint64_t *infinity)
{
    static const uint64_t infinities[] = {0x7c00, 0x7f80, 0x7f800000, (uint64_t)0x7ff << 52};
    *infinity = c->type <= CPOOL_F64 ? infinities[c->type] : ~(uint64_t)0;
    return c->type <= CPOOL_F64 ? ~(uint64_t)0 >> (65 - 8 * c->size) : ~(uint64_t)0;
}

/* The tap of the inner axis of the first element of a row that is the largest; the count of them if none is. */
static int64_t find_in_row(const cpool_call *c, const char *p, int64_t n, int64_t step, uint64_t most)
{
    uint64_t infinity, all = magnitude(c, &infinity), mask = most & all ? ~(uint64_t)0 : all;
    const int nan = c->type <= CPOOL_F64 && (most & all) > infinity;
    if (!c->swap && !nan && n > NARROW)
        return c->isa->find[c->size](p, n, step, mask, most & mask);
    for (int64_t i = 0; i < n; i++) {
        uint64_t x = bits_of(p + i * step, c->size, c->swap);
        if (nan ? (x & all) > infinity : (x & mask) == (most & mask))
            return i;
    }
    return n;
}

/* The place in its plane of row r of the outer window, without the inner axis. */
static int64_t row_place(const cpool_call *c, const cursor *at, int64_t r)
{
    int64_t place = 0;
    for (int a = c->outer - 1; a > 0; a--) {
        const cpool_pool *p = &c->pool[a];
        int64_t taps = p->count[at->outer[a]];
        place += (p->start[at->outer[a]] + r % taps * p->step) * p->index_stride;
        r /= taps;
    }
    if (c->outer)
        place += (c->pool[0].start[at->outer[0]] + r * c->pool[0].step) * c->pool[0].index_stride;
    return place;
}

/* One result: where its first equal is, and that one's own bits. */
static void locate_one(const cpool_call *c, const char *line, char *to, int64_t *index, const cursor *at, int64_t j,
                       const int64_t *rows, int64_t count, scratch_map *s)
{
    const int64_t width = c->inner.count[j], step = c->inner.step * c->inner.x_stride;
    const uint64_t most = bits_of(to, c->size, 0);
    line += c->inner.start[j] * c->inner.x_stride;
    for (int64_t r = 0; r < count; r++) {
        if (count > ROWS_LISTED && r % ROWS_LISTED == 0)
            rows = list_rows(c, at->o, r, least(ROWS_LISTED, count - r), s->rows);
        const char *const row = line + rows[r % ROWS_LISTED];
        int64_t t = find_in_row(c, row, width, step, most);
        if (t == width)
            continue;
        put_bits(to, bits_of(row + t * step, c->size, c->swap), c->size);
        if (index)
            *index = row_place(c, at, r) + (c->inner.start[j] + t * c->inner.step) * c->inner.index_stride;
        return;
    }
}

void cpool_locate(const cpool_call *c, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end, scratch_map *s)
{
    const uint64_t minus_zero = c->type <= CPOOL_F64 ? (uint64_t)1 << (8 * c->size - 1) : 0;
    cursor at;
    cursor_set(c, &at, begin);
    for (int64_t u = begin; u < end; u++, advance(c, &at)) {
        int64_t first = at.j, last = at.j + 1, channel = 0, channels = c->channels;
        if (c->path == CPOOL_PATH_ROWS) {
            first = c->tile[at.j].first;
            last = c->tile[at.j].last;
        } else if (c->lanes == 1) {
            channel = at.t * c->channel_tile;
            channels = least(c->channel_tile, c->channels - channel);
        }
        const int64_t count = count_rows(c, at.o), *rows = NULL;
        if (count <= ROWS_LISTED)
            rows = list_rows(c, at.o, 0, count, s->rows);
        for (int64_t j = first; j < last; j++)
            for (int64_t ch = channel; ch < channel + channels; ch++) {
                const int64_t to = at.out + j * c->inner.out_stride + ch * c->channel_out;
                if (indices || bits_of(out + to, c->size, 0) == minus_zero)
                    locate_one(c, x + at.x + ch * c->channel_x, out + to, indices ? indices + to / c->size : NULL, &at, j,
                               rows, count, s);
            }
    }
}

int cpool_is_keyed(const cpool_call *c)
{
    int64_t width = 1;
    if (c->pack || (c->path != CPOOL_PATH_ROWS && c->lanes != 1) || c->path == CPOOL_PATH_COPY)
        return 0;
    for (int64_t j = 0; c->lanes == 1 && j < c->inner.m; j++)
        width = c->inner.count[j] > width ? c->inner.count[j] : width;
    return c->max_rows <= least(ROWS_LISTED, INT32_MAX / width); /* taps are counted in 32 bits */
}

/* What is read and written around the keys: where the rows are, in memory and in their plane. */
typedef struct {
    const char *line;
    char *out;
    int64_t *indices;
    const int64_t *rows, *places;
} keyed;

/* Of the columns of a window the one with the largest key; of these, the one of the first row, which is given back. */
static FORCED int64_t first_column(const void *keys, const void *taps, int64_t column, int64_t width, int64_t step,
                                   int size, int64_t *tap)
{
    *tap = 0;
    if (size < 8) {
        const int32_t *k = (const int32_t *)keys, *row = (const int32_t *)taps;
        int64_t best = INT64_MIN;
        for (int64_t t = 0; t < width; t++, column += step) { /* earlier rows count more */
            const int64_t here = (int64_t)k[column] * ((int64_t)1 << 32) + (INT32_MAX - row[column]);
            *tap = here > best ? t : *tap;
            best = here > best ? here : best;
        }
        return INT32_MAX - (best & INT32_MAX);
    }
    const int64_t *k = (const int64_t *)keys, *row = (const int64_t *)taps;
    int64_t best = column;
    for (int64_t t = 1, i = column + step; t < width; t++, i += step)
        if (k[i] > k[best] || (k[i] == k[best] && row[i] < row[best])) {
            best = i;
            *tap = t;
        }
    return row[best];
}

static FORCED void put_columns(const cpool_call *c, const cpool_tile *tile, const keyed *k, const scratch_map *s, int size)
{
    const cpool_pool *inner = &c->inner;
    for (int64_t j = tile->first; j < tile->last; j++)
        for (int64_t ch = 0; ch < c->channels; ch++) {
            int64_t tap;
            const int64_t column = (inner->start[j] - tile->column) * c->channels + ch;
            const int64_t row = first_column(s->keys, s->taps, column, inner->count[j], inner->step * c->channels, size, &tap);
            const int64_t to = j * inner->out_stride + ch * c->channel_out, at = inner->start[j] + tap * inner->step;
            put_bits(k->out + to, bits_of(k->line + k->rows[row] + at * inner->x_stride + ch * c->channel_x, size, 0), size);
            k->indices[to / size] = k->places[row] + at * inner->index_stride;
        }
}

enum { LISTED = 256 }; /* taps of a window that are listed once for all its channels */

static FORCED uint32_t tap_of(const scratch_map *s, int64_t i, int size)
{
    return size < 8 ? (uint32_t)((const int32_t *)(const void *)s->taps)[i]
                    : (uint32_t)((const int64_t *)(const void *)s->taps)[i];
}

static FORCED void put_listed(const keyed *k, int64_t to, int64_t n, int64_t x_step, int64_t out_step,
                              const char *const *from, const int64_t *place, const scratch_map *s, int size)
{
    char *out = k->out + to;
    int64_t *index = k->indices + to / size;
    const int64_t step = out_step / size;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t tap = tap_of(s, i, size);
        put_bits(out + i * out_step, bits_of(from[tap] + i * x_step, size, 0), size);
        index[i * step] = place[tap];
    }
}

static FORCED void put_pixels(const cpool_call *c, int64_t j, int64_t channel, int64_t n, const keyed *k, int64_t rows,
                              const scratch_map *s, int size)
{
    const cpool_pool *inner = &c->inner;
    const uint32_t width = (uint32_t)inner->count[j];
    if (rows * width <= least(LISTED, 4 * n)) { /* the divisions are made once */
        const char *from[LISTED];
        int64_t place[LISTED], taps = 0;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t t = 0; t < width; t++, taps++) {
                const int64_t at = inner->start[j] + t * inner->step;
                from[taps] = k->line + k->rows[r] + at * inner->x_stride + channel * c->channel_x;
                place[taps] = k->places[r] + at * inner->index_stride;
            }
        const int64_t to = j * inner->out_stride + channel * c->channel_out;
        if (c->channel_x == size && c->channel_out == size)
            put_listed(k, to, n, size, size, from, place, s, size);
        else
            put_listed(k, to, n, c->channel_x, c->channel_out, from, place, s, size);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const uint32_t tap = tap_of(s, i, size), row = tap / width;
        const int64_t at = inner->start[j] + (tap - row * width) * inner->step, ch = channel + i;
        const int64_t to = j * inner->out_stride + ch * c->channel_out;
        put_bits(k->out + to, bits_of(k->line + k->rows[row] + at * inner->x_stride + ch * c->channel_x, size, 0), size);
        k->indices[to / size] = k->places[row] + at * inner->index_stride;
    }
}

/* Like the paths of lines and pixels, but what is carried along is where the first of the largest is. */
static FORCED void run_keyed(const cpool_call *c, const char *x, char *out, int64_t *indices, cursor *at, int64_t units,
                             scratch_map *s, int size)
{
    const int pixels = c->path != CPOOL_PATH_ROWS;
    int64_t placed = -1;
    for (; units; units--, advance(c, at)) {
        const int64_t *rows, count = rows_of(c, at->o, s->rows, &rows);
        const keyed k = {x + at->x, out + at->out, indices + at->out / size, rows, s->places};
        if (placed != at->o)
            for (int64_t r = 0; r < count; r++)
                s->places[r] = row_place(c, at, r);
        placed = at->o;
        cpool_job job = {k.line, rows, count, 1, 0, 0, NULL, 0, 0, 0, 0};
        if (!pixels) {
            const cpool_tile *tile = &c->tile[at->j];
            job.base += tile->column * c->inner.x_stride;
            job.n = tile->columns * c->channels;
            c->isa->first[c->type](&job, s->keys, s->taps);
            put_columns(c, tile, &k, s, size);
            continue;
        }
        const int64_t channel = at->t * c->channel_tile;
        job.base += c->inner.start[at->j] * c->inner.x_stride + channel * c->channel_x;
        job.run = c->inner.count[at->j];
        job.run_step = c->inner.step * c->inner.x_stride;
        job.n = least(c->channel_tile, c->channels - channel);
        c->isa->first[c->type](&job, s->keys, s->taps);
        put_pixels(c, at->j, channel, job.n, &k, count, s, size);
    }
}

void cpool_run_keyed(const cpool_call *c, const char *x, char *out, int64_t *indices, cursor *at, int64_t units,
                     scratch_map *s)
{
    switch (c->size) {
    case 1:
        run_keyed(c, x, out, indices, at, units, s, 1);
        break;
    case 2:
        run_keyed(c, x, out, indices, at, units, s, 2);
        break;
    case 4:
        run_keyed(c, x, out, indices, at, units, s, 4);
        break;
    default:
        run_keyed(c, x, out, indices, at, units, s, 8);
    }
}
