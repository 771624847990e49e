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
#define AHEAD_BYTES 4096
#define AHEAD_ROWS 32 /* of wide windows, if they have more than a few */
#define FEW_ROWS 4
#define AHEAD_FAR 8192 /* of what is read in the order of memory */

/* How far apart the rows of a line are, at first; and how far ahead some rows are: too far to be there, maybe. */
static inline int64_t cpool_pitch(const cpool_job *job)
{
    return job->run > 1 ? job->run_step : job->rows > 1 ? job->off[1] - job->off[0] : 0;
}
static inline int64_t cpool_ahead(int64_t pitch, int rows) { return (int64_t)((uint64_t)pitch * (uint64_t)rows); }

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
