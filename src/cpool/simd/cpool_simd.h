/* What the kernels and their callers share: types of elements, the call boiled down, the table.
 *
 * A call is a list of *lines*. A line adds rows of `n` neighbouring elements, one accumulator per
 * element; then columns of the line are folded into windows, and windows are divided and rounded.
 * The order of additions is described in plan.py; everything here keeps it.
 */
#ifndef CPOOL_SIMD_H
#define CPOOL_SIMD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "cpool promises exact sums: build it without -ffast-math and what is part of it"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "cpool promises exact sums: build it with -msse2 -mfpmath=sse, that doubles are rounded as such"
#endif

/* Elements in one block: a longer window is summed block by block. Part of the order of additions. */
#define CPOOL_BLOCK 65536
/* Columns of a window that are summed side by side. Part of the order of additions. */
#define CPOOL_LANES 32
/* Most elements, and results, of planes that are pooled side by side; as in cpu.py. */
#define CPOOL_SMALL 256
/* Readable elements behind every line and every list of sums. */
#define CPOOL_PAD 16

enum cpool_type {
    CPOOL_F16, CPOOL_BF16, CPOOL_F32, CPOOL_F64,
    CPOOL_I8, CPOOL_U8, CPOOL_I16, CPOOL_U16, CPOOL_I32, CPOOL_U32, CPOOL_I64, CPOOL_U64,
    CPOOL_WIDE, /* doubles that stand for lesser floats: their sums need no errors beside them */
    CPOOL_TYPES
};

/* What a sum is: one double (of small integers, too, within a block), a double and its error, one 64-bit integer, or a
 * 128-bit one (high, low).
 * What is largest is a double or a 64-bit integer. */
enum cpool_kind { CPOOL_SUM_F, CPOOL_SUM_D, CPOOL_SUM_I, CPOOL_SUM_W };

/* Rows to add into one line: rows at base + off[r] + t*run_step, for r < rows and t < run. */
typedef struct {
    const char *base;
    const int64_t *off;
    int64_t rows, run, run_step;
    int64_t n;     /* elements of a row; in `lanes`, the width of the window, of which there are `run`, run_step apart */
    double *acc;   /* OUT: n accumulators (two planes, `plane` apart, where the kind needs them) */
    int64_t plane;
    int add;       /* add to what acc holds, instead of starting from zero */
    int far;       /* rows come from beyond the caches: in the order of memory, then, and asked for early */
    int64_t next;  /* bytes to the same rows of the next plane, which are asked for; or 0 */
} cpool_job;

/* Windows of one line: output i adds count[i] columns from start[i], `step` apart, c channels each. */
typedef struct {
    int64_t outputs, c, step;
    const int64_t *start, *count; /* filled up to a multiple of 8 with windows of nothing */
    int64_t vectors;         /* of 8 columns that the widest window needs */
    int64_t uniform;         /* the stride if all windows have one size and one stride, else 0 */
    const int64_t *perm;     /* per 8 outputs: base, terms, then terms x 8 indices with their sign set; or NULL */
    const int64_t *perm_at;  /* where the entry of each 8 outputs begins in perm */
    int thin;                /* at most 16 columns, and all windows in perm */
} cpool_fold;

/* One row of results: n sums divided by `divisor` (one for all if `broadcast`). */
typedef struct {
    const double *sums;
    int64_t plane;
    const double *divisor, *reciprocal;
    int64_t n;
    char *out;
    int broadcast;
} cpool_result;

/* Scratch for eight planes, a plane in each lane of eight: their elements, one line of sums, their results. */
typedef struct {
    double *elements, *line, *results;
} cpool_eight;

/* `shift` is added to the addresses of all: planes that differ in nothing else share their jobs. */
typedef void (*cpool_lines_fn)(const cpool_job *jobs, int64_t count, int64_t shift);
typedef void (*cpool_fold_fn)(const cpool_job *lines, int64_t count, const cpool_fold *fold,
                              double *sums, int64_t stride, int64_t plane);
typedef void (*cpool_direct_fn)(const cpool_job *lines, int64_t count, int64_t shift, const cpool_fold *fold,
                                double *sums, int64_t stride, int64_t plane);
typedef int (*cpool_thin_fn)(const cpool_job *lines, int64_t count, int64_t shift, const cpool_fold *fold,
                              const cpool_result *rows, int64_t out_shift);
typedef void (*cpool_lanes_fn)(const cpool_job *windows, int64_t count, double *sums, int64_t plane);
/* Like `thin`, tells whether a result needs another look: a largest that is -0. */
typedef int (*cpool_finish_fn)(const cpool_result *rows, int64_t count, int64_t shift);

