/* What walk.c and largest.c share: the scratch of a thread, and where in a call one is. */
#ifndef CPOOL_WALK_H
#define CPOOL_WALK_H

#include "cpool_simd.h"
#include "scalar.h"

/* One thread's scratch: see map_scratch. */
typedef struct {
    double *acc, *sums, *part, *total;
    cpool_eight eight;
    cpool_job *jobs;
    cpool_result *results;
    int64_t *rows;
    char *tile, *row;
    char *keys, *taps;
    int64_t *places;
    int odd; /* a result was the largest but a -0: another zero may come first */
} scratch_map;

/* ---- where we are ------------------------------------------------------------------------- */

/* A piece of work: kept index k and, unless that is all, outer window o, inner window (or tile of them) j, channels from t * channel_tile. */
typedef struct {
    int64_t o, j, t;
    int64_t x, out; /* bytes to the kept index; out: to the outer window as well */
    int64_t js, ts; /* how many j and t there are */
    int64_t kept[CPOOL_MAXDIM], outer[CPOOL_MAXDIM];
} cursor;

static inline void cursor_set(const cpool_call *c, cursor *at, int64_t unit)
{
    const int whole = c->path == CPOOL_PATH_PLANES;
    at->js = whole ? 1 : c->path == CPOOL_PATH_ROWS ? c->tiles : c->inner.m;
    at->ts = c->lanes == 1 ? (c->channels + c->channel_tile - 1) / c->channel_tile : 1;
    at->t = unit % at->ts;
    unit /= at->ts;
    at->j = unit % at->js;
    unit /= at->js;
    int64_t o = at->o = whole ? 0 : unit % c->outer_windows, k = whole ? unit : unit / c->outer_windows;
    at->x = at->out = 0;
    for (int a = c->kept - 1; a >= 0; a--) {
        at->kept[a] = k % c->kept_len[a];
        k /= c->kept_len[a];
        at->x += at->kept[a] * c->kept_x[a];
        at->out += at->kept[a] * c->kept_out[a];
    }
    for (int a = c->outer - 1; a >= 0; a--) {
        at->outer[a] = o % c->pool[a].m;
        o /= c->pool[a].m;
        at->out += at->outer[a] * c->pool[a].out_stride;
    }
}

/* The next kept index. */
static inline void advance_line(const cpool_call *c, cursor *at)
{
    for (int a = c->kept - 1; a >= 0; a--) {
        at->x += c->kept_x[a];
        at->out += c->kept_out[a];
        if (++at->kept[a] < c->kept_len[a])
            return;
        at->x -= at->kept[a] * c->kept_x[a];
        at->out -= at->kept[a] * c->kept_out[a];
        at->kept[a] = 0;
    }
}

/* The next piece; divisions would cost more than many pieces do. */
static inline void advance(const cpool_call *c, cursor *at)
{
    if (++at->t < at->ts)
        return;
    at->t = 0;
    if (++at->j < at->js)
        return;
    at->j = 0;
    at->o++;
    for (int a = c->outer - 1; a >= 0; a--) {
        at->out += c->pool[a].out_stride;
        if (++at->outer[a] < c->pool[a].m)
            return;
        at->out -= at->outer[a] * c->pool[a].out_stride;
        at->outer[a] = 0;
    }
    at->o = 0;
    advance_line(c, at);
}

/* How many rows outer window o has. */
static inline int64_t count_rows(const cpool_call *c, int64_t o)
{
    if (c->row_off)
        return c->row_at[o + 1] - c->row_at[o];
    int64_t count = 1;
    for (int a = c->outer - 1; a >= 0; a--) {
        count *= c->pool[a].count[o % c->pool[a].m];
        o /= c->pool[a].m;
    }
    return count;
}

/* Byte offsets of n rows of outer window o, from `first` on: the taps of the outer axes, the last axis fastest. The
 * buffer has room for ROWS_LISTED, which are those of every window that is no more than a block. */
enum { ROWS_LISTED = CPOOL_BLOCK };
static inline const int64_t *list_rows(const cpool_call *c, int64_t o, int64_t first, int64_t n, int64_t *buffer)
{
    if (c->row_off)
        return c->row_off + c->row_at[o] + first;
    int64_t tap[CPOOL_MAXDIM], taps[CPOOL_MAXDIM], step[CPOOL_MAXDIM], at = 0;
    for (int a = c->outer - 1; a >= 0 && n; a--) {
        const cpool_pool *p = &c->pool[a];
        const int64_t window = o % p->m;
        o /= p->m;
        taps[a] = p->count[window];
        step[a] = p->step * p->x_stride;
        tap[a] = first % taps[a];
        first /= taps[a];
        at += p->start[window] * p->x_stride + tap[a] * step[a];
    }
    for (int64_t i = 0; i < n; i++) {
        buffer[i] = at;
        for (int a = c->outer - 1; a >= 0; a--) {
            at += step[a];
            if (++tap[a] < taps[a])
                break;
            at -= taps[a] * step[a];
            tap[a] = 0;
        }
    }
    return buffer;
}

/* All of them, of a window that is no more than a block. How many. */
static inline int64_t rows_of(const cpool_call *c, int64_t o, int64_t *buffer, const int64_t **rows)
{
    const int64_t count = count_rows(c, o);
    *rows = list_rows(c, o, 0, count, buffer);
    return count;
}

/* ---- where the largest is: largest.c --------------------------------------------------------- */

/* Whether the largest and where they are can be found at once; then by cpool_run_keyed. */
int cpool_is_keyed(const cpool_call *c);
void cpool_run_keyed(const cpool_call *c, const char *x, char *out, int64_t *indices, cursor *at, int64_t units,
                     scratch_map *s);
/* For finished pieces of work: where the largest of each window is, and zeros as the first of them is. */
void cpool_locate(const cpool_call *c, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
                  scratch_map *s);

#endif
