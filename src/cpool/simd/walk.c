/* From a call to the kernels: which rows make which line, where results go, blocks of long windows.
 * Portable code; everything that counts happens behind the table of an instruction set. */

#include "walk.h"

enum { BATCH_ROWS = 8, CPOOL_GROUP = 64 };

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* ---- scratch ----------------------------------------------------------------------------- */

static int64_t tile_elements(const cpool_call *c) { return c->pack ? BATCH_ROWS * round_up(c->acc_len, 8) : 0; }

static int64_t map_scratch(const cpool_call *c, char *base, scratch_map *map)
{
    int64_t at = 0;
    const int64_t acc = c->group * c->planes * c->acc_len, sums = c->group * c->planes * c->sums_len, one = c->planes * c->sums_len;
#define TAKE(field, type, count)                                                                                   \
    do {                                                                                                           \
        if (map)                                                                                                   \
            map->field = (type *)(void *)(base + at);                                                              \
        at = round_up(at + (count) * (int64_t)sizeof(type), 64);                                                   \
    } while (0)
    TAKE(acc, double, acc);
    TAKE(sums, double, sums);
    TAKE(part, double, one);
    TAKE(total, double, one);
    TAKE(eight.elements, double, round_up(c->plane + 1, 8) * 8);
    TAKE(eight.line, double, c->planes * (c->line + 1) * 8);
    TAKE(eight.results, double, round_up(c->results, 8) * 8);
    TAKE(jobs, cpool_job, c->group);
    TAKE(results, cpool_result, c->group);
    TAKE(rows, int64_t, c->row_off ? 1 : least(c->max_rows, ROWS_LISTED));
    TAKE(tile, char, tile_elements(c) * c->size + 64);
    TAKE(row, char, c->sums_len * 8 + 64);
    TAKE(keys, char, c->reducer == CPOOL_MAX ? c->acc_len * 8 : 0);
    TAKE(places, int64_t, c->reducer == CPOOL_MAX ? least(c->max_rows, ROWS_LISTED) : 0);
    TAKE(taps, char, c->reducer == CPOOL_MAX ? c->acc_len * 8 : 0);
#undef TAKE
    return at;
}

int64_t cpool_scratch_bytes(const cpool_call *c) { return map_scratch(c, NULL, NULL) + 64; }

static scratch_map scratch_of(const cpool_call *c, void *scratch)
{
    scratch_map map;
    map_scratch(c, (char *)cpool_aligned(scratch), &map);
    map.odd = 0;
    return map;
}

/* ---- rows that no kernel can read: any strides, any byte order --------------------------------- */

static void gather(char *to, const char *from, int64_t columns, int64_t column_stride, int64_t channels,
                   int64_t channel_stride, int size, int swap)
{
    for (int64_t i = 0; i < columns; i++, from += column_stride) {
        const char *p = from;
        for (int64_t ch = 0; ch < channels; ch++, p += channel_stride, to += size)
            switch (size) {
            case 1:
                *to = *p;
                break;
            case 2:
                memcpy(to, p, 2);
                break;
            case 4:
                memcpy(to, p, 4);
                break;
            default:
                memcpy(to, p, 8);
            }
    }
    if (swap)
        for (char *p = to - columns * channels * size; p < to; p += size)
            for (int b = 0; b < size / 2; b++) {
                char kept = p[b];
                p[b] = p[size - 1 - b];
                p[size - 1 - b] = kept;
            }
}

/* Add rows (x run) of columns x channels into a line, through the tile if they must be gathered. */
static void add_line(const cpool_call *c, scratch_map *s, cpool_job *job, int64_t columns, int64_t column_stride,
                     int64_t channels)
{
    if (!c->pack) {
        c->kernels->lines[c->type](job, 1, 0);
        return;
    }
    int64_t offsets[BATCH_ROWS], filled = 0, stride = round_up(job->n, 8) * c->size;
    cpool_job tile = *job;
    tile.base = s->tile;
    tile.off = offsets;
    tile.run = 1;
    for (int64_t r = 0; r < job->rows; r++)
        for (int64_t t = 0; t < job->run; t++) {
            gather(s->tile + filled * stride, job->base + job->off[r] + t * job->run_step, columns, column_stride,
                   channels, c->channel_x, c->size, c->swap);
            offsets[filled] = filled * stride;
            if (++filled == BATCH_ROWS) {
                tile.rows = filled;
                c->kernels->lines[c->type](&tile, 1, 0);
                tile.add = 1;
                filled = 0;
            }
        }
    if (filled || !tile.add) { /* without a row, nothing is what the line holds */
        tile.rows = filled;
        c->kernels->lines[c->type](&tile, 1, 0);
    }
}

