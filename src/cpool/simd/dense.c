/* A small layer: products of rows of weights with what comes in, a bias, and a function of the sum. All is doubles, added
 * in one order, whatever the instruction set, however work is cut, and whatever else is in the batch. */

#include "cpool_simd.h"
#include "scalar.h"

enum { ROWS = 32, IMAGES = 4, EIGHT = 8 }; /* of a unit; rows that are turned together */

static int64_t size_of(int type) { return type == CPOOL_F64 ? 8 : 4; }

static int64_t groups(const cpool_dense *d) { return (d->batch + IMAGES - 1) / IMAGES; }

/* With many images it pays to turn the weights first: then each lane has a row, and nothing needs to be folded. Measured:
 * turning costs as much as ten images or so save, four rows leave half of the lanes empty, and eight long rows leave L1. */
static int is_turned(const cpool_dense *d)
{
    return d->batch >= 8 && d->batch >= d->terms / 16 && d->terms <= (d->rows > 4 ? 512 : 32);
}

int64_t cpool_dense_units(const cpool_dense *d) { return groups(d) * ((d->rows + ROWS - 1) / ROWS); }

int64_t cpool_dense_scratch(const cpool_dense *d)
{
    return 64 + (is_turned(d) ? ROWS * (d->terms + 1) * (int64_t)sizeof(double) : 0);
}

/* Rows [first, last) as [rows / 8][terms and bias][8]; the last one fills up the eight. */
static void turn(const cpool_dense *d, int64_t first, int64_t last, double *to)
{
    const int64_t size = size_of(d->type), bias_size = size_of(d->bias_type);
    for (; first < last; first += EIGHT) {
        const char *from[EIGHT];
        for (int64_t r = 0; r < EIGHT; r++)
            from[r] = d->w + least(first + r, last - 1) * d->terms * size;
        for (int64_t i = 0; i < d->terms; i++)
            for (int64_t r = 0; r < EIGHT; r++)
                *to++ = cpool_load_float(d->type, from[r] + i * size);
        for (int64_t r = 0; r < EIGHT; r++)
            *to++ = cpool_load_float(d->bias_type, d->bias + least(first + r, last - 1) * bias_size);
    }
}

static void sums_of_turned(const cpool_dense *d, const double *x, int64_t images, const double *w, double *to, int64_t step)
{
    for (int64_t row = 0; row < step; row += EIGHT, w += EIGHT * (d->terms + 1))
        d->isa->dense_turned(x, images, w, d->terms, w + EIGHT * d->terms, to + row, step);
}

static void sums_of(const cpool_dense *d, const double *x, int64_t images, int64_t first, int64_t last, double *to)
{
    const int64_t size = size_of(d->type), bias_size = size_of(d->bias_type), rows = last - first;
    const int64_t at_once = images == 1 ? 8 : 4;
    for (int64_t row = first; row < last; row += at_once) {
        double sums[16];
        const int64_t n = least(last - row, at_once);
        d->isa->dense[d->type](x, images, d->w + row * d->terms * size, n, d->terms, sums);
        for (int64_t r = 0; r < n; r++) {
            const double bias = cpool_load_float(d->bias_type, d->bias + (row + r) * bias_size);
            for (int64_t k = 0; k < images; k++)
                to[k * rows + row - first + r] = sums[4 * k + r] + bias;
        }
    }
}

void cpool_dense_run(const cpool_dense *d, int64_t begin, int64_t end, void *scratch)
{
    double *turned = (double *)cpool_aligned(scratch);
    for (int64_t unit = begin; unit < end; unit++) { /* rows of weights stay in cache for all of the batch */
        const int64_t first = unit / groups(d) * ROWS, image = unit % groups(d) * IMAGES;
        const int64_t last = least(first + ROWS, d->rows), images = least(d->batch - image, IMAGES), rows = last - first;
        const int64_t step = is_turned(d) ? (rows + EIGHT - 1) / EIGHT * EIGHT : rows;
        const double *x = d->x + image * d->terms;
        double to[IMAGES * ROWS];
        if (is_turned(d)) {
            if (unit == begin || !image) /* these rows' first */
                turn(d, first, last, turned);
            sums_of_turned(d, x, images, turned, to, step);
        } else {
            sums_of(d, x, images, first, last, to);
        }
        const int64_t whole = step == d->rows; /* then all of them are neighbours in the result, too */
        for (int64_t k = 0; k < (whole ? 1 : images); k++)
            d->isa->activate((int)d->function, to + k * step, whole ? images * rows : rows,
                             d->out + ((image + k) * d->rows + first) * (d->single ? 4 : 8), d->single);
    }
}