typedef int (*cpool_pixels_fn)(const cpool_job *windows, int64_t count, const cpool_result *results);
struct cpool_call;
/* Up to eight planes side by side, `step` bytes apart, to results `out_step` apart: see kernels.h. */
typedef int (*cpool_planes_fn)(const struct cpool_call *c, const char *x, int64_t step, int64_t planes, char *out,
                               int64_t out_step, const cpool_eight *scratch);

enum cpool_reducer { CPOOL_AVG, CPOOL_MAX, CPOOL_REDUCERS };

/* The kernels of one reducer. A "sum" is whatever it makes of a window. */
typedef struct {
    cpool_lines_fn lines[CPOOL_TYPES];
    cpool_fold_fn fold[CPOOL_TYPES];
    cpool_direct_fn direct[CPOOL_TYPES]; /* lines and fold in one, for lines of one row; or NULL */
    cpool_thin_fn thin[CPOOL_TYPES];     /* lines of few columns, to results of their own type (float, if wide); or NULL */
    cpool_lanes_fn lanes[CPOOL_TYPES];
    cpool_planes_fn planes[CPOOL_TYPES]; /* to results of their own type (float, if wide); or NULL */
    cpool_pixels_fn pixels[CPOOL_TYPES]; /* likewise: lines and their results in one */
    cpool_finish_fn finish[4][CPOOL_TYPES]; /* by kind of sum and type of result */
    void (*copy[9])(char *to, const char *from, int64_t n); /* windows of one element, by its size; or NULL */
} cpool_kernels;

/* Where the element is whose bits under `mask` are `wanted`: the first of n, `step` bytes apart; n if there is none. */
typedef int64_t (*cpool_find_fn)(const char *p, int64_t n, int64_t step, uint64_t mask, uint64_t wanted);
/* The first of the largest of each of n neighbouring columns: a key that is ordered as the elements are, and the tap;
 * both are int32_t, or int64_t where elements have 8 bytes. */
typedef void (*cpool_first_fn)(const cpool_job *job, void *keys, void *taps);

/* Floats by their divisors, or all by one, as doubles. */
typedef void (*cpool_divide_fn)(const char *x, const double *divisor, const double *reciprocal, double *to, int64_t n,
                                int one);

/* Rows of n floats by n factors, or (`one`) each row by its own: doubles for doubles, else floats. */
typedef void (*cpool_scale_fn)(const char *x, const char *factor, char *out, int64_t rows, int64_t n, int one);

/* What a small layer makes of its sums. */
enum cpool_function {
    CPOOL_IDENTITY,
    CPOOL_RELU,
    CPOOL_RELU6,
    CPOOL_SIGMOID,
    CPOOL_HARDSIGMOID,
    CPOOL_SILU,
    CPOOL_HARDSWISH,
    CPOOL_TANH
};

/* The kernels of one instruction set. */
typedef struct {
    const char *name;
    cpool_kernels of[CPOOL_REDUCERS];
    cpool_find_fn find[9]; /* by size of an element */
    cpool_first_fn first[CPOOL_TYPES];
    cpool_divide_fn divide[3]; /* not of doubles, whose quotients would not be doubles */
    cpool_scale_fn scale[4];
    void (*widen[4])(const char *x, int64_t n, double *to); /* floats as doubles */
    /* Pairs as doubles, where the higher ones are, or elsewhere. Whether all are finite. */
    int (*join)(const double *high, const double *low, int64_t n, char *to);
    /* Products of at most four rows of n weights, floats or doubles, with as many rows of x: sums[4 * image + row]; or of
     * eight rows with one. */
    void (*dense[4])(const double *x, int64_t images, const char *w, int64_t rows, int64_t n, double sums[16]);
    /* Of up to four rows of x with eight rows of n weights, [n][8] doubles, and a bias each: sums[image * step + row]. */
    void (*dense_turned)(const double *x, int64_t images, const double *w, int64_t n, const double bias[8], double *sums,
                         int64_t step);
    void (*activate)(int function, const double *x, int64_t n, char *to, int single); /* one of cpool_function */
    /* What is so often in the result, and numbers by their size, a row of them: both may write up to 63 bytes more. */
    void (*repeat)(char *to, const char *from, int64_t bytes, int64_t times);
    void (*fill[9])(char *to, const char *from, const int64_t *at, int64_t first, int64_t last, int64_t most);
    void (*place)(char *to, const char *from, int64_t bytes, int far); /* a copy; `far`: to memory that is in no cache */
    void (*placed)(void);                                              /* behind the last of them */
    void (*read)(const char *data, int64_t bytes); /* a plain read: the memory's own speed */
} cpool_isa;

/* The instruction sets of this machine, best first; NULL behind the last. */
const cpool_isa *cpool_isa_at(int index);