/* ---- results ------------------------------------------------------------------------------- */

/* A sum of doubles that is not finite: either the input isn't, or the sum ran over; then it is taken
 * again 2^128 times smaller, where nothing runs over, and no bit that matters is lost. */
static double rescued(const cpool_call *c, const char *line, int64_t o, int64_t j, int64_t ch, scratch_map *s, double divisor)
{
    const int64_t *rows;
    int64_t count = rows_of(c, o, s->rows, &rows);
    int up = 0, down = 0;
    cpool_pair sum = {0.0, 0.0};
    for (int64_t r = 0; r < count; r++)
        for (int64_t t = 0; t < c->inner.count[j]; t++) {
            double value;
            int64_t tap = c->inner.start[j] + t * c->inner.step;
            gather((char *)&value, line + rows[r] + tap * c->inner.x_stride + ch * c->channel_x, 1, 0, 1, 0, 8, c->swap);
            if (value != value)
                return value;
            up |= value == (double)INFINITY;
            down |= value == -(double)INFINITY;
            cpool_pair one = {value * 0x1p-128, 0.0};
            sum = cpool_pair_add(sum, one);
        }
    if (up || down)
        return (up ? (down ? (double)NAN : (double)INFINITY) : -(double)INFINITY) / divisor;
    return cpool_pair_quotient(sum.hi, sum.lo, divisor) * 0x1p128;
}

/* One row of results again, those whose sums are not finite. */
static void mend(const cpool_call *c, scratch_map *s, const cpool_result *r, char *out, const char *line, int64_t o,
                 int64_t j, int64_t channel)
{
    for (int64_t i = 0; i < r->n; i++) {
        double sum = r->sums[i] + r->sums[r->plane + i];
        if (sum - sum == 0.0)
            continue;
        const int rows = c->path == CPOOL_PATH_ROWS;
        double value = rescued(c, line, o, rows ? c->tile[j].first + i / c->channels : j,
                               rows ? i % c->channels : i + channel, s, r->divisor[r->broadcast ? 0 : i]);
        cpool_store_float(c->out_type, value, out + i * c->out_size);
    }
}

/* Whether results that a kernel found odd have to be mended; those of other sums are noted. */
static int to_mend(const cpool_call *c, scratch_map *s, int odd)
{
    if (c->kind == CPOOL_SUM_D)
        return odd;
    s->odd |= odd;
    return 0;
}

/* Divide and store. Whether one has to be mended. */
static int finish(const cpool_call *c, scratch_map *s, const cpool_result *rows, int64_t count, int64_t shift)
{
    return to_mend(c, s, c->kernels->finish[c->kind][c->out_type](rows, count, shift));
}

static void scatter(const cpool_call *c, char *out, const char *row, int64_t columns, int64_t channels)
{
    for (int64_t i = 0; i < columns; i++)
        for (int64_t ch = 0; ch < channels; ch++, row += c->out_size)
            memcpy(out + i * c->inner.out_stride + ch * c->channel_out, row, (size_t)c->out_size);
}

/* Divide and store one row of sums whose results may lie anywhere. */
static void finish_row(const cpool_call *c, scratch_map *s, cpool_result r, const char *x, const cursor *at,
                       int64_t columns, int64_t channels)
{
    char *out = r.out;
    if (!c->dense_out)
        r.out = s->row;
    if (finish(c, s, &r, 1, 0))
        mend(c, s, &r, r.out, x + at->x, at->o, at->j, at->t * c->channel_tile);
    if (!c->dense_out)
        scatter(c, out, s->row, columns, channels);
}

/* Sums of one kind of accumulator that are not yet sums of the call's kind. */
static int needs_settling(const cpool_call *c)
{
    return c->reducer == CPOOL_AVG && c->type >= CPOOL_I8 && c->type <= CPOOL_U64 && c->type != CPOOL_I32 && c->type != CPOOL_U32;
}

static void settle(const cpool_call *c, const cpool_job *line, double *sums, int64_t plane)
{
    const int64_t start[8] = {0}, count[8] = {1};
    cpool_fold all = {1, line->n, 1, start, count, 1, 0, NULL, NULL, 0};
    c->kernels->fold[c->type](line, 1, &all, sums, 0, plane);
}

/* ---- the paths ----------------------------------------------------------------------------- */

