/* What the sources of all instruction sets share. One text (isa.h) is instantiated in one compiler target region after
 * another; the rest of the module is built for the portable baseline, and reaches these through a table. */

#include "cpool_simd.h"
#include "scalar.h"

#if (defined(__x86_64__) || defined(__amd64__)) && (defined(__GNUC__) || defined(__clang__))
#define CPOOL_X86 1
#include <immintrin.h>
#else
#define CPOOL_X86 0
#endif
#if !defined(__GNUC__) && !defined(__clang__)
#define __attribute__(x)
#endif

#define CPOOL_PASTE2(a, b) a##_##b
#define CPOOL_PASTE(a, b) CPOOL_PASTE2(a, b)
#define FN(name) CPOOL_PASTE(name, ISA)
#define FN3(op, type) CPOOL_PASTE(CPOOL_PASTE(op, type), ISA)
#define FN2(glue, a, b) CPOOL_GLUE(glue, a, b)
#define CPOOL_GLUE(glue, a, b) FN(glue(a, b))
#define CPOOL_STRING2(s) #s
#define CPOOL_STRING(s) CPOOL_STRING2(s)

#define AHEAD 16 /* rows, and twice as many short ones */
#define SHORT_ROW 512 /* bytes from row to row, at least, of one that isn't short */
#define LONG_LINE 128 /* elements, at most, of a line that isn't long */
#define PASSED 524288 /* bytes of rows, at most, that pass again */
#define AHEAD_BYTES 4096
#define AHEAD_ROWS 32 /* of wide windows, if they have more than a few */
#define FEW_ROWS 4
#define BESIDE 32 /* windows, at most, that take a row before the next, if they have many */
#define MANY_ROWS 16
#define MANY_COLUMNS (CPOOL_LANES * (STRIP > 2 ? 2 : 4)) /* what few registers hold pays later to come and go */
#define AHEAD_FAR 8192 /* of what is read in the order of memory */

/* How far apart the rows of a line are, at first; and how far ahead some rows are: too far to be there, maybe. */
static inline int64_t cpool_pitch(const cpool_job *job)
{
    return job->run > 1 ? job->run_step : job->rows > 1 ? job->off[1] - job->off[0] : 0;
}
static inline int64_t cpool_ahead(int64_t pitch, int rows) { return (int64_t)((uint64_t)pitch * (uint64_t)rows); }

/* How many rows ahead are asked for, of a line in registers: strips of a long one come to its next rows after all these. */
static inline int cpool_rows_ahead(const cpool_job *job, int64_t pitch)
{
    if (pitch < SHORT_ROW && pitch > -SHORT_ROW)
        return 2 * AHEAD;
    if (job->n <= LONG_LINE || job->run > 1)
        return AHEAD;
    return (int)(job->rows < AHEAD / 2 ? AHEAD / 2 : job->rows);
}

/* How many windows from afar lie beside each other in the same rows, so that all of them take a row before the next. */
static inline int cpool_beside(const cpool_job *jobs, int64_t count, int columns)
{
    int some = 1;
    if (!jobs->far || jobs->rows < MANY_ROWS || jobs->n < columns || jobs->run != 1)
        return 1;
    while (some < count && some < BESIDE && jobs[some].off == jobs->off && jobs[some].rows == jobs->rows &&
           jobs[some].base > jobs[some - 1].base && jobs[some].base - jobs->base < cpool_pitch(jobs))
        some++;
    return some;
}

/* Whether a line that registers don't hold is added in strips that they do, one after the other: rows that are in a cache
 * pass again for less than sums go to memory between them. Of pixels only where that is dear. */
static inline int cpool_in_strips(const cpool_job *job, int size, int strip, int batch)
{
    const int is_long = job->n > LONG_LINE;
    if ((is_long && job->far) || (job->run > 1 && !batch && (is_long || strip == 8)))
        return 0;
    return job->rows * job->run <= PASSED / size / job->n;
}

/* The last elements of a row, fewer than eight, without reading or writing one too many. */
static inline __attribute__((always_inline)) void cpool_copy_tail(void *to, const void *from, int n, const size_t size)
{
    char *t = (char *)to;
    const char *f = (const char *)from;
    if (n & 4) {
        memcpy(t, f, 4 * size);
        t += 4 * size, f += 4 * size;
    }
    if (n & 2) {
        memcpy(t, f, 2 * size);
        t += 2 * size, f += 2 * size;
    }
    if (n & 1)
        memcpy(t, f, size);
}