/* ---- the call ---------------------------------------------------------------------------- */

#define CPOOL_MAXDIM 66

enum cpool_path {
    CPOOL_PATH_ROWS, CPOOL_PATH_PIXELS, CPOOL_PATH_LANES, CPOOL_PATH_WIDE, CPOOL_PATH_COPY, CPOOL_PATH_PLANES
};

/* One pooled axis: window i has count[i] taps from start[i], step apart; strides in bytes. */
typedef struct {
    int64_t m, x_stride, out_stride, step;
    int64_t index_stride; /* of neighbouring taps in the index of an element in its plane */
    const int64_t *start, *count;
} cpool_pool;

/* Outputs [first, last) of the inner pooled axis, which need columns [column, column + columns). */
typedef struct {
    int64_t first, last, column, columns;
    cpool_fold fold;
} cpool_tile;

typedef struct cpool_call {
    const cpool_isa *isa;
    const cpool_kernels *kernels; /* of the reducer */
    int reducer;
    int type, out_type, kind, path;
    int size, out_size;                 /* bytes of an element */
    int pack, swap;                     /* rows must be copied to a tile first; bytes are swapped */
    int kept;                           /* outer kept axes, outermost first */
    int64_t kept_len[CPOOL_MAXDIM], kept_x[CPOOL_MAXDIM], kept_out[CPOOL_MAXDIM];
    int64_t lines;                      /* product of kept_len */
    int outer;                          /* outer pooled axes, outermost first */
    cpool_pool pool[CPOOL_MAXDIM];
    int64_t outer_windows;              /* product of their m */
    int64_t max_rows;                   /* most taps of one outer window */
    const int64_t *row_at, *row_off;    /* rows of outer window o: row_off[row_at[o] .. row_at[o+1]), or NULL */
    cpool_pool inner;
    int64_t channels, channel_x, channel_out; /* neighbouring elements that are pooled alike */
    int lanes;                          /* CPOOL_LANES or 1 */
    int64_t tiles;
    const cpool_tile *tile;             /* PATH_ROWS: of the inner axis */
    int64_t channel_tile;               /* PATH_PIXELS and PATH_WIDE: channels at a time */
    int quick, far;                     /* PATH_PIXELS: windows have few taps; x is read in the order of memory */
    int64_t next;                       /* PATH_ROWS: of a job */
    int64_t plane, line, results;       /* PATH_PLANES: elements of a plane and of a line of it, results, all neighbours */
    const int64_t *divisor_row;         /* which row of the divisor table outer window o uses */
    const double *divisor, *reciprocal; /* rows of inner.m entries */
    const double *divisor_wide, *reciprocal_wide; /* the same, each entry repeated per channel */
    int dense_out;                      /* results of a line are neighbours in memory */
    int64_t units;                      /* how many pieces the work has */
    int64_t acc_len, sums_len, group;   /* sizes of the scratch, in elements and lines */
    int64_t planes;                     /* 2 where an accumulator is a pair, else 1 */
} cpool_call;

/* Bytes of scratch that one thread needs. */
int64_t cpool_scratch_bytes(const cpool_call *call);
/* Run pieces [begin, end) of the work. `indices`, NULL if not wanted, lie as the results do. */
void cpool_run(const cpool_call *call, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
               void *scratch);
/* PATH_WIDE, for few huge windows: blocks of a window, their sums one by one, and the addition in order. */
int64_t cpool_blocks(const cpool_call *call, int64_t unit);
void cpool_run_block(const cpool_call *call, const char *x, int64_t unit, int64_t block, double *partial, void *scratch);
void cpool_run_total(const cpool_call *call, const char *x, char *out, int64_t *indices, int64_t unit, int64_t blocks,
                     int first, int last, const double *partials, double *total, void *scratch);

/* ---- gradients of averages with divisors of their own -------------------------------------------- */

/* What a call reads, before it is divided: [planes][length][inner], element i of a plane by by[i]. The call reads
 * the quotients as doubles that lie likewise, a plane being so many of its pieces one after the other. */
typedef struct {
    int type, size;
    int64_t planes, length, inner;
    const double *by, *reciprocal;
} cpool_division;

/* ---- results that are like their neighbours --------------------------------------------------- */

/* A call has each of them once, [lines][windows of each axis][block], and what it says of where results go is of these.
 * Repeated they are [lines][at[0][m[0]]]...[block]: of axis a, window i from at[a][i] on. */
typedef struct {
    int axes;
    int64_t m[CPOOL_MAXDIM], stride[CPOOL_MAXDIM]; /* bytes between neighbours of an axis */
    const int64_t *at[CPOOL_MAXDIM];
    int64_t block;                   /* bytes of an element and its neighbours */
    int64_t most;                    /* bytes of what is there most often in a row */
    int far;                         /* the result is larger than caches */
    int64_t kept_out[CPOOL_MAXDIM];  /* of the call's lines */
    int inside;                      /* the first axis of those that are built as one piece, */
    int64_t pieces, bytes;           /* how many of them a line has, and how long one is in the call's results */
} cpool_spread;