/* What stays the same from line to line. */
static void prepare_slots(const cpool_call *c, scratch_map *s, int64_t slots)
{
    const int pixels = c->path == CPOOL_PATH_PIXELS, settled = pixels && !needs_settling(c);
    for (int64_t g = 0; g < slots; g++) {
        cpool_job *job = &s->jobs[g];
        job->run = 1;
        job->run_step = pixels ? c->inner.step * c->inner.x_stride : 0;
        job->acc = s->acc + g * c->planes * c->acc_len;
        job->plane = c->acc_len;
        job->add = 0;
        job->far = c->far;
        job->next = c->next;
        cpool_result *r = &s->results[g];
        r->sums = settled ? job->acc : s->sums + g * c->sums_len;
        r->plane = settled ? c->acc_len : c->group * c->sums_len;
        r->broadcast = pixels;
    }
}

/* The results of one line; where they and their divisors follow those of the line before, one piece with them. */
static void add_result(const cpool_call *c, scratch_map *s, int64_t *made, char *out, int64_t o, const cpool_tile *tile,
                       const double *sums, int64_t plane, int alone)
{
    int64_t entry = c->divisor_row[o] * c->inner.m + tile->first, width = (tile->last - tile->first) * c->channels;
    const double *divisor = c->divisor_wide + entry * c->channels;
    char *to = out + tile->first * c->inner.out_stride;
    cpool_result *r = *made ? &s->results[*made - 1] : NULL;
    if (!alone && r && r->out + r->n * c->out_size == to && r->divisor + r->n == divisor)
        r->n += width;
    else
        s->results[(*made)++] =
            (cpool_result){sums, plane, divisor, c->reciprocal_wide + entry * c->channels, width, to, 0};
}

/* Whether results have the type that kernels which store them store. */
static int is_own(const cpool_call *c) { return c->out_type == (c->type == CPOOL_WIDE ? CPOOL_F32 : c->type); }

/* Whether lines go straight to results. */
static int is_thin(const cpool_call *c, const cpool_tile *tile)
{
    return tile->fold.thin && c->kernels->thin[c->type] && is_own(c) && c->dense_out && c->row_off && !c->pack;
}

/* Whether windows of channels go straight to results: their taps are few and stay in L1 while channels follow. */
static int is_quick(const cpool_call *c)
{
    return c->quick && !c->far && c->kernels->pixels[c->type] && is_own(c) && c->dense_out && c->row_off && !c->pack;
}

/* Rows into lines, and lines into windows. */
static void add_and_fold(const cpool_call *c, const cpool_job *lines, int64_t count, int64_t shift,
                         const cpool_fold *fold, double *sums, int64_t stride, int64_t plane)
{
    const cpool_kernels *k = c->kernels;
    if (c->max_rows == 1 && k->direct[c->type] && fold->c == 1 && fold->step == 1)
        k->direct[c->type](lines, count, shift, fold, sums, stride, plane);
    else {
        k->lines[c->type](lines, count, shift);
        k->fold[c->type](lines, count, fold, sums, stride, plane);
    }
}

static void run_rows(const cpool_call *c, const char *x, char *out, cursor *at, int64_t units, scratch_map *s)
{
    const int64_t group = c->tiles == 1 ? c->group : 1, plane = c->group * c->sums_len;
    const int scattered = !c->dense_out, careful = scattered || c->kind == CPOOL_SUM_D;
    prepare_slots(c, s, least(group, units));
    while (units) {
        int64_t filled = 0;
        const cpool_tile *tile = &c->tile[at->j];
        const int64_t width = (tile->last - tile->first) * c->channels;
        const int thin = is_thin(c, tile), alone = thin || careful;
        int64_t made = 0;
        cursor first = *at;
        for (; filled < group && units; filled++, units--, advance(c, at)) {
            cpool_job *job = &s->jobs[filled];
            const int64_t *rows;
            job->rows = rows_of(c, at->o, s->rows, &rows);
            job->base = x + at->x + tile->column * c->inner.x_stride;
            job->off = rows;
            job->n = tile->columns * c->channels;
            add_result(c, s, &made, out + at->out, at->o, tile, s->sums + filled * width, plane, alone);
            if (c->pack || !c->row_off) /* the rows' scratch serves one line at a time */
                add_line(c, s, job, tile->columns, c->inner.x_stride, c->channels);
        }
        if (thin) {
            s->odd |= c->kernels->thin[c->type](s->jobs, filled, 0, &tile->fold, s->results, 0);
            continue;
        }
        if (!c->pack && c->row_off)
            add_and_fold(c, s->jobs, filled, 0, &tile->fold, s->sums, width, plane);
        else
            c->kernels->fold[c->type](s->jobs, filled, &tile->fold, s->sums, width, plane);
        if (!scattered && !finish(c, s, s->results, made, 0))
            continue;
        for (int64_t g = 0; g < filled; g++, advance(c, &first))
            finish_row(c, s, s->results[g], x, &first, tile->last - tile->first, c->channels);
    }
}

