/* A small layer: products of rows of weights with what comes in, a bias, and a function of the sum. All is doubles, added
 * in one order, whatever the instruction set, however work is cut, and whatever else is in the batch. */

#include "cpool_simd.h"
#include "scalar.h"

enum { ROWS = 32, IMAGES = 4 }; /* of a unit */

static int64_t groups(const cpool_dense *d) { return (d->batch + IMAGES - 1) / IMAGES; }

int64_t cpool_dense_units(const cpool_dense *d) { return groups(d) * ((d->rows + ROWS - 1) / ROWS); }

void cpool_dense_run(const cpool_dense *d, int64_t begin, int64_t end)
{
    const int64_t size = d->type == CPOOL_F64 ? 8 : 4, bias_size = d->bias_type == CPOOL_F64 ? 8 : 4;
    for (int64_t unit = begin; unit < end; unit++) { /* rows of weights stay in cache for all of the batch */
        const int64_t first = unit / groups(d) * ROWS, image = unit % groups(d) * IMAGES;
        const int64_t last = least(first + ROWS, d->rows), images = least(d->batch - image, IMAGES);
        double to[IMAGES * ROWS];
        const int64_t rows = last - first, whole = rows == d->rows; /* then all of them are neighbours in the result */
        const int64_t step = images == 1 ? 8 : 4;
        for (int64_t row = first; row < last; row += step) {
            double sums[16];
            const int64_t n = least(last - row, step);
            d->isa->dense[d->type](d->x + image * d->terms, images, d->w + row * d->terms * size, n, d->terms, sums);
            for (int64_t r = 0; r < n; r++) {
                const double bias = cpool_load_float(d->bias_type, d->bias + (row + r) * bias_size);
                for (int64_t k = 0; k < images; k++)
                    to[k * rows + row - first + r] = sums[4 * k + r] + bias;
            }
        }
        for (int64_t k = 0; k < (whole ? 1 : images); k++)
            d->isa->activate((int)d->function, to + k * rows, whole ? images * rows : rows,
                             d->out + ((image + k) * d->rows + first) * (d->single ? 4 : 8), d->single);
    }
}