/* ---- a whole call ------------------------------------------------------------------------------ */

/* A call with what is done before and after it, each NULL if nothing is. */
typedef struct {
    const cpool_call *call;
    const cpool_division *division;
    const cpool_spread *spread;
    int64_t pieces; /* of the work: of the spread, or the call's units */
} cpool_work;

int64_t cpool_work_scratch(const cpool_work *w);
/* Pieces [begin, end) of the work. `indices`, NULL if not wanted, lie as the results do. */
void cpool_work_run(const cpool_work *w, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
                    void *scratch);

/* ---- gradients of the largest ---------------------------------------------------------------- */

/* Gradients and indices are [outer][outputs][inner], the result is [outer][length][inner]. A plane may be worked on in
 * segments: then `look` must have noted what indices there are in every chunk of outputs. */
typedef struct {
    const cpool_isa *isa;
    int type, size;
    int64_t outer, outputs, length, inner;
    /* set by cpool_scatter_cut: elements and channels of a piece of work, how many there are, chunks of outputs */
    int64_t segment, segments, group, groups, chunks;
    int parted;                /* there are several segments: indices must be looked at before */
    int far;                   /* all of it is more than caches hold */
    int64_t *lowest, *highest; /* indices of each chunk of each plane, or NULL */
    int zeros;                 /* the result is all zeros already */
} cpool_scatter;

void cpool_scatter_cut(cpool_scatter *c);
/* Whether gradients are put among zeros: most elements get nothing. */
int cpool_scatter_is_sparse(const cpool_scatter *c);
int64_t cpool_scatter_units(const cpool_scatter *c);
int64_t cpool_scatter_scratch(void);
/* Whether an index of chunks [begin, end), counted through all planes, lies outside its plane; notes the bounds, if
 * there is room for them. */
int cpool_scatter_look(const cpool_scatter *c, const int64_t *indices, int64_t begin, int64_t end);
/* Run pieces [begin, end). BAD: an index lies outside its plane (of parted planes only `look` can tell). BLIND: indices
 * come in an order that takes what `look` notes; all is to be run again, with that. */
enum cpool_scattered { CPOOL_SCATTERED, CPOOL_SCATTERED_BAD, CPOOL_SCATTERED_BLIND };
enum cpool_scattered cpool_scatter_run(const cpool_scatter *c, const char *grad, const int64_t *indices, char *out,
                                       int64_t begin, int64_t end, void *scratch);

/* ---- channels by their factors ---------------------------------------------------------------- */

/* x and the result are [batch][channels][inner], or (`last`) [batch][inner][channels]; factors [batch][channels],
 * doubles for doubles, else floats. A unit is a plane, or all channels of a pixel. */
typedef struct {
    const cpool_isa *isa;
    int type, size, last;
    int64_t batch, channels, inner;
    const char *factor;
} cpool_scaling;

void cpool_scale_run(const cpool_scaling *c, const char *x, char *out, int64_t begin, int64_t end);

/* ---- a small layer --------------------------------------------------------------------------- */

/* out[batch][rows] = function(x[batch][terms] . w[rows][terms] + bias[rows]): doubles, or (`single`) floats. */
typedef struct {
    const cpool_isa *isa;
    int type, bias_type, single; /* types of w and of bias: CPOOL_F32 or CPOOL_F64 */
    enum cpool_function function;
    int64_t batch, terms, rows;
    const double *x;
    const char *w, *bias;
    char *out;
} cpool_dense;

int64_t cpool_dense_units(const cpool_dense *d);
int64_t cpool_dense_scratch(const cpool_dense *d);
void cpool_dense_run(const cpool_dense *d, int64_t begin, int64_t end, void *scratch);

/* ---- the floating-point mode ---------------------------------------------------------------- */

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
typedef unsigned int cpool_mode;
static inline cpool_mode cpool_mode_enter(void)
{
    cpool_mode old = _mm_getcsr();
    _mm_setcsr(0x1f80u);
    return old;
}
static inline void cpool_mode_leave(cpool_mode old) { _mm_setcsr(old); }
#else
#include <fenv.h>
typedef fenv_t cpool_mode;
static inline cpool_mode cpool_mode_enter(void)
{
    fenv_t old;
    fegetenv(&old);
    fesetenv(FE_DFL_ENV);
    return old;
}
static inline void cpool_mode_leave(cpool_mode old) { fesetenv(&old); }
#endif

#endif