/* Whole planes, of at most a group of lines each: prepared once, only the addresses move. Several planes are folded
 * before the first of them is finished: sums just written in one way are not quickly read in another. */
static void run_planes(const cpool_call *c, const char *x, char *out, cursor *at, int64_t planes, scratch_map *s)
{
    const cpool_tile *tile = c->tile;
    const int64_t lines = c->outer_windows, width = tile->last * c->channels, plane = c->group * c->sums_len;
    const int64_t at_once = least(c->group / lines, planes);
    const int thin = is_thin(c, tile), careful = c->kind == CPOOL_SUM_D;
    int64_t made = 0, ins[CPOOL_GROUP], outs[CPOOL_GROUP];
    cursor first;
    cursor_set(c, &first, 0);
    prepare_slots(c, s, lines);
    for (int64_t o = 0; o < lines; o++, advance(c, &first)) {
        cpool_job *job = &s->jobs[o];
        job->rows = rows_of(c, o, s->rows, &job->off);
        job->base = x + tile->column * c->inner.x_stride;
        job->n = tile->columns * c->channels;
        add_result(c, s, &made, out + first.out, o, tile, s->sums + o * width, plane, thin || careful);
    }
    if (thin) {
        for (; planes; planes--, advance_line(c, at))
            s->odd |= c->kernels->thin[c->type](s->jobs, lines, at->x, &tile->fold, s->results, at->out);
        return;
    }
    for (int64_t r = made; r < at_once * made; r++) {
        s->results[r] = s->results[r - made];
        s->results[r].sums += lines * width;
    }
    while (planes) {
        const int64_t now = least(at_once, planes);
        for (int64_t p = 0; p < now; p++, advance_line(c, at)) {
            add_and_fold(c, s->jobs, lines, at->x, &tile->fold, s->sums + p * lines * width, width, plane);
            ins[p] = at->x;
            outs[p] = at->out;
        }
        for (int64_t p = 0; p < now; p++)
            if (finish(c, s, s->results + p * made, made, outs[p]))
                for (int64_t o = 0; o < lines; o++) {
                    const cpool_result *r = &s->results[p * made + o];
                    mend(c, s, r, r->out + outs[p], x + ins[p], o, 0, 0);
                }
        planes -= now;
    }
}

static void run_any_rows(const cpool_call *c, const char *x, char *out, cursor *at, int64_t units, scratch_map *s)
{
    const int64_t lines = c->outer_windows;
    if (c->tiles != 1 || c->pack || !c->row_off || !c->dense_out || lines < 2 || lines > c->group) {
        run_rows(c, x, out, at, units, s);
        return;
    }
    int64_t head = at->o ? least(lines - at->o, units) : 0;
    run_rows(c, x, out, at, head, s);
    units -= head;
    run_planes(c, x, out, at, units / lines, s);
    run_rows(c, x, out, at, units % lines, s);
}

static void run_pixels(const cpool_call *c, const char *x, char *out, cursor *at, int64_t units, scratch_map *s)
{
    const int settles = needs_settling(c), quick = is_quick(c);
    const int scattered = !c->dense_out;
    prepare_slots(c, s, least(c->group, units));
    while (units) {
        int64_t filled = 0;
        cursor first = *at;
        for (; filled < c->group && units; filled++, units--, advance(c, at)) {
            cpool_job *job = &s->jobs[filled];
            int64_t channel = at->t * c->channel_tile;
            const int64_t *rows;
            job->rows = rows_of(c, at->o, s->rows, &rows);
            job->base = x + at->x + c->inner.start[at->j] * c->inner.x_stride + channel * c->channel_x;
            job->off = rows;
            job->run = c->inner.count[at->j];
            job->n = least(c->channel_tile, c->channels - channel);
            cpool_result *r = &s->results[filled];
            int64_t entry = c->divisor_row[at->o] * c->inner.m + at->j;
            r->divisor = c->divisor + entry;
            r->reciprocal = c->reciprocal + entry;
            r->n = job->n;
            r->out = out + at->out + at->j * c->inner.out_stride + channel * c->channel_out;
            if (c->pack || !c->row_off)
                add_line(c, s, job, 1, 0, job->n);
        }
        if (quick && !to_mend(c, s, c->kernels->pixels[c->type](s->jobs, filled, s->results)))
            continue;
        if (!c->pack && c->row_off)
            c->kernels->lines[c->type](s->jobs, filled, 0);
        if (settles)
            for (int64_t g = 0; g < filled; g++)
                settle(c, &s->jobs[g], s->sums + g * c->sums_len, c->group * c->sums_len);
        if (!scattered && !finish(c, s, s->results, filled, 0))
            continue;
        for (int64_t g = 0; g < filled; g++, advance(c, &first))
            finish_row(c, s, s->results[g], x, &first, 1, s->results[g].n);
    }
}

/* Small planes, eight at a time. */
static void run_eights(const cpool_call *c, const char *x, char *out, cursor *at, int64_t units, scratch_map *s)
{
    const int last = c->kept - 1;
    while (units) {
        const int64_t some = least(least(8, units), c->kept_len[last] - at->kept[last]);
        const int64_t step = c->kept_x[last], out_step = c->kept_out[last];
        char *to = out + at->out;
        const char *from = x + at->x;
        const int odd = c->kernels->planes[c->type](c, from, step, some, to, out_step, &s->eight);
        for (int64_t i = 0; odd && i < c->results; i++)
            for (int64_t k = 0; k < some; k++) {
                if (s->eight.results[8 * i + k] - s->eight.results[8 * i + k] == 0.0)
                    continue;
                const int64_t o = i / c->inner.m, j = i % c->inner.m;
                const double divisor = c->divisor[c->divisor_row[o] * c->inner.m + j];
                const double value = rescued(c, from + k * step, o, j, 0, s, divisor);
                cpool_store_float(c->out_type, value, to + k * out_step + i * c->out_size);
            }
        units -= some;
        for (int64_t k = 0; k < some; k++)
            advance_line(c, at);
    }
}

/* Nothing to pool. */
static void run_copy(const cpool_call *c, const char *x, char *out, cursor *at, int64_t units)
{
    for (; units; units--, advance(c, at)) {
        int64_t channel = at->t * c->channel_tile, n = least(c->channel_tile, c->channels - channel);
        c->kernels->copy[c->size](out + at->out + channel * c->channel_out, x + at->x + channel * c->channel_x, n);
    }
}

/* One window per line: lines that follow each other at one distance are one job, and one row of results. */
static void run_global(const cpool_call *c, const char *x, char *out, cursor *at, int64_t units, scratch_map *s)
{
    const int64_t *rows, count = rows_of(c, 0, s->rows, &rows), start = c->inner.start[0] * c->inner.x_stride;
    const int last = c->kept - 1;
    const int64_t length = last < 0 ? 1 : c->kept_len[last], x_step = last < 0 ? 0 : c->kept_x[last];
    const int64_t out_step = last < 0 ? 0 : c->kept_out[last];
    while (units) {
        int64_t position = last < 0 ? 0 : at->kept[last], run = least(least(length - position, units), c->group);
        cpool_job job = {x + at->x + start, rows, count, run, x_step, c->inner.count[0], s->acc, c->acc_len, 0, c->far, 0};
        c->kernels->lanes[c->type](&job, 1, s->sums, c->group);
        if (out_step == c->out_size || run == 1)
            s->results[0] = (cpool_result){s->sums, c->group, c->divisor, c->reciprocal, run, out + at->out, 1};
        else
            for (int64_t g = 0; g < run; g++)
                s->results[g] = (cpool_result){
                    s->sums + g, c->group, c->divisor, c->reciprocal, 1, out + at->out + g * out_step, 1};
        const int64_t made = out_step == c->out_size || run == 1 ? 1 : run;
        if (finish(c, s, s->results, made, 0))
            for (int64_t g = 0; g < run; g++) {
                cpool_result one = {s->sums + g, c->group, c->divisor, c->reciprocal, 1, out + at->out + g * out_step, 1};
                mend(c, s, &one, one.out, x + at->x + g * x_step, 0, 0, 0);
            }
        units -= run;
        if (last >= 0) { /* to the last of these, and one on */
            at->kept[last] += run - 1;
            at->x += (run - 1) * x_step;
            at->out += (run - 1) * out_step;
        }
        advance_line(c, at);
    }
}

static void run_lanes(const cpool_call *c, const char *x, char *out, cursor *at, int64_t units, scratch_map *s)
{
    const int64_t group = c->row_off ? c->group : 1;
    while (units) {
        int64_t filled = 0, rows_made = 0;
        cursor first = *at;
        for (; filled < group && units; filled++, units--, advance(c, at)) {
            cpool_job *job = &s->jobs[filled];
            const int64_t *rows;
            job->rows = rows_of(c, at->o, s->rows, &rows);
            job->base = x + at->x + c->inner.start[at->j] * c->inner.x_stride;
            job->off = rows;
            job->n = c->inner.count[at->j];
            job->run = 1;
            job->run_step = 0;
            job->far = c->far;
            job->next = 0;
            /* results side by side with the same row of divisors become one row */
            int64_t entry = c->divisor_row[at->o] * c->inner.m + at->j;
            char *to = out + at->out + at->j * c->inner.out_stride;
            cpool_result *r = rows_made ? &s->results[rows_made - 1] : NULL;
            if (r && r->out + r->n * c->out_size == to && at->j && r->divisor + r->n == c->divisor + entry) {
                r->n++;
                continue;
            }
            r = &s->results[rows_made++];
            r->sums = s->sums + filled;
            r->plane = c->group;
            r->divisor = c->divisor + entry;
            r->reciprocal = c->reciprocal + entry;
            r->n = 1;
            r->out = to;
            r->broadcast = 0;
        }
        c->kernels->lanes[c->type](s->jobs, filled, s->sums, c->group);
        if (finish(c, s, s->results, rows_made, 0))
            for (int64_t g = 0; g < filled; g++, advance(c, &first)) {
                int64_t entry = c->divisor_row[first.o] * c->inner.m + first.j;
                char *to = out + first.out + first.j * c->inner.out_stride;
                cpool_result one = {s->sums + g, c->group, c->divisor + entry, NULL, 1, to, 1};
                mend(c, s, &one, to, x + first.x, first.o, first.j, 0);
            }
    }
}

/* Rows and columns of block b of a window of `rows` x `width`. */
typedef struct {
    int64_t row, rows, column, columns;
} block_span;

static int64_t count_blocks(int64_t rows, int64_t width)
{
    if (!rows || !width)
        return 0;
    if (width > CPOOL_BLOCK)
        return rows * ((width + CPOOL_BLOCK - 1) / CPOOL_BLOCK);
    int64_t high = CPOOL_BLOCK / width;
    return (rows + high - 1) / high;
}

static block_span block_at(int64_t rows, int64_t width, int64_t b)
{
    if (width > CPOOL_BLOCK) {
        int64_t pieces = (width + CPOOL_BLOCK - 1) / CPOOL_BLOCK, column = b % pieces * CPOOL_BLOCK;
        return (block_span){b / pieces, 1, column, least(CPOOL_BLOCK, width - column)};
    }
    int64_t high = CPOOL_BLOCK / width;
    return (block_span){b * high, least(high, rows - b * high), 0, width};
}

static int64_t wide_n(const cpool_call *c, const cursor *at)
{
    return c->lanes == 1 ? least(c->channel_tile, c->channels - at->t * c->channel_tile) : c->channels;
}

/* Accumulators before the first element. */
static void clear(const cpool_call *c, double *acc, int64_t n)
{
    const int64_t lowest = INT64_MIN;
    double start = c->reducer == CPOOL_MAX ? -(double)INFINITY : 0.0;
    if (c->reducer == CPOOL_MAX && c->kind == CPOOL_SUM_I)
        memcpy(&start, &lowest, 8);
    for (int64_t i = 0; i < n; i++)
        memcpy(acc + i, &start, 8);
}

static int64_t acc_size(const cpool_call *c)
{
    return c->reducer == CPOOL_AVG && c->type >= CPOOL_I8 && c->type <= CPOOL_U16 ? 4 : 8;
}

/* Columns of a block into the lanes, 32 at a time, row after row, as many as the tile holds. */
static void add_gathered(const cpool_call *c, scratch_map *s, const char *base, const int64_t *rows, block_span b)
{
    const int64_t zero = 0, step = c->inner.step * c->inner.x_stride, lanes = CPOOL_LANES * c->channels;
    const int64_t piece = c->acc_len / lanes * CPOOL_LANES;
    for (int64_t r = 0; r < b.rows; r++)
        for (int64_t i = 0, some; i < b.columns; i += some) {
            some = least(b.columns - i, piece);
            gather(s->tile, base + rows[r] + i * step, some, step, c->channels, c->channel_x, c->size, c->swap);
            cpool_job lane = {s->tile, &zero, 1, some / CPOOL_LANES, lanes * c->size, lanes, s->acc, c->acc_len, 1, 0, 0};
            if (lane.run)
                c->kernels->lines[c->type](&lane, 1, 0);
            lane.base += lane.run * lane.run_step;
            lane.run = 1;
            lane.n = some % CPOOL_LANES * c->channels;
            if (lane.n)
                c->kernels->lines[c->type](&lane, 1, 0);
        }
}

/* The same where they lie side by side: the first lanes may have one column more than the others. */
static void add_lanes(const cpool_call *c, scratch_map *s, const char *base, const int64_t *rows, block_span b)
{
    const int64_t more = b.columns % CPOOL_LANES, step = c->inner.step * c->inner.x_stride;
    cpool_job lanes = {base, rows, b.rows, b.columns / CPOOL_LANES + 1, CPOOL_LANES * step, more * c->channels,
                       s->acc, c->acc_len, 1, 0, 0};
    if (more)
        c->kernels->lines[c->type](&lanes, 1, 0);
    lanes.base += more * step;
    lanes.acc = (double *)(void *)((char *)s->acc + lanes.n * acc_size(c));
    lanes.n = (CPOOL_LANES - more) * c->channels;
    if (--lanes.run)
        c->kernels->lines[c->type](&lanes, 1, 0);
}

/* The sums of one block of the window at `at`, one per channel. */
static void sum_block(const cpool_call *c, const char *x, const cursor *at, block_span b, double *sums, int64_t plane,
                      scratch_map *s)
{
    const int64_t *rows = list_rows(c, at->o, b.row, b.rows, s->rows);
    const int64_t step = c->inner.step * c->inner.x_stride;
    const char *base = x + at->x + (c->inner.start[at->j] + b.column * c->inner.step) * c->inner.x_stride;
    cpool_job job = {base, rows, b.rows, 1, 0, b.columns, s->acc, c->acc_len, 0, c->far, 0};
    if (c->lanes == 1) {
        job.base += at->t * c->channel_tile * c->channel_x;
        job.run = b.columns;
        job.run_step = step;
        job.n = wide_n(c, at);
        add_line(c, s, &job, 1, 0, job.n);
        if (needs_settling(c)) {
            settle(c, &job, sums, plane);
            return;
        }
        memcpy(sums, s->acc, (size_t)job.n * 8);
        if (c->kind == CPOOL_SUM_D)
            memcpy(sums + plane, s->acc + c->acc_len, (size_t)job.n * 8);
        return;
    }
    if (c->channels == 1 && !c->pack) {
        c->kernels->lanes[c->type](&job, 1, sums, plane);
        return;
    }
    clear(c, s->acc, c->planes * c->acc_len);
    (c->pack ? add_gathered : add_lanes)(c, s, base, rows, b);
    const int64_t start[8] = {0}, count[8] = {least(CPOOL_LANES, b.columns)};
    cpool_fold fold = {1, c->channels, 1, start, count, CPOOL_LANES / 8, 0, NULL, NULL, 0};
    cpool_job line = {NULL, NULL, 0, 0, 0, 0, s->acc, c->acc_len, 0, 0, 0};
    c->kernels->fold[c->type](&line, 1, &fold, sums, 0, plane);
}

/* total += part, in the call's kind of sum. */
static void add_part(const cpool_call *c, double *total, const double *part, int64_t n, int64_t plane, int first)
{
    for (int64_t i = 0; i < n; i++) {
        switch (c->kind) {
        case CPOOL_SUM_F:
            total[i] = first ? part[i] : c->reducer == CPOOL_MAX ? cpool_max(total[i], part[i]) : total[i] + part[i];
            break;
        case CPOOL_SUM_D: {
            cpool_pair a = {first ? 0.0 : total[i], first ? 0.0 : total[plane + i]}, b = {part[i], part[plane + i]};
            a = cpool_pair_add(a, b);
            total[i] = a.hi;
            total[plane + i] = a.lo;
            break;
        }
        case CPOOL_SUM_I: {
            int64_t a = 0, b;
            if (c->reducer == CPOOL_AVG)
                b = (int64_t)part[i]; /* of one block of small integers: a double holds it */
            else
                memcpy(&b, part + i, 8);
            if (!first)
                memcpy(&a, total + i, 8);
            if (c->reducer == CPOOL_AVG)
                a += b;
            else
                a = first || b > a ? b : a;
            memcpy(total + i, &a, 8);
            break;
        }
        default: {
            cpool_wide a = {0, 0}, b;
            if (c->type == CPOOL_I32 || c->type == CPOOL_U32) {
                b = cpool_wide_of((int64_t)part[i]); /* as above */
            } else {
                memcpy(&b.high, part + i, 8);
                memcpy(&b.low, part + plane + i, 8);
            }
            if (!first) {
                memcpy(&a.high, total + i, 8);
                memcpy(&a.low, total + plane + i, 8);
            }
            a = cpool_wide_add(a, b);
            memcpy(total + i, &a.high, 8);
            memcpy(total + plane + i, &a.low, 8);
        }
        }
    }
}

static void finish_wide(const cpool_call *c, const char *x, char *out, const cursor *at, scratch_map *s)
{
    int64_t entry = c->divisor_row[at->o] * c->inner.m + at->j, n = wide_n(c, at);
    char *to = out + at->out + at->j * c->inner.out_stride + at->t * c->channel_tile * c->channel_out;
    cpool_result r = {s->total, c->sums_len, c->divisor + entry, c->reciprocal + entry, n, to, 1};
    finish_row(c, s, r, x, at, 1, n);
}

static void run_wide(const cpool_call *c, const char *x, char *out, cursor *at, int64_t units, scratch_map *s)
{
    for (; units; units--, advance(c, at)) {
        const int64_t count = count_rows(c, at->o), width = c->inner.count[at->j], blocks = count_blocks(count, width);
        if (!blocks)
            clear(c, s->total, c->planes * c->sums_len);
        for (int64_t b = 0; b < blocks; b++) {
            sum_block(c, x, at, block_at(count, width, b), s->part, c->sums_len, s);
            add_part(c, s->total, s->part, wide_n(c, at), c->sums_len, b == 0);
        }
        finish_wide(c, x, out, at, s);
    }
}

int64_t cpool_blocks(const cpool_call *c, int64_t unit)
{
    cursor at;
    cursor_set(c, &at, unit);
    return count_blocks(count_rows(c, at.o), c->inner.count[at.j]);
}

void cpool_run_block(const cpool_call *c, const char *x, int64_t unit, int64_t block, double *partial, void *scratch)
{
    scratch_map s = scratch_of(c, scratch);
    cursor at;
    cursor_set(c, &at, unit);
    sum_block(c, x, &at, block_at(count_rows(c, at.o), c->inner.count[at.j], block), partial, c->sums_len, &s);
}

void cpool_run_total(const cpool_call *c, const char *x, char *out, int64_t *indices, int64_t unit, int64_t blocks,
                     int first, int last, const double *partials, double *total, void *scratch)
{
    scratch_map s = scratch_of(c, scratch);
    cursor at;
    cursor_set(c, &at, unit);
    s.total = total;
    if (first && !blocks)
        clear(c, total, c->planes * c->sums_len);
    for (int64_t b = 0; b < blocks; b++)
        add_part(c, total, partials + b * c->planes * c->sums_len, wide_n(c, &at), c->sums_len, first && b == 0);
    if (!last)
        return;
    finish_wide(c, x, out, &at, &s);
    if (indices && cpool_is_keyed(c))
        cpool_run_keyed(c, x, out, indices, &at, 1, &s);
    else if (indices || s.odd)
        cpool_locate(c, x, out, indices, unit, unit + 1, &s);
}

void cpool_run(const cpool_call *c, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end, void *scratch)
{
    scratch_map s = scratch_of(c, scratch);
    cursor at;
    cursor_set(c, &at, begin);
    if (indices && cpool_is_keyed(c)) {
        cpool_run_keyed(c, x, out, indices, &at, end - begin, &s);
        return;
    }
    switch (c->path) {
    case CPOOL_PATH_ROWS:
        run_any_rows(c, x, out, &at, end - begin, &s);
        break;
    case CPOOL_PATH_PIXELS:
        run_pixels(c, x, out, &at, end - begin, &s);
        break;
    case CPOOL_PATH_PLANES:
        run_eights(c, x, out, &at, end - begin, &s);
        break;
    case CPOOL_PATH_COPY:
        run_copy(c, x, out, &at, end - begin);
        break;
    case CPOOL_PATH_LANES:
        if (c->inner.m == 1 && c->outer_windows == 1) {
            run_global(c, x, out, &at, end - begin, &s);
            break;
        }
        run_lanes(c, x, out, &at, end - begin, &s);
        break;
    default:
        run_wide(c, x, out, &at, end - begin, &s);
    }
    if (indices || s.odd)
        cpool_locate(c, x, out, indices, begin, end, &s);
}
